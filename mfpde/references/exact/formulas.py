"""Formulas: sampling (T1, T9), depth (T1, T8), tau laws (T10), bounds, infima (T16).

t in [0, 1] is depth. Values beyond the range of float64 are inf.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad

from mfpde.arrays import (
    a_float,
    a_function,
    checked,
    float_array,
    number,
    positive,
)
from mfpde.references.exact.closed import check_count, check_not_negative


@checked(x=number(), mean=number())
def scalar_sampling(
    x: float,
    mean: float,
    std: float,
    n_particles: int,
    n_layers: int | None = None,
) -> tuple[float, float]:
    """Mean and variance of z(1) of f = theta z with sampled theta ~ N(mean, std^2), T1.

    Parameters
    ----------
    x : float
        Input.
    mean, std : float
        Of the law, the same at all depths.
    n_particles : int
        M.
    n_layers : int, optional
        L of an Euler network with draws independent over layers. None: infinite depth
        with tied draws.

    Examples
    --------
    >>> mean, variance = scalar_sampling(1.3, 0.4, 0.9, n_particles=6)
    >>> print(f"{mean:.6f} {variance:.6f}")
    2.074799 0.622201
    """
    noise = check_not_negative("std", std)
    noise *= noise / check_count("n_particles", n_particles)
    if n_layers is None:
        first = x * np.exp(mean + 0.5 * noise)
        return float(first), float(first**2 * np.expm1(noise))
    n = check_count("n_layers", n_layers)
    factor = 1.0 + mean / n
    if factor == 0.0:
        return 0.0, float(x**2 * (noise / n**2) ** n)
    # q^L - f^(2 L) = f^(2 L) ((1 + noise / (L f)^2)^L - 1), q the mean square.
    first = x * factor**n
    return float(first), float(
        first**2 * _power_minus_one(noise / (n * factor) ** 2, n)
    )


@checked(x=number(), path=a_function)
def left_position_coefficient(x: float, path: Callable[[float], float]) -> float:
    """Limit of L (z_L - z(1)) for f = a(t) z on Euler layers at t_l = l / L (T1).

    x e^A [(a(0) - a(1)) / 2 - int a^2 / 2], A = int a. Forward pass, no training.

    Parameters
    ----------
    x : float
        Input.
    path : callable
        a(t), smooth on [0, 1]; takes and returns a float.
    """

    def path_at(t: float) -> float:
        return a_float("path", path(t))

    area = quad(path_at, 0.0, 1.0, epsabs=1e-13, epsrel=1e-13)[0]
    square = quad(lambda t: path_at(t) ** 2, 0.0, 1.0, epsabs=1e-13, epsrel=1e-13)[0]
    ends = path_at(0.0) - path_at(1.0)
    return float(x * np.exp(area) * 0.5 * (ends - square))


def bilinear_displacement(
    d: int, std_u: float, std_v: float, n_layers: int, n_particles: int
) -> float:
    """E|z_L - z_0|^2 / |z_0|^2 of f = v (u.z), entries independent normal (T9).

    u ~ N(0, std_u^2), v ~ N(0, std_v^2), independent over layers and particles; Euler.

    Examples
    --------
    >>> print(f"{bilinear_displacement(3, 0.8, 1.1, n_layers=8, n_particles=4):.7f}")
    0.0749483
    """
    spread = check_not_negative("std_u", std_u) * check_not_negative("std_v", std_v)
    kappa = check_count("d", d) * spread * spread
    n_layers = check_count("n_layers", n_layers)
    n_particles = check_count("n_particles", n_particles)
    return _power_minus_one(kappa / (n_layers**2 * n_particles), n_layers)


def tau_growth(n_layers: int, tau: float) -> float:
    """E|h_L|^2 / |h_0|^2 = (1 + tau^2)^L of h <- (I + tau W) h (T10).

    W_ij ~ N(0, 1 / width), independent over layers; any width.
    """
    tau = check_not_negative("tau", tau)
    return _power(tau * tau, n_layers)


def tau_log_law(width: int, tau0: float) -> tuple[float, float]:
    """Mean and variance of the normal limit of ln |h_L|^2 / |h_0|^2 (T10).

    As `tau_growth`, tau = tau0 / sqrt(L) and L -> inf.

    Examples
    --------
    >>> tau_log_law(8, 1.0)
    (0.75, 0.5)
    """
    width = check_count("width", width)
    tau0 = check_not_negative("tau0", tau0)
    square = tau0 * tau0
    return square * (1.0 - 2.0 / width), 4.0 * square / width


@checked(exponent=number())
def tau_perceptron_growth(n_layers: int, exponent: float) -> float:
    """E|h_L|^2 / |h_0|^2 of h <- h + L^-exponent V ReLU(U h), T10.

    Entries of V and U normal with variance 1 / width, independent over layers:
    (1 + 1 / (2 L^(2 exponent)))^L.

    Examples
    --------
    >>> print(f"{tau_perceptron_growth(100, 0.5):.5f}")
    1.64667
    """
    n_layers = check_count("n_layers", n_layers)
    return _power(0.5 * np.float64(n_layers) ** (-2.0 * exponent), n_layers)


def tau_relu_bounds(n_layers: int, tau: float) -> tuple[float, float]:
    """Bounds (31) of E|h_L|^2 / |h_0|^2 for h <- ReLU(h + tau W h), h_0 >= 0.

    W_ij ~ N(0, 2 / width), independent over layers:
    (1 + tau^2)^L and (1 + 2 tau^2)^L.
    """
    tau = check_not_negative("tau", tau)
    square = tau * tau
    return _power(square, n_layers), _power(2.0 * square, n_layers)


def near_two_layer_bound(largest_field: float, largest_slope: float) -> float:
    """Right side B (e^K - 1 - K) / K of Eq. (21).

    It bounds |z(1) - x - int F(x, t) dt|, see T8.

    Parameters
    ----------
    largest_field : float
        B = sup_t |F(x, t)|.
    largest_slope : float
        K, with |d_z F| <= K on the tube of the trajectory.
    """
    b = check_not_negative("largest_field", largest_field)
    k = check_not_negative("largest_slope", largest_slope)
    if k > 0.5:
        return b * float(np.expm1(k) - k) / k
    # The series, where the difference would lose its digits.
    total, term = 0.0, 1.0
    for n in range(2, 20):
        term *= k / n
        total += term
    return b * total


def near_two_layer_limit(field: ArrayLike, slope: ArrayLike) -> float:
    """Limit |d_z F(x) F(x)| / 2 of |z(1) - x - eps F(x)| / eps^2, eps -> 0 (T8).

    For f = eps F with F autonomous.

    Parameters
    ----------
    field : array_like, shape (d,)
        F(x).
    slope : array_like, shape (d, d)
        d_z F(x).
    """
    field, slope = float_array("field", field), float_array("slope", slope)
    if field.ndim != 1 or slope.shape != (*field.shape, *field.shape):
        raise ValueError(
            "`field` and `slope` must have shapes (d,) and (d, d), got "
            f"{field.shape} and {slope.shape}."
        )
    return 0.5 * float(np.linalg.norm(slope @ field))


@checked(delta=positive)
def order_reversal_infimum(delta: float) -> float:
    """Infimum delta^2 / 8 of E for x = -+delta / 2, y = +-delta / 2, d = 1 (T16).

    z(1) is increasing in x for every field; the infimum is not attained.
    """
    return 0.125 * delta * delta


def orientation_infimum(target: ArrayLike) -> float:
    """Infimum of E over linear flows, whitened data, target matrix Y (T7, T16).

    The end-to-end map of a linear flow has a positive determinant: sigma_min(Y)^2 / 2
    for det Y < 0, else 0.

    Parameters
    ----------
    target : array_like, shape (d, d)
    """
    target = float_array("target", target)
    if target.ndim != 2 or target.shape[0] != target.shape[1]:
        raise ValueError(f"`target` must have shape (d, d), got {target.shape}.")
    if np.linalg.det(target) >= 0.0:
        return 0.0
    return 0.5 * float(np.linalg.norm(target, -2) ** 2)


def second_moment_bound(start: float, loss_drop: float, s: float) -> float:
    """Upper bound of M2(s), Eq. (15): sqrt M2(s) <= sqrt M2(0) + sqrt(s (E(0) - E(s))).

    Metric 1, no regulariser and no noise.

    Parameters
    ----------
    start : float
        M2(0).
    loss_drop : float
        E(0) - E(s).
    s : float
        Training time.
    """
    start = check_not_negative("start", start)
    drop = check_not_negative("loss_drop", loss_drop)
    return float((np.sqrt(start) + np.sqrt(check_not_negative("s", s) * drop)) ** 2)


@checked(sigma=positive)
def certified_rate(sigma: float, kappa: float, largest_a: float) -> float:
    """Rate 4 kappa sigma^2 e^{-2 B} of Eq. (33): d(E - E*)/ds <= -rate (E - E*).

    For f = v (u.z), no ridge and noise, from Sigma(0) = sigma^2 I.

    Parameters
    ----------
    sigma : float
        Standard deviation at s = 0.
    kappa : float
        Smallest eigenvalue of mean x x^T.
    largest_a : float
        B >= |A_t| (spectral norm) at all depths.
    """
    kappa = check_not_negative("kappa", kappa)
    largest_a = check_not_negative("largest_a", largest_a)
    return 4.0 * kappa * sigma * sigma * float(np.exp(-2.0 * largest_a))


def _power(excess: float, n_layers: int) -> float:
    """(1 + excess)^L, also for tiny excess and huge L."""
    exponent = check_count("n_layers", n_layers) * np.log1p(excess)
    return float(np.exp(exponent)) if exponent < 709.0 else float("inf")


def _power_minus_one(excess: float, n_layers: int) -> float:
    """(1 + excess)^L - 1 without cancellation."""
    exponent = n_layers * np.log1p(excess)
    return float(np.expm1(exponent)) if exponent < 709.0 else float("inf")
