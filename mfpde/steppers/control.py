"""Error control: what a step may do, and the search for one that does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mfpde.arrays import check_fields, positive
from mfpde.engine.sharding import ALL, Space
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.kernels.vectors import scaled_error
from mfpde.steppers.base import (
    Array,
    Evaluate,
    Memory,
    Point,
    StepFailure,
    towards,
)

# Halvings for a reason other than the error: a factor 1e9.
MOST_REFUSALS = 30


@dataclass(frozen=True)
class ErrorControl:
    """Tolerances of an adaptive step, and the parts of the state they are applied to.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute tolerance of every entry of y (dimensionless).
    parts : tuple of (int, int)
        Ranges of entries; the error is the largest of their root mean squares, so that
        a small part is not lost beside a large one. Empty: all entries.
    accept : callable, optional
        accept(old, new) -> bool: a further condition on the new `Point`.
    defect : callable, optional
        defect(old, new) -> float: a further error of the step, accepted up to 1, that
        the points themselves show.
    space : Space
        Which entries of y only this rank has: those of the first part, or none.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    parts: tuple[tuple[int, int], ...] = ()
    accept: Callable[[Point, Point], bool] | None = None
    defect: Callable[[Point, Point], float] | None = None
    space: Space = ALL

    def __post_init__(self) -> None:
        check_fields(self, rtol=positive, atol=positive)

    def describe(self, stepper: str) -> dict[str, Any]:
        """Plain values from which `make_stepper` rebuilds a stepper of that name."""
        return {"stepper": stepper, "rtol": self.rtol, "atol": self.atol}

    @property
    def is_plain(self) -> bool:
        """Whether numbers alone describe it: no functions, no ranks."""
        return self.accept is None and self.defect is None and self.space is ALL

    def describe_plain(self) -> dict[str, Any]:
        """Plain values from which `from_plain` rebuilds it."""
        parts = [[int(begin), int(end)] for begin, end in self.parts]
        return {"rtol": float(self.rtol), "atol": float(self.atol), "parts": parts}

    @classmethod
    def from_plain(cls, description: Mapping[str, Any]) -> ErrorControl:
        """Rebuild it from the output of `describe_plain`."""
        parts = tuple((begin, end) for begin, end in description["parts"])
        return cls(description["rtol"], description["atol"], parts)

    def measure(
        self, y: Array, new: Array, rates: Array, coefficients: Array, h: float
    ) -> tuple[float, int]:
        """Scaled error (accepted up to 1) and the entry that is worst."""
        parts = self.parts or ((0, len(y)),)
        arguments = (y, new, rates, coefficients, h, self.rtol, self.atol)
        here = []
        for first, last in parts:
            total, worst = scaled_error(*arguments, first, last)
            largest, _ = scaled_error(*arguments, worst, min(worst + 1, last))
            here.append((total, last - first, largest, worst))
        table = self.space.shard.stack(np.ravel(here)).reshape(-1, len(parts), 4)
        error, index = 0.0, 0
        for part in range(len(parts)):
            # Of what all ranks have alike, the mean over ranks is that of each.
            columns = table[:, part].T
            total, count = columns[:2].sum(axis=1)
            root_mean_square = math.sqrt(total / max(count, 1.0))
            rank = int(columns[2].argmax())
            worst = self.space.number(rank, int(columns[3, rank]), len(y))
            if math.isnan(root_mean_square):
                return root_mean_square, worst
            if root_mean_square > error:
                error, index = root_mean_square, worst
        return error, index


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt at a step.

    Attributes
    ----------
    point : Point or None
        Where it leads; None if it is refused for another reason than its error.
    error : float
        Scaled error, accepted up to 1; the estimate or the defect, what is larger.
    defect : float
        What the points themselves show, see `ErrorControl`; 0 if it was not asked for.
    index : int or None
        The entry of the state with the largest error.
    cause : Exception or None
        Why an evaluation failed.
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
    """An accepted trial, its size, the last proposal, the largest defect, the work."""

    trial: Trial
    h: float
    proposed: float
    defect: float
    n_evaluations: int
    n_rejected: int


Attempt = Callable[[float, float, Trial | None], Trial]


def judged(
    control: ErrorControl, old: Point, new: Point, error: float, index: int, **others
) -> Trial:
    """The trial of an estimated error, with the further conditions of the control."""
    if not math.isfinite(error):
        return Trial(None, 0.0, index, **others)
    if error <= 1.0:
        if control.accept is not None and not control.accept(old, new):
            return Trial(None, 0.0, index, **others)
        if control.defect is not None:
            defect = control.defect(old, new)
            return Trial(new, max(error, defect), index, defect=defect, **others)
    return Trial(new, error, index, **others)


def search(
    attempt: Attempt,
    point: Point,
    target: float,
    proposed: float,
    *,
    safety: float,
    exponent: float,
    shrink_most: float,
) -> Found:
    """Try steps from `proposed` downwards until one is accepted.

    attempt(h, s_new, previous) -> Trial makes a step of size h to s_new; `previous` is
    the rejected trial before it, or None. The error is of order 1 / exponent in h.

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
            return Found(trial, h, proposed, defect, n_evaluations, n_rejected)
        n_rejected += 1
        n_refused += trial.point is None and trial.cause is None
        if n_refused > MOST_REFUSALS:
            raise StepFailure(
                f"At training time s = {point.s:g} no step, down to {h:.1e}, keeps "
                "the objective from rising or the state finite.",
                None,
            )
        factor = safety * trial.error**-exponent if trial.error > 1.0 else 0.5
        proposed = h * max(shrink_most, min(factor, 0.9))
        _check_size(point.s, proposed, trial.index, trial.cause)


def lasting_defect(found: Found, memory: Memory) -> float:
    """The defect that limits growth: it fades, for one that changes sign may vanish."""
    return max(min(found.defect, 1.0), 0.9 * memory.get("defect", 0.0))


def following_step(found: Found, factor: float, grow_most: float, shrink_most: float):
    """The step to try next, from the factor that the error suggests."""
    limit = 1.0 if found.n_rejected else grow_most
    following = found.h * max(shrink_most, min(factor, limit))
    if found.h < found.proposed and factor >= 1.0:
        # The target cut this step short: go on with the step that was proposed.
        following = max(following, found.proposed)
    return following


def first_step(
    control: ErrorControl,
    evaluate: Evaluate,
    point: Point,
    target: float,
    exponent: float,
) -> float:
    """First step from the sizes of y, y' and y'' (Hairer et al., II.4).

    It costs one evaluation. The error is of order 1 / exponent in the step.

    Raises
    ------
    StepFailure
        If the velocity is so large that there is none.
    """
    scale = control.atol + control.rtol * np.abs(point.y)
    size = control.space.root_mean_square
    d0 = size(point.y / scale)
    d1 = size(point.rate / scale)
    span = target - point.s
    h0 = 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
    h0 = min(h0, span)
    if not h0 > 0.0:
        # The squares of the velocity overflow.
        raise StepFailure(
            f"At training time s = {point.s:g} the velocity is so large that no step "
            "is small enough.",
            None,
        )
    try:
        probe = evaluate(point.s + h0, point.y + h0 * point.rate)
    except (NotFiniteError, ConvergenceError):
        return 1e-3 * h0
    d2 = size((probe.rate - point.rate) / scale) / h0
    largest = max(d1, d2)
    h1 = max(1e-6, 1e-3 * h0) if largest <= 1e-15 else (0.01 / largest) ** exponent
    return min(100 * h0, h1, span)


def _check_size(s: float, h: float, index: int | None, cause: Exception | None) -> None:
    if h > 16 * math.ulp(s) and h > 1e-300:
        return
    reason = f" {cause}" if cause is not None else ""
    raise StepFailure(
        f"The step at training time s = {s:g} fell to {h:.1e} without meeting the "
        f"tolerance.{reason}",
        index,
    ) from cause
