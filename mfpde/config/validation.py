"""Checking a configuration: every problem at once, each in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mfpde.config.checks import suggest
from mfpde.config.keys import (
    Key,
    Variants,
    all_paths,
    as_table,
    keys_of,
    sections_of,
    variants_of,
)
from mfpde.config.networks import REPLACED, NetworkConfiguration
from mfpde.config.rules import RULES
from mfpde.config.schema import Configuration, Described
from mfpde.config.toml import (
    inline_toml,
    parse_value,
    read_toml,
    set_key,
    write_toml,
)
from mfpde.errors import ConfigurationError

SHOWN_LENGTH = 60
"""Characters of a wrong value that a message shows."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Described:
    """Read and check a TOML file; see `parse`.

    Parameters
    ----------
    path : path
    overrides : sequence of str
        "dotted.key=value", as given to `--set`; the value is TOML, a bare word is
        a string, and no value takes the key away.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigurationError
        If the file is not TOML or has problems; all of them are listed.
    """
    table = read_toml(path)
    problems = list(apply_overrides(table, overrides))
    return parse(table, problems)


def parse(table: Mapping[str, Any], problems: Sequence[str] = ()) -> Described:
    """Check a configuration given as a plain table.

    With a table [network] or [training] it is a `NetworkConfiguration`, in which these
    two take the places of [grid], [ensemble] and [flow]; else a `Configuration`.

    Parameters
    ----------
    table : mapping
        As `tomllib` returns it; it is not changed.
    problems : sequence of str
        Sentences on problems already known, to be reported along.

    Raises
    ------
    ConfigurationError
        If there is any problem; all of them are listed.
    """
    is_network = not {"network", "training"}.isdisjoint(table)
    kind = NetworkConfiguration if is_network else Configuration
    reader = _Reader(list(problems), kind)
    config = reader.section(kind, table, "")
    known = set(all_paths(kind))
    for rule in RULES:
        if known.issuperset(rule.keys) and not reader.bad.intersection(rule.keys):
            reader.found += rule.check(config)
    if reader.found:
        raise ConfigurationError(reader.found)
    return config


def resolved_toml(config: Described) -> str:
    """Return the configuration with its defaults filled in, as TOML text."""
    return write_toml(as_table(config))


def apply_overrides(table: dict[str, Any], overrides: Sequence[str]) -> Iterator[str]:
    """Set each "key=value" in `table`; yield a sentence for each that cannot be."""
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals:
            yield f'--set takes KEY=VALUE such as flow.s_end=5, got "{text}".'
            continue
        try:
            # An empty value takes a key away that the file has set.
            given = parse_value(value.strip()) if value.strip() else None
            set_key(table, path.strip(), given)
        except ValueError as error:
            yield str(error)


class _Reader:
    """Walks through a table and collects what is wrong with it.

    Attributes
    ----------
    found : list of str
        A sentence for each problem.
    bad : set of str
        Full paths of the keys they concern; the default stands in for each.
    kind : type
        The configuration as a whole.
    """

    def __init__(self, found: list[str], kind: type) -> None:
        self.found = found
        self.kind = kind
        self.bad: set[str] = set()

    def section(self, kind: type, table: Any, path: str) -> Any:
        """Return the section `kind` filled from `table`."""
        table = self._table(table, path, all_paths(kind, path)) or {}
        keys, sections, choices = keys_of(kind), sections_of(kind), variants_of(kind)
        self._refuse_unknown(table, path, [*keys, *choices, *sections])
        values = self._keys(keys, table, path)
        for name, declared in choices.items():
            values[name] = self._variants(
                declared, table.get(name, {}), f"{path}{name}"
            )
        for name, inner in sections.items():
            values[name] = self.section(inner, table.get(name, {}), f"{path}{name}.")
        return kind(**values)

    def _variants(self, declared: Variants, table: Any, path: str) -> dict[str, Any]:
        table = self._table(table, f"{path}.", [])
        if table is None:
            return {}
        choice = table.get(declared.selector)
        keys = declared.keys_for(choice if isinstance(choice, str) else "")
        if isinstance(choice, str) and choice in declared.keys:
            condition = f" with {declared.selector} = {inline_toml(choice)}"
            self._refuse_unknown(table, f"{path}.", list(keys), condition)
        values = self._keys(keys, table, f"{path}.")
        return {name: value for name, value in values.items() if value is not None}

    def _table(
        self, table: Any, path: str, paths: Iterable[str]
    ) -> Mapping[str, Any] | None:
        if isinstance(table, Mapping):
            return table
        self.found.append(f"`{path[:-1]}` must be a table, got {shown_value(table)}.")
        self.bad.update(paths)
        return None

    def _refuse_unknown(
        self, table: Any, path: str, known: list[str], condition: str = ""
    ) -> None:
        place = f"[{path[:-1]}]{condition}" if path else "the top level"
        for name in table:
            if name not in known:
                end = _what_was_meant(name, path, known, self.kind)
                self.found.append(f"`{path}{name}` is not a key of {place}{end}")

    def _keys(self, keys: dict[str, Key], table: Any, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, key in keys.items():
            values[name] = self._key(key, name, table, values, path)
        return values

    def _key(
        self, key: Key, name: str, table: Any, values: dict[str, Any], path: str
    ) -> Any:
        """Return the value of one key; `values` holds those of the keys before it."""
        full = f"{path}{name}"
        if not key.is_active(values):
            if name in table and f"{path}{key.when[0]}" not in self.bad:
                self.found.append(_inactive(key, name, values, path))
            return None
        if name not in table:
            if key.is_required:
                reason = "" if key.when is None else f" for {_condition(key)}"
                self._note(full, f"is required{reason}: {key.check.required}", ".")
            return key.default
        try:
            return key.check.read(table[name])
        except ValueError as error:
            given = f"must be {key.check.required}, got {shown_value(table[name])}"
            self._note(full, given, str(error) or ".")
            return key.default

    def _note(self, path: str, text: str, end: str) -> None:
        self.found.append(f"`{path}` {text}{end}")
        self.bad.add(path)


def _condition(key: Key) -> str:
    """Return 'scheme = "euler" or "midpoint"', the condition of a key."""
    other, accepted = key.when or ("", ())
    return f"{other} = {' or '.join(map(inline_toml, accepted))}"


def _inactive(key: Key, name: str, values: dict[str, Any], path: str) -> str:
    other = key.when[0] if key.when else ""
    return (
        f"`{path}{name}` belongs to {_condition(key)}, but `{path}{other}` is "
        f"{inline_toml(values[other])}; remove it."
    )


def shown_value(value: Any) -> str:
    """Return a value as the user wrote it, shortened."""
    try:
        text = inline_toml(value)
    except TypeError:
        text = str(value)
    # A whole number of thousands of digits, or what --set nests.
    except (ValueError, RecursionError):
        text = f"a value of type {type(value).__name__} that is too long to show"
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]} ..."


def _what_was_meant(name: str, path: str, known: list[str], kind: type) -> str:
    """Return the end of the sentence on a key that the section at `path` has not."""
    if not path and kind is NetworkConfiguration and name in REPLACED:
        return f": for a network, {REPLACED[name]}."
    end = suggest(name, known)
    if end:
        return end
    others = [p for p in all_paths(kind) if p.rpartition(".")[0] != path[:-1]]
    paths = {other.rpartition(".")[2]: other for other in others}
    near = difflib.get_close_matches(name, sorted(paths), n=1, cutoff=0.75)
    if near:
        return f"; did you mean `{paths[near[0]]}`?"
    return f", which has {', '.join(known)}."
