"""Options of a call, each declared once: type, default, check and help.

The options of a function are the entries of a TypedDict,

    class Waiting(TypedDict, total=False):
        \"\"\"Options of a wait.

Attributes
----------
        wall_time_s : float, optional
            Seconds.
        \"\"\"

        wall_time_s: Annotated[float | None, Option(None, positive)]

and a function that is decorated with `accepting(Waiting)` and takes `**options:
Unpack[Waiting]` gets all of them, checked. Type checkers and editors know the names
and types from the TypedDict; `inspect.signature` and `help` show defaults and help.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    TypeVar,
    cast,
    get_type_hints,
    is_typeddict,
)

from mfpde.arrays import Check, optional
from mfpde.errors import did_you_mean

__all__ = ["Option", "accepting", "options_of"]

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """Default, check and help of an option.

    Attributes
    ----------
    default : object
        Not checked. Where it is None, None can be given, too.
    check : callable or None
        As in `mfpde.arrays`; None if the function that uses the option checks it.
    type : object
        Of the values.
    kind, help : str
        Type in words, and help, from the docstring of the TypedDict.
    """

    default: Any
    check: Check | None = None
    type: Any = None
    kind: str = ""
    help: str = ""

    @property
    def annotation(self) -> Any:
        """The type with the check, None included."""
        if self.check is None:
            return self.type
        check = optional(self.check) if self.default is None else self.check
        return Annotated[self.type, check]

    def checked(self, name: str, value: Any) -> Any:
        """The value, as the check returns it."""
        if self.check is None or (value is None and self.default is None):
            return value
        return self.check(name, value)


@functools.cache
def options_of(kind: Any) -> dict[str, Option]:
    """The options that a TypedDict declares, by name, those of its bases first."""
    # A TypedDict does not keep its bases; they are known where it is defined.
    known = vars(sys.modules[kind.__module__]).values()
    texts: dict[str, tuple[str, str]] = {}
    for group in (kind, *filter(is_typeddict, known)):
        for name, text in _described(inspect.getdoc(group) or "").items():
            declared = group.__annotations__.get(name)
            if declared == kind.__annotations__.get(name):
                texts.setdefault(name, text)
    options = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        words, help_ = texts[name]
        options[name] = dataclasses.replace(
            hint.__metadata__[0], type=hint.__origin__, kind=words, help=help_
        )
    return options


def _described(docstring: str) -> dict[str, tuple[str, str]]:
    """Type and help of every entry of a section "Attributes"."""
    found: dict[str, tuple[str, str]] = {}
    names, words, text = [], "", ""
    for line in docstring.partition("----------\n")[2].splitlines():
        if line.startswith(" "):
            text = f"{text} {line.strip()}".strip()
        elif line:
            head, _, words = line.partition(" : ")
            names, text = head.split(", "), ""
        found |= dict.fromkeys(names, (words, text))
    return found


def accepting(kind: type) -> Callable[[Function], Function]:
    """A decorator: the keywords `**options` of a function are those of a TypedDict.

    The function gets all of them, with their defaults. Other keywords raise TypeError.
    """

    def decorate(function: Function) -> Function:
        declared = options_of(kind)
        parameters = inspect.signature(function).parameters.values()
        own = [each for each in parameters if each.kind is not each.VAR_KEYWORD]
        names = [each.name for each in own]

        @functools.wraps(function)
        def call(*arguments: Any, **given: Any) -> Any:
            options = {name: option.default for name, option in declared.items()}
            for name, value in given.items():
                if name in declared:
                    options[name] = declared[name].checked(name, value)
                elif name not in names:
                    known = [*names, *declared]
                    raise TypeError(
                        f"{function.__name__}() has no argument `{name}`."
                        + did_you_mean(name, known)
                    )
            given = {name: given[name] for name in given if name not in declared}
            return function(*arguments, **given, **options)

        keyword = inspect.Parameter.KEYWORD_ONLY
        added = [
            inspect.Parameter(
                name, keyword, default=option.default, annotation=option.annotation
            )
            for name, option in declared.items()
        ]
        cast(Any, call).__signature__ = inspect.Signature([*own, *added])
        call.__doc__ = _documented(inspect.getdoc(function) or "", declared)
        return cast("Function", call)

    return decorate


def _documented(text: str, declared: dict[str, Option]) -> str:
    """A docstring with the entries of the options in place of that of **options."""
    lines: list[str] = []
    for name, option in declared.items():
        lines.append(f"{name} : {option.kind}, default {option.default!r}")
        lines += textwrap.wrap(
            option.help, 84, initial_indent="    ", subsequent_indent="    "
        )
    before, _, after = text.partition("**options\n")
    entries = "\n".join(lines)
    _, _, rest = after.partition("\n\n")
    return f"{before}{entries}\n\n{rest}"
