"""Reading TOML and writing it back: only the plain types a configuration holds."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from mfpde.errors import ConfigurationError
from mfpde.paths import check_readable, user_path

MOST_BYTES = 10_000_000
"""Of a configuration; what is larger is no text that somebody wrote."""
DEEPEST = 20
"""Lists and tables within each other."""
# A dotted key of more tables, for which the parser would take for ever.
_LONG_KEY = re.compile(rf"^[\s\[]*(?:[\w\"'-]+[ \t]*\.[ \t]*){{{DEEPEST}}}", re.M)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the table of a TOML file, UTF-8 with or without a byte order mark.

    Raises
    ------
    FileNotFoundError, PermissionError, IsADirectoryError
        If there is no such file, or it cannot be read.
    ConfigurationError
        If it is not TOML.
    """
    path = user_path(path)
    check_readable(path)
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ConfigurationError(
            [f"{path} has more than {MOST_BYTES:,} bytes: it is no configuration."]
        )
    try:
        text = content.decode("utf-8-sig")
        # Python's text files have one kind of line end, TOML has two.
        is_long = _LONG_KEY.search(text) is not None
        table = None if is_long else tomllib.loads(text.replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        reason = f"line {line} is not UTF-8 text"
        raise ConfigurationError([f"{path} is not valid TOML: {reason}."]) from error
    # Numbers of thousands of digits are a ValueError.
    except ValueError as error:
        reason = str(error).partition(";")[0]
        raise ConfigurationError([f"{path} is not valid TOML: {reason}."]) from error
    except RecursionError:
        table = None
    if table is None or is_too_deep(table):
        raise ConfigurationError(
            [f"{path} has more than {DEEPEST} lists and tables within each other."]
        )
    return table


def is_too_deep(value: Any) -> bool:
    """Whether lists and tables stand within each other more than `DEEPEST` times."""
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = [each.values() if isinstance(each, dict) else each for each in level]
        level = [v for each in inner for v in each if isinstance(v, dict | list)]
        if not level:
            return False
    return True


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
    """Return the value of a TOML expression; anything else is a string."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return text if set(table) != {"value"} or is_too_deep(table) else table["value"]


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
