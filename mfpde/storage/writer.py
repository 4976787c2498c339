"""Write a run file while others read it, safe against a kill at any moment."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

from mfpde.errors import StorageFormatError
from mfpde.storage.checkpoint import Attribute, read_checkpoint, write_checkpoint
from mfpde.storage.estimates import GROUP as ERRORS
from mfpde.storage.hdf5.access import (
    Opened,
    check_format,
    format_errors,
    open_h5,
    reason,
    refuse_if_live,
)
from mfpde.storage.hdf5.files import check_writable, folder_lock, real_path
from mfpde.storage.hdf5.integrity import check_structure, committed_lengths
from mfpde.storage.hdf5.parts import new_version
from mfpde.storage.hdf5.rebuild import copy_run
from mfpde.storage.hdf5.rows import HDF5_ERRORS, InPlaceRows, SwmrRows
from mfpde.storage.header import RunHeader
from mfpde.storage.layout import (
    create_layout,
    new_file,
    new_run_id,
    sign_writer,
    utc_now,
)
from mfpde.storage.presence import STATUS, WriterLock, take_lock
from mfpde.storage.scales import all_series
from mfpde.storage.texts import attribute, set_attributes

_ENDED = "The writer was closed before the run had ended."


class RunWriter:
    """The open file of a run, made by `create` or `reopen`.

    A record is written payload first and `s` last, so that it counts as a whole or
    not at all. Close the writer with `finish` and `close`, or use it as a context
    manager, which calls both.
    """

    def __init__(
        self,
        path: Path,
        rows: SwmrRows | InPlaceRows,
        run_id: str,
        lengths: Mapping[str, int],
        lock: WriterLock,
        last_s: float = math.nan,
    ) -> None:
        self._path = path
        self._rows = rows
        self._run_id = run_id
        self._n_rows = dict(lengths)
        self._last_s = last_s
        self._is_finished = False
        self._is_closed = False
        self._failure = ""
        self._lock = lock

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        header: RunHeader,
        *,
        checkpoint: tuple[Mapping[str, ArrayLike], Mapping[str, Attribute]],
        overwrite: bool = False,
        swmr: bool = True,
    ) -> RunWriter:
        """Start a run file and its first checkpoint.

        Both are complete before the file appears under its name; until then a file
        that is to be overwritten stays.

        Parameters
        ----------
        path : path-like
        header : RunHeader
        checkpoint : (arrays, attrs)
            The state at the start, as for `write_checkpoint`.
        overwrite : bool
            Replace an existing file.
        swmr : bool
            Let others read while the run is written. File systems over a network
            (NFS) cannot; there, pass False.

        Raises
        ------
        FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError
            If the file cannot be created; see `check_writable`.
        OSError
            If another process is writing the file, or the disk is full.
        """
        path = real_path(path)
        check_writable(path, overwrite)
        with folder_lock(path):
            check_writable(path, overwrite)
            _refuse_live_run(path)
            lock = take_lock(path, "overwritten")
            run_id = new_run_id()
            rows = None

            def start(part: Path) -> None:
                nonlocal rows
                write_checkpoint(path, *checkpoint, lengths, run_id)
                rows = _open_rows(path, part, swmr)

            with lock.released_after_errors(), new_version(path, then=start) as h5:
                lengths = _create(h5, header, run_id, swmr)
        return cls(path, rows, run_id, lengths, lock)

    @classmethod
    def reopen(
        cls,
        path: str | os.PathLike[str],
        lengths: Mapping[str, int],
        *,
        swmr: bool = True,
        source: str | None = None,
        is_latest: bool = False,
    ) -> RunWriter:
        """Continue a run from its checkpoint; records after it are dropped.

        The part of the file that is kept is copied, and the copy takes the place of
        the file once it is complete: a kill meanwhile loses nothing.

        Parameters
        ----------
        path : path-like
        lengths : dict of int
            Rows of every series at the checkpoint, from `read_checkpoint`.
        swmr : bool
            As for `create`; it may differ from the first time.
        source : str, optional
            Program and version, for the history; default that of the file.
        is_latest : bool
            Refuse if another process has written a checkpoint since `lengths` was read.

        Raises
        ------
        StorageFormatError
            If the file is damaged or does not match `lengths`.
        OSError
            If a process is writing the file, or the disk is full.
        """
        path = real_path(path)
        with folder_lock(path), open_h5(path) as opened:
            with format_errors(path):
                check_format(opened.h5, path)
                _check_lengths(opened, lengths, path)
            refuse_if_live(opened.h5, path, "resumed")
            check_writable(path, overwrite=True)
            lock = take_lock(path, "resumed")
            rows = None

            def start(part: Path) -> None:
                nonlocal rows
                rows = _open_rows(path, part, swmr)

            with lock.released_after_errors(), new_version(path, then=start) as h5:
                if is_latest and read_checkpoint(path)[2] != dict(lengths):
                    raise OSError(
                        f"{path} cannot be resumed: another process has gone on with "
                        "it meanwhile. Try again."
                    )
                with format_errors(path):
                    # Estimates are those of the run as it ended before.
                    copy_run(
                        opened.h5, h5, lengths, reserve=not swmr, leave_out=(ERRORS,)
                    )
                sign_writer(h5["run"])
                _note_resumption(h5, lengths["/scalars/s"], source)
                run_id = attribute(h5, "run_id")
                s = h5["scalars/s"][: lengths["/scalars/s"]]
        return cls(path, rows, run_id, lengths, lock, *s[-1:])

    @property
    def path(self) -> Path:
        """The run file."""
        return self._path

    def append_scalars(
        self,
        row: Mapping[str, float],
        observations: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Write one record.

        Parameters
        ----------
        row : dict
            Value of `s` and of every column of the header.
        observations : dict
            Array of every name in the header's `observation_shapes`.

        Raises
        ------
        OSError
            If it cannot be written, for example because the disk is full. What was
            written before is kept, and the writer is closed.
        """
        record = {f"/scalars/{name}": value for name, value in row.items()}
        observations = observations or {}
        if observations:
            record["/observations/s"] = row["s"]
        for name, value in observations.items():
            record[f"/observations/{name}"] = value
        self._append(record, ("observations", "scalars"))

    def append_snapshot(
        self,
        s: float,
        theta: ArrayLike,
        trainable: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Write the particles, shape (J, M, k), and the other trained arrays.

        Raises
        ------
        OSError
            As for `append_scalars`.
        """
        arrays = {"s": s, "theta": theta, **(trainable or {})}
        record = {f"/trajectory/{name}": value for name, value in arrays.items()}
        self._append(record, ("trajectory",))

    def append_states(self, s: float, z: ArrayLike, p: ArrayLike) -> None:
        """Write states and adjoints, both of shape (P, n, d).

        Raises
        ------
        OSError
            As for `append_scalars`.
        """
        self._append({"/states/s": s, "/states/z": z, "/states/p": p}, ("states",))

    def write_checkpoint(
        self, arrays: Mapping[str, ArrayLike], attrs: Mapping[str, Attribute]
    ) -> None:
        """Replace the checkpoint by this state and the records written so far.

        Parameters
        ----------
        arrays : dict of array_like
            Real arrays; read back bit for bit.
        attrs : dict of int, float or str

        Raises
        ------
        OSError
            If it cannot be written; the checkpoint before it is kept.
        """
        self._require_open()
        try:
            # The rows that the checkpoint counts reach the disk before it does.
            self._rows.sync()
        except OSError as error:
            self._abandon(error)
            raise OSError(self._failure) from error
        write_checkpoint(self._path, arrays, attrs, self._n_rows, self._run_id)

    def finish(self, status: str, message: str) -> None:
        """Say how the run ended; nothing can be appended afterwards.

        Parameters
        ----------
        status : {"finished", "interrupted", "failed"}
        message : str
            A sentence.

        Raises
        ------
        OSError
            If it cannot be written. All records are kept, the writer is closed.
        """
        if status not in STATUS[1:]:
            raise ValueError(
                f"`status` must be one of {', '.join(STATUS[1:])}, got {status!r}."
            )
        if self._failure or self._is_closed:
            # After a failed write the file already says why it ended.
            return
        self._is_finished = True
        try:
            self._rows.finish(status, message)
        except HDF5_ERRORS as error:
            self._abandon(error)
            raise OSError(self._failure) from error

    def close(self) -> None:
        """Close the file; neither a second call nor a full disk raises anything."""
        if not self._is_finished:
            with contextlib.suppress(OSError):
                self.finish("interrupted", _ENDED)
        if not (self._is_closed or self._failure):
            self._rows.close(self._n_rows)
        self._is_closed = True
        self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, _: Any) -> None:
        if error is not None and not self._is_finished:
            status = "failed" if isinstance(error, Exception) else "interrupted"
            # The error itself is on its way to the caller.
            with contextlib.suppress(OSError):
                self.finish(status, f"{kind.__name__}: {error}")
        self.close()

    def _require_open(self) -> None:
        if self._failure:
            raise OSError(self._failure)
        if self._is_closed or self._is_finished:
            raise ValueError(
                f"The writer of {self._path} is closed. Use RunWriter.reopen."
            )

    def _append(self, record: Mapping[str, Any], groups: tuple[str, ...]) -> None:
        """Write one row of each series, then `s` of each group in turn."""
        self._require_open()
        arrays = self._checked(record, groups)
        marks = [name for group in groups if (name := f"/{group}/s") in arrays]
        try:
            self._rows.make_room(arrays, self._n_rows)
            for name in arrays:
                if name not in marks:
                    self._rows.write(name, self._n_rows[name], arrays[name])
            self._rows.stamp_time()
            for name in marks:
                self._rows.write(name, self._n_rows[name], arrays[name])
            self._rows.flush()
        except HDF5_ERRORS as error:
            self._abandon(error)
            raise OSError(self._failure) from error
        for name in arrays:
            self._n_rows[name] += 1
        self._last_s = float(arrays[marks[-1]])

    def _checked(
        self, record: Mapping[str, Any], groups: tuple[str, ...]
    ) -> dict[str, np.ndarray]:
        series = self._rows.series
        required = [name for name in series if name.split("/")[1] in groups]
        if set(required) != set(record):
            raise ValueError(
                f"A record of /{groups[-1]} must hold {sorted(required)}, got "
                f"{sorted(record)}."
            )
        arrays = {name: np.asarray(record[name], series[name][1]) for name in required}
        for name, array in arrays.items():
            if array.shape != series[name][0]:
                raise ValueError(
                    f"`{name[1:]}` must have shape {series[name][0]}, got "
                    f"{array.shape}."
                )
        if not np.isfinite(arrays[f"/{groups[-1]}/s"]):
            raise ValueError("`s` of a record must be finite.")
        return arrays

    def _abandon(self, error: BaseException) -> None:
        """Give the file up after a failed write, keeping what is on the disk."""
        kept = (
            "It holds no record yet"
            if math.isnan(self._last_s)
            else f"The records up to s = {self._last_s:g} are kept"
        )
        self._failure = (
            f"{self._path} could not be written ({reason(error.__cause__ or error)}). "
            f"{kept}. Free some space and resume the run."
        )
        self._rows.abandon(self._failure)


def _open_rows(path: Path, part: Path, swmr: bool) -> SwmrRows | InPlaceRows:
    return SwmrRows(path, part) if swmr else InPlaceRows(path, part)


def _create(
    h5: h5py.File, header: RunHeader, run_id: str, swmr: bool
) -> dict[str, int]:
    """Fill a new file; return the lengths of its series, all zero."""
    if swmr:
        create_layout(h5, header, run_id)
        return dict.fromkeys(all_series(h5), 0)
    with new_file(io.BytesIO()) as layout:
        create_layout(layout, header, run_id)
        lengths = dict.fromkeys(all_series(layout), 0)
        copy_run(layout, h5, lengths, reserve=True)
    return lengths


def _refuse_live_run(path: Path) -> None:
    if not path.exists():
        return
    try:
        with open_h5(path) as opened:
            refuse_if_live(opened.h5, path, "overwritten")
    except StorageFormatError:
        # No run or a damaged one: nobody is writing it, and it may be replaced.
        return


def _check_lengths(opened: Opened, lengths: Mapping[str, int], path: Path) -> None:
    """Raise unless the file holds all rows that the checkpoint counts."""
    committed = committed_lengths(opened)
    check_structure(opened, committed, path)
    series = all_series(opened.h5)
    if set(series) != set(lengths):
        raise StorageFormatError(
            f"{path} does not match its checkpoint: it has other datasets."
        )
    for name in series:
        n_rows = committed[name.split("/")[1]]
        if n_rows < lengths[name]:
            raise StorageFormatError(
                f"{path} does not match its checkpoint: {name} has {n_rows} of "
                f"{lengths[name]} rows."
            )


def _note_resumption(h5: h5py.File, n_records: int, source: str | None) -> None:
    line = f"{utc_now()} resumed by {source or attribute(h5, 'source')}"
    history = f"{attribute(h5, 'history')}\n{line} after {n_records} records"
    set_attributes(h5, {"history": history})
