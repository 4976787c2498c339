"""Helpers for the exact cases of the theory, and NumPy twins of the depth schemes.

t is depth, s is training time. The closed forms and closed systems themselves are
`mfpde.references.exact`. The twins use textbook tableaus and none of the code
under test; they also take complex states (a complex step gives tangents to rounding).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator

import mfpde

# Steps in s so small that only the rounding of the scheme in depth is left: errors of
# the flow to s = 1 are then 1e-12 to 1e-11 in the cases here.
TIGHT = {"rtol": 1e-12, "atol": 1e-13}


def integrate(rhs, start, s):
    """Values at the times s of y' = rhs(s, y), y(0) = start: (len(s), len(start))."""
    s = np.atleast_1d(np.asarray(s, dtype=float))
    start = np.atleast_1d(np.asarray(start, dtype=float))
    found = solve_ivp(
        rhs, (0.0, s[-1]), start, "DOP853", t_eval=s, rtol=1e-13, atol=1e-15
    )
    assert found.success
    return found.y.T


def flow(problem, grid, ensemble, times, **options):
    """Evaluations at the given times of the flow, by the package."""
    if options.get("stepper", "dopri5") == "dopri5":
        options = TIGHT | options
    wanted = [float(s) for s in np.atleast_1d(times)]
    states = mfpde.iterate(
        problem, grid, ensemble, s_end=wanted[-1], tstops=wanted, **options
    )
    return [state.evaluation for state in states if state.s in wanted]


def at(problem, grid, ensemble, s, **options):
    """Evaluation at training time s."""
    return flow(problem, grid, ensemble, [s], **options)[-1]


def slope(n, errors):
    """Least-squares order p of errors ~ n^-p, over at least four refinements."""
    assert len(n) >= 5, "four refinements are five levels"
    return -float(np.polyfit(np.log(n), np.log(np.abs(errors)), 1)[0])


def assert_order(n, errors, order, last):
    """The order within 0.1, and a bound on the last error."""
    observed = slope(n, errors)
    text = f"order {observed:.3f}, expected {order}; errors {errors}"
    assert abs(observed - order) <= 0.1, text
    assert abs(errors[-1]) <= last, text


def cosine_paths(grid, alpha, beta):
    """theta[j, m] = alpha_m + beta_m cos(pi t_j), (J, M, k)."""
    wave = np.cos(np.pi * grid.nodes)
    return alpha + beta * wave[:, np.newaxis, np.newaxis]


def in_depth(grid, values, t):
    """Values (J, ...) at the nodes of one Gauss element, continued to depths t."""
    flat = values.reshape(len(values), -1)
    continued = BarycentricInterpolator(grid.nodes, flat)(np.atleast_1d(t))
    return continued.reshape(-1, *values.shape[1:])


def fourth_order_difference(function, step=1e-3):
    """Derivative of function(e) at e = 0; error step^4 f''''' / 30."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return (8.0 * near - far) / (12.0 * step)


# NumPy twins

_TABLEAUS = {
    "euler": ([[0.0]], [1.0], [0.0]),
    "midpoint": ([[0.0, 0.0], [0.5, 0.0]], [0.0, 1.0], [0.5, 0.5]),
    "rk4": (
        [[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1.0, 0]],
        [1 / 6, 1 / 3, 1 / 3, 1 / 6],
        [0.0, 0.5, 0.5, 1.0],
    ),
    # Hammer and Hollingsworth: Gauss with two stages.
    "gauss": (
        [[1 / 4, 1 / 4 - math.sqrt(3) / 6], [1 / 4 + math.sqrt(3) / 6, 1 / 4]],
        [1 / 2, 1 / 2],
        [1 / 2 - math.sqrt(3) / 6, 1 / 2 + math.sqrt(3) / 6],
    ),
}
NODE = {
    "euler": lambda n: [[step] for step in range(n)],
    "midpoint": lambda n: [[step, step] for step in range(n)],
    "rk4": lambda n: [[2 * k, 2 * k + 1, 2 * k + 1, 2 * k + 2] for k in range(n)],
    "gauss": lambda n: [[2 * step, 2 * step + 1] for step in range(n)],
}


def twin_states(scheme, n_steps, field, x):
    """States at the ends of the steps (n + 1, N, d), and stages [step][i], Eq. (22).

    field(j, z) is F(z, t_j) for states z (N, d), real or complex.
    """
    a, b, _ = _TABLEAUS[scheme]
    h, z, ends, stages = 1.0 / n_steps, x, [x], []
    for nodes in NODE[scheme](n_steps):
        # An explicit tableau is exact after as many passes as stages; the implicit one
        # contracts by |dF| / (2 n) or better.
        slopes = [np.zeros_like(x)] * len(b)
        for _ in range(80 if scheme == "gauss" else len(b)):
            inner = [
                z + h * sum(a_ij * k for a_ij, k in zip(row, slopes, strict=True))
                for row in a
            ]
            slopes = [field(j, each) for j, each in zip(nodes, inner, strict=True)]
        z = z + h * sum(b_i * k for b_i, k in zip(b, slopes, strict=True))
        ends.append(z)
        stages.append(inner)
    return np.array(ends), stages


def split(theta, d):
    """u (..., d), v (..., d), b (...) of perceptron or bilinear parameters."""
    b = theta[..., 2 * d] if theta.shape[-1] > 2 * d else np.zeros(theta.shape[:-1])
    return theta[..., :d], theta[..., d : 2 * d], b


ACTIVATION = {
    "tanh": (np.tanh, lambda a: 1.0 / np.cosh(a) ** 2),
    "relu": (lambda a: np.maximum(a, 0.0), lambda a: (a > 0) * 1.0),
    "identity": (lambda a: a, np.ones_like),
}


def perceptron_field(theta, weights, activation, z):
    """sum_m w_m v_m sigma(u_m.z + b_m) for theta (M, k), z (N, d)."""
    u, v, b = split(theta, z.shape[1])
    return (ACTIVATION[activation][0](z @ u.T + b) * weights) @ v


def perceptron_pullback(theta, weights, activation, z, p):
    """(d_z F)^T p for theta (M, k), z and p (N, d)."""
    u, v, b = split(theta, z.shape[1])
    slopes = ACTIVATION[activation][1](z @ u.T + b)
    return (slopes * (p @ v.T) * weights) @ u


def perceptron_gradients(theta, activation, z, p):
    """p_i . d_theta f(z_i, theta_m), (N, M, k)."""
    u, v, b = split(theta, z.shape[1])
    a = z @ u.T + b
    e = ACTIVATION[activation][1](a) * (p @ v.T)
    in_u = e[:, :, np.newaxis] * z[:, np.newaxis]
    in_v = ACTIVATION[activation][0](a)[:, :, np.newaxis] * p[:, np.newaxis]
    parts = [in_u, in_v]
    if theta.shape[-1] > 2 * z.shape[1]:
        parts.append(e[:, :, np.newaxis])
    return np.concatenate(parts, axis=2)


# A block of features: theta = (e, c, u, v), d = 2
#   f = e (tanh z_2 + 0.3, 0.7 sin z_1) + c (z_1^2, 0) + (0, v u z_1)
# Near-two-layer data (T8), growth violation (T18), two-layer lift (T4) in one, since
# every custom block is compiled anew in every process.


def _f(z, theta, out):
    e, c, u, v = theta
    out[0] = e * (math.tanh(z[1]) + 0.3) + c * z[0] ** 2
    out[1] = e * 0.7 * math.sin(z[0]) + v * u * z[0]


def _vjp_z(z, theta, p, out):
    e, c, u, v = theta
    out[0] = 2.0 * c * z[0] * p[0] + (e * 0.7 * math.cos(z[0]) + v * u) * p[1]
    out[1] = e * p[0] / math.cosh(z[1]) ** 2


def _vjp_theta(z, theta, p, out):
    out[0] = (math.tanh(z[1]) + 0.3) * p[0] + 0.7 * math.sin(z[0]) * p[1]
    out[1] = z[0] ** 2 * p[0]
    out[2] = theta[3] * z[0] * p[1]
    out[3] = theta[2] * z[0] * p[1]


FEATURES = mfpde.blocks.Custom(2, 4, _f, _vjp_z, _vjp_theta)
