"""What a run found, and the conditions that end it."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import check_fields, optional, positive
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError, UnfinishedWarning
from mfpde.flow import Setup, State
from mfpde.limit import ErrorEstimate
from mfpde.problem import MeanFieldProblem
from mfpde.run.crossing import log_ratio
from mfpde.storage import write_errors

Array = NDArray[np.float64]
P, S = ParamSpec("P"), TypeVar("S")


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """What a run found.

    Attributes
    ----------
    s, loss, objective, dissipation : ndarray, shape (R,)
        The recorded training times and, at each, E, E_s and D_s.
    scalars : dict of str to ndarray, shape (R,)
        All recorded scalars.
    observations : dict of str to ndarray, shape (R, ...)
        Arrays of the observers.
    snapshot_s : ndarray, shape (S,), and theta : ndarray, shape (S, J, M, k)
        The snapshots, kept in memory only for a run without a file; empty otherwise.
    maps : dict of str to ndarray, shape (S, ...)
        The trained maps at the snapshots, kept likewise.
    ensemble : ParticleEnsemble
        The particles at the end.
    problem : MeanFieldProblem
        With the trained maps at the end.
    grid : DepthGrid
    status : {"finished", "interrupted", "failed"}
    message : str
        Why the run ended, in a sentence.
    n_steps, n_evaluations, n_rejected : int
        Accepted steps, evaluations of the velocity, rejected steps.
    wall_time_s : float
        Seconds, those before a restart included.
    path : Path or None
        The file.
    setup : Setup or None
        Problem, particles and stepper at s = 0, from which `estimate_error` solves
        again; None for a resumed run whose file does not hold the start.
    error : ErrorEstimate or None
        Estimated errors, if asked for.
    failure : type or None
        Why a failed run failed: `NotFiniteError` where the state or the velocity was
        not finite, be it in steps however small, and else `ConvergenceError`.
    """

    scalars: dict[str, Array]
    observations: dict[str, Array]
    snapshot_s: Array
    theta: Array
    ensemble: ParticleEnsemble
    problem: MeanFieldProblem
    grid: DepthGrid
    status: str
    message: str
    n_steps: int
    n_evaluations: int
    n_rejected: int
    wall_time_s: float
    maps: dict[str, Array] = dataclasses.field(default_factory=dict)
    path: Path | None = None
    setup: Setup | None = None
    error: ErrorEstimate | None = None
    failure: type[NotFiniteError | ConvergenceError] | None = None

    @property
    def s(self) -> Array:
        """Recorded training times (R,)."""
        return self.scalars["s"]

    @property
    def loss(self) -> Array:
        """E at every record, Eq. (3)."""
        return self.scalars["loss"]

    @property
    def objective(self) -> Array:
        """E_s at every record, Eq. (12)."""
        return self.scalars["objective"]

    @property
    def dissipation(self) -> Array:
        """D_s at every record, Eq. (14)."""
        return self.scalars["dissipation"]

    @property
    def converged(self) -> bool:
        """Whether the run ended as asked for."""
        return self.status == "finished"

    @property
    def estimated_error(self) -> float | None:
        """Estimated error of the outputs, largest over samples and compared times."""
        return None if self.error is None else self.error.output

    @property
    def n_kernel_evaluations(self) -> int:
        """Node x particle x sample x evaluation, the work of the estimate included.

        An evaluation is one sweep forward and one back; the sweeps of the fixed-point
        iteration of Gauss stages are not counted one by one.
        """
        size = self.ensemble.n_nodes * self.ensemble.n_particles
        own = size * self.problem.n_samples * self.n_evaluations
        return own + (0 if self.error is None else self.error.n_kernel_evaluations)

    def __repr__(self) -> str:
        return (
            f"Solution({self.status}, s={self.s[-1]:g}, loss={self.loss[-1]:.6g}, "
            f"n_steps={self.n_steps}, n_evaluations={self.n_evaluations})"
        )


@dataclass(frozen=True, kw_only=True)
class StopRules:
    """Conditions beside s_end that end a run; None is no condition.

    A limit on a quantity ends the run where it is crossed, in s to the tolerance rtol:
    the last step is shortened. Steps of order 1 (Euler, with or without noise) are an
    iteration and end with the first one beyond it.

    The wall time counts from the start or the restart. A state is steady if, at its
    present rate |dE_s/ds| = D_s - lambda'(s) M2, Eq. (14), the objective would change
    over the whole horizon s_end by at most `steady_state` times what it was at s = 0.
    Without metric and decay that bounds the gradient norm by
    sqrt(steady_state E_0 / s_end).
    """

    loss_below: float | None = None
    gradient_norm_below: float | None = None
    steady_state: float | None = None
    wall_time_s: float | None = None

    def __post_init__(self) -> None:
        names = [field.name for field in dataclasses.fields(self)]
        check_fields(self, **dict.fromkeys(names, optional(positive)))

    def reason(
        self,
        state: State,
        *,
        s_end: float,
        objective_at_start: float,
    ) -> tuple[str, str] | None:
        """(status, sentence) if the run shall end at this state."""
        evaluation = state.evaluation
        at = f"at s = {state.s:g}"
        limit = self.loss_below
        if limit is not None and evaluation.loss < limit:
            return "finished", f"The loss is below {limit:g} {at}."
        limit = self.gradient_norm_below
        if limit is not None and evaluation.gradient_norm < limit:
            return "finished", f"The gradient norm is below {limit:g} {at}."
        change = abs(evaluation.ledger_rate) * s_end
        limit = self.steady_state
        if limit is not None and change <= limit * abs(objective_at_start):
            return "finished", (
                f"Steady {at}: at the present rate the objective would change by "
                f"{change:.2g} up to s_end = {s_end:g}, at most {limit:g} of that at "
                "the start."
            )
        return None

    @property
    def is_void(self) -> bool:
        """Whether there is no rule but the wall time."""
        limits = self.loss_below, self.gradient_norm_below, self.steady_state
        return limits == (None, None, None)

    def margin(self, state: State, *, s_end: float, objective_at_start: float) -> float:
        """ln of what is nearest to its limit, over it: negative where the run ends."""
        evaluation = state.evaluation
        ratios = []
        if self.loss_below is not None:
            ratios.append(log_ratio(evaluation.loss, self.loss_below))
        if self.gradient_norm_below is not None:
            norm = evaluation.gradient_norm
            ratios.append(log_ratio(norm, self.gradient_norm_below))
        if self.steady_state is not None:
            change = abs(evaluation.ledger_rate) * s_end
            limit = self.steady_state * abs(objective_at_start)
            ratios.append(log_ratio(change, limit))
        return min(ratios)

    def waited_too_long(
        self, state: State, wall_time_s: float
    ) -> tuple[str, str] | None:
        """(status, sentence) if the wall time is over."""
        limit = self.wall_time_s
        if limit is None or wall_time_s <= limit:
            return None
        return "interrupted", (
            f"The wall time of {limit:g} s is over at s = {state.s:g}; resume "
            "continues."
        )


class Announcing(Protocol[P, S]):
    """A function that warns of a failed run; `quietly` leaves that to its caller."""

    quietly: Callable[P, S]

    def __call__(self, *args: P.args, **keywords: P.kwargs) -> S:
        """See the function."""


def announcing(function: Callable[P, S]) -> Announcing[P, S]:
    """Make a function warn, once, if the run that it returns has failed.

    Whoever looks at the status anyway calls `function.quietly`.
    """

    @functools.wraps(function)
    def announced(*args: P.args, **keywords: P.kwargs) -> S:
        found = function(*args, **keywords)
        if found.status == "failed":
            warnings.warn(
                f"The run ended early, at s = {found.s[-1]:g}. {found.message}",
                UnfinishedWarning,
                stacklevel=2,
            )
        return found

    announced.quietly = function
    return announced


def finished(found: Solution) -> Solution:
    """Return a solution that ended as asked for.

    Raises
    ------
    NotFiniteError
        If it blew up.
    ConvergenceError
        If it did not meet a tolerance, or was interrupted.
    """
    if found.converged:
        return found
    raise (found.failure or ConvergenceError)(found.message)


def with_error(solution: Solution, error: ErrorEstimate) -> Solution:
    """Return the solution with its errors, and write them to its file, if any."""
    if solution.path is not None:
        write_errors(
            solution.path,
            error.table(),
            s=error.s,
            notes=" ".join(error.notes),
            n_kernel_evaluations=error.n_kernel_evaluations,
        )
    return dataclasses.replace(solution, error=error)
