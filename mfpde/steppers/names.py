"""Names of steppers."""

from __future__ import annotations

from typing import Any

from mfpde.errors import did_you_mean
from mfpde.steppers.automatic import Automatic
from mfpde.steppers.control import ErrorControl
from mfpde.steppers.dopri5 import DormandPrince
from mfpde.steppers.fixed import euler, heun, rk4
from mfpde.steppers.rkc import RungeKuttaChebyshev

FIXED = {"euler": euler, "heun": heun, "rk4": rk4}
ADAPTIVE = {
    "dopri5": DormandPrince,
    "rkc2": RungeKuttaChebyshev,
    "auto": Automatic,
}
STEPPERS = (*FIXED, *ADAPTIVE)


def make_stepper(
    stepper: Any, *, ds: float | None, control: ErrorControl | None = None
) -> Any:
    """The stepper of a name; an object with `step` is kept.

    Raises
    ------
    ValueError
        For an unknown name, a fixed stepper without ds, or ds with another one.
    """
    if not isinstance(stepper, str):
        return _own(stepper, ds)
    if stepper == "langevin":
        raise ValueError(
            "`stepper` 'langevin' needs a temperature: give "
            "mfpde.Langevin(temperature, ds) in place of its name."
        )
    if stepper not in STEPPERS:
        raise ValueError(
            f"`stepper` must be one of {', '.join(STEPPERS)}, got {stepper!r}."
            + did_you_mean(stepper, STEPPERS)
        )
    if stepper in ADAPTIVE:
        if ds is not None:
            raise ValueError(
                f"`ds` must be None for the adaptive stepper {stepper!r}, "
                f"got {ds!r}; use 'euler', 'heun' or 'rk4' for fixed steps."
            )
        return ADAPTIVE[stepper](control or ErrorControl())
    if ds is None:
        raise ValueError(
            f"`ds` is needed by the fixed stepper {stepper!r}; give the step in "
            "training time, or use 'dopri5'."
        )
    return FIXED[stepper](ds)


def _own(stepper: Any, ds: float | None) -> Any:
    if not callable(getattr(stepper, "step", None)) or isinstance(stepper, type):
        raise TypeError(
            "`stepper` must be a name or an object with a method `step`, "
            f"got {stepper!r}."
        )
    if ds is not None:
        raise ValueError(
            f"`ds` must be None with a stepper that is an object, got {ds!r}; "
            "give the step to the object."
        )
    return stepper
