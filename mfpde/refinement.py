"""How far the outputs of an ensemble move when depth or sampling are refined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BarycentricInterpolator, make_interp_spline

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import predict
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]

POLYNOMIAL_NODES = 6
"""Up to so many nodes the interpolant in t is one polynomial, else a quintic spline:
its error is then of higher order than that of every scheme but Gauss, whose nodes
carry the polynomial of their own element."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sets of outputs compared, both dimensionless.

    Attributes
    ----------
    output : float
        Root mean square of the difference of the outputs, relative to that of the
        outputs.
    loss : float
        Difference of the losses (signed).
    """

    output: float
    loss: float


@dataclass(frozen=True, slots=True)
class Refinement:
    """Estimates at one fixed measure; the training before it is not repeated.

    Attributes
    ----------
    depth : Difference or None
        Refined grid against the grid. None where the paths are not smooth in t.
    grid : DepthGrid or None
        The refined grid.
    sampling : Difference or None
        Half the difference between two halves of the particles: the standard
        deviation of the full set if these were independent draws. None for fewer
        than two particles, and for those of a quadrature rule.
    """

    depth: Difference | None
    grid: DepthGrid | None
    sampling: Difference | None


def refinement_estimate(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    *,
    is_smooth_in_depth: bool = True,
    is_random: bool = True,
) -> Refinement:
    """Estimate the errors from depth grid and sampling in the outputs of Eq. (1).

    Depth: the paths theta_m(t) are interpolated to a grid with twice the nodes.
    Sampling: the outputs of the first and the second half of the particles.

    Parameters
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid
    ensemble : ParticleEnsemble
    is_smooth_in_depth : bool
        False for particles drawn independently at every node (coupling "layer").
    is_random : bool
        False for the nodes of a quadrature rule, whose halves say nothing.

    Returns
    -------
    Refinement
    """
    output = predict(problem, grid, ensemble, problem.x)
    depth, finer = None, None
    if is_smooth_in_depth:
        finer = refined_grid(grid)
        paths = interpolated(grid, ensemble, finer)
        depth = _difference(problem, predict(problem, finer, paths, problem.x), output)
    sampling = _sampling(problem, grid, ensemble, output) if is_random else None
    return Refinement(depth, finer, sampling)


def refined_grid(grid: DepthGrid) -> DepthGrid:
    """Return a grid of the same scheme with twice the steps or elements."""
    description: dict[str, Any] = dict(grid.describe())
    doubled = "n_elements" if grid.scheme == "gauss" else "n"
    description[doubled] *= 2
    return DepthGrid.from_description(description)


def interpolated(
    grid: DepthGrid, ensemble: ParticleEnsemble, finer: DepthGrid
) -> ParticleEnsemble:
    """Return the ensemble at the nodes of another grid, by interpolation in depth t.

    Parameters
    ----------
    grid : DepthGrid
        Where the particles live.
    ensemble : ParticleEnsemble
    finer : DepthGrid

    Returns
    -------
    ensemble : ParticleEnsemble
        theta of shape (finer.n_nodes, M, k).
    """
    n_elements = grid.n_steps if grid.scheme == "gauss" else 1
    nodes = grid.nodes.reshape(n_elements, -1)
    theta = ensemble.theta.reshape(n_elements, nodes.shape[1], -1)
    element = np.minimum((finer.nodes * n_elements).astype(int), n_elements - 1)
    values = np.empty((finer.n_nodes, theta.shape[2]))
    for e in range(n_elements):
        wanted = element == e
        values[wanted] = _interpolant(nodes[e], theta[e])(finer.nodes[wanted])
    shape = (finer.n_nodes, *ensemble.theta.shape[1:])
    return ParticleEnsemble(values.reshape(shape), ensemble.weights)


def _interpolant(nodes: Array, values: Array) -> Any:
    if len(nodes) == 1:
        return lambda t: np.broadcast_to(values, (len(t), values.shape[1]))
    if len(nodes) <= POLYNOMIAL_NODES:
        # A fixed generator: SciPy permutes the nodes at random, for stability.
        return BarycentricInterpolator(nodes, values)
    return make_interp_spline(nodes, values, k=5)


def _sampling(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    output: Array,
) -> Difference | None:
    m = ensemble.n_particles // 2
    if m < 1:
        return None
    first, second = (
        predict(problem, grid, _part(ensemble, each), problem.x)
        for each in (slice(None, m), slice(m, None))
    )
    whole = _difference(problem, first, second)
    size = _rms(problem, output)
    half = 0.5 * _rms(problem, first - second) / size if size > 0 else float("nan")
    return Difference(half, 0.5 * whole.loss)


def _part(ensemble: ParticleEnsemble, each: slice) -> ParticleEnsemble:
    weights = ensemble.weights[each]
    return ParticleEnsemble(ensemble.theta[:, each], weights / weights.sum())


def _difference(problem: MeanFieldProblem, output: Array, other: Array) -> Difference:
    size = _rms(problem, other)
    relative = _rms(problem, output - other) / size if size > 0 else float("nan")
    return Difference(relative, _loss(problem, output) - _loss(problem, other))


def _loss(problem: MeanFieldProblem, output: Array) -> float:
    values = problem.loss.values(output, problem.y)
    return float(np.dot(problem.sample_weights, values))


def _rms(problem: MeanFieldProblem, values: Array) -> float:
    squares = np.einsum("iq,iq->i", values, values)
    return float(np.sqrt(np.dot(problem.sample_weights, squares)))
