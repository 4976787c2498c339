"""Exponents of a power of the depth with the next term of an expansion beside it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import bootstrap, fit_asymptotic_power
from mfpde.analysis.asymptotic import bent_interval
from mfpde.analysis.rates import Interval

Array = NDArray[np.float64]


def corrected_exponent(sizes: ArrayLike, values: ArrayLike, small: ArrayLike) -> float:
    """p of value = c L^p (1 + b small), by least squares in the logarithm.

    Parameters
    ----------
    sizes, values, small : array_like, shape (n,)
        L, positive values, and the small quantity of the next term, at least 3.
    """
    y = np.log(values)
    columns = np.stack([np.ones(len(y)), np.log(sizes), np.asarray(small)], axis=1)
    return float(np.linalg.lstsq(columns, y, rcond=None)[0][1])


def corrected_power(
    sizes: ArrayLike, values: ArrayLike, small: ArrayLike, confidence: float
) -> tuple[float, Interval]:
    """`corrected_exponent` of means over seeds; values (n, n_seeds), n at least 4.

    The interval is that of resampled seeds, stretched by `bent_interval`.
    """
    sizes, small = np.asarray(sizes), np.asarray(small)
    values = np.asarray(values, dtype=float)

    def exponent(runs: Array, first: int = 0) -> float:
        part = slice(first, None)
        means = runs.mean(axis=0)[part]
        return corrected_exponent(sizes[part], means, small[part])

    value, own = bootstrap(exponent, values.T, confidence=confidence)
    moved = exponent(values.T, 1) - value if len(sizes) > 3 else 0.0
    return value, bent_interval(own, value, moved)


def power_of(
    sizes: ArrayLike, values: ArrayLike, confidence: float
) -> tuple[float, Interval]:
    """p of value = c L^p and its interval, see `fit_asymptotic_power`.

    Parameters
    ----------
    sizes : array_like, shape (n,)
    values : array_like, shape (n, n_seeds)
        Their means over seeds are fitted.
    confidence : float
    """
    fit = fit_asymptotic_power(sizes, values, statistic="mean", confidence=confidence)
    low, high = fit.exponent_interval
    return -fit.exponent, (-high, -low)


def power_between(
    sizes: ArrayLike, values: ArrayLike, orders: Collection[float], confidence: float
) -> tuple[float, Interval]:
    """`corrected_power` where one of several next terms L^order may be the largest.

    The exponent is the mean over them, and the interval holds all of theirs.
    """
    sizes = np.asarray(sizes, dtype=float)
    found = [
        corrected_power(sizes, values, sizes**order, confidence) for order in orders
    ]
    lows, highs = np.transpose([interval for _, interval in found])
    value = np.mean([each for each, _ in found])
    return float(value), (float(lows.min()), float(highs.max()))
