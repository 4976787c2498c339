"""The run loop: states are advanced and recorded until a stop reason is found."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfpde.engine.sharding import Shard
from mfpde.environment import launched
from mfpde.errors import ConvergenceError, Interrupted, NotFiniteError
from mfpde.paths import user_path
from mfpde.progress import make_progress
from mfpde.run.options import Progress
from mfpde.run.recorder import Recorder
from mfpde.run.specification import Specification
from mfpde.run.states import Checkpoint
from mfpde.run.stopping import Reason, blown_up
from mfpde.signals import collected, deliver
from mfpde.storage import check_writable
from mfpde.waiting import waiting

__all__ = ["run_from_start", "run_loop"]

Failure = type[NotFiniteError | ConvergenceError]


def run_from_start(specification: Specification) -> Any:
    """Run what is specified from s = 0, into a file if there is an output."""
    if specification.output is not None:
        check_writable(specification.output, specification.overwrite)
    recorder = Recorder(specification)

    def start(state: Any) -> None:
        if specification.output is not None:
            recorder.open(state, user_path(specification.output, "output"))
        recorder.visit(state)

    return run_loop(specification, recorder, start)


def run_loop(
    specification: Specification,
    recorder: Recorder,
    start: Callable[[Any], None],
    checkpoint: Checkpoint | None = None,
) -> Any:
    """Run what is specified to its end; `start` is called with the first state.

    Raises
    ------
    Interrupted
        After a signal: with the solution, once the record is closed; see `deliver`.
    """
    states = specification.dynamics.states(recorder.schedule.tstops, checkpoint)
    progress = specification.progress
    with _waiting(progress):
        first = next(states)
    shard: Shard = first.ensemble.shard
    with contextlib.ExitStack() as stack:
        stopped = stack.enter_context(collected())
        stack.push(recorder.leave)
        report = stack.enter_context(_reporter(shard.rank == 0 and progress))
        start(first)
        end = _steps(specification, recorder, states, first, report, stopped)
        recorder.end(end.state, end.last, *end.reason)
    # All ranks wait here for rank 0, which has closed the file: then a signal may end
    # them.
    _, number = _latest(shard, 0.0, stopped)
    solution = _solution(specification, recorder, end)
    if number:
        deliver(number, Interrupted(solution.message, solution))
    return solution


@dataclass
class _End:
    """How the loop ended.

    `last` is the last state, and `state` the last one that was visited: the same, or
    the one before it where a limit was crossed within the step.
    """

    state: Any
    last: Any
    reason: Reason
    failure: Failure | None = None


def _steps(
    specification: Specification,
    recorder: Recorder,
    states: Iterator[Any],
    state: Any,
    report: Progress,
    stopped: list[int],
) -> _End:
    """The loop itself. Of all states only the present one and the next are kept."""
    dynamics, rows = specification.dynamics, recorder.records.rows
    first_step = state.step
    try:
        found = dynamics.limit(None, state, rows)
        while True:
            # A run that is at its end is finished, however long that took.
            at_start, place = rows[0]["objective"], dynamics.place(state)
            reason = blown_up(dynamics.problem, state.latest[1], at_start, place)
            reason = reason or (found and found[1]) or dynamics.stop(state, rows)
            # However short the wall time, a session makes a step.
            waited_s = 0.0 if state.step == first_step else recorder.session_s
            reason = reason or _interruption(specification, state, waited_s, stopped)
            if reason is not None:
                return _End(state, state, reason)
            new = next(states)
            found = dynamics.limit(state, new, rows)
            if found is not None and found[0] is not new:
                return _End(state, *found)
            recorder.visit(new)
            state = new
            loss, objective = state.latest
            report(state.s, dynamics.s_end, loss, state.step, objective)
    except (NotFiniteError, ConvergenceError) as error:
        kept = f"The last good state, at s = {state.s:g}, is kept."
        return _End(state, state, ("failed", f"{error} {kept}"), _kind(error))


def _interruption(
    specification: Specification, state: Any, waited_s: float, stopped: list[int]
) -> Reason | None:
    """The wall time, or a signal, which all ranks see alike."""
    waited_s, number = _latest(state.ensemble.shard, waited_s, stopped)
    limit = specification.wall_time_s
    if limit is not None and waited_s > limit:
        at = f"at s = {state.s:g}; resume continues."
        return "interrupted", f"The wall time of {limit:g} s is over {at}"
    if number:
        name = signal.Signals(number).name
        return "interrupted", f"Stopped by {name} at s = {state.s:g}."
    return None


def _latest(shard: Shard, waited_s: float, stopped: list[int]) -> tuple[float, int]:
    """The longest wait of all ranks, and a signal that any of them got, or 0."""
    number = stopped[0] if stopped else 0
    waited_s, number = shard.stack([waited_s, number]).max(axis=0).tolist()
    return waited_s, int(number)


def _kind(error: Exception) -> Failure:
    """What a run failed of: steppers fail, too, where no step however small is finite.

    The error itself is not kept: its traceback holds all arrays of the run.
    """
    causes = (error, error.__cause__)
    if any(isinstance(each, NotFiniteError) for each in causes):
        return NotFiniteError
    return ConvergenceError


def _solution(specification: Specification, recorder: Recorder, end: _End) -> Any:
    state, (status, message) = end.last, end.reason
    snapshots = recorder.snapshots()
    dynamics = specification.dynamics
    extra = {**dynamics.extra_data, **specification.metadata.extra_data}
    is_failed = status == "failed"
    return dynamics.solution(
        {
            "scalars": recorder.records.columns(),
            "observations": recorder.records.observed(),
            "snapshot_s": np.array([s for s, _, _ in snapshots]),
            "theta": [theta for _, theta, _ in snapshots],
            "maps": {
                name: np.array([maps[name] for _, _, maps in snapshots])
                for name in (state.problem.trained_maps if snapshots else ())
            },
            "data": {name: np.asarray(array) for name, (array, _) in extra.items()},
            "problem": state.problem,
            "grid": state.grid,
            "status": status,
            "message": message,
            "n_steps": state.step,
            "n_evaluations": state.n_evaluations,
            "n_rejected": state.n_rejected,
            "wall_time_s": recorder.wall_time_s,
            "path": recorder.backend.path,
            "failure": end.failure or (ConvergenceError if is_failed else None),
        },
        state,
    )


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
