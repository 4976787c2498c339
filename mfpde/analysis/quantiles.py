"""Errors at a confidence level: the (1 - eta)-quantile over draws, and its law in eta.

"With probability at least 1 - eta the error is at most ..." is a statement about this
quantile (theory, section 5.8, row 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from mfpde.analysis.cells import (
    N_BOOTSTRAP,
    cell_quantiles,
    checked_share,
    error_table,
    seeds_with_runs,
)
from mfpde.analysis.rates import UNKNOWN, Interval, logarithms
from mfpde.analysis.resampling import (
    bca_intervals,
    bootstrap_counts,
    jackknife_counts,
)
from mfpde.arrays import checked, float_array, seed_number

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorQuantiles:
    """The error that a share eta of the draws exceeds.

    Attributes
    ----------
    eta : ndarray, shape (E,)
    values, low, high : ndarray, shape (E, ...)
        The (1 - eta)-quantile of every cell and its interval at `confidence`; inf
        where it falls among diverged runs, or where the draws do not bound it.
    confidence : float
    n_runs, n_diverged : ndarray of int, shape (...)
        Runs of every cell, and those that diverged.
    """

    eta: Array
    values: Array
    low: Array
    high: Array
    confidence: float
    n_runs: NDArray[np.int64]
    n_diverged: NDArray[np.int64]


def error_quantiles(
    errors: ArrayLike, eta: ArrayLike, *, confidence: float = 0.95
) -> ErrorQuantiles:
    """The (1 - eta)-quantile of the error over draws, for every eta and cell.

    Parameters
    ----------
    errors : array_like, shape (..., S)
        NaN missing, inf diverged: a diverged run is above every finite error.
    eta : float or array_like, shape (E,)
        Between 0 and 1.
    confidence : float

    Returns
    -------
    quantiles : ErrorQuantiles

    Notes
    -----
    The intervals are order statistics, from the binomial law of the number of draws
    below a quantile: they hold at least at `confidence` for every law of the errors
    without atoms, and are infinite where S is too small for eta.
    """
    table, eta = _checked(errors, eta)
    confidence = checked_share("confidence", confidence)
    cells = table.reshape(-1, table.shape[-1])
    everything = np.ones((1, cells.shape[1]))
    values = cell_quantiles(cells, everything, 1.0 - eta)[:, 0]
    n_runs = np.sum(~np.isnan(cells), axis=1)
    ends = [_order_statistics(cells, n_runs, 1.0 - level, confidence) for level in eta]
    shape = (len(eta), *table.shape[:-1])
    low, high = np.moveaxis(np.array(ends), 1, 0)
    return ErrorQuantiles(
        eta=eta,
        values=values.reshape(shape),
        low=low.reshape(shape),
        high=high.reshape(shape),
        confidence=confidence,
        n_runs=n_runs.reshape(shape[1:]),
        n_diverged=np.sum(np.isinf(table), axis=-1),
    )


@dataclass(frozen=True)
class EtaFit:
    """(1 - eta)-quantile = constant eta^-exponent, the exponent common to all cells.

    Attributes
    ----------
    exponent : float
        1/2 is what Chebyshev's inequality promises; bounded draws do far better.
    interval : tuple of float
        At `confidence`; NaN with one seed.
    confidence : float
    n_used, n_cells : int
        Cells whose quantiles are finite and positive for every eta; all cells.
    """

    exponent: float
    interval: Interval
    confidence: float
    n_used: int
    n_cells: int


@checked(n_bootstrap=N_BOOTSTRAP, seed=seed_number)
def fit_eta(
    errors: ArrayLike,
    eta: ArrayLike,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> EtaFit:
    """Fit the (1 - eta)-quantile of every cell to constant eta^-exponent.

    Parameters
    ----------
    errors : array_like, shape (..., S)
        NaN missing, inf diverged; the same seed means the same draws in all cells.
    eta : array_like, shape (E,)
        At least two levels, none below 1 / S.
    confidence : float
    n_bootstrap : int
    seed : int
        Of the resampling.

    Returns
    -------
    fit : EtaFit
        The exponent is the mean of the slopes of the cells, its interval from
        resamples of seeds, the same in all cells.
    """
    table, eta = _checked(errors, eta)
    confidence = checked_share("confidence", confidence)
    cells = seeds_with_runs(table.reshape(-1, table.shape[-1]))
    n_seeds = cells.shape[1]
    if len(eta) < 2 or eta.min() * n_seeds < 1.0:
        raise ValueError(
            "`eta` must hold at least two levels, none below 1 / n_seeds = "
            f"{1 / n_seeds:.3g}, got {eta.tolist()}."
        )
    samples = (
        np.ones((1, n_seeds)),
        bootstrap_counts(n_seeds, n_bootstrap, seed),
        jackknife_counts(n_seeds),
    )
    slopes = [_slopes(cells, counts, eta) for counts in samples]
    is_used = np.isfinite(slopes[0][0])
    if not is_used.any():
        raise ValueError(
            "No cell has finite and positive quantiles for all `eta`: too many runs "
            "diverged. Use larger `eta`."
        )
    full, replicates, jackknife = (_means(each[:, is_used]) for each in slopes)
    interval = UNKNOWN
    if n_seeds > 1:
        ends = bca_intervals(full[0], replicates, jackknife, confidence)[0]
        interval = float(ends[0]), float(ends[1])
    n_used = int(is_used.sum())
    return EtaFit(float(full[0, 0]), interval, confidence, n_used, len(cells))


def _checked(errors: ArrayLike, eta: ArrayLike) -> tuple[Array, Array]:
    errors = float_array("errors", errors, is_finite=False)
    axes = [f"axis{axis}" for axis in range(errors.ndim - 1)]
    table = error_table(errors, (*axes, "seed"))
    levels = np.atleast_1d(float_array("eta", eta))
    if levels.ndim != 1 or len(levels) == 0:
        raise ValueError(f"`eta` must be a number or a list, got {eta!r}.")
    for level in levels:
        checked_share("eta", float(level))
    return table, levels


def _order_statistics(
    cells: Array, n_runs: NDArray[np.int64], level: float, confidence: float
) -> Array:
    """Lower and upper ends (2, C) of the `level`-quantile; errors are at least 0."""
    tail = 0.5 * (1 - confidence)
    first = binom.ppf(tail, n_runs, level).astype(int)
    last = binom.ppf(1 - tail, n_runs, level).astype(int) + 1
    ordered = np.sort(cells, axis=1)
    rows = np.arange(len(cells))
    low = np.where(first >= 1, ordered[rows, np.maximum(first - 1, 0)], 0.0)
    is_bounded = last <= n_runs
    high = ordered[rows, np.where(is_bounded, last - 1, 0)]
    return np.array([low, np.where(is_bounded, high, np.inf)])


def _slopes(cells: Array, counts: Array, eta: Array) -> Array:
    """Exponents (B, C); NaN where a quantile is not finite and positive."""
    values = cell_quantiles(cells, counts, 1.0 - eta)
    logs = logarithms(values)
    x = np.log(eta) - np.log(eta).mean()
    return -np.tensordot(x, logs, axes=1) / np.dot(x, x)


def _means(slopes: Array) -> Array:
    """Mean over the cells that have a slope, (B, 1); resamples without one dropped."""
    is_there = np.isfinite(slopes)
    number = is_there.sum(axis=1)
    total = np.where(is_there, slopes, 0.0).sum(axis=1)
    return (total[number > 0] / number[number > 0])[:, np.newaxis]
