"""How numbers are written in a table of text, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

DATE = re.compile(
    r"(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}"
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ,]+\d{2,4}"
    r"|[A-Za-z]{3,9} \d{1,2},? \d{4})"
    r"([ T]\d{1,2}:\d{2}.*)?"
    r"|\d{1,2}:\d{2}(:\d{2}.*)?"
)
"""A cell that is a date or a time of the day."""

_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Numerals:
    """Decimal mark and mark between thousands.

    Attributes
    ----------
    decimal : str
        One character.
    thousands : str or None
        One character, allowed only between groups of three digits.
    """

    decimal: str = "."
    thousands: str | None = None

    def __post_init__(self) -> None:
        for name in ("decimal", "thousands"):
            mark = getattr(self, name)
            if mark is None and name == "thousands":
                continue
            if not isinstance(mark, str) or len(mark) != 1 or mark.isalnum():
                raise ValueError(
                    f"`{name}` must be one character that is no digit or letter, got "
                    f"{mark!r}."
                )
        if self.decimal == self.thousands:
            raise ValueError(
                f"`decimal` and `thousands` must differ, got {self.decimal!r} twice."
            )

    # A frozen dataclass without slots has a dictionary for it.
    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        point = re.escape(self.decimal)
        whole = r"[0-9]+"
        if self.thousands is not None:
            mark = re.escape(self.thousands)
            whole = rf"(?:[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+|[0-9]+)"
        return re.compile(
            rf"[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
        )

    def is_number(self, cell: str) -> bool:
        """Whether the cell is a number in this notation."""
        return self._pattern.fullmatch(cell) is not None

    def exact(self, cell: str) -> Decimal:
        """The exact value of a cell that is a number."""
        return Decimal(self._plain(cell))

    def values(self, cells: Iterable[str]) -> NDArray[np.float64]:
        """Numbers of the cells; NaN for those that are none.

        A column of nothing but true and false counts as 1 and 0.
        """
        cells = list(cells)
        if self.decimal == "." and self.thousands is None:
            values = _converted(cells)
            if values is not None:
                return values
        if cells and all(cell.lower() in _TRUTH for cell in cells):
            return np.array([_TRUTH[cell.lower()] for cell in cells])
        return np.array(
            [float(self._plain(c)) if self.is_number(c) else np.nan for c in cells]
        )

    def other_marks(self, cell: str) -> str:
        """The keys under which a cell would be a number, "" if none does."""
        for text, marks in (
            ('`decimal` = ","', Numerals(decimal=",")),
            ('`thousands` = ","', Numerals(thousands=",")),
            (
                '`decimal` = "," and `thousands` = "."',
                Numerals(decimal=",", thousands="."),
            ),
        ):
            if marks.is_number(cell):
                return text
        return ""

    def _plain(self, cell: str) -> str:
        if self.thousands is not None:
            cell = cell.replace(self.thousands, "")
        return cell.replace(self.decimal, ".")


PLAIN = Numerals()
"""A decimal point, and nothing between thousands."""


def _converted(cells: list[str]) -> NDArray[np.float64] | None:
    """All cells at once; None if one is not plainly a finite number."""
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        return None
    # Python's float() takes 1_000 and the digits of every script, too.
    text = "".join(cells)
    is_plain = np.isfinite(values).all() and "_" not in text and text.isascii()
    return values if is_plain else None
