"""Compiled kernels: one generated module for each block.

Outer activations psi of Eq. (9) are made in the same way, one module for each.

The text of a module is run, never kept; its machine code is kept on disk (`compiled`)
under a key made of the text and of all that is inlined. So a second process loads
instead of compiling, and an edited kernel can never meet a stale cache. The sweeps of
`sweep` are compiled once for all blocks: they call the kernels by address.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mfpde.kernels import NORMALISED, families
from mfpde.kernels.compiled import text_key
from mfpde.kernels.fingerprint import fingerprint
from mfpde.kernels.sweep import STRIDE

# The module of activations for each type of number.
MATHEMATICS = {"float64": "vectormath", "float32": "vectormath32"}

HEADER = """
import numpy as np
from numba import carray, njit, types
from mfpde.kernels.compiled import cfunc

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
    """The kernels of a built-in block, from disk where possible.

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
    text = HEADER.format(stride=STRIDE, dtype=dtype)
    if activation is not None:
        text += _import_of(activation, dtype)
    text += family(*arguments)
    return _module(name, text, text_key(text))


def _import_of(activation: str, dtype: str) -> str:
    names = f"{activation}, {activation}_pair"
    return f"from mfpde.kernels.{MATHEMATICS[dtype]} import {names}\n"


def _module(
    name: str, text: str, key: str | None, names: dict[str, Any] | None = None
) -> ModuleType:
    """The module of a text that may use some names more; None as key keeps nothing."""
    module = ModuleType(f"mfpde_{name}")
    if key is not None:
        module.__name__ += f"_{key[:20]}"
        # What is loaded from disk looks for its module there.
        sys.modules[module.__name__] = module
    vars(module).update(names or {}, KEY=key)
    exec(compile(text, f"<{module.__name__}>", "exec"), vars(module))
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
    text = HEADER.format(stride=STRIDE, dtype=dtype)
    if activation == NORMALISED:
        text += _import_of("relu", dtype) + families.outer_normalised()
    else:
        text += _import_of(activation, dtype) + families.outer(activation)
    module = _module(f"outer_{activation}_{dtype}", text, text_key(text))
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
    """The kernels of a custom block; its functions see states and parameters (n,).

    Their text calls the functions as custom_f, custom_vjp_z and custom_vjp_theta.
    """
    text = HEADER.format(stride=STRIDE, dtype=dtype) + families.custom(d, k)
    module = _custom_module("kernels", text, (f, vjp_z, vjp_theta), dtype)
    return _scaled_kernels(module, dtype, 1.0)


@functools.lru_cache(maxsize=256)
def custom_loops(
    f: Callable[..., None],
    vjp_z: Callable[..., None],
    vjp_theta: Callable[..., None],
) -> tuple[Any, Any, Any]:
    """The functions of a custom block, compiled as loops over rows of float64 arrays.

    loop_f(z, theta, out), loop_vjp_z(z, theta, p, out) and loop_vjp_theta, the same.
    """
    module = _custom_module("loops", families.LOOPS, (f, vjp_z, vjp_theta), "float64")
    return module.loop_f, module.loop_vjp_z, module.loop_vjp_theta


def _custom_module(
    name: str, text: str, functions: tuple[Callable[..., None], ...], dtype: str
) -> ModuleType:
    """The module of a text that calls a user's functions.

    Machine code is kept if all that the functions use is known, see `fingerprint`.
    """
    names = ("f", "vjp_z", "vjp_theta")
    for each, function in zip(names, functions, strict=True):
        if not isinstance(function, FunctionType):
            raise TypeError(
                f"`{each}` must be a function that numba can compile, defined with def "
                f"or lambda, got {function!r}."
            )
    prints = [fingerprint(function) for function in functions]
    key = None
    if None not in prints:
        key = hashlib.sha256("\n".join([text_key(text), *prints]).encode()).hexdigest()
    compiled = {
        f"custom_{each}": numba.njit(function)
        for each, function in zip(names, functions, strict=True)
    }
    try:
        return _module(f"custom_{name}", text, key, compiled)
    except Exception as error:
        raise _not_compiled(compiled, dtype, error) from error


def _not_compiled(compiled: dict[str, Any], dtype: str, error: Exception) -> TypeError:
    """An error that says which of a user's functions numba cannot compile, and why."""
    which = "`f`, `vjp_z` and `vjp_theta` must be functions"
    array = numba.types.Array(getattr(numba.types, dtype), 1, "C")
    for name, function in compiled.items():
        n_arguments = 3 if name == "custom_f" else 4
        try:
            function.get_call_template((array,) * n_arguments, {})
        except Exception as own:
            which, error = f"`{name.removeprefix('custom_')}` must be a function", own
            break
    return TypeError(
        f"{which} that numba can compile, writing to the last argument; numba says: "
        f"{first_line(str(error))}"
    )


def first_line(text: str) -> str:
    """The first line of numba's text that says something, with what it announces."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [each for each in lines if each and not each.startswith("Failed in nopyt")]
    if len(lines) > 1 and lines[0].endswith(":"):
        return " ".join(lines[:2])
    return lines[0] if lines else "nothing."


@functools.cache
def _scaled_kernels(module: ModuleType, dtype: str, scale: float) -> Kernels:
    # Never dropped: an evaluation may still read the scale at its address.
    functions = (module.field, module.pullback_state, module.pullback)
    addresses = tuple(function.address for function in functions)
    held = np.array([scale], dtype)
    return Kernels((*addresses, module.SCRATCH, held.ctypes.data), module, held)
