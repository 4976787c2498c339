"""Experiments: studies over a plain grid, one small measurement for each cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.errors import NotFiniteError, did_you_mean
from mfpde.kernels import ACTIVATIONS
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Task, Variable
from mfpde.studies.table import Table

Array = NDArray[np.float64]

FIRST_SEED = "first_seed"
"""The key that shifts every axis that is given by a number of values."""


class Experiment:
    """A `Study` over the product of some axes; subclasses say what a cell measures.

    Attributes
    ----------
    name, title : str
        The name is that of its folder and of its table in the configuration.
    description, limitations : str
        What its figures show, and what they do not: sentences for the report.
    claims : tuple of int
        Numbers of the claims that its verdicts decide.
    defaults, quick : dict
        The configuration with every key, and what is different in a quick run. With
        `first_seed` among the keys, axes that are counts begin there.
    grid : dict of str to str
        Axis to the key that holds its values, or how many there are (seeds).
    together : tuple of str
        Axes whose values one task covers: cells too short to be tasks of their own.
    measured : dict of str to str or Variable
        What a cell measures: a long name if it is one number, else a `Variable` with
        the dimensions that come after those of the grid.
    positive : tuple of str
        Keys whose numbers must be positive.
    least : dict of str to int
        How many entries a list must have at least: two for a limit, three for an
        order.
    known : dict of str to collection of str
        The names that the list of a key may hold.
    times : tuple of str
        Lists of training times: they begin with 0 and increase.
    analysis_keys : tuple of str
        Keys that only the analysis reads: they may change for the same folder.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str] = ""
    limitations: ClassVar[str] = ""
    claims: ClassVar[tuple[int, ...]] = ()
    defaults: ClassVar[dict[str, Any]]
    quick: ClassVar[dict[str, Any]] = {}
    grid: ClassVar[dict[str, str]]
    together: ClassVar[tuple[str, ...]] = ("seed",)
    measured: ClassVar[dict[str, str | Variable]]
    positive: ClassVar[tuple[str, ...]] = ()
    least: ClassVar[Mapping[str, int]] = {}
    known: ClassVar[Mapping[str, Collection[str]]] = {}
    times: ClassVar[tuple[str, ...]] = ()
    analysis_keys: ClassVar[tuple[str, ...]] = ("confidence", "tolerance")

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Measure one cell; `at` has a value for every axis of the grid.

        Raises
        ------
        NotFiniteError
            If the run diverged: the cell is counted as that.
        """
        raise NotImplementedError

    def analyse(self, table: Table, config: Config) -> Report:
        """Return verdicts, texts and figures."""
        raise NotImplementedError

    def further_axes(self, config: Config) -> dict[str, list]:
        """Return the axes of measured arrays, such as s or the layers."""
        return {}

    def cost(self, at: Mapping[str, Any], config: Config) -> float:
        """Return the cost of a cell, in any unit; dear tasks are begun first."""
        return 1.0

    def needs(self, at: Mapping[str, Any], config: Config) -> tuple[str, ...]:
        """Return the names of the references that a cell is measured against."""
        return ()

    def references(self, config: Config) -> dict[str, dict]:
        """Return what several cells need: name to settings."""
        return {}

    def refer(self, name: str, config: Config) -> Mapping[str, ArrayLike]:
        """Compute one reference."""
        raise NotImplementedError

    def problems(self, config: Config) -> list[str]:
        """Return a sentence for everything that is wrong with the configuration."""
        found = []
        for key in self.grid.values():
            values = config[key]
            if not isinstance(values, list):
                if values < 1:
                    found.append(f"`{key}` must be at least 1, got {values}.")
            elif not values or len(set(values)) < len(values):
                found.append(f"`{key}` must hold one value or more, all different.")
            elif not _is_ordered_like(values, self.defaults[key]):
                found.append(
                    f"`{key}` must be sorted as its default {self.defaults[key]} is, "
                    f"got {values}."
                )
        found += self._list_problems(config)
        if config.get(FIRST_SEED, 0) < 0:
            found.append(
                f"`{FIRST_SEED}` must not be negative, got {config[FIRST_SEED]}."
            )
        for key in self.positive:
            if not np.all(np.asarray(config[key], dtype=float) > 0):
                found.append(f"`{key}` must be positive, got {config[key]}.")
        for key in ("confidence", "tolerance"):
            if key in config and not 0.0 < config[key] < 1.0:
                found.append(f"`{key}` must lie in (0, 1), got {config[key]}.")
        return found

    def _list_problems(self, config: Config) -> list[str]:
        """Lists that are too short, times out of order, activations nobody knows."""
        found = [
            f"`{key}` must hold {n} entries or more, got {config[key]}."
            for key, n in self.least.items()
            if len(config[key]) < n
        ]
        for key, names in self.known.items():
            if not set(config[key]) <= set(names):
                told = ", ".join(names)
                found.append(f"`{key}` must be of {told}, got {config[key]}.")
        for key in self.times:
            s = config[key]
            if not s or s[0] != 0.0 or np.any(np.diff(s) <= 0):
                found.append(f"`{key}` must begin with 0 and increase, got {s}.")
        for key in {"activation", "activations"} & set(config):
            names = config[key] if isinstance(config[key], list) else [config[key]]
            for name in names:
                if name not in ACTIVATIONS:
                    hint = did_you_mean(str(name), ACTIVATIONS)
                    found.append(f"`{key}`: there is no activation {name!r}.{hint}")
        return found

    def grid_axes(self, config: Config) -> dict[str, list]:
        """Return the axes of the grid with their values."""
        first = config.get(FIRST_SEED, 0)
        return {
            axis: list(config[key])
            if isinstance(config[key], list)
            else list(range(first, first + config[key]))
            for axis, key in self.grid.items()
        }

    def axes(self, config: Config) -> dict[str, list]:
        """Return the axes of the table."""
        return self.grid_axes(config) | self.further_axes(config)

    def variables(self, config: Config) -> dict[str, Variable]:
        """Return what is measured; the axes of the grid come first."""
        found = {}
        for name, each in self.measured.items():
            if isinstance(each, str):
                each = Variable((), each)
            dims = (*self.grid, *each.dims)
            found[name] = Variable(dims, each.long_name, each.units, each.fill)
        return found

    def tasks(self, config: Config) -> list[Task]:
        """Return a task for each cell, or for all the cells that go together."""
        axes = self.grid_axes(config)
        shared = {axis: axes[axis] for axis in axes if axis in self.together}
        own = {axis: axes[axis] for axis in axes if axis not in self.together}
        tasks = []
        for values in itertools.product(*own.values()):
            chosen = dict(zip(own, values, strict=True)) | shared
            coordinates = {axis: chosen[axis] for axis in axes}
            cells = list(_cells(coordinates))
            needed = dict.fromkeys(n for at in cells for n in self.needs(at, config))
            cost = sum(self.cost(at, config) for at in cells)
            tasks.append(Task(coordinates, needs=tuple(needed), cost=cost))
        return tasks

    def measure(
        self, task: Task, config: Config, references: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Array]:
        """Measure the cells of a task; inf where one diverged."""
        cells = list(_cells(task.coordinates))
        rows = []
        for at in cells:
            try:
                rows.append(self.cell(at, config, references))
            except NotFiniteError:
                if len(cells) == 1:
                    raise
                rows.append(None)
        lengths = [len(v) for v in task.coordinates.values() if isinstance(v, list)]
        return self._stacked(rows, lengths, config)

    def _stacked(
        self,
        rows: list[Mapping[str, ArrayLike] | None],
        lengths: list[int],
        config: Config,
    ) -> dict[str, Array]:
        """Arrays (*lengths, *dims) of what the cells gave; NaN for what one lacks."""
        axes = self.axes(config)
        known = {name for row in rows if row is not None for name in row}
        stacked = {}
        for name, variable in self.variables(config).items():
            dims = variable.dims[len(self.grid) :]
            shape = [len(axes[dim]) for dim in dims]
            if name not in known and any(row is not None for row in rows):
                continue
            values = [
                np.full(shape, math.inf)
                if row is None
                else np.asarray(row.get(name, np.full(shape, variable.fill)), float)
                for row in rows
            ]
            stacked[name] = np.reshape(values, [*lengths, *np.shape(values[0])])
        unknown = known - set(stacked)
        if unknown:
            raise ValueError(f"`cell` gave {sorted(unknown)}, not in `measured`.")
        return stacked


def _is_ordered_like(values: list, default: Any) -> bool:
    """Whether numbers rise where those of the default do, and fall where they fall."""
    if not isinstance(default, list) or isinstance(values[0], str):
        return True
    rising = np.diff(np.asarray(default, dtype=float))
    if not (np.all(rising > 0) or np.all(rising < 0)):
        return True
    steps = np.diff(np.asarray(values, dtype=float))
    return len(rising) == 0 or bool(np.all(steps * rising[0] > 0))


def _cells(coordinates: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells of a task, the last axis first."""
    values = [v if isinstance(v, list) else [v] for v in coordinates.values()]
    return [
        dict(zip(coordinates, each, strict=True)) for each in itertools.product(*values)
    ]
