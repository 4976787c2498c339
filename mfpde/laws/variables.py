"""Base random variables: the independent numbers of a law, in natural coordinates.

A variable is "uniform" on (0, 1) or standard "normal". Quadrature places its nodes in
these coordinates: through the quantile of a normal law, a node far out would lose
its digits in 1 - u.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

VARIABLES = ("uniform", "normal")


def base_variables_of(law: Any) -> tuple[str, ...] | None:
    """Kinds of the variables of a law, or None where the law does not declare them.

    Raises
    ------
    ValueError
        If the declaration has unknown kinds or is not `n_random` long.
    """
    variables = getattr(law, "base_variables", None)
    if variables is None:
        return None
    variables = tuple(variables)
    if len(variables) != law.n_random or not set(variables) <= set(VARIABLES):
        raise ValueError(
            f"`base_variables` of {type(law).__name__} must name n_random = "
            f'{law.n_random} kinds, each "uniform" or "normal", got {variables!r}.'
        )
    return variables


def from_uniform(
    u: NDArray[np.float64], variables: Sequence[str]
) -> NDArray[np.float64]:
    """Base variables from uniform numbers, both (M, n_random), by quantiles."""
    is_normal = np.array([variable == "normal" for variable in variables], dtype=bool)
    if is_normal.all():
        return scipy.special.ndtri(u)
    xi = np.array(u)
    xi[:, is_normal] = scipy.special.ndtri(u[:, is_normal])
    return xi


def base_paths(
    law: Any, xi: NDArray[np.float64], t: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Paths of a law from its variables.

    A law whose variables are all uniform needs no `base_paths` of its own.

    Parameters
    ----------
    law : Law
        With declared variables.
    xi : ndarray, shape (M, n_random)
    t : ndarray, shape (n,)
        Depths in [0, 1].

    Returns
    -------
    theta : ndarray, shape (n, M, k)
    """
    own = getattr(law, "base_paths", None)
    if own is not None:
        return own(xi, t)
    if "normal" in base_variables_of(law):
        raise TypeError(
            f'{type(law).__name__} declares "normal" variables and must define '
            "`base_paths(xi, t)`, its paths from them."
        )
    return law.paths(xi, t)
