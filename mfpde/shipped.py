"""Files that come with mfpde: data and configurations, by name."""

from __future__ import annotations

import os
from pathlib import Path


def shipped_file(name: str) -> Path | None:
    """A file of `data/`, beside the package or inside an installed one; or None."""
    package = Path(__file__).resolve().parent
    for folder in (package.parent / "data", package / "_data"):
        if (folder / "digits.csv.gz").is_file() and (folder / name).is_file():
            return folder / name
    return None


def configuration_file(path: str | os.PathLike[str]) -> Path:
    """A configuration as it was named: a path, or a name such as "digits".

    A file that exists comes before a name.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    given = Path(path)
    if given.exists() or given.suffix or len(given.parts) != 1:
        return given
    found = shipped_file(f"{given}.toml")
    if found is None:
        folder = (shipped_file("digits.toml") or given).parent
        names = sorted(each.stem for each in folder.glob("*.toml"))
        raise FileNotFoundError(
            f"There is no file {str(given)!r} here, and no configuration of that name "
            f"comes with mfpde. Those that do are {', '.join(names)}."
        )
    return found
