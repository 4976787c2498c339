"""Why a run ends before its time: limits that it crosses, and steps that blow up.

A stop reason is a pair (status, sentence), status one of "finished", "interrupted" and
"failed".
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from mfpde.arrays import check_fields, optional, positive
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.problem import MeanFieldProblem
from mfpde.run.states import State

__all__ = ["MOST_GROWTH", "Reason", "StopRules", "blown_up", "locate"]

Reason = tuple[str, str]

MOST_GROWTH = 1e12
"""Of the objective, beyond which steps in s have blown up. For a squared loss the
outputs are then a million times as large as the targets and those of the start: no
momentum, noise, small batch or overshoot that ends well goes so far, and the balance
(14), by which E_s falls, is long lost."""


@dataclass(frozen=True, kw_only=True)
class StopRules:
    """Limits on quantities of a flow that end it; None is no limit.

    It ends where a limit is crossed, in s to the tolerance rtol: the last step is
    shortened. Steps of order 1 (Euler, with or without noise) are an iteration and end
    with the first one beyond it.

    A state is steady if, at its present rate |dE_s/ds| = D_s - lambda'(s) M2, Eq. (14),
    the objective would change over the whole horizon s_end by at most `steady_state`
    times what it was at s = 0. Without metric and decay that bounds the gradient norm
    by sqrt(steady_state E_0 / s_end).
    """

    loss_below: float | None = None
    gradient_norm_below: float | None = None
    steady_state: float | None = None

    def __post_init__(self) -> None:
        names = [field.name for field in dataclasses.fields(self)]
        check_fields(self, **dict.fromkeys(names, optional(positive)))

    def reason(
        self, state: State, *, s_end: float, objective_at_start: float
    ) -> Reason | None:
        """The stop reason if the run shall end at this state."""
        evaluation = state.evaluation
        at = f"at s = {state.s:g}"
        limit = self.loss_below
        if limit is not None and evaluation.loss < limit:
            return "finished", f"The loss is below {limit:g} {at}."
        limit = self.gradient_norm_below
        if limit is not None and evaluation.gradient_norm < limit:
            return "finished", f"The gradient norm is below {limit:g} {at}."
        change = abs(evaluation.ledger_rate) * s_end
        limit = self.steady_state
        if limit is not None and change <= limit * abs(objective_at_start):
            return "finished", (
                f"Steady {at}: at the present rate the objective would change by "
                f"{change:.2g} up to s_end = {s_end:g}, at most {limit:g} of that at "
                "the start."
            )
        return None

    def margin(self, state: State, *, s_end: float, objective_at_start: float) -> float:
        """ln of what is nearest to its limit, over it: negative where the run ends."""
        evaluation = state.evaluation
        ratios = []
        if self.loss_below is not None:
            ratios.append(_log_ratio(evaluation.loss, self.loss_below))
        if self.gradient_norm_below is not None:
            norm = evaluation.gradient_norm
            ratios.append(_log_ratio(norm, self.gradient_norm_below))
        if self.steady_state is not None:
            change = abs(evaluation.ledger_rate) * s_end
            limit = self.steady_state * abs(objective_at_start)
            ratios.append(_log_ratio(change, limit))
        return min(ratios)


def _log_ratio(value: float, limit: float) -> float:
    """ln(value / limit), finite: it is nearly linear in s where the value decays."""
    tiny = 1e-300
    return math.log(max(value, tiny)) - math.log(max(limit, tiny))


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


def blown_up(
    problem: MeanFieldProblem, objective: float, at_start: float, where: str
) -> Reason | None:
    """The stop reason if an objective is beyond anything that descent explains.

    It is compared with the largest of the objective at the start, and the losses of
    outputs that no block has made: of zero, and of the state z(0). A start near zero
    loss may well be left by large steps for a place from where they go down.

    Parameters
    ----------
    problem : MeanFieldProblem
        At the start.
    objective, at_start : float
        E_s, or the loss of a batch, now and at s = 0.
    where : str
        The step, in words.
    """
    if objective <= MOST_GROWTH * abs(at_start):
        return None
    size = max(abs(at_start), _loss_without_blocks(problem))
    if size == 0.0 or objective <= MOST_GROWTH * size:
        return None
    return "failed", (
        f"The objective has grown from {at_start:.4g} at s = 0 to {objective:.4g} at "
        f"{where}: the steps are too large and blow up. Reduce `ds`, the learning rate "
        "or the scale of the data."
    )


def _loss_without_blocks(problem: MeanFieldProblem) -> float:
    """The larger loss of the outputs zero and C z(0)."""
    output = problem.z0
    if problem.readout is not None:
        output = output @ problem.readout.matrix.T
    losses = [
        problem.loss.values(each, problem.y) for each in (np.zeros_like(output), output)
    ]
    return max(abs(float(problem.sample_weights @ values)) for values in losses)
