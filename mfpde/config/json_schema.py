"""The JSON schema of a configuration, for editors: `mfpde init --schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfpde.config.sections import FLOW, NETWORK, Section, Thing
from mfpde.describe import plain, thing_of
from mfpde.fields import REQUIRED, Field, summary

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def json_schema() -> Schema:
    """Return the schema of everything that a configuration can hold.

    Registered things are part of it. Rules that tie several sections together are not.
    """
    network = _section(NETWORK)
    starts = [{"required": ["network"]}, {"required": ["training"]}]
    return {
        "$schema": DIALECT,
        "title": "mfpde",
        "type": "object",
        "if": {"anyOf": starts},
        "then": network,
        "else": _section(FLOW),
    }


def _section(section: Section) -> Schema:
    properties = {name: _key(key) for name, key in section.keys.items()}
    required = [name for name, key in section.keys.items() if key.is_required]
    properties |= {n: _section(inner) for n, inner in section.sections.items()}
    flat = [name for name, thing in section.things.items() if thing.is_flat]
    for name, thing in section.things.items():
        properties[name] = _thing(thing)
        if thing.default is REQUIRED:
            required.append(name)
    if not flat:
        return _object(section.text, properties, required)
    (name,) = flat
    return {"anyOf": list(_variants(section, name, properties, required))}


def _variants(
    section: Section, name: str, properties: Schema, required: list[str]
) -> list[Schema]:
    """A section beside whose keys those of a thing may stand, for each such thing."""
    thing = section.things[name]
    others = {**properties, name: {"type": "object"} | _thing(thing)}
    found = [_object(section.text, others, [*required, name])]
    for each in thing.names:
        keys = {key: _key(field) for key, field in thing.keys(each).items()}
        keys |= properties | {name: {"const": each}}
        needed = [] if each == thing.default else [name]
        needed += [k for k, f in thing.keys(each).items() if f.is_required]
        found.append(_object(section.text, keys, [*required, *needed]))
    return found


def _object(text: str, properties: Schema, required: list[str]) -> Schema:
    return {
        "description": text,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _thing(thing: Thing) -> Schema:
    """A name, or a table of the name and its keys."""
    tables = [_table(thing, name) for name in thing.names]
    others: list[Schema] = [] if thing.is_section else [_names(thing)]
    if thing.others is not None:
        others.append(dict(getattr(thing.others, "schema", {})))
    if thing.kind == "output schedule":
        others += _short_forms(thing)
    return {"description": thing.text, "anyOf": [*others, *tables]}


def _names(thing: Thing) -> Schema:
    """The names that are enough: those of things without required keys."""
    names = []
    for name in thing.names:
        fields = thing.keys(name).items()
        needed = [k for k, f in fields if f.is_required and k not in thing.shared]
        names += [] if needed else [name]
    return {"enum": [*names, "auto"] if thing.kind == "loss" else names}


def _table(thing: Thing, name: str) -> Schema:
    fields = thing.keys(name)
    properties = {key: _key(field) for key, field in fields.items()}
    required = [k for k, f in fields.items() if f.is_required and k not in thing.shared]
    if name != thing.usual:
        required.append(thing.selector)
    text = summary(thing_of(thing.kind, name))
    return _object(text, {thing.selector: {"const": name}} | properties, required)


def _short_forms(thing: Thing) -> list[Schema]:
    """{ every = 0.5 }, and a list of training times."""
    forms: list[Schema] = [{"type": "array", "items": {"type": "number"}}]
    for name in thing.names:
        fields = thing.keys(name)
        values = [_object("", {k: _key(f) for k, f in fields.items()}, [])]
        values += [_key(field) for field in list(fields.values())[:1]]
        forms.append(_object("", {name: {"anyOf": values}}, [name]))
    return forms


def _key(field: Field) -> Schema:
    schema: Schema = {"description": field.help}
    if field.kind:
        return schema | _inner(field.kind)
    schema |= field.schema
    if not field.is_required and field.default is not None:
        schema["default"] = plain(field.name, field.default)
    return schema


def _inner(kind: str) -> Mapping[str, Any]:
    """A thing within a thing: without its own keys, which may nest for ever."""
    names = list(Thing(kind, None, "").names)
    table = {"type": "object", "properties": {"kind": {"enum": names}}}
    return {"anyOf": [{"enum": names}, table | {"required": ["kind"]}]}
