"""A new version of a run file, built beside the old one and put in its place."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py

from mfpde.storage.hdf5.access import reason
from mfpde.storage.hdf5.files import part_path, sync
from mfpde.storage.hdf5.superblock import read_into
from mfpde.storage.layout import new_file


class _PartFile(io.RawIOBase):
    """The file under HDF5 while it is built; keeps the first error for later.

    HDF5 that fails to write tries again on closing and when Python ends, and may
    crash. So it is not told, and what it writes after an error goes nowhere.

    Attributes
    ----------
    error : OSError or None
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.error: OSError | None = None
        # A file of this name is left over from a kill; if it is a link, only that goes.
        path.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(path, flags, 0o666)
        self._position = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = os.fstat(self._descriptor).st_size
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: size}
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        n_read = read_into(self._descriptor, buffer, self._position)
        self._position += n_read
        return n_read

    def write(self, content: memoryview) -> int:
        n_written = len(content)
        if self.error is None:
            try:
                n_written = os.pwrite(self._descriptor, content, self._position)
            except OSError as error:
                self.error = error
        self._position += n_written
        return n_written

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self.error = error
        return size

    def sync(self) -> None:
        """Wait until the file is on the disk; raise the error that was kept."""
        if self.error is not None:
            raise self.error
        os.fsync(self._descriptor)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@contextlib.contextmanager
def new_version(
    path: Path, then: Callable[[Path], None] | None = None
) -> Iterator[h5py.File]:
    """Give a new, empty file, which replaces `path` when the block ends without error.

    It is closed then. After an error nothing of it remains.

    Parameters
    ----------
    path : Path
    then : callable, optional
        Called with the new file when it is complete on the disk, before it takes the
        name `path`.

    Raises
    ------
    OSError
        If it cannot be written, for example because the disk is full.
    """
    part = part_path(path)
    try:
        file = _PartFile(part)
    except OSError as error:
        raise OSError(_unwritable(path, error)) from error
    try:
        with new_file(file) as h5:
            yield h5
        file.sync()
        if then is not None:
            then(part)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        cause = file.error or error
        if cause is file.error or (isinstance(error, OSError) and error.errno):
            raise OSError(_unwritable(path, cause)) from cause
        raise
    finally:
        file.close()
    sync(path.parent)


def _unwritable(path: Path, error: BaseException) -> str:
    return f"{path} could not be written ({reason(error)})."
