"""Searches for the cheapest level whose error is below a share of the tolerance.

One search for each part of the error. Every level stays in the cache of `Solves`; what
is returned is a level that was solved, with an error that a finer level showed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mfpde.depth import DepthGrid
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.laws.provenance import Provenance
from mfpde.limit.parts import (
    CONFIDENCE,
    Error,
    counts_of,
    fresh_seeds,
    raised,
    step,
    time_part,
)
from mfpde.limit.solves import (
    Accuracy,
    BudgetExceeded,
    Rule,
    Solves,
    added,
    difference,
    scaled,
    spread,
)

LADDER = (2, 3, 4, 5, 6, 8, 10, 12, 16)
"""Gauss nodes of one element, tried in turn."""
MOST_ELEMENTS = 64
SMALLEST_RTOL = 3e-14
MOST_EVALUATIONS, MOST_WITH_KINK = 20_000, 500
"""Right-hand sides of a solve beyond which tolerances are not tightened. At kinks steps
grow in number as tolerances fall, to no gain next to the error of sampling."""
LARGEST_RATIO = 0.7
"""Of two successive changes: beyond it the tail is not extrapolated further."""
NEAR = 30.0
"""Sum of the errors of axes over the aim up to which they are raised together."""
LEAST_SHARE = 0.03
"""Of the largest error: axes below it wait, since all fall when others are raised."""
FAR = 100.0
"""Error over its share from which on nodes are raised by half, not by a step."""


@dataclass(frozen=True)
class Found:
    """What a search ended with.

    Attributes
    ----------
    level : DepthGrid, Accuracy or Provenance
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
    is_smooth = not solves.problem.has_kinks
    most = MOST_EVALUATIONS if is_smooth else MOST_WITH_KINK
    while True:
        accuracy = Accuracy("dopri5", rtol, 0.1 * rtol)
        error = time_part(solves, grid, rule, accuracy)
        if error["output"] <= target:
            return Found(accuracy, error)
        if rtol <= SMALLEST_RTOL:
            return Found(accuracy, error, "dopri5 is at its smallest tolerance")
        if solves.n_evaluations > most:
            return Found(accuracy, error, "dopri5 would take too many steps")
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
    noise: float = 0.0,
) -> Found:
    """Coarsest grid whose error is below `target`: the change to the next, and tail.

    Changes below twice `noise`, the error of the stepper, say nothing of a tail.
    """
    levels = list(grids(coarsest.n_steps, max_nodes))
    if len(levels) < 2:
        raise ValueError(
            f"`max_nodes` must be at least {LADDER[1] * coarsest.n_steps} for this "
            f"field, to compare two grids, got {max_nodes}."
        )
    found = Found(levels[-1], {})
    before = None
    for grid, finer in itertools.pairwise(levels):
        change = difference(
            solves.values(grid, rule, accuracy), solves.values(finer, rule, accuracy)
        )
        ratio = _ratio(change["output"], before)
        if change["output"] <= 2.0 * noise:
            ratio = 0.0
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


def search_quadrature(
    solves: Solves,
    grid: DepthGrid,
    rule: Provenance,
    accuracy: Accuracy,
    target: float,
    max_particles: int,
) -> list[Found]:
    """Raise the nodes of the random numbers that matter, until the error is small.

    The error of a rule is the sum over its random numbers of the change when the nodes
    of that number alone are raised, each with the tail of a geometric series. Near the
    aim the numbers that matter are raised together, since their changes may cancel.

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
    axes = _Axes([_Axis(n) for n in counts_of(rule)])
    while True:
        try:
            error = axes.error(solves, grid, rule, accuracy)
            is_near = target < error["output"] <= NEAR * target
            if is_near:
                error = axes.joint_error(solves, grid, rule, accuracy)
        except BudgetExceeded:
            if not found:
                raise
            return _ended(found, "finer particles would pass `max_cost`")
        found.append(Found(rule, error))
        if error["output"] <= target:
            return found
        counts = axes.raised_counts() if is_near else axes.grown_counts(target)
        rule = rule.with_counts(counts)
        if rule.size > max_particles:
            return _ended(
                found, f"finer particles would pass `max_particles` = {max_particles}"
            )


@dataclass
class _Axis:
    """One random number of a law: its nodes, and the changes when they were raised.

    Attributes
    ----------
    n : int
        Nodes at present.
    changes : list of (int, float)
        Numbers of nodes so far, each with the change of the outputs.
    error : dict of str to float
        Of the present nodes.
    """

    n: int
    changes: list[tuple[int, float]] = field(default_factory=list)
    error: Error = field(default_factory=dict)

    @property
    def size(self) -> float:
        """Error of the outputs."""
        return self.error["output"]

    def note(self, change: Error) -> None:
        """Enter the change seen at the present number of nodes."""
        if self.changes and self.changes[-1][0] == self.n:
            self.changes.pop()
        self.changes.append((self.n, change["output"]))
        ratio = math.exp(-self.rate() * step(self.n))
        self.error = scaled(change, 1.0 / (1.0 - ratio))

    def rate(self) -> float:
        """Decay of the change per node, as of a geometric series, with limits."""
        slowest, usual = -math.log(LARGEST_RATIO), math.log(2.0)
        if len(self.changes) < 2:
            return usual / step(self.n)
        (n, before), (m, after) = self.changes[-2:]
        if not 0.0 < after < before:
            return (slowest if after > 0.0 else usual) / step(self.n)
        return max(math.log(before / after) / (m - n), slowest / step(self.n))

    def grown(self, excess: float) -> int:
        """Nodes enough to divide the error by `excess`.

        At most by half; near the aim by the step that was tried, so that the level may
        be one that was solved.
        """
        if excess <= 1.0:
            return self.n
        most = 0.5 * self.n if excess > FAR else step(self.n)
        wanted = min(math.log(excess) / self.rate(), most)
        return self.n + max(2, 2 * math.ceil(0.5 * wanted))


@dataclass
class _Axes:
    """All random numbers of a law."""

    each: list[_Axis]
    joint: float | None = None

    def error(
        self, solves: Solves, grid: DepthGrid, rule: Provenance, accuracy: Accuracy
    ) -> Error:
        """Sum of the errors seen when each axis is raised alone."""
        base = solves.values(grid, rule, accuracy)
        for i, axis in enumerate(self.each):
            axis.n = counts_of(rule)[i]
            other = solves.values(grid, raised(rule, i), accuracy)
            axis.note(difference(base, other))
        return added(*(axis.error for axis in self.each))

    def joint_error(
        self, solves: Solves, grid: DepthGrid, rule: Provenance, accuracy: Accuracy
    ) -> Error:
        """Error seen when the axes that matter are raised together, and of the rest."""
        base = solves.values(grid, rule, accuracy)
        other = rule.with_counts(self.raised_counts())
        change = difference(base, solves.values(grid, other, accuracy))
        ratio = _ratio(change["output"], self.joint)
        self.joint = change["output"]
        rest = [axis.error for axis in self.each if not self._matters(axis)]
        return added(scaled(change, 1.0 / (1.0 - ratio)), *rest)

    def raised_counts(self) -> tuple[int, ...]:
        """Nodes with a step more on every axis that matters."""
        return tuple(
            axis.n + step(axis.n) if self._matters(axis) else axis.n
            for axis in self.each
        )

    def grown_counts(self, target: float) -> tuple[int, ...]:
        """Nodes that should bring the sum of the errors below `target`."""
        sizes = [axis.size for axis in self.each]
        small = [size for size in sizes if size <= 0.25 * target / len(sizes)]
        # Shares that leave room, since every axis must stay below its own.
        share = 0.8 * (target - sum(small)) / max(1, len(sizes) - len(small))
        return tuple(
            axis.grown(axis.size / share) if self._matters(axis) else axis.n
            for axis in self.each
        )

    def _matters(self, axis: _Axis) -> bool:
        """Whether an axis is not far below the largest: all fall with the others."""
        return axis.size >= LEAST_SHARE * max(each.size for each in self.each)


def _ended(found: list[Found], reason: str) -> list[Found]:
    return [*found[:-1], replace(found[-1], reason=reason)]


def search_draws(
    solves: Solves,
    grid: DepthGrid,
    rule: Provenance,
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
