"""The three parts of an error, each from solves that differ in one thing only.

An error from the grid in depth hardly depends on how rho is sampled, and so on, so that
each part is measured where the others are cheap. All errors are absolute and the
largest over times and entries; t is depth, s is training time.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.laws.provenance import Provenance
from mfpde.limit.refinement import interpolated, refined_grid
from mfpde.limit.solves import (
    Accuracy,
    Rule,
    Solves,
    Values,
    added,
    difference,
    scaled,
    spread,
)

Error = dict[str, float]

N_DRAWS = 4
CONFIDENCE = 2.0
"""Standard deviations that count as the error of one draw: 86 % of draws stay below
with a deviation estimated from four."""
TIGHTENING, KINK_TIGHTENING = 32.0, 4.0
"""Factors between two tolerances that are compared."""
STEPS_DIFFER = 2.0
"""Allowance for steps that adapt to few particles instead of all."""
COARSE_PARTICLES = 256
COARSE_NODES = 6
TAIL = 2.0
"""Error over the change seen when nodes are added: 1 / (1 - ratio), ratio = 1/2."""


@dataclass(frozen=True, eq=False)
class Given:
    """Particles that came without their law: all of them, or a range.

    At the nodes of another grid their paths are interpolated in t.
    """

    grid: DepthGrid
    particles: ParticleEnsemble

    @property
    def size(self) -> int:
        """Number of particles M."""
        return self.particles.n_particles

    def ensemble(self, grid: DepthGrid) -> ParticleEnsemble:
        """See `Rule.ensemble`."""
        if grid.describe() == self.grid.describe():
            return self.particles
        return interpolated(self.grid, self.particles, grid)

    def part(self, first: int, last: int) -> Given:
        """Particles first, ..., last - 1, with the weights they have among them."""
        weights = self.particles.weights[first:last]
        theta = self.particles.theta[:, first:last]
        return Given(self.grid, ParticleEnsemble(theta, weights / weights.sum()))


Particles = Given | Provenance


def counts_of(rule: Provenance) -> tuple[int, ...]:
    """Nodes of every random number of a tensor rule."""
    assert rule.rule is not None
    return rule.rule.counts


def coarse_rule(rule: Particles) -> Particles:
    """Return a cheaper rule that still shows the errors of depth and time."""
    if isinstance(rule, Given):
        weights = rule.particles.weights
        n = min(len(weights), COARSE_PARTICLES)
        return rule.part(0, n) if np.ptp(weights) == 0.0 else rule
    if rule.is_exact:
        return rule
    if rule.is_tensor:
        # An even number less keeps what is even even.
        counts = counts_of(rule)
        less = (2 * max(0, (n - COARSE_NODES + 1) // 2) for n in counts)
        return rule.with_counts(tuple(n - m for n, m in zip(counts, less, strict=True)))
    n_others = rule.size // rule.n_draws
    return rule.with_draws(min(rule.n_draws, max(1, COARSE_PARTICLES // n_others)))


def coarse_grid(grid: DepthGrid) -> DepthGrid:
    """Return a cheaper grid of the same scheme."""
    description: dict[str, Any] = dict(grid.describe())
    if grid.scheme == "gauss":
        description["n_nodes"] = min(description["n_nodes"], 2)
    else:
        description["n"] = max(1, description["n"] // 2)
    return DepthGrid.from_description(description)


def finer_grid(grid: DepthGrid) -> DepthGrid:
    """Return a grid whose error is far smaller, or half for Euler."""
    if grid.scheme != "gauss":
        return refined_grid(grid)
    n, n_elements = grid.n_stages, grid.n_steps
    return DepthGrid.gauss(n + max(2, n // 2), n_elements)


def time_part(solves: Solves, grid: DepthGrid, rule: Rule, accuracy: Accuracy) -> Error:
    """Error of the stepper: its tolerances against tighter ones, or ds against ds/2.

    Errors follow tolerances about in proportion, and steps chosen for other particles
    make up to two of it. A block with a kink costs an adaptive stepper its order:
    tolerances are tightened less there.
    """
    is_smooth = not solves.problem.has_kinks
    factor = TIGHTENING if is_smooth else KINK_TIGHTENING
    found = difference(
        solves.values(grid, rule, accuracy),
        solves.values(grid, rule, accuracy.tightened(factor)),
    )
    if accuracy.ds is None:
        return scaled(found, STEPS_DIFFER / (1.0 - 1.0 / factor))
    return scaled(found, 2.0) if accuracy.stepper == "euler" else found


def depth_part(
    solves: Solves, grid: DepthGrid, rule: Rule, accuracy: Accuracy
) -> Error:
    """Error of the depth grid: against a finer one, trained on it from the start.

    A fixed scheme on twice the steps keeps 2^-order of the error (Richardson).
    """
    finer = finer_grid(grid)
    found = difference(
        solves.values(grid, rule, accuracy), solves.values(finer, rule, accuracy)
    )
    if grid.scheme == "gauss":
        return found
    return scaled(found, 1.0 / (1.0 - 2.0**-grid.order))


def step(n: int) -> int:
    """Nodes by which n are raised to see their error: a quarter, an even number."""
    return 2 * max(1, round(n / 8))


def raised(rule: Provenance, i: int) -> Provenance:
    """Return a tensor rule with the nodes of random number i raised."""
    counts = list(counts_of(rule))
    counts[i] += step(counts[i])
    return rule.with_counts(tuple(counts))


def quadrature_part(
    solves: Solves, grid: DepthGrid, rule: Provenance, accuracy: Accuracy
) -> Error:
    """Error of a tensor rule: the change when the nodes of each number are raised."""
    base = solves.values(grid, rule, accuracy)
    changes = [
        difference(base, solves.values(grid, raised(rule, i), accuracy))
        for i in range(len(counts_of(rule)))
    ]
    return scaled(added(*changes), TAIL)


def replicate_part(
    solves: Solves, grid: DepthGrid, rule: Provenance, accuracy: Accuracy
) -> Error:
    """Error of random or scrambled draws: the spread of fresh ones, each trained.

    The draws have half the particles; the factor between is taken as 2^-1/2, that of
    independent draws, and is smaller for Sobol points.
    """
    n = max(1, rule.n_draws // 2)
    draws = [
        solves.values(grid, rule.with_draws(n).replaced(seed=seed), accuracy)
        for seed in fresh_seeds(rule.seed)
    ]
    return scaled(spread(draws), CONFIDENCE * np.sqrt(n / rule.n_draws))


def fresh_seeds(seed: int) -> list[int]:
    """Seeds of further draws."""
    return [seed + 1 + i for i in range(N_DRAWS)]


def groups_part(
    solves: Solves, grid: DepthGrid, rule: Given, accuracy: Accuracy
) -> Error:
    """Error of independent draws of an unknown law: groups of them, each trained.

    The spread gives the random part, the mean of the groups against all together the
    bias, which falls like 1 / M.
    """
    bounds = np.linspace(0, rule.particles.n_particles, N_DRAWS + 1).astype(int)
    groups: list[Values] = [
        solves.values(grid, rule.part(first, last), accuracy)
        for first, last in itertools.pairwise(bounds)
    ]
    whole = solves.values(grid, rule, accuracy)
    mean: Values = {
        name: np.asarray(sum(each[name] for each in groups)) / N_DRAWS for name in whole
    }
    bias = scaled(difference(mean, whole), 1.0 / (N_DRAWS - 1))
    return added(scaled(spread(groups), CONFIDENCE / np.sqrt(N_DRAWS)), bias)
