"""Quadrature rules on a line, for base random variables: theory, section 2.3.

Each rule has n nodes in ascending order, symmetric about the middle of its variable,
positive weights with sum one, and for n >= 2 the variance of the variable: it is exact
to degree 3, so that the flow of a bilinear block has no sampling error.

The flow of a perceptron is analytic in a strip about the real line that narrows as s
grows. Gauss rules, made for polynomials, crowd their nodes where such a function does
not need them; "transplanted" and "trapezoid" space them almost evenly.

References
----------
Hale, Trefethen (2008), New quadrature formulas from conformal maps, SIAM J. Numer.
Anal. 46, 930-948. Trefethen (2022), Exactness of quadrature formulas, SIAM Rev. 64,
132-150.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray

Rule = tuple[NDArray[np.float64], NDArray[np.float64]]


def legendre(n: int) -> Rule:
    """Gauss-Legendre for a uniform variable on (0, 1): exact to degree 2 n - 1."""
    x, weights = scipy.special.roots_legendre(n)
    return 0.5 * (1.0 + x), weights / weights.sum()


def transplanted(n: int) -> Rule:
    """Gauss-Legendre for a uniform variable, nodes moved apart by a polynomial map.

    The map is the Taylor polynomial of arcsin of degree 5, divided by its value at 1.
    """
    x, weights = scipy.special.roots_legendre(n)
    nodes = x * (120.0 + 20.0 * x**2 + 9.0 * x**4) / 149.0
    weights = weights * (120.0 + 60.0 * x**2 + 45.0 * x**4)
    x, weights = _with_variance(nodes, weights, 1.0 / 3.0)
    return 0.5 * (1.0 + x), weights


def hermite(n: int) -> Rule:
    """Gauss-Hermite for a standard normal variable: exact to degree 2 n - 1."""
    x, weights = scipy.special.roots_hermitenorm(n)
    return x, weights / weights.sum()


def trapezoid(n: int) -> Rule:
    """Trapezoidal rule for a standard normal variable on the line cut at -X and X."""
    x = trapezoid_end(n) * (np.arange(1 - n, n, 2) / n)
    return _with_variance(x, np.exp(-0.5 * x**2), 1.0)


def trapezoid_end(n: int) -> float:
    """Where n nodes cut the line: X.

    It balances the mass left out, exp(-X^2 / 2), against the error of the step
    h = 2 X / n: exp(-2 pi^2 / h^2) for an entire function, exp(-2 pi / h) for one
    analytic to distance 1. From X = 5.5 on (mass 4e-8) more nodes go rather into
    smaller steps, for functions with singularities nearer than that.
    """
    end = min(math.sqrt(math.pi * n), math.cbrt(2.0 * math.pi * n))
    return end if end < 5.5 else 5.5 * (end / 5.5) ** 0.3


SINH_WIDTH = 0.173
"""Half-width of the strip of analyticity, in the variable of the rule, that balances
truncation and resolution for a flow of tanh blocks to s of order ten."""


def sinh(n: int) -> Rule:
    """Trapezoidal rule in y, x = sinh(y), for a standard normal variable.

    Training draws structure towards the origin, where particles part; there the nodes
    are close, and wide in the tails. The range grows with n so that truncation,
    exp(-x^2 / 2), keeps pace with resolution, exp(-2 pi width / step).
    """
    resolved = 2.0 * math.pi * SINH_WIDTH * n
    end = scipy.optimize.brentq(lambda y: math.sinh(y) ** 2 * y - resolved, 0.0, 10.0)
    y = end * (np.arange(1 - n, n, 2) / n)
    x = np.sinh(y)
    return _with_variance(x, np.exp(-0.5 * x**2) * np.cosh(y), 1.0)


def _with_variance(
    x: NDArray[np.float64], weights: NDArray[np.float64], variance: float
) -> Rule:
    """Scale the weights to sum one, and the nodes to the variance of their variable."""
    weights = weights / weights.sum()
    if len(x) > 1:
        x = x * math.sqrt(variance / (weights @ x**2))
    return x, weights


# Kind of a rule: the variable it is for, and its nodes.
RULES: dict[str, tuple[str, Callable[[int], Rule]]] = {
    "legendre": ("uniform", legendre),
    "transplanted": ("uniform", transplanted),
    "hermite": ("normal", hermite),
    "trapezoid": ("normal", trapezoid),
    "sinh": ("normal", sinh),
}
