"""Collections: studies that belong together, such as those on one paper."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpde.errors import ConfigurationError, Interrupted
from mfpde.executors import Executor, Serial
from mfpde.executors.base import Call, Function
from mfpde.studies.claims import Claim
from mfpde.studies.configuration import quick_of
from mfpde.studies.engine import Outcome, nothing_there, run_study
from mfpde.studies.progress import TaskReporter
from mfpde.studies.store import Store
from mfpde.studies.study import Config, Study

SELECTION = "experiments"
"""The key that names the parts to run."""


@dataclass(frozen=True)
class Collection:
    """Studies that belong together: the experiments on one paper, or all studies.

    The configuration has a table for each part. Each experiment keeps a folder of its
    own: one can be changed without the others.

    Attributes
    ----------
    name, title : str
    parts : tuple of Study or Collection
    paper : str
        The paper, as it is cited.
    claims : tuple of Claim
        What its studies decide.
    whole : str
        Registered name of the collection that holds all studies on these claims, if it
        is another one.
    """

    name: str
    title: str
    parts: tuple[Study | Collection, ...]
    paper: str = ""
    claims: tuple[Claim, ...] = ()
    whole: str = ""

    @property
    def defaults(self) -> dict[str, Any]:
        """The configuration with every key."""
        tables = {each.name: each.defaults for each in self.parts}
        return {SELECTION: list(tables)} | tables

    @property
    def quick(self) -> dict[str, Any]:
        """What is different in a quick run."""
        found = {each.name: quick_of(each) for each in self.parts}
        return {name: changes for name, changes in found.items() if changes}

    def problems(self, config: Config) -> list[str]:
        """Return a sentence for everything that is wrong with the configuration."""
        known = [each.name for each in self.parts]
        found = [
            f"`{SELECTION}` must be of {', '.join(known)}, got {name!r}."
            for name in config[SELECTION]
            if name not in known
        ]
        for each in self.parts:
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
    of : tuple of Collection
        The collections that it stands in, the widest first.
    """

    study: Study
    config: Config
    folder: Path
    of: tuple[Collection, ...] = ()

    @property
    def name(self) -> str:
        """Names from the study on, joined by dots: "tau.norms"."""
        within = [each.name for each in self.of if each.paper]
        return ".".join([*within, self.study.name])


def parts_of(
    study: Study | Collection,
    config: Config,
    folder: Path,
    of: tuple[Collection, ...] = (),
) -> list[Part]:
    """Return the studies that a configuration asks for, each with its folder."""
    if not isinstance(study, Collection):
        return [Part(study, config, folder, of)]
    return [
        part
        for each in study.parts
        if each.name in config[SELECTION]
        for part in parts_of(each, config[each.name], folder / each.name, (*of, study))
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

    Raises
    ------
    Interrupted
        After the outcome of a study that a signal ended.
    ConfigurationError
        Before anything is computed, if a folder holds something else; without
        `compute`, if none holds anything.
    """
    # What is wrong with the last folder is told before the first is worked on.
    stores = [Store(each.folder, each.study, each.config) for each in parts]
    is_there = [compute or store.is_begun for store in stores]
    if parts and not any(is_there):
        raise ConfigurationError([nothing_there(_common(parts))])
    with _EnteredOnce(Serial() if executor is None else executor) as workers:
        for part, is_some in zip(parts, is_there, strict=True):
            if not is_some:
                yield part, Outcome("failed", nothing_there(part.folder), {})
                continue
            try:
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
            except Interrupted as ending:
                yield part, ending.solution
                raise
            yield part, outcome


def deciders(study: Study | Collection) -> dict[int, list[str]]:
    """Return the experiments whose verdicts decide each claim: row to their names."""
    found: dict[int, list[str]] = {}
    for part in parts_of(study, _everything(study), Path()):
        for row in getattr(part.study, "claims", ()):
            found.setdefault(row, []).append(part.name)
    return found


def _everything(study: Study | Collection) -> Config:
    """A configuration that selects all parts; nothing else of it is right."""
    if not isinstance(study, Collection):
        return {}
    tables = {each.name: _everything(each) for each in study.parts}
    return {SELECTION: list(tables)} | tables


def _common(parts: Sequence[Part]) -> Path:
    """The folder that all parts stand in."""
    return Path(os.path.commonpath([each.folder for each in parts]))


class _EnteredOnce:
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
        self, function: Function, calls: Sequence[Call], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Call, Any]]:
        return self._executor.run(function, calls, shared)

    def __enter__(self) -> _EnteredOnce:
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
