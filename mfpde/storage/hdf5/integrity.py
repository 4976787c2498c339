"""Which rows of a run file count, and whether the file holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from mfpde.errors import StorageFormatError
from mfpde.storage.hdf5.access import Opened
from mfpde.storage.scales import is_series

_REQUIRED = {
    "config": ("toml", "description"),
    "data": ("x", "y", "sample_weight"),
    "scalars": ("s",),
    "trajectory": ("s", "t", "t_weight", "weight", "param_name", "theta"),
    "run": (
        *("status", "message", "last_record_unix", "pid", "host"),
        *("boot_id", "pid_namespace", "inode"),
    ),
}


def committed_lengths(opened: Opened) -> dict[str, int]:
    """Rows that count, by group: the length of `s`, which is written last.

    Arrays of /observations belong to the records of /scalars.
    """
    lengths = {
        name: _n_written(group["s"], opened.size)
        for name, group in opened.h5.items()
        if "s" in group and is_series(group["s"])
    }
    if "observations" in lengths:
        lengths["observations"] = min(lengths["observations"], lengths["scalars"])
    return lengths


def _n_written(s: h5py.Dataset, file_size: int) -> int:
    if len(s) * s.dtype.itemsize > file_size:
        raise StorageFormatError(
            f"{s.file.filename} is damaged: {s.name} declares {len(s)} rows."
        )
    # A kill may leave a row that has its place but not its value.
    unwritten = np.flatnonzero(np.isnan(s[:]))
    return int(unwritten[0]) if len(unwritten) else len(s)


def check_structure(opened: Opened, lengths: Mapping[str, int], path: Path) -> None:
    """Raise StorageFormatError unless all that is declared is in the file.

    No array is read, so that an absurd size costs nothing.
    """
    h5 = opened.h5
    for name, members in _REQUIRED.items():
        missing = [key for key in members if name not in h5 or key not in h5[name]]
        if missing:
            raise StorageFormatError(
                f"{path} is damaged: /{name} lacks {', '.join(missing)}."
            )
    for name, group in h5.items():
        for dataset in group.values():
            problem = _missing(dataset, lengths.get(name, 0), opened)
            if problem:
                raise StorageFormatError(
                    f"{path} is damaged or truncated: {dataset.name} {problem}."
                )
    trajectory = h5["trajectory"]
    required = tuple(len(trajectory[key]) for key in ("t", "weight", "param_name"))
    if trajectory["theta"].shape[1:] != required:
        raise StorageFormatError(
            f"{path} is damaged: theta has rows of shape "
            f"{trajectory['theta'].shape[1:]}, its scales require {required}."
        )


def _missing(dataset: h5py.Dataset, n_rows: int, opened: Opened) -> str:
    """Say what is missing of a dataset, "" if nothing is."""
    shape = dataset.shape
    if dataset.dtype.kind not in "iufS":
        return f"has the type {dataset.dtype}, which mfpde never writes"
    if is_series(dataset):
        if len(dataset) < n_rows:
            return f"has {len(dataset)} of {n_rows} rows"
        shape = (n_rows, *shape[1:])
    if math.prod(shape) == 0:
        return ""
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        size = dataset.dtype.itemsize * math.prod(shape)
        is_whole = start is not None and start + size <= opened.size
    else:
        chunks = zip(shape, dataset.chunks, strict=True)
        n_required = math.prod(-(-size // chunk) for size, chunk in chunks)
        is_whole = _n_chunks_within(dataset, n_rows, opened) >= n_required
    return "" if is_whole else f"declares the shape {shape}, more than the file holds"


def _n_chunks_within(dataset: h5py.Dataset, n_rows: int, opened: Opened) -> int:
    """Count the chunks of the first rows that lie within the file."""
    ends = []

    def note(chunk: h5py.h5d.StoreInfo) -> None:
        if chunk.chunk_offset[0] < n_rows:
            ends.append(chunk.byte_offset + chunk.size)

    dataset.id.chunk_iter(note)
    # The size is taken after the chunks: a live file may have grown meanwhile.
    size = opened.size
    return sum(end <= size for end in ends)
