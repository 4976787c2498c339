"""Sources of data, described by the functions that read or make samples.

A source is a function that returns raw samples x (N, d) with labels (N,) or targets
(N, q), or a `Table`. Its arguments, annotations, defaults and docstring are the keys of
its ``[data]`` table. A function of the user's own is registered by
`mfpde.register(function, kind="data source")`; `source` also says what its targets are.
"""

from __future__ import annotations

import contextlib
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from mfpde.arrays import (
    Check,
    choice,
    flag,
    number,
    optional,
    sequence,
    shown,
    text,
    whole,
    with_schema,
)
from mfpde.describe import register
from mfpde.fields import REQUIRED, field_helps

Function = TypeVar("Function", bound=Callable[..., Any])


def source(
    name: str,
    *,
    task: str | None = None,
    image_width: int | None = None,
    like: Callable[..., Any] | None = None,
) -> Callable[[Function], Function]:
    """A decorator: a function is the source of data of that name.

    Parameters
    ----------
    name : str
    task : {"classification", "regression"}, optional
        What its targets are; None if they can be either, as those of a file.
    image_width : int, optional
        Pixels in a row, if the samples are images of digits.
    like : callable, optional
        A function whose docstring describes arguments that this one does not.
    """

    def decorate(function: Function) -> Function:
        properties: Any = function
        properties.task, properties.image_width = task, image_width
        properties.like = like
        return register(function, kind="data source", name=name)

    return decorate


class Option(NamedTuple):
    """A key of the table: its default, what it means, its kind and its choices.

    The default None means that the key is absent; `REQUIRED` that it must be given.
    """

    default: Any
    description: str
    kind: str
    choices: tuple[str, ...] = ()
    is_path: bool = False

    @property
    def is_required(self) -> bool:
        """Whether the key must be given."""
        return self.default is REQUIRED


_WORDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The keys that the arguments of a function make, those with plain values."""
    hints, options = typing.get_type_hints(function), {}
    helps = dict(field_helps(function))
    if like := getattr(function, "like", None):
        helps = field_helps(like) | helps
    for name, parameter in inspect.signature(function).parameters.items():
        found = _kind_of(hints.get(name, type(parameter.default)))
        if found is not None:
            kind, choices, is_path = found
            text = helps.get(name, "")
            text = text[:1].lower() + text[1:]
            options[name] = Option(parameter.default, text, kind, choices, is_path)
    return options


def _kind_of(annotation: Any) -> tuple[str, tuple[str, ...], bool] | None:
    """Word for a plain type, its choices, and whether it is a path; or None."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "string", inner, False
    if annotation in _WORDS:
        return _WORDS[annotation], (), False
    if annotation is Path:
        return "string", (), True
    if origin in (tuple, list, Sequence):
        entry = _kind_of(inner[0])
        return None if entry is None else (f"list of {entry[0]}s", (), False)
    if origin in (typing.Union, types.UnionType):
        found = [_kind_of(each) for each in inner]
        kinds = [each for each in found if each is not None]
        if not kinds:
            return None
        words = dict.fromkeys(kind for kind, _, _ in kinds)
        choices = tuple(name for _, names, _ in kinds for name in names)
        return " or ".join(words), choices, any(is_path for *_, is_path in kinds)
    return None


_CHECKS: dict[str, Check] = {
    "boolean": flag,
    "integer": whole(-(2**63), 2**63 - 1),
    "number": number(),
    "string": text,
}


def check_of(option: Option) -> Check:
    """The check of a key; None is its absence."""
    if option.choices:
        return optional(choice(*option.choices))
    checks = [_check_of_word(word) for word in option.kind.split(" or ")]
    return optional(checks[0] if len(checks) == 1 else _either(option.kind, checks))


def _check_of_word(word: str) -> Check:
    if word.startswith("list of "):
        return sequence(_CHECKS[word.removeprefix("list of ").removesuffix("s")])
    return _CHECKS[word]


def _either(words: str, checks: list[Check]) -> Check:
    schemas = [dict(getattr(check, "schema", {})) for check in checks]

    @with_schema(anyOf=schemas)
    def apply(name: str, value: Any) -> Any:
        for check in checks:
            with contextlib.suppress(TypeError, ValueError):
                return check(name, value)
        raise TypeError(f"`{name}` must be a {words}, got {shown(value)}.")

    return apply
