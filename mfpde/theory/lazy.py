"""The lazy limit: blocks linearised in their parameters at the start (Chizat 2025).

With f = alpha phi(z, theta) and the velocity multiplier 1 / alpha^2 (section 3 of the
theory) particles move by theta - theta0 = delta / alpha, and if the field of the start
vanishes, int phi(., theta0) drho_ini = 0, then as alpha -> inf

    dz/dt = int d_theta phi(z, theta0) delta drho,   ddelta/ds = -(d_theta phi)^T p.

This is again a flow of Eqs. (1)-(7), for a block with parameters (theta0, delta) of
which the first are frozen. It is linear in delta but not in z: states move with
training, and the tangent kernel (27) with them.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numba
import numpy as np

from mfpde.arrays import checked, choice, instance, number, text, whole
from mfpde.blocks import Custom, Perceptron
from mfpde.ensemble import AN_ENSEMBLE, ParticleEnsemble
from mfpde.errors import did_you_mean
from mfpde.kernels import vectormath
from mfpde.laws import Dirac, Gaussian, Mixture, Product
from mfpde.problem import A_PROBLEM, MeanFieldProblem

INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


@numba.njit
def _tanh_second(a):
    s, e = vectormath.tanh_pair(a)
    return -2.0 * s * e


@numba.njit
def _gelu_second(a):
    return INV_SQRT_2PI * math.exp(-0.5 * a * a) * (2.0 - a * a)


@numba.njit
def _sigmoid_second(a):
    s, e = vectormath.sigmoid_pair(a)
    return e * (1.0 - 2.0 * s)


@numba.njit
def _softplus_second(a):
    return vectormath.sigmoid_pair(a)[1]


SECOND_DERIVATIVES = {
    "tanh": (vectormath.tanh_pair, _tanh_second),
    "gelu": (vectormath.gelu_pair, _gelu_second),
    "sigmoid": (vectormath.sigmoid_pair, _sigmoid_second),
    "softplus": (vectormath.softplus_pair, _softplus_second),
}
"""Activation to functions that give (sigma, sigma') and sigma''."""
ODD = ("tanh", "sigmoid")
"""Activations that are odd functions plus a constant."""


@checked(block=instance(Perceptron))
def linearised_block(block: Perceptron) -> Custom:
    """The block d_theta phi(z, theta0) delta of a perceptron phi, without its scale.

    With a = u.z + b and da = delta_u.z + delta_b it is
    delta_v sigma(a) + v sigma'(a) da.

    Parameters
    ----------
    block : Perceptron
        With a bias, and an activation of `SECOND_DERIVATIVES`.

    Returns
    -------
    block : Custom
        theta = (u, v, b, delta_u, delta_v, delta_b), 4 d + 2 numbers.
    """
    if not block.bias or block.scale != 1.0:
        raise ValueError(
            f"`block` must be a Perceptron with bias and scale 1, got {block!r}. Take "
            f"Perceptron({block.d}, {block.activation!r}), and the scale as `alpha` of "
            "`lazy_problem`."
        )
    if block.activation not in SECOND_DERIVATIVES:
        raise ValueError(
            f"`block` must have an activation of {', '.join(SECOND_DERIVATIVES)}, got "
            f"{block.activation!r}."
            + did_you_mean(block.activation, SECOND_DERIVATIVES)
        )
    return _linearised(block)


@functools.lru_cache(maxsize=64)
def _linearised(block: Perceptron) -> Custom:
    """The block, compiled once."""
    d, k = block.d, block.k
    pair, second = SECOND_DERIVATIVES[block.activation]

    @numba.njit
    def arguments(z, theta):
        """a and da."""
        a, da = theta[2 * d], theta[k + 2 * d]
        for c in range(d):
            a += theta[c] * z[c]
            da += theta[k + c] * z[c]
        return a, da

    @numba.njit
    def forces(z, theta, p):
        """sigma; what p does to a, with sigma' and sigma''; to da; sigma' da."""
        a, da = arguments(z, theta)
        s, e = pair(a)
        pv, pd = 0.0, 0.0
        for c in range(d):
            pv += p[c] * theta[d + c]
            pd += p[c] * theta[k + d + c]
        return s, pd * e + pv * second(a) * da, pv * e, e * da

    def f(z, theta, out):
        a, da = arguments(z, theta)
        s, e = pair(a)
        for c in range(d):
            out[c] = theta[k + d + c] * s + theta[d + c] * e * da

    def vjp_z(z, theta, p, out):
        _, on_a, on_da, _ = forces(z, theta, p)
        for c in range(d):
            out[c] = on_a * theta[c] + on_da * theta[k + c]

    def vjp_theta(z, theta, p, out):
        s, on_a, on_da, rise = forces(z, theta, p)
        for c in range(d):
            out[c], out[k + c] = on_a * z[c], on_da * z[c]
            out[d + c], out[k + d + c] = rise * p[c], s * p[c]
        out[2 * d], out[k + 2 * d] = on_a, on_da

    return Custom(d, 2 * k, f, vjp_z, vjp_theta)


@checked(
    d=whole(1, 10**4),
    share=number(above=0.0, below=1.0),
    size=number(above=0.0, most=1e100),
    spread=number(least=0.0, most=1e100),
)
def lazy_law(d: int, *, share: float, size: float, spread: float) -> Mixture:
    """A law of (u, v, b) without a field: u and b normal, v of two opposed values.

    v = size e sqrt((1 - share) / share) with probability `share`, and else
    -size e sqrt(share / (1 - share)), e the vector of ones: mean zero, variance size^2.
    The third moment vanishes for share = 1/2 only: see `lazy_order`.

    Parameters
    ----------
    d : int
        State size.
    share : float
        In (0, 1).
    size, spread : float
        Standard deviations of v, and of u and b.
    """
    odds = math.sqrt(share / (1.0 - share))
    parts = [
        Product(
            [Gaussian(0.0, spread, d), Dirac(size * v, d), Gaussian(0.0, spread, 1)]
        )
        for v in (-odds, 1.0 / odds)
    ]
    return Mixture(parts, [1.0 - share, share])


@checked(activation=text, share=number(above=0.0, below=1.0))
def lazy_order(activation: str, share: float) -> int:
    """Order in 1 / alpha of the distance of outputs to the lazy limit, from `lazy_law`.

    The first order is made of E v^3 and means of (sigma')^2 sigma'', as E v = 0. Both
    are odd moments: the one vanishes for share = 1/2, the other for odd sigma, and
    what is left is of order 2.

    Raises
    ------
    ValueError
        For an activation that is not in `SECOND_DERIVATIVES`.
    """
    choice(*SECOND_DERIVATIVES)("activation", activation)
    return 2 if share == 0.5 or activation in ODD else 1


@checked(problem=A_PROBLEM, alpha=number(least=1e-100, most=1e100))
def lazy_problem(problem: MeanFieldProblem, alpha: float) -> MeanFieldProblem:
    """The problem with f = alpha phi and the multipliers 1 / alpha^2 of the velocity.

    Parameters
    ----------
    problem : MeanFieldProblem
        Its block is a `Perceptron` phi; without regulariser and clipping.
    alpha : float
        Residual scale.
    """
    _check_lazy(problem)
    metric = problem.metric / alpha**2
    block = dataclasses.replace(problem.block, scale=alpha * problem.block.scale)
    return problem.with_changes(block=block, metric=metric)


@checked(problem=A_PROBLEM, ensemble=AN_ENSEMBLE)
def linearised(
    problem: MeanFieldProblem, ensemble: ParticleEnsemble
) -> tuple[MeanFieldProblem, ParticleEnsemble]:
    """The lazy limit, as a problem and an ensemble that `solve` takes.

    Parameters
    ----------
    problem : MeanFieldProblem
        Before it is scaled: its block is a `Perceptron` phi with bias and scale 1, and
        its metric is that of delta. Without regulariser and clipping.
    ensemble : ParticleEnsemble
        rho_ini, theta0 of shape (J, M, k). Its field is not part of the limit: it must
        vanish, for example because v has mean zero given u and b.

    Returns
    -------
    problem : MeanFieldProblem
    ensemble : ParticleEnsemble
        (theta0, 0) of shape (J, M, 2 k), with the same weights.
    """
    _check_lazy(problem)
    theta = ensemble.theta
    metric = np.concatenate([np.zeros(problem.k), problem.metric])
    lazy = problem.with_changes(block=linearised_block(problem.block), metric=metric)
    start = np.concatenate([theta, np.zeros_like(theta)], axis=2)
    return lazy, ParticleEnsemble(start, ensemble.weights)


def _check_lazy(problem: MeanFieldProblem) -> None:
    """Raise unless the lazy limit of the problem is the one of this module."""
    if not isinstance(problem.block, Perceptron):
        raise ValueError(
            f"`problem` must have a Perceptron block, got {problem.block!r}."
        )
    for name in ("regulariser", "clipping"):
        if getattr(problem, name) is not None:
            raise ValueError(
                f"`problem` must have no {name}, with which the lazy limit is another, "
                f"got {getattr(problem, name)!r}. Take "
                f"`problem.with_changes({name}=None)`."
            )
