"""The arguments of a constructor: names, defaults, checks and help.

Everything is read from the constructor itself: its signature, the annotations (a plain
type, or `Annotated[float, positive]` with a check of `mfpde.arrays`), and the entries
of its numpydoc docstring, which are parsed only when somebody reads them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from mfpde.arrays import (
    Check,
    a_path,
    check_fields,
    choice,
    flag,
    mapping,
    number,
    optional,
    sequence,
    text,
    whole,
)

REQUIRED = inspect.Parameter.empty
"""The default of a field that has none."""


@dataclass(frozen=True)
class Field:
    """An argument of a constructor.

    Attributes
    ----------
    name : str
    default : object
        `REQUIRED` where there is none.
    check : callable or None
        From name and value to the value in its normal form, see `mfpde.arrays`.
    owner : object
        The class or function; its docstring has the help.
    text : str
        The help, where it does not stand in the docstring.
    """

    name: str
    default: Any
    check: Check | None
    owner: Any
    text: str = ""

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is REQUIRED

    @property
    def help(self) -> str:
        """First sentence of its entry in the docstring, parsed when it is needed."""
        return self.text or field_helps(self.owner).get(self.name, "")

    def checked(self, value: Any, name: str = "") -> Any:
        """The value in its normal form; `name` stands for it in error messages."""
        return value if self.check is None else self.check(name or self.name, value)

    @property
    def kind(self) -> str | None:
        """The kind of things that it holds, if it holds one."""
        return getattr(self.check, "kind", None)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of its plain values; things excepted."""
        return dict(getattr(self.check, "schema", {}))


@functools.cache
def fields_of(thing: Any) -> Mapping[str, Field]:
    """The arguments of a class or function by name, in order.

    Raises
    ------
    TypeError
        If it takes *args or **keywords, which have no names to describe.
    """
    if not callable(thing):
        return {}
    fields = {}
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"{getattr(thing, '__qualname__', thing)} must name its arguments to "
                f"be described, got `{parameter}`."
            )
        annotation = _resolved(thing, parameter.annotation)
        default = _default(thing, parameter)
        check = check_of(annotation)
        if annotation is REQUIRED and default is not REQUIRED and default is not None:
            check = check_of(type(default))
        fields[parameter.name] = Field(parameter.name, default, check, thing)
    return types.MappingProxyType(fields)


def _default(thing: Any, parameter: inspect.Parameter) -> Any:
    if dataclasses.is_dataclass(thing):
        for each in dataclasses.fields(thing):
            if each.name == parameter.name and callable(each.default_factory):
                return each.default_factory()
    return parameter.default


def _resolved(thing: Any, annotation: Any) -> Any:
    """What an annotation in quotes stands for; Any where that is not known."""
    if not isinstance(annotation, str):
        return annotation
    owners = thing.__mro__ if inspect.isclass(thing) else [thing]
    for owner in owners:
        namespace = vars(sys.modules.get(owner.__module__, typing))
        try:
            # As typing.get_type_hints does, but one by one.
            return eval(annotation, dict(namespace))
        except Exception:
            continue
    return Any


def check_of(annotation: Any) -> Check | None:
    """The check that an annotation stands for; None if there is none."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        checks = [each for each in inner[1:] if callable(each)]
        return checks[0] if checks else check_of(inner[0])
    if origin in (typing.Union, types.UnionType):
        others = [each for each in inner if each is not type(None)]
        check = check_of(others[0]) if len(others) == 1 else None
        return check and (optional(check) if len(others) < len(inner) else check)
    if origin is Literal:
        return choice(*inner)
    if origin in (list, tuple, Sequence):
        return sequence(check_of(inner[0]) if inner else None)
    if origin in (dict, Mapping):
        return mapping
    return _PLAIN_CHECKS.get(annotation) if isinstance(annotation, type) else None


_PLAIN_CHECKS: dict[Any, Check] = {
    bool: flag,
    int: whole(-(2**63), 2**63 - 1),
    float: number(),
    str: text,
    Path: a_path,
    list: sequence(),
    tuple: sequence(),
    dict: mapping,
}


def check(thing: Any) -> None:
    """Bring the fields of a (frozen) dataclass to their normal form, or raise."""
    fields = fields_of(type(thing)).values()
    check_fields(thing, **{f.name: f.check for f in fields if f.check is not None})


def summary(thing: Any) -> str:
    """First line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


@functools.cache
def field_helps(thing: Any) -> Mapping[str, str]:
    """First sentence of every entry under "Parameters" of a numpydoc docstring."""
    documents = [inspect.getdoc(thing) or ""]
    if inspect.isclass(thing):
        documents.append(inspect.getdoc(thing.__init__) or "")
    helps: dict[str, str] = {}
    for document in documents:
        _, _, section = document.partition("Parameters\n----------\n")
        section = re.split(r"\n[^\n]+\n---+\n", section)[0]
        for entry in re.split(r"\n(?=\S)", section):
            head, _, body = entry.partition("\n")
            sentence = re.split(r"(?<=[^.]{2}[.;])\s", " ".join(body.split()))[0]
            for name in head.partition(":")[0].split(","):
                helps.setdefault(name.strip(" *"), sentence.rstrip(".;"))
    return helps
