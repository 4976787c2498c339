"""Repair what a killed writer leaves, so that every HDF5 reader opens the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import h5py

from mfpde.storage.hdf5.access import (
    check_format,
    format_errors,
    open_h5,
    refuse_if_live,
)
from mfpde.storage.hdf5.files import check_writable, folder_lock, real_path
from mfpde.storage.hdf5.integrity import check_structure, committed_lengths
from mfpde.storage.hdf5.parts import new_version
from mfpde.storage.hdf5.rebuild import copy_run
from mfpde.storage.hdf5.superblock import clear_consistency_flag, read_superblock
from mfpde.storage.layout import field_offsets, message_bytes, stamp_status
from mfpde.storage.presence import STATUS, lock_path, read_writer_state
from mfpde.storage.scales import all_series

_KILLED = "The process that wrote the file was killed."


def recover(path: str | os.PathLike[str]) -> str:
    """Clear the mark of a killed writer and drop a record it left unfinished.

    Committed records keep every bit. Resuming a run does not need this; reading it
    with other programs does.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    account : str
        What was done, in sentences.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StorageFormatError
        If it is damaged beyond what a kill does.
    PermissionError
        If the file or its folder cannot be written.
    OSError
        If its writer is alive.
    """
    path = real_path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    with folder_lock(path):
        with open_h5(path) as opened:
            with format_errors(path):
                check_format(opened.h5, path)
                lengths = committed_lengths(opened)
                check_structure(opened, lengths, path)
                n_dropped = _n_rows_beyond(opened.h5, lengths)
                offsets = field_offsets(opened.h5)
                is_running = read_writer_state(opened.h5, path).status == "running"
            refuse_if_live(opened.h5, path, "recovered")
        check_writable(path, overwrite=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(f"There is no permission to write {path}.")
        done = _clear_flag(path)
        if n_dropped:
            done += _drop_unfinished(path, lengths)
        elif is_running:
            stamp_status(path, offsets, "interrupted", _KILLED)
        lock_path(path).unlink(missing_ok=True)
        if is_running:
            done.append('set its status to "interrupted"')
    kept = f"{lengths['scalars']} records and {lengths['trajectory']} snapshots"
    if not done:
        return f"{path} is in order, nothing was changed. It holds {kept}."
    return f"Recovered {path}: {', '.join(done)}. It holds {kept}, each as written."


def _clear_flag(path: Path) -> list[str]:
    superblock = read_superblock(path)
    if superblock.closed(os.path.getsize(path)) == superblock.raw:
        return []
    clear_consistency_flag(path)
    return ["cleared the mark of a file in use"]


def _n_rows_beyond(h5: h5py.File, lengths: Mapping[str, int]) -> int:
    """Count the rows that a kill left without their `s`."""
    series = all_series(h5).items()
    return max(len(data) - lengths[name.split("/")[1]] for name, data in series)


def _drop_unfinished(path: Path, lengths: Mapping[str, int]) -> list[str]:
    with open_h5(path) as opened:
        rows = {name: lengths[name.split("/")[1]] for name in all_series(opened.h5)}
        with new_version(path) as h5, format_errors(path):
            copy_run(opened.h5, h5, rows)
            if read_writer_state(h5, path).status == "running":
                h5["run/status"][()] = STATUS.index("interrupted")
                h5["run/message"][()] = message_bytes(_KILLED)
    return ["dropped what had been reserved or written after the last whole record"]
