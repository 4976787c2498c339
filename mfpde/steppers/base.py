"""What every stepper shares: points, steps, failures, ends of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import ConvergenceError

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


def towards(s: float, target: float, h: float) -> tuple[float, float]:
    """Step and its end: stretched onto the target, or halved, to avoid a tiny rest."""
    distance = target - s
    if h >= 0.99 * distance:
        return distance, target
    if h > 0.5 * distance:
        h = 0.5 * distance
    return h, s + h


def even_step(s: float, target: float, ds: float) -> tuple[float, float]:
    """Step of size ds, or an even part of the way to the target, and its end."""
    n_steps = max(1, math.ceil((target - s) / ds - 1e-6))
    h = (target - s) / n_steps
    # Rounding of s must not change the step: descent with rate ds is exact.
    if abs(h - ds) < 1e-6 * ds:
        h = ds
    return h, target if n_steps == 1 else s + h
