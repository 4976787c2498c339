"""f(z, theta) and its derivatives on whole meshes, in NumPy (theory, section 4).

These formulas are written apart from the compiled kernels of the particles, so that
the grid solver is an independent check of them. A formula has three methods. Their
arguments are tuples of components: z and p hold d arrays, theta holds k; all broadcast
against each other. `value` returns the d components of f, `jacobian` rows d_z f_a, and
`gradient` the sum over a of p_a d f_a / d theta_c for one parameter c.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mfpde import blocks
from mfpde.kernels import build

Array = NDArray[np.float64]
Parts = tuple[Array, ...]

LEAKY_SLOPE = 0.01
HALF_WIDTH = 0.5  # of the regularised ReLU


def _gelu_slope(a: Array) -> Array:
    return special.ndtr(a) + a * np.exp(-0.5 * a * a) / np.sqrt(2.0 * np.pi)


def _tanh_slope(a: Array) -> Array:
    return 1.0 - np.tanh(a) ** 2


def _regularised_relu(a: Array) -> Array:
    ramp = np.clip(a + HALF_WIDTH, 0.0, 2.0 * HALF_WIDTH)
    return ramp**2 / (4.0 * HALF_WIDTH) + np.maximum(a - HALF_WIDTH, 0.0)


def _regularised_relu_slope(a: Array) -> Array:
    return np.clip((a + HALF_WIDTH) / (2.0 * HALF_WIDTH), 0.0, 1.0)


ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (np.tanh, _tanh_slope),
    "sigmoid": (special.expit, lambda a: special.expit(a) * special.expit(-a)),
    "softplus": (lambda a: np.logaddexp(0.0, a), special.expit),
    "gelu": (lambda a: a * special.ndtr(a), _gelu_slope),
    "relu": (lambda a: np.maximum(a, 0.0), lambda a: np.where(a > 0.0, 1.0, 0.0)),
    "leaky_relu": (
        lambda a: np.where(a > 0.0, a, LEAKY_SLOPE * a),
        lambda a: np.where(a > 0.0, 1.0, LEAKY_SLOPE),
    ),
    "regularised_relu": (_regularised_relu, _regularised_relu_slope),
    "squared_relu": (
        lambda a: np.maximum(a, 0.0) ** 2,
        lambda a: 2.0 * np.maximum(a, 0.0),
    ),
    "sin": (np.sin, np.cos),
    "identity": (lambda a: a, np.ones_like),
}
"""Name to (sigma, sigma')."""


@dataclass(frozen=True, slots=True)
class ScalarDyad:
    """f = scale v sigma(u z), theta = (u, v), d = 1: perceptron and bilinear block."""

    activation: str
    scale: float

    def value(self, z: Parts, theta: Parts) -> Parts:
        """See the module."""
        u, v = theta
        return (self.scale * ACTIVATIONS[self.activation][0](u * z[0]) * v,)

    def jacobian(self, z: Parts, theta: Parts) -> tuple[Parts, ...]:
        """See the module."""
        u, v = theta
        slope = ACTIVATIONS[self.activation][1](u * z[0])
        return ((self.scale * slope * u * v,),)

    def gradient(self, z: Parts, p: Parts, theta: Parts, c: int) -> Array:
        """See the module."""
        u, v = theta
        value, slope = ACTIVATIONS[self.activation]
        if c == 0:
            return self.scale * p[0] * slope(u * z[0]) * z[0] * v
        return self.scale * p[0] * value(u * z[0])


@dataclass(frozen=True, slots=True)
class ScalarLinear:
    """f = theta z, d = 1."""

    def value(self, z: Parts, theta: Parts) -> Parts:
        """See the module."""
        return (theta[0] * z[0],)

    def jacobian(self, z: Parts, theta: Parts) -> tuple[Parts, ...]:
        """See the module."""
        return ((theta[0],),)

    def gradient(self, z: Parts, p: Parts, theta: Parts, c: int) -> Array:
        """See the module."""
        return p[0] * z[0]


@dataclass(frozen=True, slots=True)
class Shift:
    """f = theta in R^d."""

    d: int

    def value(self, z: Parts, theta: Parts) -> Parts:
        """See the module."""
        return theta

    def jacobian(self, z: Parts, theta: Parts) -> tuple[Parts, ...]:
        """See the module."""
        nothing = np.zeros(1)
        return tuple((nothing,) * self.d for _ in range(self.d))

    def gradient(self, z: Parts, p: Parts, theta: Parts, c: int) -> Array:
        """See the module."""
        return p[c]


@dataclass(frozen=True, slots=True)
class ScalarDamped:
    """f = max(W z + b, 0)^2 e^{-z^2}, theta = (W, b), d = 1: the squared ReLU."""

    def value(self, z: Parts, theta: Parts) -> Parts:
        """See the module."""
        return (np.exp(-(z[0] ** 2)) * self._active(z, theta) ** 2,)

    def jacobian(self, z: Parts, theta: Parts) -> tuple[Parts, ...]:
        """See the module."""
        active = self._active(z, theta)
        slope = 2.0 * active * (theta[0] - z[0] * active)
        return ((np.exp(-(z[0] ** 2)) * slope,),)

    def gradient(self, z: Parts, p: Parts, theta: Parts, c: int) -> Array:
        """See the module."""
        slope = 2.0 * np.exp(-(z[0] ** 2)) * self._active(z, theta) * p[0]
        return slope * z[0] if c == 0 else slope

    def _active(self, z: Parts, theta: Parts) -> Array:
        w, b = theta
        return np.maximum(w * z[0] + b, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class CustomLoops:
    """A block given as functions of one sample and one particle, looped over."""

    d: int
    k: int
    loop_f: Callable[..., None]
    loop_vjp_z: Callable[..., None]
    loop_vjp_theta: Callable[..., None]

    def value(self, z: Parts, theta: Parts) -> Parts:
        """See the module."""
        return self._over(self.loop_f, self.d, z, theta)

    def jacobian(self, z: Parts, theta: Parts) -> tuple[Parts, ...]:
        """See the module."""
        units = np.eye(self.d)
        return tuple(
            self._over(self.loop_vjp_z, self.d, z, theta, tuple(unit)) for unit in units
        )

    def gradient(self, z: Parts, p: Parts, theta: Parts, c: int) -> Array:
        """See the module."""
        return self._over(self.loop_vjp_theta, self.k, z, theta, p)[c]

    def _over(self, loop: Callable[..., None], n_out: int, *groups: Parts) -> Parts:
        """Fill n_out components with a loop over all broadcast points."""
        flat = [part for group in groups for part in group]
        wide = np.broadcast_arrays(*flat)
        shape = wide[0].shape
        columns, start = [], 0
        for group in groups:
            parts = wide[start : start + len(group)]
            columns.append(np.column_stack([part.ravel() for part in parts]))
            start += len(group)
        out = np.empty((len(columns[0]), n_out))
        loop(*columns, out)
        return tuple(out[:, a].reshape(shape) for a in range(n_out))


def make_formula(block: Any) -> Any:
    """Return the formula of a block with k = 1 or 2 parameters.

    Raises
    ------
    TypeError
        For a block that is neither built in nor `Custom`.
    ValueError
        For a perceptron with an activation that has no formula here.
    """
    if isinstance(block, blocks.Perceptron):
        if block.activation not in ACTIVATIONS:
            raise ValueError(
                "`problem` must have a block with an activation of "
                f"{', '.join(ACTIVATIONS)} for the grid solver, got "
                f"{block.activation!r}. Give the same f as mfpde.blocks.Custom."
            )
        return ScalarDyad(block.activation, block.scale)
    if isinstance(block, blocks.Bilinear):
        return ScalarDyad("identity", 1.0)
    if isinstance(block, blocks.Linear):
        return ScalarLinear()
    if isinstance(block, blocks.Bias):
        return Shift(block.d)
    if isinstance(block, blocks.SquaredReLU):
        return ScalarDamped()
    if isinstance(block, blocks.Custom):
        return _custom_loops(block)
    raise TypeError(
        "`problem` must have a block of mfpde.blocks for the grid solver, got "
        f"{type(block).__name__}. Give the same f as mfpde.blocks.Custom."
    )


def _custom_loops(block: blocks.Custom) -> CustomLoops:
    return CustomLoops(block.d, block.k, *build.custom_loops(*block.functions))
