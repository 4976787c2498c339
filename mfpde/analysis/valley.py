"""The best value of a scale whose error falls, has a minimum, and rises again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.asymptotic import bent_interval
from mfpde.analysis.cells import (
    N_BOOTSTRAP,
    error_table,
    positive_axis,
)
from mfpde.analysis.rates import Interval
from mfpde.analysis.resampling import (
    bca_intervals,
    counts_with_all,
    jackknife_counts,
)
from mfpde.arrays import checked, number, numbers, seed_number

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ValleyFit:
    """Best scales of several sizes, and the power of the size that they follow.

    Attributes
    ----------
    sizes : ndarray, shape (C,)
    values : ndarray, shape (C, X)
        Root mean squares over seeds at every scale.
    best, least : ndarray, shape (C,)
        The best scale and the error there, of the fitted curves; NaN where the
        smallest value stands at an end of the scales.
    exponent, least_exponent : float
        best ~ size^exponent, least ~ size^least_exponent.
    exponent_interval, least_interval : tuple of float
        From resamples of the seeds, and stretched by `bent_interval`.
    coefficients : ndarray, shape (C, 3)
        a, b, c of error^2 = a x^(-2 falling) + b + c x^(2 rising); NaN as `best`.
    """

    sizes: Array
    values: Array
    best: Array
    least: Array
    exponent: float
    least_exponent: float
    exponent_interval: Interval
    least_interval: Interval
    coefficients: Array
    falling: float
    rising: float

    def predict(self, x: ArrayLike) -> Array:
        """The fitted errors (C, n) at scales x (n,); NaN for sizes without minimum."""
        columns = _columns(numbers("n")("x", x), self.falling, self.rising)
        return np.sqrt(np.maximum(self.coefficients @ columns.T, 0.0))


@checked(
    falling=number(above=0.0, most=100.0),
    rising=number(above=0.0, most=100.0),
    reach=number(above=1.0),
    n_bootstrap=N_BOOTSTRAP,
    seed=seed_number,
)
def fit_valley(
    sizes: ArrayLike,
    x: ArrayLike,
    errors: ArrayLike,
    *,
    falling: float = 1.0,
    rising: float = 1.0,
    reach: float = 4.0,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ValleyFit:
    """Fit the best scale x of every size, and its power of the size.

    The curve error^2 = a x^(-2 falling) + b + c x^(2 rising) is fitted to the squares
    of the root mean squares, their relative errors weighted alike, at the scales within
    a factor of the best of them. It has its minimum where
    x^(2 falling + 2 rising) = a falling / (c rising).

    Parameters
    ----------
    sizes : array_like, shape (C,)
        Three or more, increasing.
    x : array_like, shape (X,)
        Scales, increasing.
    errors : array_like, shape (C, X, S)
        One for each seed; a cell with a diverged run (inf) is left out.
    falling, rising : float
        Powers of 1 / x and x, from the theory, positive.
    reach : float
        The factor, above 1.
    confidence, n_bootstrap, seed
        Of the resampling of seeds, the same in all cells. A single seed has no
        interval: it is NaN.

    Raises
    ------
    ValueError
        If fewer than three sizes have their smallest error between the ends, or one
        has fewer than three scales within `reach` of its best.
    """
    table = error_table(errors, ("size", "scale", "seed"))
    sizes = positive_axis("sizes", sizes, table.shape[0])
    x = positive_axis("x", x, table.shape[1])
    n_seeds = table.shape[2]
    weights = [counts_with_all(n_seeds, n_bootstrap, seed), jackknife_counts(n_seeds)]
    counts = np.concatenate(weights)
    counts = counts / counts.sum(axis=1, keepdims=True)
    found = [_minimum(x, each**2, counts, falling, rising, reach) for each in table]
    is_used = np.array([each is not None for each in found])
    if is_used.sum() < 3:
        raise ValueError(
            "The power of the best scale needs three sizes whose smallest error stands "
            f"between the ends of the scales, got {int(is_used.sum())}."
        )
    blank = tuple(np.full(n, np.nan) for n in (len(counts), len(counts), 3))
    best, least, coefficients = zip(*(each or blank for each in found), strict=True)
    results = []
    for values in (best, least):
        logs = np.log(np.array(values)[is_used])
        results.append(_power(np.log(sizes[is_used]), logs, n_bootstrap, confidence))
    return ValleyFit(
        sizes=sizes,
        values=np.sqrt(np.mean(table**2, axis=2)),
        best=np.array([each[0] for each in best]),
        least=np.array([each[0] for each in least]),
        exponent=results[0][0],
        exponent_interval=results[0][1],
        least_exponent=results[1][0],
        least_interval=results[1][1],
        coefficients=np.array(coefficients),
        falling=falling,
        rising=rising,
    )


def _columns(x: Array, falling: float, rising: float) -> Array:
    """The three terms, (X, 3)."""
    return np.stack([x ** (-2 * falling), np.ones_like(x), x ** (2 * rising)], axis=1)


def _minimum(
    x: Array, squares: Array, counts: Array, falling: float, rising: float, reach: float
) -> tuple[Array, Array, Array] | None:
    """Best scale and least error (B,) of resamples, and a, b, c; None for an end."""
    is_finite = np.isfinite(squares).all(axis=1)
    x, squares = x[is_finite], squares[is_finite]
    values = squares.mean(axis=1)
    if len(x) < 3 or np.argmin(values) in (0, len(x) - 1):
        return None
    centre = x[np.argmin(values)]
    near = (x <= reach * centre * (1 + 1e-9)) & (x * reach * (1 + 1e-9) >= centre)
    if near.sum() < 3:
        raise ValueError(
            f"`reach` = {reach:g} must take in three scales or more about the best, "
            f"{centre:g}, for the three terms of the curve, got {int(near.sum())}. "
            "Raise it, or measure more scales."
        )
    # The weights are those of all seeds, so that a fit is linear in the squares.
    scale = 1.0 / values[near]
    columns = _columns(x[near], falling, rising)
    # The decomposition would not end.
    if not np.isfinite(columns * scale[:, np.newaxis]).all():
        raise ValueError(
            "`errors` and `x` must be nearer to 1: powers of them are beyond the range "
            "of float64."
        )
    fit = np.linalg.pinv(columns * scale[:, np.newaxis])
    rows = (fit @ (scale[:, np.newaxis] * (squares[near] @ counts.T))).T
    a, c = np.maximum(rows[:, [0, 2]], np.finfo(float).tiny).T
    best = (a * falling / (c * rising)) ** (0.5 / (falling + rising))
    best = np.clip(best, x[near][0], x[near][-1])
    at_best = np.sum(_columns(best, falling, rising) * rows, axis=1)
    least = np.sqrt(np.maximum(at_best, np.finfo(float).tiny))
    return best, least, rows[0]


def _power(
    x: Array, logs: Array, n_bootstrap: int, confidence: float
) -> tuple[float, Interval]:
    """Slope of ln value (C, B) in ln size, with its interval."""
    slopes = np.polyfit(x, logs, 1)[0]
    value, resamples = slopes[0], slopes[1 : n_bootstrap + 1]
    jackknife = slopes[n_bootstrap + 1 :, np.newaxis]
    estimate, replicates = np.array([value]), resamples[:, np.newaxis]
    low, high = bca_intervals(estimate, replicates, jackknife, confidence)[0]
    moved = np.polyfit(x[1:], logs[1:, 0], 1)[0] - value
    return float(value), bent_interval((float(low), float(high)), value, moved)
