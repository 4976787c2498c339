"""Error control: what a step may do, and the search for one that does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from mfpde import kernels
from mfpde.arrays import positive
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.fields import check
from mfpde.steppers.base import (
    PLAIN,
    Array,
    Evaluate,
    Memory,
    Point,
    StateVector,
    StepFailure,
    Stepper,
    towards,
)

# Halvings for a reason other than the error: a factor 1e9.
MOST_REFUSALS = 30


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt at a step.

    Attributes
    ----------
    point : Point or None
        Where it leads; None if it is refused for another reason than its error.
    error : float
        Scaled error, accepted up to 1; the estimate or the defect, what is larger.
    index : int or None
        The entry of the state with the largest error.
    cause : Exception or None
        Why an evaluation failed.
    defect : float
        What the points themselves show, see `StateVector`; 0 if there is no such error.
    notes : dict of str to float
        What the method has to remember of it.
    n_evaluations : int
    """

    point: Point | None
    error: float = 0.0
    index: int | None = None
    cause: Exception | None = None
    defect: float = 0.0
    notes: Memory = field(default_factory=dict)
    n_evaluations: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """An accepted trial and its point, size, last proposal, largest defect, work."""

    trial: Trial
    point: Point
    h: float
    proposed: float
    defect: float
    n_evaluations: int
    n_rejected: int


Attempt = Callable[[float, float, Trial | None], Trial]


@dataclass(frozen=True)
class AdaptiveStepper(Stepper):
    """A method that controls its error by the size of its steps.

    Parameters
    ----------
    rtol : float
        Relative tolerance of every entry of the state (dimensionless).
    atol : float
        Absolute tolerance of every entry of the state.
    """

    is_adaptive = True
    # The error of a step of size h is of order 1 / exponent.
    exponent: ClassVar[float]
    safety: ClassVar[float]
    shrink_most: ClassVar[float]
    grow_most: ClassVar[float]

    rtol: Annotated[float, positive] = 1e-6
    atol: Annotated[float, positive] = 1e-9
    vector: StateVector = field(default=PLAIN, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check(self)

    def bound(self, vector: StateVector) -> Any:
        """The same stepper for the state vector of a flow."""
        stepper = replace(self)
        object.__setattr__(stepper, "vector", vector)
        return stepper

    def measure(
        self, y: Array, new: Array, rates: Array, coefficients: Array, h: float
    ) -> tuple[float, int]:
        """Scaled error (accepted up to 1) and the entry that is worst."""
        space, parts = self.vector.space, self.vector.parts or ((0, len(y)),)
        arguments = (y, new, rates, coefficients, h, self.rtol, self.atol)
        here = []
        for first, last in parts:
            total, worst = kernels.vectors.scaled_error(*arguments, first, last)
            largest, _ = kernels.vectors.scaled_error(
                *arguments, worst, min(worst + 1, last)
            )
            here.append((total, last - first, largest, worst))
        table = space.shard.stack(np.ravel(here)).reshape(-1, len(parts), 4)
        error, index = 0.0, 0
        for part in range(len(parts)):
            # Of what all ranks have alike, the mean over ranks is that of each.
            columns = table[:, part].T
            total, count = columns[:2].sum(axis=1)
            root_mean_square = math.sqrt(total / max(count, 1.0))
            rank = int(columns[2].argmax())
            worst = space.number(rank, int(columns[3, rank]), len(y))
            if math.isnan(root_mean_square):
                return root_mean_square, worst
            if root_mean_square > error:
                error, index = root_mean_square, worst
        return error, index

    def judged(
        self, old: Point, new: Point, error: float, index: int, **others: Any
    ) -> Trial:
        """The trial of an estimated error, with the further conditions of the flow."""
        accept, defect = self.vector.accept, self.vector.defect
        if not math.isfinite(error):
            return Trial(None, 0.0, index, **others)
        if error <= 1.0:
            if accept is not None and not accept(old, new):
                return Trial(None, 0.0, index, **others)
            if defect is not None:
                found = defect(old, new, self.rtol, self.atol)
                return Trial(new, max(error, found), index, defect=found, **others)
        return Trial(new, error, index, **others)

    def search(
        self, attempt: Attempt, point: Point, target: float, proposed: float
    ) -> Found:
        """Try steps from `proposed` downwards until one is accepted.

        attempt(h, s_new, previous) -> Trial makes a step of size h to s_new; `previous`
        is the rejected trial before it, or None.

        Raises
        ------
        StepFailure
            If the step becomes too small, or is refused too often.
        """
        trial, defect = None, 0.0
        n_evaluations = n_rejected = n_refused = 0
        while True:
            h, s_new = towards(point.s, target, proposed)
            _check_size(point.s, h, None, None)
            trial = attempt(h, s_new, trial)
            n_evaluations += trial.n_evaluations
            defect = max(defect, trial.defect)
            if trial.point is not None and trial.error <= 1.0:
                counts = n_evaluations, n_rejected
                return Found(trial, trial.point, h, proposed, defect, *counts)
            n_rejected += 1
            n_refused += trial.point is None and trial.cause is None
            if n_refused > MOST_REFUSALS:
                raise StepFailure(
                    f"At training time s = {point.s:g} no step, down to {h:.1e}, keeps "
                    "the objective from rising or the state finite.",
                    None,
                )
            is_large = trial.error > 1.0
            factor = self.safety * trial.error**-self.exponent if is_large else 0.5
            proposed = h * max(self.shrink_most, min(factor, 0.9))
            _check_size(point.s, proposed, trial.index, trial.cause)

    def following_step(self, found: Found, factor: float) -> float:
        """The step to try next, from the factor that the error suggests."""
        limit = 1.0 if found.n_rejected else self.grow_most
        following = found.h * max(self.shrink_most, min(factor, limit))
        if found.h < found.proposed and factor >= 1.0:
            # The target cut this step short: go on with the step that was proposed.
            following = max(following, found.proposed)
        return following

    def first_step(self, evaluate: Evaluate, point: Point, target: float) -> float:
        """First step from the sizes of y, y' and y'' (Hairer et al., II.4).

        It costs one evaluation. StepFailure if the velocity is so large that there is
        none.
        """
        scale = self.atol + self.rtol * np.abs(point.y)
        size = self.vector.space.root_mean_square
        d0 = size(point.y / scale)
        d1 = size(point.rate / scale)
        span = target - point.s
        h0 = 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
        h0 = min(h0, span)
        if not h0 > 0.0:
            # The squares of the velocity overflow.
            raise StepFailure(
                f"At training time s = {point.s:g} the velocity is so large that no "
                "step is small enough.",
                None,
            )
        try:
            probe = evaluate(point.s + h0, point.y + h0 * point.rate)
        except (NotFiniteError, ConvergenceError):
            return 1e-3 * h0
        d2 = size((probe.rate - point.rate) / scale) / h0
        largest, h1 = max(d1, d2), max(1e-6, 1e-3 * h0)
        if largest > 1e-15:
            h1 = (0.01 / largest) ** self.exponent
        return min(100 * h0, h1, span)


def lasting_defect(found: Found, memory: Memory) -> float:
    """The defect that limits growth: it fades, for one that changes sign may vanish."""
    return max(min(found.defect, 1.0), 0.9 * memory.get("defect", 0.0))


def _check_size(s: float, h: float, index: int | None, cause: Exception | None) -> None:
    if h > 16 * math.ulp(s) and h > 1e-300:
        return
    reason = f" {cause}" if cause is not None else ""
    raise StepFailure(
        f"The step at training time s = {s:g} fell to {h:.1e} without meeting the "
        f"tolerance.{reason}",
        index,
    ) from cause
