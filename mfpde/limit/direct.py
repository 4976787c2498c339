"""`estimate_error`: the error of any solution, by solving again coarser and finer."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import a_path, checked, having, optional, positive
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.limit.parts import (
    CONFIDENCE,
    N_DRAWS,
    Error,
    Given,
    Particles,
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
    Solves,
)
from mfpde.recording import check_observers
from mfpde.run.error_estimate import PARTS, ErrorEstimate
from mfpde.run.solution import Solution
from mfpde.run.states import InitialState
from mfpde.run.stored import Run
from mfpde.storage import write_errors

N_TIMES = 9
"""Records that are compared at most."""


def _solution(name: str, value: Any) -> Any:
    """A solution, or the path of a run."""
    if isinstance(value, str | os.PathLike):
        return a_path(name, value)
    what = "a solution of mfpde.solve, or the path of a run"
    return having("initial", "status", what=what)(name, value)


@checked(solution=_solution, max_cost=optional(positive))
def estimate_error(
    solution: Solution | str | os.PathLike[str],
    *,
    observables: Mapping[str, Observable] | None = None,
    max_cost: float | None = None,
) -> ErrorEstimate:
    """Estimate the error of a solution, from depth, particles and training time apart.

    Each part is the change when one thing is refined and the flow is solved again from
    the start: the grid in depth t; the particles (each node number of a tensor rule
    raised; fresh draws of a law; groups of particles whose law is not known); the
    tolerances or the step of the stepper in s. If the solution has a file, the estimate
    is written to its group /errors.

    Parameters
    ----------
    solution : Solution or path
        From `solve` or `resume`, or the file of a run.
    observables : dict of str to callable, optional
        Further functions of an `Evaluation`, numbers or arrays, besides "output" (N, q)
        and "loss".
    max_cost : float, optional
        Kernel evaluations (node x particle x sample x right-hand side) allowed;
        default ten times those of the solution. Parts beyond are NaN; `notes` says so.

    Returns
    -------
    ErrorEstimate

    Raises
    ------
    ValueError
        If the solution does not hold its start, or is not finished.
    StorageFormatError, OSError
        If the file is damaged, being written, or cannot be written.

    Notes
    -----
    Up to nine of the recorded times are compared. The particle part is measured on a
    coarse grid in depth, the other two with few particles.
    """
    observables = check_observers(observables, "observables")
    # The check has made a path of any name.
    opened: Any = Run(solution) if isinstance(solution, Path) else nullcontext(solution)
    with opened as run:
        error, path = _estimate(run, observables, max_cost), run.path
    if path is not None:
        write_estimate(path, error)
    return error


def _estimate(
    solution: Any, observables: Mapping[str, Observable], max_cost: float | None
) -> ErrorEstimate:
    """The estimate for a solution or a run."""
    initial = solution.initial
    if initial is None:
        raise ValueError(
            "`solution` must hold its start (`initial`): it is not there for a run "
            "from a file without a snapshot at s = 0, nor for a network, which is no "
            "approximation."
        )
    if solution.status == "failed":
        raise ValueError(
            "`solution` must have reached its end, got a failed run: "
            f"{solution.message}"
        )
    own = initial.grid.n_nodes * initial.ensemble.n_particles
    if max_cost is None:
        # Of a run that was read, the column of the records.
        n_evaluations = np.max(solution.n_evaluations)
        max_cost = float(10.0 * own * initial.problem.n_samples * n_evaluations)
    s = compared_times(solution.s)
    solves = Solves(initial.problem, s, observables, max_cost)
    return _Estimator(initial, solves).estimate()


def write_estimate(path: Path, error: ErrorEstimate) -> None:
    """Write an estimate to the file of a run."""
    write_errors(
        path,
        error.table(),
        s=error.s,
        notes=" ".join(error.notes),
        n_kernel_evaluations=error.n_kernel_evaluations,
    )


def compared_times(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Up to nine of the recorded times, first and last among them, and s = 0."""
    s = np.unique(np.concatenate([[0.0], s]))
    chosen = np.linspace(0, len(s) - 1, min(len(s), N_TIMES)).round().astype(int)
    return s[chosen]


class _Estimator:
    """The parts of one solution; a part that fails is NaN and leaves a note."""

    def __init__(self, initial: InitialState, solves: Solves) -> None:
        self._grid = initial.grid
        self._solves = solves
        self._accuracy = Accuracy(**initial.method.options)
        provenance = initial.ensemble.provenance
        self._rule: Particles = provenance or Given(initial.grid, initial.ensemble)
        self._is_rough = provenance is not None and provenance.coupling == "layer"
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

    def _coarse(self) -> Particles:
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
