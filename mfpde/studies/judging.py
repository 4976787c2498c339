"""Rules by which a verdict follows from a value, its interval and a claim.

Every rule takes `row`, the number of the claim that the verdict decides, and `note`, a
sentence that stands below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta

from mfpde.analysis.rates import Interval
from mfpde.studies.report import Verdict

MOST_LENGTH = 12.0
"""Longest interval that confirms, in tolerances."""
NEIGHBOURS = 0.5
"""Orders of the theory are multiples of it: the interval of one excludes the next."""
LEAST_SHARE = 0.5
"""What the share of cases in which a claim holds must surely exceed."""
SHARE_CONFIDENCE = 0.95


def judge(
    claim: str,
    expected: float,
    value: float,
    interval: Interval,
    tolerance: float,
    *,
    rivals: Sequence[float] = (),
    row: int | None = None,
    note: str = "",
) -> Verdict:
    """Judge a claim of equality; no interval that holds one of the rivals confirms."""
    is_near = abs(value - expected) <= tolerance
    is_inside = interval[0] <= expected <= interval[1]
    is_alone = not any(interval[0] <= each <= interval[1] for each in rivals)
    holds = is_inside and is_near and is_alone and _is_sharp(interval, tolerance)
    fails = not is_near and _is_far(expected, interval)
    without = "".join(f", holds no {each:g}" for each in rivals)
    rule = (
        "Confirmed if the expected value lies in the interval and within "
        f"{tolerance:g} of the value, and the interval is no longer than "
        f"{MOST_LENGTH * tolerance:g}{without}; contradicted if it lies outside twice "
        "the interval and farther from the value."
    )
    found = value, interval
    return _verdict(claim, expected, found, (holds, fails), rule, note, row)


def _verdict(
    claim: str,
    expected: float | str,
    found: tuple[float, Interval],
    judged: tuple[bool, bool],
    rule: str,
    note: str,
    row: int | None,
) -> Verdict:
    """The verdict by whether a rule confirms, or contradicts, a number that is known.

    A diverged run, or too few runs, leave no number or no interval.
    """
    value, interval = found
    holds, fails = judged
    verdict = "not resolved"
    if not all(map(math.isfinite, (value, *interval))):
        note = f"No number, or no interval: runs have no value, or are too few. {note}"
    elif holds:
        verdict = "confirmed"
    elif fails:
        verdict = "contradicted"
    return Verdict(claim, expected, value, interval, verdict, rule, note, row)


def not_measured(
    claim: str, row: int, note: str, *, expected: float | str = "", rule: str = ""
) -> Verdict:
    """The verdict on what a claim demands and was not measured, or has no fit."""
    return Verdict(claim, expected, None, None, "not resolved", rule, note, row)


def neighbours(order: float) -> tuple[float, float]:
    """The orders next to one, which its interval must exclude (`judge`, rivals)."""
    return order - NEIGHBOURS, order + NEIGHBOURS


def _is_sharp(interval: Interval, tolerance: float) -> bool:
    """Whether an interval says anything: a value near by luck confirms no claim."""
    return interval[1] - interval[0] <= MOST_LENGTH * tolerance


def _is_far(expected: float, interval: Interval) -> bool:
    """Whether a value lies outside an interval doubled about its middle.

    A study judges many claims: one interval in twenty, or in a hundred, misses.
    """
    middle, length = 0.5 * sum(interval), interval[1] - interval[0]
    return math.isfinite(length) and abs(expected - middle) > length


def judge_at_least(
    claim: str,
    least: float,
    value: float,
    interval: Interval,
    tolerance: float,
    *,
    row: int | None = None,
    note: str = "",
) -> Verdict:
    """Judge a claim that an order, an upper bound of the theory, is reached."""
    is_reached = interval[1] >= least and value >= least - tolerance
    is_alone = interval[0] > neighbours(least)[0]
    holds = is_reached and is_alone and _is_sharp(interval, tolerance)
    fails = value < least - tolerance and _is_far(least, interval)
    rule = (
        "Confirmed if the interval, no longer than "
        f"{MOST_LENGTH * tolerance:g} and above {neighbours(least)[0]:g}, reaches the "
        f"bound and the value is at most {tolerance:g} short of it; contradicted if "
        "twice the interval falls short."
    )
    found = value, interval
    return _verdict(claim, f">= {least:g}", found, (holds, fails), rule, note, row)


def judge_between(
    claim: str,
    bounds: Interval,
    value: float,
    interval: Interval,
    tolerance: float,
    *,
    row: int | None = None,
    note: str = "",
) -> Verdict:
    """Judge a claim that something lies between bounds, both of them possible."""
    low, high = bounds
    holds = interval[0] >= low - tolerance and interval[1] <= high + tolerance
    fails = (interval[1] < low and _is_far(low, interval)) or (
        interval[0] > high and _is_far(high, interval)
    )
    rule = (
        f"Confirmed if the whole interval lies between the bounds, to {tolerance:g}; "
        "contradicted if all of twice the interval is on one side of them."
    )
    expected = f"{low:g} to {high:g}"
    found = value, interval
    return _verdict(claim, expected, found, (holds, fails), rule, note, row)


def judge_below(
    claim: str,
    bound: float,
    value: float,
    interval: Interval,
    *,
    row: int | None = None,
    note: str = "",
) -> Verdict:
    """Judge a claim that something is below a bound."""
    holds = interval[1] < bound
    fails = interval[0] > bound and _is_far(bound, interval)
    rule = (
        "Confirmed if the whole interval is below; contradicted if all of twice the "
        "interval is above."
    )
    found = value, interval
    return _verdict(claim, f"< {bound:g}", found, (holds, fails), rule, note, row)


def judge_above(
    claim: str,
    bound: float,
    value: float,
    interval: Interval,
    *,
    row: int | None = None,
    note: str = "",
) -> Verdict:
    """Judge a claim that something is above a bound."""
    holds = interval[0] > bound
    fails = interval[1] < bound and _is_far(bound, interval)
    rule = (
        "Confirmed if the whole interval is above; contradicted if all of twice the "
        "interval is below."
    )
    found = value, interval
    return _verdict(claim, f"> {bound:g}", found, (holds, fails), rule, note, row)


def judge_all(
    claim: str, holds: ArrayLike, *, row: int | None = None, note: str = ""
) -> Verdict:
    """Judge a claim about every case, from whether it holds in each of those tried."""
    holds = np.ravel(np.asarray(holds, dtype=bool))
    n, n_true = len(holds), int(holds.sum())
    interval = share_interval(n_true, n)
    verdict = "not resolved"
    if n_true == n and interval[0] > LEAST_SHARE:
        verdict = "confirmed"
    elif interval[1] < 1.0:
        verdict = "contradicted"
    rule = (
        "Confirmed if it holds in all cases tried and these are so many that the "
        f"{100 * SHARE_CONFIDENCE:g} % interval (Clopper-Pearson) of the share of all "
        f"cases lies above {LEAST_SHARE:g}; contradicted if it fails in one."
    )
    value = n_true / n if n else math.nan
    return Verdict(claim, "all", value, interval, verdict, rule, note, row)


def share_interval(n_true: int, n: int) -> Interval:
    """Interval of Clopper and Pearson for a share of which n_true of n are known."""
    tail = 0.5 * (1.0 - SHARE_CONFIDENCE)
    low = beta.ppf(tail, n_true, n - n_true + 1) if n_true else 0.0
    high = beta.ppf(1.0 - tail, n_true + 1, n - n_true) if n_true < n else 1.0
    return float(low), float(high)
