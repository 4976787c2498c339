"""Scalar states through depth: f = theta z and f = theta z^2 (T1, T18).

In both cases p f(z) / theta is constant in depth, so that one mean is closed. x and y
are numbers (one sample) or have shape (N,); values have shape s.shape + x.shape for
outputs and s.shape else. t in [0, 1] is depth, s >= 0 is training time. Regulariser
and noise are zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import Numbers, checked, float_array, number
from mfpde.references.exact.closed import (
    MOST_LAYERS,
    Array,
    ExactCase,
    check_count,
    mean_over_samples,
    put,
    settle_samples,
    trajectory,
)
from mfpde.references.exact.layers import LayerCase, common, per_layer


@dataclass(frozen=True, slots=True, eq=False)
class ScalarLinear(LayerCase):
    """f = theta z with d = 1 (T1): the mean A = int int theta drho dt is closed.

    z_i(1) = x_i e^A, and dA/ds = -mean_i z_i(1) (z_i(1) - y_i): all particles at all
    depths translate alike, whatever their law. With `n_layers` it is the exact law of
    the Euler network, z_i(1) = x_i prod_l (1 + a_l / L). Readout identity, any number
    of samples and of particles, any law with these means.

    Parameters
    ----------
    x, y : number or array_like of shape (N,)
        Inputs and targets.
    a : number, or array_like of shape (n_layers,) with `n_layers`
        Mean of theta over the particles and, without `n_layers`, over depth, at s = 0.
    sample_weights : array_like of shape (N,), optional
        c_i with sum 1; default 1 / N.
    n_layers : int, optional
        L of a finite Euler network; None is the limit of infinite depth.

    Examples
    --------
    >>> case = ScalarLinear(1.3, 2.0, -0.4)
    >>> print(f"{case.output(1.5):.11f}")
    1.97709146720
    >>> print(f"{8 * (case.finite_depth(8).output(1.5) - case.output(1.5)):.6f}")
    -0.054431
    """

    x: Numbers
    y: Numbers
    a: Numbers = 0.0
    sample_weights: Numbers = None
    n_layers: int | None = None

    def __post_init__(self) -> None:
        settle_samples(self, 1)
        if self.n_layers is not None:
            put(self, n_layers=check_count("n_layers", self.n_layers, MOST_LAYERS))
        put(self, a=per_layer("a", self.a, self.n_layers))

    def finite_depth(self, n_layers: int) -> ScalarLinear:
        """Return the Euler network of `n_layers`, with the same mean in every layer."""
        return replace(self, a=common("a", self.a), n_layers=n_layers)

    def mean(self, s: ArrayLike) -> Array:
        """A(s), shape s.shape; the layer means with `n_layers`, s.shape + (L,)."""
        means = trajectory(self._rate, self.a, s)
        return means[..., 0] if self.n_layers is None else means

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`."""
        return self.end_states(trajectory(self._rate, self.a, s))

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`; u^2 (u - y)^2 for one sample."""
        means = trajectory(self._rate, self.a, s)
        return np.mean(self._rate(0.0, means) ** 2, axis=-1)

    def depth_coefficient(self, s: ArrayLike) -> Array:
        """delta_i(s) of the Euler network: z_i(1; L) = z_i(1) + delta_i / L + O(L^-2).

        With a_L = A + alpha / L, delta_i = z_i(1) (alpha - A^2 / 2) and a linear
        equation for alpha; one sample gives the equation of T1 for delta. Assumes
        equal layer means at s = 0.

        Returns
        -------
        delta : ndarray, shape s.shape + x.shape
        """
        if self.n_layers is not None:
            raise ValueError(
                "`depth_coefficient` expands about infinite depth: `n_layers` must be "
                f"None, got {self.n_layers}."
            )

        def rate(_: float, y: Array) -> Array:
            a, alpha = y
            z = self.x * np.exp(a)
            residual = z - self.y
            slope = -z * (residual + z)
            forcing = z * (residual * (a + 0.5 * a**2) + 0.5 * z * a**2)
            return np.array(
                [
                    -mean_over_samples(z * residual, self.sample_weights),
                    mean_over_samples(slope * alpha + forcing, self.sample_weights),
                ]
            )

        a, alpha = np.moveaxis(trajectory(rate, [self.a[0], 0.0], s), -1, 0)
        return np.multiply.outer(np.exp(a) * (alpha - 0.5 * a**2), self.x)

    def _rate(self, _: float, means: Array) -> Array:
        return self._descent(means)


@dataclass(frozen=True, slots=True, eq=False)
class ScalarQuadratic(ExactCase):
    """f = theta z^2 with d = 1 (T18): z_i(1) = x_i / (1 - x_i A), A = int int theta.

    The growth condition (A1) is violated, but p z^2 is constant in depth, so that
    dA/ds = -mean_i z_i(1)^2 (z_i(1) - y_i). The flow keeps its distance from the
    blow-up, where E is infinite. Readout identity, any law with this mean.

    Parameters
    ----------
    x, y : number or array_like of shape (N,)
        Inputs and targets.
    a : number
        A at s = 0, with x_i a < 1 for all samples.
    sample_weights : array_like of shape (N,), optional
        c_i with sum 1; default 1 / N.

    Examples
    --------
    >>> print(ScalarQuadratic(0.8, 2.0, a=0.5).output([0.0]).round(6))
    [1.333333]
    """

    x: Numbers
    y: Numbers
    a: float = 0.0
    sample_weights: Numbers = None

    def __post_init__(self) -> None:
        settle_samples(self, 1)
        put(self, a=per_layer("a", self.a, None)[0])
        depth = blow_up_depth(self.x, self.a)
        if depth <= 1.0:
            raise ValueError(
                f"`a` = {self.a:g} makes the state blow up at t = {depth:g} (depth). "
                "It must be below 1 / x for every positive x, and above for negative."
            )

    def mean(self, s: ArrayLike) -> Array:
        """A(s), shape s.shape."""
        return trajectory(self._rate, self.a, s)

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`."""
        return self._output_of(self.mean(s))

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`."""
        return self._rate(0.0, self.mean(s)) ** 2

    def _output_of(self, a: Array) -> Array:
        return self.x / (1.0 - np.multiply.outer(a, self.x))

    def _rate(self, _: float, a: Array) -> Array:
        z = self._output_of(a)
        return -mean_over_samples(z**2 * (z - self.y), self.sample_weights)


@checked(a=number())
def blow_up_depth(x: ArrayLike, a: float) -> float:
    """First depth t where the state of f = theta z^2 blows up: x a t = 1 (T18).

    Parameters
    ----------
    x : number or array_like of shape (N,)
        Inputs; the first sample to blow up counts.
    a : number
        Mean of theta, constant in t.

    Returns
    -------
    t : float
        inf if no sample ever blows up. Beyond 1 the network is finite.
    """
    largest = float(np.max(float_array("x", x) * a, initial=0.0))
    return 1.0 / largest if largest > 0.0 else np.inf
