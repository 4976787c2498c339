"""What the studies that were run say of the claims, as text and as a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mfpde import __version__
from mfpde.executors.base import counted
from mfpde.progress import format_duration
from mfpde.report.page import SIGNS, ClaimRow, StudiesPage, StudySection, VerdictRow
from mfpde.studies.claims import RULE, Claim, decide, reasons
from mfpde.studies.collection import SELECTION, Part
from mfpde.studies.configuration import resolved_text
from mfpde.studies.engine import Outcome
from mfpde.studies.report import Verdict, number


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
    def numbers(self) -> Sequence[int]:
        """Numbers of the claims that the study decides."""
        return getattr(self.part.study, "claims", ())

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
    known : sequence of Claim
        The claims of the collection.
    are_all : bool
        Whether all claims are listed, also those of which nothing was run.
    """

    found: Sequence[Found]
    deciders: Mapping[int, Sequence[str]] = field(default_factory=dict)
    known: Sequence[Claim] = ()
    are_all: bool = False

    @property
    def claims(self) -> list[Claim]:
        """The claims that the studies are about."""
        if self.are_all:
            return list(self.known)
        rows = {row for each in self.found for row in each.numbers}
        rows |= {each.row for study in self.found for each in study.verdicts}
        return [claim for claim in self.known if claim.number in rows]

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
            if claim.number in study.numbers and not study.decides(claim)
        ]
        verdict = decide(verdicts)
        if absent and verdict == "confirmed":
            verdict = "not resolved"
        why = [] if verdict == "confirmed" else [*reasons(verdicts), *absent]
        others = self.missing(claim)
        if others:
            why.append(f"In part: it also takes {', '.join(others)}, not run here.")
        return verdict, why

    def claim_rows(self) -> list[ClaimRow]:
        """The claims with their verdicts."""
        rows = []
        for claim in self.claims:
            verdict, why = self.on(claim)
            is_partial = bool(self.missing(claim))
            rows.append(
                ClaimRow(
                    **vars(claim), verdict=verdict, reasons=why, is_partial=is_partial
                )
            )
        return rows


def overview(decisions: Decisions) -> str:
    """Return a line of plain text for every claim and a last one that counts them."""
    lines, counts = [], dict.fromkeys(SIGNS, 0)
    rows = decisions.claim_rows()
    for row in rows:
        counts[row.verdict] += 1
        lines.append(f"{row.number:>3}  {row.verdict:<13} {row.statement}")
        lines += [f"{'':19}{reason}" for reason in row.reasons]
    total = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    n_partial = sum(row.is_partial for row in rows)
    part = f" (in part: {n_partial})" if n_partial else ""
    return "\n".join([*lines, f"{counted(len(rows), 'claim')}: {total}{part}."])


def page_of(
    decisions: Decisions, folder: Path, *, title: str, command: str, wall_time_s: float
) -> StudiesPage:
    """Return what the page in `folder` shows; `wall_time_s` is that of this call."""
    found = decisions.found
    n_tasks = sum(sum(each.outcome.counts.values()) for each in found)
    n_bad = sum(each.outcome.n_diverged for each in found)
    return StudiesPage(
        title=title,
        facts=f"mfpde {__version__}; {n_tasks:,} tasks, {n_bad:,} diverged cells; this "
        f"call took {format_duration(wall_time_s)}. t in [0, 1] is depth, s >= 0 "
        "is training time; they have no units, nor has any other quantity.",
        command=command,
        studies=[_section(each, folder) for each in found],
        rule=RULE if decisions.known else "",
        claims=decisions.claim_rows(),
    )


def _section(each: Found, folder: Path) -> StudySection:
    study, outcome, report = each.part.study, each.outcome, each.outcome.report
    papers = [of.paper for of in each.part.of if of.paper]
    counts = [f"{n:,} {status}" for status, n in outcome.counts.items() if n]
    paths = [outcome.path] if outcome.path else []
    return StudySection(
        name=each.name,
        title=study.title,
        facts=". ".join([*papers, f"Tasks: {', '.join(counts)}", outcome.message]),
        configuration=_runnable(each.part),
        description=getattr(study, "description", ""),
        limitations=getattr(study, "limitations", ""),
        verdicts=[_verdict_row(verdict) for verdict in each.verdicts],
        texts=() if report is None else report.texts,
        figures={} if report is None or not each.is_drawn else report.figures,
        files=[os.path.relpath(path, folder) for path in [*paths, *each.files]],
    )


def _verdict_row(each: Verdict) -> VerdictRow:
    interval = ""
    if each.interval is not None:
        interval = f"[{number(each.interval[0])}, {number(each.interval[1])}]"
    return VerdictRow(
        claim=each.row,
        subject=each.claim,
        expected=number(each.expected),
        value=number(each.value),
        interval=interval,
        verdict=each.verdict,
        rule=each.rule,
        note=each.note,
    )


def _runnable(part: Part) -> str:
    """A configuration of this study alone, as `mfpde study FILE.toml` takes it."""
    if not part.of or not part.of[-1].paper:
        return resolved_text(part.study, part.config)
    name = part.study.name
    return resolved_text(part.of[-1], {SELECTION: [name], name: part.config})
