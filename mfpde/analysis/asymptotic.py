"""Exponents of Eq. (29) with what lies before the asymptotic range in the interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.cells import positive_axis
from mfpde.analysis.joint import RateFit, fit_rates
from mfpde.analysis.rates import Interval

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AsymptoticRates:
    """A joint fit whose intervals allow for higher terms.

    Attributes
    ----------
    fit : RateFit
        On all cells of the window; its own intervals hold the statistical error alone.
    p_interval, q_interval : tuple of float
        They also hold the extrapolated exponents, and reach as far beyond these as
        they lie from p' and q': 3 p' - 2 p, 3 q' - 2 q.
    p_extrapolated, q_extrapolated : float
        2 p' - p, p' the exponent without the smallest depth, and alike for q without
        the smallest L^a M: what a next term of twice the order adds to an exponent is
        about halved when the smallest depth is doubled. NaN where too few cells are
        left.
    """

    fit: RateFit
    p_interval: Interval
    q_interval: Interval
    p_extrapolated: float
    q_extrapolated: float


def fit_asymptotic(
    depths: ArrayLike,
    widths: ArrayLike,
    errors: ArrayLike,
    *,
    a: float,
    window: Mask | None = None,
    **options: Any,
) -> AsymptoticRates:
    """Fit Eq. (29), and again without the smallest depth and without the least L^a M.

    Parameters
    ----------
    depths, widths, errors, a
        As for `fit_rates`.
    window : ndarray of bool, shape (n_depths, n_widths), optional
        Cells to use; default all.
    **options
        combine, statistic, confidence, n_bootstrap and seed of `fit_rates`.

    Raises
    ------
    ValueError
        As `fit_rates` does for all cells.
    """
    depths = positive_axis("depths", depths)
    widths = positive_axis("widths", widths, allow_inf=True)
    if window is None:
        window = np.ones((len(depths), len(widths)), dtype=bool)
    options["a"] = a
    fit = fit_rates(depths, widths, errors, window=window, **options)
    counts = np.where(fit.is_used, depths[:, np.newaxis] ** a * widths, np.inf)
    deeper = window & (depths > depths[fit.is_used.any(axis=1)].min())[:, np.newaxis]
    wider = window & (counts > counts.min())
    p_interval, p_end = _widened(fit, "p", (depths, widths, errors), deeper, options)
    q_interval, q_end = _widened(fit, "q", (depths, widths, errors), wider, options)
    return AsymptoticRates(fit, p_interval, q_interval, p_end, q_end)


def _widened(
    fit: RateFit, name: str, table: Any, window: Mask, options: dict[str, Any]
) -> tuple[Interval, float]:
    """The interval with what is before the asymptotic range, and the extrapolation."""
    own = getattr(fit, f"{name}_interval")
    try:
        finer = fit_rates(*table, window=window, **options)
    except ValueError:
        return own, float("nan")
    coarse, fine = getattr(fit, name), getattr(finer, name)
    ends = [3.0 * fine - 2.0 * coarse]
    if len(finer.replicates) == len(fit.replicates) > 0:
        # The same resamples of seeds in both fits.
        column = {"p": 1, "q": 3}[name]
        both = 3.0 * finer.replicates[:, column] - 2.0 * fit.replicates[:, column]
        tails = [0.5 * (1 - fit.confidence), 0.5 * (1 + fit.confidence)]
        ends = np.quantile(both, tails).tolist()
    finite = [end for end in (*own, *ends) if np.isfinite(end)]
    return (min(finite), max(finite)), 2.0 * fine - coarse
