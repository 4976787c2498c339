"""Dormand-Prince 5(4) with error control."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mfpde import kernels
from mfpde.describe import register
from mfpde.engine.sharding import Space
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.steppers.base import Array, Evaluate, Memory, Point, Step
from mfpde.steppers.control import AdaptiveStepper, Trial, lasting_defect

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


@register(kind="stepper", name="dopri5")
@dataclass(frozen=True)
class DormandPrince(AdaptiveStepper):
    """Dormand-Prince 5(4) with error control; the last stage is the next first one.

    Proportional-integral step control (Hairer, Norsett, Wanner, Solving Ordinary
    Differential Equations I, section II.4 and IV.2). It holds seven rates.

    Its memory has the next "step", the last "error" and "defect", and the "radius": how
    fast the rate changes between the last two stages, which both lie at the end of the
    step. In a stiff problem that is nearly the spectral radius of the Jacobian (IV.2).

    Parameters
    ----------
    rtol : float
        Relative tolerance of every entry of the state (dimensionless).
    atol : float
        Absolute tolerance of every entry of the state.
    """

    order = 5
    exponent = 1 / 5
    safety = 0.9
    integral = 0.04
    shrink_most = 0.2
    grow_most = 5.0

    # The working arrays of one solve: new ones for every step would cost page faults.
    _buffers: dict[int, Array] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One accepted step towards the target, after as many trials as it needs."""
        n_evaluations = 0
        if "step" not in memory:
            h = self.first_step(evaluate, point, target)
            memory = {"step": h, "error": 1e-4}
            n_evaluations = 1

        def attempt(h: float, s_new: float, _previous: Trial | None) -> Trial:
            return self._trial(evaluate, point, h, s_new)

        found = self.search(attempt, point, target, memory["step"])
        defect = lasting_defect(found, memory)
        error = max(found.trial.error, defect, 1e-10)
        power = self.exponent - 0.75 * self.integral
        factor = self.safety * error**-power * memory["error"] ** self.integral
        following = self.following_step(found, factor)
        after = {
            "step": following,
            "error": max(error, 1e-4),
            "defect": defect,
            **found.trial.notes,
        }
        n_evaluations += found.n_evaluations
        return Step(found.point, found.h, after, n_evaluations, found.n_rejected)

    def _trial(self, evaluate: Evaluate, point: Point, h: float, s_new: float) -> Trial:
        n_evaluations = len(DOPRI5_A)
        buffer = self._buffer(len(point.y))
        rates, stage = buffer[:7], buffer[7]
        rates[0] = point.rate
        try:
            for i, (row, c) in enumerate(zip(DOPRI5_A[:-1], DOPRI5_C, strict=False)):
                s = s_new if c == 1.0 else point.s + c * h
                # Nothing else of a stage is kept: not its states, not its adjoints.
                kernels.vectors.combine(point.y, rates, np.array(row), h, stage)
                rates[i + 1] = evaluate(s, stage).rate
            y = np.empty_like(point.y)
            kernels.vectors.combine(point.y, rates, np.array(DOPRI5_A[-1]), h, y)
            new = evaluate(s_new, y)
        except (NotFiniteError, ConvergenceError) as failure:
            return Trial(None, cause=failure, n_evaluations=n_evaluations)
        rates[6] = new.rate
        error, index = self.measure(point.y, new.y, rates, np.array(DOPRI5_ERROR), h)
        return self.judged(
            point,
            new,
            error,
            index,
            notes={"radius": _radius(rates, h, self.vector.space)},
            n_evaluations=n_evaluations,
        )

    def _buffer(self, n: int) -> Array:
        """Seven rates and the state of a stage, (8, n), to be written over."""
        if n not in self._buffers:
            self._buffers.clear()
            self._buffers[n] = np.empty((8, n))
        return self._buffers[n]


def _radius(rates: Array, h: float, space: Space) -> float:
    """|f(y7) - f(y6)| / |y7 - y6| of the last two stages; 0 where they coincide."""
    sixth = (*DOPRI5_A[4], 0.0)
    apart = np.subtract(DOPRI5_A[5], sixth)

    def squares(first: int, last: int) -> tuple[float, float]:
        return kernels.vectors.squares_of_differences(rates, apart, h, first, last)

    rate, distance = np.sqrt(space.sums(squares, rates.shape[1])).tolist()
    return rate / distance if distance > 0.0 else 0.0
