"""Where a run crosses the limit that ends it: inside its last step, to a tolerance."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable

from scipy.optimize import brentq

from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.flow import State


def locate(
    margin: Callable[[State], float],
    advance: Callable[[State, float], State],
    before: State,
    after: State,
    rtol: float,
) -> State:
    """The state at which a margin falls below zero, within rtol s of the crossing.

    Parameters
    ----------
    margin : callable
        margin(state), continuous along the flow: not negative before, negative after.
    advance : callable
        advance(before, s): the state at s, by steps from `before`.
    before, after : State
        The ends of the step.
    rtol : float

    Returns
    -------
    state : State
        The earliest that was found with a negative margin. All steps that the search
        took are counted in it.
    """
    found, n_evaluations, n_rejected = after, 0, 0

    def value(s: float) -> float:
        nonlocal found, n_evaluations, n_rejected
        if s in (before.s, after.s):
            return margin(before if s == before.s else after)
        state = advance(before, s)
        n_evaluations += state.n_evaluations - before.n_evaluations
        n_rejected += state.n_rejected - before.n_rejected
        distance = margin(state)
        if distance < 0.0 and s < found.s:
            found = state
        return distance

    # Shorter steps from the same start do not fail; if they do, the end will do.
    with contextlib.suppress(ConvergenceError, NotFiniteError):
        brentq(value, before.s, after.s, xtol=0.5 * rtol * after.s)
    return dataclasses.replace(
        found,
        n_evaluations=after.n_evaluations + n_evaluations,
        n_rejected=after.n_rejected + n_rejected,
    )


def log_ratio(value: float, limit: float) -> float:
    """ln(value / limit), finite: it is nearly linear in s where the value decays."""
    tiny = 1e-300
    return math.log(max(value, tiny)) - math.log(max(limit, tiny))
