"""One description of every thing that a user can name: its own constructor.

Blocks, activations, losses, laws, steppers and so on (`KINDS`) stand in one registry.
The constructor of a class, its annotations and the entries of its docstring say what
its fields are, what they may hold, and what they mean (`mfpde.fields`). From that alone
follow its section of a configuration, its entry in a file, its rebuilding, its line in
a run summary, its part of the template of `mfpde init` and of the JSON schema.

How to describe a class (a function that makes a thing is described alike)::

    @register(kind="loss", name="huber")  # outermost, above @dataclass
    @dataclass(frozen=True)
    class Huber:  # its docstring has the numpydoc entry "delta : float" with a sentence
        delta: Annotated[float, positive] = 1.0  # type, check of mfpde.arrays, default

        def __post_init__(self) -> None:
            check(self)  # all fields, by their annotations

- The instance keeps every argument under its own name; a class that does not defines
  `arguments()`, which returns them as a dict.
- A plain annotation checks, too: bool, int, float, str, Literal["a", "b"], list[float],
  X | None. `Annotated[Any, OfKind("schedule")]` is a field that holds another thing: an
  object, its name, or a table of kind and fields.
- `described(thing)` gives plain values (a name, or a dict of kind and fields), and
  `rebuilt("loss", values)` the thing again; `make("loss", "huber", delta=2.0)` makes
  one from its arguments.
- Properties of things stand on the class (`is_adaptive = True`) and are read from
  `thing_of("stepper", "rkc2")`; there are no lists of names elsewhere.

Things from outside come in through `mfpde.register`, which recognises their kind by
their methods. The description of such a thing also names its module, so that a reader
without it can say what to import.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from mfpde.arrays import (
    choice,
    has,
    mapping,
    shown,
)
from mfpde.errors import did_you_mean
from mfpde.fields import REQUIRED, fields_of
from mfpde.plugins import load_outside

Thing = TypeVar("Thing")
MODULE = "module"
"""Key of a description: the module of a thing that is not ours."""
OWN = "own "
"""Begins the kind of a thing that is in no registry, and cannot be rebuilt."""


@dataclass(frozen=True)
class Kind:
    """A kind of things.

    Attributes
    ----------
    name : str
    parts : tuple of str
        Methods by which a class is known to be of this kind.
    modules : tuple of str
        Where the built-in ones are.
    given : tuple of str
        Arguments that a run supplies where a configuration leaves them out.
    """

    name: str
    parts: tuple[str, ...]
    modules: tuple[str, ...]
    given: tuple[str, ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        Kind("activation", ("value", "derivative"), ("mfpde.blocks",)),
        Kind("block", ("kernels",), ("mfpde.blocks",), ("d",)),
        Kind("loss", ("values", "gradients"), ("mfpde.losses",)),
        Kind("regulariser", ("strength", "rate"), ("mfpde.losses",)),
        Kind("linear map", (), ("mfpde.readouts",), ("n_rows", "n_columns")),
        Kind("law", ("paths",), ("mfpde.laws",), ("n_params",)),
        Kind("depth scheme", (), ("mfpde.depth",)),
        Kind("residual scale", (), ("mfpde.scales",)),
        Kind("stepper", ("step",), ("mfpde.steppers",)),
        Kind("optimiser", ("update",), ("mfpde.networks",)),
        Kind("schedule", ("factor",), ("mfpde.networks",)),
        Kind("output schedule", ("times", "is_due"), ("mfpde.schedules",)),
        Kind("observer", (), ("mfpde.run.observers",)),
        Kind("data source", (), ("mfpde.data",)),
        Kind("study", ("tasks", "measure", "analyse"), ()),
    )
}
_THINGS: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}


class OfKind:
    """Check of a field that holds a thing: an object, its name, or a table."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, name: str, value: Any) -> Any:
        """The thing itself, made where it is only named."""
        if isinstance(value, str | Mapping):
            return rebuilt(self.kind, value, name=name)
        lacks = [part for part in KINDS[self.kind].parts if not has(value, part)]
        if isinstance(value, type) or lacks:
            lack = f", which has no `{lacks[0]}`" if lacks else ""
            raise TypeError(
                f"`{name}` must be {with_article(self.kind)} or its name, got "
                f"{shown(value)}{lack}."
            )
        return value


# Registering -----------------------------------------------------------------


@overload
def register(
    thing: Thing, *, kind: str | None = None, name: str | None = None
) -> Thing: ...


@overload
def register(
    *, kind: str | None = None, name: str | None = None
) -> Callable[[Thing], Thing]: ...


def register(
    thing: Any = None, *, kind: str | None = None, name: str | None = None
) -> Any:
    """Make a thing known by its name, wherever built-in ones are: also a decorator.

    Parameters
    ----------
    thing : Activation, class or function
        A class of one of the kinds (a block, loss, regulariser, law, stepper,
        optimiser, schedule, residual scale, observer, study, ...), or a function: an
        observer of an evaluation, a residual scale of n layers, a data source. The
        arguments of its constructor, with their annotations, defaults and docstring,
        are its keys in a configuration and its entry in files.
    kind : str, optional
        Where the methods do not tell; one of `mfpde.describe.KINDS`.
    name : str, optional
        Default: the attribute `name` of the thing, or the name of the class in lower
        case with underscores.

    Returns
    -------
    thing : object
        As it was given.

    Raises
    ------
    TypeError
        If the thing is of no kind, or its arguments cannot be described.
    ValueError
        If another thing of that kind has the name already. The same thing may be
        registered again.
    """
    if thing is None:
        return functools.partial(register, kind=kind, name=name)
    if kind is None:
        kind = _kind_of(thing)
    elif kind not in KINDS:
        choice(*KINDS)("kind", kind)
    name = _name_of(thing) if name is None else name
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
        raise ValueError(
            f"`name` of {with_article(kind)} must be letters, digits and underscores, "
            f"got {shown(name)}."
        )
    if not _is_ours(thing):
        _load(kind)
    taken = _THINGS[kind].get(name)
    if taken is not None and not _is_same(taken, thing):
        raise ValueError(
            f"The name {name!r} of {with_article(kind)} is taken already, by "
            f"{_place(taken)}. Give {_place(thing)} another `name`."
        )
    if callable(thing) and (inspect.isclass(thing) or inspect.isfunction(thing)):
        fields_of(thing)
    _THINGS[kind][name] = thing
    return thing


def _kind_of(thing: Any) -> str:
    """The kind of a class, by its methods, of a function, by its arguments."""
    if not inspect.isclass(thing) and not inspect.isroutine(thing):
        if all(has(thing, part) for part in KINDS["activation"].parts):
            return "activation"
        for kind, described_kind in KINDS.items():
            parts = described_kind.parts
            if parts and all(has(thing, part) for part in parts):
                raise TypeError(
                    f"`thing` must be the class of {with_article(kind)}, got an object "
                    f"of it, {shown(thing)}. Register {type(thing).__name__} itself."
                )
    elif inspect.isclass(thing):
        for kind, described_kind in KINDS.items():
            parts = described_kind.parts
            if parts and all(has(thing, p) or _annotated(thing, p) for p in parts):
                return kind
    function = _call_of(thing) if inspect.isclass(thing) else thing
    if inspect.isfunction(function):
        return _kind_of_function(function, is_method=function is not thing)
    kinds = ", ".join(KINDS)
    raise TypeError(
        f"`thing` must be an Activation or a class of one of the kinds {kinds}, got "
        f"{shown(thing)}. Its methods tell the kind (a loss has `values` and "
        "`gradients`); or say it with `kind`."
    )


def _kind_of_function(function: Any, *, is_method: bool) -> str:
    parameters = list(inspect.signature(function).parameters.values())[is_method:]
    required = [p for p in parameters if p.default is REQUIRED]
    if len(required) != 1 or required[0].name in ("n_samples", "path"):
        return "data source"
    is_count = required[0].annotation in (int, "int")
    return "residual scale" if is_count or required[0].name[0] in "nL" else "observer"


def _call_of(thing: type) -> Any:
    """The method `__call__` of the objects of a class, or None."""
    return next(
        (vars(c)["__call__"] for c in thing.__mro__ if "__call__" in vars(c)), 0
    )


def _annotated(thing: type, name: str) -> bool:
    return any(name in vars(each).get("__annotations__", {}) for each in thing.__mro__)


def _name_of(thing: Any) -> str:
    name = getattr(thing, "name", None)
    if isinstance(name, str) and name:
        return name
    words = re.sub(
        r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", _title(thing)
    )
    return words.lower()


def _title(thing: Any) -> str:
    return getattr(thing, "__name__", type(thing).__name__)


def _place(thing: Any) -> str:
    return f"{module_of(thing)}.{getattr(thing, '__qualname__', _title(thing))}"


def module_of(thing: Any) -> str:
    """The module in which a thing was defined."""
    function = getattr(thing, "value", thing)  # of an activation
    return getattr(thing, "__module__", None) or getattr(function, "__module__", "")


def _is_ours(thing: Any) -> bool:
    if not inspect.isclass(thing) and has(thing, "value"):
        return module_of(thing.value).startswith("mfpde.")
    return module_of(thing).startswith("mfpde.")


def _is_same(one: Any, other: Any) -> bool:
    """Whether two things are one: also one that was defined again by the same code.

    A program that starts worker processes, or imports its own file, runs the same code
    as `__main__`, `__mp_main__` and under its name.
    """
    if one is other:
        return True
    if getattr(one, "__qualname__", None) != getattr(other, "__qualname__", None):
        return False
    if _code(one) is not None and _code(one) == _code(other):
        return True
    main = sys.modules.get("__main__")
    is_typed = module_of(one) == "__main__" and not hasattr(main, "__file__")
    return is_typed and _place(one) == _place(other)


def _code(thing: Any) -> tuple[str, int] | None:
    """File and line of (the first method of) a thing."""
    function = getattr(thing, "value", thing)
    parts = vars(thing).values() if inspect.isclass(thing) else [function]
    codes = [getattr(part, "__code__", None) for part in parts]
    lines = [(c.co_filename, c.co_firstlineno) for c in codes if c is not None]
    ours = [line for line in lines if not line[0].startswith("<")]
    return min(ours) if ours else None


# Looking up ------------------------------------------------------------------


@functools.cache
def _load(kind: str) -> None:
    """Import the modules of the built-in things of a kind."""
    for module in KINDS[kind].modules:
        importlib.import_module(module)


def names(kind: str) -> tuple[str, ...]:
    """Names of all things of a kind, the built-in ones first."""
    _load(kind)
    load_outside()
    return tuple(_THINGS[kind])


def thing_of(kind: str, name: Any, *, argument: str = "kind") -> Any:
    """The class, function or activation of a name.

    Raises
    ------
    TypeError, ValueError
        If there is no such thing; with the nearest name.
    """
    _load(kind)
    things = _THINGS[kind]
    if not isinstance(name, str) or name not in things:
        load_outside()
    if isinstance(name, str) and name in things:
        return things[name]
    if not isinstance(name, str):
        raise TypeError(
            f"`{argument}` must be the name of {with_article(kind)}, got {shown(name)}."
        )
    hint = did_you_mean(name, things)
    raise ValueError(
        f"`{argument}` must be one of {', '.join(things)}, got {name!r}."
        + (hint or f" For {with_article(kind)} of your own, --import its module.")
    )


def is_built_in(thing: Any) -> bool:
    """Whether an object is of a registered class of ours, all its things included."""
    kind = type(thing)
    if name_of(kind) is None or not _is_ours(kind):
        return False
    values = [getattr(thing, n, None) for n, f in fields_of(kind).items() if f.kind]
    return all(each is None or is_built_in(each) for each in values)


def name_of(thing: Any) -> tuple[str, str] | None:
    """Kind and name of a registered class, function or activation."""
    for kind, things in _THINGS.items():
        for name, each in things.items():
            if each is thing:
                return kind, name
    return None


def with_article(kind: str) -> str:
    """'a loss', 'an optimiser'."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def phrase(description: Any) -> str:
    """A description in words, for a line of a summary: 'huber (delta = 2)'."""
    if not isinstance(description, Mapping):
        return str(description)
    kind = description.get("kind", "")
    values = {n: v for n, v in description.items() if n not in ("kind", MODULE)}
    inner = ", ".join(f"{n} = {_short(v)}" for n, v in values.items() if v is not None)
    return f"{kind} ({inner})" if inner else str(kind)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return phrase(value)
    if isinstance(value, float):
        return f"{value:g}"
    return shown(value) if isinstance(value, list) else str(value)


# From things to plain values and back ----------------------------------------


def described(thing: Any) -> Any:
    """Plain values from which `rebuilt` makes the thing again.

    Returns
    -------
    description : str, dict or None
        The name of a thing without fields, else a dict of its kind and its fields, and
        of its module if it is not ours. What is registered nowhere has the kind
        "own NAME", and what its method `describe()`, if any, returns beside it.
    """
    if thing is None:
        return None
    is_instance = name_of(thing) is None
    registered = type(thing) if is_instance else thing
    found = name_of(registered)
    if found is None:
        return _own(thing)
    table: dict[str, Any] = {"kind": found[1]}
    if is_instance:
        table |= {n: plain(n, value) for n, value in _arguments(thing).items()}
    if not _is_ours(registered):
        table[MODULE] = module_of(registered)
    return found[1] if len(table) == 1 else table


def _arguments(thing: Any) -> dict[str, Any]:
    if has(thing, "arguments"):
        return dict(thing.arguments())
    fields = fields_of(type(thing))
    missing = [name for name in fields if not has(thing, name)]
    if missing:
        raise TypeError(
            f"{type(thing).__name__} must keep its argument `{missing[0]}` as an "
            "attribute to be described in a file; or define `arguments()`."
        )
    return {name: getattr(thing, name) for name in fields}


def _own(thing: Any) -> dict[str, Any]:
    table = dict(thing.describe()) if callable(getattr(thing, "describe", None)) else {}
    return table | {"kind": f"{OWN}{type(thing).__name__}"}


def is_described(description: Any) -> bool:
    """Whether `rebuilt` can make a thing of a description: no part is "own"."""
    if isinstance(description, Mapping):
        kind = str(description.get("kind", ""))
        inner = description.values()
        return not kind.startswith(OWN) and all(map(is_described, inner))
    if isinstance(description, list | tuple):
        return all(map(is_described, description))
    return True


def plain(name: str, value: Any) -> Any:
    """A value as JSON and TOML have it.

    Raises
    ------
    TypeError
        For a function, and whatever else has no such form.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(name, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(name, each) for each in value]
    if name_of(type(value)) or name_of(value) or has(value, "describe"):
        return described(value)
    if inspect.isroutine(value):
        raise TypeError(
            f"`{name}` is a function, which a file cannot hold; use numbers, names or "
            "registered things for what is to be described."
        )
    return _own(value)


def rebuilt(kind: str, description: Any, *, name: str = "kind", **given: Any) -> Any:
    """The thing of a description, of a name, or of a table of a configuration.

    Parameters
    ----------
    kind : str
    description : str, dict or None
        As `described` returns it.
    name : str
        What the value is called in error messages.
    **given : object
        Arguments beside those of the description.

    Raises
    ------
    TypeError, ValueError
        If the description names something unknown, or a value is refused.
    """
    if description is None:
        return None
    if isinstance(description, str):
        thing = thing_of(kind, description, argument=name)
        return thing if kind == "activation" else _made(kind, description, thing, given)
    table = dict(mapping(name, description))
    if "kind" not in table:
        raise ValueError(f"`{name}` must say its `kind`, got {shown(description)}.")
    title, module = table.pop("kind"), table.pop(MODULE, None)
    if isinstance(title, str) and title.startswith(OWN):
        raise ValueError(
            f"The {kind} {title.removeprefix(OWN)} is the user's own and was not "
            "registered: pass the problem, or the object, again."
        )
    thing = known_thing(kind, title, module, argument=name)
    if kind == "activation":
        return thing
    return _made(kind, title, thing, table | given)


def known_thing(kind: str, name: Any, module: str | None, *, argument: str) -> Any:
    """`thing_of`, with a sentence on the module of a thing that is not imported."""
    try:
        return thing_of(kind, name, argument=argument)
    except ValueError:
        if module is None:
            raise
        raise ValueError(missing_module(kind, name, module)) from None


def missing_module(kind: str, name: str, module: str) -> str:
    """The sentence on a thing that comes from a module that is not imported."""
    return (
        f"The {kind} {name!r} comes from the module {module}: import it first, on the "
        f"command line with --import {module}."
    )


def make(kind: str, name: str, **arguments: Any) -> Any:
    """Make the thing of a name from checked arguments."""
    return _made(kind, name, thing_of(kind, name), arguments)


def _made(kind: str, name: str, thing: Any, arguments: Mapping[str, Any]) -> Any:
    fields = fields_of(thing)
    for key in arguments:
        if key not in fields:
            known = ", ".join(fields) or "none"
            raise ValueError(
                f"`{key}` is not an argument of the {kind} {name!r}, which has {known}."
                + did_you_mean(key, fields)
            )
    for key, field in fields.items():
        if field.is_required and key not in arguments:
            raise ValueError(f"The {kind} {name!r} needs a value for `{key}`.")
    return thing(
        **{key: fields[key].checked(value) for key, value in arguments.items()}
    )
