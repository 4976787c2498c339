"""A stepper that carries numbers from step to step: Euler with steps that grow."""

from dataclasses import dataclass

import mfpde
from mfpde.steppers import Point, Step


@mfpde.register
@dataclass(frozen=True)
class GrowingEuler:
    """Explicit Euler; each step is longer than the last by a factor.

    Parameters
    ----------
    first : float
        Size of the first step.
    factor : float
        Of one step to the next.
    """

    first: float = 0.01
    factor: float = 1.25

    order = 1

    def __post_init__(self):
        if not self.factor >= 1.0:
            raise ValueError(f"`factor` must be at least 1, got {self.factor!r}.")

    def step(self, evaluate, point, target, memory):
        size = memory.get("size", self.first)
        end = min(point.s + size, target)
        moved = evaluate(end, point.y + (end - point.s) * point.rate)
        assert isinstance(moved, Point)
        return Step(moved, end - point.s, {"size": size * self.factor}, 1)
