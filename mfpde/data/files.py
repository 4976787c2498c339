"""Samples from CSV and NPZ files of the user."""

from __future__ import annotations

import contextlib
import csv
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mfpde.data.checks import real_array, sample_matrix, suggestion
from mfpde.paths import user_path


class Table(NamedTuple):
    """Raw samples of a file.

    `x` has shape (N, d). `y` is either (N,) integer labels, positions in `class_names`,
    or (N, q) values; then `class_names` is empty. `n_test` of the last rows are a test
    set that the file gives apart.
    """

    x: NDArray[np.float64]
    y: NDArray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    n_test: int = 0


def from_csv(
    path: str | Path,
    *,
    target_columns: str | Sequence[str],
    feature_columns: Sequence[str] | None = None,
    labels: bool = False,
    delimiter: str = ",",
    header: bool = True,
) -> Table:
    """Read samples from a CSV file, one a line.

    Parameters
    ----------
    path : path
        The file, UTF-8. Blank lines are skipped.
    target_columns : str or sequence of str
        Name or names of the columns with the targets; one column if `labels`.
    feature_columns : sequence of str, optional
        Names of the columns with the inputs. Default: all others.
    labels : bool
        Whether the target is a class, any text; else the targets are numbers. Classes
        are sorted, by value if all are numbers.
    delimiter : str
        The character between cells.
    header : bool
        Whether the first line has the names; else the columns are "0", "1", ...

    Returns
    -------
    Table
        With x (N, d) and y (N, q), or (N,) for labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, or a cell is not a finite number; the message names
        line and column.
    """
    path = existing(path)
    names, rows, lines = _read_cells(path, delimiter, header)
    targets = [target_columns] if isinstance(target_columns, str) else target_columns
    if feature_columns is None:
        feature_columns = [name for name in names if name not in targets]
    _check_columns(path, names, targets, feature_columns, labels)
    cells = {name: [row[i] for row in rows] for i, name in enumerate(names)}

    def numbers(columns: Sequence[str]) -> NDArray[np.float64]:
        return np.stack(
            [_numbers(path, name, cells[name], lines) for name in columns], axis=1
        )

    x, feature_names = numbers(feature_columns), tuple(feature_columns)
    if not labels:
        return Table(x, numbers(targets), feature_names)
    classes = [cell.strip() for cell in cells[targets[0]]]
    if "" in classes:
        line = lines[classes.index("")]
        raise ValueError(f"Line {line} of {path} has no label in {targets[0]!r}.")
    class_names, y = _number_classes(classes)
    return Table(x, y, feature_names, class_names)


def from_npz(
    path: str | Path,
    *,
    x: str = "x",
    y: str = "y",
    x_test: str | None = None,
    y_test: str | None = None,
    labels: bool = False,
) -> Table:
    """Read samples from arrays of an NPZ file; nothing in it is unpickled.

    Parameters
    ----------
    path : path
        The file, as written by `numpy.savez`.
    x : str
        Name of the array of the inputs, (N, d).
    y : str
        Name of the array of the targets, (N,) or (N, q).
    x_test, y_test : str, optional
        Names of the arrays of a test set of its own; both or neither.
    labels : bool
        Whether the targets are classes: integers or strings of shape (N,).

    Returns
    -------
    Table
        With x (N, d) and y (N, q), or (N,) for labels.

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
    arrays = _read_arrays(path, [name for pair in pairs for name in pair])
    inputs, targets = [], []
    for x_name, y_name in pairs:
        inputs.append(sample_matrix(x_name, arrays[x_name]))
        targets.append(_npz_target(y_name, arrays[y_name], len(inputs[-1]), labels))
    for name, parts in (("inputs", inputs), ("targets", targets)):
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(
                f"Training and test {name} of {path} must have the same number of "
                f"columns, got shapes {parts[0].shape} and {parts[1].shape}."
            )
    n_test = len(inputs[1]) if len(inputs) > 1 else 0
    class_names, y_all = (), np.concatenate(targets)
    if labels:
        class_names, y_all = _number_classes(y_all.tolist())
    x_all = np.concatenate(inputs)
    feature_names = tuple(f"x{i}" for i in range(x_all.shape[1]))
    return Table(x_all, y_all, feature_names, class_names, n_test)


def existing(path: str | Path) -> Path:
    """The path; FileNotFoundError unless it is a file."""
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no data file {path}.")
    return path


def _number_classes(values: list) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Assign 0, 1, ... to the sorted classes, by value if all of them are numbers."""
    classes = sorted(set(values))
    with contextlib.suppress(ValueError):
        classes.sort(key=float)
    position = {name: i for i, name in enumerate(classes)}
    numbers = np.array([position[value] for value in values], dtype=np.int64)
    return tuple(str(name) for name in classes), numbers


def _read_cells(
    path: Path, delimiter: str, header: bool
) -> tuple[list[str], list[list[str]], list[int]]:
    """Return column names, rows of cells and the line of the file of each row."""
    if not (isinstance(delimiter, str) and len(delimiter) == 1):
        raise ValueError(f"`delimiter` must be one character, got {delimiter!r}.")
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    if len(rows) <= header:
        raise ValueError(f"{path} has no samples.")
    if header:
        names, rows, lines = [name.strip() for name in rows[0]], rows[1:], lines[1:]
    else:
        names = [str(i) for i in range(len(rows[0]))]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path} has more than one column {name!r}.")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            raise ValueError(
                f"Line {line} of {path} must have {len(names)} cells, got {len(row)}."
            )
    return names, rows, lines


def _check_columns(
    path: Path,
    names: Sequence[str],
    targets: Sequence[str],
    features: Sequence[str],
    labels: bool,
) -> None:
    if not targets or (labels and len(targets) > 1):
        raise ValueError(
            f"`target_columns` must name {'one column' if labels else 'a column'}, "
            f"got {list(targets)}."
        )
    for keyword, columns in (("target", targets), ("feature", features)):
        for name in columns:
            if name not in names:
                raise ValueError(
                    f"`{keyword}_columns` has {name!r}, but {path} has no such column. "
                    + suggestion(str(name), names)
                )
    if not features or set(targets) & set(features):
        raise ValueError(
            f"`feature_columns` must name at least one column of {path} that is not a "
            f"target, and no target, got {list(features)}."
        )


def _numbers(
    path: Path, name: str, cells: list[str], lines: list[int]
) -> NDArray[np.float64]:
    """Convert the cells of a column to finite numbers, shape (N,)."""
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if np.isfinite(values).all():
        return values
    for cell, line in zip(cells, lines, strict=True):
        try:
            is_number = bool(np.isfinite(float(cell)))
        except ValueError:
            is_number = False
        if not is_number:
            raise ValueError(
                f"Line {line}, column {name!r} of {path} must be a finite number, got "
                f"{cell!r}."
            )
    raise AssertionError("numpy and float() disagree about a number")


def _read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray]:
    damage = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError)
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except damage as error:
            raise ValueError(f"{path} is not an NPZ file.") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"{path} is not an NPZ file but a single array.")
        for name in names:
            if name not in archive.files:
                raise ValueError(
                    f"{path} has no array {name!r}. " + suggestion(name, archive.files)
                )
        try:
            return {name: archive[name] for name in names}
        except damage as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def _npz_target(name: str, array: NDArray, n_samples: int, labels: bool) -> NDArray:
    """Check targets: labels (N,), integers or strings, or values made (N, q)."""
    if labels:
        if array.dtype.kind not in "iubU":
            raise TypeError(
                f"`{name}` must hold integers or strings to be labels, got dtype "
                f"{array.dtype}. Convert it, or use target = 'value'."
            )
        if array.ndim != 1:
            raise ValueError(
                f"`{name}` must have shape (n_samples,) for labels, got {array.shape}."
            )
    else:
        array = real_array(name, array)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2:
            raise ValueError(
                f"`{name}` must have shape (n_samples, n_outputs), got {array.shape}."
            )
    if len(array) != n_samples:
        raise ValueError(
            f"`{name}` must have one row for each of the {n_samples} inputs, got "
            f"{len(array)}."
        )
    return array
