"""One page in HTML on what studies found: self-contained, printable, no network."""

from __future__ import annotations

import base64
import html
import io
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mfpde import __version__
from mfpde.executors.base import counted
from mfpde.figures import Panel
from mfpde.papers.claims import CLAIMS, RULE, Claim, decide, reasons
from mfpde.paths import check_replaceable
from mfpde.plotting import panels
from mfpde.progress import format_duration
from mfpde.studies.collection import SELECTION, Part
from mfpde.studies.configuration import resolved_text
from mfpde.studies.engine import Outcome
from mfpde.studies.report import Verdict, number

SIGNS = {"confirmed": "✓", "not resolved": "?", "contradicted": "✗"}
"""Beside each verdict, so that it is seen without colour."""
_POWER = re.compile(r"\^\(([^()]*)\)|\^(-?\w+(?:[./]\w+)?)")
# Of a letter or a Greek one: names such as signed_squared_relu stay as they are.
_INDEX = re.compile(r"\b([A-Za-z]|lambda|theta|tau|rho|eta|sigma|delta)_(\w{1,3})\b")

STYLE = """
body { font: 11pt/1.45 Georgia, serif; color: #111; max-width: 62em; margin: 2em auto;
       padding: 0 1.5em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em;
     border-bottom: 1px solid #999; } h3 { font-size: 1em; margin-bottom: .3em; }
table { border-collapse: collapse; width: 100%; margin: .6em 0; font-size: .9em; }
th, td { text-align: left; vertical-align: top; padding: .2em .6em .2em 0;
         border-bottom: 1px solid #ccc; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.verdict { white-space: nowrap; font-weight: bold; }
.confirmed { color: #00593b; } .contradicted { color: #a30000; }
img { width: 100%; height: auto; }
pre { font-size: .75em; white-space: pre-wrap; border-left: 2px solid #ccc;
      padding-left: .8em; }
p.small, ul.small, ol.small { font-size: .85em; color: #333; }
figure { margin: .8em 0; } figcaption { font-size: .85em; color: #333; }
@media print {
  body { font-size: 9.5pt; max-width: none; margin: 0; padding: 0; }
  h2, h3 { break-after: avoid; } figure, tr { break-inside: avoid; }
  .confirmed, .contradicted { color: #000; } a { color: #000; text-decoration: none; }
}
"""


@dataclass(frozen=True, eq=False)
class Found:
    """A study that was run, and what it found.

    Attributes
    ----------
    part : Part
    outcome : Outcome
    files : sequence of Path
        Figures that were written.
    is_drawn : bool
        Whether the page shows figures.
    """

    part: Part
    outcome: Outcome
    files: Sequence[Path] = field(default=())
    is_drawn: bool = True

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.part.name

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """The verdicts, none without an analysis."""
        report = self.outcome.report
        return () if report is None else report.verdicts

    @property
    def figures(self) -> Mapping[str, Sequence[Panel]]:
        """The figures to show, none without an analysis."""
        report = self.outcome.report
        return {} if report is None or not self.is_drawn else report.figures

    def decides(self, claim: Claim) -> list[Verdict]:
        """Return the verdicts on a claim."""
        return [each for each in self.verdicts if each.row == claim.number]


@dataclass(frozen=True, eq=False)
class Decisions:
    """What all studies that were run say of the claims.

    Attributes
    ----------
    found : sequence of Found
    deciders : dict of int to sequence of str
        Number of a claim to the names of all experiments that decide it, whether they
        were run or not (`mfpde.studies.collection.deciders`).
    are_all : bool
        Whether all claims are listed, also those of which nothing was run.
    """

    found: Sequence[Found]
    deciders: Mapping[int, Sequence[str]] = field(default_factory=dict)
    are_all: bool = False

    @property
    def claims(self) -> list[Claim]:
        """The claims that the studies are about."""
        if self.are_all:
            return list(CLAIMS)
        rows = {row for each in self.found for row in _rows(each)}
        rows |= {each.row for study in self.found for each in study.verdicts}
        return [claim for claim in CLAIMS if claim.number in rows]

    def missing(self, claim: Claim) -> list[str]:
        """Return the experiments that decide a claim, too, and were not run."""
        run = {each.name for each in self.found}
        return [n for n in self.deciders.get(claim.number, ()) if n not in run]

    def on(self, claim: Claim) -> tuple[str, list[str]]:
        """Return what the studies say of a claim, why, and what was not run."""
        verdicts = [each for study in self.found for each in study.decides(claim)]
        absent = [
            f"{study.name}: {study.outcome.message}"
            for study in self.found
            if claim.number in _rows(study) and not study.decides(claim)
        ]
        verdict = decide(verdicts)
        if absent and verdict == "confirmed":
            verdict = "not resolved"
        why = [] if verdict == "confirmed" else [*reasons(verdicts), *absent]
        others = self.missing(claim)
        if others:
            why.append(f"In part: it also takes {', '.join(others)}, not run here.")
        return verdict, why


def _rows(study: Found) -> Sequence[int]:
    return getattr(study.part.study, "rows", ())


def overview(decisions: Decisions) -> str:
    """Return a line of plain text for every claim and a last one that counts them."""
    lines, counts, n_partial = [], dict.fromkeys(SIGNS, 0), 0
    for claim in decisions.claims:
        verdict, why = decisions.on(claim)
        counts[verdict] += 1
        n_partial += bool(decisions.missing(claim))
        lines.append(f"{claim.number:>3}  {verdict:<13} {claim.statement}")
        lines += [f"{'':19}{reason}" for reason in why]
    total = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    part = f" (in part: {n_partial})" if n_partial else ""
    return "\n".join(
        [*lines, f"{counted(sum(counts.values()), 'claim')}: {total}{part}."]
    )


def write_page(
    path: Path, decisions: Decisions, *, title: str, command: str, wall_time_s: float
) -> Path:
    """Write the page.

    Parameters
    ----------
    path : Path
        An existing page is replaced.
    decisions : Decisions
    title, command : str
    wall_time_s : float
        Of this call.
    """
    page = _Page(path.parent, decisions)
    body = "\n".join(page.body(title, command, wall_time_s))
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    check_replaceable(path, "folder", path.suffix, is_default=True)
    path.write_text(
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body>'
        "</html>\n",
        encoding="utf-8",
    )
    return path


class _Page:
    """The parts of the page; every figure and configuration stands on it once."""

    def __init__(self, folder: Path, decisions: Decisions) -> None:
        self.folder, self.found = folder, decisions.found
        self.decisions, self.claims = decisions, decisions.claims
        self._figure_of: dict[str, str] = {}

    def body(self, title: str, command: str, wall_time_s: float) -> Iterator[str]:
        """The page from top to bottom."""
        yield f"<h1>{_text(title)}</h1>"
        n_tasks = sum(sum(each.outcome.counts.values()) for each in self.found)
        n_bad = sum(each.outcome.n_diverged for each in self.found)
        yield _paragraph(
            f"mfpde {__version__}; {n_tasks:,} tasks, {n_bad:,} diverged cells; this "
            f"call took {format_duration(wall_time_s)}. t in [0, 1] is depth, s >= 0 "
            "is training time; they have no units, nor has any other quantity."
        )
        yield f"<p>Command: <code>{html.escape(command)}</code></p>"
        if self.claims:
            yield _paragraph(RULE)
            yield self._summary()
        for claim in self.claims:
            yield from self._claim(claim)
        yield from self._beside()
        yield "<h2>Configurations and files</h2>"
        for each in self.found:
            yield from self._origin(each)

    def _summary(self) -> str:
        rows = []
        for claim in self.claims:
            verdict, _ = self.decisions.on(claim)
            link = f'<a href="#claim-{claim.number}">{_text(claim.statement)}</a>'
            sign = _sign(verdict) + (
                ", in part" if self.decisions.missing(claim) else ""
            )
            rows.append([str(claim.number), link, _text(claim.papers), sign])
        return _table(("", "claim", "papers", "verdict"), rows)

    def _claim(self, claim: Claim) -> Iterator[str]:
        verdict, why = self.decisions.on(claim)
        heading = f"{claim.number}. {_text(claim.statement)}"
        yield f'<h2 id="claim-{claim.number}">{heading}</h2>'
        yield f"<p>{_sign(verdict)}. {_text(claim.papers)}.</p>"
        yield _paragraph(f"Expected: {claim.expected}")
        if why:
            yield _list("ul", why)
        for each in self.found:
            verdicts = each.decides(claim)
            if verdicts:
                yield f"<h3>{self._title(each)}</h3>"
                yield from self._explained(each)
                yield from _verdicts(verdicts)
                yield from self._figures(each)

    def _beside(self) -> Iterator[str]:
        numbers = {claim.number for claim in self.claims}
        with_more = [
            (each, [v for v in each.verdicts if v.row not in numbers])
            for each in self.found
        ]
        if any(verdicts or each.figures for each, verdicts in with_more):
            yield "<h2>Beside the claims</h2>"
        for each, verdicts in with_more:
            texts = each.outcome.report.texts if each.outcome.report else ()
            is_new = any(name not in self._figure_of for name in self._names(each))
            if not verdicts and not texts and not is_new:
                continue
            yield f"<h3>{self._title(each)}</h3>"
            if is_new:
                yield from self._explained(each)
            yield from _verdicts(verdicts)
            for text in texts:
                yield f"<pre>{html.escape(text)}</pre>"
            if is_new:
                yield from self._figures(each)

    def _explained(self, each: Found) -> Iterator[str]:
        study = each.part.study
        for label, name in (("Shown", "shows"), ("Not shown", "leaves_out")):
            text = getattr(study, name, "")
            if text:
                yield f"<p><b>{label}:</b> {_text(text)}</p>"

    def _names(self, each: Found) -> list[str]:
        return [f"{each.name}/{name}" for name in each.figures]

    def _figures(self, each: Found) -> Iterator[str]:
        """The figures of a study; a link where they stand already."""
        for name, key in zip(each.figures, self._names(each), strict=True):
            anchor = self._figure_of.get(key)
            if anchor is not None:
                link = f'<a href="#{anchor}">{html.escape(name)}</a>'
                yield f'<p class="small">Figure: {link}.</p>'
                continue
            anchor = self._figure_of[key] = f"figure-{len(self._figure_of) + 1}"
            picture = _svg(each.figures[name])
            caption = html.escape(f"{each.name}: {name}")
            yield (
                f'<figure id="{anchor}"><img alt="{html.escape(name)}" '
                f'src="{picture}"><figcaption>{caption}</figcaption></figure>'
            )

    def _title(self, each: Found) -> str:
        link = f'<a href="{_address("#", each.name)}">{html.escape(each.name)}</a>'
        return f"{_text(each.part.study.title)} ({link})"

    def _origin(self, each: Found) -> Iterator[str]:
        """Configuration, command, counts and files of a study."""
        name = html.escape(each.name)
        yield f'<h3 id="{name}">{name}</h3>'
        papers = [of.paper for of in each.part.of if of.paper]
        counts = [f"{n:,} {status}" for status, n in each.outcome.counts.items() if n]
        yield _paragraph(
            ". ".join([*papers, f"Tasks: {', '.join(counts)}", each.outcome.message])
        )
        paths = [each.outcome.path] if each.outcome.path else []
        shown = [os.path.relpath(path, self.folder) for path in [*paths, *each.files]]
        links = [f'<a href="{_address("", p)}">{html.escape(p)}</a>' for p in shown]
        yield f"<p>Files: {', '.join(links) or 'none'}.</p>"
        text = _runnable(each.part)
        yield f"<pre>{html.escape(text)}</pre>"


def _runnable(part: Part) -> str:
    """A configuration of this study alone, as `mfpde study FILE.toml` takes it."""
    if not part.of or not part.of[-1].paper:
        return resolved_text(part.study, part.config)
    name = part.study.name
    return resolved_text(part.of[-1], {SELECTION: [name], name: part.config})


def _verdicts(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A table of verdicts, their rules and notes below it."""
    if not verdicts:
        return
    texts = [text for each in verdicts for text in (each.rule, each.note) if text]
    marks = {text: mark for mark, text in enumerate(dict.fromkeys(texts), 1)}
    rows = []
    for each in verdicts:
        used = [str(marks[text]) for text in (each.rule, each.note) if text]
        interval = ""
        if each.interval is not None:
            interval = f"[{number(each.interval[0])}, {number(each.interval[1])}]"
        rows.append(
            [
                _text(each.claim),
                _text(number(each.expected)),
                _text(number(each.value)),
                _text(interval),
                f"{_sign(each.verdict)} <sup>{', '.join(used)}</sup>",
            ]
        )
    yield _table(("verdict on", "expected", "value", "interval", "verdict"), rows)
    yield _list("ol", list(marks))


def _svg(page: Sequence[Panel]) -> str:
    """A page of panels as the address of a picture that holds itself."""
    file = io.BytesIO()
    panels.page(page).savefig(file, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def _sign(verdict: str) -> str:
    return f'<span class="{verdict}">{SIGNS[verdict]} {verdict}</span>'


def _address(start: str, name: str) -> str:
    """The relative address of a file or, from "#" on, of an element of the page."""
    return start + html.escape(urllib.parse.quote(name))


def _text(text: Any) -> str:
    """Escaped text with powers and indices as such, names in backticks as code."""
    parts = html.escape(str(text)).split("`")
    parts[::2] = [_formulas(part) for part in parts[::2]]
    parts[1::2] = [f"<code>{part}</code>" for part in parts[1::2]]
    return "".join(parts)


def _formulas(text: str) -> str:
    text = _POWER.sub(lambda m: f"<sup>{m[1] or m[2]}</sup>", text)
    return _INDEX.sub(r"\1<sub>\2</sub>", text)


def _paragraph(text: str) -> str:
    return f"<p>{_text(text)}</p>"


def _list(kind: str, entries: Sequence[str]) -> str:
    items = "".join(f"<li>{_text(entry)}</li>" for entry in entries)
    return f'<{kind} class="small">{items}</{kind}>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are HTML."""
    top = "".join(f"<th>{head}</th>" for head in heads)
    lines = [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"
