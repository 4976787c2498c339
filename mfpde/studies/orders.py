"""Verdicts of fits and of runs, some of which may have no value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mfpde.analysis import PowerFit, fit_asymptotic_power
from mfpde.studies.judging import judge, judge_all, neighbours
from mfpde.studies.report import Verdict


def judge_order(
    claim: str,
    expected: float,
    n: ArrayLike,
    errors: ArrayLike,
    config: Mapping[str, Any],
    *,
    statistic: str | float = "rms",
    row: int | None = None,
    note: str = "",
) -> tuple[Verdict, PowerFit]:
    """Fit error = constant n^-exponent with what comes before the asymptotic range.

    Parameters
    ----------
    claim : str
    expected : float
        Of the exponent.
    n, errors : array_like
        As for `mfpde.analysis.fit_asymptotic_power`, as is `statistic`.
    config : mapping
        With `confidence` and `tolerance`.
    row, note
        As for `judge`.

    Returns
    -------
    verdict : Verdict
        Its interval must exclude the orders one half above and below; "not resolved"
        if a run diverged.
    fit : PowerFit
    """
    options = {"statistic": statistic, "confidence": config["confidence"]}
    fit = fit_asymptotic_power(n, errors, **options)
    verdict = judge(
        claim,
        expected,
        fit.exponent,
        fit.exponent_interval,
        config["tolerance"],
        rivals=neighbours(expected),
        row=row,
        note=note,
    )
    return resolved_if_all(verdict, ~np.isinf(np.asarray(errors, dtype=float))), fit


def resolved_if_all(verdict: Verdict, has_value: ArrayLike) -> Verdict:
    """Return a verdict, "not resolved" if some runs have no value: it leaves them out.

    Parameters
    ----------
    verdict : Verdict
    has_value : array_like of bool
        Of every run.
    """
    n_lost = int(np.sum(~np.asarray(has_value, dtype=bool)))
    if not n_lost:
        return verdict
    told = f"{n_lost} of {np.size(has_value)} runs have no value. {verdict.note}"
    return dataclasses.replace(verdict, verdict="not resolved", note=told.strip())


def judge_those(
    claim: str, holds: ArrayLike, has_value: ArrayLike, *, row: int | None = None
) -> Verdict:
    """Judge a claim about every run by those that have a value; see `judge_all`.

    "Not resolved" if some have none, unless it fails in one that has.
    """
    has_value = np.asarray(has_value, dtype=bool)
    verdict = judge_all(claim, np.asarray(holds)[has_value], row=row)
    if verdict.verdict == "contradicted":
        return verdict
    return resolved_if_all(verdict, has_value)
