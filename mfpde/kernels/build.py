"""Compiled kernels: one generated module for each block, kept on disk.

Outer activations psi of Eq. (9) are made in the same way, one module for each.

The folder of a generated module is named by a hash of its text, of the activations and
of numba's version. So numba's own disk cache works as for any module, a second process
loads machine code instead of compiling, and an edited kernel can never meet a stale
cache. The sweeps of `sweep` are compiled once for all blocks: they call the kernels by
address.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mfpde.kernels import NORMALISED, families
from mfpde.kernels.folders import cache_folder
from mfpde.kernels.sweep import STRIDE

_HERE = Path(__file__).parent
# The module of activations for each type of number, and what those are made of. All of
# it is inlined into the kernels: numba does not see when it changes.
MATHEMATICS = {"float64": "vectormath", "float32": "vectormath32"}
INLINED = (*MATHEMATICS.values(), "bits", "piecewise", "sine")

HEADER = """
import numpy as np
from numba import carray, cfunc, njit, types

STRIDE = {stride}
real = np.{dtype}
ZERO = real(0.0)
REAL = types.CPointer(types.{dtype})
GRADIENT = types.CPointer(types.float64)
SIZE = types.int64
FIELD = types.void(REAL, REAL, SIZE, SIZE, REAL, REAL, REAL, REAL)
PULLBACK_STATE = types.void(REAL, REAL, SIZE, SIZE, REAL, REAL, REAL, REAL, REAL)
PULLBACK = types.void(REAL, REAL, SIZE, SIZE, REAL, REAL, REAL, GRADIENT, REAL, REAL)
OPTIONS = {{
    "fastmath": {{"contract", "arcp", "nsz", "reassoc"}},
    "error_model": "numpy",
    "cache": {cache},
}}
INLINE = {{
    "fastmath": OPTIONS["fastmath"],
    "error_model": "numpy",
    "forceinline": True,
}}
"""


@dataclass(frozen=True, eq=False)
class Kernels:
    """The compiled kernels of a block.

    Attributes
    ----------
    addresses : tuple of int
        Addresses of field, pullback_state and pullback, the numbers of scratch they
        need, and the address of the scale: what the functions of `sweep` take.
    module : module
        Holds the functions, so that the machine code stays.
    scale : ndarray, shape (1,)
        Factor of f, for the kernels that have one; holds its place in memory.
    """

    addresses: tuple[int, int, int, int, int]
    module: ModuleType
    scale: NDArray[Any]


def generated_kernels(
    name: str,
    family: Callable[..., str],
    arguments: tuple[Any, ...],
    dtype: str = "float64",
    activation: str | None = None,
    scale: float = 1.0,
) -> Kernels:
    """The kernels of a built-in block, from the disk cache where possible.

    Parameters
    ----------
    name : str
        Readable part of the module's name.
    family : callable
        family(*arguments) gives the text of the three kernels (see `families`).
    dtype : {"float64", "float32"}
        Of all arrays but the gradient, which is float64.
    activation : str, optional
        Name of the function of `vectormath` that the text uses, with its `_pair`.
    scale : float
        Factor of f. All scales share one module: machine code does not depend on it.
    """
    module = generated_module(name, family, arguments, dtype, activation)
    return _scaled_kernels(module, dtype, scale)


@functools.lru_cache(maxsize=256)
def generated_module(
    name: str,
    family: Callable[..., str],
    arguments: tuple[Any, ...],
    dtype: str,
    activation: str | None,
) -> ModuleType:
    """The module of `generated_kernels`."""
    text = HEADER.format(stride=STRIDE, cache=True, dtype=dtype)
    if activation is not None:
        text += _import_of(activation, dtype)
    return _kept_module(name, text + family(*arguments))


def _import_of(activation: str, dtype: str) -> str:
    names = f"{activation}, {activation}_pair"
    return f"from mfpde.kernels.{MATHEMATICS[dtype]} import {names}\n"


def _kept_module(name: str, text: str) -> ModuleType:
    """The module of a text, from its folder on disk."""
    inlined = [(_HERE / f"{name}.py").read_text(encoding="utf-8") for name in INLINED]
    key = "\n".join([text, *inlined, numba.__version__, sys.version])
    digest = hashlib.sha256(key.encode()).hexdigest()[:20]
    path = cache_folder() / digest / f"{name}.py"
    if not path.exists():
        _write_atomically(path, text)
    spec = importlib.util.spec_from_file_location(f"mfpde_{name}_{digest}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@functools.lru_cache(maxsize=64)
def outer_kernels(activation: str | None, dtype: str = "float64") -> tuple[int, int]:
    """Addresses of psi and of its pullback, Eqs. (9) and (11); zeros for None.

    Parameters
    ----------
    activation : str or None
        One of `OUTER_ACTIVATIONS`.
    dtype : {"float64", "float32"}
        Of states and adjoints.
    """
    if activation is None:
        return 0, 0
    text = HEADER.format(stride=STRIDE, cache=True, dtype=dtype)
    if activation == NORMALISED:
        text += _import_of("relu", dtype) + families.outer_normalised()
    else:
        text += _import_of(activation, dtype) + families.outer(activation)
    module = _kept_module(f"outer_{activation}_{dtype}", text)
    return module.activate.address, module.pull.address


@functools.lru_cache(maxsize=256)
def custom_kernels(
    d: int,
    k: int,
    f: Callable[..., None],
    vjp_z: Callable[..., None],
    vjp_theta: Callable[..., None],
    dtype: str,
) -> Kernels:
    """The kernels of a custom block: compiled in this process, not kept.

    Their text calls the functions as custom_f, custom_vjp_z and custom_vjp_theta.
    """
    text = HEADER.format(stride=STRIDE, cache=False, dtype=dtype) + families.custom(
        d, k
    )
    module = ModuleType("mfpde_custom_kernels")
    module.custom_f = numba.njit(f)
    module.custom_vjp_z = numba.njit(vjp_z)
    module.custom_vjp_theta = numba.njit(vjp_theta)
    try:
        exec(compile(text, "<mfpde custom kernels>", "exec"), module.__dict__)
    except numba.core.errors.NumbaError as error:
        causes = [line for line in str(error).splitlines() if line.strip()]
        raise TypeError(
            "`f`, `vjp_z` and `vjp_theta` must be functions that numba can compile, "
            f"writing to their last argument; numba says: {causes[-1].strip()}"
        ) from error
    return _scaled_kernels(module, dtype, 1.0)


@functools.cache
def _scaled_kernels(module: ModuleType, dtype: str, scale: float) -> Kernels:
    # Never dropped: an evaluation may still read the scale at its address.
    functions = (module.field, module.pullback_state, module.pullback)
    addresses = tuple(function.address for function in functions)
    held = np.array([scale], dtype)
    return Kernels((*addresses, module.SCRATCH, held.ctypes.data), module, held)


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    # One modification time for every writer: numba takes it as the source's stamp.
    os.utime(partial, (0, 0))
    os.replace(partial, path)
