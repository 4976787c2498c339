"""What the energy balance, Eqs. (14) and (28), asks of an accepted step."""

from __future__ import annotations

import numpy as np

from mfpde.evaluation import Evaluation
from mfpde.steppers import Point

FACTOR = 30.0
LEAST_FRACTION = 1e-3


def budget_used(old: Point, new: Point, rtol: float, atol: float) -> float:
    """The part of its share that a step has used; accepted up to 1.

    The share, by which one step from s to s + h may move the residual of the ledger,
    Eq. (28), is

        30 rtol |change of E_s| + (rtol |E_s| + atol) max(h / (s + h), 1 / 1000),

    and rounding. Over a run of n steps the shares add up to no more than

        30 rtol (E_0 - E_s) + (rtol E_0 + atol) (1 + ln(s / first step) + n / 1000):

    a bound of the residual that grows like ln s, and slowly with n. The factor 30 keeps
    the first term from ruling the steps where E_s falls fast. Without the 1 / 1000 the
    error per unit of s were bounded, and steps over kinks of f, of which a block may
    not tell, would shrink like rtol.
    """
    before, after = old.info, new.info
    change = after.objective - before.objective
    defect = change - (new.y[-1] - old.y[-1])
    size = rtol * abs(before.objective) + atol
    fraction = max((new.s - old.s) / new.s, LEAST_FRACTION)
    share = FACTOR * rtol * abs(change) + size * fraction
    return float(abs(defect) / (share + rounding_of_objective(before)))


def rounding_of_objective(evaluation: Evaluation) -> float:
    """Rounding of E_s: sums over particles, layers and samples."""
    c, problem = evaluation.problem.sample_weights, evaluation.problem
    covector = problem.loss.gradients(evaluation.output, problem.y)
    size = np.abs(covector) * (np.abs(evaluation.output) + np.abs(problem.y))
    # Some tens of units of rounding.
    total = evaluation.objective + c @ size.sum(axis=1)
    return float(100 * np.finfo(problem.dtype).eps * total)


def objective_does_not_rise(old: Point, new: Point) -> bool:
    """Whether E_s has not grown beyond rounding: it cannot, Eq. (14)."""
    before, after = old.info, new.info
    if before.ledger_rate > 0:
        return True
    return after.objective <= before.objective + rounding_of_objective(before)
