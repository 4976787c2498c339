"""From a TOML file, or a plain table, to a checked configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mfpde.config.reading import Reader
from mfpde.config.rules import RULES
from mfpde.config.sections import FLOW, NETWORK
from mfpde.config.toml import parse_value, read_toml, set_key, write_toml
from mfpde.config.values import Values
from mfpde.errors import ConfigurationError


def load(path: str | Path, overrides: Sequence[str] = ()) -> Values:
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


def parse(table: Mapping[str, Any], problems: Sequence[str] = ()) -> Values:
    """Check a configuration given as a plain table.

    With a table [network] or [training] it is that of a network, in which these two
    take the places of [grid], [ensemble] and [flow].

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
    whole = FLOW if {"network", "training"}.isdisjoint(table) else NETWORK
    reader = Reader(list(problems), whole)
    config = reader.section(whole, table)
    for rule in RULES:
        if not any(path.startswith(rule.keys) for path in reader.bad):
            reader.found += rule.check(config)
    if reader.found:
        raise ConfigurationError(reader.found)
    return config


def is_network(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of the training of a network."""
    return "network" in config


def resolved_toml(config: Mapping[str, Any]) -> str:
    """Return the configuration with its defaults filled in, as TOML text."""
    return write_toml(dict(config))


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
