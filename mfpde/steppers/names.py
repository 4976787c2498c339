"""Names of steppers, and descriptions from which they are rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfpde.errors import did_you_mean
from mfpde.steppers.automatic import Automatic
from mfpde.steppers.control import ErrorControl
from mfpde.steppers.dopri5 import DormandPrince
from mfpde.steppers.fixed import FixedStepper, euler, heun, rk4
from mfpde.steppers.langevin import Langevin
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
            "mfpde.steppers.Langevin(temperature, ds) in place of its name."
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
        return ADAPTIVE[stepper](ErrorControl() if control is None else control)
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


def named(stepper: Any, ds: float | None) -> tuple[Any, float | None]:
    """Name and step of `euler(ds)`, `heun(ds)` and `rk4(ds)`; others as they are."""
    is_fixed = type(stepper) is FixedStepper and stepper.name in FIXED
    if is_fixed and stepper == FIXED[stepper.name](stepper.ds):
        return stepper.name, stepper.ds
    return stepper, ds


def describe_stepper(stepper: Any, ds: float | None) -> dict[str, Any]:
    """Plain values from which `stepper_of` rebuilds it; "stepper" is None if it cannot.

    It cannot for the user's own classes, and for tolerances with functions of the
    user's own.
    """
    stepper, ds = named(stepper, ds)
    described = {"stepper": None, "ds": None if ds is None else float(ds)}
    if isinstance(stepper, str):
        described["stepper"] = stepper
    elif type(stepper) in (Langevin, FixedStepper):
        described |= stepper.describe()
    elif type(stepper) in ADAPTIVE.values() and stepper.control.is_plain:
        described |= stepper.describe()
        described["control"] = stepper.control.describe_plain()
    return described


def stepper_of(description: Mapping[str, Any]) -> tuple[Any, float | None]:
    """Stepper and ds from the output of `describe_stepper`."""
    name, ds = description["stepper"], description["ds"]
    if name == "langevin":
        return Langevin(description["temperature"], ds, seed=description["seed"]), None
    if "tableau" in description:
        return FixedStepper.from_tableau(name, ds, description["tableau"]), None
    if "control" in description:
        return ADAPTIVE[name](ErrorControl.from_plain(description["control"])), None
    return name, ds
