"""Reading TOML and writing it back: only the plain types a configuration holds."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(table: dict[str, Any]) -> str:
    """Return `table` as TOML text; entries that are None are left out.

    Parameters
    ----------
    table : dict
        Of str, bool, int, float, lists and tables of these. A table inside a list
        is written inline.

    Raises
    ------
    TypeError
        If a value is of another type.
    """
    return "\n".join(_section(table, ())).strip() + "\n"


def _section(table: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    """Return the lines of one table: its own keys first, then its tables."""
    plain = {k: v for k, v in table.items() if not isinstance(v, dict)}
    lines = [f"{_key(k)} = {_value(v)}" for k, v in plain.items() if v is not None]
    if path and (lines or not table):
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for name, entry in table.items():
        if isinstance(entry, dict):
            lines += _section(entry, (*path, name))
    return lines


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    """Return a TOML basic string; JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)  # inf and nan are spelt alike in TOML
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        entries = (f"{_key(k)} = {_value(v)}" for k, v in value.items())
        return f"{{ {', '.join(entries)} }}" if value else "{}"
    raise TypeError(f"A value of type {type(value).__name__} has no form in TOML.")


def inline_toml(value: Any) -> str:
    """Return one value as TOML, tables inline."""
    return _value(value)


def parse_value(text: str) -> Any:
    """Return the value of a TOML expression; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def set_key(table: dict[str, Any], path: str, value: Any) -> None:
    """Set the dotted key `path` of `table` in place, making tables on the way.

    None removes the key.

    Raises
    ------
    ValueError
        If a part of the path is empty or names something that is not a table.
    """
    *parents, last = path.split(".")
    for name in parents:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ValueError(f"`{path}` cannot be set: `{name}` is not a table.")
    if not all((*parents, last)):
        raise ValueError(f"`{path}` is not a dotted key such as flow.s_end.")
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value
