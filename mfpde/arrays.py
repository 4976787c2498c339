"""Checks of numbers and arrays at the public border."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def float_array(
    name: str, value: ArrayLike, *, axes: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Return `value` as a new read-only, C-contiguous, finite float64 array.

    Parameters
    ----------
    name : str
        Name of the argument in error messages.
    value : array_like of real numbers
    axes : sequence of str, optional
        Names of the axes, used to say where the first bad entry stands.

    Returns
    -------
    array : ndarray, shape of `value`

    Raises
    ------
    TypeError
        If `value` does not hold real numbers.
    ValueError
        If `value` is ragged, or an entry is not finite.
    """
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a rectangular array of numbers, got rows of "
            "different lengths."
        ) from error
    if given.dtype.kind not in "fiu":
        raise TypeError(
            f"`{name}` must hold real numbers, got {type(value).__name__} of dtype "
            f"{given.dtype}."
        )
    array = np.array(given, dtype=np.float64, order="C")
    is_finite = np.isfinite(array)
    if not is_finite.all():
        index = tuple(int(i) for i in np.argwhere(~is_finite)[0])
        raise ValueError(
            f"`{name}` must be finite, got {array[index]}{_place(index, axes)}."
        )
    array.setflags(write=False)
    return array


def _place(index: tuple[int, ...], axes: Sequence[str] | None) -> str:
    """Words for the place of an entry, "" for a number."""
    if not index:
        return ""
    if axes is None or len(axes) != len(index):
        return f" at index {index}"
    named = zip(axes, index, strict=True)
    return " at " + ", ".join(f"{axis} {i}" for axis, i in named)


def is_number(value: object) -> bool:
    """Whether value is a real number, Python's or NumPy's, and no bool."""
    real = (int, float, np.integer, np.floating)
    return isinstance(value, real) and not isinstance(value, bool)


def check_positive(name: str, value: object) -> None:
    """Raise TypeError or ValueError unless value is a finite positive number."""
    if not is_number(value):
        raise TypeError(f"`{name}` must be a number, got {value!r}.")
    if not 0.0 < value < np.inf:
        raise ValueError(f"`{name}` must be positive and finite, got {value!r}.")


def evenly_spaced(n: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the indices 0 to n - 1, evenly spread, both ends among them."""
    places = np.linspace(0, n - 1, min(n, most))
    return np.unique(places.round().astype(int))
