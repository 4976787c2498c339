"""Panels that many studies share: curves against one axis, with fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mfpde.analysis import PowerFit
from mfpde.figures import Panel, Series


def curves(
    title: str,
    xlabel: str,
    ylabel: str,
    entries: Mapping[str, Sequence[ArrayLike]],
    *,
    fits: Mapping[str, PowerFit] | None = None,
    bounds: Mapping[str, Sequence[ArrayLike]] | None = None,
    **options: Any,
) -> Panel:
    """Return a panel of curves.

    Parameters
    ----------
    title, xlabel, ylabel : str
    entries : mapping
        Label to (x, y) or (x, y, low, high); points joined by a line.
    fits : mapping of str to PowerFit, optional
        Label of an entry to its fit: its line is drawn instead of the joining one.
    bounds : mapping, optional
        Label to (x, y): lines without points, such as a bound or an exact curve.
    **options
        xscale, yscale, note of `Panel`.
    """
    series = []
    for group, (label, (x, y, *ends)) in enumerate(entries.items()):
        low, high = ends or (None, None)
        series.append(Series(x, y, label, low, high, group=group))
        fit = (fits or {}).get(label)
        line = y if fit is None else fit.predict(x)
        series.append(Series(x, line, "", style="line", group=group))
    for group, (label, (x, y)) in enumerate((bounds or {}).items(), len(entries)):
        series.append(Series(x, y, label, style="line", group=group))
    return Panel(title, xlabel, ylabel, series, **options)


def traces(
    title: str,
    xlabel: str,
    ylabel: str,
    entries: Mapping[str, Sequence[ArrayLike]],
    **options: Any,
) -> Panel:
    """Return a panel of lines without points: label to (x, y) or (x, y, low, high)."""
    series = [
        Series(x, y, label, *(ends or (None, None)), style="line", group=group)
        for group, (label, (x, y, *ends)) in enumerate(entries.items())
    ]
    return Panel(title, xlabel, ylabel, series, **options)


def scatter(
    title: str,
    xlabel: str,
    ylabel: str,
    entries: Mapping[str, Sequence[ArrayLike]],
    *,
    bounds: Mapping[str, Sequence[ArrayLike]] | None = None,
    **options: Any,
) -> Panel:
    """Return a panel of points that no line joins: label to (x, y); linear axes.

    Parameters
    ----------
    title, xlabel, ylabel, entries, bounds, **options
        As for `curves`.
    """
    series = [Series(x, y, label) for label, (x, y) in entries.items()]
    series += [
        Series(x, y, label, style="line") for label, (x, y) in (bounds or {}).items()
    ]
    options = {"xscale": "linear", "yscale": "linear"} | options
    return Panel(title, xlabel, ylabel, series, **options)


def centre(values: ArrayLike, axis: int = -1) -> tuple[Any, Any, Any]:
    """Median and quartiles along the axis of the seeds, without diverged runs.

    Returns
    -------
    middle, low, high : ndarray
        As `curves` takes them; NaN where every run diverged.
    """
    values = np.asarray(values, dtype=float)
    values = np.where(np.isfinite(values), values, np.nan)
    blank = np.isnan(values).all(axis=axis, keepdims=True)
    kept = np.where(blank, 0.0, values)
    low, middle, high = np.nanquantile(kept, (0.25, 0.5, 0.75), axis=axis)
    absent = blank.squeeze(axis)
    return tuple(np.where(absent, np.nan, each) for each in (middle, low, high))
