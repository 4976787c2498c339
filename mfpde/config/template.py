"""The commented configuration that `mfpde init` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from mfpde.config.sections import FLOW, Section, Thing
from mfpde.config.toml import inline_toml
from mfpde.describe import plain, thing_of
from mfpde.fields import REQUIRED, Field, summary

WIDTH = 88
EXAMPLES = {"data source": "spirals"}
"""What is named where there is no default."""


def template() -> str:
    """Return a configuration with every key, its default and what it may be.

    What has to be given is written out; all other keys are commented out and show
    their default, so that the text is a valid configuration.
    """
    lines = [
        "# Configuration of mfpde; run it with: mfpde run THIS_FILE.toml",
        "# A key that is commented out has the value shown, or none if it shows none.",
        "",
        *_section(FLOW, ""),
    ]
    return "\n".join(lines) + "\n"


def _section(section: Section, path: str) -> Iterator[str]:
    """Yield the lines of a section, then those of the tables within."""
    if path:
        yield from _header(path[:-1], section.text)
    for key in section.keys.values():
        yield from _key(key)
    tables = {name: t for name, t in section.things.items() if t.is_section}
    for name, thing in section.things.items():
        if name not in tables:
            yield from _thing(name, thing)
    for name, thing in tables.items():
        yield from _header(f"{path}{name}", thing.text, is_open=thing.default is None)
        yield from _table(thing)
    for name, inner in section.sections.items():
        if inner.is_optional:
            yield from _optional(f"{path}{name}", inner)
        else:
            yield from _section(inner, f"{path}{name}.")


def _header(path: str, text: str, *, is_open: bool = False) -> Iterator[str]:
    yield ""
    yield f"# [{path}]" if is_open else f"[{path}]"
    yield from _comment(text)


def _optional(path: str, section: Section) -> Iterator[str]:
    yield from _header(path, section.text, is_open=True)
    for key in section.keys.values():
        yield from _key(key, is_open=True)


def _table(thing: Thing) -> Iterator[str]:
    """The lines of a thing in a table of its own: the usual one, then the others."""
    usual = thing.usual or EXAMPLES[thing.kind]
    is_named = thing.default is REQUIRED
    yield f"{'' if is_named else '# '}{thing.selector} = {inline_toml(usual)}"
    for key in thing.keys(usual).values():
        yield from _key(key, is_open=thing.default is None)
    yield from _others(thing, usual)


def _thing(name: str, thing: Thing) -> Iterator[str]:
    """The lines of a thing that is a key: its name, and what the others have."""
    yield from _comment(thing.text)
    if thing.default is None:
        yield f"# {name} ="
    else:
        yield f"# {name} = {inline_toml(thing.default)}"
    usual = thing.default if isinstance(thing.default, str) else ""
    if usual in thing.names and thing.is_flat:
        for key in thing.keys(usual).values():
            if key.name not in thing.shared:
                yield from _key(key)
    yield from _others(thing, usual)


def _others(thing: Thing, usual: str) -> Iterator[str]:
    for name in thing.names:
        if name == usual:
            continue
        keys = [_mention(k) for k in thing.keys(name).values() if k.name != "d"]
        text = f"{name}: {summary(thing_of(thing.kind, name)).rstrip('.')}"
        yield from _comment(f"{text}. Keys: {', '.join(keys)}" if keys else text)


def _mention(key: Field) -> str:
    has_default = not key.is_required and key.default is not None
    return f"{key.name} = {_value(key)}" if has_default else key.name


def _value(key: Field) -> str:
    return inline_toml(plain(key.name, key.default))


def _key(key: Field, *, is_open: bool = False) -> Iterator[str]:
    """Yield the explanation and "# name = default"."""
    yield from _comment(f"{key.help}{_allowed(key)}")
    if key.is_required or key.default is None:
        yield f"# {key.name} ="
    else:
        yield f"# {key.name} = {_value(key)}"


def _allowed(key: Field) -> str:
    names = key.schema.get("enum")
    return f" ({' or '.join(map(inline_toml, names))})" if names else ""


def _comment(text: Any) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="#   ")
