"""What a key of the configuration may hold: small checks that say what they require.

A check has a phrase `required` ("a number above 0") and a method `read`, which
returns the plain TOML value in its normal form or raises `ValueError`. The value
stays plain (str, bool, int, float, list, dict), so that a resolved configuration
can be written back as TOML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from mfpde.errors import nearest


class Check(Protocol):
    """What every check offers."""

    @property
    def required(self) -> str:
        """A phrase that completes "must be"."""

    def read(self, value: Any) -> Any:
        """Return the normal form of `value`; raise ValueError if it is not one."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return '; did you mean "..."?' for the known name nearest to `name`, or ''."""
    near = nearest(name, known)
    return f'; did you mean "{near}"?' if near else ""


def quoted(names: Iterable[str]) -> str:
    """Return the names in quotes, separated by commas."""
    return ", ".join(f'"{name}"' for name in names)


@dataclass(frozen=True)
class Number:
    """A finite number within bounds; `above` and `below` exclude the bound."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    noun = "a number"

    @property
    def required(self) -> str:
        """See `Check`."""
        bounds = {
            "above": self.above,
            "of at least": self.at_least,
            "below": self.below,
            "of at most": self.at_most,
        }
        limits = [f"{word} {b:g}" for word, b in bounds.items() if b is not None]
        return " ".join([self.noun, " and ".join(limits)]).strip()

    def read(self, value: Any) -> float:
        """Return `value` as a float."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        try:
            number = float(value)
        except OverflowError:
            raise ValueError from None
        if not math.isfinite(number) or not self._is_within(value):
            raise ValueError
        return number

    def _is_within(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )


@dataclass(frozen=True)
class Integer(Number):
    """A whole number within bounds; 1e3 counts as one."""

    noun = "a whole number"

    def read(self, value: Any) -> int:
        """Return `value` as an int."""
        number = super().read(value)
        # Beyond that neither HDF5 nor NumPy have whole numbers.
        if number != int(number) or abs(int(value)) >= 1 << 63:
            raise ValueError
        return int(value)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    required = "true or false"

    def read(self, value: Any) -> bool:
        """Return `value`."""
        if not isinstance(value, bool):
            raise ValueError
        return value


@dataclass(frozen=True)
class Text:
    """A string."""

    required = "a string"

    def read(self, value: Any) -> str:
        """Return `value`."""
        if not isinstance(value, str):
            raise ValueError
        if "\0" in value or not _is_unicode(value):
            raise ValueError("; it must hold Unicode text without the character NUL.")
        return value


def _is_unicode(text: str) -> bool:
    """Whether a text can be written: half a pair comes from a broken command line."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True)
class Choice:
    """One of a few names; an unknown one raises with a suggestion."""

    names: tuple[str, ...]

    @property
    def required(self) -> str:
        """See `Check`."""
        return f"one of {quoted(self.names)}"

    def read(self, value: Any) -> str:
        """Return `value`."""
        if value not in self.names:
            hint = suggest(value, self.names) if isinstance(value, str) else ""
            raise ValueError(hint)
        return value


@dataclass(frozen=True)
class ListOf:
    """A list, each entry of which passes one check."""

    entry: Check
    noun: str
    at_least: int = 1

    @property
    def required(self) -> str:
        """See `Check`."""
        return f"a list of {self.noun}"

    def read(self, value: Any) -> list[Any]:
        """Return the list of entries in normal form."""
        if not isinstance(value, list) or len(value) < self.at_least:
            raise ValueError
        return [self.entry.read(entry) for entry in value]


@dataclass(frozen=True)
class Matrix:
    """A matrix: a list of rows of equal length, each a list of numbers."""

    required = "a matrix, written as a list of rows of equal length"

    def read(self, value: Any) -> list[list[float]]:
        """Return the rows as lists of floats."""
        rows = ListOf(ListOf(Number(), "numbers"), "rows").read(value)
        if len({len(row) for row in rows}) != 1:
            raise ValueError
        return rows


@dataclass(frozen=True)
class TableOf:
    """A table of the same kind of value under free names, never empty."""

    entry: Check
    noun: str

    @property
    def required(self) -> str:
        """See `Check`."""
        return f"a table of {self.noun}"

    def read(self, value: Any) -> dict[str, Any]:
        """Return the table with entries in normal form."""
        if not isinstance(value, dict) or not value:
            raise ValueError
        return {name: self.entry.read(entry) for name, entry in value.items()}


@dataclass(frozen=True)
class Record:
    """A table with exactly the given names, each with its check."""

    entries: tuple[tuple[str, Check], ...]

    @property
    def required(self) -> str:
        """See `Check`."""
        names = ", ".join(f"{name} = ..." for name, _ in self.entries)
        return f"{{ {names} }}"

    def read(self, value: Any) -> dict[str, Any]:
        """Return the table with entries in normal form."""
        checks = dict(self.entries)
        if not isinstance(value, dict) or set(value) != set(checks):
            raise ValueError
        return {name: checks[name].read(value[name]) for name in checks}


@dataclass(frozen=True)
class AnyOf:
    """Whatever passes one of several checks; the first that passes decides."""

    checks: tuple[Check, ...]
    phrase: str = ""

    @property
    def required(self) -> str:
        """See `Check`."""
        return self.phrase or " or ".join(check.required for check in self.checks)

    def read(self, value: Any) -> Any:
        """Return the normal form of the first check that passes."""
        for check in self.checks:
            try:
                return check.read(value)
            except ValueError:
                continue
        raise ValueError


def by_group(entry: Number) -> AnyOf:
    """Return the check of a number per parameter: one, by group, or a full list."""
    noun = entry.required.removeprefix("a ")
    return AnyOf(
        (entry, TableOf(entry, noun), ListOf(entry, noun)),
        f"{entry.required}, a table such as {{ u = 1.0, v = 0.5 }} with one per "
        "parameter group, or a list with one per parameter",
    )


def schedule() -> AnyOf:
    """Return the check of a schedule in training time s."""
    start = (("start", Number(above=0)), ("per_decade", Integer(at_least=1)))
    return AnyOf(
        (
            ListOf(Number(at_least=0), "numbers"),
            Record((("every", Number(above=0)),)),
            Record((("steps", Integer(at_least=1)),)),
            Record((("logarithmic", Record(start)),)),
        ),
        "a list of values of s, { every = 0.5 }, { steps = 10 } or "
        "{ logarithmic = { start = 0.01, per_decade = 10 } }",
    )
