"""Claims that studies decide by their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mfpde.studies.report import Verdict

RULE = (
    "A claim is confirmed if all the verdicts on it are, contradicted if one of them "
    "is, and else not resolved. The rule of each verdict stands below its table; "
    "intervals, tolerances and rules do not depend on what was measured."
)


@dataclass(frozen=True)
class Claim:
    """What a theory says, and what a study should show.

    Attributes
    ----------
    number : int
    statement : str
    papers : str
    expected : str
        What its figure should show.
    """

    number: int
    statement: str
    papers: str
    expected: str


def decide(verdicts: Sequence[Verdict]) -> str:
    """Return what the verdicts on one claim say together (`RULE`)."""
    found = {each.verdict for each in verdicts}
    if "contradicted" in found:
        return "contradicted"
    return "confirmed" if found == {"confirmed"} else "not resolved"


def reasons(verdicts: Sequence[Verdict]) -> list[str]:
    """Return why a claim is not confirmed, a sentence for each verdict that is not."""
    if not verdicts:
        return ["No experiment that decides it was run to its end."]
    return [
        f"{each.claim}: {each.verdict}. {each.note}".strip()
        for each in verdicts
        if each.verdict != "confirmed"
    ]
