"""The first bytes of an HDF5 file: consistency flag, end of file, checksum.

A killed writer leaves the consistency flag set and, possibly, an end-of-file
address that is too small, and HDF5 then refuses the file. Both stand in the
superblock, the only part of the format that mfpde touches by itself.

References
----------
HDF5 File Format Specification Version 3.0, section II.A.
Bob Jenkins, lookup3.c, May 2006, public domain.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from mfpde.errors import StorageFormatError

# How the user block of a checkpoint starts, see mfpde.storage.checkpoint.
CHECKPOINT_TITLE = b"mfpde checkpoint"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MASK = 0xFFFFFFFF
# Versions 2 and 3 share one layout: flag at byte 11, checksum at byte 44.
_FLAG_BYTE = 11
_CHECKSUM = slice(44, 48)
# Superblock version -> offset of the end-of-file address (8 bytes) and length.
_EOF_OFFSET = {0: 40, 1: 44, 2: 28, 3: 28}
_LENGTH = {0: 96, 1: 100, 2: 48, 3: 48}
_OFFSET_SIZE_BYTE = {0: 13, 1: 13, 2: 9, 3: 9}
_HEAP_SIGNATURE = b"GCOL\x01\0\0\0"
# Without O_BINARY Windows would translate line ends.
READING = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_MOVING = threading.Lock()
_OPEN_FOR_WRITING = 0b001
_OPEN_FOR_SWMR = 0b100


def _rotate(value: int, count: int) -> int:
    return ((value << count) | (value >> (32 - count))) & _MASK


def lookup3(data: bytes) -> int:
    """Jenkins' lookup3 hash (`hashlittle`), the checksum of HDF5 metadata."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c
    # Each round takes three words; the last one is padded with zeros.
    padded = data + b"\0" * (-len(data) % 12)
    words = struct.unpack(f"<{len(padded) // 4}I", padded)
    for i in range(0, len(words) - 3, 3):
        a, b, c = (a + words[i]) & _MASK, (b + words[i + 1]) & _MASK, c + words[i + 2]
        for count in (4, 6, 8, 16, 19, 4):
            a = ((a - c) & _MASK) ^ _rotate(c & _MASK, count)
            c = (c + b) & _MASK
            a, b, c = b, c, a
    a, b, c = a + words[-3], b + words[-2], c + words[-1]
    a, b, c = a & _MASK, b & _MASK, c & _MASK
    for count in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, count)) & _MASK
        a, b, c = b, c, a
    return b


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the first bytes of an HDF5 file say.

    Attributes
    ----------
    raw : bytes
        The superblock itself.
    version, flags, end_of_file : int
        `flags` is the consistency flag (0 for versions 0 and 1, which have none).
    """

    raw: bytes
    version: int
    flags: int
    end_of_file: int

    @property
    def is_open_for_writing(self) -> bool:
        """Whether a writer has the file open, or was killed while it had."""
        return bool(self.flags & _OPEN_FOR_WRITING)

    @property
    def is_open_for_swmr(self) -> bool:
        """Whether that writer lets others read at the same time (SWMR)."""
        return bool(self.flags & _OPEN_FOR_SWMR)

    def closed(self, file_size: int) -> bytes:
        """The same superblock, flag cleared, with `file_size` as end of file."""
        raw = bytearray(self.raw)
        start = _EOF_OFFSET[self.version]
        raw[start : start + 8] = struct.pack("<Q", file_size)
        if self.version >= 2:
            raw[_FLAG_BYTE] = 0
            raw[_CHECKSUM] = struct.pack("<I", lookup3(bytes(raw[:44])))
        return bytes(raw)


def read_at(descriptor: int, size: int, place: int) -> bytes:
    """Bytes of an open file from `place` on, fewer at its end."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, place)
    with _MOVING:
        os.lseek(descriptor, place, os.SEEK_SET)
        return os.read(descriptor, size)


def read_into(descriptor: int, buffer: memoryview, place: int) -> int:
    """Fill a buffer from `place` on; returns the number of bytes, fewer at the end."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], place)
    content = read_at(descriptor, len(buffer), place)
    buffer[: len(content)] = content
    return len(content)


def read_superblock(path: str | Path) -> Superblock:
    """Read and check the superblock of the file at `path`.

    Raises
    ------
    StorageFormatError
        If the file is empty, not HDF5, or its superblock is damaged.
    """
    descriptor = os.open(path, READING)
    try:
        return _read(descriptor, path)
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str | Path) -> Superblock:
    # A writer may be replacing the superblock this very moment: look again.
    for _ in range(3):
        try:
            return parse_superblock(read_at(descriptor, max(_LENGTH.values()), 0))
        except StorageFormatError as error:
            problem = error
    raise StorageFormatError(f"{path} {problem}")


def parse_superblock(head: bytes) -> Superblock:
    """Check the first bytes of a file; see `read_superblock`."""
    if not head:
        raise StorageFormatError("is empty.")
    if head.startswith(CHECKPOINT_TITLE):
        raise StorageFormatError("is the checkpoint of a run. Open the run itself.")
    if head[:8] != _SIGNATURE[: len(head)]:
        raise StorageFormatError("is not an HDF5 file, so it is no mfpde run.")
    version = head[8] if len(head) > 8 else -1
    if len(head) < _LENGTH.get(version, 9):
        raise StorageFormatError("is truncated: it ends within the HDF5 superblock.")
    if version not in _LENGTH or head[_OFFSET_SIZE_BYTE[version]] != 8:
        raise StorageFormatError(
            f"has an HDF5 superblock (version {version}) that mfpde never writes; "
            "it is damaged or no mfpde run."
        )
    raw = head[: _LENGTH[version]]
    if version >= 2 and lookup3(raw[:44]) != struct.unpack("<I", raw[_CHECKSUM])[0]:
        raise StorageFormatError("is damaged: the checksum of its superblock is wrong.")
    start = _EOF_OFFSET[version]
    (end_of_file,) = struct.unpack("<Q", raw[start : start + 8])
    return Superblock(raw, version, raw[_FLAG_BYTE] if version >= 2 else 0, end_of_file)


def clear_consistency_flag(path: str | Path) -> None:
    """Mark the file as closed, in place, by one write of the superblock."""
    superblock = read_superblock(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        size = os.fstat(descriptor).st_size
        os.pwrite(descriptor, superblock.closed(size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_heap(block: bytes) -> None:
    """Raise if `block`, which starts a global heap, is damaged, section III.E.

    The heap holds all strings and has no checksum. HDF5 reads it object by object
    and never ends if the size of a free object is zero.
    """
    end = min(len(block), struct.unpack("<Q", block[8:16])[0])
    place = 16
    while place + 16 <= end:
        index, size = struct.unpack("<H6xQ", block[place : place + 16])
        # The size of the free space, object 0, counts its header.
        length = 16 + size + -size % 8 if index else size
        if length < 16:
            raise StorageFormatError("The heap of strings is damaged.")
        place += length


class ClosedView(io.RawIOBase):
    """A file left open by its writer, seen as if it had been closed.

    Read-only and without any lock; the superblock is corrected in memory, so that
    a file which HDF5 itself refuses can be read without permission to write.

    Parameters
    ----------
    path : str or Path
        The file.

    Attributes
    ----------
    size : int
        Bytes of the file, taken once.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._descriptor = os.open(path, READING)
        self._position = 0
        try:
            self.size = os.fstat(self._descriptor).st_size
            self._head = _read(self._descriptor, path).closed(self.size)
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position of the next read, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position of the next read."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from the position on; bytes past the end are not given."""
        buffer, begin = memoryview(buffer), self._position
        length = max(0, min(len(buffer), self.size - begin))
        n_read = read_into(self._descriptor, buffer[:length], begin) if length else 0
        head = self._head[begin : begin + n_read]
        buffer[: len(head)] = head
        if bytes(buffer[:8]) == _HEAP_SIGNATURE:
            check_heap(bytes(buffer[:n_read]))
        self._position += n_read
        return n_read

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()
