"""Open run files for reading, whatever state their writer left them in."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py

from mfpde.errors import StorageFormatError
from mfpde.paths import other_kind
from mfpde.storage.hdf5.superblock import ClosedView, read_at, read_superblock
from mfpde.storage.presence import FOREIGN_WRITER_S, probe, read_writer_state
from mfpde.storage.texts import attribute

FORMAT_VERSION = 1
KINDS = ("run", "network", "study")
RUN_KINDS = ("run", "network")
_OPENED_BY = {
    "run": "mfpde.open_run",
    "network": "mfpde.open_run",
    "study": "mfpde.studies.open_study",
}
_ATTEMPTS = 5
_PAUSE_S = 0.02


def reason(error: BaseException) -> str:
    """Return the cause of an error of HDF5 in a few words."""
    found = re.search(r"error message = '([^']+)'", str(error))
    if found:
        return found.group(1)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextlib.contextmanager
def format_errors(path: str | Path) -> Iterator[None]:
    """Turn whatever a damaged file raises in the block into StorageFormatError."""
    try:
        yield
    except (StorageFormatError, FileNotFoundError, PermissionError):
        raise
    # A damaged file can make h5py raise nearly any type.
    except Exception as error:
        raise StorageFormatError(
            f"{path} is damaged or not an mfpde run ({reason(error)})."
        ) from error


@dataclass(slots=True)
class Opened:
    """An HDF5 file open for reading.

    Attributes
    ----------
    h5 : h5py.File
    """

    h5: h5py.File
    _view: ClosedView | None = None

    @property
    def size(self) -> int:
        """Bytes of the file now, or when the view was made."""
        if self._view is not None:
            return self._view.size
        return os.fstat(self.h5.id.get_vfd_handle()).st_size

    def read(self, place: int, size: int) -> bytes:
        """Bytes of the file, fewer at its end."""
        if self._view is not None:
            self._view.seek(place)
            return self._view.read(size)
        return read_at(self.h5.id.get_vfd_handle(), size, place)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self.h5.close()
        if self._view is not None:
            self._view.close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_h5(path: str | Path) -> Opened:
    """Open a live, closed or killed HDF5 file without permission to write.

    Raises
    ------
    FileNotFoundError, PermissionError
        If there is no such file, or it may not be read.
    StorageFormatError
        If it is not HDF5, truncated or damaged.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {path}.")
    if kind := other_kind(path):
        raise StorageFormatError(f"{path} is {kind}, not an mfpde run.")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"There is no permission to read {path}.")
    for _ in range(_ATTEMPTS - 1):
        # A live file may change between two reads of its structures.
        with contextlib.suppress(StorageFormatError):
            return _open_once(path)
        if not _is_open_for_writing(path):
            break
        time.sleep(_PAUSE_S)
    return _open_once(path)


def _open_once(path: str | Path) -> Opened:
    with format_errors(path):
        superblock = read_superblock(path)
        size = os.path.getsize(path)
        if not superblock.is_open_for_writing and superblock.end_of_file > size:
            raise StorageFormatError(
                f"{path} is truncated: it has {size} of {superblock.end_of_file} "
                "bytes. Copy it again."
            )
        view = ClosedView(path)
        try:
            opened = Opened(h5py.File(view, "r"), view)
            is_live = superblock.is_open_for_swmr and _is_written_elsewhere(
                opened.h5, path
            )
        except BaseException:
            view.close()
            raise
        if not is_live:
            return opened
        opened.close()
        return Opened(h5py.File(path, "r", swmr=True))


def _is_open_for_writing(path: str | Path) -> bool:
    with contextlib.suppress(OSError):
        return read_superblock(path).is_open_for_writing
    return False


def _is_written_elsewhere(h5: h5py.File, path: str | Path) -> bool:
    """Whether SWMR is to be used.

    HDF5 cannot read a file with SWMR that this very process writes, and waits for
    ever for a damaged one, so that a killed file is not opened that way.
    """
    if "run" not in h5:
        return False
    writer = read_writer_state(h5, path)
    return writer.is_near and writer.is_alive and not writer.is_this_process


def check_format(
    h5: h5py.File, path: str | Path, kinds: tuple[str, ...] = RUN_KINDS
) -> None:
    """Raise StorageFormatError unless the file is ours and of a known version."""
    version = attribute(h5, "mfpde_format_version")
    if version is None or "MFPDE" not in str(attribute(h5, "Conventions")):
        raise StorageFormatError(
            f"{path} is an HDF5 file, but not one written by mfpde."
        )
    if int(version) > FORMAT_VERSION:
        raise StorageFormatError(
            f"{path} has format version {int(version)}, this mfpde reads up to "
            f"{FORMAT_VERSION}. Install a newer mfpde to read it."
        )
    if int(version) < 1:
        raise StorageFormatError(f"{path} has no valid format version.")
    kind = str(attribute(h5, "kind"))
    if kind not in kinds and kind in _OPENED_BY:
        raise StorageFormatError(
            f"{path} is of kind {kind!r}, not {' or '.join(map(repr, kinds))}. Open it "
            f"with {_OPENED_BY[kind]}."
        )
    if kind not in kinds:
        raise StorageFormatError(
            f"{path} is of kind {kind!r}, required is one of {', '.join(kinds)}."
        )


def refuse_if_live(h5: h5py.File, path: str | Path, action: str) -> None:
    """Raise OSError if another process, or this one, is writing the file now.

    StorageFormatError if the file does not say.
    """
    with format_errors(path):
        writer = read_writer_state(h5, path)
    if not writer.is_alive:
        return
    if writer.is_here or probe(path):
        hint = "Stop it or wait until it has ended."
    else:
        age = time.time() - writer.last_record_unix
        hint = (
            f"Its last sign is {age:.0f} s old and it cannot be looked up from here; "
            f"wait until none has come for {FOREIGN_WRITER_S:.0f} s."
        )
    raise OSError(
        f"{path} cannot be {action}: process {writer.pid} on {writer.host} is writing "
        f"it. {hint}"
    )
