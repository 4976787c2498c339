"""Declaring keys: the fields of the section dataclasses carry their own checks.

A section is a frozen dataclass. The metadata of a field say that it is a `Key`, whose
default is the field's, or `Variants`, a section whose keys depend on one of them; a
field that is made by another dataclass is a section within. From these declarations
alone come the checking (`validation`), the resolved TOML text and the template of
`mfpde init` (`template`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mfpde.config.checks import Check, Choice


@dataclass(frozen=True)
class Key:
    """One key of a section.

    Attributes
    ----------
    check : Check
        What the value must be.
    text : str
        One line for the template.
    when : tuple of (str, tuple of str), or None
        The key has a meaning only if that other key of the section has one of
        these values, for example ("scheme", ("gauss",)).
    example : Any
        Shown in the template where there is no default.
    is_required : bool
        Whether the key has to be given where it has a meaning.
    default : Any
        `None` means absent. Set by `keys_of` from the field.
    """

    check: Check
    text: str
    when: tuple[str, tuple[str, ...]] | None = None
    example: Any = None
    is_required: bool = False
    default: Any = None

    def is_active(self, values: dict[str, Any]) -> bool:
        """Return whether the key has a meaning beside the other `values`."""
        return self.when is None or values.get(self.when[0]) in self.when[1]


@dataclass(frozen=True)
class Variants:
    """A section whose keys depend on one of them; its value is a plain table.

    Attributes
    ----------
    text : str
        One line for the template.
    selector : str
        The key that selects; it has to be given.
    keys : dict of str to dict of str to Key
        The other keys for each value of the selector.
    """

    text: str
    selector: str
    keys: dict[str, dict[str, Key]]

    def keys_for(self, choice: str) -> dict[str, Key]:
        """Return all keys, the selector first, for one value of the selector."""
        names = Choice(tuple(self.keys))
        selector = Key(names, "where from", example=choice, is_required=True)
        return {self.selector: selector, **self.keys.get(choice, {})}


def key(
    check: Check,
    text: str,
    *,
    when: tuple[str, tuple[str, ...]] | None = None,
    example: Any = None,
    is_required: bool = False,
) -> dict[str, Key]:
    """Return the metadata of a field that is a key; see `Key` for the arguments."""
    return {"key": Key(check, text, when, example, is_required)}


def variants(
    text: str, selector: str, keys: dict[str, dict[str, Key]]
) -> dict[str, Variants]:
    """Return the metadata of a field that is a section with variants."""
    return {"variants": Variants(text, selector, keys)}


def keys_of(kind: type) -> dict[str, Key]:
    """Return the keys of a section by name, in order."""
    return {
        field.name: dataclasses.replace(field.metadata["key"], default=_default(field))
        for field in dataclasses.fields(kind)
        if "key" in field.metadata
    }


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def variants_of(kind: type) -> dict[str, Variants]:
    """Return the sections with variants within a section by name, in order."""
    fields = dataclasses.fields(kind)
    return {f.name: f.metadata["variants"] for f in fields if "variants" in f.metadata}


def sections_of(kind: type) -> dict[str, type]:
    """Return the sections within a section by name, in order."""
    factories = {f.name: f.default_factory for f in dataclasses.fields(kind)}
    return {n: make for n, make in factories.items() if dataclasses.is_dataclass(make)}


def all_paths(kind: type, path: str = "") -> Iterator[str]:
    """Yield the full path of every key and section below a section."""
    for name in keys_of(kind):
        yield f"{path}{name}"
    for name, declared in variants_of(kind).items():
        yield f"{path}{name}"
        names = {name for keys in declared.keys.values() for name in keys}
        for inner_name in (declared.selector, *sorted(names)):
            yield f"{path}{name}.{inner_name}"
    for name, inner in sections_of(kind).items():
        yield f"{path}{name}"
        yield from all_paths(inner, f"{path}{name}.")


def as_table(values: Any) -> dict[str, Any]:
    """Return a section as a plain table, absent keys left out."""
    kind = type(values)
    names = [*keys_of(kind), *variants_of(kind)]
    table = {name: getattr(values, name) for name in names}
    table = {name: value for name, value in table.items() if value is not None}
    for name in sections_of(kind):
        table[name] = as_table(getattr(values, name))
    return table
