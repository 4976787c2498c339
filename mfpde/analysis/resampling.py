"""Resampling of seeds, the same draws for all cells: common random numbers stay so.

A resample is a row of counts: how often each seed occurs in it. A statistic of many
resamples is then a matrix product or a cumulative sum, not a loop.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from mfpde.arrays import (
    a_function,
    checked,
    float_array,
    is_number,
    seed_number,
    shown,
    whole,
)

Array = NDArray[np.float64]

FEWEST_BEYOND = 5.0


def bootstrap_counts(n_seeds: int, n_bootstrap: int, seed: int) -> Array:
    """Counts (n_bootstrap, n_seeds) of draws with replacement; each row sums to S."""
    n_bootstrap = _check_n_bootstrap(n_bootstrap)
    rng = np.random.default_rng(seed)
    equal = np.full(n_seeds, 1.0 / n_seeds)
    return rng.multinomial(n_seeds, equal, size=n_bootstrap).astype(float)


def _check_n_bootstrap(value: int) -> int:
    if not is_number(value) or value < 2 or value % 1:
        raise ValueError(
            f"`n_bootstrap` must be a whole number above 1, got {value!r}."
        )
    return int(value)


def counts_with_all(n_seeds: int, n_bootstrap: int, seed: int) -> Array:
    """Counts (1 + n_bootstrap, n_seeds): every seed once, and then the resamples."""
    resamples = bootstrap_counts(n_seeds, n_bootstrap, seed)
    return np.vstack([np.ones(n_seeds), resamples])


def tails(confidence: float) -> Array:
    """Levels of the two ends of an interval, (2,)."""
    if not is_number(confidence) or not 0.0 < confidence < 1.0:
        raise ValueError(
            f"`confidence` must lie in (0, 1), 0.95 for 95 %, got {confidence!r}."
        )
    return np.array([0.5 * (1 - confidence), 0.5 * (1 + confidence)])


def percentile_interval(replicates: Array, confidence: float) -> tuple[float, float]:
    """The interval that holds the middle of the replicates (B,)."""
    low, high = np.quantile(replicates, tails(confidence)).tolist()
    return low, high


@checked(statistic=a_function, n_bootstrap=whole(2, 10**6), seed=seed_number)
def bootstrap(
    statistic: Callable[[Array], float],
    values: ArrayLike,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """Return a statistic of independent runs and its interval.

    Parameters
    ----------
    statistic : callable
        From runs (S, ...) to a number.
    values : array_like, shape (S, ...)
        Runs along the first axis.
    confidence : float
        In (0, 1).
    n_bootstrap, seed : int

    Returns
    -------
    value : float
    interval : tuple of float
        By `bca_intervals`; NaN for a single run.
    """
    values = float_array("values", values)
    if values.ndim == 0 or values.size == 0:
        raise ValueError(
            "`values` must hold one entry or more for each run along its first axis, "
            f"got shape {values.shape}."
        )
    n, n_bootstrap = len(values), _check_n_bootstrap(n_bootstrap)

    def number(rows: Array) -> float:
        found = statistic(rows)
        try:
            return float(found)
        except (TypeError, ValueError):
            raise TypeError(
                f"`statistic` must return a number, got {shown(found)}."
            ) from None

    value = number(values)
    rng = np.random.default_rng(seed)
    chosen = rng.integers(n, size=(n_bootstrap, n))
    replicates = np.array([[number(values[rows])] for rows in chosen], dtype=float)
    others = [np.delete(values, i, axis=0) for i in range(n)] if n > 1 else [values]
    jackknife = np.array([[number(rest)] for rest in others], dtype=float)
    low, high = bca_intervals(np.array([value]), replicates, jackknife, confidence)[0]
    return value, (float(low), float(high))


def jackknife_counts(n_seeds: int) -> Array:
    """Counts (n_seeds, n_seeds) of the samples without one seed.

    A single seed is kept: there is no sample without it, and no interval either.
    """
    if n_seeds == 1:
        return np.ones((1, 1))
    return 1.0 - np.eye(n_seeds)


def bca_intervals(
    estimates: Array, replicates: Array, jackknife: Array, confidence: float
) -> Array:
    """Bootstrap intervals, corrected for bias and acceleration, for few seeds widened.

    Parameters
    ----------
    estimates : ndarray, shape (P,)
    replicates : ndarray, shape (B, P)
        The estimates on B resamples.
    jackknife : ndarray, shape (S, P)
        The estimates without one of the S seeds.
    confidence : float
        For example 0.95.

    Returns
    -------
    intervals : ndarray, shape (P, 2)

    Notes
    -----
    Normal quantiles are replaced by sqrt(S / (S - 1)) times those of Student's t with
    S - 1 degrees of freedom: resamples of S draws have a variance too small by the
    factor (S - 1) / S, and do not know that it is itself estimated. An end that fewer
    than five resamples lie beyond is at least as far off as that of the jackknife with
    Student's t.

    References
    ----------
    Efron 1987, J. Am. Stat. Assoc. 82, 171-185; Hesterberg 2015, Am. Stat. 69, 371-386.
    """
    n_seeds, ends = len(jackknife), tails(confidence)
    if n_seeds < 2 or len(replicates) < 2:
        return np.full((len(estimates), 2), np.nan)
    z = np.sqrt(n_seeds / (n_seeds - 1)) * student.ppf(ends, n_seeds - 1)
    n = len(replicates)
    below = (replicates < estimates).sum(axis=0) + (replicates <= estimates).sum(axis=0)
    bias = ndtri(np.clip(0.5 * below / n, 0.5 / n, 1 - 0.5 / n))
    deviation = jackknife.mean(axis=0) - jackknife
    squares = (deviation**2).sum(axis=0)
    cubes = (deviation**3).sum(axis=0)
    scale = 6.0 * np.maximum(squares, np.finfo(float).tiny) ** 1.5
    acceleration = np.where(squares > 0, cubes / np.maximum(scale, 1e-300), 0.0)
    shifted = bias[:, np.newaxis] + z
    # Beyond its pole the correction has no meaning; half of the way is far enough.
    stretch = np.maximum(1 - acceleration[:, np.newaxis] * shifted, 0.5)
    levels = ndtr(bias[:, np.newaxis] + shifted / stretch)
    found = np.array(
        [np.quantile(replicates[:, i], levels[i]) for i in range(len(estimates))]
    )
    # Levels beyond what so many resamples of so few seeds can tell.
    reach = student.ppf(ends[1], n_seeds - 1) * np.sqrt(squares * (1 - 1 / n_seeds))
    is_short = np.minimum(levels, 1 - levels) * n < FEWEST_BEYOND
    found[:, 0] = np.where(
        is_short[:, 0], np.minimum(found[:, 0], estimates - reach), found[:, 0]
    )
    found[:, 1] = np.where(
        is_short[:, 1], np.maximum(found[:, 1], estimates + reach), found[:, 1]
    )
    return found
