"""Where the rows of a run go: an HDF5 file that others read, or fixed places in one.

Both kinds have the same methods; `RunWriter` decides what is written and in which
order.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.storage.hdf5.access import open_h5, reason
from mfpde.storage.hdf5.parts import new_version
from mfpde.storage.hdf5.rebuild import copy_run
from mfpde.storage.hdf5.superblock import clear_consistency_flag
from mfpde.storage.layout import (
    field_offsets,
    message_bytes,
    stamp_status,
)
from mfpde.storage.presence import STATUS, Heartbeat
from mfpde.storage.scales import all_series

HDF5_ERRORS = (OSError, RuntimeError, ValueError)


class SwmrRows:
    """Rows appended to an open HDF5 file in SWMR mode, the usual kind.

    HDF5 then writes its own structures in an order in which the file is whole at any
    moment. Nothing but rows may be added.

    Parameters
    ----------
    path : Path
        The name under which the file will be found.
    part : Path
        The file, closed, where it is now. It is opened before others know of it, so
        that no lock of theirs is in the way.

    Attributes
    ----------
    series : dict
        Path to (shape of a row, dtype).
    """

    def __init__(self, path: Path, part: Path) -> None:
        self._path = path
        h5 = h5py.File(part, "r+", libver=("v110", "v110"), locking="best-effort")
        self._h5: h5py.File | None = h5
        self._datasets = all_series(h5)
        self._run = dict(h5["run"].items())
        self._offsets = field_offsets(h5)
        self.series = _row_types(self._datasets)
        self._heart = Heartbeat()
        try:
            self._heart.move(part, self._offsets)
            h5.swmr_mode = True
        except HDF5_ERRORS as error:
            self._heart.end()
            _discard(h5)
            raise OSError(f"{path} could not be written ({reason(error)}).") from error

    def make_room(self, names: Iterable[str], n_rows: Mapping[str, int]) -> None:
        """Do nothing: there is room as long as the disk has some."""

    def write(self, name: str, row: int, value: NDArray[Any]) -> None:
        """Write one row; it is in the file when this returns."""
        dataset = self._datasets[name]
        dataset.resize(row + 1, axis=0)
        dataset[row] = value
        dataset.flush()

    def stamp_time(self) -> None:
        """Enter the time of the record that is being written."""
        self._heart.beat()

    def flush(self) -> None:
        """Bring the end-of-file address up to date, after every record."""
        self._h5.flush()

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        os.fsync(self._h5.id.get_vfd_handle())

    def finish(self, status: str, message: str) -> None:
        """Enter how the run ended."""
        self._run["message"][()] = message_bytes(message)
        self._run["status"][()] = STATUS.index(status)
        self._h5.flush()

    def close(self, n_rows: Mapping[str, int]) -> None:
        """Close the file, after `finish`."""
        self._heart.end()
        h5, self._h5 = self._h5, None
        if h5 is not None:
            # All is flushed but the mark of a file in use. Left to HDF5, a disk that
            # refuses this last write would crash Python.
            _discard(h5)
            with contextlib.suppress(OSError):
                clear_consistency_flag(self._path)

    def abandon(self, message: str) -> None:
        """Give the file up after a failed write, keeping what is on the disk."""
        self._heart.end()
        h5, self._h5 = self._h5, None
        if h5 is not None:
            _discard(h5)
        # The disk may be full, but these bytes have their place. If even this fails
        # the file reads as killed, and the caller reports the failure all the same.
        with contextlib.suppress(OSError):
            stamp_status(self._path, self._offsets, "failed", message)


class InPlaceRows:
    """Rows written to places reserved for them in a closed HDF5 file.

    For file systems on which HDF5's SWMR does not work (NFS). The structures of the
    file never change between two copies of it: whenever the reserved rows are used
    up, a copy with twice the room takes its place. Unused rows have no `s` (NaN), and
    are dropped at the end. Attributes and methods are those of `SwmrRows`.

    Parameters
    ----------
    path, part : Path
        As for `SwmrRows`; all series have chunks of whole rows.
    """

    def __init__(self, path: Path, part: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._heart = Heartbeat()
        self._open(part)

    def _open(self, part: Path) -> None:
        with open_h5(part) as opened:
            datasets = all_series(opened.h5)
            self.series = _row_types(datasets)
            self._places = {name: _Places(data) for name, data in datasets.items()}
            self._offsets = field_offsets(opened.h5)
        self._close_descriptor()
        self._descriptor = os.open(part, os.O_RDWR)
        self._heart.move(part, self._offsets)

    def make_room(self, names: Iterable[str], n_rows: Mapping[str, int]) -> None:
        """Make sure that each series has a place for one more row."""
        if any(n_rows[name] >= len(self._places[name]) for name in names):
            with (
                open_h5(self._path) as opened,
                new_version(self._path, then=self._open) as h5,
            ):
                copy_run(opened.h5, h5, n_rows, reserve=True)

    def _close_descriptor(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def write(self, name: str, row: int, value: NDArray[Any]) -> None:
        """Write one row."""
        _, dtype = self.series[name]
        content = np.ascontiguousarray(value, dtype).tobytes()
        self._write_at(self._places[name][row], content)

    def _write_at(self, place: int, content: bytes) -> None:
        while content:
            n_written = os.pwrite(self._descriptor, content, place)
            place, content = place + n_written, content[n_written:]

    def stamp_time(self) -> None:
        """Enter the time of the record that is being written."""
        self._heart.beat()

    def flush(self) -> None:
        """Do nothing: rows are written at once."""

    def sync(self) -> None:
        """Wait until the rows are on the disk."""
        os.fsync(self._descriptor)

    def finish(self, status: str, message: str) -> None:
        """Enter how the run ended."""
        stamp_status(self._path, self._offsets, status, message)

    def close(self, n_rows: Mapping[str, int]) -> None:
        """Close the file and drop the places that were not used."""
        self._heart.end()
        if self._descriptor < 0:
            return
        # Without space for the copy the file stays as it is, which is whole too.
        with (
            contextlib.suppress(OSError),
            open_h5(self._path) as opened,
            new_version(self._path) as h5,
        ):
            copy_run(opened.h5, h5, n_rows)
        self._close_descriptor()

    def abandon(self, message: str) -> None:
        """Give the file up after a failed write, keeping what is on the disk."""
        self._heart.end()
        self._close_descriptor()
        with contextlib.suppress(OSError):
            stamp_status(self._path, self._offsets, "failed", message)


def _discard(h5: h5py.File) -> None:
    """Close a file without HDF5 touching it again.

    On a disk that takes nothing more HDF5 would write the rest of its buffers once
    more on closing and once more when Python ends, fail each time, and may crash.
    Here they go nowhere.
    """
    with contextlib.suppress(*HDF5_ERRORS):
        handle = h5.id.get_vfd_handle()
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, handle)
        os.close(nowhere)
        h5.close()


def _row_types(
    datasets: Mapping[str, h5py.Dataset],
) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (data.shape[1:], data.dtype) for name, data in datasets.items()}


class _Places:
    """Where the rows of a series stand in the file, in bytes."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._chunk_rows, *tail = dataset.chunks
        self._row_bytes = dataset.dtype.itemsize * math.prod(tail)
        self._n_rows = len(dataset)
        self._chunks = np.zeros(-(-self._n_rows // self._chunk_rows), dtype=np.int64)

        def note(chunk: h5py.h5d.StoreInfo) -> None:
            self._chunks[chunk.chunk_offset[0] // self._chunk_rows] = chunk.byte_offset

        dataset.id.chunk_iter(note)

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, row: int) -> int:
        chunk, row = divmod(row, self._chunk_rows)
        return int(self._chunks[chunk]) + row * self._row_bytes
