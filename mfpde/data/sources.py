"""The ``[data]`` table of a configuration: what it may hold, and how it is read."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mfpde.arrays import a_path, checked, mapping
from mfpde.data.checks import existing, sha256, suggestion
from mfpde.data.classes import TASKS
from mfpde.data.images import digits_path
from mfpde.data.joining import Table
from mfpde.data.kinds import Option, options_of
from mfpde.data.preparation import Dataset, prepare
from mfpde.describe import names, thing_of
from mfpde.errors import ConfigurationError
from mfpde.paths import user_path


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_list(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and all(map(is_item, value))


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


KINDS: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "string": _is_string,
    "list of integers": _is_list(_is_integer),
    "list of numbers": _is_list(_is_number),
    "list of strings": _is_list(_is_string),
    "string or list of strings": lambda value: (
        _is_string(value) or _is_list(_is_string)(value)
    ),
}

# Arguments of `prepare` that a source supplies.
_SUPPLIED = (
    *("x", "labels_or_y", "test_index", "fill_missing"),
    *("class_names", "feature_names", "target_names"),
)
# The first is the default.
_TARGETS_OF_TASK = {"classification": ("one_hot", "signs"), "regression": ("value",)}
_TASK_TEXT = "what the targets are; to be given for a file"


def _task_of(source: str) -> str | None:
    """What the targets of a source are; None if that is open, as for a file."""
    return getattr(thing_of("data source", source, argument="source"), "task", None)


class _Sources(Mapping[str, dict[str, Option]]):
    """The keys of each source, from its function and from `prepare`."""

    def __getitem__(self, source: str) -> dict[str, Option]:
        if source not in names("data source"):
            raise KeyError(source)
        return _options(source)

    def __iter__(self) -> Iterator[str]:
        return iter(names("data source"))

    def __len__(self) -> int:
        return len(names("data source"))


@functools.cache
def _options(source: str) -> dict[str, Option]:
    function, task = thing_of("data source", source), _task_of(source)
    tasks = TASKS if task is None else (task,)
    targets = tuple(target for each in tasks for target in _TARGETS_OF_TASK[each])
    options = {n: o for n, o in options_of(function).items() if n != "task"}
    options["task"] = Option(task, _TASK_TEXT, "string", tasks)
    for name, option in options_of(prepare).items():
        if name not in _SUPPLIED:
            options.setdefault(name, option)
    default = None if task is None else targets[0]
    text = "encoding of the targets; follows from the task"
    options["target"] = Option(default, text, "string", targets)
    return options


SOURCES: Mapping[str, dict[str, Option]] = _Sources()


@checked(description=mapping)
def encoding_of(description: Mapping[str, Any]) -> str | None:
    """Return the encoding of the targets of a ``[data]`` table; None if it is open.

    That is its "target", else what follows from its "task", else from its source.
    """
    options = SOURCES.get(str(description.get("source")), {})
    target, task = description.get("target"), description.get("task")
    if target is None and task in _TARGETS_OF_TASK:
        return _TARGETS_OF_TASK[task][0]
    if target is None and "target" in options:
        return options["target"].default
    return target


@checked(description=mapping)
def task_problems(description: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with "task", "target" and what goes with them, if anything."""
    encoding, task = encoding_of(description), description.get("task")
    if encoding is None:
        source = description.get("source")
        if source not in SOURCES or _task_of(str(source)) is not None:
            return []
        return [
            '`data.task` is required for a file: "classification" if the target is a '
            'class, "regression" if it is numbers to be fitted.'
        ]
    problems = []
    fitting = _TARGETS_OF_TASK.get(str(task), (encoding,))
    if encoding not in fitting:
        problems.append(
            f"`data.target` must be {' or '.join(map(repr, fitting))} with `data.task` "
            f'= "{task}", got {encoding!r}.'
        )
    if description.get("standardise_target") and encoding != "value":
        problems.append(
            '`data.standardise_target` needs `data.task` = "regression": classes have '
            "no scale."
        )
    return problems


@checked(description=mapping)
def check_description(description: Mapping[str, Any]) -> list[str]:
    """Find all that is wrong with the keys, kinds and choices of a ``[data]`` table.

    Parameters
    ----------
    description : mapping
        The table, with its key "source".

    Returns
    -------
    problems : list of str
        A sentence for each; empty if there are none.
    """
    source = description.get("source")
    if source is None:
        return ["`source` is missing. Known: " + ", ".join(SOURCES) + "."]
    if not isinstance(source, str) or source not in SOURCES:
        return [
            f"`source` must name a source of data, got {source!r}. "
            + suggestion(str(source), SOURCES)
        ]
    options, problems = SOURCES[source], []
    for key, value in description.items():
        if key == "source" or value is None:
            continue
        if key not in options:
            problems.append(
                f"`{key}` is not a key of the source {source!r}. "
                + suggestion(key, options)
            )
            continue
        kind, choices = options[key].kind, options[key].choices
        if not KINDS[kind](value):
            article = "an" if kind[0] in "aeiou" else "a"
            problems.append(f"`{key}` must be {article} {kind}, got {value!r}.")
        elif choices and value not in choices:
            problems.append(
                f"`{key}` must be {' or '.join(map(repr, choices))} for the source "
                f"{source!r}, got {value!r}."
            )
    for key, option in options.items():
        if option.is_required and description.get(key) is None:
            problems.append(f"`{key}` is required for the source {source!r}.")
    return problems or task_problems(description)


@checked(description=mapping, folder=a_path)
def load(description: Mapping[str, Any], folder: str | Path = ".") -> Dataset:
    """Read or generate samples and prepare them, from a ``[data]`` table.

    Parameters
    ----------
    description : mapping
        Key "source" and the keys of `SOURCES[source]`; absent ones have their default.
    folder : path
        Folder of the configuration; a relative `path` starts there.

    Returns
    -------
    Dataset

    Raises
    ------
    ConfigurationError
        If keys, kinds or choices are wrong; it has all problems.
    FileNotFoundError, TypeError, ValueError
        As from the source and `prepare`.

    Examples
    --------
    >>> load({"source": "moons", "n_samples": 80, "test_fraction": 0.25}).summary()
    '60 training samples and 20 test samples, 2 features, 2 classes'
    """
    problems = check_description(description)
    if problems:
        raise ConfigurationError(problems)
    source = description["source"]
    function, options = thing_of("data source", source), SOURCES[source]
    given = {key: value for key, value in description.items() if value is not None}
    settings = {key: option.default for key, option in options.items()} | given
    for key, option in options.items():
        if option.is_path and settings[key] is not None:
            settings[key] = Path(folder) / user_path(settings[key])
    settings["target"] = encoding_of(description)
    own = [key for key in options_of(function) if key != "task"]
    arguments = {key: settings[key] for key in own}
    preparation = {
        key: settings[key] for key in options_of(prepare) if key not in _SUPPLIED
    }
    if _task_of(source) is None:
        is_fit = settings["target"] == "value"
        if "task" in inspect.signature(function).parameters:
            arguments["task"] = "regression" if is_fit else "classification"
    found = function(**arguments)
    if isinstance(found, Table):
        return _prepared(found, preparation, settings.get("missing") == "fill")
    x, y = found
    if width := getattr(function, "image_width", None):
        kept = settings["classes"] or range(10)
        preparation["class_names"] = tuple(str(digit) for digit in kept)
        preparation["target_names"] = ("digit",)
        preparation["feature_names"] = tuple(
            f"pixel_{i // width}_{i % width}" for i in range(width**2)
        )
    dataset = prepare(x, y, **preparation)
    files = [settings[key] for key in own if options[key].is_path]
    if source == "digits":
        files = [existing(settings["path"] or digits_path())]
    sources = tuple((path.name, sha256(path)) for path in files if path is not None)
    return dataclasses.replace(dataset, sources=sources)


def _prepared(table: Table, preparation: dict[str, Any], has_fill: bool) -> Dataset:
    """Prepare the samples of files; the rows are those of the files."""
    if table.n_test:
        n_rows = len(table.x)
        preparation["test_index"] = np.arange(n_rows - table.n_test, n_rows)
    dataset = prepare(
        table.x,
        table.y,
        **preparation,
        fill_missing=has_fill,
        class_names=table.class_names,
        feature_names=table.feature_names,
        target_names=table.target_names,
    )
    arrays = dict(dataset.preprocessing or {})
    for name in ("train_index", "test_index"):
        arrays[name] = table.rows[arrays[name]]
    return dataclasses.replace(
        dataset,
        preprocessing=arrays,
        column_names=table.column_names,
        sources=table.sources,
        n_dropped=table.n_dropped,
    )
