"""Rules by which a verdict follows from a value, its interval and a claim."""

from __future__ import annotations

import math

from mfpde.analysis.rates import Interval
from mfpde.studies.report import Verdict


def judge(
    claim: str,
    expected: float,
    value: float,
    interval: Interval,
    tolerance: float,
    note: str = "",
) -> Verdict:
    """Judge a claim of equality."""
    is_inside = interval[0] <= expected <= interval[1]
    is_near = abs(value - expected) <= tolerance
    verdict = "not resolved"
    if is_inside and is_near:
        verdict = "confirmed"
    elif not is_inside and not is_near and math.isfinite(sum(interval)):
        verdict = "contradicted"
    rule = (
        "Confirmed if the expected value lies in the interval and within "
        f"{tolerance:g} of the value; contradicted if neither."
    )
    return Verdict(claim, expected, value, interval, verdict, rule, note)


def judge_below(
    claim: str, bound: float, value: float, interval: Interval, note: str = ""
) -> Verdict:
    """Judge a claim that something is below a bound."""
    verdict = "not resolved"
    if interval[1] < bound:
        verdict = "confirmed"
    elif interval[0] > bound:
        verdict = "contradicted"
    rule = "Confirmed if the whole interval is below, contradicted if it is above."
    return Verdict(claim, f"< {bound:g}", value, interval, verdict, rule, note)
