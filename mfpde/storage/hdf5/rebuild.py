"""Write the committed part of a run file into a new file.

Shrinking datasets in place is not safe against a kill, so whatever takes rows back
(resuming, recovering) builds a new file and puts it in the place of the old one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import h5py
import numpy as np

from mfpde.errors import StorageFormatError
from mfpde.storage.scales import attach, dimension_names, is_series
from mfpde.storage.texts import SCALE_ATTRIBUTES

_BLOCK_BYTES = 64 * 2**20
_MAX_RESERVED_ROWS = 1024


def copy_run(
    source: h5py.File,
    target: h5py.File,
    lengths: Mapping[str, int],
    *,
    reserve: bool = False,
    leave_out: Collection[str] = (),
) -> None:
    """Copy all groups, of each series the first `lengths[path]` rows.

    Parameters
    ----------
    source, target : h5py.File
        A run, and a new file from `layout.new_file`.
    lengths : dict
        Path of every series to the rows to be kept.
    reserve : bool
        Reserve places for at least as many rows again, see `rows.InPlaceRows`.
    leave_out : collection of str
        Groups that are not copied.

    Raises
    ------
    StorageFormatError
        If the source has fewer rows than `lengths` requires.
    """
    _copy_attributes(source, target)
    for name, group in source.items():
        if name in leave_out:
            continue
        new_group = target.create_group(name, track_order=True)
        _copy_attributes(group, new_group)
        for key, dataset in group.items():
            if is_series(dataset):
                _copy_series(dataset, new_group, key, lengths[dataset.name], reserve)
            else:
                data = np.asarray(dataset[()], dataset.dtype)
                new_group.create_dataset(key, data=data, track_order=True)
            _copy_attributes(dataset, new_group[key])
            if dataset.is_scale:
                new_group[key].make_scale(key)
        for key, dataset in group.items():
            if not dataset.is_scale:
                for axis, dim in enumerate(dimension_names(dataset)):
                    attach(new_group[key], axis, new_group[dim])


def _copy_attributes(source: h5py.HLObject, target: h5py.HLObject) -> None:
    for name, value in source.attrs.items():
        if name not in SCALE_ATTRIBUTES:
            dtype = source.attrs.get_id(name).dtype
            target.attrs.create(name, np.asarray(value, dtype), dtype=dtype)


def _copy_series(
    source: h5py.Dataset, group: h5py.Group, name: str, n_rows: int, reserve: bool
) -> None:
    if len(source) < n_rows:
        raise StorageFormatError(
            f"The file holds {len(source)} of {n_rows} rows of {source.name}."
        )
    row_bytes = max(1, source.dtype.itemsize * math.prod(source.shape[1:]))
    n_block = max(1, _BLOCK_BYTES // row_bytes)
    n_spare = max(n_rows, min(n_block, _MAX_RESERVED_ROWS)) if reserve else 0
    target = group.create_dataset(
        name,
        shape=(n_rows + n_spare, *source.shape[1:]),
        maxshape=source.maxshape,
        chunks=(source.chunks[0], *source.shape[1:]) if reserve else source.chunks,
        dtype=source.dtype,
        fillvalue=source.fillvalue,
        dcpl=_early_allocation(has_fill=name == "s") if reserve else None,
        track_order=True,
    )
    for start in range(0, n_rows, n_block):
        rows = slice(start, min(start + n_block, n_rows))
        target[rows] = source[rows]


def _early_allocation(has_fill: bool) -> h5py.h5p.PropDCID:
    """Give all chunks their place at once; only those of `s` are filled (NaN)."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    fill = h5py.h5d.FILL_TIME_ALLOC if has_fill else h5py.h5d.FILL_TIME_NEVER
    properties.set_fill_time(fill)
    return properties
