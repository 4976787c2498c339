"""Scalar states through depth: f = theta z, f = v u z, f = theta z^2 (T1, T3, T18).

In all three cases p f(z) / theta is constant in depth, so that one or two moments of
every layer obey a closed system. x and y are numbers (one sample) or have shape (N,);
values have shape s.shape + x.shape for outputs and s.shape else. t in [0, 1] is depth,
s >= 0 is training time. Regulariser and noise are zero here; see `BilinearMoments`
(d = 1 allowed) and `Bias` for those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import check_positive, float_array
from mfpde.exact.closed import (
    Array,
    ExactCase,
    check_count,
    mean_over_samples,
    put,
    settle_samples,
    trajectory,
)


@dataclass(frozen=True, slots=True, eq=False)
class ScalarLinear(ExactCase):
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

    x: ArrayLike
    y: ArrayLike
    a: ArrayLike = 0.0
    sample_weights: ArrayLike | None = None
    n_layers: int | None = None

    def __post_init__(self) -> None:
        settle_samples(self, 1)
        if self.n_layers is not None:
            put(self, n_layers=check_count("n_layers", self.n_layers))
        put(self, a=_per_layer("a", self.a, self.n_layers))

    def finite_depth(self, n_layers: int) -> ScalarLinear:
        """Return the Euler network of `n_layers`, with the same mean in every layer."""
        return replace(self, a=_common("a", self.a), n_layers=n_layers)

    def mean(self, s: ArrayLike) -> Array:
        """A(s), shape s.shape; the layer means with `n_layers`, s.shape + (L,)."""
        means = trajectory(self._rate, self.a, s)
        return means[..., 0] if self.n_layers is None else means

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`."""
        growth = _growth(trajectory(self._rate, self.a, s), self.n_layers)[0]
        return np.multiply.outer(growth, self.x)

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
        return _descent(self, *_growth(means, self.n_layers))


@dataclass(frozen=True, slots=True, eq=False)
class ScalarBilinear(ExactCase):
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

    x: ArrayLike
    y: ArrayLike
    a: ArrayLike
    r: ArrayLike = 0.0
    sample_weights: ArrayLike | None = None
    n_layers: int | None = None

    def __post_init__(self) -> None:
        settle_samples(self, 1)
        if self.n_layers is not None:
            put(self, n_layers=check_count("n_layers", self.n_layers))
        put(
            self,
            a=_per_layer("a", self.a, self.n_layers),
            r=_per_layer("r", self.r, self.n_layers),
        )
        if (np.abs(self.r) > self.a).any():
            raise ValueError(
                "`a` = E[u^2 + v^2] / 2 must be at least |r| = |E[u v]|, got a = "
                f"{self.a} and r = {self.r}."
            )

    @classmethod
    def gaussian(
        cls,
        x: ArrayLike,
        y: ArrayLike,
        sigma: float,
        *,
        sample_weights: ArrayLike | None = None,
    ) -> ScalarBilinear:
        """Start of u and v independent with E u^2 = E v^2 = sigma^2, means zero."""
        check_positive("sigma", sigma)
        return cls(x, y, float(sigma) ** 2, sample_weights=sample_weights)

    def finite_depth(self, n_layers: int) -> ScalarBilinear:
        """Return the Euler network of `n_layers`, with equal moments in every layer."""
        a, r = _common("a", self.a), _common("r", self.r)
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
        growth = _growth(self._flow(s)[..., 0, :], self.n_layers)[0]
        return np.multiply.outer(growth, self.x)

    def second_moment(self, s: ArrayLike) -> Array:
        """M2 = int int |theta|^2 drho dt = 2 int a dt, Eq. (12)."""
        return 2.0 * self._flow(s)[..., 1, :].mean(axis=-1)

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`: int c^2 E[u^2 + v^2] dt."""
        r, a = np.moveaxis(self._flow(s), -2, 0)
        c = _descent(self, *_growth(r, self.n_layers))
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
            minus_c = _descent(self, *_growth(r, self.n_layers))
            return 2.0 * np.array([a * minus_c, r * minus_c])

        return trajectory(rate, [self.r, self.a], s)


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

    x: ArrayLike
    y: ArrayLike
    a: float = 0.0
    sample_weights: ArrayLike | None = None

    def __post_init__(self) -> None:
        settle_samples(self, 1)
        put(self, a=_per_layer("a", self.a, None)[0])
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
    largest = float(np.max(float_array("x", x) * float(a), initial=0.0))
    return 1.0 / largest if largest > 0.0 else np.inf


def _growth(means: Array, n_layers: int | None) -> tuple[Array, Array]:
    """z(1) / x, and L times its derivative in every layer's mean.

    `means` is (..., J), J = 1 for infinite depth; the results are (...) and (..., J).
    """
    if n_layers is None:
        growth = np.exp(means)
        return growth[..., 0], growth
    factors = 1.0 + means / n_layers
    # Products of all other factors, without a division: a factor may be zero.
    one = np.ones_like(factors[..., :1])
    before = np.cumprod(np.concatenate([one, factors[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([one, factors[..., :0:-1]], axis=-1), axis=-1)
    return factors.prod(axis=-1), before * after[..., ::-1]


def _descent(
    case: ScalarLinear | ScalarBilinear, growth: Array, slopes: Array
) -> Array:
    """-L dE / d(mean of a layer) of every layer, from `_growth`: -p[l + 1] z[l]."""
    z = np.multiply.outer(growth, case.x)
    force = mean_over_samples(case.x * (z - case.y), case.sample_weights)
    return -np.asarray(force)[..., np.newaxis] * slopes


def _per_layer(name: str, value: ArrayLike, n_layers: int | None) -> Array:
    """Moments of the layers, shape (n_layers,), or (1,) for infinite depth."""
    array = float_array(name, value)
    n = n_layers or 1
    if array.ndim > 1 or array.size not in (1, n):
        wanted = f"a number or have shape ({n},)" if n_layers else "a number"
        raise ValueError(
            f"`{name}` must be {wanted}, got shape {array.shape}; moments that differ "
            "between layers need `n_layers`."
        )
    return np.broadcast_to(array.ravel(), n)


def _common(name: str, values: Array) -> float:
    """The moment all layers share."""
    if np.ptp(values) > 0.0:
        raise ValueError(
            f"`{name}` differs between layers, so it has no meaning at another number "
            "of layers. Build the other network with moments of its own."
        )
    return float(values[0])
