"""Paths as users give them, and names of pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

PICTURES = (
    *("png", "pdf", "svg", "svgz", "eps", "ps"),
    *("jpg", "jpeg", "tif", "tiff", "webp"),
)
"""Endings of pictures that can be written without other programs."""


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
    return Path(os.path.expanduser(text))


def picture_path(path: Any, name: str = "path") -> Path:
    """Return the path of a picture that can be written.

    Raises
    ------
    ValueError
        If its ending is not one of `PICTURES`.
    FileNotFoundError, IsADirectoryError
        If its folder is missing, or it is a folder itself.
    """
    path = user_path(path, name)
    if path.suffix[1:].lower() not in PICTURES:
        raise ValueError(
            f"`{name}` must end in one of {', '.join(PICTURES)}, the kinds of "
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
