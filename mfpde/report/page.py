"""Pages in HTML on a run and on studies: self-contained, printable, no network.

What a page shows is given as plain data; the templates lie in `templates/`.
"""

from __future__ import annotations

import base64
import io
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from mfpde.figures import Panel
from mfpde.paths import check_replaceable
from mfpde.plotting import panels

SIGNS = {"confirmed": "✓", "not resolved": "?", "contradicted": "✗"}
"""Next to each verdict, so that it is seen without colour."""
_POWER = re.compile(r"\^\(([^()]*)\)|\^(-?\w+(?:[./]\w+)?)")
# Of a letter or a Greek one: names such as signed_squared_relu stay as they are.
_INDEX = re.compile(r"\b([A-Za-z]|lambda|theta|tau|rho|eta|sigma|delta)_(\w{1,3})\b")


@dataclass(frozen=True)
class ClaimRow:
    """A claim and what the studies say of it.

    Attributes
    ----------
    number : int
    statement, papers, expected : str
    verdict : {"confirmed", "not resolved", "contradicted"}
    reasons : sequence of str
        Why it is not confirmed, and what was not run.
    is_partial : bool
        Whether other experiments decide it, too, that were not run.
    """

    number: int
    statement: str
    papers: str
    expected: str
    verdict: str
    reasons: Sequence[str] = ()
    is_partial: bool = False


@dataclass(frozen=True)
class VerdictRow:
    """A verdict as text.

    Attributes
    ----------
    claim : int or None
        Number of the claim that it decides.
    subject, expected, value, interval, verdict, rule, note : str
    """

    claim: int | None
    subject: str
    expected: str
    value: str
    interval: str
    verdict: str
    rule: str
    note: str = ""


@dataclass(frozen=True)
class StudySection:
    """What the page shows of a study.

    Attributes
    ----------
    name, title, description, limitations : str
    facts, configuration : str
        Papers, counts and ending in a paragraph; a configuration of it alone.
    verdicts : sequence of VerdictRow
    texts : sequence of str
    figures : dict of str to sequence of Panel
    files : sequence of str
        Relative to the page.
    """

    name: str
    title: str
    facts: str
    configuration: str
    description: str = ""
    limitations: str = ""
    verdicts: Sequence[VerdictRow] = ()
    texts: Sequence[str] = ()
    figures: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    files: Sequence[str] = ()


@dataclass(frozen=True)
class StudiesPage:
    """What a page on studies shows.

    Attributes
    ----------
    title, facts, command : str
    rule : str
        How claims are decided.
    claims : sequence of ClaimRow
    studies : sequence of StudySection
    """

    title: str
    facts: str
    command: str
    studies: Sequence[StudySection]
    rule: str = ""
    claims: Sequence[ClaimRow] = ()


@dataclass(frozen=True)
class RunPage:
    """What a page on a run shows.

    Attributes
    ----------
    title, summary : str
    figure : matplotlib.figure.Figure
    origin : dict of str to str
        Command, date, program and the like.
    configuration : str
    """

    title: str
    summary: str
    figure: Figure
    origin: Mapping[str, str]
    configuration: str = ""


def write_page(path: Path, shown: StudiesPage | RunPage) -> Path:
    """Write a page; one of ours that stands at `path` is replaced."""
    check_replaceable(path, "folder", path.suffix, is_default=True)
    path.write_text(page_text(shown), encoding="utf-8")
    return path


def page_text(shown: StudiesPage | RunPage) -> str:
    """Return a page as HTML."""
    values = dict(vars(shown))
    if isinstance(shown, RunPage):
        name, values["picture"] = "run.html", picture_address(shown.figure)
    else:
        name, values["page"] = "studies.html", _Sections(shown)
    return _environment().get_template(name).render(values)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mfpde.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"formulas": formulas, "address": urllib.parse.quote}
    environment.globals["signs"] = SIGNS
    return environment


def picture_address(figure: Figure) -> str:
    """Return a figure as the address of a picture that holds itself."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def formulas(text: Any) -> Markup:
    """Escaped text with powers and indices as such, names in backticks as code."""
    parts = str(escape(text)).split("`")
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"<code>{part}</code>"
        else:
            part = _POWER.sub(lambda m: f"<sup>{m[1] or m[2]}</sup>", part)
            parts[i] = _INDEX.sub(r"\1<sub>\2</sub>", part)
    return Markup("".join(parts))


class _Table:
    """Verdicts, with their rules and notes numbered below."""

    def __init__(self, rows: Sequence[VerdictRow]) -> None:
        self.rows = rows
        texts = [text for row in rows for text in (row.rule, row.note) if text]
        self.notes = list(dict.fromkeys(texts))

    def marks_of(self, row: VerdictRow) -> list[int]:
        return [self.notes.index(text) + 1 for text in (row.rule, row.note) if text]


@dataclass(frozen=True)
class _ShownFigure:
    """A figure, or a link to it where it stands on the page already."""

    name: str
    caption: str
    anchor: str
    picture: str

    @property
    def is_repeated(self) -> bool:
        return not self.picture


Section = tuple[StudySection, _Table, list[_ShownFigure]]


class _Sections:
    """The sections of a page on studies from top to bottom; each figure once."""

    def __init__(self, shown: StudiesPage) -> None:
        self._shown = shown
        self._anchors: dict[tuple[str, str], str] = {}

    def on(self, claim: ClaimRow) -> Iterator[Section]:
        """The studies with a verdict on a claim."""
        for study in self._shown.studies:
            rows = [row for row in study.verdicts if row.claim == claim.number]
            if rows:
                yield study, _Table(rows), self._figures(study)

    def beside(self) -> Iterator[Section]:
        """What the studies have besides the claims."""
        numbers = {claim.number for claim in self._shown.claims}
        for study in self._shown.studies:
            rows = [row for row in study.verdicts if row.claim not in numbers]
            is_new = any(
                (study.name, name) not in self._anchors for name in study.figures
            )
            if rows or study.texts or is_new:
                yield study, _Table(rows), self._figures(study) if is_new else []

    def _figures(self, study: StudySection) -> list[_ShownFigure]:
        found = []
        for name, specification in study.figures.items():
            key = study.name, name
            picture = ""
            if key not in self._anchors:
                self._anchors[key] = f"figure-{len(self._anchors) + 1}"
                picture = picture_address(panels.page(specification))
            caption = f"{study.name}: {name}"
            found.append(_ShownFigure(name, caption, self._anchors[key], picture))
        return found
