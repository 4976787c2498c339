"""Steppers in training time s: they advance any velocity field, and know no physics.

A stepper is any object with `order`, `describe()` and
`step(evaluate, point, target, memory) -> Step`: it makes one accepted step from `point`
that does not pass `target`, and ends on it exactly when it reaches it. `evaluate(s, y)`
returns the `Point` at (s, y); it may raise `NotFiniteError`, which an adaptive stepper
answers with a smaller step. `memory` is a dict of floats, empty at the start: all that
a stepper carries from step to step, so that a run continues from it bit for bit.
"""

from mfpde.steppers.automatic import Automatic
from mfpde.steppers.base import Point, Step, StepFailure, check_steps
from mfpde.steppers.control import ErrorControl
from mfpde.steppers.dopri5 import DOPRI5_A, DOPRI5_C, DOPRI5_ERROR, DormandPrince
from mfpde.steppers.fixed import FixedStepper, euler, heun, rk4
from mfpde.steppers.langevin import Diffusion, Langevin
from mfpde.steppers.names import (
    ADAPTIVE,
    FIXED,
    STEPPERS,
    describe_stepper,
    make_stepper,
    named,
    stepper_of,
)
from mfpde.steppers.rkc import RungeKuttaChebyshev

__all__ = [
    "ADAPTIVE",
    "DOPRI5_A",
    "DOPRI5_C",
    "DOPRI5_ERROR",
    "FIXED",
    "STEPPERS",
    "Automatic",
    "Diffusion",
    "DormandPrince",
    "ErrorControl",
    "FixedStepper",
    "Langevin",
    "Point",
    "RungeKuttaChebyshev",
    "Step",
    "StepFailure",
    "check_steps",
    "describe_stepper",
    "euler",
    "heun",
    "make_stepper",
    "named",
    "rk4",
    "stepper_of",
]
