"""The search for the levels of `solve_limit`, and the solve on the finest of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfpde.depth import DepthGrid
from mfpde.laws.provenance import Provenance
from mfpde.limit.direct import write_estimate
from mfpde.limit.parts import Error
from mfpde.limit.search import (
    Found,
    coarsest_grid,
    grids,
    search_depth,
    search_draws,
    search_quadrature,
    search_time,
)
from mfpde.limit.solves import (
    LOSS_AT_END,
    Accuracy,
    BudgetExceeded,
    Solves,
    difference,
    scaled,
)
from mfpde.run.error_estimate import PARTS, ErrorEstimate
from mfpde.run.solution import Solution, quietly
from mfpde.run.solver import solve

SHARES = {"time": 0.02, "depth": 0.15, "particles": 0.7}
"""Of the tolerance; particles are the most expensive."""
LARGEST_COARSE_ERROR = 0.03
"""Error in depth, relative to the outputs, with which particles are searched."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a search keeps to; see `solve_limit`."""

    tol: float
    max_particles: int
    max_nodes: int
    max_cost: float


class Search:
    """The search for one limit: first each part, then the solution and its check."""

    def __init__(self, limits: Limits, solves: Solves, rule: Provenance) -> None:
        self._limits = limits
        self._solves = solves
        self._first = rule
        self._factor = 1.0
        self._answer: Solution | None = None

    def __str__(self) -> str:
        """What progress shows of the search."""
        return f"looking for the levels of the limit, {self._solves.present}"

    def run(self) -> None:
        """Find tolerances, grid and particles, each with few of the others."""
        limits, solves, rule = self._limits, self._solves, self._first
        rtol = min(1e-3, 10.0 * limits.tol)
        loose = Accuracy("dopri5", rtol, 0.1 * rtol)
        self._coarsest = coarsest_grid(solves, rule, loose)
        target = SHARES["time"] * limits.tol
        self._time = search_time(solves, self._coarsest, rule, target, rtol)
        self._depth = self._search_depth()
        self._coarse = self._coarse_grid()
        self._particles = self._search_particles()

    def _search_depth(self) -> Found:
        return search_depth(
            self._solves,
            self._coarsest,
            self._first,
            self._time.level,
            SHARES["depth"] * self._limits.tol / self._factor,
            self._limits.max_nodes,
            noise=self._time.error["output"],
        )

    def _coarse_grid(self) -> DepthGrid:
        """The coarsest grid on which the error of the particles can be measured."""
        best, solves = self._depth.level, self._solves
        limit = LARGEST_COARSE_ERROR * solves.scale["output"]
        for grid in grids(self._coarsest.n_steps, self._limits.max_nodes):
            is_best = grid.describe() == best.describe()
            if is_best or self._change(grid, best, self._first)["output"] <= limit:
                return grid
        return best

    def _search_particles(self) -> list[Found]:
        rule = self._first
        if rule.is_exact:
            return [Found(rule, dict.fromkeys(self._solves.names, 0.0))]
        search = search_quadrature if rule.is_tensor else search_draws
        return search(
            self._solves,
            self._coarse,
            rule,
            self._time.level,
            SHARES["particles"] * self._limits.tol,
            self._limits.max_particles,
        )

    def finish(self, options: dict[str, Any]) -> Solution:
        """Solve the finest level, check the error in depth on it, and refine at need.

        On all particles the change from the coarse grid must be that seen with few;
        where it is larger, the error in depth is scaled alike.
        """
        self._solves.max_cost = self._limits.max_cost
        while True:
            particles = self._affordable()
            grid = self._depth.level
            solution = self._solve(grid, particles.level, options)
            if solution.status != "finished":
                return solution
            self._answer = solution
            before = self._factor
            self._factor = max(before, self._depth_factor(particles.level))
            errors = {
                "depth": scaled(self._depth.error, self._factor),
                "particles": particles.error,
                "time": self._time.error,
            }
            total = sum(error["output"] for error in errors.values())
            is_refinable = self._factor > before and not self._depth.reason
            if total <= self._limits.tol or not is_refinable:
                return self._completed(solution, errors, particles)
            self._depth = self._search_depth()
            options = {**options, "overwrite": True}

    def best(self, stopped: Solution | None) -> Solution | None:
        """The best answer so far, when a signal has ended the search.

        Parameters
        ----------
        stopped : Solution or None
            That of the final solve, if it was this that ended.
        """
        if stopped is not None and stopped.status == "finished":
            self._answer = stopped
        answer = self._answer or self._solves.best
        if answer is None:
            return stopped
        notes = [f"The best answer so far has {answer.grid!r} and"]
        notes.append(f"{answer.ensemble.n_particles:,} particles.")
        notes.append("Its error is not estimated.")
        if stopped is not None and stopped.path is not None:
            notes.append(f"{stopped.path} is at s = {stopped.s[-1]:g}: resume it.")
        changes = {"status": "interrupted", "message": " ".join(notes)}
        return dataclasses.replace(answer, **changes)

    def _affordable(self) -> Found:
        """The best particles with which the final solve keeps within `max_cost`."""
        for found in reversed(self._particles):
            try:
                self._solves.check(self._depth.level, found.level.size)
            except BudgetExceeded:
                continue
            is_last = found is self._particles[-1]
            reason = "" if is_last else "the best particles would pass `max_cost`"
            return dataclasses.replace(found, reason=found.reason or reason)
        return self._particles[0]

    def _solve(
        self, grid: DepthGrid, rule: Provenance, options: dict[str, Any]
    ) -> Solution:
        solves, accuracy = self._solves, self._time.level
        ensemble = rule.ensemble(grid)
        observers = {"output": _output, **solves.observables}
        solution = quietly(solve)(
            solves.problem,
            grid,
            ensemble,
            s_end=float(solves.s[-1]),
            record=solves.s,
            observers=observers,
            **accuracy.options,
            **options,
        )
        if solution.status == "finished":
            values = {"loss": solution.loss, LOSS_AT_END: solution.loss[-1:]}
            recorded = {**solution.scalars, **solution.observations}
            values |= {name: recorded[name] for name in observers}
            solves.add(grid, rule, accuracy, values, solution.n_evaluations)
        return solution

    def _depth_factor(self, rule: Provenance) -> float:
        """Change from the coarse grid on these particles, over that on few."""
        grid, coarse = self._depth.level, self._coarse
        if grid.describe() == coarse.describe() or rule == self._first:
            return 1.0
        seen = self._change(coarse, grid, rule)["output"]
        expected = self._change(coarse, grid, self._first)["output"]
        # What the stepper adds to either change is no error in depth.
        expected += 2.0 * self._time.error["output"]
        return seen / max(expected, np.finfo(float).tiny)

    def _change(
        self, grid: DepthGrid, other: DepthGrid, rule: Provenance
    ) -> dict[str, float]:
        accuracy = self._time.level
        return difference(
            self._solves.values(grid, rule, accuracy),
            self._solves.values(other, rule, accuracy),
        )

    def _completed(
        self, solution: Solution, errors: dict[str, Error], particles: Found
    ) -> Solution:
        """The solution with its errors and a message that says what was chosen."""
        solves, tol = self._solves, self._limits.tol
        n_search = solves.n_kernel_evaluations - solution.n_kernel_evaluations
        error = ErrorEstimate(
            parts={
                name: {part: errors[part][name] for part in PARTS}
                for name in solves.names
            },
            s=solves.s,
            rounding=solves.rounding(),
            n_kernel_evaluations=n_search,
        )
        verdict = f"is {error.output:.1e}, below the tolerance {tol:g}."
        if error.output > tol:
            reasons = [self._time.reason, self._depth.reason, particles.reason]
            known = "; ".join(filter(None, reasons)) or "the levels do not converge"
            verdict = (
                f"is {error.output:.1e}: the tolerance {tol:g} is out of reach "
                f"({known})."
            )
        accuracy: Accuracy = self._time.level
        notes = (
            f"The estimated error of the outputs {verdict}",
            f"Chosen: {self._depth.level!r}, {_rule_text(particles.level, solution)}, "
            f"dopri5 with rtol = {accuracy.rtol:.1e}.",
        )
        error = dataclasses.replace(error, notes=notes)
        message = " ".join((solution.message, *notes))
        if solution.path is not None:
            write_estimate(solution.path, error)
        return dataclasses.replace(solution, error=error, message=message)


def _output(evaluation: Any) -> Any:
    return evaluation.output


def _rule_text(rule: Provenance, solution: Solution) -> str:
    n = f"{solution.ensemble.n_particles:,} particles"
    if rule.is_exact:
        return f"{n} that are the law itself"
    if rule.rule is None:
        return f"{n} of a scrambled Sobol set"
    counts = " x ".join(str(count) for count in rule.rule.counts)
    folded = ", folded" if rule.rule.is_folded else ""
    return f"{n} of a tensor rule with {counts} nodes{folded}"
