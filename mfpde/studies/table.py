"""The table of a study: arrays over named axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import instance, mapping, sequence, shown, text
from mfpde.errors import did_you_mean

STATUS = ("missing", "done", "diverged", "failed")
"""Values 0, 1, 2, 3 of the variable `status`."""


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """What a study measured.

    Attributes
    ----------
    axes : dict of str to list
        The values along every axis, numbers or strings.
    variables : dict of str to (tuple of str, ndarray)
        Names of the axes and values of every variable.
    """

    axes: Mapping[str, list]
    variables: Mapping[str, tuple[tuple[str, ...], NDArray[Any]]]

    def __post_init__(self) -> None:
        for axis, values in mapping("axes", self.axes).items():
            sequence()(f"axes[{axis!r}]", values)
        for name, pair in mapping("variables", self.variables).items():
            label = f"variables[{name!r}]"
            dims, values = self._pair(label, pair)
            shape = tuple(len(self.axes[dim]) for dim in dims)
            if instance(np.ndarray, what="an array")(label, values).shape != shape:
                raise ValueError(
                    f"`{label}` must have shape {shape} for its axes "
                    f"{dims}, got {values.shape}."
                )

    def _pair(self, label: str, pair: Any) -> tuple[tuple[str, ...], Any]:
        """Names of axes, all known, and values."""
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                f"`{label}` must be a pair, the names of its axes and an array, got "
                f"{shown(pair)}."
            )
        dims = sequence(text)(label, pair[0])
        for dim in dims:
            if dim not in self.axes:
                raise ValueError(
                    f"`{label}` has the axis {dim!r}, which `axes` must have, too."
                    + did_you_mean(dim, self.axes)
                )
        return dims, pair[1]

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._variable(name)[1]

    def __contains__(self, name: object) -> bool:
        return name in self.variables

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the names of the axes of a variable."""
        return self._variable(name)[0]

    def select(self, **chosen: Any) -> Table:
        """Return the part at some values of some axes.

        Parameters
        ----------
        **chosen
            Axis to value, which drops the axis, or to a list of values.

        Raises
        ------
        KeyError
            If there is no such axis, or the axis has no such value.
        """
        places = {axis: self._place(axis, value) for axis, value in chosen.items()}
        axes = {}
        for axis, values in self.axes.items():
            place = places.get(axis, slice(None))
            if isinstance(place, list):
                axes[axis] = [values[i] for i in place]
            elif isinstance(place, slice):
                axes[axis] = list(values)
        variables = {}
        for name, (dims, values) in self.variables.items():
            part = values
            # From the last axis on, so that a dropped one does not shift the others.
            for number, dim in reversed(list(enumerate(dims))):
                if dim in places:
                    part = np.take(part, places[dim], axis=number)
            kept = tuple(d for d in dims if not isinstance(places.get(d), int))
            variables[name] = (kept, np.asarray(part))
        return Table(axes, variables)

    def finite(self) -> Table:
        """Return the table with NaN for inf: a run that diverged has no value."""
        variables = {
            name: (dims, np.where(np.isinf(values), np.nan, values))
            for name, (dims, values) in self.variables.items()
        }
        return Table(self.axes, variables)

    def _place(self, axis: str, value: Any) -> int | list[int]:
        if axis not in self.axes:
            hint = did_you_mean(axis, self.axes)
            raise KeyError(f"The table has no axis {axis!r}.{hint}")
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, list | tuple | np.ndarray):
            return [find(self.axes, axis, entry) for entry in value]
        return find(self.axes, axis, value)

    def _variable(self, name: str) -> tuple[tuple[str, ...], NDArray[Any]]:
        if text("name", name) not in self.variables:
            hint = did_you_mean(name, self.variables)
            raise KeyError(f"The table has no variable {name!r}.{hint}")
        return self.variables[name]

    def __repr__(self) -> str:
        axes = ", ".join(f"{axis}: {len(v)}" for axis, v in self.axes.items())
        return f"<Table ({axes}) with {', '.join(self.variables)}>"


def find(axes: Mapping[str, list], axis: str, value: Any) -> int:
    """Return the index of a value on an axis.

    Raises
    ------
    KeyError
        If the axis has no such value.
    """
    try:
        return list(axes[axis]).index(value)
    except ValueError:
        there = ", ".join(map(str, axes[axis]))
        raise KeyError(
            f"Axis {axis!r} has no value {shown(value)}, but {there}."
        ) from None
