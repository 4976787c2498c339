"""Explicit Runge-Kutta methods with a fixed step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from mfpde import kernels
from mfpde.arrays import a_float, positive, sequence, whole
from mfpde.describe import register
from mfpde.fields import check
from mfpde.steppers.base import Evaluate, Memory, Point, Step, Stepper, even_step

Rows = Sequence[Sequence[float]]


class ExplicitMethod(Stepper):
    """A Runge-Kutta method with rows `a`, weights `b` and steps of size `ds`.

    Steps are shortened evenly where the distance to the target is not a multiple of ds.
    """

    a: Rows
    b: Sequence[float]
    ds: float

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One step of size ds, or of an even part of the way to the target."""
        h, s_new, clock = even_step(point.s, target, self.ds, memory)
        rates = point.rate[np.newaxis]
        if len(self.b) > 1:
            rates = np.empty((len(self.b), len(point.y)))
            rates[0] = point.rate
        for i in range(1, len(self.b)):
            row = np.array(self.a[i])
            y = np.empty_like(point.y)
            kernels.vectors.combine(point.y, rates, row, h, y)
            rates[i] = evaluate(point.s + h * row.sum(), y).rate
        y = np.empty_like(point.y)
        kernels.vectors.combine(point.y, rates, np.array(self.b), h, y)
        return Step(evaluate(s_new, y), h, clock, len(self.b))


@dataclass(frozen=True)
class FixedStepper(ExplicitMethod):
    """An explicit Runge-Kutta method with a fixed step; its class has the tableau.

    Parameters
    ----------
    ds : float
        Step in training time; shortened evenly where a record time requires it.
    """

    ds: Annotated[float, positive]

    def __post_init__(self) -> None:
        check(self)


@register(kind="stepper", name="euler")
class Euler(FixedStepper):
    """Explicit Euler, order 1: gradient descent."""

    order = 1
    a = ((),)
    b = (1.0,)


@register(kind="stepper", name="heun")
class Heun(FixedStepper):
    """Heun's method, order 2."""

    order = 2
    a = ((), (1.0,))
    b = (0.5, 0.5)


@register(kind="stepper", name="rk4")
class ClassicalRungeKutta(FixedStepper):
    """The classical Runge-Kutta method, order 4."""

    order = 4
    a = ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    b = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


@register(kind="stepper", name="runge_kutta")
@dataclass(frozen=True)
class RungeKutta(ExplicitMethod):
    """An explicit Runge-Kutta method with a fixed step and a tableau of your own.

    Parameters
    ----------
    order : int
        Order of the method, which is not checked.
    a : sequence of sequence of float
        Rows of the tableau; row i has i numbers, the first none.
    b : sequence of float
        Weights of the stages.
    ds : float
        Step in training time.
    """

    order: Annotated[int, whole(1)] = field()  # a class attribute is no default
    a: Annotated[Rows, sequence(sequence(a_float))]
    b: Annotated[Sequence[float], sequence(a_float)]
    ds: Annotated[float, positive]

    def __post_init__(self) -> None:
        check(self)
        lengths = [len(row) for row in self.a]
        if lengths != list(range(len(self.b))) or not self.b:
            raise ValueError(
                "`a` must have one row for each entry of `b`, row i with i numbers, "
                f"got rows of {lengths} for {len(self.b)} weights."
            )
