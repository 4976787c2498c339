"""The matrix linear block f = Theta z (T7): any data, and whitened data in closed form.

t in [0, 1] is depth, s >= 0 is training time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from mfpde.arrays import Numbers, check_fields, float_array, instance
from mfpde.references.exact.closed import (
    MOST_LAYERS,
    Array,
    ExactCase,
    check_count,
    put,
    settle_samples,
    training_times,
    trajectory,
)
from mfpde.references.exact.scalar import ScalarLinear
from mfpde.references.exact.schemes import DepthScheme, Sweep, sweep, values_at_nodes


@dataclass(frozen=True, slots=True, eq=False)
class MatrixLinear(ExactCase):
    """f = Theta z in R^d (T7): dA_t/ds = -Q_t, Q_t = mean_i p_i z_i^T.

    A_t = int Theta drho_t is closed for every d, N, sample weights, law and number of
    particles, on every depth scheme; `DepthScheme.euler` gives the exact law of a
    finite network. Readout identity, no regulariser.

    Parameters
    ----------
    x, y : array_like, shape (N, d)
        Inputs and targets.
    start : array_like of shape (d, d) or (J, d, d), or callable; default zero
        A at s = 0. A callable takes t.
    depth : DepthScheme, default `DepthScheme.gauss(12)`
        The error of `gauss` falls geometrically in its nodes.
    sample_weights : array_like of shape (N,), optional
        c_i with sum 1; default 1 / N.

    Examples
    --------
    >>> case = MatrixLinear([[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [-1.0, 1.0]])
    >>> case.loss([0.0, 5.0]).round(6)
    array([1.5     , 0.052491])
    """

    x: Numbers
    y: Numbers
    start: Numbers | Callable[[float], Numbers] | None = None
    depth: DepthScheme = field(default_factory=lambda: DepthScheme.gauss(12))
    sample_weights: Numbers = None

    def __post_init__(self) -> None:
        settle_samples(self, 2)
        check_fields(self, depth=instance(DepthScheme))
        self._start()

    def finite_depth(self, n_layers: int) -> MatrixLinear:
        """Return the Euler network of `n_layers`."""
        return replace(self, depth=DepthScheme.euler(n_layers))

    def mean(self, s: ArrayLike) -> Array:
        """A at the nodes of `depth`, shape s.shape + (J, d, d)."""
        return trajectory(lambda _, a: -self._sweep(a).q, self._start(), s)

    def output(self, s: ArrayLike) -> Array:
        """See `ExactCase.output`; shape s.shape + (N, d)."""
        means = self.mean(s)
        found = [self._sweep(a).output for a in means.reshape(-1, *means.shape[-3:])]
        return np.reshape(found, (*means.shape[:-3], *self.x.shape))

    def gradient(self, s: ArrayLike) -> Array:
        """Q = mean_i p_i z_i^T at the nodes, shape s.shape + (J, d, d).

        tr Q^j, j = 1 .. d, does not depend on t in the limit of infinite depth. For
        Euler Q is mean p[l + 1] z[l]^T.
        """
        means = self.mean(s)
        found = [self._sweep(a).q for a in means.reshape(-1, *means.shape[-3:])]
        return np.reshape(found, means.shape)

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`: int |Q|^2 dt."""
        return np.sum(self.gradient(s) ** 2, axis=(-2, -1)) @ self.depth.weights

    def _start(self) -> Array:
        shape = (self.x.shape[1],) * 2
        start = np.zeros(shape) if self.start is None else self.start
        return values_at_nodes("start", start, self.depth, shape)

    def _sweep(self, a: Array) -> Sweep:
        return sweep(self.depth, a, self.x, self.y, self.sample_weights)


@dataclass(frozen=True, slots=True, eq=False)
class WhitenedLinear(ExactCase):
    """f = Theta z on whitened data with a symmetric target, from A(0) = 0 (T7).

    mean x x^T = I and y = Y x: A stays t-independent and diagonal in the eigenbasis of
    Y, where every eigenvalue u_i of the end-to-end map is a `ScalarLinear` case with
    x = 1 and target y_i. Negative y_i are out of reach, u_i -> 0 (T16). With
    `n_layers` it is the exact law of the Euler network.

    Parameters
    ----------
    target : array_like, shape (d, d)
        Y, symmetric.
    n_layers : int, optional
        L of a finite Euler network; None is the limit of infinite depth.

    Examples
    --------
    >>> case = WhitenedLinear([[2, 0.3, 0], [0.3, 1.5, 0.2], [0, 0.2, 0.8]])
    >>> case.eigenvalues(1.0).round(8)
    array([0.85375925, 1.30962124, 2.07384411])
    """

    target: Numbers
    n_layers: int | None = None
    x: Array = field(init=False)
    y: Array = field(init=False)
    sample_weights: Array = field(init=False)

    def __post_init__(self) -> None:
        target = float_array("target", self.target)
        d = len(target) if target.ndim else 0
        if target.shape != (d, d) or not d:
            raise ValueError(f"`target` must have shape (d, d), got {target.shape}.")
        if np.abs(target - target.T).max() > 1e-12 * np.abs(target).max():
            raise ValueError(
                "`target` must be symmetric: only then do all matrices commute. Use "
                "`MatrixLinear` for other targets."
            )
        if self.n_layers is not None:
            put(self, n_layers=check_count("n_layers", self.n_layers, MOST_LAYERS))
        x = np.sqrt(d) * np.eye(d)
        weights = np.full(d, 1.0 / d)
        put(self, target=target, x=x, y=x @ target.T, sample_weights=weights)

    def finite_depth(self, n_layers: int) -> WhitenedLinear:
        """Return the Euler network of `n_layers`."""
        return replace(self, n_layers=n_layers)

    def eigenvalues(self, s: ArrayLike) -> Array:
        """u_i(s), in the order of the eigenvalues of Y, shape s.shape + (d,)."""
        return np.stack([case.output(s) for case in self._scalars()], axis=-1)

    def end_map(self, s: ArrayLike) -> Array:
        """The matrix of x -> z(1), shape s.shape + (d, d)."""
        vectors = np.linalg.eigh(self.target)[1]
        return (vectors * self.eigenvalues(s)[..., None, :]) @ vectors.T

    def output(self, s: ArrayLike) -> Array:
        """z(1) for the d inputs `x` = sqrt(d) e_i, shape s.shape + (d, d)."""
        return self.x @ np.swapaxes(self.end_map(s), -1, -2)

    def dissipation(self, s: ArrayLike) -> Array:
        """See `ExactCase.dissipation`."""
        s = training_times(s)
        return np.sum([case.dissipation(s) for case in self._scalars()], axis=0)

    def final_loss(self) -> float:
        """Limit of E as s -> inf: half the sum of squares of the negative y_i."""
        values = np.linalg.eigvalsh(self.target)
        return 0.5 * float(np.sum(np.minimum(values, 0.0) ** 2))

    def _scalars(self) -> list[ScalarLinear]:
        values = np.linalg.eigvalsh(self.target)
        return [ScalarLinear(1.0, y, n_layers=self.n_layers) for y in values]
