"""Covariance closure of the bilinear block, and the Bures distance (T13).

t in [0, 1] is depth, s >= 0 is training time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import (
    Numbers,
    check_fields,
    check_positive,
    checked,
    float_array,
    instance,
    number,
)
from mfpde.references.exact.closed import (
    Array,
    ExactCase,
    check_count,
    check_not_negative,
    ridge_at,
    settle_samples,
    training_times,
    trajectory,
)
from mfpde.references.exact.schemes import DepthScheme, Sweep, sweep, values_at_nodes


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The state of the closure at training times of shape S.

    Attributes
    ----------
    s : ndarray, shape S
    depth : DepthScheme
        J nodes in depth.
    covariance : ndarray, shape S + (J, 2d, 2d)
        Sigma = int theta theta^T drho at the nodes; blocks uu, uv; vu, vv.
    output : ndarray, shape S + (N, d)
        z_i(1).
    loss, second_moment, objective, dissipation : ndarray, shape S
        E of (3), M2 and E_s of (12), D_s of (14).
    q : ndarray, shape S + (J, d, d)
        Q = mean_i p_i z_i^T at the nodes; for Euler mean p[l + 1] z[l]^T.
    """

    s: Array
    depth: DepthScheme
    covariance: Array
    output: Array
    loss: Array
    second_moment: Array
    objective: Array
    dissipation: Array
    q: Array

    @property
    def a(self) -> Array:
        """A = Sigma^{vu} of dz/dt = A z at the nodes, shape S + (J, d, d)."""
        d = self.covariance.shape[-1] // 2
        return self.covariance[..., d:, :d]

    def covariance_at(self, t: ArrayLike) -> Array:
        """Sigma at depths t, S + t.shape + (2d, 2d); needs one Gauss element."""
        axis = self.s.ndim
        first = np.moveaxis(self.covariance, axis, 0)
        found = self.depth.at_depth(first, t)
        n = np.ndim(t)
        return np.moveaxis(found, range(n), range(axis, axis + n))

    def invariants(self) -> Array:
        """tr (J Sigma)^j, j = 1 .. 2d, J = diag(I, -I): shape S + (J, 2d).

        Constant in s without ridge and noise, for continuous s.
        """
        size = self.covariance.shape[-1]
        signs = np.repeat([1.0, -1.0], size // 2)
        first = signs[:, None] * self.covariance
        traces, power = [], np.eye(size)
        for _ in range(size):
            power = power @ first
            traces.append(np.trace(power, axis1=-2, axis2=-1))
        return np.stack(traces, axis=-1)

    @checked(sigma=number(above=0.0, below=1e150))
    def certified_dissipation(self, sigma: float) -> Array:
        """Lower bound 2 sigma^2 int |Q|^2 dt of D in Eq. (33), shape S.

        For the start Sigma = sigma^2 I, without ridge and noise; equality at s = 0.
        """
        squares = np.sum(self.q**2, axis=(-2, -1))
        return 2.0 * sigma**2 * squares @ self.depth.weights


@dataclass(frozen=True, slots=True, eq=False)
class BilinearMoments(ExactCase):
    """f = v (u.z), theta = (u, v) in R^{2d} (T13): Sigma_t is closed, Eq. (32).

    dSigma/ds = B Sigma + Sigma B^T + 2 nu I, B = -[[0, Q^T], [Q, 0]] - 2 lambda(s) I,
    for every d, N, sample weights, law of the particles and number of them (with noise:
    infinitely many). Readout identity. On `DepthScheme.euler` it is the exact law of a
    finite network, on `rk4` and `midpoint` that of these schemes; `gauss` stands for
    infinite depth with an error that falls geometrically in its nodes (10 nodes give
    1e-10 on the golden data of T13; compare two numbers of nodes on others).

    Parameters
    ----------
    x, y : array_like, shape (N, d)
        Inputs and targets.
    covariance : array_like of shape (2d, 2d) or (J, 2d, 2d), or callable
        Sigma at s = 0: int theta theta^T drho, not centred. A callable takes t.
    ridge, decay, temperature : number >= 0, default 0
        lambda0, gamma and nu: lambda(s) = lambda0 exp(-gamma s), Eqs. (12), (16).
    depth : DepthScheme, default `DepthScheme.gauss(12)`
    sample_weights : array_like of shape (N,), optional
        c_i with sum 1; default 1 / N.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = [[1, 0], [0, 1], [1, 1]], [[0, 1], [-1, 0], [0.5, -0.5]]
    >>> case = BilinearMoments(x, y, np.eye(4))
    >>> case.loss([0.25, 0.5]).round(10)
    array([0.75531315, 0.62502726])
    """

    x: Numbers
    y: Numbers
    covariance: Numbers | Callable[[float], Numbers]
    ridge: float = 0.0
    decay: float = 0.0
    temperature: float = 0.0
    depth: DepthScheme = field(default_factory=lambda: DepthScheme.gauss(12))
    sample_weights: Numbers = None

    def __post_init__(self) -> None:
        settle_samples(self, 2)
        names = ("ridge", "decay", "temperature")
        check_fields(self, **dict.fromkeys(names, check_not_negative))
        check_fields(self, depth=instance(DepthScheme))
        _check_covariance("covariance", self._start())

    def finite_depth(self, n_layers: int) -> BilinearMoments:
        """Return the Euler network of `n_layers`."""
        return replace(self, depth=DepthScheme.euler(n_layers))

    def flow(self, s: ArrayLike) -> Moments:
        """All moments at training times s, with one integration."""
        s = training_times(s)

        def rate(s: float, sigma: Array) -> Array:
            b = self._generator(s, self._sweep(sigma).q)
            half = b @ sigma
            return half + np.swapaxes(half, -1, -2) + self._noise

        return self._describe(s, trajectory(rate, self._start(), s))

    def descend(self, ds: float, n_steps: int) -> Moments:
        """Gradient descent: `n_steps` explicit Euler steps of size ds, exactly.

        Sigma <- T Sigma T^T + 2 nu ds I with T = I + ds B. Returns the last state.
        """
        check_positive("ds", ds)
        sigma = self._start()
        for step in range(check_count("n_steps", n_steps)):
            b = self._generator(step * ds, self._sweep(sigma).q)
            map_ = np.eye(b.shape[-1]) + ds * b
            sigma = map_ @ sigma @ np.swapaxes(map_, -1, -2) + ds * self._noise
        return self._describe(np.asarray(n_steps * ds), sigma)

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`; shape s.shape + (N, d)."""
        return self.flow(s).output

    def second_moment(self, s: ArrayLike) -> Array:
        """M2 = int int |theta|^2 drho dt, Eq. (12)."""
        return self.flow(s).second_moment

    def objective(self, s: ArrayLike) -> Array:
        """E_s = E + lambda(s) M2, Eq. (12)."""
        return self.flow(s).objective

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`: int tr (B Sigma B^T) dt."""
        return self.flow(s).dissipation

    @property
    def _noise(self) -> Array:
        return 2.0 * self.temperature * np.eye(2 * self.x.shape[1])

    def _start(self) -> Array:
        shape = (2 * self.x.shape[1],) * 2
        return values_at_nodes("covariance", self.covariance, self.depth, shape)

    def _sweep(self, sigma: Array) -> Sweep:
        d = self.x.shape[1]
        a = sigma[:, d:, :d]
        return sweep(self.depth, a, self.x, self.y, self.sample_weights)

    def _generator(self, s: float, q: Array) -> Array:
        """B of Eq. (32) at the nodes, (J, 2d, 2d)."""
        zero = np.zeros_like(q)
        off_diagonal = np.block([[zero, np.swapaxes(q, -1, -2)], [q, zero]])
        ridge = ridge_at(self.ridge, self.decay, s)
        return -off_diagonal - 2.0 * ridge * np.eye(off_diagonal.shape[-1])

    def _describe(self, s: Array, sigma: Array) -> Moments:
        """The moments that belong to covariances S + (J, 2d, 2d) at times s."""
        output = np.empty((*s.shape, *self.x.shape))
        loss, dissipation = np.empty(s.shape), np.empty(s.shape)
        q = np.empty((*sigma.shape[:-2], *(self.x.shape[1],) * 2))
        for place in np.ndindex(s.shape):
            output[place], loss[place], q[place] = self._sweep(sigma[place])
            b = self._generator(float(s[place]), q[place])
            rate = np.einsum("jab,jbc,jac->j", b, sigma[place], b)
            dissipation[place] = self.depth.weights @ rate
        moment = np.trace(sigma, axis1=-2, axis2=-1) @ self.depth.weights
        objective = loss + ridge_at(self.ridge, self.decay, s) * moment
        return Moments(
            s, self.depth, sigma, output, loss, moment, objective, dissipation, q
        )


def bures_distance(first: ArrayLike, second: ArrayLike) -> Array:
    """W2 between centred normal laws with these covariances (Bures, T13).

    The smallest |first^{1/2} - second^{1/2} U| over orthogonal U: small distances
    between regular matrices keep all their digits.

    Parameters
    ----------
    first, second : array_like, shape (..., k, k)
        Covariances, for example `Moments.covariance` of one run at two times.

    Returns
    -------
    distance : ndarray, shape (...)

    Examples
    --------
    >>> bures_distance([[4.0]], [[1.0]])
    array(1.)
    """
    roots = []
    for name, value in (("first", first), ("second", second)):
        matrix = float_array(name, value)
        _check_covariance(name, matrix)
        values, vectors = np.linalg.eigh(matrix)
        scaled = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        roots.append(scaled @ np.swapaxes(vectors, -1, -2))
    if roots[0].shape[-1] != roots[1].shape[-1]:
        raise ValueError(
            f"`first` and `second` must have the same size, got {roots[0].shape[-1]} "
            f"and {roots[1].shape[-1]}."
        )
    left, _, right = np.linalg.svd(np.swapaxes(roots[1], -1, -2) @ roots[0])
    return np.asarray(np.linalg.norm(roots[0] - roots[1] @ left @ right, axis=(-2, -1)))


def _check_covariance(name: str, value: Array) -> None:
    """Raise unless matrices (..., k, k) are symmetric and not negative, to rounding."""
    if value.ndim < 2 or value.shape[-1] != value.shape[-2]:
        raise ValueError(f"`{name}` must have shape (..., k, k), got {value.shape}.")
    scale = np.abs(value).max()
    asymmetry = np.abs(value - np.swapaxes(value, -1, -2)).max()
    if asymmetry > 1e-12 * scale:
        raise ValueError(
            f"`{name}` must be symmetric, got entries that differ by {asymmetry:.3g}."
        )
    smallest = np.linalg.eigvalsh(value).min()
    if smallest < -1e-12 * scale:
        raise ValueError(
            f"`{name}` must have no negative eigenvalue, got {smallest:.3g}."
        )
