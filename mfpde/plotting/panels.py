"""Pages of panels that are given as data (`mfpde.figures`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mfpde.arrays import checked, instance, sequence, text
from mfpde.figures import Image, Panel, Series
from mfpde.plotting import style
from mfpde.plotting.sources import readable

N_COLUMNS = 3
PANEL_SIZE = (4.3, 3.9)  # inches
# Neighbours differ in lightness, marker and line style, so that no colour is needed.
COLOURS = (
    *(style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE, style.PURPLE),
    *(style.BLACK, style.SKY, style.GREY),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
HATCHES = ("", "////", r"\\\\", "....")
_MOST_LEGEND_ROWS = 6


@checked(panels=sequence(instance(Panel)), title=text)
def page(panels: Sequence[Panel], *, title: str = "") -> Figure:
    """Compose a page of panels.

    Parameters
    ----------
    panels : sequence of Panel
    title : str
        Heading of the page.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Unknown to pyplot: nothing has to be closed. `save` writes it.
    """
    if not panels:
        raise ValueError("`panels` must hold at least one panel.")
    n_columns = min(len(panels), N_COLUMNS if len(panels) != 4 else 2)
    n_rows = -(-len(panels) // n_columns)
    width, height = PANEL_SIZE[0] * n_columns, PANEL_SIZE[1] * n_rows + 0.4
    with style.applied():
        figure = style.Page(figsize=(width, height), layout="constrained")
        style.pad(figure)
        for index, each in enumerate(panels):
            draw(each, ax=figure.add_subplot(n_rows, n_columns, index + 1))
        if title:
            figure.suptitle(readable(title), x=0.01, ha="left", fontsize=10.5)
    return figure


@checked(panel=instance(Panel))
@style.styled
def draw(panel: Panel, *, ax: Axes = style.NEW) -> Axes:
    """Draw one panel.

    Parameters
    ----------
    panel : Panel
    ax : matplotlib.axes.Axes, optional
        A new one by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
    """
    ax.set_title(readable(panel.title), loc="left", pad=18.0 if panel.note else None)
    if panel.note:
        place = {"xy": (0.0, 1.0), "xycoords": "axes fraction", "va": "bottom"}
        offset = {"xytext": (0, 4), "textcoords": "offset points"}
        ax.annotate(
            readable(panel.note), **place, **offset, fontsize=8.0, color=style.GREY
        )
    ax.set_xlabel(readable(panel.xlabel))
    ax.set_ylabel(readable(panel.ylabel))
    if panel.image is not None:
        _draw_image(ax, panel.image)
    else:
        style.grid(ax)
        for name in ("x", "y"):
            if getattr(panel, f"{name}scale") == "log":
                getattr(ax, f"set_{name}scale")("log", nonpositive="mask")
    for number, series in enumerate(panel.series):
        _draw_series(ax, series, number if series.group is None else series.group)
    if panel.kind == "lines":
        _label_logarithms(ax, panel)
        _place_legend(ax)
    return ax


def _draw_series(ax: Axes, series: Series, group: int) -> None:
    x = np.asarray(series.x, dtype=float)
    order = np.argsort(x, kind="stable") if series.style != "points" else slice(None)
    x = x[order]
    low: Any
    high: Any
    y: Any
    low, high, y = (
        None if values is None else np.asarray(values, dtype=float)[order]
        for values in (series.low, series.high, series.y)
    )
    look: dict[str, Any] = {"color": COLOURS[group % len(COLOURS)]}
    label = readable(series.label) or None
    if series.style == "points":
        look |= {"marker": MARKERS[group % len(MARKERS)], "linestyle": "none"}
        # Open and filled markers alternate: they tell groups apart without colour.
        look["markerfacecolor"] = look["color"] if group % 2 == 0 else "white"
        bars = None if low is None else np.abs(np.stack([y - low, high - y]))
        ax.errorbar(x, y, yerr=bars, label=label, capsize=2.0, elinewidth=0.8, **look)
        return
    if low is not None:
        is_band = series.style == "band"
        hatch = HATCHES[group % len(HATCHES)]
        shade = {"alpha": 0.25, "linewidth": 0.0, "hatch": hatch}
        ax.fill_between(
            x, low, high, color=look["color"], label=label if is_band else None, **shade
        )
    if y is not None:
        name = None if series.style == "band" else label
        ax.plot(x, y, label=name, linestyle=LINES[group % len(LINES)], **look)


def _draw_image(ax: Axes, image: Image) -> None:
    """Draw a heat map with the number in every cell, readable without colour."""
    values = np.ma.masked_invalid(image.array)
    if image.scale == "log":
        values = np.ma.masked_less_equal(values, 0.0)
    norm = _norm(values, image.scale)
    colours = mpl.colormaps["viridis"].with_extremes(bad="white")
    mesh = ax.imshow(values, origin="lower", aspect="auto", cmap=colours, norm=norm)
    absent = np.ma.getmaskarray(values)
    for row, column in np.ndindex(values.shape):
        is_absent = absent[row, column]
        text = "–" if is_absent else f"{values[row, column]:.2g}"
        is_dark = not is_absent and norm(values[row, column]) < 0.6
        colour = "white" if is_dark else "black"
        size = 7.5 if values.shape[1] <= 8 else 6.0
        ax.text(
            column, row, text, ha="center", va="center", color=colour, fontsize=size
        )
    ax.set_xticks(range(len(image.x)), [str(each) for each in image.x])
    ax.set_yticks(range(len(image.y)), [str(each) for each in image.y])
    bar = ax.figure.colorbar(
        mesh, ax=ax, label=readable(image.label), pad=0.02, fraction=0.08
    )
    if image.scale == "log":
        _few_decades(bar.ax.yaxis, *mesh.get_clim())


def _norm(values: np.ma.MaskedArray, scale: str) -> Normalize:
    present = values.compressed()
    low, high = (present.min(), present.max()) if len(present) else (0.5, 1.0)
    if low == high:
        low, high = (0.5 * low, 2.0 * low) if low > 0 else (low - 1.0, low + 1.0)
    return LogNorm(low, high) if scale == "log" else Normalize(low, high)


def _label_logarithms(ax: Axes, panel: Panel) -> None:
    """Label logarithmic axes; sizes such as L and M at the values that occur."""
    if panel.xscale == "log":
        pooled = [np.ravel(series.x) for series in panel.series]
        found = np.unique(np.concatenate(pooled)) if pooled else np.empty(0)
        found = found[found > 0]
        if 2 <= len(found) <= 9 and np.all(found == np.round(found)):
            ax.set_xticks(found, [f"{value:g}" for value in found])
            ax.xaxis.set_minor_formatter(NullFormatter())
            if len(found) > 6:
                ax.tick_params(axis="x", labelrotation=45.0)
        else:
            _few_decades(ax.xaxis, *ax.get_xlim())
    if panel.yscale == "log":
        _few_decades(ax.yaxis, *ax.get_ylim())


def _few_decades(axis: Any, low: float, high: float) -> None:
    """Give a logarithmic axis of less than two decades labels between the powers."""
    if low > 0 and high / low < 100.0:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _place_legend(ax: Axes) -> None:
    """Put the legend above the curves, many entries below the axis."""
    n_entries = len(ax.get_legend_handles_labels()[0])
    if n_entries <= _MOST_LEGEND_ROWS:
        if n_entries:
            style.legend_above_curves(ax)
    else:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18)}
        style.legend(ax, **place, ncols=3, fontsize=7.5)
