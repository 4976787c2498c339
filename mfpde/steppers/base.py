"""What every stepper shares: points, steps, failures, ends of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mfpde.engine.sharding import ALL, Space
from mfpde.errors import ConvergenceError

Array = NDArray[np.float64]
Memory = dict[str, float]
MOST_STEPS = 1e12


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


@dataclass(frozen=True, eq=False)
class StateVector:
    """What a flow shows of its flat state vector to steppers that make use of it.

    Attributes
    ----------
    parts : tuple of (int, int)
        Ranges of entries; an error is the largest of their root mean squares, so that
        a small part is not lost beside a large one. Empty: all entries.
    accept : callable, optional
        accept(old, new) -> bool: a further condition on the new `Point`.
    defect : callable, optional
        defect(old, new, rtol, atol) -> float: a further error of the step, accepted up
        to 1, that the points themselves show.
    space : Space
        Which entries only this rank has: those of the first part, or none.
    n_diffusing : int, optional
        The number of entries, from the first on, that noise acts on; default all.
    mobility : ndarray, shape (k,), optional
        Entry i has the diffusion constant temperature times mobility[i mod k];
        default 1.
    """

    parts: tuple[tuple[int, int], ...] = ()
    accept: Callable[[Point, Point], bool] | None = None
    defect: Callable[[Point, Point, float, float], float] | None = None
    space: Space = ALL
    n_diffusing: int | None = None
    mobility: Array | None = None


PLAIN = StateVector()


class Stepper:
    """Base class of the steppers; any object with `step` and `order` will do.

    Attributes
    ----------
    order : int
        Order of one unit of training time in the size of the steps.
    is_adaptive : bool
        Whether the stepper chooses the size of its steps.
    has_noise : bool
        Whether it adds noise, so that the energy balance, Eq. (28), does not hold.
    """

    order: int = 1
    is_adaptive: ClassVar[bool] = False
    has_noise: ClassVar[bool] = False

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One accepted step that does not pass the target; see `mfpde.steppers`."""
        raise NotImplementedError(f"{type(self).__name__} must define `step`.")

    def bound(self, vector: StateVector) -> Any:
        """The stepper for the state vector of a flow; the same unless it needs it."""
        return self


def towards(s: float, target: float, h: float) -> tuple[float, float]:
    """Step and its end: stretched onto the target, or halved, to avoid a tiny rest."""
    distance = target - s
    if h >= 0.99 * distance:
        return distance, target
    if h > 0.5 * distance:
        h = 0.5 * distance
    return h, s + h


def even_step(
    s: float, target: float, ds: float, memory: Memory
) -> tuple[float, float, Memory]:
    """Step of size ds, or an even part of the way to the target; its end; a memory.

    Steps of one size end at start + n ds, without a sum that rounding would add to: all
    of them have the same bits, however many there are, through record times as well
    that are multiples of ds. The memory holds where they started, their number and
    their size.
    """
    start, size = memory.get("start", s), memory.get("size", 0.0)
    taken = memory.get("taken", 0.0)
    n_steps, h = _even_steps(start, target, ds)
    if h != size or taken >= n_steps:
        start, taken = s, 0.0
        n_steps, h = _even_steps(start, target, ds)
    s_new, clock = counted_time(s, h, {"start": start, "taken": taken, "size": h})
    return h, target if clock["taken"] >= n_steps else s_new, clock


def counted_time(s: float, h: float, memory: Memory) -> tuple[float, Memory]:
    """s + h as start + n h, if the steps that the memory counts have the size h, too.

    Returns
    -------
    s_new : float
    memory : dict of float
        With "start", "taken" (n) and "size" (h).
    """
    start, taken = memory.get("start", s), memory.get("taken", 0.0)
    if memory.get("size") != h:
        start, taken = s, 0.0
    taken += 1.0
    return start + taken * h, {"start": start, "taken": taken, "size": h}


def _even_steps(start: float, target: float, ds: float) -> tuple[int, float]:
    """Number of steps to the target and their size: ds itself if it is a multiple."""
    ratio = (target - start) / ds
    spacing = math.ulp(start) + math.ulp(target)
    # A multiple up to rounding, of the times and of the quotient.
    slack = min(1e-6 + 4.0 * (spacing / ds + math.ulp(ratio)), 0.25)
    nearest = round(ratio)
    if nearest >= 1 and abs(ratio - nearest) <= slack:
        return nearest, ds
    n_steps = max(1, math.ceil(ratio))
    return n_steps, (target - start) / n_steps
