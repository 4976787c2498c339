"""References of studies: the mean-field limit of a case, never a bigger network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BarycentricInterpolator

from mfpde.analysis import coupled_distance
from mfpde.depth import DepthGrid
from mfpde.errors import ConvergenceError
from mfpde.evaluation import Evaluation, first_variation_gradient
from mfpde.laws import marginal
from mfpde.laws.provenance import Provenance
from mfpde.limit.solver import solve_limit
from mfpde.problem import MeanFieldProblem
from mfpde.run.solution import Solution
from mfpde.run.solver import solve
from mfpde.steppers import ClassicalRungeKutta, Point
from mfpde.studies.cases import Case

Array = NDArray[np.float64]

N_TIMES, MOST_TIMES = 17, 257
"""Fewest and most Chebyshev points in s at which the states of the limit are kept."""
STEPS_PER_TIME = 1.5
"""Steps of the Runge-Kutta method of order 4 with which tracers move, for each."""
TRACER_ERROR = 1e-4
"""Of tracers, relative to how far particles move."""


def output(evaluation: Evaluation) -> Array:
    """Observer of the outputs (N, q)."""
    return evaluation.output


def state(evaluation: Evaluation) -> Array:
    """Observer of the states z(1), (N, d)."""
    return evaluation.z_end


def states(evaluation: Evaluation) -> Array:
    """Observer of z and p at all depths, (2, P, N, d)."""
    return np.stack([evaluation.z, evaluation.p])


def limit_of(
    case: Case,
    *,
    s: Sequence[float],
    tol: float,
    depths: Sequence[int],
    rtol: float,
    max_particles: int,
) -> dict[str, Array]:
    """Solve for the limit of a case, Eqs. (1)-(6), and for its networks of any width.

    Parameters
    ----------
    case : Case
    s : sequence of float, length R
        Training times, 0 first.
    tol : float
        Tolerance of the outputs of the limit.
    depths : sequence of int, length D
        Depths L of networks of infinite width: particles by the quadrature rule that
        the limit was found with, in layers.
    rtol : float
        Relative tolerance in s of those networks.
    max_particles : int
        Cap for `solve_limit`.

    Returns
    -------
    arrays : dict of ndarray
        output (R, N, q), state (R, N, d), loss (R,), error () the estimate of the
        outputs' error; wide_output (D, R, N, q), wide_state, wide_loss (D, R) of the
        networks of infinite width, and wide_distance (D, R) of their particles from
        tracers; fields_t (P,), fields_s (T,), fields (T, 2, P, N, d): z and p of the
        limit for `Fields`, with tracer_error ().

    Notes
    -----
    Only the marginals of the law at each depth enter, so its paths are left aside.
    """
    found = solve_limit.quietly(
        case.problem,
        marginal(case.law),
        s_end=float(s[-1]),
        tol=tol,
        record=s,
        observables={"state": state},
        max_particles=max_particles,
    )
    rule = found.initial.ensemble.provenance
    if found.status != "finished":
        raise ConvergenceError(f"The limit of case {case.name}: {found.message}")
    fields = _fields_of(case, found.grid, _coarser(rule), s, rtol)
    wide = [_wide(case, rule, grid, s, rtol) for grid in map(DepthGrid.euler, depths)]
    return {
        "output": found.observations["output"],
        "state": found.observations["state"],
        "loss": found.loss,
        "error": np.array(found.estimated_error),
        "wide_output": np.array([each.observations["output"] for each in wide]),
        "wide_state": np.array([each.observations["state"] for each in wide]),
        "wide_loss": np.array([each.loss for each in wide]),
        "wide_distance": np.array(
            [_distances(case.problem, fields, each, s) for each in wide]
        ),
        **fields,
    }


def _wide(
    case: Case, rule: Provenance, grid: DepthGrid, s: Sequence[float], rtol: float
) -> Solution:
    """The network of infinite width: the rule that the limit was found with."""
    found = solve.quietly(
        case.problem,
        grid,
        rule.ensemble(grid),
        s_end=float(s[-1]),
        rtol=rtol,
        atol=1e-3 * rtol,
        record=s,
        snapshots=s,
        observers={"output": output, "state": state},
    )
    if found.status != "finished":
        raise ConvergenceError(f"The limit of case {case.name}: {found.message}")
    return found


def _distances(
    problem: MeanFieldProblem,
    reference: Mapping[str, Array],
    run: Solution,
    s: Sequence[float],
) -> Array:
    """Distance (R,) of the particles of a run from their tracers."""
    start, weights = run.theta[0], run.ensemble.weights
    tracers = trace(problem, Fields(reference, run.grid.nodes), start, s)
    return np.array(
        [
            coupled_distance(theta, traced, weights)
            for theta, traced in zip(run.theta, tracers, strict=True)
        ]
    )


def _fields_of(
    case: Case, grid: DepthGrid, rule: Provenance, s: Sequence[float], rtol: float
) -> dict[str, Array]:
    """States of the limit at so many times that its own particles are traced well.

    The times, and the steps of the tracers with them, are doubled until tracers of the
    limit's own particles are off by at most `TRACER_ERROR` of how far particles move.
    """
    n = N_TIMES
    while True:
        moving = solve.quietly(
            case.problem,
            grid,
            rule.ensemble(grid),
            s_end=float(s[-1]),
            rtol=rtol,
            atol=1e-3 * rtol,
            record=chebyshev_points(float(s[-1]), n),
            snapshots=s,
            observers={"states": states},
        )
        if moving.status != "finished":
            raise ConvergenceError(f"The limit of case {case.name}: {moving.message}")
        fields = {
            "fields_t": grid.state_depths(),
            "fields_elements": np.array(grid.n_steps),
            "fields_s": moving.s,
            "fields": moving.observations["states"],
        }
        some = moving.theta[:, :, :: max(1, moving.theta.shape[2] // 16)]
        traced = trace(case.problem, Fields(fields, grid.nodes), some[0], s)
        size = np.sqrt(np.mean((some[-1] - some[0]) ** 2))
        error = np.sqrt(np.mean((traced[-1] - some[-1]) ** 2)) / max(size, 1e-300)
        if error <= TRACER_ERROR or n >= MOST_TIMES:
            return fields | {"tracer_error": np.array(error)}
        n = 2 * n - 1


def _coarser(rule: Provenance) -> Provenance:
    """Fewer particles: distances between clouds are far larger than their error."""
    if rule.is_exact:
        return rule
    if rule.is_tensor:
        return rule.with_counts(tuple(-(-count // 2) for count in rule.rule.counts))
    return rule.with_draws(max(1, rule.n_draws // 8))


def chebyshev_points(s_end: float, n: int) -> Array:
    """n Chebyshev points on [0, s_end], both ends among them."""
    return 0.5 * s_end * (1.0 - np.cos(np.pi * np.arange(n) / (n - 1)))


class Fields:
    """States and adjoints of the limit at given depths and any training time.

    Polynomials in s through the Chebyshev points, and in t through the nodes of each
    element of the Gauss grid (and the ends of depth, where one element is all).

    Parameters
    ----------
    reference : mapping
        From `limit_of`.
    t : array_like, shape (J,)
        Depths.
    """

    def __init__(self, reference: Mapping[str, Array], t: ArrayLike) -> None:
        at_t = _at_depths(
            reference["fields_t"],
            int(reference["fields_elements"]),
            np.moveaxis(reference["fields"], 2, 0),
            np.asarray(t, dtype=float),
        )
        self.n_steps = round(STEPS_PER_TIME * (len(reference["fields_s"]) - 1))
        self._in_s = polynomial(reference["fields_s"], np.moveaxis(at_t, 0, 2))

    def __call__(self, s: float) -> tuple[Array, Array]:
        """z and p (J, N, d) at a training time."""
        z, p = self._in_s(s)
        return z, p


def polynomial(points: Array, values: Array) -> BarycentricInterpolator:
    """The polynomial through points (n,); SciPy's own weights are rounded at random."""
    apart = points[:, np.newaxis] - points
    np.fill_diagonal(apart, 1.0)
    # The capacity of the interval keeps the products near one.
    weights = 1.0 / np.prod(apart / (0.25 * np.ptp(points) or 1.0), axis=1)
    return BarycentricInterpolator(points, values, wi=weights)


def _at_depths(points: Array, n_elements: int, values: Array, t: Array) -> Array:
    """Values (P, ...) at `points` (P,), 0, the nodes and 1, interpolated to t (J,)."""
    if n_elements == 1:
        return polynomial(points, values)(t)
    nodes, inner = points[1:-1], values[1:-1]
    element = np.minimum((t * n_elements).astype(int), n_elements - 1)
    n = len(nodes) // n_elements
    found = np.empty((len(t), *values.shape[1:]))
    for e in np.unique(element):
        mine = slice(e * n, (e + 1) * n)
        here = polynomial(nodes[mine], inner[mine])
        found[element == e] = here(t[element == e])
    return found


def trace(
    problem: MeanFieldProblem, fields: Fields, start: Array, s: Sequence[float]
) -> Array:
    """Move particles in the field of the limit, Eqs. (7) and (13): tracers.

    Parameters
    ----------
    problem : MeanFieldProblem
    fields : Fields
        At the depths of the particles.
    start : ndarray, shape (J, M, k)
        theta at s = 0.
    s : sequence of float, length R
        Training times, 0 first.

    Returns
    -------
    theta : ndarray, shape (R, J, M, k)
        A draw from rho_ini becomes a draw from rho(s): the tracer of a network's
        particle is what the particle would be in the limit.
    """

    def moving(s: float, y: Array) -> Point:
        theta = y.reshape(start.shape)
        gradient = first_variation_gradient(problem, theta, *fields(s))
        if problem.regulariser is not None:
            gradient += 2.0 * problem.regulariser.strength(s) * theta
        return Point(s, y, problem.velocity_of(gradient).ravel())

    stepper = ClassicalRungeKutta(s[-1] / fields.n_steps)
    point = moving(s[0], start.ravel())
    found = [start]
    for target in s[1:]:
        while point.s < target:
            point = stepper.step(moving, point, target, {}).point
        found.append(point.y.reshape(start.shape))
    return np.array(found)


def root_mean_square(values: Any, weights: Array) -> Array:
    """Root of sum_i c_i |v_i|^2 for values (..., N, q) and sample weights c (N,)."""
    squares = np.sum(np.square(values), axis=-1)
    return np.sqrt(squares @ weights)


def path_distance(
    theta: Array, nodes: Array, reference: Array, reference_nodes: Array
) -> float:
    """Distance in L2 over depth of the weights of a network from paths of the limit.

    The root of (1/L) sum_l mean_m |theta_lm - Theta_m(t_l)|^2, Theta interpolated by a
    polynomial. Between the layers a linear interpolant of the network adds O(L^-2), of
    the curvature of the paths, and beyond the last layer O(L^-3/2).

    Parameters
    ----------
    theta : ndarray, shape (L, M, k)
    nodes : ndarray, shape (L,)
        Depths of the layers.
    reference : ndarray, shape (K, M, k)
        The same particles at the nodes of one Gauss element.
    reference_nodes : ndarray, shape (K,)
    """
    difference = theta - polynomial(reference_nodes, reference)(nodes)
    return float(np.sqrt(np.mean(np.sum(difference**2, axis=2))))
