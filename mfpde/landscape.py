"""The landscape of E over measures: ways down from where the flow rests.

A direction is a signed measure nu on parameters at one depth t0 with int dnu = 0; E
falls along it if int dE/drho(., t0) dnu < 0. For a universal block there is one at
every t0 as long as E > 0 (Lu et al. 2020), though no particle moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import float_array
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import Evaluation, evaluate, first_variation
from mfpde.problem import MeanFieldProblem
from mfpde.solution import finished
from mfpde.solver import solve

Array = NDArray[np.float64]


def descent_slopes(evaluation: Evaluation, candidates: ArrayLike) -> Array:
    """Return int dE/drho(., t_j) dnu for the best nu = delta_theta - rho_t, (J,).

    Parameters
    ----------
    evaluation : Evaluation
        On a grid with one stage in each step and no outer activation,
        `DepthGrid.euler` or `layers`: there the adjoint of a step is p behind it.
    candidates : array_like, shape (C, k)
        Values of theta, of which the best at each depth is taken.

    Returns
    -------
    slopes : ndarray, shape (J,)
        Negative where a way down was found.
    """
    problem, theta = evaluation.problem, evaluation.ensemble.theta
    grid = evaluation.grid
    if grid.n_stages != 1 or grid.is_implicit or grid.outer is not None:
        raise ValueError(
            "`evaluation` must be on DepthGrid.euler or layers without an outer "
            f"activation, got {grid!r}: its states belong to the nodes."
        )
    candidates = _cloud("candidates", candidates, problem.k)
    z, p = evaluation.z[:-1], evaluation.p[1:]
    everywhere = np.broadcast_to(candidates, (len(theta), *candidates.shape))
    values = first_variation(problem, everywhere, z, p)
    present = first_variation(problem, theta, z, p) @ evaluation.ensemble.weights
    return values.min(axis=1) - present


def perturbed(
    ensemble: ParticleEnsemble, cloud: ArrayLike, mass: float
) -> ParticleEnsemble:
    """Return (1 - mass) rho + mass times a cloud of particles, at every depth.

    Parameters
    ----------
    ensemble : ParticleEnsemble
    cloud : array_like, shape (C, k)
        Values of theta, of equal mass.
    mass : float
        In (0, 1).
    """
    if not 0.0 < mass < 1.0:
        raise ValueError(f"`mass` must lie in (0, 1), got {mass!r}.")
    n_nodes, _, k = ensemble.theta.shape
    cloud = _cloud("cloud", cloud, k)
    added = np.broadcast_to(cloud, (n_nodes, *cloud.shape))
    weights = [(1.0 - mass) * ensemble.weights, np.full(len(cloud), mass / len(cloud))]
    return ParticleEnsemble(
        np.concatenate([ensemble.theta, added], axis=1), np.concatenate(weights)
    )


def _cloud(name: str, values: ArrayLike, k: int) -> Array:
    """Values of theta as an array (C, k)."""
    array = float_array(name, values)
    if array.ndim != 2 or array.shape[1] != k or len(array) == 0:
        raise ValueError(
            f"`{name}` must have shape (n_candidates, {k}), one row for each theta, "
            f"got {array.shape}."
        )
    return array


@dataclass(frozen=True)
class Escape:
    """A point of rest, and what became of it after a small perturbation.

    Attributes
    ----------
    slopes : ndarray, shape (J,)
        Of the best direction found at each depth, `descent_slopes`.
    rest, control, moved : float
        E at the point of rest, E when the flow has gone on from there, and E when it
        has gone on as long from the perturbed law.
    """

    slopes: Array
    rest: float
    control: float
    moved: float


def escape(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    cloud: ArrayLike,
    *,
    mass: float,
    s_end: float,
    spread: ArrayLike | None = None,
    rtol: float = 1e-4,
) -> Escape:
    """Perturb a law at rest by a cloud of particles, and let the flow go on.

    Parameters
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid
        `DepthGrid.euler` or `layers`.
    ensemble : ParticleEnsemble
        Where the flow rests, or nearly.
    cloud : array_like, shape (C, k)
        Spread over the parameters: what is added.
    spread : array_like, shape (D, k), optional
        Candidates of the direction; default the cloud.
    mass : float
        That of the cloud, in (0, 1).
    s_end : float
        Training time for which the flow goes on, from both laws.
    rtol : float

    Raises
    ------
    ValueError
        If the grid is another, or `cloud` or `spread` does not fit the block.
    NotFiniteError, ConvergenceError
        If one of the flows blows up, or misses its tolerance.
    """
    at_rest = evaluate(problem, grid, ensemble)
    slopes = descent_slopes(at_rest, spread if spread is not None else cloud)
    losses = []
    for start in (ensemble, perturbed(ensemble, cloud, mass)):
        options = {"stepper": "auto", "rtol": rtol, "atol": 1e-2 * rtol}
        found = finished(solve(problem, grid, start, s_end=s_end, **options))
        losses.append(float(found.loss[-1]))
    return Escape(slopes, at_rest.loss, *losses)
