"""Paths, atomic replacement and processes: what storage needs from the system.

Nothing here knows HDF5.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mfpde.arrays import checked, flag, text
from mfpde.paths import (
    RUN,
    Use,
    check_folder_of,
    check_replaceable,
    other_kind,
    user_path,
)

try:
    import fcntl
except ImportError:  # Windows, where files are only read
    fcntl = None

_SUFFIX = ".h5"
_CHECKPOINT_SUFFIX = ".ckpt.h5"
_CHECKPOINT_OF_OTHERS = ".ckpt"


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return the file behind `path`: replacing it must not replace a symbolic link."""
    path = user_path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """Return the checkpoint NAME.ckpt.h5 that belongs to the run NAME.h5.

    That of a run NAME without this suffix is NAME.ckpt: `run` and `run.h5` may stand
    side by side.
    """
    path = real_path(path)
    if path.name.endswith(_SUFFIX):
        return path.with_name(path.name.removesuffix(_SUFFIX) + _CHECKPOINT_SUFFIX)
    return path.with_name(path.name + _CHECKPOINT_OF_OTHERS)


def part_path(path: Path) -> Path:
    """Return the hidden file beside `path` in which its next version is built."""
    return path.with_name(f".{path.name}.part")


@checked(overwrite=flag, file_format=text)
def check_writable(
    path: str | os.PathLike[str], overwrite: bool = False, file_format: str = RUN
) -> None:
    """Raise, before any work is done, if a run or a table cannot be written to `path`.

    Whether another process is writing it at this moment is checked by
    `RunWriter.create`.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is not set, or it is not one of ours.
    FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError
        If the folder is missing, no folder or not writable, or `path` a folder.
    ValueError
        If the name is that of a checkpoint.
    """
    path = real_path(path)
    for suffix in (_CHECKPOINT_SUFFIX, _CHECKPOINT_OF_OTHERS):
        if path.name.endswith(suffix):
            raise ValueError(
                f"`output` must not end in {suffix}, the name of checkpoints, got "
                f"{path}."
            )
    check_folder_of(path, "`output`")
    if path.exists() and not overwrite and not other_kind(path):
        raise FileExistsError(
            f"{path} exists. Choose another `output`, or set `overwrite` to replace it."
        )
    check_replaceable(path, "`output`", file_format)
    if file_format == RUN:
        check_replaceable(checkpoint_path(path), "`output`", RUN)


def run_uses(path: str | os.PathLike[str]) -> list[Use]:
    """The files that a run writes: itself, its checkpoint, and their parts."""
    path = real_path(path)
    checkpoint = checkpoint_path(path)
    return [
        Use("the output", path, is_written=True),
        Use("the checkpoint of the output", checkpoint, is_written=True),
        Use("a temporary file of the output", part_path(path), is_written=True),
        Use(
            "a temporary file of the checkpoint",
            part_path(checkpoint),
            is_written=True,
        ),
    ]


@contextlib.contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock on the folder of `path`; others wait.

    It is held while a file is created or replaced, so that two processes which
    start on the same file at the same time see each other. The system drops it
    when the process ends. Folders that cannot be locked (some network file
    systems) are used without.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until the file or folder at `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Some file systems refuse to synchronise folders; nothing is lost by that
        # unless the machine itself stops.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path, *, is_shared: bool = False) -> Iterator[BinaryIO]:
    """Give a binary file that takes the place of `path` at the end of the block.

    All of it or nothing, whatever happens: it is built under another name. Several
    processes may replace a shared file at the same time; one of them wins.
    """
    part = part_path(path)
    if is_shared:
        part = part.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    # A file of this name is left over from a kill; if it is a link, only that goes.
    part.unlink(missing_ok=True)
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def replace_bytes(path: Path, content: bytes, *, is_shared: bool = False) -> None:
    """Give the file at `path` a new content: see `replacing`."""
    with replacing(path, is_shared=is_shared) as file:
        file.write(content)


def process_start(pid: int) -> int | None:
    """When the process `pid` of this machine started, None if it does not run.

    Returns
    -------
    start : int or None
        Clock ticks since the machine started, which tell a process from a later
        one of the same number; -1 where the system does not say.
    """
    if pid <= 0:
        return None
    if sys.platform == "win32":
        # There signal 0 is no question but Ctrl-C.
        return -1
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        # The command, field 2, is in parentheses and may hold anything.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        return -1
