"""Exponents of a power of a size, fitted and judged in one go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from mfpde.analysis import PowerFit, fit_asymptotic_power
from mfpde.studies.judging import judge
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
    fit : PowerFit
    """
    fit = fit_asymptotic_power(n, errors, confidence=config["confidence"])
    verdict = judge(
        claim,
        expected,
        fit.exponent,
        fit.exponent_interval,
        config["tolerance"],
        row=row,
        note=note,
    )
    return verdict, fit
