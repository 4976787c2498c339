"""Datasets with dimension scales: every axis has a named coordinate.

A scale is a 1-D dataset in the same group, named like its dimension. An axis without
one would make the whole group unreadable in xarray.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.storage.meanings import index_meaning, meaning
from mfpde.storage.texts import decoded, encoded, set_attributes

SERIES_CHUNK = 1024
LARGEST_CHUNK = 8 * 2**20


def add_scale(group: h5py.Group, name: str, **options: Any) -> h5py.Dataset:
    """Create the scale, that is the coordinate, of dimension `name`.

    From the array `data`, or empty with the options of h5py for a new dataset.
    """
    scale = _create(group, name, **options)
    scale.make_scale(name)
    return scale


def add_series_scale(group: h5py.Group) -> None:
    """Create the unlimited dimension `s`: its length tells how many rows count.

    The fill value NaN shows a row that was never written.
    """
    options = {"shape": (0,), "maxshape": (None,), "chunks": (SERIES_CHUNK,)}
    options |= {"dtype": np.float64, "fillvalue": np.nan}
    add_scale(group, "s", **options)


def add_static(
    group: h5py.Group, name: str, values: ArrayLike, dims: Sequence[str]
) -> None:
    """Create a dataset that never changes, with the digest of its values.

    Parameters
    ----------
    group : h5py.Group
    name : str
    values : array_like
        Real numbers or strings.
    dims : sequence of str
        One name per axis; scales 0, 1, 2, ... are made for new names. A 1-D array
        whose dimension has its own name becomes the scale of it.
    """
    array = np.asarray(values)
    if len(dims) != array.ndim:
        raise ValueError(
            f"`{name}` must have one dimension name per axis, got {list(dims)} for "
            f"shape {array.shape}."
        )
    if tuple(dims) == (name,):
        dataset = add_scale(group, name, data=array)
    else:
        dataset = _create(group, name, data=array)
        _attach(group, dataset, dims, array.shape)


def add_plain(group: h5py.Group, name: str, values: ArrayLike) -> h5py.Dataset:
    """Create a dataset without scales, of a type that every reader understands.

    Its attribute sha256 is the digest of the values.
    """
    array = storable(name, values)
    content = encoded(array) if array.dtype.kind in "OU" else array
    dataset = group.create_dataset(name, data=content, track_order=True)
    array = np.asarray(decoded(content))
    set_attributes(dataset, {"sha256": digest(array)})
    return dataset


def attach(dataset: h5py.Dataset, axis: int, scale: h5py.Dataset) -> None:
    """Make a scale that of an axis.

    Without the list of references back that HDF5 adds to the scale: nobody needs it,
    and PyTables cannot open a dataset that has one.
    """
    dataset.dims[axis].attach_scale(scale)
    del scale.attrs["REFERENCE_LIST"]


def add_series(
    group: h5py.Group,
    name: str,
    shape: Sequence[int],
    dims: Sequence[str],
    dtype: str = "f8",
    *,
    chunks: tuple[int, ...],
) -> None:
    """Create a dataset with one row of the given shape per value of `s`."""
    dataset = _create(
        group,
        name,
        shape=(0, *shape),
        maxshape=(None, *shape),
        chunks=chunks,
        dtype=np.dtype(dtype),
        fillvalue=np.nan if np.dtype(dtype).kind == "f" else 0,
    )
    _attach(group, dataset, ("s", *dims), dataset.shape)


def _create(group: h5py.Group, name: str, **options: Any) -> h5py.Dataset:
    """Create a dataset, from `data` with its digest or empty, that says what it is."""
    if name in group:
        raise ValueError(f"The name {name!r} is used twice in {group.name}.")
    data = options.pop("data", None)
    if data is None:
        dataset = group.create_dataset(name, track_order=True, **options)
    else:
        dataset = add_plain(group, name, data)
    explain(dataset)
    return dataset


def explain(dataset: h5py.Dataset) -> None:
    """Set the attributes that say what a dataset holds."""
    _, *groups, name = dataset.name.split("/")
    attributes = meaning("/".join(groups), name)
    if dataset.dtype.kind == "S":
        attributes.pop("units", None)
        # With this attribute of netCDF xarray gives str instead of bytes.
        attributes["_Encoding"] = "utf-8"
    set_attributes(dataset, attributes)


def _attach(
    group: h5py.Group, dataset: h5py.Dataset, dims: Sequence[str], shape: Sequence[int]
) -> None:
    for axis, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        if dim not in group:
            index = add_scale(group, dim, data=np.arange(size))
            set_attributes(index, index_meaning(dim))
            # Tells readers that this coordinate holds nothing but 0, 1, 2, ...
            index.attrs["mfpde_index"] = np.int8(1)
        scale = group[dim]
        if not scale.is_scale or scale.shape != (size,):
            raise ValueError(
                f"Axis {axis} of {dataset.name} is named {dim!r} and has length "
                f"{size}, but {scale.name} has shape {scale.shape}. Use another name "
                "for the dimension."
            )
        attach(dataset, axis, scale)


def storable(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return an array of a type that every HDF5 reader understands."""
    array = np.asarray(values)
    if array.dtype.kind == "b":
        array = array.astype(np.int8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    is_text = array.dtype.kind == "U" or (
        array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
    )
    if not is_text and (array.dtype.kind not in "iuf" or array.dtype.itemsize > 8):
        raise ValueError(
            f"`{name}` must hold real numbers of at most 64 bits or strings, got dtype "
            f"{array.dtype}."
        )
    return array


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of the values of an array, numbers or strings."""
    if array.dtype.kind in "OU":
        content = "\0".join(str(item) for item in array.flat).encode()
    else:
        content = np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(content).hexdigest()


def chunk_shape(
    tail: Sequence[int], itemsize: int, *, n_rows: int = 1
) -> tuple[int, ...]:
    """Shape of the chunks of a series with rows of shape `tail`.

    `n_rows` rows to a chunk; a row of more than 8 MiB is divided along its first
    axis.
    """
    tail = tuple(max(1, size) for size in tail)
    if tail and math.prod(tail) * itemsize > LARGEST_CHUNK:
        return (1, 1, *tail[1:])
    return (n_rows, *tail)


def is_series(dataset: h5py.Dataset) -> bool:
    """Whether the dataset grows with `s`."""
    return bool(dataset.maxshape) and dataset.maxshape[0] is None


def dimension_names(dataset: h5py.Dataset) -> list[str]:
    """Names of the dimension scales attached to the axes, in order."""
    if dataset.is_scale:
        return [dataset.name.rpartition("/")[2]]
    return [dim[0].name.rpartition("/")[2] for dim in dataset.dims]


def all_series(h5: h5py.File) -> dict[str, h5py.Dataset]:
    """Every dataset of a run file that grows with `s`, by its path."""
    return {
        dataset.name: dataset
        for group in h5.values()
        for dataset in group.values()
        if is_series(dataset)
    }
