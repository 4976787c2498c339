"""Samples from tables of text, NPY and NPZ files of the user."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import a_path, checked, choice, flag, optional, sequence, text, whole
from mfpde.data.checks import existing, suggestion
from mfpde.data.classes import TASKS, Task
from mfpde.data.frames import MISSING, Frame, Missing
from mfpde.data.joining import Table, joined
from mfpde.data.kinds import source
from mfpde.data.tables import (
    COMPRESSIONS,
    Compression,
    TextFormat,
    plain,
    read_npy,
    read_text,
)

_TEXTS = optional(sequence(text))


def _columns(name: str, value: Any) -> str | tuple[str, ...]:
    """One name, or several."""
    return str(value) if isinstance(value, str) else sequence(text)(name, value)


_TABLE_CHECKS = {
    "path": a_path,
    "task": choice(*TASKS),
    "target_columns": optional(_columns),
    "target_path": optional(a_path),
    "feature_columns": _TEXTS,
    "drop_columns": _TEXTS,
    "test_path": optional(a_path),
    "test_target_path": optional(a_path),
    "missing": choice(*MISSING),
}
_ARRAY_CHECKS = {name: _TABLE_CHECKS[name] for name in ("path", "task", "missing")}
_ARRAY_NAMES = {
    "x": text,
    "y": text,
    "x_test": optional(text),
    "y_test": optional(text),
}


@source("csv")
@checked(
    **_TABLE_CHECKS,
    missing_marks=_TEXTS,
    header=flag,
    skip_rows=whole(0, 2**31),
    separator=text,
    decimal=text,
    thousands=optional(text),
    comment=optional(text),
    quote=text,
    multiline=flag,
    encoding=text,
    compression=choice(*COMPRESSIONS),
)
def from_csv(
    path: str | Path,
    *,
    task: Task,
    target_columns: str | Sequence[str] | None = None,
    target_path: str | Path | None = None,
    feature_columns: Sequence[str] | None = None,
    drop_columns: Sequence[str] | None = None,
    test_path: str | Path | None = None,
    test_target_path: str | Path | None = None,
    missing: Missing = "refuse",
    missing_marks: Sequence[str] | None = None,
    header: bool = True,
    skip_rows: int = 0,
    separator: str = ",",
    decimal: str = ".",
    thousands: str | None = None,
    comment: str | None = None,
    quote: str = '"',
    multiline: bool = False,
    encoding: str = "utf-8",
    compression: Compression = "infer",
) -> Table:
    """Read samples from a table of text, one a line, by pandas.

    Parameters
    ----------
    path : path
        The table. Blank lines are skipped.
    task : {"classification", "regression"}
        Whether the target is a class or numbers to be fitted. What contradicts the
        data is an error or a `DataWarning`.
    target_columns : str or sequence of str, optional
        Name or names of the columns with the target; one for a classification.
        Default: all columns of `target_path`, which then has to be given.
    target_path : path, optional
        A table of the same form that has the target, row by row.
    feature_columns : sequence of str, optional
        Names of the columns with the inputs. Default: all others.
    drop_columns : sequence of str, optional
        Names of columns that are left out.
    test_path : path, optional
        A table of the same form with samples for testing.
    test_target_path : path, optional
        A table of the same form with their target.
    missing : {"refuse", "drop", "fill"}
        What to do with missing values: raise, leave the row out, or (for inputs) keep
        NaN, for `prepare` to fill in the mean of the training samples.
    missing_marks : sequence of str, optional
        Cells that stand for a missing value, beside empty ones. Default: those of
        pandas, such as NA, nan and NULL.
    header : bool
        Whether the first line has the names; else the columns are "0", "1", ...
    skip_rows : int
        Lines to skip before that.
    separator : str
        The character between cells, or "whitespace" for any number of blanks.
    decimal : str
        The decimal mark.
    thousands : str, optional
        The mark between thousands.
    comment : str, optional
        The mark that starts a comment.
    quote : str
        The character around cells that have a separator within; "" if there is none.
    multiline : bool
        Whether a quoted cell may have line breaks. Otherwise such a cell is refused: a
        stray quote would swallow lines.
    encoding : str
        Encoding of the text, as in `pandas.read_csv`.
    compression : str
        Compression; "infer" goes by the suffix.

    Returns
    -------
    Table

    Raises
    ------
    ImportError
        If pandas is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the table cannot be read, a column is missing, or a cell is not what it has
        to be; the message has row and column.
    """
    form = TextFormat(
        header=header,
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        encoding=encoding,
        compression=compression,
        comment=comment,
        skip_rows=skip_rows,
        quote=quote,
        multiline=multiline,
        missing_marks=missing_marks,
    )
    parts = _paired((path, target_path), (test_path, test_target_path))
    return joined(
        [[read_text(p, form) for p in part] for part in parts],
        task=task,
        missing=missing,
        target_columns=target_columns,
        feature_columns=feature_columns,
        drop_columns=drop_columns,
    )


@source("npy", like=from_csv)
@checked(**_TABLE_CHECKS)
def from_npy(
    path: str | Path,
    *,
    task: Task,
    target_columns: str | Sequence[str] | None = None,
    target_path: str | Path | None = None,
    feature_columns: Sequence[str] | None = None,
    drop_columns: Sequence[str] | None = None,
    test_path: str | Path | None = None,
    test_target_path: str | Path | None = None,
    missing: Missing = "refuse",
) -> Table:
    """Read samples from NPY files, as written by `numpy.save`; nothing is unpickled.

    The columns are named by their positions "0", "1", ...; NaN is a missing value.
    All else is as for `from_csv`.
    """
    parts = _paired((path, target_path), (test_path, test_target_path))
    return joined(
        [[read_npy(p) for p in part] for part in parts],
        task=task,
        missing=missing,
        target_columns=target_columns,
        feature_columns=feature_columns,
        drop_columns=drop_columns,
    )


@source("npz", like=from_csv)
@checked(**_ARRAY_CHECKS, **_ARRAY_NAMES)
def from_npz(
    path: str | Path,
    *,
    task: Task,
    x: str = "x",
    y: str = "y",
    x_test: str | None = None,
    y_test: str | None = None,
    missing: Missing = "refuse",
) -> Table:
    """Read samples from arrays of an NPZ file; nothing in it is unpickled.

    Parameters
    ----------
    path : path
        The file, as written by `numpy.savez`.
    task : {"classification", "regression"}
        As for `from_csv`.
    x : str
        Name of the array of the inputs, (N, d) or (N,).
    y : str
        Name of the array of the targets, (N,) or (N, q).
    x_test : str, optional
        Name of the array of test inputs.
    y_test : str, optional
        Name of the array of test targets; both or neither.
    missing : {"refuse", "drop", "fill"}
        As for `from_csv`; NaN is a missing value.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no archive, an array is missing or has the wrong shape.
    TypeError
        If an array has the wrong dtype.
    """
    path = existing(path)
    if (x_test is None) != (y_test is None):
        raise ValueError("`x_test` and `y_test` must both be given, or neither.")
    pairs = [(x, y)] if x_test is None else [(x, y), (x_test, y_test)]
    given = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
    arrays = _read_arrays(path, {k: n for k, n in given.items() if n is not None})
    frames = [
        [
            _array_frame(path, first, arrays[first], "x"),
            _array_frame(path, second, arrays[second], y),
        ]
        for first, second in pairs
    ]
    return joined(frames, task=task, missing=missing)


def _paired(*pairs: tuple) -> list[list[Path]]:
    """Files of the samples and those of the test samples, each with its targets."""
    (path, target_path), (test_path, test_target_path) = pairs
    has_test = test_path is not None
    if (test_target_path is not None) != (has_test and target_path is not None):
        raise ValueError(
            "`test_target_path` must be given with `target_path` and `test_path`, and "
            "with these only."
        )
    parts = [[path, target_path], [test_path, test_target_path]]
    given = [[existing(p) for p in part if p is not None] for part in parts]
    return [part for part in given if part]


def _array_frame(path: Path, name: str, array: NDArray, prefix: str) -> Frame:
    """An array of an archive as a frame: its columns are named after it."""
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(
            f"`{name}` of {path} must have shape (n_samples,) or (n_samples, "
            f"n_columns), got {array.shape}."
        )
    values = plain(f"`{name}` of {path}", array)
    columns = values.reshape(len(values), -1).T
    is_one = prefix != "x" and len(columns) == 1
    names = [prefix] if is_one else [f"{prefix}{i}" for i in range(len(columns))]
    return Frame(path, dict(zip(names, columns, strict=True)))


def _read_arrays(path: Path, names: Mapping[str, str]) -> dict[str, NDArray]:
    """Arrays by their names, which are arguments of `from_npz`."""
    damage = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError)
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except damage as error:
            raise ValueError(f"{path} is not an NPZ file.") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(
                f'{path} is not an NPZ file but a single array: set `source` = "npy".'
            )
        for argument, name in names.items():
            if name not in archive.files:
                raise ValueError(
                    f"`{argument}` must name an array of the file: {path} has no array "
                    f"{name!r}. " + suggestion(name, archive.files)
                )
        try:
            return {name: archive[name] for name in names.values()}
        except damage as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
