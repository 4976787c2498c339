"""The commented configuration that `mfpde init` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from mfpde.config.keys import (
    Key,
    Variants,
    keys_of,
    sections_of,
    variants_of,
)
from mfpde.config.schema import Configuration
from mfpde.config.toml import inline_toml

WIDTH = 88
EXAMPLES = {"data": "spirals"}
"""The variant that is written out; the others are listed in comments."""


def template() -> str:
    """Return a configuration with every key, its default and what it may be.

    Keys that have to be given hold an example; all others are commented out and
    show their default, so that the text is a valid configuration.
    """
    lines = [
        "# Configuration of mfpde; run it with: mfpde run THIS_FILE.toml",
        "# A key that is commented out has the value shown; an example shows the form",
        "# of a key that has no default.",
        "",
        *_lines(Configuration, ""),
    ]
    return "\n".join(lines) + "\n"


def _lines(kind: type, path: str) -> Iterator[str]:
    """Yield the lines of a section, then those of the sections within."""
    if path:
        yield from _header(path[:-1], (kind.__doc__ or "").split("\n")[0])
    for name, key in keys_of(kind).items():
        yield from _key_lines(name, key)
    for name, declared in variants_of(kind).items():
        yield from _variant_lines(f"{path}{name}", declared)
    for name, inner in sections_of(kind).items():
        yield from _lines(inner, f"{path}{name}.")


def _header(path: str, text: str) -> Iterator[str]:
    yield ""
    yield f"[{path}]"
    yield from _comment(text)


def _variant_lines(path: str, declared: Variants) -> Iterator[str]:
    example = EXAMPLES[path]
    yield from _header(path, declared.text)
    for name, key in declared.keys_for(example).items():
        yield from _key_lines(name, key)
    explained = declared.keys[example]
    for choice, keys in declared.keys.items():
        if choice != example:
            yield from _comment(
                f"{declared.selector} = {inline_toml(choice)} has "
                + ", ".join(_mention(n, k, n in explained) for n, k in keys.items())
            )


def _mention(name: str, key: Key, is_explained: bool) -> str:
    text = name if is_explained else f"{name} ({key.text})"
    is_default = key.default is None or (is_explained and name != "n_samples")
    return text if is_default else f"{text} = {inline_toml(key.default)}"


def _key_lines(name: str, key: Key) -> Iterator[str]:
    """Yield the explanation and "name = value", commented out if it may be absent."""
    yield from _comment(_explanation(key))
    is_example = key.default is None
    line = f"{name} = {inline_toml(key.example if is_example else key.default)}"
    if key.is_required and key.when is None:
        yield line
    else:
        yield f"# {line}" + ("  # example" if is_example else "")


def _explanation(key: Key) -> str:
    text = f"{key.text} ({key.check.required})"
    if key.when is None:
        return text
    other, accepted = key.when
    return f"for {other} = {' or '.join(map(inline_toml, accepted))}: {text}"


def _comment(text: Any) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="#   ")
