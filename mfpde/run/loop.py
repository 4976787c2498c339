"""The main loop: a flow is drained into a journal until it ends or is stopped.

A flow is an iterator of states, of `flow.iterate` or of the training of a network; the
plan says where it ends: it has `s_end`, `ending(state, rows, waited_s)` and
`completed(solution)`.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mfpde.arrays import a_path, choice, flag, is_function, optional, positive
from mfpde.engine.sharding import Shard
from mfpde.environment import launched
from mfpde.errors import ConvergenceError, Interrupted, NotFiniteError
from mfpde.progress import make_progress
from mfpde.run.recorder import Journal
from mfpde.run.solution import Solution
from mfpde.signals import collected, deliver
from mfpde.waiting import waiting

Progress = Callable[[float, float, float, int, float], None]


def drain(
    plan: Any,
    flow: Iterator[Any],
    journal: Journal,
    progress: bool | Progress,
    start: Callable[[Any], None],
) -> Solution:
    """Run the flow to its end: the main loop; `start` opens the journal.

    Of all states only the present one is kept: each is several times as large as theta;
    and the one before it where a limit is crossed in between, see `Plan.crossing`.

    Raises
    ------
    Interrupted
        After a signal: with the solution, once the record is closed; see `deliver`.
    """
    with _waiting(progress):
        state, ending, failure = next(flow), None, None
        last = None
    shard = state.ensemble.shard
    first_step = state.step
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(collected())
        stack.push(journal.leave)
        report = stack.enter_context(_reporter(shard.rank == 0 and progress))
        start(state)
        try:
            while ending is None:
                # However short the wall time, a session makes a step.
                waited = 0.0 if state.step == first_step else journal.session_s
                waited, number = _latest(shard, waited, stopped)
                ending = plan.ending(state, journal.records.rows, waited)
                if ending is None and number:
                    name = signal.Signals(number).name
                    ending = "interrupted", f"Stopped by {name} at s = {state.s:g}."
                if ending is None:
                    new = next(flow)
                    last = plan.crossing(state, new, journal.records.rows)
                    if last is not None:
                        ending = plan.ending(last, journal.records.rows, 0.0)
                        break
                    journal.visit(new)
                    state = new
                    loss, objective = state.latest
                    report(state.s, plan.s_end, loss, state.step, objective)
        except (NotFiniteError, ConvergenceError) as error:
            failure = _kind(error)
            ending = (
                "failed",
                f"{error} The last good state, at s = {state.s:g}, is kept.",
            )
        if ending[0] == "failed":
            failure = failure or ConvergenceError
        last = state if last is None else last
        journal.end(state, last, *ending)
    # All ranks wait here for rank 0, which has closed the file: then a signal may end
    # them.
    _, number = _latest(shard, 0.0, stopped)
    solution = plan.completed(_solution(last, journal, *ending, failure))
    if number:
        deliver(number, Interrupted(solution.message, solution))
    return solution


def _kind(error: Exception) -> type[NotFiniteError | ConvergenceError]:
    """What a run failed of: steppers fail, too, where no step however small is finite.

    The error itself is not kept: its traceback holds all arrays of the run.
    """
    causes = (error, error.__cause__)
    if any(isinstance(each, NotFiniteError) for each in causes):
        return NotFiniteError
    return ConvergenceError


def _latest(shard: Shard, waited: float, stopped: list[int]) -> tuple[float, int]:
    """The longest wait of all ranks, and a signal that any of them got, or 0."""
    number = stopped[0] if stopped else 0
    waited, number = shard.stack([waited, number]).max(axis=0).tolist()
    return waited, int(number)


def _solution(
    state: Any,
    journal: Journal,
    status: str,
    message: str,
    failure: type[NotFiniteError | ConvergenceError] | None,
) -> Solution:
    snapshots = journal.records.snapshots if journal.writer is None else []
    ensemble = state.ensemble.gather(everywhere=True)
    gather = state.ensemble.shard.gather
    theta = [gather(theta, everywhere=True) for _, theta, _ in snapshots]
    return Solution(
        scalars=journal.records.columns(),
        observations=journal.records.observed(),
        snapshot_s=np.array([s for s, _, _ in snapshots]),
        theta=np.array(theta).reshape(-1, *ensemble.theta.shape),
        maps={
            name: np.array([maps[name] for _, _, maps in snapshots])
            for name in (state.problem.trained_maps if snapshots else ())
        },
        ensemble=ensemble,
        problem=state.problem,
        grid=state.grid,
        status=status,
        message=message,
        n_steps=state.step,
        n_evaluations=state.n_evaluations,
        n_rejected=state.n_rejected,
        wall_time_s=journal.wall_time_s,
        path=None if journal.writer is None else journal.writer.path,
        failure=failure,
    )


def a_progress(name: str, value: Any) -> Any:
    """True, False, or a function that is called after every step."""
    return value if is_function(value) else flag(name, value)


RUN_OPTIONS = {
    "output": optional(a_path),
    "overwrite": flag,
    "progress": a_progress,
    "loss_below": optional(positive),
    "wall_time_s": optional(positive),
    "checkpoint_every_s": positive,
    "theta_dtype": choice("f8", "f4"),
    "swmr": flag,
}
"""Checks of the options that `solve` and `train` share."""


@contextlib.contextmanager
def _reporter(progress: bool | Progress) -> Iterator[Progress]:
    """What is called after every step: the user's, ours on stderr, or nothing."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda *_: None
        return
    reporter = make_progress()
    try:
        yield reporter
    finally:
        reporter.close()


def _waiting(progress: bool | Progress) -> contextlib.AbstractContextManager[None]:
    """Words on the first evaluation, which may compile kernels for minutes."""
    if progress is True and launched()[0] == 0:
        return waiting("preparing kernels")
    return contextlib.nullcontext()
