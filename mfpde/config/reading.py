"""Reading a table by its section: every problem at once, each in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfpde.arrays import shown
from mfpde.config.sections import REPLACED, Section, Thing
from mfpde.config.values import Values, is_unicode, meant
from mfpde.describe import described, make, plain, thing_of
from mfpde.fields import REQUIRED, Field

MADE_AT_ONCE = ("stepper", "optimiser", "schedule", "output schedule", "regulariser")
"""Kinds of which a thing can be made from its keys alone: to see whether they fit."""


class Reader:
    """Walks through a table and collects what is wrong with it.

    Attributes
    ----------
    found : list of str
        A sentence for each problem.
    bad : set of str
        Paths of the keys they concern; the default stands in for each.
    whole : Section
        Of the configuration.
    """

    def __init__(self, found: list[str], whole: Section) -> None:
        self.found, self.whole = found, whole
        self.bad: set[str] = set()

    def section(self, section: Section, table: Any, path: str = "") -> Any:
        """The values of a section; None if it is optional and absent."""
        if table is None and section.is_optional:
            return None
        table = dict(self._table(table, path))
        flat = self._flat(section, table)
        self._refuse_unknown(table, path, section)
        values = Values()
        for name, key in section.keys.items():
            values[name] = self._value(key, table, path)
        for name, thing in section.things.items():
            given, place = table.get(name), f"{path}{name}."
            if name in flat:
                given = {thing.selector: given or thing.default} | flat[name]
            if thing.is_flat and not isinstance(table.get(name), Mapping):
                place = path
            values[name] = self.thing(thing, given, f"{path}{name}", values, place)
        for name, inner in section.sections.items():
            values[name] = self.section(inner, table.get(name), f"{path}{name}.")
        return values

    def _table(self, table: Any, path: str) -> Mapping[str, Any]:
        if table is None or isinstance(table, Mapping):
            return table or {}
        self._note(path[:-1], f"`{path[:-1]}` must be a table, got {shown(table)}.")
        return {}

    def _flat(self, section: Section, table: dict[str, Any]) -> dict[str, dict]:
        """Keys of things that stand beside them, taken out of the table."""
        found = {}
        for name, thing in section.things.items():
            given = table.get(name, thing.default)
            if not thing.is_flat or not isinstance(given, str):
                continue
            if given not in thing.names:
                continue
            keys = thing.keys(given)
            own = [key for key in keys if key in table and key not in section.all_names]
            found[name] = {key: table.pop(key) for key in own}
        return {name: keys for name, keys in found.items() if keys}

    def _refuse_unknown(self, table: Any, path: str, section: Section) -> None:
        known = section.all_names
        place = f"[{path[:-1]}]" if path else "the top level"
        for name in table:
            if name in known:
                continue
            if owner := _owner(section, name):
                end = f": it belongs to {owner}."
            elif not path and "network" in self.whole.sections and name in REPLACED:
                end = f": for a network, {REPLACED[name]}."
            else:
                end = meant(name, known, all_paths(self.whole))
            self._note(f"{path}{name}", f"`{path}{name}` is not a key of {place}{end}")

    def _note(self, path: str, text: str) -> None:
        self.found.append(text)
        self.bad.add(path)

    def _value(self, key: Field, table: Mapping[str, Any], path: str) -> Any:
        full = f"{path}{key.name}"
        default = None if key.is_required else plain(key.name, key.default)
        if key.name not in table:
            if key.is_required:
                self._note(
                    full, f"`{full}` is required: {key.help or 'it has no default'}."
                )
            return default
        try:
            return plain(full, _checked(key, full, table[key.name]))
        except (TypeError, ValueError) as error:
            self._note(full, str(error))
            return default

    def thing(
        self, thing: Thing, given: Any, path: str, around: Any = None, place: str = ""
    ) -> Any:
        """A name, or a table of the name and its keys; other values as they are.

        `around` are the values of the section, and `place` is where its keys stand.
        """
        if given is None:
            given = thing.default
        if given is None or (thing.kind == "loss" and given == "auto"):
            return given
        if given is REQUIRED:
            given = {}
        table = self._as_table(thing, given, path)
        if not isinstance(table, dict):
            return table
        name = table.pop(thing.selector, thing.usual)
        where = f"{path}.{thing.selector}" if isinstance(given, Mapping) else path
        if name is None:
            one_of = f"one of {', '.join(thing.names)}"
            self._note(where, f"`{where}` is required: {one_of}.")
            return Values()
        try:
            thing_of(thing.kind, name, argument=where)
        except (TypeError, ValueError) as error:
            self._note(where, str(error))
            return Values()
        place = place or f"{path}."
        values = self._keys_of(thing, name, table, path, around, place)
        if not values and not thing.is_section:
            return name
        return Values({thing.selector: name} | values)

    def _keys_of(
        self,
        thing: Thing,
        name: str,
        table: dict[str, Any],
        path: str,
        around: Any,
        place: str,
    ) -> dict[str, Any]:
        keys, n_before = thing.keys(name), len(self.found)
        for key in table:
            if key not in keys:
                end = meant(key, keys, all_paths(self.whole))
                named = f'[{path}] with {thing.selector} = "{name}"'
                self._note(
                    f"{path}.{key}", f"`{path}.{key}` is not a key of {named}{end}"
                )
        values: dict[str, Any] = {}
        for key, field in keys.items():
            if key in thing.shared and around is not None:
                if table.get(key) is not None:
                    around[key] = self._value(field, table, place)
                table[key] = around.get(key)
            if field.kind:
                inner = Thing(field.kind, _default(field), field.help)
                values[key] = self.thing(inner, table.get(key), f"{path}.{key}")
            elif key in thing.shared and around is not None and table[key] is None:
                section, _, own = path.rpartition(".")
                full = f"{section}.{key}"
                if full not in self.bad:
                    text = f'`{full}` is required for {own} = "{name}".'
                    self._note(full, text)
            else:
                values[key] = self._value(field, table, place)
        is_right = len(self.found) == n_before
        is_right &= not any(f"{place}{key}" in self.bad for key in thing.shared)
        if is_right and thing.kind in MADE_AT_ONCE:
            try:
                make(thing.kind, name, **values)
            except (TypeError, ValueError) as error:
                self._note(path, f"`{path}`: {error}")
        shared = thing.shared if around is not None else ()
        return {k: v for k, v in values.items() if v is not None and k not in shared}

    def _as_table(self, thing: Thing, given: Any, path: str) -> Any:
        """A table with the name under the selector; what is no thing, checked."""
        if isinstance(given, str):
            return {thing.selector: given}
        if thing.kind == "output schedule":
            given = _schedule(given, thing)
        if isinstance(given, Mapping):
            return dict(given)
        if thing.others is None:
            text = f"`{path}` must be a name or a table, got {shown(given)}."
            self._note(path, text)
            return None
        try:
            return thing.others(path, given)
        except (TypeError, ValueError) as error:
            self._note(path, str(error))
            return None


def _owner(section: Section, key: str) -> str:
    """The thing that would have a key: 'stepper = "langevin"'; "" if none has it."""
    for name, thing in section.things.items():
        for each in thing.names if thing.is_flat else ():
            if key in thing.keys(each):
                return f'{name} = "{each}"'
    return ""


def _default(field: Field) -> Any:
    return None if field.is_required else described(field.default)


def _schedule(given: Any, thing: Thing) -> Any:
    """Short forms: a list of s, { every = 0.5 }, { steps = 10 }, { name = {...} }."""
    if isinstance(given, list):
        return {"kind": "at", "s": given}
    if isinstance(given, Mapping) and len(given) == 1 and "kind" not in given:
        ((name, value),) = given.items()
        if isinstance(value, Mapping):
            return {"kind": name, **value}
        if name in thing.names and thing.keys(name):
            return {"kind": name, next(iter(thing.keys(name))): value}
        return {"kind": name}
    return given


def _checked(key: Field, path: str, value: Any) -> Any:
    """The value in its normal form; a whole number may be written as 1e3."""
    if isinstance(value, str) and not is_unicode(value):
        raise ValueError(f"`{path}` must hold Unicode text without the character NUL.")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        try:
            return key.checked(value, path)
        except TypeError:
            value = int(value)
    return key.checked(value, path)


def all_paths(section: Section, path: str = "") -> list[str]:
    """The path of every key and section, those of usual things included."""
    found = [f"{path}{name}" for name in section.all_names]
    for name, thing in section.things.items():
        if thing.usual or thing.is_flat:
            usual = thing.usual or thing.default
            start = path if thing.is_flat else f"{path}{name}."
            found += [f"{start}{key}" for key in thing.keys(usual)]
    for name, inner in section.sections.items():
        found += all_paths(inner, f"{path}{name}.")
    return found
