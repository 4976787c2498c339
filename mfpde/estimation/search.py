"""Searches for the cheapest level whose error is below a share of the tolerance.

One search for each part of the error. Every level stays in the cache of `Solves`; what
is returned is a level that was solved, with an error that a finer level showed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mfpde.depth import DepthGrid
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.estimation.parts import (
    CONFIDENCE,
    Error,
    fresh_seeds,
    raised,
    step,
    time_part,
)
from mfpde.estimation.solves import (
    Accuracy,
    BudgetExceeded,
    Rule,
    Solves,
    added,
    difference,
    scaled,
    spread,
)
from mfpde.laws.origin import Sampling

START_NODES = 4
START_PARTICLES = 256
LADDER = (2, 3, 4, 5, 6, 8, 10, 12, 16)
"""Gauss nodes of one element, tried in turn."""
MOST_ELEMENTS = 64
SMALLEST_RTOL = 3e-14
LARGEST_RATIO = 0.7
"""Of two successive changes: beyond it the tail is not extrapolated further."""
NEAR = 10.0
"""Sum of the axes' errors over the aim up to which their joint error is worth a solve."""
LEAST_SHARE = 0.1
"""Of the largest error: axes below it wait, since all fall when others are raised."""
FAR = 100.0
"""Error over its share from which on nodes are raised by half, not by a step."""


@dataclass(frozen=True)
class Found:
    """What a search ended with.

    Attributes
    ----------
    level : DepthGrid, Accuracy or Sampling
    error : dict of str to float
        Its part of the error.
    reason : str
        Why no better level was taken, "" if the share of the tolerance is met.
    """

    level: Any
    error: Error
    reason: str = ""


def search_time(
    solves: Solves, grid: DepthGrid, rule: Rule, target: float, rtol: float
) -> Found:
    """Loosest tolerances of dopri5 whose error is below `target`."""
    while True:
        accuracy = Accuracy("dopri5", rtol, 0.1 * rtol)
        error = time_part(solves, grid, rule, accuracy)
        if error["output"] <= target:
            return Found(accuracy, error)
        if rtol <= SMALLEST_RTOL:
            return Found(accuracy, error, "the stepper is at its smallest tolerance")
        # Error and tolerance are about proportional.
        rtol = max(SMALLEST_RTOL, rtol * min(0.3, 0.5 * target / error["output"]))


def grids(n_elements: int, max_nodes: int) -> Iterator[DepthGrid]:
    """Gauss grids, each finer than the one before: more nodes, then more elements."""
    for n in LADDER:
        if n == LADDER[0] or n * n_elements <= max_nodes:
            yield DepthGrid.gauss(n, n_elements)
    n_elements *= 2
    while LADDER[-1] * n_elements <= max_nodes:
        yield DepthGrid.gauss(LADDER[-1], n_elements)
        n_elements *= 2


def coarsest_grid(solves: Solves, rule: Rule, accuracy: Accuracy) -> DepthGrid:
    """Two Gauss nodes on the fewest elements with which the flow can be solved."""
    n_elements = 1
    while True:
        grid = DepthGrid.gauss(LADDER[0], n_elements)
        try:
            solves.values(grid, rule, accuracy)
        except (ConvergenceError, NotFiniteError):
            if n_elements >= MOST_ELEMENTS:
                raise
            n_elements *= 2
        else:
            return grid


def search_depth(
    solves: Solves,
    coarsest: DepthGrid,
    rule: Rule,
    accuracy: Accuracy,
    target: float,
    max_nodes: int,
) -> Found:
    """Coarsest grid whose error is below `target`: the change to the next, and tail."""
    levels = list(grids(coarsest.n_steps, max_nodes))
    found, before = None, None
    for grid, finer in zip(levels, levels[1:], strict=False):
        change = difference(
            solves.values(grid, rule, accuracy), solves.values(finer, rule, accuracy)
        )
        ratio = _ratio(change["output"], before)
        error, before = scaled(change, 1.0 / (1.0 - ratio)), change["output"]
        if error["output"] <= target:
            return Found(grid, error)
        found = Found(
            finer,
            scaled(error, ratio),
            f"the grid in depth has `max_nodes` = {max_nodes}",
        )
    return found


def _ratio(change: float, before: float | None) -> float:
    """Ratio of two successive changes, with limits; 1/2 where there is only one."""
    if not before:
        return 0.5
    return min(max(change / before, 0.0), LARGEST_RATIO)


@dataclass
class _Axis:
    """One random number of a law: its nodes, and the changes when they were raised."""

    n: int
    changes: list[tuple[int, float]]

    def step(self) -> int:
        """Nodes that a raised rule has more."""
        return step(self.n)

    def note(self, change: float) -> None:
        """Enter the change seen at the present number of nodes."""
        if self.changes and self.changes[-1][0] == self.n:
            self.changes.pop()
        self.changes.append((self.n, change))

    def rate(self) -> float:
        """Decay of the change per node, as of a geometric series, with limits."""
        slowest, usual = -math.log(LARGEST_RATIO), math.log(2.0)
        if len(self.changes) < 2:
            return usual / self.step()
        (n, before), (m, after) = self.changes[-2:]
        if not 0.0 < after < before:
            return (slowest if after > 0.0 else usual) / self.step()
        return max(math.log(before / after) / (m - n), slowest / self.step())

    def tail(self) -> float:
        """Error over change."""
        return 1.0 / (1.0 - math.exp(-self.rate() * self.step()))

    def grown(self, excess: float) -> _Axis:
        """The axis with nodes enough to divide its error by `excess`.

        At most by half; near the aim by the step that was tried, so that the level may
        be one that was solved.
        """
        if excess <= 1.0:
            return self
        most = 0.5 * self.n if excess > FAR else self.step()
        wanted = min(math.log(excess) / self.rate(), most)
        return _Axis(self.n + max(2, 2 * math.ceil(0.5 * wanted)), self.changes)


def search_quadrature(
    solves: Solves,
    grid: DepthGrid,
    rule: Sampling,
    accuracy: Accuracy,
    target: float,
    max_particles: int,
) -> list[Found]:
    """Raise the nodes of the random numbers that matter, until the error is small.

    The error of a rule is the sum over its random numbers of the change when the nodes
    of that number alone are raised, each with the tail of a geometric series. Such
    changes may cancel: near the aim the change when all are raised at once is tried,
    too.

    Returns
    -------
    found : list of Found
        All rules with their errors, the last one best.

    Raises
    ------
    BudgetExceeded
        If not even the first rule is affordable.
    """
    found: list[Found] = []
    axes = [_Axis(n, []) for n in rule.rule.counts]
    while True:
        try:
            errors = _axis_errors(solves, grid, rule, accuracy, axes)
            total = added(*errors)
            if target < total["output"] <= NEAR * target:
                tail = total["output"] / sum(axis.changes[-1][1] for axis in axes)
                total = _joint_error(solves, grid, rule, accuracy, tail)
        except BudgetExceeded:
            if not found:
                raise
            return _ended(found, "finer particles would pass `max_cost`")
        found.append(Found(rule, total))
        if total["output"] <= target:
            return found
        sizes = [error["output"] for error in errors]
        share = _share(sizes, target)
        axes = [
            axis.grown(size / share) if size >= LEAST_SHARE * max(sizes) else axis
            for axis, size in zip(axes, sizes, strict=True)
        ]
        rule = rule.with_counts(tuple(axis.n for axis in axes))
        if rule.size > max_particles:
            return _ended(
                found, f"finer particles would pass `max_particles` = {max_particles}"
            )


def _share(sizes: list[float], target: float) -> float:
    """Error allowed to each axis that must be raised, beside those that are small."""
    small = [size for size in sizes if size <= 0.25 * target / len(sizes)]
    return 0.8 * (target - sum(small)) / max(1, len(sizes) - len(small))


def _axis_errors(
    solves: Solves,
    grid: DepthGrid,
    rule: Sampling,
    accuracy: Accuracy,
    axes: list[_Axis],
) -> list[Error]:
    base = solves.values(grid, rule, accuracy)
    errors = []
    for i, axis in enumerate(axes):
        change = difference(base, solves.values(grid, raised(rule, i), accuracy))
        axis.note(change["output"])
        errors.append(scaled(change, axis.tail()))
    return errors


def _joint_error(
    solves: Solves, grid: DepthGrid, rule: Sampling, accuracy: Accuracy, tail: float
) -> Error:
    """Change when the nodes of all random numbers are raised, with the tail."""
    finer = rule
    for i in range(len(rule.rule.counts)):
        finer = raised(finer, i)
    base = solves.values(grid, rule, accuracy)
    return scaled(difference(base, solves.values(grid, finer, accuracy)), tail)


def _ended(found: list[Found], reason: str) -> list[Found]:
    return [*found[:-1], replace(found[-1], reason=reason)]


def search_draws(
    solves: Solves,
    grid: DepthGrid,
    rule: Sampling,
    accuracy: Accuracy,
    target: float,
    max_particles: int,
) -> list[Found]:
    """Double a scrambled Sobol set until the spread of fresh scramblings is small.

    Returns and raises as `search_quadrature`.
    """
    found: list[Found] = []
    while True:
        seeds = [rule.seed, *fresh_seeds(rule.seed)]
        try:
            draws = [
                solves.values(grid, rule.replaced(seed=seed), accuracy)
                for seed in seeds
            ]
        except BudgetExceeded:
            if not found:
                raise
            return _ended(found, "more particles would pass `max_cost`")
        found.append(Found(rule, scaled(spread(draws), CONFIDENCE)))
        if found[-1].error["output"] <= target:
            return found
        rule = rule.with_draws(2 * rule.n_draws)
        if rule.size > max_particles:
            return _ended(
                found, f"more particles would pass `max_particles` = {max_particles}"
            )
