"""From a name, or an object of the user's own, to a stepper."""

from __future__ import annotations

from typing import Any

from mfpde.arrays import optional, positive
from mfpde.describe import make, name_of, names, thing_of
from mfpde.fields import fields_of
from mfpde.steppers.base import MOST_STEPS


def make_stepper(
    stepper: Any, *, ds: float | None, rtol: float = 1e-6, atol: float = 1e-9
) -> Any:
    """The stepper of a name; an object with `step` is kept.

    Parameters
    ----------
    stepper : str or object
        A name is made with those of the other arguments that its class has.
    ds : float or None
        Step in training time, for a stepper with fixed steps and for no other.
    rtol, atol : float
        Tolerances of an adaptive stepper.

    Raises
    ------
    ValueError
        For an unknown name, a fixed stepper without ds, or ds with another one.
    """
    if not isinstance(stepper, str):
        return _own(stepper, ds)
    kind = thing_of("stepper", stepper, argument="stepper")
    fields = fields_of(kind)
    ds = optional(positive)("ds", ds)
    if ds is not None and "ds" not in fields:
        raise ValueError(
            f"`ds` must be None for the adaptive stepper {stepper!r}, got {ds!r}; use "
            "'euler', 'heun' or 'rk4' for fixed steps."
        )
    given = {"ds": ds, "rtol": rtol, "atol": atol}
    required = [name for name, field in fields.items() if field.is_required]
    if others := [name for name in required if name not in given]:
        is_ours = kind.__module__.startswith("mfpde.")
        title = ("mfpde.steppers." if is_ours else "") + kind.__name__
        raise ValueError(
            f"`stepper` {stepper!r} needs {' and '.join(others)}: give "
            f"{title}({', '.join(required)}) in place of its name."
        )
    if ds is None and "ds" in required:
        raise ValueError(
            f"`ds` is needed by the fixed stepper {stepper!r}; give the step in "
            "training time, or use 'dopri5'."
        )
    options = {name: given[name] for name in given if name in fields}
    return make("stepper", stepper, **options)


def method_options(
    stepper: Any, *, ds: float | None, rtol: float, atol: float
) -> dict[str, Any]:
    """The options of `solve` that make a stepper, with its name where that is enough.

    `Euler(0.1)` is the name "euler" with ds = 0.1, and `DormandPrince(1e-4, 1e-7)` is
    "dopri5" with these tolerances. Others stay objects.
    """
    options = {"stepper": stepper, "rtol": rtol, "atol": atol, "ds": ds}
    found = name_of(type(stepper))
    if found is None or found[0] != "stepper":
        return options
    fields = fields_of(type(stepper))
    if not set(fields) <= {"ds", "rtol", "atol"}:
        return options
    values = {name: getattr(stepper, name) for name in fields}
    return options | {"stepper": found[1]} | values


def _own(stepper: Any, ds: float | None) -> Any:
    if not callable(getattr(stepper, "step", None)) or isinstance(stepper, type):
        raise TypeError(
            "`stepper` must be a name or an object with a method `step`, "
            f"got {stepper!r}. Names: {', '.join(names('stepper'))}."
        )
    if ds is not None:
        raise ValueError(
            f"`ds` must be None with a stepper that is an object, got {ds!r}; "
            "give the step to the object."
        )
    return stepper


def check_steps(stepper: Any, s_end: float) -> None:
    """Raise ValueError for a fixed step with which the end is out of reach."""
    ds = getattr(stepper, "ds", None)
    if ds is not None and s_end > MOST_STEPS * ds:
        raise ValueError(
            f"`ds` = {ds:g} would take {s_end / ds:.3g} steps to s = {s_end:g}; at "
            f"most {MOST_STEPS:.0e} are allowed."
        )
