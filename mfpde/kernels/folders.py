"""Where compiled kernels are kept. Imports no numba: the command line asks, too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Folder of the compiled kernels: $MFPDE_CACHE_DIR, or the user's cache folder.

    Falls back to the system's temporary folder where that cannot be written.
    """
    if named := os.environ.get("MFPDE_CACHE_DIR"):
        return Path(named)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mfpde"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.gettempdir()) / f"mfpde-{os.getuid()}"
    if os.access(base, os.W_OK):
        return base
    return Path(tempfile.gettempdir()) / f"mfpde-{os.getuid()}"
