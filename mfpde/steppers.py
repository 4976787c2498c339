"""Steppers in training time s: they advance any velocity field, and know no physics.

A stepper is any object with `order`, `describe()` and
`step(evaluate, point, target, memory) -> Step`: it makes one accepted step from `point`
that does not pass `target`, and ends on it exactly when it reaches it. `evaluate(s, y)`
returns the `Point` at (s, y); it may raise `NotFiniteError`, which an adaptive stepper
answers with a smaller step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import check_positive
from mfpde.errors import ConvergenceError, NotFiniteError, did_you_mean
from mfpde.kernels.vectors import combine, scaled_error

Array = NDArray[np.float64]
Memory = dict[str, float]


@dataclass(frozen=True, slots=True)
class Point:
    """A state y (n,) at training time s, its rate dy/ds, and what else is known."""

    s: float
    y: Array
    rate: Array
    info: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """One accepted step: the new point, its size, and the stepper's memory."""

    point: Point
    size: float
    memory: Memory
    n_evaluations: int
    n_rejected: int = 0


class StepFailure(ConvergenceError):
    """The tolerance cannot be met; `index` is the worst entry of the state, or None."""

    def __init__(self, message: str, index: int | None) -> None:
        self.index = index
        super().__init__(message)


Evaluate = Callable[[float, Array], Point]


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
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    parts: tuple[tuple[int, int], ...] = ()
    accept: Callable[[Point, Point], bool] | None = None

    def __post_init__(self) -> None:
        check_positive("rtol", self.rtol)
        check_positive("atol", self.atol)

    def measure(
        self, y: Array, new: Array, rates: Array, coefficients: Array, h: float
    ) -> tuple[float, int]:
        """Scaled error (accepted up to 1) and the entry that is worst."""
        error, index = 0.0, 0
        for first, last in self.parts or ((0, len(y)),):
            total, worst = scaled_error(
                y, new, rates, coefficients, h, self.rtol, self.atol, first, last
            )
            root_mean_square = math.sqrt(total / max(last - first, 1))
            if math.isnan(root_mean_square):
                return root_mean_square, worst
            if root_mean_square > error:
                error, index = root_mean_square, worst
        return error, index


@dataclass(frozen=True)
class FixedStepper:
    """An explicit Runge-Kutta method with a fixed step ds.

    Steps are shortened evenly where the distance to the target is not a multiple of ds.
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    ds: float

    def __post_init__(self) -> None:
        check_positive("ds", self.ds)

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One step of size ds, or of an even part of the way to the target."""
        n_steps = max(1, math.ceil((target - point.s) / self.ds - 1e-6))
        h = (target - point.s) / n_steps
        # Rounding of s must not change the step: descent with rate ds is exact.
        if abs(h - self.ds) < 1e-6 * self.ds:
            h = self.ds
        s_new = target if n_steps == 1 else point.s + h
        rates = np.empty((len(self.b), len(point.y)))
        rates[0] = point.rate
        for i in range(1, len(self.b)):
            row = np.array(self.a[i])
            y = np.empty_like(point.y)
            combine(point.y, rates, row, h, y)
            rates[i] = evaluate(point.s + h * row.sum(), y).rate
        y = np.empty_like(point.y)
        combine(point.y, rates, np.array(self.b), h, y)
        return Step(evaluate(s_new, y), h, memory, len(self.b))

    def describe(self) -> dict[str, Any]:
        """Plain values from which `make_stepper` rebuilds it."""
        return {"stepper": self.name, "ds": self.ds}


def euler(ds: float) -> FixedStepper:
    """Explicit Euler, order 1: gradient descent."""
    return FixedStepper("euler", 1, ((),), (1.0,), ds)


def heun(ds: float) -> FixedStepper:
    """Heun's method, order 2."""
    return FixedStepper("heun", 2, ((), (1.0,)), (0.5, 0.5), ds)


def rk4(ds: float) -> FixedStepper:
    """The classical Runge-Kutta method, order 4."""
    a = ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    return FixedStepper("rk4", 4, a, (1 / 6, 1 / 3, 1 / 3, 1 / 6), ds)


# Dormand and Prince 1980 (RK5(4)7M): rows of a, the last of which is b; and b - b_hat.
DOPRI5_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
DOPRI5_C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
DOPRI5_ERROR = (
    71 / 57600,
    0.0,
    -71 / 16695,
    71 / 1920,
    -17253 / 339200,
    22 / 525,
    -1 / 40,
)


@dataclass(frozen=True)
class DormandPrince:
    """Dormand-Prince 5(4) with error control; the last stage is the next first one.

    Proportional-integral step control (Hairer, Norsett, Wanner, Solving Ordinary
    Differential Equations I, section II.4 and IV.2).
    """

    control: ErrorControl
    order: int = 5

    safety = 0.9
    integral = 0.04
    shrink_most = 0.2
    grow_most = 5.0
    # Halvings for a reason other than the error: a factor 1e9.
    most_refusals = 30

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One accepted step towards the target, after as many trials as it needs."""
        n_evaluations = 0
        if "step" not in memory:
            memory = {"step": self._first_step(evaluate, point, target), "error": 1e-4}
            n_evaluations = 1
        proposed = memory["step"]
        n_rejected = n_refused = 0
        while True:
            h, s_new = _towards(point.s, target, proposed)
            self._check_size(point.s, h, None, None)
            trial, error, index, cause = self._trial(evaluate, point, h, s_new)
            n_evaluations += len(DOPRI5_A)
            if trial is not None and error <= 1.0:
                break
            n_rejected += 1
            n_refused += trial is None and cause is None
            if n_refused > self.most_refusals:
                raise StepFailure(
                    f"At training time s = {point.s:g} no step, down to {h:.1e}, keeps "
                    "the objective from rising or the state finite; the gradient of "
                    "the loss may not belong to its values.",
                    None,
                )
            factor = self.safety * error ** (-1 / self.order) if error > 1.0 else 0.5
            proposed = h * max(self.shrink_most, min(factor, 0.9))
            self._check_size(point.s, proposed, index, cause)
        error = max(error, 1e-10)
        exponent = 1 / self.order - 0.75 * self.integral
        factor = self.safety * error**-exponent * memory["error"] ** self.integral
        limit = 1.0 if n_rejected else self.grow_most
        following = h * max(self.shrink_most, min(factor, limit))
        if h < proposed and factor >= 1.0:
            # The target cut this step short: go on with the step that was proposed.
            following = max(following, proposed)
        after = {"step": following, "error": max(error, 1e-4)}
        return Step(trial, h, after, n_evaluations, n_rejected)

    def describe(self) -> dict[str, Any]:
        """Plain values from which `make_stepper` rebuilds it."""
        return {
            "stepper": "dopri5",
            "rtol": self.control.rtol,
            "atol": self.control.atol,
        }

    def _trial(self, evaluate: Evaluate, point: Point, h: float, s_new: float):
        """Trial point, its scaled error, the worst entry, and why it failed, if so."""
        rates = np.empty((7, len(point.y)))
        rates[0] = point.rate
        try:
            for i, (row, c) in enumerate(zip(DOPRI5_A, DOPRI5_C, strict=True)):
                y = np.empty_like(point.y)
                combine(point.y, rates, np.array(row), h, y)
                s = s_new if c == 1.0 else point.s + c * h
                trial = evaluate(s, y)
                rates[i + 1] = trial.rate
        except (NotFiniteError, ConvergenceError) as failure:
            return None, 0.0, None, failure
        error, index = self.control.measure(
            point.y, y, rates, np.array(DOPRI5_ERROR), h
        )
        if not math.isfinite(error):
            return None, 0.0, index, None
        accept = self.control.accept
        if error <= 1.0 and accept is not None and not accept(point, trial):
            return None, 0.0, index, None
        return trial, error, index, None

    def _first_step(self, evaluate: Evaluate, point: Point, target: float) -> float:
        """First step from the sizes of y, y' and y'' (Hairer et al., II.4)."""
        scale = self.control.atol + self.control.rtol * np.abs(point.y)
        d0 = _root_mean_square(point.y / scale)
        d1 = _root_mean_square(point.rate / scale)
        span = target - point.s
        h0 = 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
        h0 = min(h0, span)
        try:
            probe = evaluate(point.s + h0, point.y + h0 * point.rate)
        except (NotFiniteError, ConvergenceError):
            return 1e-3 * h0
        d2 = _root_mean_square((probe.rate - point.rate) / scale) / h0
        largest = max(d1, d2)
        h1 = max(1e-6, 1e-3 * h0) if largest <= 1e-15 else (0.01 / largest) ** 0.2
        return min(100 * h0, h1, span)

    def _check_size(
        self, s: float, h: float, index: int | None, cause: Exception | None
    ) -> None:
        if h > 16 * math.ulp(s) and h > 1e-300:
            return
        reason = f" {cause}" if cause is not None else ""
        raise StepFailure(
            f"The step at training time s = {s:g} fell to {h:.1e} without meeting the "
            f"tolerance.{reason}",
            index,
        ) from cause


STEPPERS = ("euler", "heun", "rk4", "dopri5")


def make_stepper(
    stepper: Any, *, ds: float | None, control: ErrorControl | None = None
) -> Any:
    """The stepper of a name; an object with `step` is kept.

    Raises
    ------
    ValueError
        For an unknown name, a fixed stepper without ds, or ds with an adaptive one.
    """
    if not isinstance(stepper, str):
        if callable(getattr(stepper, "step", None)):
            return stepper
        raise TypeError(
            "`stepper` must be a name or an object with a method `step`, "
            f"got {stepper!r}."
        )
    if stepper not in STEPPERS:
        raise ValueError(
            f"`stepper` must be one of {', '.join(STEPPERS)}, got {stepper!r}."
            + did_you_mean(stepper, STEPPERS)
        )
    if stepper == "dopri5":
        if ds is not None:
            raise ValueError(
                "`ds` must be None for the adaptive stepper 'dopri5', "
                f"got {ds!r}; use 'euler', 'heun' or 'rk4' for fixed steps."
            )
        return DormandPrince(control or ErrorControl())
    if ds is None:
        raise ValueError(
            f"`ds` is needed by the fixed stepper {stepper!r}; give the step in "
            "training time, or use 'dopri5'."
        )
    return {"euler": euler, "heun": heun, "rk4": rk4}[stepper](ds)


def _towards(s: float, target: float, h: float) -> tuple[float, float]:
    """Step and its end: stretched onto the target, or halved, to avoid a tiny rest."""
    distance = target - s
    if h >= 0.99 * distance:
        return distance, target
    if h > 0.5 * distance:
        h = 0.5 * distance
    return h, s + h


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0
