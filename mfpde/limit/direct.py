"""`estimate_error`: the error of any solution, by solving again coarser and finer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, having, optional, positive
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.flow import Setup
from mfpde.limit.estimate import PARTS, ErrorEstimate
from mfpde.limit.parts import (
    CONFIDENCE,
    N_DRAWS,
    Error,
    Given,
    coarse_grid,
    coarse_rule,
    depth_part,
    groups_part,
    quadrature_part,
    replicate_part,
    time_part,
)
from mfpde.limit.solves import (
    Accuracy,
    BudgetExceeded,
    Observable,
    Rule,
    Solves,
)
from mfpde.recording import check_observers

N_TIMES = 9
"""Records that are compared at most."""


@checked(
    solution=having("setup", "status", what="a solution of mfpde.solve"),
    max_cost=optional(positive),
)
def estimate_error(
    solution: Any,
    *,
    observables: Mapping[str, Observable] | None = None,
    max_cost: float | None = None,
) -> ErrorEstimate:
    """Estimate the error of a solution, from depth, particles and training time apart.

    Each part is the change when one thing is refined and the flow is solved again from
    the start: the grid in depth t; the particles (each node number of a tensor rule
    raised; fresh draws of a law; groups of particles whose law is not known); the
    tolerances or the step of the stepper in s.

    Parameters
    ----------
    solution : Solution
        From `solve` or `resume`.
    observables : dict of str to callable, optional
        Further functions of an `Evaluation`, numbers or arrays, besides "output" (N, q)
        and "loss".
    max_cost : float, optional
        Kernel evaluations (node x particle x sample x right-hand side) allowed;
        default ten times those of the solution. Parts beyond are NaN, and told.

    Returns
    -------
    ErrorEstimate

    Raises
    ------
    ValueError
        If the solution does not know its start, or is not finished.

    Notes
    -----
    Up to nine of the recorded times are compared. The particle part is measured on a
    coarse grid in depth, the other two with few particles.
    """
    observables = check_observers(observables, "observables")
    setup = solution.setup
    if setup is None:
        raise ValueError(
            "`solution` must hold its start (`setup`): it is not there for a run "
            "resumed from a file without a snapshot at s = 0, nor for a network, which "
            "is no approximation."
        )
    if solution.status == "failed":
        raise ValueError(
            "`solution` must have reached its end, got a failed run: "
            f"{solution.message}"
        )
    own = setup.grid.n_nodes * setup.ensemble.n_particles * setup.problem.n_samples
    if max_cost is None:
        max_cost = 10.0 * own * solution.n_evaluations
    s = compared_times(solution.s)
    solves = Solves(setup.problem, s, observables, max_cost)
    return _Estimator(setup, solves).estimate()


def compared_times(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Up to nine of the recorded times, first and last among them, and s = 0."""
    s = np.unique(np.concatenate([[0.0], s]))
    chosen = np.linspace(0, len(s) - 1, min(len(s), N_TIMES)).round().astype(int)
    return s[chosen]


class _Estimator:
    """The parts of one solution; a part that fails is NaN and leaves a note."""

    def __init__(self, setup: Setup, solves: Solves) -> None:
        self._grid = setup.grid
        self._solves = solves
        self._accuracy = Accuracy(setup.stepper, setup.rtol, setup.atol, setup.ds)
        origin = setup.ensemble.origin
        self._rule: Rule = origin or Given(setup.grid, setup.ensemble)
        self._is_rough = origin is not None and origin.coupling == "layer"
        self._notes: list[str] = []

    def estimate(self) -> ErrorEstimate:
        found = {
            "time": self._part("training time", self._time),
            "depth": self._part("depth", self._depth),
            "particles": self._part("particles", self._particles),
        }
        return ErrorEstimate(
            parts={
                name: {part: found[part].get(name, math.nan) for part in PARTS}
                for name in self._solves.names
            },
            s=self._solves.s,
            rounding=self._solves.rounding(),
            notes=tuple(self._notes),
            n_kernel_evaluations=self._solves.n_kernel_evaluations,
        )

    def _part(self, name: str, measure: Callable[[], Error]) -> Error:
        try:
            return measure()
        except BudgetExceeded:
            reason = "it would pass `max_cost`"
        except (NotFiniteError, ConvergenceError) as failure:
            reason = str(failure)
        self._notes.append(f"No estimate for {name}: {reason}.".replace("..", "."))
        return {}

    def _coarse(self) -> Rule:
        """Few particles; all of them where a network is its own limit in depth."""
        return self._rule if self._is_rough else coarse_rule(self._rule)

    def _time(self) -> Error:
        if not self._accuracy.is_known:
            self._notes.append(
                "No estimate for training time: the stepper is the user's own."
            )
            return {}
        return time_part(self._solves, self._grid, self._coarse(), self._accuracy)

    def _depth(self) -> Error:
        if self._is_rough:
            self._notes.append(
                "No estimate for depth: particles of different nodes are independent."
            )
            return {}
        return depth_part(self._solves, self._grid, self._coarse(), self._accuracy)

    def _particles(self) -> Error:
        rule, solves, accuracy = self._rule, self._solves, self._accuracy
        grid = self._grid if self._is_rough else coarse_grid(self._grid)
        if isinstance(rule, Given):
            return self._given_particles(grid, rule)
        if rule.is_exact:
            self._notes.append("Particles: they are the law itself.")
            return dict.fromkeys(solves.names, 0.0)
        if rule.is_tensor:
            self._notes.append("Particles: nodes raised for each random number.")
            return quadrature_part(solves, grid, rule, accuracy)
        self._notes.append(
            f"Particles: {CONFIDENCE:g} standard deviations over {N_DRAWS} fresh draws."
        )
        return replicate_part(solves, grid, rule, accuracy)

    def _given_particles(self, grid: Any, rule: Given) -> Error:
        if np.ptp(rule.particles.weights) > 0.0:
            self._notes.append(
                "No estimate for particles: their law and rule are not known."
            )
            return {}
        if rule.particles.n_particles < 2 * N_DRAWS:
            self._notes.append(
                f"No estimate for particles: they are fewer than {2 * N_DRAWS}."
            )
            return {}
        self._notes.append(
            f"Particles: taken as independent draws, {CONFIDENCE:g} standard "
            f"deviations over {N_DRAWS} groups."
        )
        return groups_part(self._solves, grid, rule, self._accuracy)
