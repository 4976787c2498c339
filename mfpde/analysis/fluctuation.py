"""How the spread over draws falls with depth and with width, each by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.asymptotic import bent_interval
from mfpde.analysis.cells import (
    N_BOOTSTRAP,
    cell_mask,
    checked_share,
    positive_axis,
)
from mfpde.analysis.rates import Interval, precision_weights
from mfpde.analysis.resampling import counts_with_all, percentile_interval
from mfpde.arrays import checked, float_array, seed_number

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FluctuationFit:
    """spread = constant L^-depth_exponent M^-width_exponent.

    Attributes
    ----------
    depth_exponent, width_exponent, constant : float
        Expected 0 and 1/2 for draws along paths, 1/2 and 1/2 for independent layers.
    depth_interval, width_interval : tuple of float
        At `confidence`, stretched by `asymptotic.bent_interval`: the exponents move
        without the smallest depth, or without the smallest width.
    confidence : float
    values : ndarray, shape (n_depths, n_widths)
        Root mean square over components of the standard deviation over draws.
    is_used : ndarray of bool, shape (n_depths, n_widths)
    """

    depth_exponent: float
    width_exponent: float
    constant: float
    depth_interval: Interval
    width_interval: Interval
    confidence: float
    values: Array
    is_used: NDArray[np.bool_]


@checked(n_bootstrap=N_BOOTSTRAP, seed=seed_number)
def fit_fluctuation(
    depths: ArrayLike,
    widths: ArrayLike,
    errors: ArrayLike,
    *,
    window: ArrayLike | None = None,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FluctuationFit:
    """Fit the spread over draws of signed errors, or of the outputs themselves.

    Whatever is the same for all draws, the error in depth and any bias, drops out.

    Parameters
    ----------
    depths, widths : array_like, shapes (n_depths,) and (n_widths,)
    errors : array_like, shape (n_depths, n_widths, S, C)
        NaN missing, inf diverged; a cell with a diverged run is left out.
    window : array_like of bool, shape (n_depths, n_widths), optional
        Cells to use; default all.
    confidence : float
    n_bootstrap, seed : int
        Of the resampling of seeds, the same for all cells.

    Raises
    ------
    ValueError
        If shapes do not fit, or fewer than two depths or widths are left.
    """
    confidence = checked_share("confidence", confidence)
    table = float_array("errors", errors, is_finite=False)
    if table.ndim != 4:
        raise ValueError(
            "`errors` must have shape (n_depths, n_widths, n_seeds, n_components), got "
            f"{table.shape}."
        )
    depths = positive_axis("depths", depths, table.shape[0])
    widths = positive_axis("widths", widths, table.shape[1], allow_inf=True)
    is_there = np.asarray(~np.isnan(table).any(axis=3))
    is_finite = ~np.isinf(table).any(axis=(2, 3))
    is_used = np.asarray((is_there.sum(axis=2) > 1) & is_finite)
    if window is not None:
        is_used &= cell_mask(window, is_used.shape)
    rows, columns = np.nonzero(is_used)
    if len(np.unique(rows)) < 2 or len(np.unique(columns)) < 2:
        raise ValueError(
            "`errors` must have two depths and two widths with two finite runs or "
            f"more, got {len(np.unique(rows))} and {len(np.unique(columns))}."
        )
    counts = counts_with_all(table.shape[2], n_bootstrap, seed)
    cells = zip(table[is_used], is_there[is_used], strict=True)
    logs = np.stack([_log_spread(cell, there, counts) for cell, there in cells], axis=1)
    # A resample without two different runs in some cell has no spread there.
    is_known = np.asarray(np.isfinite(logs).all(axis=1))
    if is_known.sum() < 2 or not np.isfinite(logs[0]).all():
        raise ValueError("`errors` have no spread in some cell: all its runs agree.")
    logs = logs[is_known]
    weights = precision_weights(table[is_used][..., 0], logs[1:])
    places = np.stack([np.log(depths[rows]), np.log(widths[columns])])
    found = _planes(places, logs, weights)
    intervals = [percentile_interval(found[1:, i], confidence) for i in (1, 2)]
    for axis, interval in enumerate(intervals):
        finer = places[axis] > places[axis].min()
        if np.ptp(places[:, finer], axis=1).min(initial=np.inf) > 0.0:
            moved = _planes(places[:, finer], logs[:1, finer], weights[finer])
            coarse, fine = float(found[0, 1 + axis]), float(moved[0, 1 + axis])
            intervals[axis] = bent_interval(interval, coarse, fine - coarse)
    values = np.full(is_used.shape, np.nan)
    values[is_used] = np.exp(logs[0])
    return FluctuationFit(
        depth_exponent=float(found[0, 1]),
        width_exponent=float(found[0, 2]),
        constant=float(np.exp(found[0, 0])),
        depth_interval=intervals[0],
        width_interval=intervals[1],
        confidence=confidence,
        values=values,
        is_used=is_used,
    )


def _planes(cells: Array, logs: Array, weights: Array) -> Array:
    """(ln c, a, b) of ln c - a ln L - b ln M, (B, 3), for cells (2, C), logs (B, C)."""
    root = np.sqrt(weights)
    x = np.vstack([np.ones(cells.shape[1]), -cells]) * root
    planes = np.linalg.lstsq(x.T, (logs * root).T)[0]
    return np.asarray(planes.T, dtype=np.float64)


def _log_spread(cell: Array, is_there: NDArray[np.bool_], counts: Array) -> Array:
    """ln of the spread (B,) of one cell (S, C), for resamples with counts (B, S)."""
    runs, counts = cell[is_there], counts[:, is_there]
    number = counts.sum(axis=1, keepdims=True)
    # Without the mean of all first: a small spread about a large value keeps its bits.
    runs = runs - runs.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = counts @ runs / number
        variance = (counts @ runs**2 / number - mean**2) * number / (number - 1)
        return 0.5 * np.log(variance.mean(axis=1))
