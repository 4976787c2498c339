"""Checks of arguments that the modules of `mfpde.data` share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import as_array
from mfpde.arrays import integer as integer
from mfpde.errors import nearest
from mfpde.paths import user_path


def real_array(
    name: str, values: ArrayLike, may_be_missing: bool = False
) -> NDArray[np.float64]:
    """Copy `values` to float64, C order; raise unless all are real and finite.

    With `may_be_missing` an entry may be NaN.
    """
    array = as_array(name, values)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"`{name}` must hold real numbers, got an array of dtype {array.dtype}."
        )
    array = np.array(array, dtype=np.float64, order="C")
    is_bad = np.isinf(array) if may_be_missing else ~np.isfinite(array)
    bad = np.argwhere(is_bad)
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"`{name}` must be finite, got {array[index]} at index {index}, the first "
            f"of {len(bad)}. Remove such samples or fill them in."
        )
    return array


def sample_matrix(
    name: str, values: ArrayLike, may_be_missing: bool = False
) -> NDArray[np.float64]:
    """Check that `values` are finite samples of shape (N, d) with N, d >= 1."""
    array = real_array(name, values, may_be_missing)
    if array.ndim != 2:
        raise ValueError(
            f"`{name}` must have shape (n_samples, n_features), got {array.shape}. "
            "Reshape it, for one feature with x[:, None]."
        )
    if array.size == 0:
        raise ValueError(f"`{name}` must not be empty, got shape {array.shape}.")
    return array


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest of the `known` names, or all of them."""
    known = list(known)
    near = nearest(name, known)
    if near:
        return f"Did you mean {near!r}?"
    return "Known: " + ", ".join(repr(item) for item in known) + "."


def existing(path: str | Path) -> Path:
    """The path; FileNotFoundError unless it is a file."""
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no data file {path}.")
    return path


def sha256(path: Path) -> str:
    """SHA-256 checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
