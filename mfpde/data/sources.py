"""The ``[data]`` table of a configuration: what it may hold, and how it is read."""

from __future__ import annotations

import dataclasses
import inspect
import numbers
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mfpde.arrays import a_path, checked, mapping
from mfpde.data.checks import existing, sha256, suggestion
from mfpde.data.classes import TASKS
from mfpde.data.files import from_csv, from_npy, from_npz
from mfpde.data.frames import MISSING
from mfpde.data.generators import (
    CURVES,
    curve,
    gaussian,
    moons,
    rings,
    spirals,
    teacher,
)
from mfpde.data.images import digits, digits_path, mnist5000
from mfpde.data.joining import Table
from mfpde.data.preparation import Dataset, prepare
from mfpde.data.tables import COMPRESSIONS
from mfpde.errors import ConfigurationError
from mfpde.paths import user_path

REQUIRED = inspect.Parameter.empty


class Option(NamedTuple):
    """A key of the table: its default, what it means, its kind and its choices.

    The default None means that the key is absent; `REQUIRED` that it must be given.
    """

    default: Any
    description: str
    kind: str
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        """Whether the key must be given."""
        return self.default is REQUIRED


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

_GENERATED = {
    "n_samples": ("number of samples", "integer"),
    "noise": ("standard deviation of the normal noise", "number"),
    "seed": ("seed of samples and split", "integer"),
}
_N_CLASSES = {"n_classes": ("number of classes", "integer")}
_PATH = ("path of the file, relative to the configuration", "string")

_IMAGES = {
    "classes": ("digits to keep; default all ten", "list of integers"),
    "n_samples": ("how many images to keep; default all", "integer"),
}
# Pixels in a row of the images.
_IMAGE_WIDTH = {"digits": 8, "mnist5000": 28}

_MISSING = (
    "what to do with missing values; fill: mean of the training samples",
    "string",
    MISSING,
)
_TABLE_KEYS: dict[str, tuple] = {
    "path": _PATH,
    "target_columns": ("column(s) of the target", "string or list of strings"),
    "target_path": ("a file of its own with the target", "string"),
    "feature_columns": ("columns of the input; default all others", "list of strings"),
    "drop_columns": ("columns to leave out", "list of strings"),
    "test_path": ("a file of its own with test samples", "string"),
    "test_target_path": ("and one with their target", "string"),
    "missing": _MISSING,
}
_TEXT_KEYS: dict[str, tuple] = {
    "missing_marks": ("cells that are missing values", "list of strings"),
    "header": ("whether the first line names the columns", "boolean"),
    "skip_rows": ("lines to skip at the start", "integer"),
    "separator": ('the character between cells, or "whitespace"', "string"),
    "decimal": ("the decimal mark", "string"),
    "thousands": ("the mark between thousands", "string"),
    "comment": ("the mark that starts a comment", "string"),
    "quote": ('the character around text, "" for none', "string"),
    "multiline": ("whether quoted cells may have line breaks", "boolean"),
    "encoding": ("the encoding of the text", "string"),
    "compression": ("infer goes by the suffix", "string", COMPRESSIONS),
}
_FILE_KEYS = ("path", "target_path", "test_path", "test_target_path")

_SOURCE_KEYS: dict[str, tuple[Callable, dict[str, tuple]]] = {
    "digits": (digits, {"path": _PATH} | _IMAGES),
    "mnist5000": (mnist5000, _IMAGES),
    "spirals": (
        spirals,
        _GENERATED
        | _N_CLASSES
        | {"turns": ("turns of an arm about the origin", "number")},
    ),
    "rings": (rings, _GENERATED | _N_CLASSES),
    "moons": (moons, _GENERATED),
    "curve": (
        curve,
        _GENERATED
        | {
            "function": ("the curve", "string", tuple(CURVES)),
            "interval": ("the inputs lie in [low, high]", "list of numbers"),
            "equispaced": ("equispaced inputs, else random ones", "boolean"),
        },
    ),
    "teacher": (
        teacher,
        _GENERATED
        | {
            "n_features": ("dimension of inputs and teacher", "integer"),
            "n_outputs": ("dimension of targets; default n_features", "integer"),
            "n_layers": ("layers of the teacher", "integer"),
            "width": ("particles in each layer of the teacher", "integer"),
            "teacher_scale": ("size of the teacher's output weights", "number"),
        },
    ),
    "gaussian": (
        gaussian,
        {
            "n_samples": _GENERATED["n_samples"],
            "seed": _GENERATED["seed"],
            "n_features": ("dimension of inputs", "integer"),
            "n_outputs": ("dimension of targets", "integer"),
        },
    ),
    "csv": (from_csv, _TABLE_KEYS | _TEXT_KEYS),
    "npy": (from_npy, _TABLE_KEYS),
    "npz": (
        from_npz,
        {
            "path": _PATH,
            "x": ("name of the array of inputs", "string"),
            "y": ("name of the array of targets", "string"),
            "x_test": ("name of the array of test inputs", "string"),
            "y_test": ("name of the array of test targets", "string"),
            "missing": _MISSING,
        },
    ),
}

_PREPARATION_KEYS: dict[str, tuple] = {
    "task": ("what the targets are; to be given for a file",),
    "target": ("encoding of the targets; follows from the task",),
    "test_fraction": ("share of the samples that is set apart", "number"),
    "stratify": ("give each class its share of the test samples", "boolean"),
    "seed": ("seed of the split", "integer"),
    "standardise": ("bring features to mean 0 and deviation 1", "boolean"),
    "standardise_target": ("the same for the targets of a regression", "boolean"),
    "pca": ("number of principal components; default no PCA", "integer"),
    "whiten": ("bring components to deviation 1", "boolean"),
    "scale": ("factor of the prepared inputs", "number"),
    "pad_to": ("append zeros up to this dimension", "integer"),
}

_FILES = ("csv", "npy", "npz")
_REGRESSIONS = ("curve", "teacher", "gaussian")
# The first is the default.
_TARGETS_OF_TASK = {"classification": ("one_hot", "signs"), "regression": ("value",)}


def _tasks(source: str) -> tuple[str, ...]:
    """The tasks that a source can have."""
    if source in _FILES:
        return TASKS
    return ("regression",) if source in _REGRESSIONS else ("classification",)


_N_SAMPLES = 400

# Names that a source and `prepare` would otherwise share: key -> keyword.
_RENAMED = {"teacher_scale": "scale"}


def _options(source: str) -> dict[str, Option]:
    """Join the descriptions of the keys with the defaults of the functions."""
    function, keys = _SOURCE_KEYS[source]
    tasks = _tasks(source)
    targets = tuple(t for task in tasks for t in _TARGETS_OF_TASK[task])
    # The task of a file is not guessed.
    is_open = source in _FILES
    chosen = {"task": tasks, "target": targets}
    options = {}
    for reader, described in ((function, keys), (prepare, _PREPARATION_KEYS)):
        parameters = inspect.signature(reader).parameters
        for key, texts in described.items():
            if key in chosen:
                default = None if is_open else chosen[key][0]
                options[key] = Option(default, *texts, "string", chosen[key])
            elif key not in options:
                default = parameters[_RENAMED.get(key, key)].default
                if key == "n_samples" and default is REQUIRED:
                    default = _N_SAMPLES
                options[key] = Option(default, *texts)
    return options


SOURCES: dict[str, dict[str, Option]] = {
    source: _options(source) for source in _SOURCE_KEYS
}


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
        if description.get("source") not in _FILES:
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
        _, _, kind, choices = options[key]
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
    given = {key: value for key, value in description.items() if value is not None}
    settings = {key: option.default for key, option in SOURCES[source].items()} | given
    for key in _FILE_KEYS:
        if settings.get(key) is not None:
            settings[key] = Path(folder) / user_path(settings[key])
    settings["target"] = encoding_of(description)
    function, keys = _SOURCE_KEYS[source]
    arguments = {_RENAMED.get(key, key): settings[key] for key in keys}
    preparation = {key: settings[key] for key in _PREPARATION_KEYS if key != "task"}
    if source in _FILES:
        task = "regression" if settings["target"] == "value" else "classification"
        table = function(**arguments, task=task)
        return _prepared(table, preparation, settings["missing"] == "fill")
    x, y = function(**arguments)
    sources: tuple[tuple[str, str], ...] = ()
    if source == "digits":
        path = existing(settings["path"] or digits_path())
        sources = ((path.name, sha256(path)),)
    if source in _IMAGE_WIDTH:
        kept = settings["classes"] or range(10)
        width = _IMAGE_WIDTH[source]
        preparation["class_names"] = tuple(str(digit) for digit in kept)
        preparation["target_names"] = ("digit",)
        preparation["feature_names"] = tuple(
            f"pixel_{i // width}_{i % width}" for i in range(width**2)
        )
    return dataclasses.replace(prepare(x, y, **preparation), sources=sources)


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
