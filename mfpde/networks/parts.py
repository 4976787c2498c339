"""Evaluations over more samples than states fit into memory: in parts, added up."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import float_array
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import Evaluation, evaluate, predict
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]

# States and adjoints of one part. Up to that, all samples are one part, and the
# evaluation is that of `evaluate`, to the bit.
PART_BYTES = 2**28
# Samples in a part are a multiple of this, two blocks of the sweeps.
GRAIN = 256


class SummedEvaluation(Evaluation):
    """An evaluation added up from parts: states and adjoints are not kept."""

    @property
    def z(self) -> Array:
        """Not available."""
        raise AttributeError(_NOT_KEPT)

    @property
    def p(self) -> Array:
        """Not available."""
        raise AttributeError(_NOT_KEPT)


_NOT_KEPT = "The states of so many samples are not kept: evaluate fewer to have them."


def n_samples_at_once(problem: MeanFieldProblem, grid: DepthGrid) -> int:
    """Samples whose states and adjoints take about PART_BYTES."""
    # Every stage, perhaps the argument of psi, and the adjoint, at every step.
    n_states = grid.n_steps * (grid.n_stages + (grid.outer is not None) + 1) + 2
    n_bytes = n_states * problem.d * np.dtype(problem.dtype).itemsize
    return max(1, PART_BYTES // (n_bytes * GRAIN)) * GRAIN


def evaluate_in_parts(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    s: float = 0.0,
    *,
    out: Array | None = None,
) -> Evaluation:
    """`mfpde.evaluate`, over parts of the samples if there are very many.

    Parameters and errors as there. Sums over samples are then added part by part,
    which changes their rounding.
    """
    n_at_once = n_samples_at_once(problem, grid)
    if problem.n_samples <= n_at_once:
        return evaluate(problem, grid, ensemble, s, out=out)
    plain = problem.with_plain_velocity()
    velocity = np.zeros(ensemble.theta.shape) if out is None else out
    velocity[...] = 0.0
    share = np.empty_like(velocity)
    maps: dict[str, Array] = {}
    loss, outputs, ends = 0.0, [], []
    for rows in _parts(problem.n_samples, n_at_once):
        part = plain.on_samples(rows, problem.sample_weights[rows])
        if part.trained_maps:
            matrices = {name: m.matrix for name, m in part.trained_maps.items()}
            part = part.with_parameters(**matrices)
        evaluation = evaluate(part, grid, ensemble, s, out=share)
        velocity += share
        loss += evaluation.loss
        for name, map_velocity in evaluation.map_velocities.items():
            maps[name] = maps.get(name, 0.0) + map_velocity
        outputs.append(evaluation.output)
        ends.append(evaluation.z_end)
    return SummedEvaluation(
        problem=problem,
        grid=grid,
        ensemble=ensemble,
        s=s,
        loss=loss,
        **_totals(problem, grid, ensemble, s, loss, velocity, maps),
        velocity=velocity,
        map_velocities=maps,
        output=np.concatenate(outputs),
        z_end=np.concatenate(ends),
        _forward=None,
        _p=None,
    )


def _totals(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    s: float,
    loss: float,
    velocity: Array,
    maps: dict[str, Array],
) -> dict[str, float]:
    """Numbers of Eqs. (12)-(14); the plain velocity becomes that of Eq. (10)."""
    rule, theta = problem.regulariser, ensemble.theta
    ridge, ridge_rate = (rule.strength(s), rule.rate(s)) if rule else (0.0, 0.0)
    velocity -= 2.0 * ridge * theta
    second_moment = ensemble.second_moment(grid.weights)
    mass = (grid.weights[:, np.newaxis], ensemble.weights)
    squared = float(np.einsum("ji,m,jmk->", *mass, velocity**2))
    gradient = -velocity
    velocity[...] = problem.velocity_of(gradient)
    dissipation = -float(np.einsum("ji,m,jmk->", *mass, gradient * velocity))
    for name, map_velocity in maps.items():
        rate = problem.trained_maps[name].rate
        square = float(np.sum((map_velocity / rate) ** 2))
        dissipation, squared = dissipation + rate * square, squared + square
    return {
        "objective": loss + ridge * second_moment,
        "dissipation": dissipation,
        "gradient_norm": float(np.sqrt(squared)),
        "second_moment": second_moment,
        "ledger_rate": -dissipation + ridge_rate * second_moment,
    }


def predict_in_parts(
    problem: MeanFieldProblem, grid: DepthGrid, ensemble: ParticleEnsemble, x: ArrayLike
) -> Array:
    """`mfpde.predict`, over parts of the inputs if there are very many."""
    x, n_at_once = float_array("x", x), n_samples_at_once(problem, grid)
    if x.ndim == 0 or len(x) <= n_at_once:
        return predict(problem, grid, ensemble, x)
    parts = _parts(len(x), n_at_once)
    return np.concatenate([predict(problem, grid, ensemble, x[p]) for p in parts])


def _parts(n_samples: int, n_at_once: int) -> Iterator[slice]:
    for first in range(0, n_samples, n_at_once):
        yield slice(first, min(first + n_at_once, n_samples))
