"""The landscape of E over measures: ways down from where the flow rests.

A direction is a signed measure nu on parameters at one depth t0 with int dnu = 0; E
falls along it if int dE/drho(., t0) dnu < 0. For a universal block there is one at
every t0 as long as E > 0 (Lu et al. 2020), though no particle moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, float_array, number, numbers, positive, sequence
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.ensemble import AN_ENSEMBLE, ParticleEnsemble
from mfpde.evaluation import AN_EVALUATION, Evaluation, evaluate, first_variation
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.run.solution import finished, quietly
from mfpde.run.solver import solve

Array = NDArray[np.float64]

MASS = number(above=0.0, below=1.0)
MASSES = sequence(MASS)


@checked(evaluation=AN_EVALUATION)
def descent_directions(
    evaluation: Evaluation, candidates: ArrayLike
) -> tuple[Array, Array]:
    """Return the best nu = delta_theta - rho_t at each depth, with its slope.

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
        int dE/drho(., t_j) dnu: negative where a way down was found.
    directions : ndarray, shape (J, k)
        The theta of nu.
    """
    return _directions("candidates", evaluation, candidates)


def _directions(
    name: str, evaluation: Evaluation, candidates: ArrayLike
) -> tuple[Array, Array]:
    """`descent_directions` for candidates that go by some name."""
    problem, theta = evaluation.problem, evaluation.ensemble.theta
    grid = evaluation.grid
    if grid.n_stages != 1 or grid.is_implicit or grid.outer is not None:
        raise ValueError(
            "`evaluation` must be on DepthGrid.euler or layers without an outer "
            f"activation, got {grid!r}: its states belong to the nodes."
        )
    candidates = _cloud(name, candidates, problem.k)
    z, p = evaluation.z[:-1], evaluation.p[1:]
    everywhere = np.broadcast_to(candidates, (len(theta), *candidates.shape))
    values = first_variation(problem, everywhere, z, p)
    present = first_variation(problem, theta, z, p) @ evaluation.ensemble.weights
    return values.min(axis=1) - present, candidates[values.argmin(axis=1)]


@checked(evaluation=AN_EVALUATION, masses=MASSES)
def descent_changes(
    evaluation: Evaluation, directions: Array, masses: Sequence[float]
) -> Array:
    """Return the change of E by mass moved along nu at one depth, over its mass.

    Parameters
    ----------
    evaluation : Evaluation
    directions : ndarray, shape (J, k)
        The theta of nu at each depth, as from `descent_directions`.
    masses : sequence of float
        Each m in (0, 1).

    Returns
    -------
    changes : ndarray, shape (J, len(masses))
        (E((1 - m) rho_t + m delta_theta at t = t_j) - E(rho)) / (m h_j), h_j the step:
        the slope of nu as m -> 0.
    """
    ensemble, grid = evaluation.ensemble, evaluation.grid
    directions = numbers(*ensemble.theta.shape[::2])("directions", directions)
    changes = np.empty((ensemble.n_nodes, len(masses)))
    for j, step in enumerate(grid.step_size):
        # At the other depths the mass that is split off stays where it is.
        added = ensemble.theta.copy()
        added[j] = directions[j]
        theta = np.concatenate([ensemble.theta, added], axis=1)
        for i, mass in enumerate(masses):
            weights = np.outer([1.0 - mass, mass], ensemble.weights).ravel()
            law = ParticleEnsemble(theta, weights)
            loss = evaluate(evaluation.problem, grid, law, evaluation.s).loss
            changes[j, i] = (loss - evaluation.loss) / (mass * step)
    return changes


@checked(ensemble=AN_ENSEMBLE, mass=MASS)
def perturbed(
    ensemble: ParticleEnsemble, cloud: ArrayLike, mass: float
) -> ParticleEnsemble:
    """Return (1 - mass) rho + mass times a cloud of particles, at every depth.

    Parameters
    ----------
    ensemble : ParticleEnsemble
    cloud : array_like, shape (C, k) or (J, C, k)
        Values of theta, of equal mass, the same at every depth or not.
    mass : float
        In (0, 1).
    """
    n_nodes, _, k = ensemble.theta.shape
    cloud = _cloud("cloud", cloud, k, n_nodes)
    n_added = cloud.shape[-2]
    added = np.broadcast_to(cloud, (n_nodes, n_added, k))
    weights = [(1.0 - mass) * ensemble.weights, np.full(n_added, mass / n_added)]
    return ParticleEnsemble(
        np.concatenate([ensemble.theta, added], axis=1), np.concatenate(weights)
    )


def _cloud(name: str, values: ArrayLike, k: int, n_nodes: int = 0) -> Array:
    """Values of theta as an array (C, k), or (J, C, k) for so many depths."""
    array = float_array(name, values)
    is_deep = array.ndim == 3 and len(array) == n_nodes
    if not (array.ndim == 2 or is_deep) or array.shape[-1] != k or array.size == 0:
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
        Of the best direction found at each depth, `descent_directions`.
    changes : ndarray, shape (J, n_masses)
        What E does along it, `descent_changes`.
    rest, control : float
        E at the point of rest, and when the flow has gone on from there.
    started, moved : float
        E of the perturbed law, and when the flow has gone on as long from there.
    """

    slopes: Array
    changes: Array
    rest: float
    control: float
    started: float
    moved: float


@checked(
    problem=A_PROBLEM,
    grid=A_DEPTH_GRID,
    ensemble=AN_ENSEMBLE,
    mass=MASS,
    s_end=positive,
    masses=MASSES,
    rtol=positive,
)
def escape(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    cloud: ArrayLike,
    *,
    mass: float,
    s_end: float,
    masses: Sequence[float] = (),
    rtol: float = 1e-4,
) -> Escape:
    """Perturb a law at rest along the best directions, and let the flow go on.

    Parameters
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid
        `DepthGrid.euler` or `layers`.
    ensemble : ParticleEnsemble
        Where the flow rests, or nearly.
    cloud : array_like, shape (C, k)
        Candidates of theta, spread over the parameters: the best at each depth is
        added there.
    mass : float
        That of what is added, in (0, 1).
    s_end : float
        Training time for which the flow goes on, from both laws.
    masses : sequence of float
        Small ones, at which the change of E is compared with its slope.
    rtol : float

    Raises
    ------
    ValueError
        If the grid is another, or `cloud` does not fit the block.
    NotFiniteError, ConvergenceError
        If one of the flows blows up, or misses its tolerance.
    """
    at_rest = evaluate(problem, grid, ensemble)
    slopes, directions = _directions("cloud", at_rest, cloud)
    losses = []
    for start in (ensemble, perturbed(ensemble, directions[:, np.newaxis], mass)):
        options = {"stepper": "auto", "rtol": rtol, "atol": 1e-2 * rtol}
        found = finished(quietly(solve)(problem, grid, start, s_end=s_end, **options))
        losses += [float(found.loss[0]), float(found.loss[-1])]
    changes = descent_changes(at_rest, directions, masses)
    return Escape(slopes, changes, *losses)
