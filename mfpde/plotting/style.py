"""The look shared by all pictures: colours, fonts, axes, the file at the end."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from mfpde import __version__
from mfpde.arrays import check_size, checked
from mfpde.arrays import number as number_from
from mfpde.paths import check_replaceable, picture_path
from mfpde.plotting.checks import A_FIGURE, AN_AXIS

# Okabe and Ito's colour-blind safe palette. Pairs that meet in one picture also
# differ in lightness, in line style or in marker.
BLACK, GREY, LIGHT_GREY = "#000000", "#6E6E6E", "#B8B8B8"
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE = "#56B4E9", "#CC79A7"
# Ten classes: the palette's yellow darkened, so that its digits can be read on white,
# Tol's wine and a grey.
CLASS_COLOURS = (
    *(BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, BLACK),
    *("#B5A000", "#882255", "#8C8C8C"),
)
CLASS_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">")

STYLE: Any = {
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=CLASS_COLOURS),
    "figure.dpi": 100.0,
    "figure.titlesize": 12.0,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "legend.fontsize": 8.5,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.borderpad": 0.3,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.0,
    "mathtext.fontset": "dejavusans",
    "savefig.dpi": 150.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


NEW: Any = None
"""Default of the axes of a picture: `styled` makes new ones."""
MOST_PIXELS = 2**16
"""Of one side of a bitmap; matplotlib draws no more."""

# matplotlib's settings are one for all threads: pictures are drawn in turn.
_DRAWING = threading.RLock()


@contextlib.contextmanager
def applied() -> Iterator[None]:
    """Draw the pictures of the block in this package's style.

    `matplotlib.rc_context` would put back all settings, also those that a notebook's
    backend makes when the first figure appears, without which none is shown.
    """
    with _DRAWING:
        before = {name: mpl.rcParams[name] for name in STYLE}
        mpl.rcParams.update(STYLE)
        try:
            yield
        finally:
            mpl.rcParams.update(before)


def pad(figure: Figure) -> None:
    """Space between the panels of a constrained layout, in inches."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(w_pad=0.1, h_pad=0.1)


class Page(Figure):
    """A figure unknown to pyplot that a notebook shows as the value of a cell."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        _write(self, file, format="png", dpi=self.dpi)
        return file.getvalue()


def styled(draw: Callable[..., Axes]) -> Callable[..., Axes]:
    """Give `draw` a new axis in this package's style when its `ax` is None."""

    @functools.wraps(draw)
    def wrapper(*args: Any, ax: Axes | None = None, **options: Any) -> Axes:
        if ax is not None:
            return draw(*args, ax=AN_AXIS("ax", ax), **options)
        # pyplot shows the figure in a notebook and chooses a backend, which is
        # of no use to the pages that `summary` writes: imported when needed.
        from matplotlib import pyplot

        size = {"figsize": (4.8, 3.6), "layout": "constrained"}
        with applied():
            try:
                figure, ax = pyplot.subplots(**size)
            except ImportError:
                # The chosen backend needs a display or a package that is not there.
                figure = Page(**size)
                ax = figure.add_subplot()
            try:
                return draw(*args, ax=ax, **options)
            except BaseException:
                pyplot.close(figure)
                raise

    return wrapper


@checked(figure=A_FIGURE, dpi=number_from(1.0, 4800.0))
def save(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 150.0) -> None:
    """Write a figure; the ending of `path` chooses the format (png, pdf, svg, ...).

    An existing picture of the same format is replaced: it can be drawn again from the
    run. Any other file is kept.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path-like
    dpi : float
        Pixels per inch of a bitmap.

    Raises
    ------
    ValueError
        If the ending is not one of `mfpde.paths.PICTURES`, or the picture too large.
    FileNotFoundError, IsADirectoryError
        If the folder is missing, or `path` a folder.
    FileExistsError
        If something else than a picture of this format stands there.
    """
    path = picture_path(path)
    pixels = figure.get_size_inches() * dpi
    if pixels.max() >= MOST_PIXELS:
        raise ValueError(
            f"`dpi` must be such that the longer side of the figure has less than "
            f"{MOST_PIXELS} pixels, got {dpi:g}, which makes {pixels.max():.0f}."
        )
    check_size("dpi", *pixels, 0.5)  # four bytes for each pixel
    suffix = path.suffix.lower()
    check_replaceable(path, "`path`", suffix)
    # By this entry a picture of ours is known from others.
    key = {".png": "Software", ".pdf": "Creator", ".svg": "Creator"}.get(suffix)
    metadata = {key: f"mfpde {__version__}"} if key else None
    _write(figure, path, dpi=dpi, metadata=metadata)


def _write(figure: Figure, file: Any, **options: Any) -> None:
    with _DRAWING, warnings.catch_warnings():
        # A name may have characters that the font has not: boxes stand for them.
        warnings.filterwarnings("ignore", "Glyph ", UserWarning)
        figure.savefig(file, **options)


def training_time_axis(ax: Axes, s: ArrayLike) -> None:
    """Label and scale the horizontal axis for training times `s`, shape (R,).

    Logarithmic if the positive times span more than a decade. Where a record at
    s = 0 belongs to the picture, the part below the first positive time is linear,
    so that s = 0 has its place.
    """
    s = np.asarray(s, dtype=float)
    ax.set_xlabel("training time $s$")
    grid(ax)
    positive = s[np.isfinite(s) & (s > 0)]
    if len(positive) == 0:
        ax.set_xlim(-0.5, 0.5)
        return
    has_zero = len(positive) < len(s)
    first, last = positive.min(), positive.max()
    if last <= 10.0 * first:
        low = 0.0 if has_zero else first
        margin = 0.03 * (last - low) or 0.05 * last
        ax.set_xlim(low - margin, last + margin)
        return
    if has_zero:
        ax.set_xscale(
            "symlog", linthresh=first, linscale=max(0.3, 0.1 * np.log10(last / first))
        )
        ax.set_xlim(-0.15 * first, 1.15 * last)
    else:
        ax.set_xscale("log")
        ax.set_xlim(first / 1.15, 1.15 * last)
    # The locators of these scales would crowd or duplicate the ticks beside 0.
    decades = 10.0 ** np.arange(np.ceil(np.log10(first) - 1e-9), np.log10(1.15 * last))
    shown = decades[:: -max(1, -(-len(decades) // 6))]
    between = np.outer([0.1 * decades[0], *decades], np.arange(2, 10)).ravel()
    major = [0.0, *shown.tolist()] if has_zero else shown.tolist()
    ax.xaxis.set_major_locator(FixedLocator(major))
    ax.xaxis.set_minor_locator(FixedLocator(between[between > first].tolist()))
    ax.xaxis.set_major_formatter(FuncFormatter(_decade_text))
    ax.xaxis.set_minor_formatter(NullFormatter())


def value_axis(ax: Axes, values: list[np.ndarray], *, least_ratio: float = 3.0) -> None:
    """Scale the vertical axis: logarithmic where some value is positive, none negative.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    values : list of ndarray
        What will be drawn; NaN is left out.
    least_ratio : float
        Largest over smallest positive value from which on the axis is logarithmic.
    """
    pooled = np.concatenate([np.ravel(each) for each in values])
    positive = pooled[np.isfinite(pooled) & (pooled > 0)]
    if len(positive) == 0 or np.any(pooled < 0):
        return
    ratio = positive.max() / positive.min()
    if ratio < least_ratio:
        return
    ax.set_yscale("log", nonpositive="mask")
    if ratio < 100.0:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def legend_above_curves(ax: Axes, *, n_columns: int = 2) -> None:
    """Make room at the top of `ax` for its legend, and place it there."""
    n_entries = len(ax.get_legend_handles_labels()[0])
    share = 0.03 + 0.075 * -(-n_entries // n_columns)  # of the height of the axis
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log":
        ax.set_ylim(low, high * (high / low) ** (share / (1.0 - share)))
    else:
        ax.set_ylim(low, high + (high - low) * share / (1.0 - share))
    legend(ax, loc="upper center", ncols=n_columns)


def grid(ax: Axes) -> None:
    """Draw a grid behind the data."""
    ax.grid(True, which="major")
    ax.set_axisbelow(True)


def few_markers(n: int) -> dict[str, Any]:
    """Marker options of a line through `n` records: few are shown one by one."""
    return {"marker": "o"} if n <= 12 else {}


def padded(values: ArrayLike, n: int) -> np.ndarray:
    """`n` equidistant numbers over the range of `values` and 8 % more on each side."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.08 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, n)


def number(value: float) -> str:
    """Short text of a number for labels: 0, 0.25, 40, 1.2e-05."""
    return f"{value:.3g}"


def plain(text: str) -> str:
    """The text as matplotlib shows it as it is, not as mathematics."""
    return text.replace("$", r"\$")


def legend(ax: Axes, **options: Any) -> None:
    """Draw the legend of `ax` if anything on it carries a label."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**options)


def _decade_text(value: float, _position: int | None = None) -> str:
    if value == 0:
        return "0"
    exponent = round(np.log10(value))
    return f"{value:g}" if -2 <= exponent <= 3 else f"$10^{{{exponent}}}$"
