"""Figures as data: what a panel shows, without a word on how it is drawn.

Studies describe their figures with these; `mfpde.plotting.panels` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    check_fields,
    choice,
    float_array,
    instance,
    optional,
    sequence,
    text,
    whole,
)

STYLES = ("points", "line", "band")
KINDS = ("lines", "heat")
SCALES = ("linear", "log")


@dataclass(frozen=True)
class Series:
    """One curve, cloud of points, or band.

    Attributes
    ----------
    x, y : array_like, shape (n,)
    label : str
        For the legend; empty for none.
    low, high : array_like, shape (n,), optional
        Ends of the intervals: error bars of points, the edges of a band (which then
        needs no `y` of its own: None), a shade around a line.
    style : {"points", "line", "band"}
    group : int, optional
        Series of one group share colour and marker, for example points and their fit.
        Default: every series is a group of its own, in their order.
    """

    x: ArrayLike
    y: ArrayLike | None
    label: str = ""
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    style: str = "points"
    group: int | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            x=_values,
            y=optional(_values),
            label=text,
            low=optional(_values),
            high=optional(_values),
            style=choice(*STYLES),
            group=optional(whole(0)),
        )
        if (self.low is None) != (self.high is None):
            raise ValueError("`low` and `high` must be given together, or neither.")
        if self.style == "band" and self.low is None:
            raise ValueError('`low` and `high` are required for style "band".')
        if self.style != "band" and self.y is None:
            raise ValueError(f'`y` is required for style "{self.style}".')
        lengths = {
            name: np.shape(values)
            for name, values in vars(self).items()
            if name in ("x", "y", "low", "high") and values is not None
        }
        if len(set(lengths.values())) != 1 or len(lengths["x"]) != 1:
            raise ValueError(
                f"`x`, `y`, `low` and `high` must have one shape (n,), got {lengths}."
            )


@dataclass(frozen=True)
class Image:
    """The values of a heat map.

    Attributes
    ----------
    values : array_like, shape (len(y), len(x))
        NaN where there is none.
    x, y : sequence
        Numbers or names of columns and rows; rows go upwards.
    label : str
        What the values are.
    scale : {"linear", "log"}
    """

    values: ArrayLike
    x: Sequence
    y: Sequence
    label: str = ""
    scale: str = "log"

    def __post_init__(self) -> None:
        check_fields(
            self,
            values=_values,
            x=sequence(),
            y=sequence(),
            label=text,
            scale=choice(*SCALES),
        )
        shape = len(self.y), len(self.x)
        if self.array.shape != shape:
            raise ValueError(
                f"`values` must have shape (len(y), len(x)) = {shape}, got "
                f"{self.array.shape}."
            )

    @property
    def array(self) -> NDArray[np.float64]:
        """The values as an array."""
        return self.values


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    title, xlabel, ylabel : str
    series : sequence of Series
        Drawn in this order.
    xscale, yscale : {"linear", "log"}
    kind : {"lines", "heat"}
    image : Image, optional
        For kind "heat"; `series` are drawn over it, in units of columns and rows.
    note : str
        A line of small print below the title, for example the fitted exponent.
    """

    title: str
    xlabel: str
    ylabel: str
    series: Sequence[Series] = field(default=())
    xscale: str = "log"
    yscale: str = "log"
    kind: str = "lines"
    image: Image | None = None
    note: str = ""

    def __post_init__(self) -> None:
        check_fields(
            self,
            title=text,
            xlabel=text,
            ylabel=text,
            series=sequence(instance(Series)),
            xscale=choice(*SCALES),
            yscale=choice(*SCALES),
            kind=choice(*KINDS),
            image=optional(instance(Image)),
            note=text,
        )
        if (self.kind == "heat") != (self.image is not None):
            raise ValueError('`image` belongs to kind "heat", which requires it.')


def _values(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """Numbers; NaN where there is none."""
    return float_array(name, value, is_finite=False)
