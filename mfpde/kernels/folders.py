"""Where compiled kernels are kept. Imports no numba: the command line asks, too.

What lies there is machine code that this process runs. So a folder is used only if it
belongs to this user and nobody else can write to it.
"""

from __future__ import annotations

import functools
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "MFPDE_CACHE_DIR"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path | None:
    """Folder of the compiled kernels, made if need be; None if there is none to use.

    The first of these that can be used: $MFPDE_CACHE_DIR or, without it, `mfpde` in the
    user's cache folder; `mfpde-UID` in the system's temporary folder, which must be
    closed to all others. A warning tells, once, of a folder that is not used although
    the user named it or others can write to it, and of having none.
    """
    refused = []
    for folder, mask, is_wish in _candidates():
        reason = _why_not(folder, mask)
        if reason is None:
            if refused:
                warn_once(f"{' '.join(refused)} Compiled kernels are kept in {folder}.")
            return folder
        if is_wish or "others" in reason:
            refused.append(f"The cache folder {folder} is not used: {reason}.")
    refused.append("Compiled kernels are not kept: every process compiles them anew.")
    warn_once(f"{' '.join(refused)} Set {VARIABLE} to a folder of your own.")
    return None


def give_matplotlib_a_folder() -> None:
    """Let matplotlib keep its list of fonts here if it cannot where it would.

    It takes $MPLCONFIGDIR, or `matplotlib` in the user's configuration folder.
    """
    if os.environ.get("MPLCONFIGDIR"):
        return
    base = _user_folder("XDG_CONFIG_HOME", ".config")
    if base is not None:
        folder = base / "matplotlib"
        present = next(each for each in (folder, *folder.parents) if each.exists())
        if present.is_dir() and os.access(present, os.W_OK):
            return
    if (own := cache_folder()) is not None:
        os.environ["MPLCONFIGDIR"] = str(own / "matplotlib")


@functools.lru_cache(maxsize=64)
def warn_once(message: str) -> None:
    """Warn, once in a process for each message."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def is_own(status: os.stat_result, mask: int = OTHERS_WRITE) -> bool:
    """Whether a file belongs to this user and has none of the permissions in a mask.

    Where there are no user ids, as on Windows, everything counts as one's own.
    """
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & mask


def _candidates() -> Iterator[tuple[Path, int, bool]]:
    """Folder, permissions that no other may have, and whether the user named it."""
    if named := os.environ.get(VARIABLE):
        yield Path(os.path.expanduser(named)).absolute(), OTHERS_WRITE, True
    elif (base := _user_folder("XDG_CACHE_HOME", ".cache")) is not None:
        yield base / "mfpde", OTHERS_WRITE, False
    try:
        temporary = Path(tempfile.gettempdir())
    except OSError:
        return
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""
    yield temporary / f"mfpde{user}", stat.S_IRWXG | stat.S_IRWXO, False


def _user_folder(variable: str, default: str) -> Path | None:
    """$variable, or a folder in the user's home; None for a user without a home."""
    named = os.environ.get(variable, "")
    # A relative path is to be ignored, says the XDG Base Directory Specification.
    if os.path.isabs(named):
        return Path(named)
    home = os.path.expanduser("~")
    return Path(home) / default if os.path.isabs(home) else None


def _why_not(folder: Path, mask: int) -> str | None:
    """Why a folder cannot be used, or None; makes it if it is missing."""
    is_private = mask != OTHERS_WRITE
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In a folder of all users a link may be anybody's.
        status = os.lstat(folder) if is_private else os.stat(folder)
        above = os.stat(folder.resolve().parent).st_mode
    except (OSError, RuntimeError) as error:
        return str(getattr(error, "strerror", None) or error)
    if not stat.S_ISDIR(status.st_mode):
        return "it is no folder"
    if not is_own(status, 0):
        return "it belongs to another user"
    if not is_own(status, mask):
        return f"others can use it (mode {status.st_mode & 0o777:o}, not 700)"
    is_open = hasattr(os, "geteuid") and above & stat.S_IWOTH
    if is_open and not above & stat.S_ISVTX:
        return "others can replace it, in the folder above"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return "it cannot be written"
    return None
