"""Germs: the independent random numbers of a law, each in its natural coordinate.

A germ is "uniform" on (0, 1) or standard "normal". Quadrature places its nodes in
these coordinates: through the quantile of a normal law, a node far out would lose
its digits in 1 - u.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

GERMS = ("uniform", "normal")


def germs_of(law: Any) -> tuple[str, ...] | None:
    """Kinds of the germs of a law, or None where the law does not declare them.

    Raises
    ------
    ValueError
        If the declaration has unknown kinds or is not `n_random` long.
    """
    germs = getattr(law, "germs", None)
    if germs is None:
        return None
    germs = tuple(germs)
    if len(germs) != law.n_random or not set(germs) <= set(GERMS):
        raise ValueError(
            f"`germs` of {type(law).__name__} must name n_random = {law.n_random} "
            f'kinds, each "uniform" or "normal", got {germs!r}.'
        )
    return germs


def from_uniform(u: NDArray[np.float64], germs: Sequence[str]) -> NDArray[np.float64]:
    """Germs (M, n_random) from uniform numbers u (M, n_random), by quantiles."""
    is_normal = np.array([germ == "normal" for germ in germs], dtype=bool)
    if is_normal.all():
        return ndtri(u)
    xi = np.array(u)
    xi[:, is_normal] = ndtri(u[:, is_normal])
    return xi


def germ_paths(
    law: Any, xi: NDArray[np.float64], t: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Paths of a law from its germs.

    A law whose germs are all uniform needs no `germ_paths` of its own.

    Parameters
    ----------
    law : Law
        With declared germs.
    xi : ndarray, shape (M, n_random)
    t : ndarray, shape (n,)
        Depths in [0, 1].

    Returns
    -------
    theta : ndarray, shape (n, M, k)
    """
    own = getattr(law, "germ_paths", None)
    if own is not None:
        return own(xi, t)
    if "normal" in germs_of(law):
        raise TypeError(
            f'{type(law).__name__} declares "normal" germs and must define '
            "`germ_paths(xi, t)`, its paths from them."
        )
    return law.paths(xi, t)
