"""Collections: the experiments that make up the study of one paper, run in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpde.executors import Executor, Serial
from mfpde.executors.base import Function, Unit
from mfpde.studies.engine import Outcome, run_study
from mfpde.studies.experiment import Experiment
from mfpde.studies.progress import TaskReporter
from mfpde.studies.study import Config, Study

SELECTION = "experiments"
"""The key that names the experiments to run."""


@dataclass(frozen=True)
class Collection:
    """The study of one paper.

    Its configuration has a table for each experiment, and each experiment is a study of
    its own in a folder of its own: one can be changed without the others.

    Attributes
    ----------
    name, title : str
    paper : str
        The paper, as it is cited.
    experiments : tuple of Experiment
    """

    name: str
    title: str
    paper: str
    experiments: tuple[Experiment, ...]

    @property
    def defaults(self) -> dict[str, Any]:
        """The configuration with every key."""
        names = [each.name for each in self.experiments]
        return {SELECTION: names} | {e.name: e.defaults for e in self.experiments}

    @property
    def quick(self) -> dict[str, Any]:
        """What is different in a quick run."""
        return {each.name: each.quick for each in self.experiments if each.quick}

    def problems(self, config: Config) -> list[str]:
        """Return a sentence for everything that is wrong with the configuration."""
        known = [each.name for each in self.experiments]
        found = [
            f"`{SELECTION}` must be of {', '.join(known)}, got {name!r}."
            for name in config[SELECTION]
            if name not in known
        ]
        for each in self.experiments:
            # The same sentence, about a key that stands in a table of its own.
            found += [
                problem.replace("`", f"`{each.name}.", 1)
                for problem in each.problems(config[each.name])
            ]
        return found


@dataclass(frozen=True)
class Part:
    """A study that is run as a part of more.

    Attributes
    ----------
    study : Study
    config : mapping
        Its own part of the configuration.
    folder : Path
    of : str
        Name of the collection, or of the study if it stands alone.
    """

    study: Study
    config: Config
    folder: Path
    of: str


def parts_of(study: Study | Collection, config: Config, folder: Path) -> list[Part]:
    """Return the studies that a configuration asks for, each with its folder."""
    if not isinstance(study, Collection):
        return [Part(study, config, folder, study.name)]
    return [
        Part(each, config[each.name], folder / each.name, study.name)
        for each in study.experiments
        if each.name in config[SELECTION]
    ]


def run_parts(
    parts: Sequence[Part],
    *,
    executor: Executor | None = None,
    share: tuple[int, int] | None = None,
    compute: bool = True,
    progress: bool = False,
    command: str = "",
) -> Iterator[tuple[Part, Outcome]]:
    """Run studies one after the other, with the workers of one executor.

    Parameters
    ----------
    parts : sequence of Part
    executor, share, compute, command
        As for `run_study`.
    progress : bool
        Report progress on standard error.

    Yields
    ------
    part : Part
    outcome : Outcome
        After one that was interrupted there is no other.
    """
    with _Lent(Serial() if executor is None else executor) as workers:
        for part in parts:
            outcome = run_study(
                part.study,
                part.config,
                part.folder,
                executor=workers,
                share=share,
                compute=compute,
                progress=TaskReporter() if progress else False,
                command=command,
            )
            yield part, outcome
            if outcome.status == "interrupted":
                return


class _Lent:
    """An executor that is entered by the first who needs it and left at the very end.

    Where everything is done already no worker is started.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._depth = 0
        self._stack = contextlib.ExitStack()
        self._is_open = False

    @property
    def n_workers(self) -> int:
        return self._executor.n_workers

    def describe(self) -> str:
        return self._executor.describe()

    def run(
        self, function: Function, units: Sequence[Unit], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Unit, Any]]:
        return self._executor.run(function, units, shared)

    def __enter__(self) -> _Lent:
        self._depth += 1
        if self._depth > 1 and not self._is_open:
            self._stack.enter_context(self._executor)
            self._is_open = True
        return self

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0 or error[0] is not None:
            self._is_open = False
            self._stack.close()
