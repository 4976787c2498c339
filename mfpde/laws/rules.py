"""Quadrature rules on a line, for the germs of laws: theory, section 2.3.

Each rule has n nodes in ascending order, symmetric about the middle of its germ, and
positive weights with sum one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
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


SINH_WIDTH = 0.173
"""Half-width of the strip of analyticity, in the variable of the trapezoidal rule, that
balances truncation and resolution for a flow of tanh blocks to s of order ten."""


def sinh(n: int) -> Rule:
    """Trapezoidal rule in y, x = sinh(y), for a standard normal germ: unit variance.

    Training draws structure towards the origin, where particles part; there the nodes
    are close, and wide in the tails. Exponential convergence for functions analytic
    near the real axis, where Gauss-Hermite needs them analytic far from it. The range
    grows with n so that truncation, exp(-x^2 / 2), keeps pace with resolution.
    """
    if n == 1:
        return np.zeros(1), np.ones(1)
    reach = brentq(
        lambda y: 0.5 * np.sinh(y) ** 2 * y - np.pi * SINH_WIDTH * n, 0.0, 10.0
    )
    y = reach * (2.0 * np.arange(n) - (n - 1)) / n
    x = np.sinh(y)
    weights = np.exp(-0.5 * x * x) * np.cosh(y)
    weights /= weights.sum()
    return x / np.sqrt(weights @ x**2), weights


# Kind of a rule: the germ it is for, and its nodes.
RULES: dict[str, tuple[str, Callable[[int], Rule]]] = {
    "legendre": ("uniform", legendre),
    "hermite": ("normal", hermite),
    "sinh": ("normal", sinh),
}
