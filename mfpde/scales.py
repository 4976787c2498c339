"""Residual scales tau of networks: functions of the number of layers (section 1.5).

A residual scale is any function tau(n_layers) that returns one positive number, or one
for each layer. One that is registered, as a function with further arguments or as a
class of objects that are called, is known by its name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import number, positive, shown, whole
from mfpde.describe import (
    MODULE,
    described,
    known_thing,
    make,
    names,
    plain,
    register,
    thing_of,
)
from mfpde.fields import check, fields_of

Array = NDArray[np.float64]


@register(kind="residual scale", name="power_law")
@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A residual scale tau = tau0 L^exponent for networks of L layers (section 1.5).

    The exponent -1 is that of an ordinary differential equation in depth, -1/2 that of
    a stochastic one; numbers between and above them are as good.

    Parameters
    ----------
    tau0 : float
        Scale of one layer.
    exponent : float
        Of the number of layers.
    """

    tau0: Annotated[float, positive] = 1.0
    exponent: Annotated[float, number()] = -0.5

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, n_layers: int) -> float:
        """Residual scale of a network of n layers."""
        n = whole(1)("n_layers", n_layers)
        # The division rounds once, as in `DepthGrid.euler`.
        return (
            self.tau0 / n
            if self.exponent == -1
            else self.tau0 * float(np.float64(n) ** self.exponent)
        )


@register(kind="residual scale", name="ode")
def ode(n_layers: int) -> float:
    """1 / L, that of an ordinary differential equation in depth."""
    return PowerLaw(1.0, -1.0)(n_layers)


@register(kind="residual scale", name="sde")
def sde(n_layers: int) -> float:
    """L^(-1/2), that of a stochastic differential equation in depth."""
    return PowerLaw(1.0, -0.5)(n_layers)


def scale_of(value: Any) -> Any:
    """A function of the number of layers, or what is none: numbers.

    Parameters
    ----------
    value : str, dict, callable, float or array_like
        A name, or a table of "kind" and arguments; anything else as it is.
    """
    given: dict[str, Any] = {}
    if isinstance(value, Mapping):
        given = {key: value[key] for key in value if key not in ("kind", MODULE)}
        name = value.get("kind", "")
    elif isinstance(value, str):
        name = value
    else:
        return value
    module = value.get(MODULE) if isinstance(value, Mapping) else None
    thing = known_thing("residual scale", name, module, argument="residual_scale")
    if inspect.isclass(thing):
        return make("residual scale", name, **given)
    fields = fields_of(thing)
    own = list(fields)[1:]
    for key in given:
        if key not in own:
            raise ValueError(
                f"`residual_scale` {name!r} has no argument `{key}`, but "
                f"{', '.join(own) or 'none'}."
            )
    given = {key: fields[key].checked(each) for key, each in given.items()}
    return functools.partial(thing, **given)


def residual_scales(value: Any, n: int) -> Array:
    """tau_l of every layer, (n,), from what `DepthGrid.layers` takes."""
    scale = scale_of(value)
    scale = scale(n) if callable(scale) else scale
    try:
        scales = np.array(scale, dtype=np.float64)
    except (TypeError, ValueError):
        scales = np.empty(0)
    if scales.ndim == 0:
        scales = np.full(n, scales[()])
    if scales.shape != (n,) or not (np.isfinite(scales) & (scales > 0)).all():
        raise ValueError(
            "`residual_scale` must be positive and finite, one number or n_layers = "
            f"{n} of them, or one of {', '.join(names('residual scale'))}, got "
            f"{shown(value)}."
        )
    return scales


def describe_scale(value: Any) -> Any:
    """Plain values of a residual scale."""
    if isinstance(value, str | Mapping):
        name = value if isinstance(value, str) else value.get("kind", "")
        thing = described(thing_of("residual scale", name, argument="residual_scale"))
        if isinstance(thing, Mapping):  # one from outside, with its module
            value = dict(thing) | (dict(value) if isinstance(value, Mapping) else {})
        return plain("residual_scale", value)
    if callable(value):
        return described(value)
    return np.asarray(value, dtype=np.float64).tolist()
