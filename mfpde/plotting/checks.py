"""Checks of what pictures are made of: points, targets, classes, names, functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    as_array,
    float_array,
    having,
    index_array,
    instance,
    integer,
    is_iterable,
    is_number,
    shown,
)

Array = NDArray[np.float64]

MOST_CLASSES = 1000
"""More cannot be told apart, nor are they meant: larger numbers are targets."""

AN_AXIS = instance(Axes, what="an axis of matplotlib, as `figure.add_subplot()`")
A_FIGURE = instance(Figure, what="a figure of matplotlib")
AN_EVALUATION = having(
    *("problem", "grid", "ensemble", "t_states", "z"), what="an evaluation"
)
A_DENSITY = having(
    *("problem", "s", "t", "mesh", "density", "marginal"),
    what="a solution of `solve_density`",
)


def points(name: str, value: ArrayLike, n_columns: int | None = None) -> Array:
    """Rows (n, `n_columns`); numbers (n,) stand for rows of one."""
    array = float_array(name, value)
    if array.ndim == 1 and n_columns in (None, 1):
        array = array[:, np.newaxis]
    fits = array.ndim == 2 and array.size and n_columns in (None, array.shape[1])
    if not fits:
        columns = "any" if n_columns is None else n_columns
        raise ValueError(
            f"`{name}` must have shape (n, {columns}) and not be empty, got shape "
            f"{array.shape}."
        )
    return array


def targets(name: str, value: ArrayLike, n: int) -> NDArray[Any]:
    """Targets (n,) or (n, q) of as many points; integers and truth values are kept."""
    given = as_array(name, value)
    if given.dtype.kind == "b":
        given = given.astype(np.int64)
    array = float_array(name, given)
    if array.ndim not in (1, 2) or len(array) != n or not array.size:
        raise ValueError(
            f"`{name}` must have shape ({n},) or ({n}, q), a row for each point, got "
            f"shape {array.shape}."
        )
    if array.ndim == 1 and given.dtype.kind in "iu" and array.max() >= MOST_CLASSES:
        raise ValueError(
            f"`{name}` must hold classes below {MOST_CLASSES}, got {array.max():g}. "
            "Give real targets as floats."
        )
    return given


def class_numbers(name: str, value: ArrayLike) -> NDArray[np.int64]:
    """Class numbers 0, 1, ... of shape (n,); floats are taken if they are whole."""
    given = as_array(name, value)
    is_whole = given.dtype.kind == "f" and np.all(given == np.floor(given))
    if given.dtype.kind == "b" or (is_whole and np.all(np.abs(given) < 2.0**53)):
        given = given.astype(np.int64)
    classes = index_array(name, given)
    if classes.ndim != 1 or not len(classes):
        raise ValueError(
            f"`{name}` must have shape (n,) with n >= 1, got shape {classes.shape}."
        )
    if classes.min() < 0 or classes.max() >= MOST_CLASSES:
        wrong = classes[(classes < 0) | (classes >= MOST_CLASSES)][0]
        raise ValueError(
            f"`{name}` must hold classes from 0 to {MOST_CLASSES - 1}, got {wrong}."
        )
    return classes


def names(name: str, value: Any) -> tuple[str, ...]:
    """Names, texts or numbers, as texts."""
    is_other = isinstance(value, str | bytes | Mapping | Set)
    if is_other or not is_iterable(value):
        raise TypeError(f"`{name}` must be a list of texts, got {shown(value)}.")
    found = tuple(value)
    for each in found:
        if not isinstance(each, str) and not is_number(each):
            raise TypeError(f"`{name}` must hold texts, got {shown(each)}.")
    return tuple(map(str, found))


def two_names(name: str, value: Any) -> tuple[str, ...]:
    """Two names."""
    found = names(name, value)
    if len(found) != 2:
        raise ValueError(f"`{name}` must hold two texts, got {len(found)}.")
    return found


def enough_names(given: Sequence[str], n_classes: int) -> None:
    """Raise ValueError unless there is a name for each class."""
    if len(given) < n_classes:
        raise ValueError(
            f"`names` must have a name for each of {n_classes} classes, got "
            f"{len(given)}."
        )


def mapped(
    name: str,
    function: Callable[[Array], ArrayLike] | None,
    values: Array,
    n_columns: int | None = None,
) -> Array:
    """What a function of the user's makes of rows (m, any): rows (m, `n_columns`)."""
    if function is None:
        return values
    array = float_array(f"{name}(...)", function(values))
    fits = array.ndim == 2 and array.shape[1] and n_columns in (None, array.shape[1])
    if not fits or len(array) != len(values):
        columns = "any" if n_columns is None else n_columns
        raise ValueError(
            f"`{name}` must return shape ({len(values)}, {columns}) here, got shape "
            f"{array.shape}."
        )
    return array


def plane(name: str, value: Any) -> str | tuple[int, ...]:
    """A name of a plane, or a pair of components."""
    accepted = ("auto", "principal", "first")
    if isinstance(value, str) and value in accepted:
        return str(value)
    if isinstance(value, list | tuple | np.ndarray) and is_iterable(value):
        pair = tuple(integer(name, each, 0) for each in value)
        if len(pair) == 2:
            return pair
    kind = ValueError if isinstance(value, str | list | tuple) else TypeError
    raise kind(
        f"`{name}` must be one of {', '.join(accepted)} or a pair of components, got "
        f"{shown(value)}."
    )


def which(name: str, value: Any, n: int) -> NDArray[np.int64]:
    """Indices below `n`: given ones, or so many, spread evenly."""
    if not is_iterable(value):
        count = min(integer(name, value, 1), n)
        return np.unique(np.linspace(0, n - 1, count).astype(int))
    chosen = index_array(name, value)
    if chosen.ndim != 1 or not len(chosen) or chosen.min() < 0 or chosen.max() >= n:
        raise ValueError(
            f"`{name}` must be a number, or a list of numbers from 0 to {n - 1}, got "
            f"{shown(value)}."
        )
    return chosen


def times(name: str, value: ArrayLike) -> Array:
    """One or several numbers, as shape (n,)."""
    array = np.atleast_1d(float_array(name, value))
    if array.ndim != 1 or not len(array):
        raise ValueError(
            f"`{name}` must be a number or a list of them, got shape {array.shape}."
        )
    return array
