"""Exponents of a power of a size, fitted and judged in one go."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mfpde.analysis import PowerFit, fit_asymptotic_power
from mfpde.studies.judging import NEIGHBOURS, judge
from mfpde.studies.report import Verdict


def judge_order(
    claim: str,
    expected: float,
    n: ArrayLike,
    errors: ArrayLike,
    config: Mapping[str, Any],
    *,
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
        As for `mfpde.analysis.fit_asymptotic_power`.
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
    fit = fit_asymptotic_power(n, errors, confidence=config["confidence"])
    verdict = judge(
        claim,
        expected,
        fit.exponent,
        fit.exponent_interval,
        config["tolerance"],
        rivals=(expected - NEIGHBOURS, expected + NEIGHBOURS),
        row=row,
        note=note,
    )
    n_diverged = int(np.isinf(np.asarray(errors, dtype=float)).sum())
    if n_diverged:
        # The sizes that diverge are left out of the fit: it says nothing of them.
        told = f"{n_diverged} of {np.size(errors)} runs diverged. {note}".strip()
        verdict = dataclasses.replace(verdict, verdict="not resolved", note=told)
    return verdict, fit
