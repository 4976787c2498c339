"""Rules by which a verdict follows from a value, its interval and a claim."""

from __future__ import annotations

import math

from mfpde.analysis.rates import Interval
from mfpde.studies.report import Verdict

MOST_LENGTH = 12.0
"""Longest interval that confirms, in tolerances."""


def judge(
    claim: str, expected: float, value: float, interval: Interval, tolerance: float
) -> Verdict:
    """Judge a claim of equality."""
    is_near = abs(value - expected) <= tolerance
    is_inside = interval[0] <= expected <= interval[1]
    verdict = "not resolved"
    if is_inside and is_near and _is_sharp(interval, tolerance):
        verdict = "confirmed"
    elif not is_near and _is_far(expected, interval):
        verdict = "contradicted"
    rule = (
        "Confirmed if the expected value lies in the interval and within "
        f"{tolerance:g} of the value, and the interval is no longer than "
        f"{MOST_LENGTH * tolerance:g}; contradicted if it lies outside twice the "
        "interval and farther from the value."
    )
    return Verdict(claim, expected, value, interval, verdict, rule)


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
    claim: str, least: float, value: float, interval: Interval, tolerance: float
) -> Verdict:
    """Judge a claim that an order, an upper bound of the theory, is reached."""
    verdict = "not resolved"
    is_reached = interval[1] >= least and value >= least - tolerance
    if is_reached and _is_sharp(interval, tolerance):
        verdict = "confirmed"
    elif value < least - tolerance and _is_far(least, interval):
        verdict = "contradicted"
    rule = (
        "Confirmed if the interval, no longer than "
        f"{MOST_LENGTH * tolerance:g}, reaches the bound and the value is at most "
        f"{tolerance:g} short of it; contradicted if twice the interval falls short."
    )
    return Verdict(claim, f">= {least:g}", value, interval, verdict, rule)


def judge_below(claim: str, bound: float, value: float, interval: Interval) -> Verdict:
    """Judge a claim that something is below a bound."""
    verdict = "not resolved"
    if interval[1] < bound:
        verdict = "confirmed"
    elif interval[0] > bound and _is_far(bound, interval):
        verdict = "contradicted"
    rule = (
        "Confirmed if the whole interval is below; contradicted if all of twice the "
        "interval is above."
    )
    return Verdict(claim, f"< {bound:g}", value, interval, verdict, rule)
