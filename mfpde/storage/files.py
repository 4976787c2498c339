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

from mfpde.paths import user_path

try:
    import fcntl
except ImportError:  # Windows, where files are only read
    fcntl = None

_SUFFIX = ".h5"
_CHECKPOINT_SUFFIX = ".ckpt.h5"


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return the file behind `path`: replacing it must not replace a symbolic link."""
    path = user_path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """Return the checkpoint NAME.ckpt.h5 that belongs to the run NAME.h5."""
    path = real_path(path)
    return path.with_name(path.name.removesuffix(_SUFFIX) + _CHECKPOINT_SUFFIX)


def part_path(path: Path) -> Path:
    """Return the hidden file beside `path` in which its next version is built."""
    return path.with_name(f".{path.name}.part")


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise, before any work is done, if a run cannot be written to `path`.

    Whether another process is writing it at this moment is checked by
    `RunWriter.create`.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is not set.
    FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError
        If the folder is missing, no folder or not writable, or `path` a folder.
    ValueError
        If the name is that of a checkpoint.
    """
    path = real_path(path)
    folder = path.parent
    if path.name.endswith(_CHECKPOINT_SUFFIX):
        raise ValueError(
            f"`output` must not end in {_CHECKPOINT_SUFFIX}, the name of checkpoints, "
            f"got {path}."
        )
    if not folder.exists():
        raise FileNotFoundError(
            f"The folder {folder} does not exist. Create it or choose another `output`."
        )
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is not a folder, so {path.name} cannot be written there."
        )
    if path.is_dir():
        raise IsADirectoryError(f"`output` must be a file, but {path} is a folder.")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists. Choose another `output`, or set `overwrite` to replace it."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"The folder {folder} is not writable. Choose another `output`."
        )


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
    try:
        with open(part, "wb") as file:
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
