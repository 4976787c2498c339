"""Errors of many seeds in many cells: checks, counts, and one number for each cell.

An entry that is NaN is a missing run, one that is inf a run that diverged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import as_array, float_array, is_number, shown, whole
from mfpde.errors import did_you_mean

Array = NDArray[np.float64]

N_BOOTSTRAP = whole(2, 10**6)


def cell_mask(window: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """True or False for each cell."""
    mask = as_array("window", window)
    if mask.shape != shape or mask.dtype.kind != "b":
        raise ValueError(
            f"`window` must hold True or False for each cell, {shape}, got "
            f"{mask.dtype} of shape {mask.shape}."
        )
    return mask


STATISTICS = ("rms", "mean", "median")


def error_table(errors: ArrayLike, axes: Sequence[str]) -> Array:
    """Return errors as a float64 array, after a check of type, shape and signs.

    Parameters
    ----------
    errors : array_like
        Not negative; NaN missing, inf diverged.
    axes : sequence of str
        Names of the axes, "seed" the last.
    """
    given = float_array("errors", errors, is_finite=False)
    if given.ndim != len(axes) or 0 in given.shape:
        raise ValueError(
            f"`errors` must have shape ({', '.join(f'n_{axis}s' for axis in axes)}) "
            f"with no empty axis, got {given.shape}."
        )
    table = given.astype(float)
    if np.any(table < 0):
        index = tuple(int(i) for i in np.argwhere(table < 0)[0])
        raise ValueError(
            f"`errors` must not be negative, got {table[index]:g} at index {index}; "
            "give norms, not differences."
        )
    if np.isnan(table).all():
        raise ValueError("`errors` holds no run at all: every entry is NaN.")
    return table


def seeds_with_runs(table: Array) -> Array:
    """The table (..., S) without the seeds of which no cell has a run."""
    is_there = ~np.isnan(table).all(axis=tuple(range(table.ndim - 1)))
    return table[..., is_there]


def positive_axis(
    name: str, values: ArrayLike, length: int | None = None, *, allow_inf: bool = False
) -> Array:
    """Return the numbers along an axis: positive, finite and increasing, shape (n,).

    The last may be inf where `allow_inf` says so.
    """
    array = float_array(name, values, is_finite=False)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"`{name}` must be a list of numbers, got {array.shape}.")
    checked = array[:-1] if allow_inf and len(array) > 1 else array
    is_good = np.isfinite(checked).all() and array[-1] > 0 and array.min() > 0
    if not is_good or np.any(np.diff(array) <= 0):
        raise ValueError(
            f"`{name}` must be positive, finite and increasing, got {array.tolist()}."
        )
    if length is not None and len(array) != length:
        raise ValueError(
            f"`{name}` must have one entry for each row of `errors`, {length}, got "
            f"{len(array)}."
        )
    return array


def checked_statistic(statistic: Any) -> str | float:
    """Return the name of a statistic, or the level of a quantile."""
    if is_number(statistic) and 0.0 < statistic < 1.0:
        return float(statistic)
    if not isinstance(statistic, str) or statistic not in STATISTICS:
        raise ValueError(
            f"`statistic` must be one of {', '.join(STATISTICS)} or a quantile level "
            f"between 0 and 1, got {shown(statistic)}."
            + did_you_mean(shown(statistic), STATISTICS)
        )
    return statistic


def checked_share(name: str, value: Any) -> float:
    """Return a number strictly between 0 and 1."""
    if not is_number(value) or not 0.0 < value < 1.0:
        raise ValueError(f"`{name}` must lie between 0 and 1, got {value!r}.")
    return float(value)


def cell_statistics(
    errors: Array, counts: Array, statistic: str | float = "rms"
) -> Array:
    """One number for each resample and cell.

    Parameters
    ----------
    errors : ndarray, shape (C, S)
        NaN missing, inf diverged.
    counts : ndarray, shape (B, S)
        How often each seed occurs in a resample.
    statistic : {"rms", "mean", "median"} or float
        A number is the level of a quantile, with linear interpolation.

    Returns
    -------
    values : ndarray, shape (B, C)
        NaN where a resample has no run, and for "rms" and "mean" where one diverged;
        a quantile that falls among diverged runs is inf.
    """
    if statistic in ("rms", "mean"):
        return _means(errors, counts, power=2 if statistic == "rms" else 1)
    level = 0.5 if statistic == "median" else float(statistic)
    return cell_quantiles(errors, counts, np.array([level]))[0]


def cell_quantiles(errors: Array, counts: Array, levels: Array) -> Array:
    """Quantiles at many levels (E,) of the runs of `cell_statistics`, (E, B, C)."""
    return np.stack([_quantiles(cell, counts, levels) for cell in errors], axis=2)


def _means(errors: Array, counts: Array, power: int) -> Array:
    """Root of the mean power, (B, C)."""
    present = np.isfinite(errors)
    # Scaled: squares of errors below 1e-154 would vanish.
    scale = np.max(errors, axis=1, initial=0.0, where=present)[:, np.newaxis]
    scale[scale == 0.0] = 1.0
    values = np.where(present, errors, 0.0) / scale
    total = counts @ (values**power).T
    number = counts @ present.T.astype(float)
    has_diverged = counts @ np.isinf(errors).T.astype(float) > 0
    is_there = (number > 0) & ~has_diverged
    mean = np.full(total.shape, np.nan)
    np.divide(total, number, out=mean, where=is_there)
    return scale[:, 0] * mean ** (1.0 / power)


def _quantiles(cell: Array, counts: Array, levels: Array) -> Array:
    """Quantiles (E, B) of the runs (S,) of one cell, with linear interpolation."""
    order = np.argsort(cell)[: int(np.sum(~np.isnan(cell)))]
    if len(order) == 0:
        return np.full((len(levels), len(counts)), np.nan)
    cumulative = np.cumsum(counts[:, order], axis=1)
    number = cumulative[:, -1]
    place = np.multiply.outer(levels, number - 1)
    lower = np.floor(place + 1e-12)
    part = np.maximum(place - lower, 0.0)
    upper = np.minimum(lower + 1, number - 1)
    below = cell[order][_of_rank(cumulative, lower)]
    above = cell[order][_of_rank(cumulative, upper)]
    mixes = (part > 1e-12) & (above > below)
    out = np.where(mixes & np.isinf(above), np.inf, below)
    mixes &= np.isfinite(above)
    out[mixes] += part[mixes] * (above[mixes] - below[mixes])
    out[:, number == 0] = np.nan
    return out


def _of_rank(cumulative: Array, ranks: Array) -> NDArray[np.int64]:
    """Place (E, B) in each sorted resample of the run with a rank (E, B), from 0.

    One search for all: the rows (B, S) are made one increasing sequence.
    """
    n_rows, n_runs = cumulative.shape
    offset = (cumulative.max() + 1.0) * np.arange(n_rows)
    line = (cumulative + offset[:, np.newaxis]).ravel()
    places = np.searchsorted(line, ranks + offset, side="right")
    return np.clip(places - n_runs * np.arange(n_rows), 0, n_runs - 1)


def reason_left_out(errors: Array, value: float) -> str:
    """Why a cell with runs (S,) and statistic `value` has no logarithm, or ""."""
    n_diverged = int(np.isinf(errors).sum())
    if np.isnan(errors).all():
        return "no run"
    if not math.isfinite(value):
        return f"{n_diverged} of {int((~np.isnan(errors)).sum())} runs diverged"
    return "the error is zero" if value == 0.0 else ""
