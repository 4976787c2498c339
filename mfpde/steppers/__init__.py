"""Steppers in training time s: they advance any velocity field, and know no physics.

A stepper is any object with `step(evaluate, point, target, memory) -> Step`: it makes
one accepted step from `point` that does not pass `target`, and ends on it exactly when
it reaches it. `evaluate(s, y)` returns the `Point` at (s, y); it may raise
`NotFiniteError`, which an adaptive stepper answers with a smaller step. `memory` is a
dict of floats, empty at the start: all that a stepper carries from step to step. It is
part of the checkpoint, so a run continues from it bit for bit; a stepper that keeps
anything else from step to step does not.

A stepper says what it is by `order`, `is_adaptive` and `has_noise` (`Stepper` has the
defaults), and `bound(vector)`, where it has one, gets the `StateVector` of the flow. A
class that is registered by `mfpde.register` is known by its name, with the arguments of
its constructor.
"""

from mfpde.steppers.automatic import Automatic
from mfpde.steppers.base import Point, StateVector, Step, StepFailure, Stepper
from mfpde.steppers.choosing import check_steps, make_stepper, method_options
from mfpde.steppers.control import AdaptiveStepper
from mfpde.steppers.dopri5 import DOPRI5_A, DOPRI5_C, DOPRI5_ERROR, DormandPrince
from mfpde.steppers.fixed import (
    ClassicalRungeKutta,
    Euler,
    FixedStepper,
    Heun,
    RungeKutta,
)
from mfpde.steppers.langevin import Langevin
from mfpde.steppers.rkc import RungeKuttaChebyshev

__all__ = [
    "DOPRI5_A",
    "DOPRI5_C",
    "DOPRI5_ERROR",
    "AdaptiveStepper",
    "Automatic",
    "ClassicalRungeKutta",
    "DormandPrince",
    "Euler",
    "FixedStepper",
    "Heun",
    "Langevin",
    "Point",
    "RungeKutta",
    "RungeKuttaChebyshev",
    "StateVector",
    "Step",
    "StepFailure",
    "Stepper",
    "check_steps",
    "make_stepper",
    "method_options",
]
