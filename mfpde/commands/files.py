"""The files of a command: checked together, before anything is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mfpde.config.assembly import reported_as_configuration
from mfpde.paths import (
    PAGE,
    PICTURES,
    Use,
    check_replaceable,
    check_uses,
    picture_path,
    user_path,
)
from mfpde.storage.hdf5.files import run_uses


def named_files(config: Any, folder: Path) -> Iterator[Use]:
    """The files that a configuration names to be read: keys `path` and `..._path`."""
    for key, value in _entries(config, ""):
        name = key.rpartition(".")[2]
        if isinstance(value, str) and (name == "path" or name.endswith("_path")):
            yield Use(f"`{key}`", folder / user_path(value))


def _entries(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in tables, lists and sections."""
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    elif dataclasses.is_dataclass(value):
        parts = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    else:
        yield key, value
        return
    for name, part in parts:
        yield from _entries(part, f"{key}.{name}" if key else str(name))


def check_files(
    uses: Sequence[Use],
    *,
    run: Path | None = None,
    picture: str | Path | None = None,
    name: str = "plot.file",
    is_default: bool = False,
) -> Path | None:
    """Raise unless every file that is written is one of its own, and may be replaced.

    Parameters
    ----------
    uses : sequence of Use
        What else is read or written.
    run : Path, optional
        The HDF5 file that is written, with its checkpoint.
    picture : path-like, optional
    name : str
        Of the key or option that names the picture.
    is_default : bool
        Whether the name of the picture is that of the run and not the user's.

    Returns
    -------
    picture : Path or None

    Raises
    ------
    ConfigurationError
        If files clash, or the name is none of a picture.
    OSError
        If the picture cannot be written, or would replace something else.
    """
    uses = list(uses)
    if run is not None:
        uses += run_uses(run)
    with reported_as_configuration():
        if picture is not None:
            picture = user_path(picture, name)
            uses.append(Use("the picture", picture, is_written=True))
        check_uses(uses)
        if picture is None:
            return None
        picture = picture_path(picture, name, (*PICTURES, PAGE))
    suffix = picture.suffix.lower()
    check_replaceable(picture, f"`{name}`", suffix, is_default=is_default)
    return picture
