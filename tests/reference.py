"""NumPy twins of the compiled kernels: a few lines each, used as oracles.

Formulas of the theory, section 4, written once more and without loops over samples or
particles. Everything also takes complex numbers, so that derivatives of the discrete
objective can be had by complex steps, without cancellation.

Shapes: z and q (N, d), theta (M, k) at one node or (J, M, k), weights (M,).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from mfpde import blocks

N_SWEEPS = 200
"""Fixed-point sweeps for implicit stages: rounding, where they contract by 0.8."""


def _positive(a):
    return np.real(a) > 0


def _sigmoid(a):
    e = np.exp(np.where(_positive(a), -a, a))
    return np.where(_positive(a), 1, e) / (1 + e)


def _normal_cdf(a):
    return 0.5 * special.erfc(-a / np.sqrt(2.0))


def _softplus(a):
    e = np.exp(np.where(_positive(a), -a, a))
    return np.where(_positive(a), a, 0) + np.log1p(e)


def _regularised(a):
    inner = 0.5 * (a + 0.5) ** 2
    return np.where(np.abs(np.real(a)) <= 0.5, inner, np.where(_positive(a), a, 0))


ACTIVATIONS = {
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "sigmoid": (_sigmoid, lambda a: _sigmoid(a) * _sigmoid(-a)),
    "softplus": (_softplus, _sigmoid),
    "gelu": (
        lambda a: a * _normal_cdf(a),
        lambda a: _normal_cdf(a) + a * np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi),
    ),
    "relu": (lambda a: np.where(_positive(a), a, 0), lambda a: 1.0 * _positive(a)),
    "leaky_relu": (
        lambda a: np.where(_positive(a), a, 0.01 * a),
        lambda a: np.where(_positive(a), 1.0, 0.01),
    ),
    "regularised_relu": (
        _regularised,  # half-width 1/2
        lambda a: np.clip(np.real(a) + 0.5, 0.0, 1.0),
    ),
    "squared_relu": (
        lambda a: np.where(_positive(a), a, 0) ** 2,
        lambda a: np.where(_positive(a), 2 * a, 0),
    ),
    "sin": (np.sin, np.cos),
    "identity": (lambda a: 1 * a, lambda a: np.ones_like(a)),
}
"""Name to (sigma, sigma')."""


def f_values(block, z, theta):
    """f(z_i, theta_m), shape (N, M, d)."""
    d = block.d
    if isinstance(block, blocks.Linear):
        return np.einsum("mce,ie->imc", theta.reshape(-1, d, d), z)
    if isinstance(block, blocks.Bias):
        return np.broadcast_to(theta, (len(z), *theta.shape))
    if isinstance(block, COMPONENTWISE):
        return _componentwise(block, z, theta)
    scale, sigma, _, a, _, v = _dyadic(block, z, theta)
    return scale * sigma(a)[:, :, np.newaxis] * v


def vjp_z(block, z, theta, q):
    """(d_z f(z_i, theta_m))^T q_i, shape (N, M, d)."""
    d = block.d
    if isinstance(block, blocks.Linear):
        return np.einsum("mce,ic->ime", theta.reshape(-1, d, d), q)
    if isinstance(block, blocks.Bias):
        return np.zeros((len(z), *theta.shape))
    if isinstance(block, COMPONENTWISE):
        jacobian = _jacobian(lambda x: _componentwise(block, x, theta), z, block.d)
        return np.einsum("imce,ic->ime", jacobian, q)
    scale, _, slope, a, u, v = _dyadic(block, z, theta)
    return (scale * slope(a) * (q @ v.T))[:, :, np.newaxis] * u


def vjp_theta(block, z, theta, q):
    """(d_theta f(z_i, theta_m))^T q_i, shape (N, M, k)."""
    n, m = len(z), len(theta)
    if isinstance(block, blocks.Linear):
        outer = np.einsum("ic,ie->ice", q, z).reshape(n, 1, -1)
        return np.broadcast_to(outer, (n, m, block.k))
    if isinstance(block, blocks.Bias):
        return np.broadcast_to(q[:, np.newaxis], (n, m, block.k))
    if isinstance(block, COMPONENTWISE):
        jacobian = _jacobian(lambda x: _componentwise(block, z, x), theta, block.k)
        return np.einsum("imck,ic->imk", jacobian, q)
    scale, sigma, slope, a, _, v = _dyadic(block, z, theta)
    e = (scale * slope(a) * (q @ v.T))[:, :, np.newaxis]
    in_u = e * z[:, np.newaxis]
    in_v = scale * sigma(a)[:, :, np.newaxis] * q[:, np.newaxis]
    has_bias = block.k > 2 * block.d
    return np.concatenate([in_u, in_v, *([e] if has_bias else [])], axis=2)


def _dyadic(block, z, theta):
    """Pieces of scale v sigma(u.z + b), the perceptron or the bilinear block."""
    name = getattr(block, "activation", "identity")
    u, v = theta[:, : block.d], theta[:, block.d : 2 * block.d]
    a = z @ u.T + (theta[:, -1] if block.k > 2 * block.d else 0.0)
    return getattr(block, "scale", 1.0), *ACTIVATIONS[name], a, u, v


COMPONENTWISE = (blocks.SquaredReLU, blocks.SignedSquaredReLU, blocks.Capped)


def _componentwise(block, z, theta):
    """f of the blocks whose activation acts on W z + b by component, (N, M, d)."""
    d = block.d
    if isinstance(block, blocks.Capped):
        w, b = theta[:, 1 : 1 + d * d], theta[:, 1 + d * d :]
        w = w / np.sqrt(1 + (w * w).sum(axis=1, keepdims=True))
        b = b / np.sqrt(1 + (b * b).sum(axis=1, keepdims=True))
        sigma = ACTIVATIONS[block.activation][0]
        return theta[:, :1] * sigma(_affine(w, b, z))
    size = d * d + d
    value = 0.0
    for sign, start in zip((1, -1), range(0, block.k, size), strict=False):
        part = theta[:, start : start + size]
        a = _affine(part[:, : d * d], part[:, d * d :], z)
        value = value + sign * np.where(_positive(a), a, 0) ** 2
    return value * np.exp(-(z * z).sum(axis=1))[:, np.newaxis, np.newaxis]


def _affine(w, b, z):
    """W z + b, shape (N, M, d), for W row by row (M, d * d)."""
    return np.einsum("mce,ie->imc", w.reshape(len(w), -1, z.shape[1]), z) + b


def _jacobian(function, values, n):
    """Derivatives of f (N, M, d) in n components of z or theta, by complex steps."""
    step = 1e-30
    units = step * 1j * np.eye(n)
    columns = [np.imag(function(values + unit)) / step for unit in units]
    return np.stack(columns, axis=-1)


def field(block, theta, weights, z):
    """F(z) of Eq. (8), shape (N, d)."""
    return np.einsum("m,imc->ic", weights, f_values(block, z, theta))


def pullback_state(block, theta, weights, z, q):
    """(d_z F)^T q, shape (N, d)."""
    return np.einsum("m,imc->ic", weights, vjp_z(block, z, theta, q))


def forward(block, grid, theta, weights, z0):
    """Eq. (22): states (P, N, d) and stages (n_steps, n_stages, N, d).

    An explicit tableau is exact after as many sweeps as it has stages.
    """
    z, points, all_stages = z0, [z0], []
    for h, nodes in zip(grid.step_size, grid.stage_node, strict=True):
        stages = np.repeat(z[np.newaxis], grid.n_stages, axis=0)
        for _ in range(N_SWEEPS if grid.is_implicit else grid.n_stages):
            slopes = _fields(block, theta[nodes], weights, stages)
            stages = z + h * np.einsum("ij,jnc->inc", grid.a, slopes)
        slopes = _fields(block, theta[nodes], weights, stages)
        z = z + h * np.einsum("i,inc->nc", grid.b, slopes)
        points += list(stages) if grid.is_implicit else [z]
        all_stages.append(stages)
    points += [z] if grid.is_implicit else []
    return np.array(points), np.array(all_stages)


def adjoint(block, grid, theta, weights, stages, p_end):
    """Eq. (23): adjoint (P, N, d), and sum_i (d_theta f)^T dt Lambda (J, M, k)."""
    p, points = p_end, [p_end]
    gradient = np.zeros(theta.shape)
    steps = list(zip(grid.step_size, grid.stage_node, stages, strict=True))
    for h, nodes, z in reversed(steps):
        pulled = np.zeros_like(z)
        for _ in range(N_SWEEPS if grid.is_implicit else grid.n_stages):
            lam = np.multiply.outer(grid.b, p) + h * np.einsum(
                "ji,jnc->inc", grid.a, pulled
            )
            pulled = np.array(
                [
                    pullback_state(block, theta[node], weights, z[i], lam[i])
                    for i, node in enumerate(nodes)
                ]
            )
        for i, node in enumerate(nodes):
            gradient[node] += h * vjp_theta(block, z[i], theta[node], lam[i]).sum(0)
        p = p + h * pulled.sum(axis=0)
        if grid.is_implicit:
            points += [lam[i] / grid.b[i] for i in reversed(range(len(lam)))]
        else:
            points.append(p)
    points += [p] if grid.is_implicit else []
    return np.array(points[::-1]), gradient


def _fields(block, theta, weights, stages):
    pairs = zip(theta, stages, strict=True)
    return np.array([field(block, at_node, weights, z) for at_node, z in pairs])


LOSSES = {
    "squared": lambda out, y: 0.5 * ((out - y) ** 2).sum(axis=1),
    "logistic": lambda out, y: _softplus(-y * out).sum(axis=1),
    "cross_entropy": lambda out, y: (
        np.log(np.exp(out).sum(axis=1)) - (y * out).sum(axis=1)
    ),
}
"""Name to the loss of every sample."""


def objective(problem, grid, ensemble, s=0.0, theta=None, embedding=None, readout=None):
    """E_s of Eqs. (3) and (12), with theta or a map replaced, complex allowed."""
    theta = ensemble.theta if theta is None else theta
    z = problem.x
    if problem.embedding is not None:
        z = z @ (problem.embedding.matrix if embedding is None else embedding).T
    z = forward(problem.block, grid, theta, ensemble.weights, z)[0][-1]
    if problem.readout is not None:
        z = z @ (problem.readout.matrix if readout is None else readout).T
    value = problem.sample_weights @ LOSSES[problem.loss.name](z, problem.y)
    if problem.regulariser is not None:
        squares = np.einsum("j,m,jmk->", grid.weights, ensemble.weights, theta * theta)
        value = value + problem.regulariser.strength(s) * squares
    return value


def slope(function, value, direction, step=1e-30):
    """Derivative of function at value along direction, by a complex step."""
    return np.imag(function(value + 1j * step * direction)) / step
