"""Values that only a configuration knows: by parameter group, lists of observers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from mfpde.arrays import Check, number, sequence, shown, text, with_schema
from mfpde.describe import names, thing_of
from mfpde.errors import nearest

_NUMBER = number()
_NUMBERS = {"type": "array", "items": {"type": "number"}}


class Values(dict[str, Any]):
    """A section that was read: its values by key, also as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The section has no key {name!r}.") from None


@with_schema(
    anyOf=[
        {"type": "number"},
        _NUMBERS,
        {"type": "array", "items": _NUMBERS},
        {"type": "object", "additionalProperties": {"type": "number"}},
    ]
)
def by_group(name: str, value: Any) -> Any:
    """A number, a list of them, or a table with one per parameter group."""
    if isinstance(value, list):
        return [by_group(name, each) for each in value]
    if isinstance(value, Mapping) and value:
        return {key: _NUMBER(f"{name}.{key}", each) for key, each in value.items()}
    if isinstance(value, bool | str | Mapping):
        raise TypeError(
            f"`{name}` must be a number, a table such as {{ u = 1.0, v = 0.5 }} with "
            "one per parameter group, or a list with one per parameter, got "
            f"{shown(value)}."
        )
    return _NUMBER(name, value)


def one_or_each(check: Check) -> Check:
    """One value, or a list of them, each of which passes a check."""
    schema = getattr(check, "schema", {})

    @with_schema(anyOf=[schema, {"type": "array", "items": schema}])
    def apply(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [check(name, each) for each in value]
        return check(name, value)

    return apply


def not_empty(check: Check | None) -> Check:
    """A list with one entry or more, each of which passes a check."""
    entries = sequence(check)

    def apply(name: str, value: Any) -> tuple[Any, ...]:
        found = entries(name, value)
        if not found:
            raise ValueError(f"`{name}` must have one entry or more, got none.")
        return found

    return apply


@with_schema(type="array", items={"type": "string"})
def observer_names(name: str, value: Any) -> list[str]:
    """Names of observers."""
    if not isinstance(value, list):
        raise TypeError(
            f"`{name}` must be a list of names out of {', '.join(names('observer'))}, "
            f"got {shown(value)}."
        )
    for each in value:
        thing_of("observer", text(name, each), argument=name)
    return value


def meant(name: str, known: Iterable[str], paths: Iterable[str] = ()) -> str:
    """The end of a sentence on an unknown key: what was meant, or what there is."""
    known = list(known)
    if near := nearest(name, known):
        return f'; did you mean "{near}"?'
    elsewhere = {path.rpartition(".")[2]: path for path in paths}
    close = difflib.get_close_matches(name, sorted(elsewhere), n=1, cutoff=0.75)
    if close:
        return f"; did you mean `{elsewhere[close[0]]}`?"
    return f", which has {', '.join(known) or 'no keys'}."


def is_unicode(value: str) -> bool:
    """Whether a text can be written: no NUL, and no half of a surrogate pair."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
