"""Verdicts on losses that fall to an infimum, or stall at it (theory, section 5.7).

E is the loss, s training time, M2 the second moment of the law, Eq. (12).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import power_limit
from mfpde.papers.flows import over_seeds
from mfpde.studies.judging import judge, judge_above
from mfpde.studies.orders import judge_those, resolved_if_all
from mfpde.studies.report import Verdict
from mfpde.studies.study import Config

Array = NDArray[np.float64]

ROUNDING = 1e-12
SLOWEST = 0.25
"""Power of 1 / s that M2 is told from: with it a flow nears a minimum of order 6."""


def judge_infimum(case: str, ratio: Array, config: Config) -> list[Verdict]:
    """Judge E over its infimum (seeds, s): never below one, and one in the limit."""
    limits = [power_limit(each) for each in ratio]
    fine = np.array([value for value, _ in limits])
    coarse = [0.5 * (value + high) for value, (_, high) in limits]
    # Exact numbers, too, have the tolerance of the flow.
    others = [coarse, (1.0 + config["rtol"]) * fine]
    has_value = np.isfinite(ratio).all(axis=1)
    stays = np.all(ratio >= 1.0 - ROUNDING, axis=1)
    claim, found = f"{case}: limit of E / infimum", over_seeds(fine, config, others)
    limit = judge(claim, 1.0, *found, config["tolerance"], row=5)
    return [
        judge_those(f"{case}: E >= its infimum at all s", stays, has_value, row=5),
        resolved_if_all(limit, has_value),
    ]


def judge_for_ever(
    case: str, s: Array, at: Mapping[str, Array], config: Config
) -> list[Verdict]:
    """Judge what an infimum that is not attained brings: E falls on, and M2 grows.

    A gap u ~ 1 / s is a contraction by ln s, which takes a law with M2 ~ ln s or more:
    its increments from s to 2 s do not fall, those of a moment M - c s^-a do, by 2^-a.
    """
    falls = np.all((np.diff(at["loss"]) < 0.0) & (at["reach"][:, 1:] > 0.0), axis=1)
    growth = increment_ratios(at["second_moment"][:, 1:])
    found = over_seeds(growth[:, -1], config, [growth[:, -2]])
    claim = f"{case}: M2 grows in the last octave of s, over the one before"
    verdicts = [judge_above(claim, 2.0**-SLOWEST, *found, row=5)]
    if "orientation" in case:
        slopes = np.diff(1.0 / at["reach"]) / np.diff(s)
        # What is left of order 1 / s halves from one slope to the next.
        slopes = 2.0 * slopes[:, 1:] - slopes[:, :-1]
        value = over_seeds(slopes[:, -1], config, [slopes[:, -2]])
        claim = f"{case}: s u(s) |y| by the slope of 1 / (u |y|)"
        verdicts.append(judge(claim, 1.0, *value, config["tolerance"], row=5))
    has_value = np.isfinite(at["loss"]).all(axis=1)
    return [
        judge_those(f"{case}: E falls, never to its infimum", falls, has_value, row=5),
        *(resolved_if_all(each, has_value) for each in verdicts),
    ]


def increment_ratios(values: ArrayLike) -> Array:
    """Ratios of successive increments along the last axis; zero where none grows.

    Parameters
    ----------
    values : array_like, shape (..., R)

    Returns
    -------
    ratios : ndarray, shape (..., R - 2)
        NaN for values without a number.
    """
    steps = np.diff(np.asarray(values, dtype=float))
    before, after = steps[..., :-1], steps[..., 1:]
    stands = before <= 0.0
    return np.where(stands, 0.0, after / np.where(stands, 1.0, before))
