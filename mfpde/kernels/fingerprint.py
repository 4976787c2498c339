"""A text that says all that the machine code of a user's function follows from.

That is its byte code and the values of the names it uses: numba freezes those when it
compiles. The byte code rather than the source, which may have been edited since it was
read, or may not be there at all, as in an interactive session. Of what cannot be
described for certain nothing may be kept: a plain function that the code calls may have
an implementation for numba elsewhere, an object may change.
"""

from __future__ import annotations

import builtins
import dis
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.registry import CPUDispatcher

from mfpde.kernels.compiled import module_key

# Libraries whose functions are known by their names: numba's own versions of them stand
# in numba, and the key of what is kept names its version.
LIBRARIES = ("builtins", "math", "cmath", "operator", "numpy", "numba")
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
MISSING = object()


class CannotDescribe(Exception):
    """Something that a function uses may be different in another process."""


def fingerprint(function: Callable[..., Any]) -> str | None:
    """The description of a function; None if there is none that can be trusted."""
    try:
        return _function(function, [])
    except (CannotDescribe, RecursionError):
        return None


def _function(function: Callable[..., Any], above: list[Any]) -> str:
    if not isinstance(function, FunctionType):
        raise CannotDescribe
    if function in above:
        return f"the function {above.index(function)} above"
    above = [*above, function]
    code = function.__code__
    cells = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError as error:
            raise CannotDescribe from error
    used = {name: _global(function, name) for name in _global_names(code)}
    if function.__kwdefaults__:
        raise CannotDescribe
    parts = [_code(code), _value(function.__defaults__, above)]
    for names in (cells, used):
        parts += [f"{name} = {_value(names[name], above)}" for name in sorted(names)]
    return f"({', '.join(parts)})"


def _global(function: FunctionType, name: str) -> Any:
    space = function.__globals__
    return space[name] if name in space else getattr(builtins, name, MISSING)


def _global_names(code: CodeType) -> set[str]:
    names = {
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names


def _code(code: CodeType) -> str:
    """Byte code and what it refers to by number; no place in a file."""
    constants = [
        _code(constant) if isinstance(constant, CodeType) else _value(constant, [])
        for constant in code.co_consts
    ]
    parts = (
        code.co_code,
        code.co_exceptiontable,
        code.co_flags,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
    )
    return f"{parts!r} {constants}"


def _value(value: Any, above: list[Any]) -> str:
    """The text of a value; two different values never have the same."""
    kind = type(value)
    if value is MISSING:
        return "missing"
    if kind in PLAIN:
        return f"{kind.__name__} {value!r}"
    if kind in (tuple, frozenset):
        parts = [_value(each, above) for each in value]
        return f"{kind.__name__} {parts if kind is tuple else sorted(parts)}"
    if isinstance(value, np.generic) or kind is np.ndarray:
        return _array(np.asarray(value), kind)
    if isinstance(value, CPUDispatcher):
        return _dispatcher(value, above)
    name = _name_in_library(value)
    if name is None:
        raise CannotDescribe
    return name


def _array(array: np.ndarray, kind: type) -> str:
    if array.dtype.kind not in "biufc":
        raise CannotDescribe
    layout = (array.dtype.str, array.shape, array.strides, array.flags.writeable)
    return f"{kind.__name__} {layout} {array.tobytes().hex()}"


def _dispatcher(dispatcher: Any, above: list[Any]) -> str:
    """What `numba.njit` made, with its options; one of this package by its text."""
    function = dispatcher.py_func
    if (key := module_key(function.__module__ or "")) is not None:
        return f"{key} {function.__qualname__}"
    if dispatcher.locals:
        raise CannotDescribe
    options = {
        name: frozenset(value) if isinstance(value, set) else value
        for name, value in dispatcher.targetoptions.items()
    }
    texts = [f"{name} = {_value(options[name], [])}" for name in sorted(options)]
    return f"{texts} {_function(function, above)}"


def _name_in_library(value: Any) -> str | None:
    """The name of a module, function or type of `LIBRARIES`, or of our kernels."""
    if isinstance(value, ModuleType):
        name = value.__name__
        if name.split(".")[0] in LIBRARIES:
            return f"module {name}"
        key = module_key(name)
        return key and f"module {key}"
    if not isinstance(value, (type, FunctionType, BuiltinFunctionType, np.ufunc)):
        return None
    name = value.__name__
    home = "numpy" if isinstance(value, np.ufunc) else value.__module__
    if not home or home.split(".")[0] not in LIBRARIES:
        return None
    is_there = getattr(sys.modules.get(home), name, None) is value
    return f"{home}.{name}" if is_there else None
