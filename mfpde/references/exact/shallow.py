"""Flows that do not feel depth: the two-layer limit (T4) and the bias block (T5, T20).

t in [0, 1] is depth, s >= 0 is training time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import Numbers, float_array
from mfpde.references.exact.closed import (
    Array,
    ExactCase,
    check_not_negative,
    put,
    ridge_at,
    settle_samples,
    training_times,
    trajectory,
)


@dataclass(frozen=True, slots=True, eq=False)
class TwoLayer(ExactCase):
    """Two-layer linear network o = E[u v] x, in closed form (T4).

    As a residual network: state (x, o), f = (0, v u x), readout o, which gives the
    two-layer flow at every depth scheme. r = E[u v], a = E[u^2 + v^2] / 2:
    r' = -2 a (X r - mean x y) with X = mean x^2, k^2 = a^2 - r^2 conserved. P = a + r
    (a - r for r < 0) obeys a Riccati equation, which is solved in closed form to
    rounding. Any number of samples and particles.

    Parameters
    ----------
    y : number or array_like of shape (N,)
        Targets.
    r, a : number
        E[u v] and E[u^2 + v^2] / 2 over all particles and depths at s = 0; a >= |r|.
    x : number or array_like of shape (N,), default 1
        Inputs.
    sample_weights : array_like of shape (N,), optional
        c_i with sum 1; default 1 / N.

    Examples
    --------
    >>> case = TwoLayer(1.7, r=0.2, a=(0.59 + 0.2**2) ** 0.5)
    >>> print(f"{case.output(0.6):.12f}")
    1.322467244730
    """

    y: Numbers
    r: float
    a: float
    x: Numbers = 1.0
    sample_weights: Numbers = None

    def __post_init__(self) -> None:
        settle_samples(self, 1)
        for name in ("r", "a"):
            value = float_array(name, getattr(self, name))
            if value.ndim:
                raise ValueError(f"`{name}` must be a number, got shape {value.shape}.")
            put(self, **{name: float(value)})
        if abs(self.r) > self.a:
            raise ValueError(
                "`a` = E[u^2 + v^2] / 2 must be at least |r| = |E[u v]|, got a = "
                f"{self.a:g} and r = {self.r:g}."
            )

    @property
    def _curvature(self) -> float:
        """X = mean x^2."""
        return float(np.sum(self.sample_weights * self.x**2))

    @property
    def _optimum(self) -> float:
        """The r of least squares, mean x y / X; 0 where all inputs are zero."""
        force = float(np.sum(self.sample_weights * self.x * self.y))
        return force / self._curvature if force else 0.0

    def correlation(self, s: ArrayLike) -> Array:
        """r(s) = E[u v], shape s.shape."""
        s = training_times(s)
        sign = -1.0 if self.r < 0.0 else 1.0
        start = self.a + abs(self.r)
        if start == 0.0:
            return np.zeros(s.shape)
        k_square = (self.a - abs(self.r)) * start
        target = sign * self._optimum
        root = np.hypot(target, np.sqrt(k_square))
        if root == 0.0:
            moment = start / (1.0 + self._curvature * start * s)
        else:
            # P' = -X (P - upper)(P + lower); every sum is one of positive terms.
            far = abs(target) + root
            near = k_square / far
            upper, lower = (far, near) if target >= 0.0 else (near, far)
            exponent = -2.0 * self._curvature * root * s
            left, gone = np.exp(exponent), -np.expm1(exponent)
            moment = start * (upper + lower * left) + k_square * gone
            moment = moment / (start * gone + lower + upper * left)
        other = k_square / moment if k_square else 0.0
        return sign * 0.5 * (moment - other)

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`: o_i, shape s.shape + x.shape."""
        return np.multiply.outer(self.correlation(s), self.x)

    def second_moment(self, s: ArrayLike) -> Array:
        """M2 = E[u^2 + v^2] = 2 sqrt(r^2 + k^2), shape s.shape."""
        k_square = (self.a - self.r) * (self.a + self.r)
        return 2.0 * np.hypot(self.correlation(s), np.sqrt(k_square))

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`: M2 (X r - mean x y)^2."""
        slope = self._curvature * (self.correlation(s) - self._optimum)
        return self.second_moment(s) * slope**2

    def late_rate(self) -> float:
        """Rate at which E falls to its minimum, 4 X sqrt(r_*^2 + k^2)."""
        k_square = (self.a - self.r) * (self.a + self.r)
        return 4.0 * self._curvature * float(np.hypot(self._optimum, np.sqrt(k_square)))


@dataclass(frozen=True, slots=True, eq=False)
class Bias(ExactCase):
    """f = theta in R^d (T5, T20): exact on every depth scheme, with ridge and noise.

    z_i(1) = x_i + thetabar, thetabar = int int theta drho dt, and with
    lambda(s) = ridge exp(-decay s), nu = temperature
    thetabar' = e - thetabar - 2 lambda thetabar, e = mean_i (y_i - x_i);
    the variance V of every component about thetabar obeys V' = -4 lambda V + 2 nu.
    Readout identity. With noise the number of particles is infinite.

    Parameters
    ----------
    x, y : array_like, shape (N, d)
        Inputs and targets.
    mean : array_like, shape (d,)
        thetabar at s = 0.
    variance : number or array_like of shape (d,), default 0
        Variance of theta over particles and depth, at s = 0.
    ridge, decay, temperature : number >= 0, default 0
        lambda0, gamma and nu of Eqs. (12) and (16).
    sample_weights : array_like of shape (N,), optional
        c_i with sum 1; default 1 / N.

    Examples
    --------
    >>> case = Bias([[0.4]], [[1.5]], [-0.3], ridge=0.7, decay=0.9)
    >>> print(f"{case.mean_at(1.3)[0]:.12f}")
    0.570543962844
    """

    x: Numbers
    y: Numbers
    mean: Numbers
    variance: Numbers = 0.0
    ridge: float = 0.0
    decay: float = 0.0
    temperature: float = 0.0
    sample_weights: Numbers = None

    def __post_init__(self) -> None:
        settle_samples(self, 2)
        shape = self.x.shape[1:]
        mean = float_array("mean", self.mean)
        if mean.shape != shape:
            raise ValueError(f"`mean` must have shape {shape}, got {mean.shape}.")
        variance = float_array("variance", self.variance)
        if variance.shape not in ((), shape):
            raise ValueError(
                f"`variance` must be a number or have shape {shape}, got "
                f"{variance.shape}."
            )
        if variance.min() < 0.0:
            raise ValueError(
                f"`variance` must not be negative, got {variance.min():g}."
            )
        put(self, mean=mean, variance=np.broadcast_to(variance, shape))
        for name in ("ridge", "decay", "temperature"):
            put(self, **{name: check_not_negative(name, getattr(self, name))})

    @property
    def gap(self) -> Array:
        """e = mean_i (y_i - x_i), shape (d,): the minimiser without ridge."""
        return self.sample_weights @ (self.y - self.x)

    def mean_at(self, s: ArrayLike) -> Array:
        """thetabar(s), shape s.shape + (d,)."""
        return trajectory(self._mean_rate, self.mean, s)

    def variance_at(self, s: ArrayLike) -> Array:
        """Variance of every component over particles and depth, s.shape + (d,)."""

        def rate(s: float, variance: Array) -> Array:
            return -4.0 * self._ridge(s) * variance + 2.0 * self.temperature

        return trajectory(rate, self.variance, s)

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`; shape s.shape + (N, d)."""
        return self.x + self.mean_at(s)[..., np.newaxis, :]

    def second_moment(self, s: ArrayLike) -> Array:
        """M2 = int int |theta|^2 drho dt, Eq. (12), shape s.shape."""
        return np.sum(self.mean_at(s) ** 2 + self.variance_at(s), axis=-1)

    def objective(self, s: ArrayLike) -> Array:
        """E_s = E + lambda(s) M2, Eq. (12), shape s.shape."""
        return self.loss(s) + self._ridge(s) * self.second_moment(s)

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`; the noise has no part in it."""
        s = training_times(s)
        drift = self._mean_rate(s[..., np.newaxis], self.mean_at(s))
        scatter = (2.0 * self._ridge(s)) ** 2 * self.variance_at(s).sum(axis=-1)
        return np.sum(drift**2, axis=-1) + scatter

    def _ridge(self, s: ArrayLike) -> Array:
        return ridge_at(self.ridge, self.decay, s)

    def _mean_rate(self, s: ArrayLike, mean: Array) -> Array:
        return self.gap - (1.0 + 2.0 * self._ridge(s)) * mean
