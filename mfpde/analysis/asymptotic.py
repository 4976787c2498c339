"""Exponents of Eq. (29) with what lies before the asymptotic range in the interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.cells import positive_axis
from mfpde.analysis.joint import RateFit, fit_rates
from mfpde.analysis.rates import Interval

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def extrapolated(coarse: float, fine: float) -> float:
    """3 p' - 2 p from the exponent p of all cells and p' without the coarsest.

    A next term whose share of the error halves when the depth is doubled bends a line
    through four or five such depths: without the first of them, about two thirds of
    what it adds to the exponent are left.
    """
    return 3.0 * fine - 2.0 * coarse


def bent_interval(
    own: Interval, exponent: float, moved: Array, confidence: float
) -> Interval:
    """An interval that allows for a bend, if there is one beyond chance.

    Parameters
    ----------
    own : tuple of float
        The statistical interval.
    exponent : float
        p of all cells.
    moved : ndarray, shape (B,)
        p' - p on resamples, p' without the coarsest cells.
    confidence : float

    Returns
    -------
    interval : tuple of float
        `own` if the interval of p' - p contains 0; else it reaches to p + 5 (p' - p),
        as far beyond `extrapolated` as that lies from p'.
    """
    tails = [0.5 * (1 - confidence), 0.5 * (1 + confidence)]
    low, high = np.quantile(moved, tails).tolist()
    if low <= 0.0 <= high:
        return own
    reach = exponent + 5.0 * (high if low > 0.0 else low)
    return min(own[0], reach), max(own[1], reach)


@dataclass(frozen=True, eq=False)
class AsymptoticRates:
    """A joint fit whose intervals allow for higher terms.

    Attributes
    ----------
    fit : RateFit
        On all cells of the window; its own intervals hold the statistical error alone.
    p_interval, q_interval : tuple of float
        Where an exponent moves, beyond chance, when the coarsest cells are left out,
        they reach beyond it: see `bent_interval`.
    p_extrapolated, q_extrapolated : float
        `extrapolated` from the fits with and without the smallest depth (for p) and
        the least L^a M (for q); NaN where too few cells are left.
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
    if len(finer.replicates) == len(fit.replicates) > 0:
        # The same resamples of seeds in both fits.
        column = {"p": 1, "q": 3}[name]
        moved = finer.replicates[:, column] - fit.replicates[:, column]
        own = bent_interval(own, coarse, moved, fit.confidence)
    return own, extrapolated(coarse, fine)
