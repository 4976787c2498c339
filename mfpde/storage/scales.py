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

SERIES_CHUNK = 1024
LARGEST_CHUNK = 8 * 2**20
# Attributes that HDF5 itself keeps for dimension scales.
SCALE_ATTRIBUTES = ("CLASS", "NAME", "REFERENCE_LIST", "DIMENSION_LIST")
_UNITS = {"wall_time": "s"}
_LONG_NAMES = {
    "s": "training time",
    "t": "depth",
    "step": "accepted steps of the flow",
    "loss": "loss E(rho), Eq. (3)",
    "objective": "loss and regulariser",
    "dissipation": "minus the rate of the objective along the flow",
    "energy_residual": "change of the objective plus integrated dissipation",
    "second_moment": "second moment of rho",
    "gradient_norm": "norm of the gradient of the objective",
    "step_size": "last step in training time",
    "n_evaluations": "evaluations of loss and gradient",
    "wall_time": "time spent computing",
    "x": "inputs",
    "y": "targets",
    "sample_weight": "weight of the sample in the loss",
    "t_weight": "weight of the depth node",
    "weight": "weight of the particle",
    "theta": "parameters of the particles",
    "param_name": "name of the parameter",
    "estimate": "estimated absolute error, largest over s and entries",
    "z": "state z(t), Eq. (1)",
    "p": "adjoint p(t), Eq. (4)",
}


def add_scale(
    group: h5py.Group, name: str, values: NDArray[Any], **options: Any
) -> h5py.Dataset:
    """Create the scale, that is the coordinate, of dimension `name`."""
    scale = _create(group, name, data=values, **options)
    scale.make_scale(name)
    return scale


def add_series_scale(group: h5py.Group) -> None:
    """Create the unlimited dimension `s`: its length tells how many rows count.

    The fill value NaN shows a row that was never written.
    """
    options = {"maxshape": (None,), "chunks": (SERIES_CHUNK,), "fillvalue": np.nan}
    add_scale(group, "s", np.empty(0), **options)


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
    array = storable(name, values)
    if len(dims) != array.ndim:
        raise ValueError(
            f"`{name}` must have one dimension name per axis, got {list(dims)} for "
            f"shape {array.shape}."
        )
    if tuple(dims) == (name,):
        dataset = add_scale(group, name, array)
    else:
        dataset = _create(group, name, data=array)
        _attach(group, dataset, dims, array.shape)
    dataset.attrs["sha256"] = digest(array)


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
    if name in group:
        raise ValueError(f"The name {name!r} is used twice in {group.name}.")
    data = options.get("data")
    if data is not None and data.dtype.kind in "OU":
        options["data"] = data.astype(object)
        options["dtype"] = h5py.string_dtype()
    dataset = group.create_dataset(name, track_order=True, **options)
    dataset.attrs["long_name"] = _LONG_NAMES.get(name, name.replace("_", " "))
    if dataset.dtype.kind in "fiu":
        dataset.attrs["units"] = _UNITS.get(name, "1")
    return dataset


def _attach(
    group: h5py.Group, dataset: h5py.Dataset, dims: Sequence[str], shape: Sequence[int]
) -> None:
    for axis, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        if dim not in group:
            index = add_scale(group, dim, np.arange(size))
            index.attrs["long_name"] = f"index of {dim.replace('_', ' ')}"
            # Tells readers that this coordinate holds nothing but 0, 1, 2, ...
            index.attrs["mfpde_index"] = np.int8(1)
        scale = group[dim]
        if not scale.is_scale or scale.shape != (size,):
            raise ValueError(
                f"Axis {axis} of {dataset.name} is named {dim!r} and has length "
                f"{size}, but {scale.name} has shape {scale.shape}. Use another name "
                "for the dimension."
            )
        dataset.dims[axis].attach_scale(scale)


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
