"""References of studies: the mean-field limit of a case, never a bigger network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BarycentricInterpolator

from mfpde.depth import DepthGrid
from mfpde.evaluation import Evaluation, first_variation_gradient
from mfpde.laws import marginal
from mfpde.laws.origin import Sampling
from mfpde.limit_solver import solve_limit
from mfpde.problem import MeanFieldProblem
from mfpde.solver import solve
from mfpde.studies.cases import Case

Array = NDArray[np.float64]

N_TIMES = 17
"""Chebyshev points in s at which the states of the limit are kept."""
TRACER_STEPS = 24
"""Steps of the Runge-Kutta method of order 4 with which tracers move over a horizon."""


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
        networks of infinite width; and fields_t (P,), fields_s (T,),
        fields (T, 2, P, N, d): z and p of the limit for `Fields`.

    Notes
    -----
    Only the marginals of the law at each depth enter, so its paths are left aside.
    """
    observables = {"output": output, "state": state}
    found = solve_limit(
        case.problem,
        marginal(case.law),
        s_end=float(s[-1]),
        tol=tol,
        record=s,
        observables={"state": state},
        max_particles=max_particles,
    )
    rule = found.setup.ensemble.origin
    wide = [
        solve(
            case.problem,
            grid,
            rule.ensemble(grid),
            s_end=float(s[-1]),
            rtol=rtol,
            atol=1e-3 * rtol,
            record=s,
            observers=observables,
        )
        for grid in map(DepthGrid.euler, depths)
    ]
    times = chebyshev_points(float(s[-1]), N_TIMES)
    moving = solve(
        case.problem,
        found.grid,
        _coarser(rule).ensemble(found.grid),
        s_end=float(s[-1]),
        rtol=rtol,
        atol=1e-3 * rtol,
        record=times,
        observers={"states": states},
    )
    return {
        "output": found.observations["output"],
        "state": found.observations["state"],
        "loss": found.loss,
        "error": np.array(found.estimated_error),
        "wide_output": np.array([each.observations["output"] for each in wide]),
        "wide_state": np.array([each.observations["state"] for each in wide]),
        "wide_loss": np.array([each.loss for each in wide]),
        "fields_t": found.grid.state_depths(),
        "fields_elements": np.array(found.grid.n_steps),
        "fields_s": moving.s,
        "fields": moving.observations["states"],
    }


def _coarser(rule: Sampling) -> Sampling:
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
        self._in_s = BarycentricInterpolator(
            reference["fields_s"], np.moveaxis(at_t, 0, 2)
        )

    def __call__(self, s: float) -> tuple[Array, Array]:
        """z and p (J, N, d) at a training time."""
        z, p = self._in_s(s)
        return z, p


def _at_depths(points: Array, n_elements: int, values: Array, t: Array) -> Array:
    """Values (P, ...) at `points` (P,), 0, the nodes and 1, interpolated to t (J,)."""
    if n_elements == 1:
        return BarycentricInterpolator(points, values)(t)
    nodes, inner = points[1:-1], values[1:-1]
    element = np.minimum((t * n_elements).astype(int), n_elements - 1)
    n = len(nodes) // n_elements
    found = np.empty((len(t), *values.shape[1:]))
    for e in np.unique(element):
        mine = slice(e * n, (e + 1) * n)
        here = BarycentricInterpolator(nodes[mine], inner[mine])
        found[element == e] = here(t[element == e])
    return found


def trace(
    problem: MeanFieldProblem, fields: Fields, theta: Array, s: Sequence[float]
) -> Array:
    """Move particles in the field of the limit, Eqs. (7) and (13): tracers.

    Parameters
    ----------
    problem : MeanFieldProblem
    fields : Fields
        At the depths of the particles.
    theta : ndarray, shape (J, M, k)
        Where they start.
    s : sequence of float, length R
        Training times, 0 first.

    Returns
    -------
    theta : ndarray, shape (R, J, M, k)
        A draw from rho_ini becomes a draw from rho(s): the tracer of a network's
        particle is what the particle would be in the limit.
    """

    def velocity(s: float, theta: Array) -> Array:
        gradient = first_variation_gradient(problem, theta, *fields(s))
        if problem.regulariser is not None:
            gradient += 2.0 * problem.regulariser.strength(s) * theta
        return -problem.metric * gradient

    found = [theta]
    for start, end in itertools.pairwise(s):
        n_steps = max(1, round(TRACER_STEPS * (end - start) / s[-1]))
        h, theta = (end - start) / n_steps, found[-1]
        for now in start + h * np.arange(n_steps):
            k1 = velocity(now, theta)
            k2 = velocity(now + 0.5 * h, theta + 0.5 * h * k1)
            k3 = velocity(now + 0.5 * h, theta + 0.5 * h * k2)
            k4 = velocity(now + h, theta + h * k3)
            theta = theta + (h / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        found.append(theta)
    return np.array(found)


def root_mean_square(values: Any, weights: Array) -> Array:
    """Root of sum_i c_i |v_i|^2 for values (..., N, q) and sample weights c (N,)."""
    squares = np.sum(np.square(values), axis=-1)
    return np.sqrt(squares @ weights)
