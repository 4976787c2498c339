"""Paths as users give them, and which files may be read, written and replaced.

All files of a command are checked before any work is done: none is read and written,
or written twice, none is a device, and nothing of somebody else's is replaced.
"""

from __future__ import annotations

import os
import stat
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

StrPath = str | os.PathLike[str]

RUN = "run"
"""The format of our HDF5 files, whatever their suffix."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_RUN_MARK = b"mfpde_format_version"
_CHECKPOINT = b"mfpde checkpoint"
# What pictures and pages of ours hold near their begin or their end.
_MARK = b"mfpde"
# How files of a suffix begin. Tables and archives begin as ours do.
_BEGINNINGS = {
    ".csv": (b"s,",),
    ".npz": (b"PK\3\4",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".pdf": (b"%PDF-",),
    ".svg": (b"<?xml", b"<svg"),
    ".html": (b"<!doctype html", b"<html"),
    ".eps": (b"%!PS",),
    ".ps": (b"%!PS",),
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".tif": (b"II*\0", b"MM\0*"),
    ".tiff": (b"II*\0", b"MM\0*"),
    ".webp": (b"RIFF",),
}
_SAMPLE_BYTES = 2**18
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
PICTURES = (
    *("png", "pdf", "svg", "svgz", "eps", "ps"),
    *("jpg", "jpeg", "tif", "tiff", "webp"),
)
"""Endings of pictures that can be written without other programs."""
PAGE = "html"
"""Ending of a page that holds a picture."""


def user_path(path: Any, name: str = "path") -> Path:
    """Return a path, "~" at its start standing for the user's folder.

    Parameters
    ----------
    path : str or os.PathLike
    name : str
        Of the argument, for messages.

    Raises
    ------
    TypeError, ValueError
        If it is no path.
    """
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise TypeError(
            f"`{name}` must be a path, a str or pathlib.Path, got "
            f"{type(path).__name__}."
        )
    if "\0" in text:
        raise ValueError(f"`{name}` must not hold the character NUL, got {text!r}.")
    if not text:
        raise ValueError(f"`{name}` must be a path, got an empty text.")
    return Path(os.path.expanduser(text))


def picture_path(
    path: Any, name: str = "path", endings: tuple[str, ...] = PICTURES
) -> Path:
    """Return the path of a picture that can be written.

    Raises
    ------
    ValueError
        If its ending is not one of `endings`.
    FileNotFoundError, IsADirectoryError
        If its folder is missing, or it is a folder itself.
    """
    path = user_path(path, name)
    if path.suffix[1:].lower() not in endings:
        raise ValueError(
            f"`{name}` must end in one of {', '.join(endings)}, the kinds of "
            f"pictures, got {os.fspath(path)!r}."
        )
    if path.is_dir():
        raise IsADirectoryError(f"`{name}` must be a file, but {path} is a folder.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder {path.parent} does not exist. Create it, or choose another "
            f"`{name}`."
        )
    return path


@dataclass(frozen=True, slots=True)
class Use:
    """A file that a command reads, or will write.

    Attributes
    ----------
    what : str
        How a message names it, for example "the picture".
    path : path-like
    is_written : bool
    """

    what: str
    path: StrPath
    is_written: bool = False


def other_kind(path: StrPath) -> str:
    """Say what stands at `path` if it is no regular file; "" for a file or nothing."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no file")


def check_readable(path: StrPath) -> None:
    """Raise if a pipe, a socket or a device stands at `path`: reading might block.

    Raises
    ------
    FileNotFoundError
        Whatever else is wrong with it, opening it will say.
    """
    kind = other_kind(path)
    if kind and kind != "a folder":
        raise FileNotFoundError(f"There is no file {os.fspath(path)}: it is {kind}.")


def check_uses(uses: Iterable[Use]) -> None:
    """Raise ValueError if a file that is written is also read, or written twice.

    Files are compared, not names: links, another spelling of the path, and upper and
    lower case where the file system makes no difference.
    """
    for first, second in combinations(list(uses), 2):
        if not (first.is_written or second.is_written):
            continue
        if is_same_file(first.path, second.path):
            written, other = (first, second) if first.is_written else (second, first)
            raise ValueError(
                f"{written.what} and {other.what} are the same file, "
                f"{os.fspath(written.path)}. Choose another name for one of them."
            )


def is_same_file(first: StrPath, second: StrPath) -> bool:
    """Whether writing one changes the other, existing or not."""
    a, b = (Path(os.path.realpath(path)) for path in (first, second))
    if a == b:
        return True
    try:
        return os.path.samefile(a, b)
    except OSError:
        # One of them does not exist: it will have its name in its folder.
        if a.exists() or b.exists():
            return False
    try:
        is_one_folder = a.parent == b.parent or os.path.samefile(a.parent, b.parent)
    except OSError:
        return False
    if not is_one_folder or not _ignores_case(a.parent):
        return is_one_folder and a.name == b.name
    return _folded(a.name) == _folded(b.name)


def _ignores_case(folder: Path) -> bool:
    """Whether names in a folder that differ in case are one file."""
    other = folder.with_name(folder.name.swapcase()) if folder.name else folder
    if other == folder:
        return sys.platform in ("darwin", "win32")
    try:
        return os.path.samefile(folder, other)
    except OSError:
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def check_folder_of(path: Path, name: str) -> None:
    """Raise unless a file can be made in the folder of `path`.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, PermissionError
        If the folder is missing, no folder, or not writable.
    """
    folder = path.parent
    if not folder.exists():
        raise FileNotFoundError(
            f"The folder {folder} does not exist. Create it or choose another {name}."
        )
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{folder} is not a folder, so {path.name} cannot be written there."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            f"The folder {folder} is not writable. Choose another {name}."
        )


def check_replaceable(
    path: StrPath, name: str, file_format: str, *, is_default: bool = False
) -> None:
    """Raise if something stands at `path` that must not be replaced.

    A run, a checkpoint and an exported table are replaced only if mfpde wrote them, a
    picture only if it is one of the same format. An empty file has nothing to lose.

    Parameters
    ----------
    path : path-like
    name : str
        How messages name the argument, for example "`output`".
    file_format : str
        `RUN`, or the suffix of a picture or table, for example ".png".
    is_default : bool
        Whether the user did not name the path: a picture must then be ours, too.

    Raises
    ------
    IsADirectoryError, FileExistsError
        If it is a folder; or a pipe, a socket, a device, or a file of another origin.
    """
    kind = other_kind(path)
    if kind == "a folder":
        raise IsADirectoryError(
            f"{name} must be a file, but {os.fspath(path)} is a folder."
        )
    if kind:
        raise FileExistsError(
            f"{name} must be a file, but {os.fspath(path)} is {kind}."
        )
    if os.path.exists(path) and not _is_replaceable(path, file_format, is_default):
        raise FileExistsError(
            f"{os.fspath(path)} exists and was not written by mfpde, so it is not "
            f"replaced. Choose another {name}, or take the file away."
        )


def _is_replaceable(path: StrPath, file_format: str, is_default: bool) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(_SAMPLE_BYTES)
            file.seek(max(0, os.path.getsize(path) - _SAMPLE_BYTES))
            tail = file.read()
    except PermissionError:
        # Who may not read it cannot know.
        return False
    if not head:
        return True
    if file_format == RUN:
        is_run = head.startswith(_HDF5) and _RUN_MARK in head
        return is_run or head.startswith(_CHECKPOINT)
    beginnings = _BEGINNINGS.get(file_format.lower(), (b"",))
    if not head.lstrip().lower().startswith(tuple(each.lower() for each in beginnings)):
        return False
    if file_format.lower() == ".npz":
        return b"attributes.npy" in head[:128]
    return not is_default or _MARK in head or _MARK in tail
