"""The configuration of a study: its defaults, a TOML file, and `--set`."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mfpde.arrays import Check, checked, flag, mapping, sequence, shown, text
from mfpde.config.parsing import apply_overrides
from mfpde.config.toml import read_toml, write_toml
from mfpde.config.values import meant, not_empty
from mfpde.data.sources import check_description
from mfpde.describe import names, plain
from mfpde.errors import ConfigurationError, sentence
from mfpde.fields import check_of
from mfpde.paths import user_path
from mfpde.studies.find import find_study, is_named
from mfpde.studies.study import Config, Study, a_study

SELECTOR = "study"
"""The key of a file that names its study."""
DATA_SOURCE = "source"
"""The key of a table that describes data: its other keys are those of the source."""
FILE = "path"
"""The key of a table, of data or of a law, that names a file."""


@checked(source=text, overrides=sequence(text), is_quick=flag)
def load_study(
    source: str, overrides: Sequence[str] = (), *, is_quick: bool = False
) -> tuple[Any, dict[str, Any]]:
    """Return the study that is meant and its resolved configuration.

    Parameters
    ----------
    source : str
        A registered name, "module:Study", or a TOML file whose key `study` holds a
        registered name. A relative `path`, of data or of a law, starts in the folder of
        that file.
    overrides : sequence of str
        "dotted.key=value", as given to `--set`.
    is_quick : bool
        Take the quick configuration of a named study, before the overrides.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigurationError
        If there is no such study, or the configuration has problems.
    """
    table: dict[str, Any] = {}
    is_file = not is_named(source) and (
        source.endswith(".toml") or user_path(source, "source").is_file()
    )
    if is_file:
        table = _from_folder(read_toml(source), user_path(source).parent)
        if SELECTOR not in table:
            known = " or ".join(f'{SELECTOR} = "{name}"' for name in names("study"))
            raise ConfigurationError(
                [f"{source} does not say which study it is for; it needs {known}."]
            )
        if is_quick:
            raise ConfigurationError(
                [f"--quick is for a study by its name; {source} is a configuration."]
            )
        # A configuration names no modules: those come from --import.
        study = find_study(str(table[SELECTOR]).replace(":", "."))
    else:
        study = find_study(source)
    if is_quick:
        table |= copy.deepcopy(quick_of(study))
    problems = list(apply_overrides(table, overrides))
    return study, resolve(study, table, problems)


def quick_of(study: Study) -> Mapping[str, Any]:
    """Return what is different in a quick run of a study."""
    return getattr(study, "quick", {})


def measured_config(study: Study, config: Config) -> dict[str, Any]:
    """Return the configuration without the keys that only the analysis reads."""
    left_out = getattr(study, "analysis_keys", ())
    return {name: value for name, value in config.items() if name not in left_out}


@checked(study=a_study, given=mapping, problems=sequence(text))
def resolve(
    study: Study, given: Mapping[str, Any], problems: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the configuration with every key; what is not given has its default.

    Raises
    ------
    ConfigurationError
        If keys are unknown, values have another type than the defaults, or the study
        finds problems; all of them are listed, with `problems`.
    """
    found = list(problems)
    plain = {name: value for name, value in given.items() if name != SELECTOR}
    defaults = {n: v for n, v in study.defaults.items() if n != SELECTOR}
    if given.get(SELECTOR, study.name) != study.name:
        found.append(
            f'`{SELECTOR}` must be "{study.name}", got {shown(given[SELECTOR])}.'
        )
    config = _merged(defaults, plain, "", found)
    if not found:
        found += _problems(study, config)
    if found:
        raise ConfigurationError(found)
    return config


def _problems(study: Study, config: Config) -> list[str]:
    """What a study finds; parts that it makes to look at them may refuse, too."""
    try:
        return list(study.problems(config))
    except ConfigurationError:
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        return [sentence(error)]


@checked(study=a_study, config=mapping)
def resolved_text(study: Study, config: Config) -> str:
    """Return the resolved configuration as TOML, the name of the study first."""
    return write_toml({SELECTOR: study.name, **config})


def config_digest(text: str) -> str:
    """SHA-256 of a resolved configuration; every piece of a study bears it."""
    return hashlib.sha256(text.encode()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys at which two configurations differ."""
    return list(_differences(one, other, ""))


def _differences(one: Any, other: Any, path: str) -> Iterator[str]:
    for name in dict.fromkeys([*one, *other]):
        left, right = one.get(name), other.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from _differences(left, right, f"{path}{name}.")
        elif left != right:
            yield f"{path}{name}"


def _from_folder(value: Any, folder: Path) -> Any:
    """Return what a file says; the files that it names by `path` are beside it."""
    if isinstance(value, list):
        return [_from_folder(entry, folder) for entry in value]
    if not isinstance(value, Mapping):
        return value
    table = {name: _from_folder(entry, folder) for name, entry in value.items()}
    if isinstance(table.get(FILE), str):
        table[FILE] = str(folder / user_path(table[FILE]))
    return table


def _merged(
    defaults: Mapping[str, Any], given: Mapping[str, Any], path: str, found: list[str]
) -> dict[str, Any]:
    """Return `defaults` with the values given; note what is wrong in `found`."""
    for name in given:
        if name not in defaults:
            place = f"[{path[:-1]}]" if path else "the top level"
            end = meant(name, defaults)
            found.append(f"`{path}{name}` is not a key of {place}{end}")
    merged = {}
    for name, default in defaults.items():
        value = given.get(name, default)
        if isinstance(default, Mapping):
            if DATA_SOURCE in default and isinstance(value, Mapping):
                merged[name] = _described(default, value, f"{path}{name}", found)
                continue
            if isinstance(value, Mapping):
                merged[name] = _merged(default, value, f"{path}{name}.", found)
                continue
            found.append(f"`{path}{name}` must be a table, got {shown(value)}.")
        merged[name] = _checked(default, value, f"{path}{name}", found)
    return merged


def _described(
    default: Mapping[str, Any], given: Mapping[str, Any], path: str, found: list[str]
) -> dict[str, Any]:
    """Return a description of data; another source begins without the defaults."""
    same = given.get(DATA_SOURCE, default[DATA_SOURCE]) == default[DATA_SOURCE]
    merged = {**(default if same else {}), **given}
    found += [f"`{path}`: {problem}" for problem in check_description(merged)]
    return merged


def _checked(default: Any, value: Any, path: str, found: list[str]) -> Any:
    """The value, if it has the type of the default."""
    check = _check_like(default)
    if check is None:
        return value
    if type(default) is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # 1e3 counts as a whole number
    try:
        return plain(path, check(path, value))
    except (TypeError, ValueError) as error:
        found.append(str(error))
        return default


def _check_like(default: Any) -> Check | None:
    """Return the check of the type of a default; None if it does not tell."""
    if not isinstance(default, list):
        return None if isinstance(default, Mapping) else check_of(type(default))
    kinds = {type(entry) for entry in default}
    kinds = {float} if kinds == {int, float} else kinds
    return not_empty(check_of(kinds.pop())) if len(kinds) == 1 else None
