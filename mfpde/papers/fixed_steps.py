"""Descent in steps that nothing refuses.

The adaptive steppers refuse a step in which the objective rises, so that a record of
theirs falls in every step whatever the velocity is. Here the same starts take steps of
the classical Runge-Kutta method of one size, all of which are accepted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import evaluate
from mfpde.losses import DecayingQuadratic
from mfpde.papers import descents
from mfpde.papers.ends import finished
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Steps
from mfpde.run.solver import solve
from mfpde.studies.curves import traces
from mfpde.studies.experiment import Experiment
from mfpde.studies.orders import judge_those
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table
from mfpde.theory.tangent import tangent_kernel

Array = NDArray[np.float64]
Start = tuple[MeanFieldProblem, DepthGrid, ParticleEnsemble]

STEP = 0.2
"""Size of a step times the fastest rate at s = 0: a tenth of what is stable (2.8), with
room for rates that grow."""
LEAST_FALL = 10.0
"""Factor by which the objective must have fallen for a run to count."""
FALL = 100.0
"""Factor by which the loss falls in a run, unless that takes too many steps."""
MOST_LINES = 6
"""Of more cases, only those with the first and last value of every axis are drawn."""
KEYS = {"steps": 2000, "tolerance": 0.01}
"""Keys that all of these experiments have, with their defaults."""


def step_size(problem: MeanFieldProblem, *start: Any) -> float:
    """Return `STEP` over lambda_max(K) + 2 lambda(0): of outputs and regulariser."""
    fastest = float(np.linalg.eigvalsh(tangent_kernel(problem, *start))[-1])
    if problem.regulariser is not None:
        fastest += 2.0 * problem.regulariser.strength(0.0)
    return STEP / fastest


class FixedSteps(Experiment):
    """E_s in Runge-Kutta steps of one size; subclasses draw the start.

    Attributes
    ----------
    symbol : str
        Of the objective.
    """

    symbol: ClassVar[str] = "E"
    description = (
        "The objective falls in every step of a method that refuses none, and the "
        "ledger (28) closes; adaptive runs say nothing of it."
    )
    limitations = (
        "A run ends when the loss has fallen by 100, or after `steps`; the step is a "
        "tenth of what is stable at the start."
    )
    measured: ClassVar[dict[str, str | Variable]] = {
        "objective": Variable(("step",), "objective, of that at s = 0"),
        "rise": "largest rise of the objective in a step, of that at s = 0",
        "fall": "objective at s = 0 over that at the end",
        "residual": "largest residual of the ledger (28), of the objective at s = 0",
    }
    positive = ("steps",)
    analysis_keys = ("tolerance",)

    def start(self, at: Mapping[str, Any], config: Config) -> Start:
        """Return problem, grid and particles of a cell."""
        raise NotImplementedError

    def further_axes(self, config: Config) -> dict[str, list]:
        """Return the numbers of the steps that are drawn."""
        numbers = np.geomspace(1.0, config["steps"], 41).round()
        return {"step": np.unique(numbers).astype(int).tolist()}

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        """Take the steps; a run that rose is measured, even if it then blew up."""
        start = self.start(at, config)
        ds, least = step_size(*start), evaluate(*start).loss / FALL
        options = {"stepper": "rk4", "ds": ds, "record": Steps(1), "loss_below": least}
        found = solve.quietly(*start, s_end=config["steps"] * ds, **options)
        rise, size = np.diff(found.objective).max(initial=-np.inf), found.objective[0]
        if not rise > 0.0:
            finished(found)
        numbers = np.array(self.further_axes(config)["step"])
        values = np.interp(numbers, np.arange(len(found.s)), found.objective / size)
        return {
            "objective": np.where(numbers < len(found.s), values, np.nan),
            "rise": rise / size,
            "fall": size / found.objective[-1],
            "residual": np.abs(found.scalars["energy_residual"]).max() / size,
        }

    def analyse(self, table: Table, config: Config) -> Report:
        """Judge every step, and the ledger."""
        table, most = table.finite(), config["tolerance"]
        claim = f"{self.symbol} falls in every Runge-Kutta step, none refused"
        # A run that hardly fell says nothing, unless it rose.
        rose = table["rise"] > descents.RISE
        has_value = np.isfinite(table["rise"]) & (rose | (table["fall"] >= LEAST_FALL))
        ledger = f"the ledger (28) closes to {most:g} of {self.symbol} at s = 0"
        verdicts = [
            judge_those(claim, ~rose, has_value, row=self.claims[0]),
            judge_those(ledger, table["residual"] <= most, has_value),
        ]
        falls = table["fall"][np.isfinite(table["fall"])]
        text = "No run has a value."
        if len(falls):
            fell = f"{np.median(falls):.3g} in the median, {falls.min():.3g} at least"
            text = f"By the end {self.symbol} had fallen by a factor of {fell}."
        axes = [axis for axis in self.grid if axis != "seed"]
        first = table.select(seed=table.axes["seed"][0])
        cases = list(itertools.product(*(table.axes[axis] for axis in axes)))
        if len(cases) > MOST_LINES:
            ends = ((table.axes[axis][0], table.axes[axis][-1]) for axis in axes)
            cases = list(itertools.product(*ends))
        lines = {
            self.label(*case): (
                table.axes["step"],
                first.select(**dict(zip(axes, case, strict=True)))["objective"],
            )
            for case in cases
        }
        y = f"${self.symbol}$, of that at s = 0"
        panel = traces("Steps that nothing refuses", "number of the step", y, lines)
        return Report(verdicts, [text], {self.name: [panel]})

    def label(self, *case: Any) -> str:
        """Return the name of a line, from the values of all axes but the seed."""
        return ", ".join(map(str, case))


class PerceptronSteps(FixedSteps):
    """Row 4: perceptrons without a regulariser, on data that nothing obstructs."""

    name, claims = "steps", (4,)
    title = "Descent without a regulariser"
    defaults = descents.FIXED | {
        "activations": ["tanh", "gelu"],
        "dimensions": [1, 2, 3],
        "width": 64,
        "seeds": 6,
        "first_seed": 0,
        "depth_steps": 2,
        **KEYS,
    }
    quick = {"dimensions": [2, 3], "width": 32, "seeds": 3}
    grid = {"activation": "activations", "dimension": "dimensions", "seed": "seeds"}

    def start(self, at: Mapping[str, Any], config: Config) -> Start:
        """Draw as `unobstructed` does."""
        names = (at["dimension"], at["activation"], at["seed"])
        problem = descents.make_problem(config, *names)
        drawn = descents.draw(config, problem, config["width"], at["seed"])
        return problem, *drawn

    def label(self, *case: Any) -> str:
        """Return activation and dimension."""
        activation, dimension = case
        return f"{activation}, d = {dimension}"


class RegularisedSteps(FixedSteps):
    """Row 6: the same with lambda(s) = lambda0 exp(-gamma s)."""

    name, claims, symbol = "regularised-steps", (6,), "E_s"
    title = "Descent with a decaying regulariser"
    defaults = descents.FIXED | descents.DECAYING | KEYS
    quick, grid = descents.DECAYING_QUICK, descents.DECAYING_GRID

    def start(self, at: Mapping[str, Any], config: Config) -> Start:
        """Draw as `regulariser` does."""
        names = (config["dimension"], config["activation"], at["seed"])
        decaying = DecayingQuadratic(at["lambda0"], at["gamma"])
        problem = descents.make_problem(config, *names, decaying)
        drawn = descents.draw(config, problem, config["width"], at["seed"])
        return problem, *drawn

    def label(self, *case: Any) -> str:
        """Return lambda0 and gamma."""
        return rf"$\lambda_0$ = {case[0]:g}, $\gamma$ = {case[1]:g}"
