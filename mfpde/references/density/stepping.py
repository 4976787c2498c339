"""Steps in s: SSPRK(10,4), ten stages and order four, each stage a short Euler step.

Ketcheson (2008), SIAM J. Sci. Comput. 30, 2113: a step of length ds is made of convex
combinations of Euler steps of length ds / 6, so what holds for these (mass, no negative
density) holds for it. The embedded third-order weights are those of Fekete, Conde and
Shadid (2022), J. Comput. Appl. Math. 412, 114325.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConvergenceError
from mfpde.references.density.flow import GridFlow, States
from mfpde.references.density.fluxes import Fluxes

Array = NDArray[np.float64]

ABSCISSAE = np.array([0, 1, 2, 3, 4, 2, 3, 4, 5, 6]) / 6.0
EMBEDDED = np.array([2, 0, 0, 3, 0, 0, 2, 0, 3, 0]) / 10.0
N_STAGES = len(ABSCISSAE)

POSITIVE_PART = 0.5
"""Euler steps in units of the longest positive one. Up to 0.51 the fifth-order upwind
flux is linearly stable, too, and up to 0.6 the fourth-order diffusion."""

SHORTEST_STEP = 1e-12
"""Relative to s_end."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """The density at one s, with what a step from it needs."""

    s: float
    density: Array
    states: States
    fluxes: Fluxes


@dataclass(slots=True)
class Counts:
    """Accepted steps, rejected steps, and solutions of the states."""

    n_steps: int = 0
    n_rejected: int = 0
    n_evaluations: int = 0


def march(
    flow: GridFlow, density: Array, times: Array, rtol: float, counts: Counts
) -> Iterator[Point]:
    """Yield the flow at the given times, the first of which is 0.

    Parameters
    ----------
    flow : GridFlow
    density : ndarray, shape (J, *cells)
        At s = 0.
    times : ndarray, shape (R,)
        Increasing.
    rtol : float
        Bound of the error of each step: the Wasserstein distance between its two
        solutions, marginal by marginal, relative to the root of the second moment.
    counts : Counts
        Filled while the flow goes on.

    Raises
    ------
    ConvergenceError
        If no step is short enough.
    NotFiniteError
        See `solve_states`.
    """
    point = _point(flow, density, None, 0.0, counts)
    yield point
    ds, is_retry = np.inf, False
    for wanted in times[1:]:
        while point.s < wanted:
            longest = 6.0 * POSITIVE_PART * point.fluxes.positive_step()
            is_last = min(ds, longest) >= wanted - point.s
            tried = wanted - point.s if is_last else min(ds, longest)
            if tried < SHORTEST_STEP * times[-1] and not is_last:
                raise ConvergenceError(
                    f"The steps in s became too short at s = {point.s:.6g}. "
                    "Raise `rtol`, use fewer cells, or look for a blow-up."
                )
            density, error = _step(flow, point, tried, counts)
            ratio = error / (rtol * _scale(flow, point.density))
            if ratio > 1.0:
                counts.n_rejected += 1
            else:
                counts.n_steps += 1
                s = float(wanted) if is_last else point.s + tried
                point = _point(flow, density, point.states, s, counts)
            growth = _factor(ratio)
            # Right after a rejection there is no growth, and a step cut short by a
            # record does not shorten the next one.
            proposed = tried * (min(growth, 1.0) if is_retry else growth)
            is_retry = ratio > 1.0
            ds = max(ds, proposed) if is_last and not is_retry else proposed
        yield point


def _factor(ratio: float) -> float:
    """Change of the step for an error estimate of fourth order in ds."""
    return float(np.clip(0.9 * max(ratio, 1e-10) ** -0.25, 0.2, 2.0))


def _point(
    flow: GridFlow, density: Array, guess: States | None, s: float, counts: Counts
) -> Point:
    counts.n_evaluations += 1
    states = flow.states(density, guess)
    return Point(s, density, states, flow.fluxes(density, states, s))


def _step(
    flow: GridFlow, start: Point, ds: float, counts: Counts
) -> tuple[Array, float]:
    """One step; the density and its error, infinite if it may be negative."""
    euler = ds / 6.0
    density, error = start.density, np.zeros_like(start.density)
    point = start
    kept = np.zeros_like(density)
    for i in range(N_STAGES):
        if i > 0:
            s = start.s + ABSCISSAE[i] * ds
            point = _point(flow, density, point.states, s, counts)
        if point.fluxes.positive_step() < euler:
            return density, np.inf
        rates = point.fluxes.rates(euler)
        error += (ds / N_STAGES - ds * EMBEDDED[i]) * rates
        density = density + euler * rates
        if i == 4:
            kept = 0.04 * start.density + 0.36 * density
            density = 0.6 * start.density + 0.4 * density
    return kept + 0.6 * density, _distance(flow, error)


def _distance(flow: GridFlow, error: Array) -> float:
    """Wasserstein-1 size of a density difference: largest marginal, mean over depth."""
    sizes = []
    for c, width in enumerate(flow.mesh.widths):
        others = tuple(axis for axis in range(1, error.ndim) if axis != c + 1)
        marginal = error.sum(axis=others) * flow.mesh.volume
        in_depth = width * np.abs(np.cumsum(marginal, axis=1)).sum(axis=1)
        sizes.append(float(np.dot(flow.depth.weights, in_depth)))
    return max(sizes)


def _scale(flow: GridFlow, density: Array) -> float:
    squares = sum(each**2 for each in flow.mesh.at_centres)
    moments = flow.mesh.total(density * squares)
    return float(np.sqrt(np.dot(flow.depth.weights, moments)))
