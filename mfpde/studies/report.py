"""What an analysis finds: a verdict per claim, texts and figures."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfpde.arrays import (
    a_float,
    check_fields,
    checked,
    choice,
    instance,
    mapping,
    optional,
    sequence,
    shown,
    text,
    whole,
)
from mfpde.figures import Panel

VERDICTS = ("confirmed", "not resolved", "contradicted")
WIDTH = 88
_COLUMNS = ("claim", "expected", "value", "interval", "verdict")
_CLAIM_WIDTH = 40


def _shown_number(name: str, value: Any) -> float | str:
    """A number, or words for it."""
    return text(name, value) if isinstance(value, str) else a_float(name, value)


def _interval(name: str, value: Any) -> tuple[float, float]:
    """Two numbers, finite or not."""
    ends = sequence(a_float)(name, value)
    if len(ends) != 2:
        raise ValueError(f"`{name}` must be two numbers, got {shown(value)}.")
    return ends[0], ends[1]


@dataclass(frozen=True)
class Verdict:
    """What the data say on one claim.

    Attributes
    ----------
    claim : str
    expected : float or str
        What the theory says.
    value : float or None
        What was measured; None if it could not be.
    interval : tuple of (float, float) or None
        Confidence interval of `value`.
    verdict : {"confirmed", "not resolved", "contradicted"}
    rule : str
        How the verdict follows, for example "expected value in the 95 % interval".
    note : str
    row : int or None
        Number of the claim that it decides; None if it decides none.
    """

    claim: str
    expected: float | str
    value: float | None
    interval: tuple[float, float] | None
    verdict: str
    rule: str
    note: str = ""
    row: int | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            claim=text,
            expected=_shown_number,
            value=optional(a_float),
            interval=optional(_interval),
            verdict=choice(*VERDICTS),
            rule=text,
            note=text,
            row=optional(whole(0)),
        )


@dataclass(frozen=True)
class Report:
    """What an analysis finds.

    Attributes
    ----------
    verdicts : sequence of Verdict
    texts : sequence of str
        Tables and notes as plain text.
    figures : dict of str to sequence of Panel
        File name, without ending, to the panels of one page.
    """

    verdicts: Sequence[Verdict] = ()
    texts: Sequence[str] = ()
    figures: Mapping[str, Sequence[Panel]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sequence(instance(Verdict))("verdicts", self.verdicts)
        sequence(text)("texts", self.texts)
        for name, panels in mapping("figures", self.figures).items():
            sequence(instance(Panel))(f"figures[{name!r}]", panels)


def undecided(report: Report, reason: str) -> Report:
    """Return a report that decides nothing: some of what it needs is not there."""
    verdicts = [
        dataclasses.replace(
            each, verdict="not resolved", note=f"{reason} {each.note}".strip()
        )
        for each in report.verdicts
    ]
    return dataclasses.replace(report, verdicts=verdicts)


@checked(verdicts=sequence(instance(Verdict)))
def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return verdicts as a table in plain text, rules and notes below it."""
    if not verdicts:
        return ""
    marks = _marks(verdicts)
    cells = [_COLUMNS, *(_row(each, marks) for each in verdicts)]
    widths = [max(len(row[i]) for row in _lines(cells)) for i in range(len(_COLUMNS))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in _lines(cells)]
    lines.insert(1, "-" * max(map(len, lines)))
    for words, mark in marks.items():
        lines += textwrap.wrap(
            f"[{mark}] {words}", WIDTH, subsequent_indent="    ", break_long_words=False
        )
    return "".join(f"{line}\n" for line in lines)


def _marks(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Number the different rules and notes."""
    texts = [words for each in verdicts for words in (each.rule, each.note) if words]
    return {words: number for number, words in enumerate(dict.fromkeys(texts), 1)}


def _row(each: Verdict, marks: Mapping[str, int]) -> tuple[str, ...]:
    interval = ""
    if each.interval is not None:
        interval = f"[{number(each.interval[0])}, {number(each.interval[1])}]"
    used = [str(marks[words]) for words in (each.rule, each.note) if words]
    verdict = f"{each.verdict} [{', '.join(used)}]" if used else each.verdict
    return (each.claim, number(each.expected), number(each.value), interval, verdict)


def _lines(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Break long claims: the further lines have no other cells."""
    lines = []
    for claim, *others in rows:
        first, *rest = textwrap.wrap(claim, _CLAIM_WIDTH) or [""]
        lines.append((first, *others))
        lines += [(f"  {words}", *("" for _ in others)) for words in rest]
    return lines


def number(value: float | str | None) -> str:
    """Return a number with four digits, a text as it is, None as "-"."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.4g}"
