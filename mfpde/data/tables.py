"""Reading a table of text (by pandas) or an NPY array into a frame of columns."""

from __future__ import annotations

import csv
import lzma
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mfpde.data.frames import NO_NAMES, Frame, quoted
from mfpde.data.numerals import Numerals
from mfpde.errors import DataWarning

Compression = Literal["infer", "none", "gzip", "bz2", "xz", "zip", "tar", "zstd"]
COMPRESSIONS = get_args(Compression)
MISSING_MARKS = (
    *("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NULL", "null"),
    *("None", "NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""What counts as missing in a table of text: the marks of pandas."""

_LINE_BREAK = re.compile(r"[\r\n]")
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error),
    *(EOFError, OSError, ValueError),
)


@dataclass(frozen=True)
class TextFormat:
    """How a table of text is written; see `from_csv` for the fields.

    Raises
    ------
    ValueError
        If a value is none that the field may have.
    """

    header: bool = True
    separator: str = ","
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    compression: str = "infer"
    comment: str | None = None
    skip_rows: int = 0
    quote: str = '"'
    multiline: bool = False
    missing_marks: Sequence[str] | None = None
    numerals: Numerals = field(init=False)

    def __post_init__(self) -> None:
        for name, words in (
            ("separator", 'one character or "whitespace"'),
            ("comment", "one character"),
            ("quote", 'one character, or "" for none'),
        ):
            value = getattr(self, name)
            is_other = value in {"separator": ("whitespace",), "quote": ("",)}.get(
                name, (None,)
            )
            is_character = isinstance(value, str) and len(value) == 1
            if not is_other and (not is_character or value in "\r\n"):
                raise ValueError(f"`{name}` must be {words}, got {value!r}.")
        object.__setattr__(self, "numerals", Numerals(self.decimal, self.thousands))


def read_text(path: Path, form: TextFormat) -> Frame:
    """Read a table of text; nothing in it is converted, dropped or guessed.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If lines differ in the number of cells, a quote is not closed or a cell has
        line breaks, names occur twice, or the file is damaged or empty.
    """
    table = _cells(path, form)
    _refuse_line_breaks(path, table, form)
    table = _stripped(table)
    if form.header:
        names = [
            name or f"unnamed_{i + 1}" for i, name in enumerate(map(str, table[0]))
        ]
        table = table[1:]
    else:
        names = [str(i) for i in range(table.shape[1])]
    _check_names(path, names, form)
    if not len(table):
        raise ValueError(f"{path} has no samples.")
    marks = MISSING_MARKS if form.missing_marks is None else form.missing_marks
    columns = dict(zip(names, table.T, strict=True))
    return Frame(path, columns, form.numerals, frozenset({"", *marks}))


def _check_names(path: Path, names: list[str], form: TextFormat) -> None:
    """Raise for names that occur twice; warn of a sample in the place of names."""
    numbers = [name for name in names if form.numerals.is_number(name)]
    for name in names:
        if names.count(name) > 1:
            hint = NO_NAMES if numbers else ""
            raise ValueError(f"{path} has more than one column {name!r}.{hint}")
    broken = [name for name in numbers if not name.isdecimal()]
    if form.header and broken:
        warnings.warn(
            f"The first line of {path} has {broken[0]!r} among the names of columns, "
            f"like a sample.{NO_NAMES}",
            DataWarning,
            stacklevel=2,
        )


def _cells(path: Path, form: TextFormat) -> NDArray[Any]:
    """All cells, the line of names among them."""
    try:
        import pandas
    except ImportError:
        raise ImportError(
            "Reading a table of text needs pandas. Install it with "
            "`pip install 'mfpde[data]'`, or give the samples as NPZ or NPY."
        ) from None
    separator = r"\s+" if form.separator == "whitespace" else form.separator
    quoting: dict[str, Any] = {"quoting": csv.QUOTE_NONE}
    if form.quote:
        quoting = {"quotechar": form.quote}
    try:
        table = pandas.read_csv(
            path,
            sep=separator,
            header=None,
            index_col=False,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skipinitialspace=form.separator != "\t",
            skiprows=form.skip_rows,
            comment=form.comment,
            encoding=form.encoding,
            compression=None if form.compression == "none" else form.compression,
            on_bad_lines="error",
            **quoting,
        )
    except pandas.errors.EmptyDataError:
        raise ValueError(f"{path} has no samples.") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in the encoding {form.encoding!r}: {error}. Set "
            '`encoding`, for example to "latin-1" or "utf-16".'
        ) from error
    except LookupError:
        raise ValueError(
            f"`encoding` must name an encoding of text, got {form.encoding!r}."
        ) from None
    except pandas.errors.ParserError as error:
        raise ValueError(_explained(path, form, str(error))) from error
    except _DAMAGE as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error
    return table.to_numpy(dtype=object)


def _explained(path: Path, form: TextFormat, message: str) -> str:
    """What the parser of pandas says, with the key that helps."""
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if found:
        expected, line, saw = found.groups()
        return (
            f"Line {line} of {path} must have {expected} cells like the lines before "
            f"it, got {saw}. If the first lines are no names and no samples, set "
            "`skip_rows` (and `header` = false without names); else mend the line, or "
            f"set `separator`{_blanks(form)}."
        )
    found = re.search(r"EOF inside string starting at row (\d+)", message)
    if found:
        return (
            f"A quote {form.quote} that opens in line {int(found[1]) + 1} of {path} is "
            'never closed. Mend the line, or set `quote` = "" if quotes are plain '
            "characters."
        )
    return f"{path} cannot be read as a table: {message.strip()}"


def _blanks(form: TextFormat) -> str:
    return ' (to "whitespace", if there are several blanks)' * (form.separator == " ")


def _refuse_line_breaks(path: Path, table: NDArray[Any], form: TextFormat) -> None:
    """A stray quote swallows whole lines up to the next one: never in silence."""
    for j, column in enumerate(table.T):
        text = ",".join(column)
        if "\0" in text:
            raise ValueError(f"{path} is no table of text: it has the character NUL.")
        if form.multiline or not _LINE_BREAK.search(text):
            continue
        i = next(i for i, cell in enumerate(column) if _LINE_BREAK.search(cell))
        where = f"row {i + (not form.header)}"
        if form.header and not i:
            where = "the line of names"
        raise ValueError(
            f"Cell {j + 1} of {where} of {path} goes on over the end of its line: "
            f"{column[i][:40]!r}. A stray quote {form.quote} does that: mend it, or "
            'set `quote` = "" if quotes are plain characters, or `multiline` = true '
            "if cells may have several lines."
        )


def _stripped(table: NDArray[Any]) -> NDArray[Any]:
    """The cells without blanks at their ends."""
    cells = np.empty(table.shape, dtype=object)
    for j, column in enumerate(table.T):
        cells[:, j] = [cell.strip() for cell in column]
    return cells


def read_npy(path: Path) -> Frame:
    """Read an NPY array (N,) or (N, c), its columns named "0", "1", ...

    Raises
    ------
    ValueError
        If it is none, or has another shape.
    TypeError
        If it holds neither numbers nor strings.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (*_DAMAGE, SyntaxError) as error:
        raise ValueError(f"{path} is not an NPY file: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f'{path} is an archive of arrays: set `source` = "npz".')
    if array.ndim not in (1, 2) or not array.size:
        raise ValueError(
            f"{path} must have shape (n_samples,) or (n_samples, n_columns), got "
            f"{array.shape}."
        )
    columns = array.reshape(len(array), -1).T
    return Frame(path, {str(i): plain(path, c) for i, c in enumerate(columns)})


def plain(path: Path | str, array: NDArray[Any]) -> NDArray[Any]:
    """Numbers as float64, strings stripped; TypeError for anything else."""
    if array.dtype.kind in "fiub":
        return array.astype(np.float64)
    if array.dtype.kind == "U":
        return np.array([cell.strip() for cell in array.tolist()], dtype=object)
    raise TypeError(
        f"{path} must hold real numbers or strings, got dtype {array.dtype}. "
        f"Convert it, or leave it out; see {quoted('drop_columns')}."
    )
