"""What the pictures read from a run, a solution, an evaluation or plain arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.mathtext import MathTextParser
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import float_array, shown
from mfpde.streams import one_line

Array = NDArray[np.float64]

LARGEST = 1e300
"""In size; matplotlib finds no limits of an axis for numbers near the largest."""


def find_column(source: Any, name: str) -> Array | None:
    """Column `name` of a run, a solution or a mapping, shape (R,); None if absent."""
    if isinstance(source, type):
        return None
    if isinstance(source, Mapping):
        value = source.get(name)
    else:
        scalars = getattr(source, "scalars", {})
        value = scalars[name] if name in scalars else getattr(source, name, None)
    if value is None:
        return None
    return float_array(f"run[{name!r}]", value, is_finite=False)


def column_beside(source: Any, name: str, s: Array) -> Array | None:
    """An optional column, of the shape of `s`; None if absent."""
    found = find_column(source, name)
    if found is not None and found.shape != s.shape:
        raise ValueError(
            f"`run[{name!r}]` must have the shape of the column s, {s.shape}, got "
            f"{found.shape}."
        )
    return None if found is None else _drawable(found)


def _drawable(values: Array) -> Array:
    """The values, NaN, a gap, for those that no axis can show."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def columns(source: Any, *names: str) -> list[Array]:
    """Columns that a picture cannot do without, each of shape (R,).

    Raises
    ------
    TypeError, ValueError
        If one is absent, or if they differ in length.
    """
    known = {name: find_column(source, name) for name in names}
    found = [column for column in known.values() if column is not None]
    missing = [name for name, column in known.items() if column is None]
    if missing:
        has_columns = isinstance(source, Mapping) or hasattr(source, "scalars")
        kind = ValueError if has_columns else TypeError
        raise kind(
            f"`run` must have the column {missing[0]!r}, as a run, a solution or a "
            f"dict of columns has, but it is missing from {shown(source)}."
        )
    lengths = [column.shape for column in found]
    if len(set(lengths)) != 1 or len(lengths[0]) != 1:
        raise ValueError(
            f"The columns {', '.join(names)} of `run` must have one shape (R,), got "
            f"{lengths}."
        )
    return [_drawable(column) for column in found]


def plain(name: object) -> str:
    """A name that is not ours, on one line and without mathematics between dollars."""
    return one_line(name).replace("$", r"\$")


def readable(text: str) -> str:
    """A text of a panel; without mathematics where what is between dollars is none."""
    if "$" not in text:
        return text
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return plain(text)
    return text


def symbol(name: str) -> str:
    """Write a parameter name as mathematics: "u[0]" and "u0" become u with index."""
    match = re.fullmatch(r"([A-Za-z]+)[_\[]?(\d+(?:,\s*\d+)?)?\]?", name)
    if match is None:
        return plain(name)
    letter, index = match.groups()
    if letter in ("theta", "Theta"):
        letter = rf"\{letter}"
    elif len(letter) > 1:
        letter = rf"\mathrm{{{letter}}}"
    return f"${letter}$" if index is None else f"${letter}_{{{index}}}$"


def letters(names: list[str]) -> dict[str, list[int]]:
    """Group parameter indices by letter: {"u": [0, 1], "v": [2, 3]}."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(re.split(r"[\W_\d]", name)[0] or name, []).append(index)
    return groups


def parameter_index(names: list[str], parameter: int | str) -> int:
    """Position of a parameter given by name or index.

    Raises
    ------
    TypeError, ValueError
        If there is no such parameter.
    """
    is_index = isinstance(parameter, int | np.integer) and parameter is not True
    is_index = is_index and parameter is not False
    if isinstance(parameter, str):
        if parameter in names:
            return names.index(parameter)
    elif is_index and -len(names) <= parameter < len(names):
        return int(parameter) % len(names)
    kind = ValueError if is_index or isinstance(parameter, str) else TypeError
    raise kind(
        f"`parameter` must be one of {', '.join(names)} or an index below "
        f"{len(names)}, got {shown(parameter)}."
    )


def classes_of(y: ArrayLike) -> NDArray[np.int64] | None:
    """Class numbers (N,) of targets or labels `y`, or None for a regression.

    Parameters
    ----------
    y : array-like, shape (N,) or (N, q)
        One-hot rows; one column of -1 and 1 (or 0 and 1); or integer labels 0, 1, ...
        of shape (N,).
    """
    y = np.asarray(y)
    if np.all((y == -1) | (y == 1)) or (y.ndim == 2 and y.shape[1] == 1):
        is_binary = np.all((y == -1) | (y == 1)) or np.all((y == 0) | (y == 1))
        return (y.reshape(-1) > 0).astype(np.int64) if is_binary else None
    if y.ndim == 1:
        is_label = y.dtype.kind in "iub" and y.min(initial=0) >= 0
        return y.astype(np.int64) if is_label else None
    is_one_hot = np.all((y == 0) | (y == 1)) and np.all(y.sum(axis=1) == 1)
    return decide(y) if is_one_hot else None


def class_names(y: ArrayLike, classes: NDArray[np.int64]) -> list[str]:
    """Default names of the classes: -1 and 1 for signs, else 0, 1, ..."""
    y = np.asarray(y)
    if y.min(initial=0) < 0:
        return ["-1", "1"]
    n_columns = y.shape[1] if y.ndim == 2 else 1
    return [str(c) for c in range(max(n_columns, 2, classes.max(initial=0) + 1))]


def decide(output: ArrayLike) -> NDArray[np.int64]:
    """Class numbers (N,) that outputs (N, q) stand for: the sign, or the largest."""
    output = np.asarray(output, dtype=float)
    if output.shape[1] == 1:
        return (output[:, 0] > 0).astype(np.int64)
    return np.argmax(output, axis=1)
