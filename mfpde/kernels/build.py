"""Compiled sweeps: one generated module for each block, kept on disk.

The text of a generated module is `sweep` followed by the three kernels of one block;
its folder is named by a hash of that text, of the activations and of numba's version.
So numba's own disk cache works as for any module, a second process loads machine code
instead of compiling, and an edited kernel can never meet a stale cache.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from mfpde.kernels import families

_HERE = Path(__file__).parent


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


@functools.lru_cache(maxsize=256)
def generated_sweep(
    name: str,
    family: Callable[..., str],
    arguments: tuple[Any, ...],
    activation: str | None = None,
) -> ModuleType:
    """The sweep module of a built-in block, from the disk cache where possible.

    Parameters
    ----------
    name : str
        Readable part of the module's name.
    family : callable
        family(*arguments) gives the text of the three kernels (see `families`).
    activation : str, optional
        Name of the function of `vectormath` that the text uses, with its `_pair`.
    """
    text = _module_text(family(*arguments), activation)
    mathematics = (_HERE / "vectormath.py").read_text(encoding="utf-8")
    key = "\n".join([text, mathematics, numba.__version__, sys.version])
    digest = hashlib.sha256(key.encode()).hexdigest()[:20]
    path = cache_folder() / digest / f"{name}.py"
    if not path.exists():
        _write_atomically(path, text)
    spec = importlib.util.spec_from_file_location(f"mfpde_{name}_{digest}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@functools.lru_cache(maxsize=256)
def custom_sweep(
    d: int,
    k: int,
    f: Callable[..., None],
    vjp_z: Callable[..., None],
    vjp_theta: Callable[..., None],
) -> ModuleType:
    """The sweep module of a custom block: compiled in this process, not kept.

    The kernels call the functions as custom_f, custom_vjp_z and custom_vjp_theta.
    """
    text = _module_text(families.custom(d, k), None)
    text = text.replace('"cache": True', '"cache": False')
    module = ModuleType("mfpde_custom_sweep")
    module.custom_f = numba.njit(f)
    module.custom_vjp_z = numba.njit(vjp_z)
    module.custom_vjp_theta = numba.njit(vjp_theta)
    exec(compile(text, "<mfpde custom sweep>", "exec"), module.__dict__)
    return module


def _module_text(kernels: str, activation: str | None) -> str:
    template = (_HERE / "sweep.py").read_text(encoding="utf-8")
    if activation is None:
        return template + kernels
    names = f"{activation}, {activation}_pair"
    return f"{template}\nfrom mfpde.kernels.vectormath import {names}\n{kernels}"


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    # One modification time for every writer: numba takes it as the source's stamp.
    os.utime(partial, (0, 0))
    os.replace(partial, path)
