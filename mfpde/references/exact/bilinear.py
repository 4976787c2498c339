"""Scalar bilinear flow f = v u z (T3): two moments of every layer are closed.

x and y are numbers (one sample) or have shape (N,); values have shape s.shape + x.shape
for outputs and s.shape else. t in [0, 1] is depth, s >= 0 is training time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import Numbers, checked, number
from mfpde.references.exact.closed import (
    MOST_LAYERS,
    Array,
    check_count,
    mean_over_samples,
    put,
    settle_samples,
    trajectory,
)
from mfpde.references.exact.layers import LayerCase, common, per_layer


@dataclass(frozen=True, slots=True, eq=False)
class ScalarBilinear(LayerCase):
    """f = v u z with d = 1 (T3): r = E[u v] and a = E[u^2 + v^2] / 2 are closed.

    z_i(1) = x_i e^r, c = mean_i z_i(1) (z_i(1) - y_i), r' = -2 a c, a' = -2 r c, so
    that a^2 - r^2 = k^2 is conserved. With `n_layers` it is the exact law of the Euler
    network with moments (r_l, a_l), for any number of particles. Readout identity, any
    number of samples; moments that do not depend on t in the limit of infinite depth.

    Parameters
    ----------
    x, y : number or array_like of shape (N,)
        Inputs and targets.
    a : number, or array_like of shape (n_layers,) with `n_layers`
        E[u^2 + v^2] / 2 at s = 0.
    r : as `a`, default 0
        E[u v] at s = 0; |r| <= a.
    sample_weights : array_like of shape (N,), optional
        c_i with sum 1; default 1 / N.
    n_layers : int, optional
        L of a finite Euler network; None is the limit of infinite depth.

    Examples
    --------
    >>> case = ScalarBilinear.gaussian(1.3, 2.0, sigma=0.7)
    >>> print(f"{case.output(1.0):.12f} {case.second_moment(1.0):.9f}")
    1.982636171334 1.293425306
    """

    x: Numbers
    y: Numbers
    a: Numbers
    r: Numbers = 0.0
    sample_weights: Numbers = None
    n_layers: int | None = None

    def __post_init__(self) -> None:
        settle_samples(self, 1)
        if self.n_layers is not None:
            put(self, n_layers=check_count("n_layers", self.n_layers, MOST_LAYERS))
        put(
            self,
            a=per_layer("a", self.a, self.n_layers),
            r=per_layer("r", self.r, self.n_layers),
        )
        if (np.abs(self.r) > self.a).any():
            raise ValueError(
                "`a` = E[u^2 + v^2] / 2 must be at least |r| = |E[u v]|, got a = "
                f"{self.a} and r = {self.r}."
            )

    @classmethod
    @checked(sigma=number(above=0.0, most=1e154))
    def gaussian(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        sigma: float,
        *,
        sample_weights: ArrayLike | None = None,
    ) -> ScalarBilinear:
        """Start of u and v independent with E u^2 = E v^2 = sigma^2, means zero."""
        return cls(x, y, sigma * sigma, sample_weights=sample_weights)

    def finite_depth(self, n_layers: int) -> ScalarBilinear:
        """Return the Euler network of `n_layers`, with equal moments in every layer."""
        a, r = common("a", self.a), common("r", self.r)
        return replace(self, a=a, r=r, n_layers=n_layers)

    def moments(self, s: ArrayLike) -> tuple[Array, Array]:
        """r and a at training time s; s.shape, with `n_layers` s.shape + (L,)."""
        found = self._flow(s)
        if self.n_layers is None:
            found = found[..., 0]
            return found[..., 0], found[..., 1]
        return found[..., 0, :], found[..., 1, :]

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`."""
        return self.end_states(self._flow(s)[..., 0, :])

    def second_moment(self, s: ArrayLike) -> Array:
        """M2 = int int |theta|^2 drho dt = 2 int a dt, Eq. (12)."""
        return 2.0 * self._flow(s)[..., 1, :].mean(axis=-1)

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`: int c^2 E[u^2 + v^2] dt."""
        r, a = np.moveaxis(self._flow(s), -2, 0)
        c = self._descent(r)
        return np.mean(2.0 * a * c**2, axis=-1)

    def late_rate(self) -> float:
        """Rate of E near its zero, 4 y^2 sqrt(k^2 + ln^2(y / x)); one sample, L = inf.

        Raises
        ------
        ValueError
            With several samples, finite depth, or y / x <= 0, where E has no zero.
        """
        if self.n_layers is not None or self.x.size != 1 or self.x * self.y <= 0.0:
            raise ValueError(
                "`late_rate` needs one sample with y / x > 0 and infinite depth, got "
                f"x = {self.x}, y = {self.y}, n_layers = {self.n_layers}."
            )
        x, y, a, r = (value.item() for value in (self.x, self.y, self.a, self.r))
        return 4.0 * y**2 * float(np.sqrt(a**2 - r**2 + np.log(y / x) ** 2))

    def width_constant(self, s: ArrayLike) -> Array:
        """Limit of sqrt(M) std z(1), tied normal particles, L = inf, as M -> inf.

        theta ~ N(0, sigma^2 I) gives the sampled r and a the variance sigma^4 / M
        each, without correlation; the derivatives of z(1) in both are integrated with
        the moments. Independent layers have the same limit for sqrt(L M) std, as
        L, M -> inf. Assumes the start of `gaussian`.

        Returns
        -------
        constant : ndarray, shape s.shape + x.shape
        """
        if self.n_layers is not None or self.r.any():
            raise ValueError(
                "`width_constant` needs the start of `ScalarBilinear.gaussian` and "
                f"infinite depth, got r = {self.r}, n_layers = {self.n_layers}."
            )

        def rate(_: float, y: Array) -> Array:
            (r, a), (dr, da) = y[:, 0], y[:, 1:]
            z = self.x * np.exp(r)
            c = mean_over_samples(z * (z - self.y), self.sample_weights)
            dc = mean_over_samples(z * (2 * z - self.y), self.sample_weights) * dr
            return -2.0 * np.array(
                [[a * c, *(a * dc + c * da)], [r * c, *(r * dc + c * dr)]]
            )

        start = np.array([[0.0, 1.0, 0.0], [self.a[0], 0.0, 1.0]])
        r, d_r, d_a = np.moveaxis(trajectory(rate, start, s)[..., 0, :], -1, 0)
        constant = self.a[0] * np.exp(r) * np.hypot(d_r, d_a)
        return np.multiply.outer(constant, np.abs(self.x))

    def _flow(self, s: ArrayLike) -> Array:
        """r and a in rows: s.shape + (2, L), or (2, 1) for infinite depth."""

        def rate(_: float, y: Array) -> Array:
            r, a = y
            minus_c = self._descent(r)
            return 2.0 * np.array([a * minus_c, r * minus_c])

        return trajectory(rate, [self.r, self.a], s)
