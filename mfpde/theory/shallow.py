"""The two-layer network on the particles of a residual one (theory, T4 and T8).

Its output is read from x + int int f(x, theta) drho dt: no block sees what another has
done. With a factor eps before f both agree to O(eps^2): a deep network of small blocks
is an ensemble of shallow ones (Lu et al. 2020).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, number, numbers, positive
from mfpde.blocks import Perceptron
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.ensemble import AN_ENSEMBLE, ParticleEnsemble
from mfpde.evaluation import evaluate, field
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.references.exact.formulas import near_two_layer_bound, near_two_layer_limit
from mfpde.run.solution import finished, quietly
from mfpde.run.solver import solve

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shallow:
    """The two-layer problem and ensemble, as a residual network that is one (T4).

    The state (x, o) has twice the size, the block moves o alone and sees x alone, so
    that every solver of mfpde gives the two-layer flow, whatever the depth grid.
    """

    problem: MeanFieldProblem
    ensemble: ParticleEnsemble


@checked(problem=A_PROBLEM, ensemble=AN_ENSEMBLE)
def shallow(problem: MeanFieldProblem, ensemble: ParticleEnsemble) -> Shallow:
    """Return the two-layer network with the particles of a residual one.

    Parameters
    ----------
    problem : MeanFieldProblem
        With a perceptron block, and without trained maps.
    ensemble : ParticleEnsemble
    """
    block, d = problem.block, problem.d
    if not isinstance(block, Perceptron) or problem.trained_maps:
        raise ValueError(
            "`problem` must have a Perceptron block and a fixed embedding and readout, "
            f"got {block!r} and trained maps {list(problem.trained_maps)}."
        )
    twice = Perceptron(2 * d, block.activation, bias=block.bias, scale=block.scale)
    start = np.eye(d) if problem.embedding is None else problem.embedding.matrix
    end = np.eye(d) if problem.readout is None else problem.readout.matrix
    lifted = problem.with_changes(
        block=twice,
        embedding=np.vstack([start, start]),
        readout=np.hstack([np.zeros_like(end), end]),
        # What is 0 at the start stays 0.
        metric=_lift(problem.metric, d),
    )
    return Shallow(lifted, ParticleEnsemble(_lift(ensemble.theta, d), ensemble.weights))


@checked(problem=A_PROBLEM, factor=number())
def scaled(problem: MeanFieldProblem, factor: float) -> MeanFieldProblem:
    """Return the problem with its perceptron block times a factor, eps of T8."""
    block = problem.block
    if not isinstance(block, Perceptron):
        raise ValueError(f"`problem` must have a Perceptron block, got {block!r}.")
    scale = factor * block.scale
    if not 0.0 < abs(scale) < np.inf:
        raise ValueError(
            f"`factor` times the scale of the block, {block.scale:g}, must be finite "
            f"and not 0, got {factor!r}."
        )
    own = dataclasses.replace(block, scale=scale)
    return problem.with_changes(block=own)


def _lift(theta: Array, d: int) -> Array:
    """u becomes (u, 0) and v becomes (0, v), in the last axis of an array."""
    zero = np.zeros((*theta.shape[:-1], d))
    u, v, b = theta[..., :d], theta[..., d : 2 * d], theta[..., 2 * d :]
    return np.concatenate([u, zero, zero, v, b], axis=-1)


@dataclass(frozen=True)
class ShallowGap:
    """How far a residual network is from two layers on the same particles.

    Attributes
    ----------
    gap : ndarray, shape (N,)
        |z(1) - x - int F(x, t) dt| for each sample, x the embedded input.
    bound : ndarray, shape (N,)
        Right side of Eq. (21), with a K that holds for every state.
    limit : ndarray, shape (N,)
        |d_z F F| / 2 at x: the gap for small blocks if F does not depend on t (T8).
    """

    gap: Array
    bound: Array
    limit: Array


@checked(problem=A_PROBLEM, grid=A_DEPTH_GRID, ensemble=AN_ENSEMBLE)
def shallow_gap(
    problem: MeanFieldProblem, grid: DepthGrid, ensemble: ParticleEnsemble
) -> ShallowGap:
    """Compare z(1) with x + int F(x, t) dt, Eq. (21), for a tanh perceptron.

    The integrals are sums with `grid.weights`, whose sum T need not be 1 on
    `DepthGrid.layers`: a network with field F and sum T is one with T F and sum 1.

    Raises
    ------
    ValueError
        If the block is not a perceptron with activation "tanh", whose slope is at most
        1: the bound needs K >= |d_z F| at every state. Or if the grid has an outer
        activation.
    """
    _check_gap(problem, grid)
    block, d, x = problem.block, problem.d, problem.z0
    fields = field(problem, grid, ensemble, x)
    straight = x + np.einsum("j,jid->id", grid.weights, fields)
    gap = np.linalg.norm(evaluate(problem, grid, ensemble).z_end - straight, axis=1)
    u, v = ensemble.theta[..., :d], ensemble.theta[..., d : 2 * d]
    sizes = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    steepest = abs(block.scale) * float((sizes @ ensemble.weights).max())
    largest = np.linalg.norm(fields, axis=2).max(axis=0)
    total = float(grid.weights.sum())
    bound = [near_two_layer_bound(total * b, total * steepest) for b in largest]
    slopes = _mean_slopes(problem, grid, ensemble)
    mean = straight - x
    limit = [near_two_layer_limit(f, a) for f, a in zip(mean, slopes, strict=True)]
    return ShallowGap(gap, np.array(bound), np.array(limit))


def _check_gap(problem: MeanFieldProblem, grid: DepthGrid) -> None:
    block = problem.block
    if not isinstance(block, Perceptron) or block.activation != "tanh":
        raise ValueError(
            f"`problem` must have a Perceptron block with tanh, got {block!r}."
        )
    if grid.outer is not None:
        raise ValueError(
            f"`grid` must have no outer activation, got {grid!r}: x + int F dt is the "
            "sum of all layers only without one."
        )


def _mean_slopes(
    problem: MeanFieldProblem, grid: DepthGrid, ensemble: ParticleEnsemble
) -> Array:
    """int d_z F(x, t) dt for each sample, (N, d, d), of a tanh perceptron."""
    d, block = problem.d, problem.block
    theta = ensemble.theta
    u, v = theta[..., :d], theta[..., d : 2 * d]
    bias = theta[..., 2 * d] if block.bias else 0.0
    slope = 1.0 - np.tanh(np.einsum("jmd,id->ijm", u, problem.z0) + bias) ** 2
    weights = block.scale * np.outer(grid.weights, ensemble.weights)
    return np.einsum("jm,ijm,jma,jmb->iab", weights, slope, v, u)


@dataclass(frozen=True)
class FlowComparison:
    """A residual and a two-layer network trained from the same particles.

    Attributes
    ----------
    flow_gap : ndarray, shape (R,)
        Root of the mean over samples of |z(1) of one - z(1) of the other|^2.
    measures : tuple of ShallowGap
        Of the residual network's own particles at each time.
    """

    flow_gap: Array
    measures: tuple[ShallowGap, ...]


@checked(
    problem=A_PROBLEM,
    grid=A_DEPTH_GRID,
    ensemble=AN_ENSEMBLE,
    times=numbers("R"),
    rtol=positive,
)
def compare_flows(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    times: Array,
    *,
    rtol: float = 1e-6,
) -> FlowComparison:
    """Train a residual network and its two-layer network; compare them at times s.

    Parameters
    ----------
    problem : MeanFieldProblem
        With a perceptron block with tanh, as for `shallow_gap`, and without trained
        maps.
    grid : DepthGrid
        Without an outer activation.
    ensemble : ParticleEnsemble
    times : ndarray, shape (R,)
        Training times s, increasing; both are trained up to the last.
    rtol : float

    Raises
    ------
    ValueError
        If there is no bound for the block or the grid, or the maps are trained.
    NotFiniteError, ConvergenceError
        If one of them blows up, or misses its tolerance.
    """
    if times[-1] <= 0.0:
        raise ValueError(f"`times` must end above 0, got {times[-1]:g}.")
    _check_gap(problem, grid)
    other = shallow(problem, ensemble)
    ends, options = [], {"rtol": rtol, "atol": 1e-2 * rtol, "record": times}
    options |= {"snapshots": times, "observers": {"z": lambda e: e.z_end}}
    for each, start in ((problem, ensemble), (other.problem, other.ensemble)):
        found = finished(
            quietly(solve)(each, grid, start, s_end=float(times[-1]), **options)
        )
        ends.append((found.observations["z"], found.theta))
    (z, thetas), (lifted, _) = ends
    difference = z - lifted[..., problem.d :]
    weights = problem.sample_weights
    gap = np.sqrt(np.einsum("i,rid,rid->r", weights, difference, difference))
    ensembles = [ParticleEnsemble(theta, ensemble.weights) for theta in thetas]
    measures = tuple(shallow_gap(problem, grid, each) for each in ensembles)
    return FlowComparison(gap, measures)
