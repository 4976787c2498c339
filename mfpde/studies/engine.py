"""`run_study`: does what is missing of a study, puts it together, analyses it."""

from __future__ import annotations

import signal
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mfpde import __version__
from mfpde.arrays import a_path, checked, flag, having, mapping, optional, text
from mfpde.errors import (
    ConfigurationError,
    ConvergenceError,
    Interrupted,
    NotFiniteError,
    sentence,
)
from mfpde.executors import Call, Executor, Failure, Serial
from mfpde.executors.base import counted
from mfpde.progress import format_duration
from mfpde.signals import as_interrupt, deliver
from mfpde.studies.assemble import assemble, encode
from mfpde.studies.checks import a_share, checked_tasks, share_of
from mfpde.studies.configuration import resolve
from mfpde.studies.progress import TaskReporter
from mfpde.studies.report import Report, undecided
from mfpde.studies.store import Store
from mfpde.studies.study import Config, Study, Task, a_study
from mfpde.studies.table import STATUS, Table
from mfpde.studies.work import Job, TaskResult


@dataclass(frozen=True, repr=False)
class Outcome:
    """How a study went.

    Attributes
    ----------
    status : {"finished", "share", "interrupted", "failed"}
        "share" if this call had only a share of the tasks.
    message : str
        Why, a sentence.
    counts : dict of str to int
        Tasks that are missing, done, diverged and failed; of the share only, if any.
    failures : dict of str to TaskResult
        Task or reference in words to what is known of its failure.
    table : Table or None
        What was measured; None for a share.
    report : Report or None
        None if there was no analysis.
    path : Path or None
        study.h5.
    n_diverged : int
        Cells that diverged, also those of tasks that measured several.
    """

    status: str
    message: str
    counts: dict[str, int]
    failures: dict[str, TaskResult] = field(default_factory=dict)
    table: Table | None = None
    report: Report | None = None
    path: Path | None = None
    n_diverged: int = 0

    def __repr__(self) -> str:
        return f"<Outcome, {self.status}: {self.message}>"


def _a_reporter(name: str, value: Any) -> Any:
    """True, False, or what is told of tasks."""
    return value if isinstance(value, TaskReporter) else flag(name, value)


@checked(
    study=a_study,
    config=optional(mapping),
    folder=a_path,
    executor=optional(having("run", "__enter__", what="an executor")),
    share=optional(a_share),
    compute=flag,
    progress=optional(_a_reporter),
    command=text,
)
def run_study(
    study: Study,
    config: Mapping[str, Any] | None,
    folder: str | Path,
    *,
    executor: Executor | None = None,
    share: tuple[int, int] | None = None,
    compute: bool = True,
    progress: bool | TaskReporter = False,
    command: str = "",
) -> Outcome:
    """Do the tasks of a study that are missing in a folder, and analyse all.

    Parameters
    ----------
    study : Study
    config : mapping, optional
        Keys that differ from the defaults of the study.
    folder : path-like
        Where pieces and study.h5 go. What is there already is not done again, except
        tasks that failed.
    executor : Executor, optional
        Default: one task after the other in this process.
    share : tuple of (int, int), optional
        (I, N): do only share I of N, counted from 1, and put nothing together.
    compute : bool
        False puts together what is there and computes nothing.
    progress : bool or TaskReporter
        Report progress on standard error.
    command : str
        The command line, for the file.

    Returns
    -------
    outcome : Outcome

    Raises
    ------
    Interrupted
        After a signal (SIGINT, SIGTERM, SIGHUP), which ends the work at once: what is
        done is kept and put together. `solution` is the outcome, with the status
        "interrupted". Then the signal is delivered again.
    ConfigurationError
        If the configuration is wrong, or the folder holds something else.
    OSError
        If a file cannot be written; what was written before is kept.

    Examples
    --------
    >>> outcome = run_study(study, {"n_seeds": 4}, "out")  # doctest: +SKIP
    >>> print(outcome.message, outcome.table["error"].shape)  # doctest: +SKIP
    """
    config = resolve(study, config or {})
    tasks = _tasks(study, config)
    mine = tasks if share is None else share_of(tasks, *share)
    store = Store(folder, study, config)
    if not compute and not store.is_begun:
        raise ConfigurationError([nothing_there(store.folder)])
    store.begin()
    session = _Session(study, config, mine, store, _made(progress))
    if share is None:
        session.store.clear_leftovers()
    session.load()
    is_interrupted, number = False, int(signal.SIGINT)
    if compute:
        try:
            with as_interrupt() as caught:
                session.do_missing(Serial() if executor is None else executor)
        except KeyboardInterrupt:
            is_interrupted, number = True, (caught or [number])[0]
            # The signal may have come between writing a piece and taking note of it.
            session.read_pieces()
        finally:
            session.close()
    if share is not None:
        outcome = session.share_outcome(share, is_interrupted)
    else:
        outcome = session.conclude(command, is_interrupted)
    if is_interrupted:
        deliver(number, Interrupted(outcome.message, outcome))
    return outcome


def _tasks(study: Study, config: Config) -> list[Task]:
    """The tasks of a study; what one of them refuses is wrong in the configuration."""
    try:
        return checked_tasks(study, config)
    except ConfigurationError:
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        raise ConfigurationError([sentence(error)]) from error


def nothing_there(folder: Path) -> str:
    """A sentence on a folder of which nothing can be put together."""
    return (
        f"{folder} holds nothing to put together. Give the folder of the tasks with "
        "--out, or leave out --assemble."
    )


class _Session:
    """One call of `run_study`: the tasks it is about and what is known of them."""

    def __init__(
        self,
        study: Study,
        config: Config,
        tasks: Sequence[Task],
        store: Store,
        reporter: TaskReporter | None,
    ) -> None:
        self.study, self.config, self.tasks = study, config, tasks
        self.store, self.reporter = store, reporter
        self.pieces: dict[str, TaskResult] = {}
        self.failures: dict[str, TaskResult] = {}

    def load(self) -> None:
        """Read the pieces that are there, and say what is odd about them."""
        self.read_pieces()
        for path in self.store.damaged:
            self._note(f"{path} is damaged and counts as missing.")
        if self.store.version != __version__:
            self._note(
                f"{self.store.folder} was begun by mfpde {self.store.version}; its "
                "pieces are kept."
            )

    def read_pieces(self) -> None:
        """Read the pieces that are there."""
        for task in self.tasks:
            piece = self.store.task(task)
            if piece is not None:
                self.pieces[task.key] = piece
                if piece.status == "failed":
                    self.failures[str(task)] = piece

    def do_missing(self, executor: Executor) -> None:
        """Do the tasks that are missing or failed, the dear ones first."""
        ended = ("done", "diverged")
        left = [
            task
            for task in self.tasks
            if task.key not in self.pieces or self.pieces[task.key].status not in ended
        ]
        if not left:
            return
        left.sort(key=lambda task: -task.cost)
        with executor:
            self._begin(left, executor)
            references = self._references(left, executor)
            calls = []
            for task in left:
                absent = [name for name in task.needs if name not in references]
                if absent:
                    message = f"The reference {absent[0]!r} could not be computed."
                    self._keep(task, TaskResult("failed", message))
                else:
                    calls.append(Call(task.key, task, task.needs))
            job = Job(self.study, self.config)
            by_key = {task.key: task for task in left}
            for call, result in executor.run(job.measure, calls, references):
                self._keep(by_key[call.name], _as_result(result))

    def _begin(self, left: Sequence[Task], executor: Executor) -> None:
        if self.reporter is None:
            return
        text = f"{self.study.name}: {counted(len(left), 'task')}"
        n_there = len(self.tasks) - len(left)
        if n_there:
            text += f" ({n_there} done before)"
        cost = sum(map(self._cost, left))
        text = f"{text}, {executor.describe()}"
        self.reporter.begin(text, len(left), cost, executor.n_workers)

    def _references(
        self, left: Sequence[Task], executor: Executor
    ) -> dict[str, Mapping[str, Any]]:
        """Return the references that tasks need, computing those that are missing."""
        needed = dict.fromkeys(name for task in left for name in task.needs)
        found = {name: self.store.reference(name) for name in needed}
        calls = [Call(name, name) for name, piece in found.items() if piece is None]
        if calls:
            names = ", ".join(call.name for call in calls)
            self._note(f"{counted(len(calls), 'reference')} first: {names}")
        job = Job(self.study, self.config)
        for call, result in executor.run(job.refer, calls, {}):
            piece = found[call.name] = _as_result(result)
            if piece.status == "done":
                self.store.keep_reference(call.name, piece)
                took = format_duration(piece.wall_time_s)
                self._note(f"reference {call.name} took {took}")
            else:
                self.failures[f"reference {call.name}"] = piece
        return {n: piece.arrays for n, piece in found.items() if piece.status == "done"}

    def _keep(self, task: Task, piece: TaskResult) -> None:
        self.store.keep_task(task, piece)
        self.pieces[task.key] = piece
        self.failures.pop(str(task), None)
        if piece.status == "failed":
            self.failures[str(task)] = piece
        if self.reporter is not None:
            self.reporter.ended(piece.status, self._cost(task), piece.wall_time_s)

    def _cost(self, task: Task) -> float:
        """Cost for the remaining time; tasks that tell none count alike."""
        return task.cost if any(each.cost for each in self.tasks) else 1.0

    def _note(self, text: str) -> None:
        if self.reporter is not None:
            self.reporter.note(text)

    def close(self) -> None:
        """End the progress."""
        if self.reporter is not None:
            self.reporter.close()

    @property
    def counts(self) -> dict[str, int]:
        """Number of tasks by status."""
        found = Counter(piece.status for piece in self.pieces.values())
        found["missing"] = len(self.tasks) - len(self.pieces)
        return {status: found[status] for status in STATUS}

    def share_outcome(self, share: tuple[int, int], is_interrupted: bool) -> Outcome:
        """Return the outcome of a share."""
        status, message = self._ending(is_interrupted)
        if status == "finished":
            status = "share"
            message = (
                f"Share {share[0]} of {share[1]} is done. When all are, the same call "
                "without --task puts them together."
            )
        return Outcome(status, message, self.counts, self.failures)

    def conclude(self, command: str, is_interrupted: bool) -> Outcome:
        """Put together what is there, analyse it, and write study.h5."""
        table = assemble(self.study, self.config, self.pieces)
        n_diverged = int(np.sum(table["status"] == STATUS.index("diverged")))
        status, message = self._ending(is_interrupted, n_diverged)
        report = None
        if status == "finished" and not self.counts["done"]:
            n = counted(len(self.tasks), "task")
            status = "failed"
            message = (
                f"No analysis: every run diverged ({n}). Shorten the horizon or reduce "
                "the learning rate."
            )
        elif not is_interrupted and self.counts["done"]:
            # What was measured is kept, whatever becomes of its analysis.
            self.store.keep_assembled(
                encode(self.study, self.config, table, report, command)
            )
            try:
                report = self.study.analyse(table, self.config)
            # One study of many must not end the others, whatever is wrong with it.
            except Exception as error:
                before = f"{message} " if status == "failed" else ""
                status = "failed"
                message = f"{before}No analysis: {self._told(error)}"
            else:
                if status == "failed":
                    report = undecided(report, message)
        content = encode(self.study, self.config, table, report, command)
        path = self.store.keep_assembled(content)
        return Outcome(
            status,
            message,
            self.counts,
            self.failures,
            table,
            report,
            path,
            n_diverged,
        )

    def _told(self, error: Exception) -> str:
        """Return an error in words; keep the traceback of one that nobody foresaw."""
        if isinstance(error, ValueError | ConvergenceError | NotFiniteError):
            return str(error)
        text = f"{type(error).__name__}: {error}"
        details = "".join(traceback.format_exception(error))
        self.failures["analysis"] = TaskResult("failed", text, details=details)
        return text

    def _ending(self, is_interrupted: bool, n_diverged: int = 0) -> tuple[str, str]:
        """Return status and sentence, before the analysis."""
        counts = self.counts
        n = counted(len(self.tasks), "task")
        if is_interrupted:
            return (
                "interrupted",
                f"Interrupted with {counts['missing']} of {n} missing. The same call "
                "goes on from there.",
            )
        if counts["failed"]:
            return (
                "failed",
                f"{counts['failed']} of {n} failed. The same call tries them again.",
            )
        if counts["missing"]:
            return "failed", f"{counts['missing']} of {n} are missing."
        end = ""
        if n_diverged:
            end = f", {counted(n_diverged, 'cell')} diverged"
        return "finished", f"{counts['done']} of {n} done{end}."


def _as_result(result: Any) -> TaskResult:
    return (
        TaskResult("failed", result.reason) if isinstance(result, Failure) else result
    )


def _made(progress: bool | TaskReporter) -> TaskReporter | None:
    if isinstance(progress, bool):
        return TaskReporter() if progress else None
    return progress
