"""Flows of which only the end, or the way there, is measured by a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.evaluation import Evaluation
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Observer
from mfpde.run.flow import iterate
from mfpde.run.solution import Solution
from mfpde.run.solver import solve


def evaluation_at(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    start: ParticleEnsemble,
    s_end: float,
    *,
    rtol: float,
) -> Evaluation:
    """Return the flow's evaluation at training time s_end, without any records.

    Raises
    ------
    NotFiniteError
        If the flow does not reach s_end, for whatever reason: it diverged.
    """
    try:
        for state in iterate(
            problem, grid, start, s_end=s_end, rtol=rtol, atol=1e-2 * rtol
        ):
            last = state.evaluation
    except ConvergenceError as error:
        raise NotFiniteError(str(error)) from error
    return last


def solved(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    start: ParticleEnsemble,
    s: Sequence[float],
    *,
    observers: Mapping[str, Observer] | None = None,
    **options: Any,
) -> Solution:
    """Solve with records and snapshots at training times s, whose last is the end.

    Raises
    ------
    NotFiniteError
        As `finished`.
    """
    options = {"record": s, "snapshots": s} | options
    found = solve.quietly(
        problem, grid, start, s_end=float(s[-1]), observers=observers, **options
    )
    return finished(found)


def finished(found: Any) -> Any:
    """Return a solution, of whatever kind, that came to its end.

    Raises
    ------
    NotFiniteError
        If it did not, be it that the objective only rises: a study counts it as
        diverged.
    """
    if found.status != "finished":
        raise NotFiniteError(found.message)
    return found
