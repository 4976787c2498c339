"""Checks of arguments at the public border.

A check is a function of the name of an argument and its value. It returns the value as
Python or NumPy would have it - a float for `np.float64(1)`, an array for a list - or
raises a TypeError or ValueError that names the argument. `checked` and `check_fields`
apply checks to the arguments of a function and to the fields of a dataclass.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import did_you_mean
from mfpde.paths import user_path

Check = Callable[[str, Any], Any]
Numbers: TypeAlias = Any
"""A field of a dataclass, given as an array_like and kept as an array."""
Function = TypeVar("Function", bound=Callable[..., Any])

LARGEST_COUNT = 10**9
"""Bound of counts without a bound of their own: what no machine could hold or do."""


def checked(**checks: Check) -> Callable[[Function], Function]:
    """A decorator: arguments pass through the checks of their names.

    Values that are not given, the defaults, are not looked at.
    """

    def decorate(function: Function) -> Function:
        names = list(inspect.signature(function).parameters)
        unknown = set(checks) - set(names)
        assert not unknown, f"{function.__name__} has no {sorted(unknown)}"
        places = [(i, n, checks[n]) for i, n in enumerate(names) if n in checks]

        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            given = list(arguments)
            for place, name, check in places:
                if place < len(given):
                    given[place] = check(name, given[place])
                elif name in options:
                    options[name] = check(name, options[name])
            return function(*given, **options)

        return call  # type: ignore[return-value]

    return decorate


def with_schema(**schema: Any) -> Callable[[Function], Function]:
    """A decorator: the JSON schema of the plain values that a check lets through."""

    def decorate(check: Function) -> Function:
        vars(check)["schema"] = schema
        return check

    return decorate


def _schema_of(check: Check | None) -> dict[str, Any]:
    return dict(getattr(check, "schema", {}))


def check_fields(thing: object, **checks: Check) -> None:
    """Replace fields of a (frozen) dataclass by what their checks return."""
    for name, check in checks.items():
        object.__setattr__(thing, name, check(name, getattr(thing, name)))


def shown(value: object) -> str:
    """The value for a message, shortened."""
    if isinstance(value, np.ndarray) and value.size > 1:
        return f"an array of shape {value.shape}"
    if isinstance(value, np.ndarray):
        return f"array({value.tolist()!r})"
    text = _REPR.repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 100
_REPR.maxlong = 40


def optional(check: Check) -> Check:
    """None, or what another check lets through."""

    @with_schema(**_schema_of(check))
    def apply(name: str, value: Any) -> Any:
        return None if value is None else check(name, value)

    return apply


def instance(*kinds: type, what: str = "") -> Check:
    """An object of one of some classes; `what` are other words for them."""
    what = what or " or ".join(f"a {kind.__name__}" for kind in kinds)

    def apply(name: str, value: Any) -> Any:
        if not isinstance(value, kinds):
            raise TypeError(f"`{name}` must be {what}, got {shown(value)}.")
        return value

    return apply


def has(value: object, attribute: str) -> bool:
    """Whether value has an attribute; some objects fail at looking for one."""
    try:
        return hasattr(value, attribute)
    except Exception:
        return False


def having(*attributes: str, what: str) -> Check:
    """An object, and no class, that has some attributes."""

    def apply(name: str, value: Any) -> Any:
        lacks = [each for each in attributes if not has(value, each)]
        if isinstance(value, type) or lacks:
            lack = f", which has no `{lacks[0]}`" if lacks else ""
            raise TypeError(f"`{name}` must be {what}, got {shown(value)}{lack}.")
        return value

    return apply


def is_function(value: object) -> bool:
    """Whether value can be called, and is no class."""
    return callable(value) and not isinstance(value, type)


def is_iterable(value: object) -> bool:
    """Whether value has entries, as a list; arrays of no axes have none."""
    has_axis = not isinstance(value, np.ndarray) or value.ndim > 0
    return isinstance(value, Iterable) and has_axis


def a_function(name: str, value: Any) -> Any:
    """Anything that can be called, but no class."""
    if not is_function(value):
        raise TypeError(f"`{name}` must be a function, got {shown(value)}.")
    return value


@with_schema(type="boolean")
def flag(name: str, value: Any) -> bool:
    """True or False, Python's or NumPy's."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be True or False, got {shown(value)}.")
    return bool(value)


@with_schema(type="string")
def text(name: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a text, got {shown(value)}.")
    return str(value)


@with_schema(type="string")
def a_path(name: str, value: Any) -> Path:
    """A path, "~" at its start standing for the user's folder."""
    return user_path(value, name)


def choice(*names: str) -> Check:
    """One of some names."""

    @with_schema(enum=list(names))
    def apply(name: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            kind = ValueError if isinstance(value, str) else TypeError
            raise kind(
                f"`{name}` must be one of {', '.join(names)}, got {shown(value)}."
                + did_you_mean(shown(value), names)
            )
        return str(value)

    return apply


@with_schema(type="object")
def mapping(name: str, value: Any) -> Any:
    """A dict or what is like it, with texts as keys."""
    if not isinstance(value, Mapping):
        raise TypeError(f"`{name}` must be a dict, got {shown(value)}.")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"`{name}` must have texts as keys, got {shown(key)}.")
    return value


def sequence(check: Check | None = None) -> Check:
    """A list or tuple, as a tuple, whose entries pass through a check."""

    @with_schema(type="array", items=_schema_of(check))
    def apply(name: str, value: Any) -> tuple[Any, ...]:
        is_array = isinstance(value, np.ndarray) and value.ndim == 1
        if not isinstance(value, list | tuple | range) and not is_array:
            raise TypeError(f"`{name}` must be a list, got {shown(value)}.")
        if check is None:
            return tuple(value)
        return tuple(check(name, each) for each in value)

    return apply


def integer(name: str, value: Any, minimum: int, most: int = LARGEST_COUNT) -> int:
    """Return `value` as an int; raise unless it is one from `minimum` to `most`."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"`{name}` must be an integer, got {value!r}.")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` must be an integer, got {shown(value)}.") from None
    if number < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {shown(number)}.")
    if number > most:
        raise ValueError(f"`{name}` must be at most {most}, got {shown(number)}.")
    return number


def whole(minimum: int, most: int = LARGEST_COUNT) -> Check:
    """An integer from `minimum` to `most`."""
    check = functools.partial(integer, minimum=minimum, most=most)
    return with_schema(type="integer", minimum=minimum, maximum=most)(check)


@with_schema(type="integer", minimum=0)
def seed_number(name: str, value: Any) -> int:
    """The seed of a generator of random numbers, from 0 to 2^64 - 1."""
    return integer(name, value, 0, 2**64 - 1)


def number(
    least: float = -np.inf,
    most: float = np.inf,
    *,
    above: float = -np.inf,
    below: float = np.inf,
) -> Check:
    """A finite real number within bounds, as a float."""
    low, high = max(least, above), min(most, below)
    if np.isfinite([low, high]).all():
        left, right = "[("[above == low], "])"[below == high]
        wanted = f"lie in {left}{low:g}, {high:g}{right}"
    else:
        bounds = {
            "at least": least,
            "above": above,
            "at most": most,
            "below": below,
        }
        named = [f"{word} {n:g}" for word, n in bounds.items() if np.isfinite(n)]
        wanted = ", ".join(["be finite", *named])

    words = ("minimum", least), ("maximum", most)
    words += ("exclusiveMinimum", above), ("exclusiveMaximum", below)
    bounds = {word: bound for word, bound in words if np.isfinite(bound)}

    @with_schema(type="number", **bounds)
    def apply(name: str, value: Any) -> float:
        found = a_float(name, value)
        # A NaN fails all comparisons.
        is_within = least <= found <= most and above < found < below
        if not (np.isfinite(found) and is_within):
            raise ValueError(f"`{name}` must {wanted}, got {shown(value)}.")
        return found

    return apply


def a_float(name: str, value: Any) -> float:
    """A real number as a float, finite or not."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not is_number(value):
        raise TypeError(f"`{name}` must be a number, got {shown(value)}.")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(
            f"`{name}` must be at most 1.8e308 in size, got {shown(value)}."
        ) from None


@with_schema(type="number", exclusiveMinimum=0)
def positive(name: str, value: Any) -> float:
    """A finite positive number, as a float."""
    found = a_float(name, value)
    if not 0.0 < found < np.inf:
        raise ValueError(f"`{name}` must be positive and finite, got {shown(value)}.")
    return found


def numbers(*shape: int | str, axes: Sequence[str] | None = None) -> Check:
    """An array of finite real numbers; a name in `shape` is any length from 1."""

    def apply(name: str, value: Any) -> NDArray[np.float64]:
        array = float_array(name, value, axes=axes)
        fits = array.ndim == len(shape) and all(
            size > 0 if isinstance(n, str) else n == size
            for n, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(map(str, shape))
            raise ValueError(
                f"`{name}` must have shape ({wanted}{',' * (len(shape) == 1)}) and "
                f"not be empty, got shape {array.shape}."
            )
        return array

    return apply


def index_array(name: str, value: Any) -> NDArray[np.int64]:
    """An array of integers, as a new one."""
    array = as_array(name, value)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(
            f"`{name}` must hold integers, got {type(value).__name__} of dtype "
            f"{array.dtype}."
        )
    return np.array(array, dtype=np.int64, order="C")


def check_size(name: str, *shape: float) -> None:
    """Raise ValueError if float64 numbers of this shape exceed the machine's memory."""
    n_bytes = 8.0
    for length in shape:
        n_bytes *= length
    if n_bytes > _machine_memory():
        raise ValueError(
            f"`{name}` would need {n_bytes / 2**30:.3g} GiB for one array, more than "
            "this machine has."
        )


@functools.cache
def _machine_memory() -> float:
    """Bytes of memory, or 64 GiB where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 64.0 * 2**30


def float_array(
    name: str,
    value: ArrayLike,
    *,
    axes: Sequence[str] | None = None,
    is_finite: bool = True,
) -> NDArray[np.float64]:
    """Return `value` as a new read-only, C-contiguous, finite float64 array.

    Parameters
    ----------
    name : str
        Name of the argument in error messages.
    value : array_like of real numbers
    axes : sequence of str, optional
        Names of the axes, used to say where the first bad entry stands.
    is_finite : bool
        Whether every entry must be finite.

    Returns
    -------
    array : ndarray, shape of `value`

    Raises
    ------
    TypeError
        If `value` does not hold real numbers.
    ValueError
        If `value` is ragged, or an entry is not finite.
    """
    given = as_array(name, value)
    if given.dtype.kind not in "fiu":
        raise TypeError(
            f"`{name}` must hold real numbers, got {type(value).__name__} of dtype "
            f"{given.dtype}."
        )
    array = np.array(given, dtype=np.float64, order="C")
    are_finite = np.isfinite(array)
    if is_finite and not are_finite.all():
        index = tuple(int(i) for i in np.argwhere(~are_finite)[0])
        raise ValueError(
            f"`{name}` must be finite, got {array[index]}{_place(index, axes)}."
        )
    array.setflags(write=False)
    return array


def as_array(name: str, value: Any) -> NDArray[Any]:
    """The value as an array of any type, which may share its memory."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"`{name}` must have no masked entries. Fill them in, or leave them out."
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a rectangular array of numbers, got rows of "
            "different lengths."
        ) from error
    except Exception as error:
        # Objects may make arrays of themselves, and fail.
        raise TypeError(
            f"`{name}` must be an array of numbers, got {type(value).__name__}."
        ) from error


def _place(index: tuple[int, ...], axes: Sequence[str] | None) -> str:
    """Words for the place of an entry, "" for a number."""
    if not index:
        return ""
    if axes is None or len(axes) != len(index):
        return f" at index {index}"
    named = zip(axes, index, strict=True)
    return " at " + ", ".join(f"{axis} {i}" for axis, i in named)


def is_number(value: object) -> bool:
    """Whether value is a real number, Python's or NumPy's, and no bool."""
    real = (int, float, np.integer, np.floating)
    return isinstance(value, real) and not isinstance(value, bool)


def check_positive(name: str, value: object) -> None:
    """Raise TypeError or ValueError unless value is a finite positive number."""
    positive(name, value)


def evenly_spaced(n: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the indices 0 to n - 1, evenly spread, both ends among them."""
    places = np.linspace(0, n - 1, min(n, most))
    return np.unique(places.round().astype(int))
