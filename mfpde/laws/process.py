"""Gaussian processes in depth, as finite sums of fixed smooth functions of t."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import float_array
from mfpde.describe import register
from mfpde.laws.elementary import ParameterLaw, settle_fields
from mfpde.laws.parameters import Parameter, is_zero, mean_and_std

SHORTEST_LENGTH = 0.01
VARIANCE_LEFT_OUT = 1e-13  # relative; covariances are then right to about 1e-12


@register(kind="law", name="gaussian_process")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GaussianProcess(ParameterLaw):
    """Independent Gaussian processes in t with squared-exponential covariance.

    Cov(theta_c(t), theta_c(t')) = std_c(t) std_c(t') exp(-(t - t')^2 / (2 length^2))
    for each parameter c, to 1e-12 of the variance. Paths are analytic in t, and
    the same random numbers give the same path on every depth grid.

    Parameters
    ----------
    mean : number, array_like of shape (k,), or callable of t
        Mean, as for `Gaussian`.
    std : number, array_like of shape (k,), or callable of t
        Standard deviation, as for `Gaussian`.
    length : float
        Correlation length in t, at least 0.01. Below the distance of the nodes
        the draws are practically independent: use coupling "layer" there.
    n_params : int, optional
        k, needed where no shape shows it; default 1.

    Notes
    -----
    The covariance is decomposed once at n Chebyshev nodes, K = V V^T with
    V = U sqrt(Lambda), small eigenvalues are dropped, and each column of V is
    continued to all t by Chebyshev interpolation. Then theta(t) = mean(t) +
    std(t) sum_r xi_r phi_r(t), xi_r independent standard normal. Unlike a Nystrom
    extension, nothing is divided by a small eigenvalue.
    """

    mean: Parameter = 0.0
    std: Parameter = 1.0
    length: float = 0.5
    n_params: int | None = None
    # Chebyshev coefficients of phi_r, shape (n, n_modes), largest variance first.
    coefficients: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        settle_fields(self, "mean", "std")
        mean_and_std(self.mean, self.std, np.zeros(1), self.n_params)
        length = float_array("length", self.length)
        if length.ndim != 0 or length < SHORTEST_LENGTH:
            raise ValueError(
                f"`length` must be one number, at least {SHORTEST_LENGTH}, got "
                f'{self.length!r}. For shorter lengths use coupling "layer".'
            )
        object.__setattr__(self, "length", float(length))
        object.__setattr__(self, "coefficients", _mode_coefficients(float(length)))

    @property
    def is_constant_in_t(self) -> bool:
        """Never."""
        return False

    @property
    def n_modes(self) -> int:
        """Number of functions phi_r in the expansion."""
        return self.coefficients.shape[1]

    @property
    def n_random(self) -> int:
        """Random numbers per particle: k for each mode, first mode first."""
        return self.n_params * self.n_modes

    def modes(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Functions phi_r at the depths t, of a process with std = 1.

        Parameters
        ----------
        t : ndarray, shape (n,)
            Depths in [0, 1].

        Returns
        -------
        phi : ndarray, shape (n, n_modes)
            phi phi^T is the correlation matrix.
        """
        t = np.asarray(t, dtype=np.float64)
        if t.min() < 0.0 or t.max() > 1.0:
            raise ValueError(
                f"`t` (depth) must lie in [0, 1], got values from {t.min():g} to "
                f"{t.max():g}."
            )
        # One angle for all degrees: backward stable, the recurrence is not.
        angle = np.arccos(2.0 * t - 1.0)
        return np.cos(np.outer(angle, np.arange(len(self.coefficients)))) @ (
            self.coefficients
        )

    @property
    def base_variables(self) -> tuple[str, ...]:
        """All standard normal."""
        return ("normal",) * self.n_random

    @property
    def is_symmetric(self) -> bool:
        """Whether the mean is zero."""
        return is_zero(self.mean)

    def base_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.base_paths`."""
        mean, std = mean_and_std(self.mean, self.std, t, self.n_params)
        xi = xi.reshape(len(xi), self.n_modes, self.n_params)
        waves = np.tensordot(self.modes(t), xi, axes=(1, 1))
        return mean[:, np.newaxis] + std[:, np.newaxis] * waves


def _mode_coefficients(length: float) -> NDArray[np.float64]:
    """Chebyshev coefficients of the modes of the correlation, (n, n_modes)."""
    # In Chebyshev degree n the kernel falls like exp(-2 (n length)^2).
    n = 24 + math.ceil(4.5 / length)
    angle = np.pi * (np.arange(n) + 0.5) / n
    t = 0.5 * (1.0 + np.cos(angle))
    exponent = 0.5 * ((t[:, np.newaxis] - t) / length) ** 2
    # exp(-80) is zero to rounding; smaller values would only underflow.
    variances, vectors = np.linalg.eigh(np.exp(-np.minimum(exponent, 80.0)))
    variances, vectors = variances[::-1], vectors[:, ::-1]
    at_nodes = vectors * np.sqrt(np.maximum(variances, 0.0))
    at_nodes *= np.where(at_nodes[0] < 0.0, -1.0, 1.0)  # sign fixed at t near 1
    # left_out[j, r]: variance at node j in modes r, r + 1, ...
    left_out = np.cumsum(at_nodes[:, ::-1] ** 2, axis=1)[:, ::-1]
    n_modes = int(np.count_nonzero(left_out.max(axis=0) > VARIANCE_LEFT_OUT))
    cosines = np.cos(np.outer(np.arange(n), angle)) * (2.0 / n)
    cosines[0] *= 0.5
    return float_array("coefficients", cosines @ at_nodes[:, :n_modes])
