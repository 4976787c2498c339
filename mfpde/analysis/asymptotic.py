"""Exponents of Eq. (29) with what lies before the asymptotic range in the interval."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.cells import cell_mask, positive_axis
from mfpde.analysis.joint import RateFit, fit_rates
from mfpde.analysis.rates import Interval, PowerFit, fit_power
from mfpde.arrays import checked, float_array, number

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def extrapolated(coarse: float, fine: float) -> float:
    """3 p' - 2 p from the exponent p of all cells and p' without the coarsest.

    A next term whose share of the error halves when the depth is doubled bends a line
    through four or five such depths: without the first of them, about two thirds of
    what it adds to the exponent are left.
    """
    return 3.0 * fine - 2.0 * coarse


def bent_interval(own: Interval, exponent: float, moved: float) -> Interval:
    """A statistical interval that also allows for what is before the asymptotic range.

    Parameters
    ----------
    own : tuple of float
    exponent : float
        p of all cells.
    moved : float
        p' - p, p' the exponent without the coarsest cells.

    Returns
    -------
    interval : tuple of float
        At least p - 5 |p' - p| to p + 5 |p' - p|: to either side, since orders need not
        approach their limit from one, and farther than `extrapolated`, which is as
        uncertain as it lies from p'. Chance moves p', too: few seeds widen it.
    """
    if not np.isfinite(own).all():
        return own
    reach = 5.0 * abs(moved)
    return min(own[0], exponent - reach), max(own[1], exponent + reach)


@checked(fine=number(), coarse=number(), factor=number(least=0.0))
def refinement_interval(fine: float, coarse: float, *, factor: float = 2.0) -> Interval:
    """Interval of a number without chance, from a finer and a coarser computation.

    Returns
    -------
    interval : tuple of float
        fine -+ factor |fine - coarse|: the error of the fine one is at most that of the
        coarse one, also at first order, where the two differ by half of it.
    """
    reach = factor * abs(fine - coarse)
    return fine - reach, fine + reach


def power_limit(values: ArrayLike) -> tuple[float, Interval]:
    """Limit of E(s) = E_inf + c s^-q, with an interval for what is neglected.

    Parameters
    ----------
    values : array_like, shape (n,), n >= 5
        E at s, r s, r^2 s, ..., any ratio r > 1; no chance in them.

    Returns
    -------
    limit : float
        E_inf through the last three values (Aitken). NaN where they do not slow down:
        there is no limit to tell; and where a value is not finite, of a run that
        diverged.
    interval : tuple of float
        By `refinement_interval` from the limits one and two values before. The limit
        may pass through E_inf: half of what it moved before counts as well. NaN where
        one of the three limits is.
    """
    values = float_array("values", values, is_finite=False)
    if values.ndim != 1 or len(values) < 5:
        raise ValueError(
            f"`values` must hold five numbers or more, got shape {values.shape}."
        )
    if not np.isfinite(values).all():
        return float("nan"), (float("nan"), float("nan"))
    triples = (values[-5:-2], values[-4:-1], values[-3:])
    first, coarse, fine = (_aitken(*triple) for triple in triples)
    if not np.isfinite([first, coarse, fine]).all():
        return fine, (float("nan"), float("nan"))
    moved = max(abs(fine - coarse), 0.5 * abs(coarse - first))
    return fine, refinement_interval(fine, fine - moved)


def _aitken(first: float, second: float, third: float) -> float:
    """Limit of a sequence whose distance from it falls by a constant factor."""
    before, after = second - first, third - second
    # Nothing moves any more, up to rounding of the difference.
    if abs(after) <= 4.0 * np.finfo(float).eps * abs(third):
        return float(third)
    # Nothing slows down: there is no limit to tell.
    if abs(after) >= abs(before):
        return float("nan")
    return float(third - after**2 / (after - before))


@dataclass(frozen=True, eq=False)
class AsymptoticRates:
    """A joint fit whose intervals allow for higher terms.

    Attributes
    ----------
    fit : RateFit
        On all cells of the window; its own intervals hold the statistical error alone.
    p_interval, q_interval : tuple of float
        Those of the fit, stretched by `bent_interval`.
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
    shape = len(depths), len(widths)
    window = np.ones(shape, bool) if window is None else cell_mask(window, shape)
    options["a"] = a
    fit = fit_rates(depths, widths, errors, window=window, **options)
    counts = np.where(fit.is_used, depths[:, np.newaxis] ** a * widths, np.inf)
    # Without fluctuations a bend is seen best.
    wide = fit.is_used[:, -1] & np.isinf(widths[-1])
    least = _bend(depths[wide], fit.values[wide, -1]) if wide.sum() > 2 else 0.0
    deeper = window & (depths > depths[fit.is_used.any(axis=1)].min())[:, np.newaxis]
    wider = window & (counts > counts.min())
    table = (depths, widths, errors)
    p_interval, p_end = _widened(fit, "p", table, deeper, least, options)
    q_interval, q_end = _widened(fit, "q", table, wider, 0.0, options)
    return AsymptoticRates(fit, p_interval, q_interval, p_end, q_end)


def fit_asymptotic_power(n: ArrayLike, errors: ArrayLike, **options: Any) -> PowerFit:
    """Fit error = constant n^-exponent, and again without the smallest n.

    Parameters
    ----------
    n, errors
        As for `fit_power`: one error for each n, or one for each n and seed.
    **options
        statistic, window, confidence, n_bootstrap and seed of `fit_power`.

    Returns
    -------
    fit : PowerFit
        On all cells; the interval of the exponent is stretched by `bent_interval`.

    Raises
    ------
    ValueError
        If fewer than three cells are left.
    """
    fit = fit_power(n, errors, **options)
    used = np.flatnonzero(fit.is_used)
    if len(used) < 3:
        raise ValueError(
            "An asymptotic power of n needs at least three values of n, got "
            f"{len(used)}. {' '.join(fit.left_out)}"
        )
    finer = fit_power(fit.n[used[1:]], np.asarray(errors)[used[1:]], **options)
    moved = finer.exponent - fit.exponent
    interval = bent_interval(fit.exponent_interval, fit.exponent, moved)
    return dataclasses.replace(fit, exponent_interval=interval)


def _bend(depths: Array, errors: Array) -> float:
    """How much the slope of ln error against ln L changes without the first depth."""
    x, y = -np.log(depths), np.log(errors)
    return float(abs(np.polyfit(x[1:], y[1:], 1)[0] - np.polyfit(x, y, 1)[0]))


def _widened(
    fit: RateFit,
    name: str,
    table: Any,
    window: Mask,
    least: float,
    options: dict[str, Any],
) -> tuple[Interval, float]:
    """The interval with what is before the asymptotic range, and the extrapolation."""
    own, coarse = getattr(fit, f"{name}_interval"), getattr(fit, name)
    try:
        finer = fit_rates(*table, window=window, **options)
    except ValueError:
        return own, float("nan")
    moved = getattr(finer, name) - coarse
    interval = bent_interval(own, coarse, max(abs(moved), least))
    return interval, extrapolated(coarse, coarse + moved)
