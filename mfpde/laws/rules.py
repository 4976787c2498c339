"""Quadrature rules on a line, for the germs of laws: theory, section 2.3.

Each rule has n nodes in ascending order, symmetric about the middle of its germ, and
positive weights with sum one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_hermitenorm, roots_legendre

Rule = tuple[NDArray[np.float64], NDArray[np.float64]]


def legendre(n: int) -> Rule:
    """Gauss-Legendre for a uniform germ on (0, 1): exact to degree 2 n - 1."""
    x, weights = roots_legendre(n)
    return 0.5 * (1.0 + x), weights / weights.sum()


def hermite(n: int) -> Rule:
    """Gauss-Hermite for a standard normal germ: exact to degree 2 n - 1."""
    x, weights = roots_hermitenorm(n)
    return x, weights / weights.sum()


# Kind of a rule: the germ it is for, and its nodes.
RULES: dict[str, tuple[str, Callable[[int], Rule]]] = {
    "legendre": ("uniform", legendre),
    "hermite": ("normal", hermite),
}
