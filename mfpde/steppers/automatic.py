"""Dormand-Prince, and Runge-Kutta-Chebyshev where the problem is stiff."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mfpde.describe import register
from mfpde.steppers.base import Evaluate, Memory, Point, Step
from mfpde.steppers.control import AdaptiveStepper
from mfpde.steppers.dopri5 import DOPRI5_A, DormandPrince
from mfpde.steppers.rkc import RungeKuttaChebyshev

# Where dopri5 stops being stable on the negative real axis (3.3), with a margin; and
# from where on its steps are taken to be cut by that: the control stays clear of it.
STABLE = 3.25
STIFF = 2.5
# Steps of dopri5 at that limit, in a row but for a few, that count as stiff.
STIFF_STEPS = 15
CALM_STEPS = 6
# Steps of rkc2 in a row that cost more than dopri5 at its limit.
COSTLY_STEPS = 10
MOST_PATIENCE = 64.0


@register(kind="stepper", name="auto")
@dataclass(frozen=True)
class Automatic(AdaptiveStepper):
    """dopri5 until its steps are cut by stability, then rkc2 while that is cheaper.

    Stiff: h radius > 2.5 in 15 steps, fewer than 6 in a row below it between them
    (Hairer, Wanner, Solving Ordinary Differential Equations II, section IV.2). Back:
    in 10 steps in a row, rkc2 spends more evaluations per unit of s than dopri5 would
    with steps of 3.25 / radius. Each return doubles the steps that count as stiff, so
    that the two do not alternate.

    Its memory is that of the present method, and counts whose names start with "auto".

    Parameters
    ----------
    rtol : float
        Relative tolerance of every entry of the state (dimensionless).
    atol : float
        Absolute tolerance of every entry of the state.
    """

    order = 2

    @cached_property
    def methods(self) -> tuple[DormandPrince, RungeKuttaChebyshev]:
        """The two methods, with the tolerances and the state vector of this one."""
        tolerances = self.rtol, self.atol
        kinds = DormandPrince, RungeKuttaChebyshev
        first, second = (kind(*tolerances).bound(self.vector) for kind in kinds)
        return first, second

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One accepted step of the present method."""
        counts = {name: memory.get(name, 0.0) for name in ("auto_rkc2", "auto_count")}
        counts["auto_calm"] = memory.get("auto_calm", 0.0)
        counts["auto_patience"] = memory.get("auto_patience", 1.0)
        inner = {name: memory[name] for name in memory if name not in counts}
        is_rkc2 = bool(counts["auto_rkc2"])
        step = self.methods[is_rkc2].step(evaluate, point, target, inner)
        judge = _after_rkc2 if is_rkc2 else _after_dopri5
        after = judge(step, counts)
        return Step(step.point, step.size, after, step.n_evaluations, step.n_rejected)


def _after_dopri5(step: Step, counts: Memory) -> Memory:
    """The memory after a step of dopri5; that of rkc2 if the problem is stiff."""
    radius = step.memory.get("radius", 0.0)
    count, calm, patience = (
        counts["auto_count"],
        counts["auto_calm"],
        counts["auto_patience"],
    )
    if step.size * radius > STIFF:
        count, calm = count + 1, 0.0
    else:
        calm += 1
        count = count if calm < CALM_STEPS else 0.0
    if count < STIFF_STEPS * patience:
        return step.memory | counts | {"auto_count": count, "auto_calm": calm}
    begun = {"auto_rkc2": 1.0, "auto_count": 0.0, "auto_calm": 0.0}
    return {"step": step.size} | counts | begun


def _after_rkc2(step: Step, counts: Memory) -> Memory:
    """The memory after a step of rkc2; that of dopri5 if rkc2 costs more."""
    radius = step.memory["radius"] / RungeKuttaChebyshev.radius_safety
    limit = len(DOPRI5_A) * radius / STABLE
    is_costly = step.memory["cost"] / step.size > limit
    count = counts["auto_count"] + 1 if is_costly else 0.0
    if count < COSTLY_STEPS or radius == 0.0:
        return step.memory | counts | {"auto_count": count}
    patience = min(2 * counts["auto_patience"], MOST_PATIENCE)
    begun = {"auto_rkc2": 0.0, "auto_count": 0.0, "auto_patience": patience}
    return {"step": STABLE / radius, "error": 1e-4} | counts | begun
