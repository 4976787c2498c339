"""Runge-Kutta-Chebyshev of order 2, for stiff problems with real negative spectra.

A step of m stages is stable up to h sigma = beta(m), about 0.65 m^2, sigma the spectral
radius of the Jacobian: m times as far per evaluation as ordinary methods. The Jacobian
of a gradient flow is symmetric in the metric of the flow, so its spectrum is real.

References
----------
Verwer, Hundsdorfer, Sommeijer, Numerische Mathematik 57 (1990) 157-178;
Sommeijer, Shampine, Verwer, J. Comput. Appl. Math. 88 (1998) 315-326 (the code RKC).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mfpde import kernels
from mfpde.describe import register
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.steppers.base import Array, Evaluate, Memory, Point, Step
from mfpde.steppers.control import AdaptiveStepper, Trial, lasting_defect

# The damping epsilon: |P(z)| stays at 1 - epsilon / 3 between the ends of stability.
DAMPING = 2 / 13
# Rounding of the stages grows as m^2 units of it.
MOST_STAGES = 1000


class Chebyshev(NamedTuple):
    """Coefficients of the m stages, each of shape (m + 1,), entry 0 unused.

    Y_j = (1 - mu_j - nu_j) Y_0 + mu_j Y_{j-1} + nu_j Y_{j-2}
          + h step_j F_{j-1} + h step_start_j F_0,      at s + h c_j.
    """

    mu: Array
    nu: Array
    step: Array
    step_start: Array
    c: Array
    beta: float


@functools.lru_cache(maxsize=256)
def chebyshev(m: int) -> Chebyshev:
    """Coefficients and stability bound beta of the m-stage method, m >= 2.

    Sommeijer, Shampine, Verwer (1998), Eqs. (2.2)-(2.5).
    """
    w0 = 1 + DAMPING / m**2
    # T_j(w0) and two derivatives, by their three-term recursions.
    t, dt, ddt = np.zeros((3, m + 1))
    t[:2], dt[1] = (1.0, w0), 1.0
    for j in range(2, m + 1):
        t[j] = 2 * w0 * t[j - 1] - t[j - 2]
        dt[j] = 2 * w0 * dt[j - 1] - dt[j - 2] + 2 * t[j - 1]
        ddt[j] = 2 * w0 * ddt[j - 1] - ddt[j - 2] + 4 * dt[j - 1]
    w1 = dt[m] / ddt[m]
    b = np.empty(m + 1)
    b[2:] = ddt[2:] / dt[2:] ** 2
    b[:2] = b[2]
    a = 1 - b * t
    mu, nu, step, step_start, c = np.zeros((5, m + 1))
    step[1] = c[1] = b[1] * w1
    mu[2:] = 2 * w0 * b[2:] / b[1:-1]
    nu[2:] = -b[2:] / b[:-2]
    step[2:] = 2 * w1 * b[2:] / b[1:-1]
    step_start[2:] = -a[1:-1] * step[2:]
    c[2:] = w1 * ddt[2:] / dt[2:]
    return Chebyshev(mu, nu, step, step_start, c, float((w0 + 1) / w1))


def n_stages(h_radius: float) -> int:
    """Stages that are stable for h sigma: beta(m) >= (m^2 - 1) / 1.54."""
    return max(2, math.ceil(math.sqrt(1.0 + 1.54 * h_radius)))


@register(kind="stepper", name="rkc2")
@dataclass(frozen=True)
class RungeKuttaChebyshev(AdaptiveStepper):
    """Second-order Runge-Kutta-Chebyshev with error control.

    The stages of a step follow from its size and the spectral radius, which a
    nonlinear power method estimates at the start, every `radius_lifetime` steps and
    after a rejection; its evaluations are counted. The error is estimated from both
    ends of the step, with predictive control of its size (Sommeijer, Shampine, Verwer).
    It holds five vectors whatever the number of stages.

    Its memory has the next "step", the last "error" and "defect" and the step
    "previous" they belong to, the "radius" with its "age" in steps, and the "cost",
    evaluations of the last step.

    Parameters
    ----------
    rtol : float
        Relative tolerance of every entry of the state (dimensionless).
    atol : float
        Absolute tolerance of every entry of the state.
    """

    order = 2
    exponent = 1 / 3
    safety = 0.8
    shrink_most = 0.1
    grow_most = 10.0
    radius_safety = 1.2
    radius_lifetime = 25
    most_iterations = 50

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One accepted step towards the target, after as many trials as it needs."""
        n_evaluations = 0
        if "step" not in memory:
            h = self.first_step(evaluate, point, target)
            memory, n_evaluations = {"step": h}, 1
        radius, age = memory.get("radius", 0.0), memory.get("age", math.inf)
        if age >= self.radius_lifetime:
            radius, n = self.spectral_radius(evaluate, point)
            n_evaluations, age = n_evaluations + n, 0.0

        def attempt(h: float, s_new: float, previous: Trial | None) -> Trial:
            if previous is None:
                return self._trial(evaluate, point, h, s_new, radius, age)
            present, n = previous.notes["radius"], 0
            if previous.notes["age"] > 0:
                present, n = self.spectral_radius(evaluate, point)
            return self._trial(evaluate, point, h, s_new, present, 0.0, n)

        largest = self._largest_step(radius)
        found = self.search(attempt, point, target, min(memory["step"], largest))
        defect = lasting_defect(found, memory)
        error = max(found.trial.error, defect, 1e-10)
        factor = self.safety * error**-self.exponent
        if "error" in memory:
            # What the last two errors foretell (Gustafsson, Watts).
            trend = (memory["error"] / error) ** self.exponent
            factor = min(factor, factor * trend * found.h / memory["previous"])
        following = self.following_step(found, factor)
        notes = found.trial.notes
        after = {
            "step": following,
            "error": error,
            "previous": found.h,
            "defect": defect,
            **notes,
            "age": notes["age"] + 1,
        }
        n_evaluations += found.n_evaluations
        return Step(found.point, found.h, after, n_evaluations, found.n_rejected)

    def spectral_radius(self, evaluate: Evaluate, point: Point) -> tuple[float, int]:
        """Bound of the spectral radius of the Jacobian, and the evaluations it took.

        Power iteration on differences of the rate, to 1 %, times a safety factor. It
        starts in a direction drawn from a fixed seed plus, half as long, that of the
        rate: the latter is rich in what moves now, the former leaves no symmetry of
        the particles unseen. Nothing has to be remembered of it.
        """
        space = self.vector.space
        size = max(space.norm(point.y), 1e-3)
        distance = math.sqrt(np.finfo(float).eps) * size
        direction = space.standard_normal(np.random.default_rng(0), len(point.y))
        direction *= 1 / space.norm(direction)
        length = space.norm(point.rate)
        if length > 0:
            direction += (0.5 / length) * point.rate
        radius, n_evaluations, is_settled = 0.0, 0, False
        while not is_settled and n_evaluations < self.most_iterations:
            direction *= distance / space.norm(direction)
            direction += point.y
            rate = evaluate(point.s, direction).rate
            n_evaluations += 1
            np.subtract(rate, point.rate, out=direction)
            last, radius = radius, space.norm(direction) / distance
            is_settled = radius == 0.0 or abs(radius - last) <= 0.01 * radius
        return self.radius_safety * radius, n_evaluations

    def _largest_step(self, radius: float) -> float:
        """The step of the most stages that rounding allows."""
        rounding = 10 * np.finfo(float).eps
        m = min(MOST_STAGES, math.sqrt(self.rtol / rounding))
        m = max(2.0, m)
        return (m**2 - 1) / (1.54 * radius) if radius > 0 else math.inf

    def _trial(
        self,
        evaluate: Evaluate,
        point: Point,
        h: float,
        s_new: float,
        radius: float,
        age: float,
        n_evaluations: int = 0,
    ) -> Trial:
        """One step of size h; `n_evaluations` were spent on the radius already."""
        m = n_stages(h * radius)
        n_evaluations += m
        notes = {"radius": radius, "age": age, "cost": float(m)}
        try:
            new, spare = _stages(evaluate, point, h, s_new, chebyshev(m))
        except (NotFiniteError, ConvergenceError) as failure:
            return Trial(None, cause=failure, notes=notes, n_evaluations=n_evaluations)
        # 0.8 (y - y_new) + 0.4 h (f + f_new): between 1.2 (m = 2) and 1.8 times the
        # error for small h; both are of order 3.
        np.subtract(point.y, new.y, out=spare)
        spare *= 2.0 / h
        spare += point.rate
        spare += new.rate
        error, index = self.measure(
            point.y, new.y, spare[np.newaxis], np.array([0.4]), h
        )
        return self.judged(
            point,
            new,
            error,
            index,
            notes=notes,
            n_evaluations=n_evaluations,
        )


def _stages(
    evaluate: Evaluate, point: Point, h: float, s_new: float, method: Chebyshev
) -> tuple[Point, Array]:
    """The point at the end of a step, and an array (n,) that is free again."""
    m = len(method.c) - 1
    last = point.y + h * method.step[1] * point.rate
    before, spare = point.y, np.empty_like(point.y)
    for j in range(2, m + 1):
        rate = evaluate(point.s + h * method.c[j - 1], last).rate
        kernels.vectors.chebyshev_stage(
            point.y,
            point.rate,
            before,
            last,
            rate,
            method.mu[j],
            method.nu[j],
            h * method.step[j],
            h * method.step_start[j],
            spare,
        )
        # From the third stage on the older of the two is overwritten.
        before, last, spare = last, spare, last
    return evaluate(s_new, last), spare
