"""Solves for comparison: cached, counted, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import Evaluation
from mfpde.problem import MeanFieldProblem
from mfpde.run.flow import iterate
from mfpde.run.solution import Solution
from mfpde.run.states import Method, State

Array = NDArray[np.float64]
Values = dict[str, Array]
Observable = Callable[[Evaluation], Any]

TIGHTEST = 1e-15
ROUNDING_UNITS = 64
"""Units of rounding, of the largest value, below which no error is claimed."""
LOSS_AT_END = "loss_at_end"
"""A quantity of its own: early in training the loss can have a far larger error."""


class Rule(Protocol):
    """Particles for any depth grid; hashable."""

    @property
    def size(self) -> int:
        """Number of particles M."""
        ...

    def ensemble(self, grid: DepthGrid) -> ParticleEnsemble:
        """Return the particles at the nodes of a grid."""
        ...


class BudgetExceeded(Exception):
    """The next solve would pass the cost cap."""


class Stopped(Exception):
    """A signal came: no further step is made."""


@dataclass(frozen=True)
class Accuracy(Method):
    """A method whose accuracy can be raised."""

    @property
    def is_known(self) -> bool:
        """Whether it can be tightened: not a stepper of the user's own."""
        return isinstance(self.stepper, str)

    def tightened(self, factor: float) -> Accuracy:
        """Tolerances divided by `factor`, or half the step of a fixed stepper."""
        if self.ds is not None:
            return replace(self, ds=0.5 * self.ds)
        rtol, atol = (max(x / factor, TIGHTEST) for x in (self.rtol, self.atol))
        return replace(self, rtol=rtol, atol=min(atol, self.atol))


@dataclass
class Solves:
    """Outputs, loss and observables at the times, for any level of discretisation.

    Parameters
    ----------
    problem : MeanFieldProblem
        At s = 0.
    s : ndarray, shape (R,)
        Training times at which solves are compared, the first 0.
    observables : dict of str to callable
        Functions of an `Evaluation`.
    max_cost : float
        Kernel evaluations allowed: node x particle x sample x right-hand side.
    report : callable
        Called with the `State` after every step.
    stopped : sequence
        As long as it is empty steps are made.

    Attributes
    ----------
    n_kernel_evaluations : int
        So far.
    scale : dict of str to float
        Largest value seen of each quantity.
    n_evaluations : int
        Right-hand sides of the last solve.
    best : Solution or None
        Of the most expensive solve so far: the best answer to an interrupted search.
    present : str
        What is being solved, in words.
    """

    problem: MeanFieldProblem
    s: Array
    observables: Mapping[str, Observable] = field(default_factory=dict)
    max_cost: float = np.inf
    report: Callable[[State], None] = lambda state: None
    stopped: Sequence[int] = ()
    best: Solution | None = None
    present: str = "start"
    n_kernel_evaluations: int = 0
    scale: dict[str, float] = field(default_factory=dict)
    n_evaluations: int = 1
    _found: dict[Any, Values] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    @property
    def names(self) -> list[str]:
        """Names of the quantities."""
        return ["output", "loss", LOSS_AT_END, *self.observables]

    def values(self, grid: DepthGrid, rule: Rule, accuracy: Accuracy) -> Values:
        """Values of one level, each of shape (R, ...).

        Raises
        ------
        BudgetExceeded
            If this solve would probably pass `max_cost`.
        NotFiniteError, ConvergenceError
            If the flow fails.
        Stopped
            If a signal came.
        """
        key = _key(grid, rule, accuracy)
        if key not in self._found:
            self.check(grid, rule.size)
            self._found[key] = self._solve(grid, rule.ensemble(grid), accuracy)
        return self._found[key]

    def add(
        self,
        grid: DepthGrid,
        rule: Rule,
        accuracy: Accuracy,
        values: Values,
        n_evaluations: int,
    ) -> None:
        """Keep the values of a level that was solved elsewhere, and count its work."""
        self._found[_key(grid, rule, accuracy)] = values
        self._count(grid, rule.size, n_evaluations)

    def rounding(self) -> dict[str, float]:
        """Errors below which none is claimed, from the largest values seen."""
        unit = ROUNDING_UNITS * np.finfo(float).eps
        return {name: unit * size for name, size in self.scale.items()}

    def check(self, grid: DepthGrid, n_particles: int) -> None:
        """Raise BudgetExceeded if a solve of this size would pass `max_cost`."""
        self._check(grid, n_particles, self.n_evaluations)

    def _check(self, grid: DepthGrid, n_particles: int, n_evaluations: int) -> None:
        cost = self._cost(grid, n_particles, n_evaluations)
        if self.n_kernel_evaluations + cost > self.max_cost:
            raise BudgetExceeded

    def _count(self, grid: DepthGrid, n_particles: int, n_evaluations: int) -> None:
        self.n_kernel_evaluations += self._cost(grid, n_particles, n_evaluations)
        self.n_evaluations = n_evaluations

    def observe(self, evaluation: Evaluation) -> Values:
        """Return the compared values at one training time."""
        return {
            "output": evaluation.output,
            "loss": np.array(evaluation.loss),
            **{
                name: np.asarray(function(evaluation), dtype=float)
                for name, function in self.observables.items()
            },
        }

    def _solve(
        self, grid: DepthGrid, ensemble: ParticleEnsemble, accuracy: Accuracy
    ) -> Values:
        each, rows, state = [], [], None
        states = iterate(
            self.problem,
            grid,
            ensemble,
            s_end=float(self.s[-1]),
            tstops=self.s,
            **accuracy.options,
        )
        for state in states:
            self._check(grid, ensemble.n_particles, state.n_evaluations)
            self._tell(state)
            if state.s == self.s[len(rows)]:
                each.append(self.observe(state.evaluation))
                rows.append(_row(state))
        assert state is not None
        self._count(grid, ensemble.n_particles, state.n_evaluations)
        values = {name: np.array([at[name] for at in each]) for name in each[0]}
        values[LOSS_AT_END] = values["loss"][-1:]
        answer = self._answer(state, rows, values)
        cost = answer.n_kernel_evaluations
        if self.best is None or cost >= self.best.n_kernel_evaluations:
            self.best = answer
        for name, array in values.items():
            size = float(np.abs(array).max(initial=0.0))
            self.scale[name] = max(self.scale.get(name, 0.0), size)
        return values

    def _answer(
        self, state: State, rows: list[dict[str, float]], values: Values
    ) -> Solution:
        """A solve as a solution."""
        columns = {n: np.array([row[n] for row in rows]) for n in rows[0]}
        observed = {n: values[n] for n in ("output", *self.observables)}
        return Solution(
            scalars=columns | {n: v for n, v in observed.items() if v.ndim == 1},
            observations={n: v for n, v in observed.items() if v.ndim > 1},
            snapshot_s=np.empty(0),
            theta=np.empty((0, *state.ensemble.theta.shape)),
            ensemble=state.ensemble,
            problem=state.problem,
            grid=state.grid,
            status="interrupted",
            message="",
            n_steps=state.step,
            n_evaluations=state.n_evaluations,
            n_rejected=state.n_rejected,
            wall_time_s=time.monotonic() - self._began,
        )

    def _tell(self, state: State) -> None:
        """Say where a solve is; raise Stopped if it shall end."""
        ensemble = state.ensemble
        self.present = (
            f"{ensemble.n_nodes} nodes x {ensemble.n_particles:,} particles, "
            f"s = {state.s:.3g} of {self.s[-1]:g}"
        )
        self.report(state)
        if self.stopped:
            raise Stopped

    def _cost(self, grid: DepthGrid, n_particles: int, n_evaluations: int) -> int:
        return grid.n_nodes * n_particles * self.problem.n_samples * n_evaluations


def _row(state: State) -> dict[str, float]:
    """The scalars that cost nothing."""
    evaluation = state.evaluation
    return {
        "s": state.s,
        "step": float(state.step),
        "loss": evaluation.loss,
        "objective": evaluation.objective,
        "dissipation": evaluation.dissipation,
        "second_moment": evaluation.second_moment,
        "gradient_norm": evaluation.gradient_norm,
        "energy_residual": state.energy_residual,
        "n_evaluations": float(state.n_evaluations),
    }


def _key(grid: DepthGrid, rule: Rule, accuracy: Accuracy) -> tuple[Any, ...]:
    return tuple(grid.describe().items()), rule, accuracy


def difference(values: Values, others: Values) -> dict[str, float]:
    """Largest absolute difference of each quantity."""
    return {
        name: float(np.abs(array - others[name]).max(initial=0.0))
        for name, array in values.items()
    }


def spread(draws: list[Values]) -> dict[str, float]:
    """Largest standard deviation of each quantity over independent draws."""
    return {
        name: float(np.std([each[name] for each in draws], axis=0, ddof=1).max())
        for name in draws[0]
    }


def scaled(error: dict[str, float], factor: float) -> dict[str, float]:
    """Errors times a factor."""
    return {name: factor * value for name, value in error.items()}


def added(*errors: dict[str, float]) -> dict[str, float]:
    """Sum of errors, quantity by quantity."""
    return {name: sum(each[name] for each in errors) for name in errors[0]}
