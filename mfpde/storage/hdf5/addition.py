"""Objects added to a closed HDF5 file in place: a kill at any time does no harm.

HDF5 works on an overlay in memory. What it has written there goes to the file in an
order in which every step leaves a file that can be read: what lies beyond the old end,
then the superblock, the header of the root group, and last the continuation of that
header, which may hold the new link. Without the last step the file is as it was.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import h5py

from mfpde.storage.hdf5.superblock import READING, read_at, read_superblock

__all__ = ["add_in_place"]

PAGE = 4096
MOST_PIECES = 3
"""Pieces of the old file that may change: superblock, header, continuation."""


class _Overlay(io.RawIOBase):
    """A file with changed pages in memory.

    Attributes
    ----------
    pieces : set of (int, int)
        Start and end of all that was written.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__()
        self.pieces: set[tuple[int, int]] = set()
        self._descriptor = descriptor
        self._size = size
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        end = min(self._position + len(buffer), self._size)
        content = self.content(self._position, max(self._position, end))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def write(self, content: memoryview) -> int:
        start, n = self._position, len(content)
        self.pieces.add((start, start + n))
        for number in range(start // PAGE, -(-(start + n) // PAGE)):
            page = self._pages.setdefault(number, self._page(number))
            first, last = max(start, number * PAGE), min(start + n, (number + 1) * PAGE)
            place = slice(first - number * PAGE, last - number * PAGE)
            page[place] = content[first - start : last - start]
        self._position += n
        self._size = max(self._size, self._position)
        return n

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def content(self, start: int, end: int) -> bytes:
        """Bytes from start to end, as they are now."""
        numbers = range(start // PAGE, -(-end // PAGE))
        joined = b"".join(bytes(self._page(number)) for number in numbers)
        first = start - start // PAGE * PAGE
        return joined[first : first + end - start]

    @property
    def size(self) -> int:
        """Size of the file as it is now."""
        return self._size

    def _page(self, number: int) -> bytearray:
        if number in self._pages:
            return self._pages[number]
        content = read_at(self._descriptor, PAGE, number * PAGE)
        return bytearray(content.ljust(PAGE, b"\0"))


def add_in_place(path: Path, change: Callable[[h5py.File], None]) -> bool:
    """Let `change` add objects to the root of a file that nobody writes.

    Returns
    -------
    is_done : bool
        False, and the file is as it was, if a writer of it was killed, or if more would
        have to change than can be written safely; copy the file then.

    Raises
    ------
    OSError
        If it cannot be written; the file is as it was.
    """
    superblock = read_superblock(path)
    if superblock.is_open_for_writing or superblock.version < 2:
        return False
    end = superblock.end_of_file
    descriptor = os.open(path, os.O_RDWR | READING)
    try:
        overlay = _Overlay(descriptor, end)
        with h5py.File(overlay, "r+") as h5:
            change(h5)
        inner = sorted(piece for piece in overlay.pieces if piece[0] < end)
        if len(inner) > MOST_PIECES or any(stop > end for _, stop in inner):
            return False
        try:
            _write(descriptor, overlay.content(end, overlay.size), end)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
        for start, stop in inner:
            _write(descriptor, overlay.content(start, stop), start)
        return True
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes, place: int) -> None:
    """Write all of the content and wait until it is on the disk."""
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], place + written)
    os.fsync(descriptor)
