"""What a study is: tasks, a measurement for each, and an analysis of all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import having
from mfpde.studies.report import Report
from mfpde.studies.table import Table

KEY_LENGTH = 16
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """One measurement of a study.

    Attributes
    ----------
    coordinates : mapping
        Axis to value, or to a list of values: the task then covers a range of that
        axis, for example several seeds.
    settings : mapping
        Further plain values, of the kinds that JSON knows.
    needs : tuple of str
        Names of the references that the measurement is made against.
    cost : float
        Kernel evaluations, (node x particle x sample x right-hand side). Dear tasks
        are begun first, and the remaining time is told by them.
    """

    coordinates: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    cost: float = 0.0

    @property
    def key(self) -> str:
        """Digest of coordinates and settings, the same in every process."""
        text = canonical_json([self.coordinates, self.settings])
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    def __str__(self) -> str:
        return ", ".join(f"{n} = {_short(v)}" for n, v in self.coordinates.items())


@dataclass(frozen=True)
class Variable:
    """A quantity that a study measures.

    Attributes
    ----------
    dims : tuple of str
        Axes of the table: those of the tasks first, then others ("s", "component").
    long_name, units : str
    fill : float
        Stands where nothing was measured.
    """

    dims: tuple[str, ...]
    long_name: str = ""
    units: str = "1"
    fill: float = float("nan")


def a_study(name: str, value: Any) -> Any:
    """An object with the parts of a study that are looked at first."""
    return having("name", "defaults", "problems", what="a study")(name, value)


class Study(Protocol):
    """What a study offers; any object with these parts can be run.

    It is sent to workers, so its class stands at the top level of a module. Every
    method is a pure function of its arguments: a task gives the same bits wherever and
    however often it is done.

    Attributes
    ----------
    name, title : str
    defaults : dict
        The configuration with every key and its default, in plain TOML types. The type
        of a default is the type that a value must have.
    quick : dict, optional
        What is different in a quick run.
    analysis_keys : tuple of str, optional
        Keys at the top level that only `analyse` reads: changing them asks for no other
        folder.
    """

    name: str
    title: str
    defaults: dict[str, Any]

    def problems(self, config: Config) -> list[str]:
        """Return a sentence for everything that is wrong with the configuration."""

    def axes(self, config: Config) -> dict[str, list]:
        """Return every axis of the table with its values, numbers or strings."""

    def variables(self, config: Config) -> dict[str, Variable]:
        """Return what is measured, by name."""

    def references(self, config: Config) -> dict[str, dict]:
        """Return what several tasks need, such as the limit: name to settings."""

    def refer(self, name: str, config: Config) -> Mapping[str, ArrayLike]:
        """Compute one reference."""

    def tasks(self, config: Config) -> Sequence[Task]:
        """Return the tasks, in any order."""

    def measure(
        self, task: Task, config: Config, references: Mapping[str, Mapping[str, Any]]
    ) -> Mapping[str, ArrayLike]:
        """Measure one task.

        Parameters
        ----------
        task : Task
        config : mapping
        references : mapping
            Name to arrays, for the names in `task.needs`.

        Returns
        -------
        values : mapping of str to array_like
            Some or all of the variables. The axes of each are those of its `dims` for
            which the task has a list or nothing, in their order. Where the task covers
            several cells, inf marks those that diverged.

        Raises
        ------
        NotFiniteError
            If the run diverged: the task is counted as that and never averaged. Any
            other error is a failure of the task alone.
        """

    def analyse(self, table: Table, config: Config) -> Report:
        """Return verdicts, texts and figures.

        Cells not measured hold the `fill` of their variable (NaN), diverged ones inf.

        Raises
        ------
        ValueError, ConvergenceError
            If they do not allow an analysis; the sentence is reported.
        """


def canonical_json(value: Any) -> str:
    """Return plain values as JSON text that does not depend on the order of keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(
        "Coordinates and settings of a task must be numbers, strings, lists and "
        f"tables of these, got {value!r}."
    )


def _short(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) > 2:
        return f"{value[0]} to {value[-1]} ({len(value)})"
    return str(value)
