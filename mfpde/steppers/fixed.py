"""Explicit Runge-Kutta methods with a fixed step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfpde.arrays import check_fields, positive
from mfpde.kernels.vectors import combine
from mfpde.steppers.base import Evaluate, Memory, Point, Step, even_step


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
        check_fields(self, ds=positive)

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
            combine(point.y, rates, row, h, y)
            rates[i] = evaluate(point.s + h * row.sum(), y).rate
        y = np.empty_like(point.y)
        combine(point.y, rates, np.array(self.b), h, y)
        return Step(evaluate(s_new, y), h, clock, len(self.b))

    def describe(self) -> dict[str, Any]:
        """Plain values; `from_tableau` rebuilds it."""
        tableau = {
            "order": int(self.order),
            "a": [[float(entry) for entry in row] for row in self.a],
            "b": [float(entry) for entry in self.b],
        }
        return {"stepper": self.name, "ds": float(self.ds), "tableau": tableau}

    @classmethod
    def from_tableau(
        cls, name: str, ds: float, tableau: Mapping[str, Any]
    ) -> FixedStepper:
        """Rebuild a method from the output of `describe`."""
        a = tuple(tuple(row) for row in tableau["a"])
        return cls(name, tableau["order"], a, tuple(tableau["b"]), ds)


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
