"""Columns of one file, and what is made of them: numbers, labels, missing values.

A frame holds the columns as they stand in the file, text or numbers. Rows are counted
from 1, the line with the names of columns not among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mfpde.data.checks import suggestion
from mfpde.data.numerals import DATE, PLAIN, Numerals
from mfpde.errors import nearest

Missing = Literal["refuse", "drop", "fill"]
MISSING = get_args(Missing)
_N_SHOWN = 12
NO_NAMES = (
    " If the first line does not name the columns, set `header` = false, and "
    "`skip_rows` = 1 to leave that line out."
)


@dataclass(frozen=True, eq=False)
class Frame:
    """Columns of one file.

    Attributes
    ----------
    path : Path
    columns : dict of str to ndarray, shapes (N,)
        Strings without blanks at their ends, or float64.
    numerals : Numerals
        How numbers are written in columns of text.
    missing_marks : frozenset of str
        Cells of text that stand for a missing value; the number NaN always does.
    """

    path: Path
    columns: dict[str, NDArray]
    numerals: Numerals = PLAIN
    missing_marks: frozenset[str] = frozenset({""})

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self.columns)

    @property
    def n_rows(self) -> int:
        """Number N of rows."""
        return len(next(iter(self.columns.values())))

    def is_missing(self, name: str) -> NDArray[np.bool_]:
        """Which entries of a column are missing, shape (N,)."""
        column = self.columns[name]
        if column.dtype.kind == "f":
            return np.isnan(column)
        found = self.missing_marks.intersection(column)
        if not found:
            return np.zeros(len(column), dtype=bool)
        return np.array([cell in found for cell in column])

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column as numbers (N,), NaN where missing.

        Raises
        ------
        NotNumeric
            If a cell is neither a finite number nor missing.
        """
        column, is_missing = self.columns[name], self.is_missing(name)
        values = np.full(len(column), np.nan)
        rows = np.flatnonzero(~is_missing)
        if column.dtype.kind == "f":
            values[rows] = column[rows]
        else:
            values[rows] = self.numerals.values(column[rows])
        bad = rows[~np.isfinite(values[rows])]
        if len(bad):
            cell, share = str(column[bad[0]]), len(bad) / len(rows)
            raise NotNumeric(name, int(bad[0]) + 1, cell, share)
        return values

    def labels(self, name: str) -> list:
        """A column as labels: strings or floats, None where missing."""
        column, is_missing = self.columns[name].tolist(), self.is_missing(name)
        pairs = zip(column, is_missing, strict=True)
        return [None if missing else value for value, missing in pairs]

    def where(self, row: int, name: str) -> str:
        """Words for a place in the file."""
        return f"Row {row}, column {name!r} of {self.path}"

    def check_names(self, keyword: str, names: Iterable[str]) -> None:
        """Raise ValueError if there is no such column."""
        for name in names:
            if name not in self.columns:
                near = nearest(name, self.names)
                known = suggestion(str(name), [near] if near else _first(self.names))
                raise ValueError(
                    f"`{keyword}` has {name!r}, but {self.path} has no such column. "
                    f"{known}{self.hint()}"
                )

    def hint(self) -> str:
        """What may be wrong with names that were not found."""
        if len(self.columns) == 1:
            (column,) = self.columns.values()
            text = f"{self.names[0]} {column[0]}".strip()
            found = [mark for mark in (";", "\t", "|", ",", " ") if mark in text]
            if found:
                return (
                    f" Only one column was found: set `separator` = {quoted(found[0])}."
                )
        if all(len(name) > 2 and name[0] == name[-1] == "'" for name in self.names):
            return ' The names stand in single quotes: set `quote` = "\'".'
        if any(self.numerals.is_number(name) for name in self.names) and not all(
            name == str(i) for i, name in enumerate(self.names)
        ):
            return NO_NAMES
        return ""


class NotNumeric(ValueError):
    """A cell that is no number: column, row, text, and the share of such cells."""

    def __init__(self, name: str, row: int, cell: str, share: float) -> None:
        super().__init__(f"Row {row} of column {name!r} is no number: {cell!r}.")
        self.name, self.row, self.cell, self.share = name, row, cell, share


class Matrix(NamedTuple):
    """Numbers (N, c) of some columns, NaN where missing, and their names."""

    values: NDArray[np.float64]
    names: tuple[str, ...]


def features(frame: Frame, names: Sequence[str]) -> Matrix:
    """The inputs; all columns that are no numbers are named at once.

    Raises
    ------
    ValueError
        If there are such columns.
    """
    found, wrong = [], []
    for name in names:
        try:
            found.append(frame.numbers(name))
        except NotNumeric as error:
            wrong.append(error)
    if wrong:
        raise ValueError(_not_numeric(frame, wrong))
    return Matrix(np.stack(found, axis=1), tuple(names))


def targets(frame: Frame, names: Sequence[str]) -> Matrix:
    """The targets of a regression.

    Raises
    ------
    ValueError
        If a cell is no number.
    """
    try:
        columns = [frame.numbers(name) for name in names]
    except NotNumeric as error:
        raise ValueError(
            f"{frame.where(error.row, error.name)} must be a finite number to be a "
            f"target of a regression, got {error.cell!r}. "
            f'For classes set `task` = "classification"; {_mark_hint(frame, error)}'
        ) from None
    return Matrix(np.stack(columns, axis=1), tuple(names))


def _not_numeric(frame: Frame, wrong: list[NotNumeric]) -> str:
    """A sentence on the columns that cannot be inputs, with the keys that help."""
    mostly_numbers = [error for error in wrong if error.share < 0.5]
    if mostly_numbers:
        error = mostly_numbers[0]
        hint = _mark_hint(frame, error)
        return (
            f"{frame.where(error.row, error.name)} must be a finite number, got "
            f"{error.cell!r}. {hint[0].upper()}{hint[1:]}"
        )
    if len(frame.columns) == 1 and frame.hint():
        return (
            f"{frame.where(wrong[0].row, wrong[0].name)} must be a finite number, got "
            f"{wrong[0].cell[:40]!r}.{frame.hint()}"
        )
    kinds = [
        f"{error.name!r} ({'dates' if DATE.fullmatch(error.cell) else 'text'}, such as "
        f"{error.cell[:40]!r} in row {error.row})"
        for error in wrong
    ]
    is_one = len(wrong) == 1
    return (
        f"Column{'' if is_one else 's'} {', '.join(kinds)} of {frame.path} "
        f"{'holds' if is_one else 'hold'} no numbers. Leave "
        f"{'it' if is_one else 'them'} out with `drop_columns` = "
        f"{toml_list(error.name for error in wrong)}, or name the inputs in "
        "`feature_columns`."
    )


def _mark_hint(frame: Frame, error: NotNumeric) -> str:
    other = frame.numerals.other_marks(error.cell)
    if other:
        return f"if it is a number, set {other}."
    return (
        "if it marks a missing value, set `missing_marks` = "
        f"[{quoted(error.cell[:40])}]."
    )


def refuse_missing(frame: Frame, names: Sequence[str], has_fill: bool) -> None:
    """Raise ValueError if an entry of the columns is missing; it names the first."""
    masks = np.stack([frame.is_missing(name) for name in names], axis=1)
    if not masks.any():
        return
    row, column = np.argwhere(masks)[0]
    cell = str(frame.columns[names[column]][row])
    n_rows = int(masks.any(axis=1).sum())
    fill = ' or "fill" to put in the mean of the training samples' if has_fill else ""
    raise ValueError(
        f"{frame.where(row + 1, names[column])} has no value, but {cell!r}. Set "
        f'`missing` = "drop" to leave out the {n_rows} of {len(masks)} rows with '
        f"missing values{',' + fill if fill else ''}."
    )


def quoted(text: str) -> str:
    """The text as it is written in TOML."""
    return json.dumps(text, ensure_ascii=False)


def toml_list(names: Iterable[str]) -> str:
    """Names as they are written in TOML."""
    return f"[{', '.join(map(quoted, names))}]"


def _first(names: Sequence[str]) -> list[str]:
    """The names, or the first of many."""
    return list(names[:_N_SHOWN]) + (["..."] if len(names) > _N_SHOWN else [])
