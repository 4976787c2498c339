"""Texts in HDF5 files: of fixed length, which the most readers take.

Octave, PyTables and kerchunk cannot read strings of variable length, and Octave none
that are declared as UTF-8. So a text is declared as ASCII if it is, else as UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

# A string of one byte looks to xarray like a character of a longer one.
_SMALLEST = 2
# Attributes that HDF5 itself keeps for dimension scales.
SCALE_ATTRIBUTES = ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST")


def encoded(texts: ArrayLike) -> NDArray[np.bytes_]:
    """Return texts as bytes, of the type that they have in an HDF5 file.

    Parameters
    ----------
    texts : array_like of str
        Of any shape.

    Raises
    ------
    ValueError
        If a text holds the character NUL, which ends a string in HDF5.
    """
    array = np.asarray(texts)
    items = [str(item) for item in array.flat]
    if any("\0" in item for item in items):
        raise ValueError("A text in a file must not hold the character NUL.")
    contents = [item.encode(errors="backslashreplace") for item in items]
    size = max([_SMALLEST, *map(len, contents)])
    charset = "ascii" if all(item.isascii() for item in contents) else "utf-8"
    values = np.array(contents, dtype=h5py.string_dtype(charset, size))
    return values.reshape(array.shape)


def decoded(value: Any) -> Any:
    """Return bytes, or an array of bytes, as str; anything else as it is."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        items = [decoded(item) for item in value.flat]
        return np.array(items, dtype=str).reshape(value.shape)
    return value


def line_bytes(text: str, size: int) -> bytes:
    """Return a text for a place of `size` bytes declared as ASCII, cut to it.

    Other characters are escaped as in Python, and so is the backslash.
    """
    content = text.encode("unicode_escape", "backslashreplace")
    while len(content) > size:
        text = text[: min(len(text) - 1, size)]
        content = text.encode("unicode_escape", "backslashreplace")
    return content


def line_of(content: bytes) -> str:
    """Return the text that `line_bytes` encoded."""
    return content.decode("unicode_escape")


def set_attributes(item: h5py.HLObject, attributes: Mapping[str, Any]) -> None:
    """Set attributes: numbers, arrays of numbers and texts."""
    for name, value in attributes.items():
        if isinstance(value, str):
            content = encoded(value.replace("\0", "\N{REPLACEMENT CHARACTER}"))
            item.attrs.create(name, content)
        else:
            item.attrs[name] = value


def attribute(item: h5py.HLObject, name: str, default: Any = None) -> Any:
    """Return an attribute as str, int, float or ndarray; `default` without it."""
    value = decoded(item.attrs.get(name, default))
    return value.item() if isinstance(value, np.generic) else value


def attributes(item: h5py.HLObject) -> dict[str, Any]:
    """Return all attributes of a file, group or dataset; see `attribute`."""
    names = [name for name in item.attrs if name not in SCALE_ATTRIBUTES]
    return {name: attribute(item, name) for name in names}
