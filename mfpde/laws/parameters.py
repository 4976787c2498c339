"""Checks of the numbers a law is given: constants, vectors and functions of t."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import check_size, float_array, having, integer, is_function

# A number, one number per parameter, or a function of the depth t giving either.
Parameter = ArrayLike | Callable[[float], ArrayLike]

A_LAW = having(
    "n_params", "n_random", "paths", what="a law such as mfpde.laws.Gaussian"
)
A_BLOCK = having("k", "param_groups", what="a block such as mfpde.blocks.Perceptron")


def settle(
    n_params: int | None, **values: Parameter
) -> tuple[int, dict[str, NDArray[np.float64] | Callable[[float], ArrayLike]]]:
    """Find k and bring every parameter to shape (k,), functions of t excepted.

    Parameters
    ----------
    n_params : int or None
        k; None takes it from the shapes, or 1 if all values are numbers.
    **values : number, array_like of shape (k,), or callable of t

    Returns
    -------
    n_params : int
    values : dict
        Read-only arrays of shape (k,), or the callables unchanged.
    """
    shapes = {}
    arrays = {}
    for name, value in values.items():
        given = float_array(name, value(0.0) if is_function(value) else value)
        shapes[name] = given.shape
        arrays[name] = given
    if n_params is None:
        n_params = next((s[0] for s in shapes.values() if len(s) == 1), 1)
    n_params = integer("n_params", n_params, minimum=1)
    check_size("n_params", n_params)
    for name, value in values.items():
        wide = _widened(name, arrays[name], n_params)
        arrays[name] = value if callable(value) else wide
    return n_params, arrays


def _widened(
    name: str, given: NDArray[np.float64], n_params: int
) -> NDArray[np.float64]:
    if given.shape not in ((), (n_params,)):
        raise ValueError(
            f"`{name}` must be a number or have shape (n_params,) = ({n_params},), "
            f"got shape {given.shape}."
        )
    return float_array(name, np.broadcast_to(given, (n_params,)))


def is_zero(value: NDArray[np.float64] | Callable[[float], ArrayLike]) -> bool:
    """Whether a settled parameter is zero at every depth; a function is not known."""
    return not callable(value) and not value.any()


def values_at(
    name: str, value: Parameter, t: NDArray[np.float64], n_params: int
) -> NDArray[np.float64]:
    """Values of a settled parameter at the depths t.

    Returns
    -------
    values : ndarray, shape (len(t), k), or (1, k) for a constant
    """
    if not callable(value):
        return value[np.newaxis]
    rows = []
    for depth in t:
        label = f"{name}(t = {depth:g})"
        rows.append(_widened(label, float_array(label, value(float(depth))), n_params))
    return np.array(rows)


def mean_and_std(
    mean: Parameter, std: Parameter, t: NDArray[np.float64], n_params: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation at the depths t, with std >= 0 checked."""
    deviations = values_at("std", std, t, n_params)
    if deviations.min() < 0.0:
        raise ValueError(f"`std` must not be negative, got {deviations.min():g}.")
    return values_at("mean", mean, t, n_params), deviations


def bounds(
    low: Parameter, high: Parameter, t: NDArray[np.float64], n_params: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bounds at the depths t, with low < high checked."""
    lows = values_at("low", low, t, n_params)
    highs = values_at("high", high, t, n_params)
    is_wrong = lows >= highs
    if is_wrong.any():
        j, c = np.argwhere(is_wrong)[0]
        pair = [float(a[min(j, len(a) - 1), c]) for a in (lows, highs)]
        raise ValueError(
            f"`low` must be below `high`, got {pair[0]:g} and {pair[1]:g} for "
            f"parameter {c}."
        )
    return lows, highs
