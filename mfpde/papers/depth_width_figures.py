"""The page of `depth-width` for one case and coupling, as panels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis import RateFit
from mfpde.analysis.cells import cell_statistics
from mfpde.arrays import evenly_spaced
from mfpde.figures import Image, Panel, Series

Array = NDArray[np.float64]

N_CURVES = 4
"""Curves in one panel."""


def page(found: Any) -> list[Panel]:
    """Return the panels for the `Findings` of one case and coupling."""
    panels = [_against_depth(found), _against_width(found)]
    if found.fluctuation is not None:
        panels.append(_collapse(found))
    panels += [_heat_map(found), _against_s(found)]
    if found.quantile is not None:
        panels.append(_quantiles(found))
    if found.quantiles is not None:
        panels.append(_confidence(found))
    if found.rates["particles"] is not None:
        panels.append(_particles(found))
    return panels


def _axes(found: Any) -> tuple[Array, Array]:
    table = found.table
    return np.array(table.axes["depth"], float), np.array(table.axes["width"], float)


def _draws(found: Any) -> str:
    return "$M$" if found.a == 0.0 else "$L M$"


def _some(indices: Array) -> Array:
    """At most N_CURVES of the indices, both ends among them."""
    return indices[evenly_spaced(len(indices), N_CURVES)]


def _width_text(width: float) -> str:
    return r"$M = \infty$" if np.isinf(width) else f"$M = {width:g}$"


def _curve(
    x: Array, y: Array, line: Array, band: Any, label: str, group: int
) -> list[Series]:
    """Points of a statistic with the fitted line and its band."""
    low, high = band
    return [
        Series(x, y, label, style="points", group=group),
        Series(x, line, "", low=low, high=high, style="line", group=group),
    ]


def _against_depth(found: Any) -> Panel:
    depths, widths = _axes(found)
    fit = found.rates["outputs"].fit
    series = []
    for group, j in enumerate(_some(np.flatnonzero(fit.is_used.any(axis=0)))):
        rows = fit.is_used[:, j]
        x = depths[rows]
        band = fit.band(x, widths[j])
        line = fit.predict(x, widths[j])
        label = _width_text(widths[j])
        series += _curve(x, fit.values[rows, j], line, band, label, group)
    return Panel(
        "Depth",
        "layers $L$",
        "rms error of the outputs",
        series,
        note=_exponent("p", fit, found.rates["outputs"].p_interval),
    )


def _against_width(found: Any) -> Panel:
    depths, widths = _axes(found)
    fit = found.rates["outputs"].fit
    series = []
    for group, i in enumerate(_some(np.flatnonzero(fit.is_used.any(axis=1)))):
        columns = fit.is_used[i] & np.isfinite(widths)
        x = widths[columns]
        band = fit.band(depths[i], x)
        line = fit.predict(depths[i], x)
        label = f"$L = {depths[i]:g}$"
        series += _curve(x, fit.values[i, columns], line, band, label, group)
    return Panel(
        "Width",
        "particles $M$",
        "rms error of the outputs",
        series,
        note=_exponent("q", fit, found.rates["outputs"].q_interval),
    )


def _collapse(found: Any) -> Panel:
    depths, widths = _axes(found)
    spread = found.fluctuation
    draws = depths[:, np.newaxis] ** found.a * widths
    series = []
    for group, i in enumerate(_some(np.flatnonzero(spread.is_used.any(axis=1)))):
        columns = spread.is_used[i]
        x, y = draws[i, columns], spread.values[i, columns]
        series.append(Series(x, y, f"$L = {depths[i]:g}$", group=group))
    x = np.sort(draws[spread.is_used])[[0, -1]]
    scaled = np.sqrt(draws[spread.is_used]) * spread.values[spread.is_used]
    line = np.exp(np.mean(np.log(scaled))) / np.sqrt(x)
    series.append(Series(x, line, "slope $-1/2$", style="line", group=N_CURVES))
    return Panel(
        f"Spread over draws, against {_draws(found)}",
        f"independent draws {_draws(found)}",
        "standard deviation of the outputs",
        series,
    )


def _heat_map(found: Any) -> Panel:
    depths, widths = _axes(found)
    names = ["inf" if np.isinf(width) else f"{width:g}" for width in widths]
    image = Image(
        found.rates["outputs"].fit.values,
        x=names,
        y=[f"{depth:g}" for depth in depths],
        label="rms error of the outputs",
    )
    return Panel(
        "Depth and width", "particles $M$", "layers $L$", kind="heat", image=image
    )


def _against_s(found: Any) -> Panel:
    pairs = zip(found.table.axes["s"], found.in_s, strict=True)
    known = [(s, rates.fit) for s, rates in pairs if rates is not None]
    s = np.array([s for s, _ in known])
    count = _draws(found).strip("$")
    series = []
    for group, (name, label) in enumerate(
        (("c1", r"$c_1$: error $c_1 / L$"), ("c2", rf"$c_2$: $c_2 / \sqrt{{{count}}}$"))
    ):
        fits = [fit for _, fit in known]
        ends = np.array([getattr(fit, f"{name}_interval") for fit in fits])
        y = np.array([getattr(fit, name) for fit in fits])
        low, high = np.minimum(ends[:, 0], y), np.maximum(ends[:, 1], y)
        series.append(Series(s, y, label, low, high, "points", group))
        series.append(Series(s, y, "", style="line", group=group))
    return Panel(
        "Constants", "training time $s$", "constant of the fit", series, "linear"
    )


def _quantiles(found: Any) -> Panel:
    eta, fit = found.quantile
    x = fit.n[fit.is_used]
    label = f"quantile {1.0 - eta:g}"
    line = f"fit, order {fit.exponent:.3f}"
    series = [Series(x, fit.values[fit.is_used], label, group=0)]
    series.append(Series(x, fit.predict(x), line, style="line", group=0))
    depth = found.table.axes["depth"][-1]
    return Panel(
        rf"Loss at $L = {depth:g}$: what a finite width changes",
        "particles $M$",
        rf"change that a share {eta:g} of draws exceeds",
        series,
    )


def _confidence(found: Any) -> Panel:
    quantiles = found.quantiles
    depths, widths = _axes(found)
    row = len(depths) - 1
    series = []
    columns = _some(np.flatnonzero(found.window[row] & np.isfinite(widths)))
    for group, j in enumerate(columns):
        y, low, high = (each[:, row, j] for each in _bounded(quantiles))
        label = _width_text(widths[j])
        series.append(Series(quantiles.eta, y, label, low, high, "points", group))
        series.append(Series(quantiles.eta, y, "", style="line", group=group))
    return Panel(
        f"Loss at $L = {depths[row]:g}$: confidence",
        r"share $\eta$ of draws that exceed it",
        "error of the loss",
        series,
    )


def _bounded(quantiles: Any) -> tuple[Array, Array, Array]:
    """Values and ends of intervals; an end that the draws do not bound is left out."""
    high = np.where(np.isfinite(quantiles.high), quantiles.high, quantiles.values)
    low = np.where(quantiles.low > 0, quantiles.low, quantiles.values)
    return quantiles.values, low, high


def _particles(found: Any) -> Panel:
    depths, widths = _axes(found)
    row = len(depths) - 1
    table = found.table
    shown = (
        ("coupled", table["distance"][row, :, :, -1]),
        ("$W_2$", table["w2"][row]),
        ("$W_2$, same law", table["w2_same_law"][row]),
    )
    series = []
    for group, (label, values) in enumerate(shown):
        columns = found.window[row] & ~np.isnan(values).all(axis=1)
        columns &= np.isfinite(widths)
        columns &= ~np.isinf(values).any(axis=1)
        if columns.any():
            part = values[columns]
            y = cell_statistics(part, np.ones((1, part.shape[1])), "rms")[0]
            series.append(Series(widths[columns], y, label, group=group))
    return Panel(
        rf"Particles at $L = {depths[row]:g}$",
        "particles $M$",
        "distance to the tracers",
        series,
    )


def _exponent(name: str, fit: RateFit, interval: tuple[float, float]) -> str:
    if name in fit.not_identified:
        return f"{name} not identified: {fit.not_identified[name]}"
    value = getattr(fit, name)
    return f"{name} = {value:.3f} in [{interval[0]:.3f}, {interval[1]:.3f}]"
