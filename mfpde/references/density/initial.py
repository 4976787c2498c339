"""Cell averages of an initial law rho_ini(theta, t) on a mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.special import ndtr

from mfpde import laws
from mfpde.arrays import is_function
from mfpde.laws.parameters import bounds
from mfpde.references.density.mesh import Mesh

Array = NDArray[np.float64]

MASS_OUTSIDE = 1e-8
"""Largest mass of a law that may lie outside the mesh: 5.7 standard deviations."""

POINTS_PER_CELL = 4  # Gauss-Legendre, along each parameter, for a density function


def cell_averages(law: Any, mesh: Mesh, t: Array) -> tuple[Array, float]:
    """Averages of the initial density over the cells.

    Parameters
    ----------
    law : Law or callable
        A law with a density, see `solve_density`, or density(theta, t) for theta of
        shape (..., k) and a number t, not negative; it is brought to mass 1.
    mesh : Mesh
    t : ndarray, shape (J,)
        Depths.

    Returns
    -------
    density : ndarray, shape (J, *mesh.shape)
        Mass 1 at every depth.
    outside : float
        Largest mass left out over the depths; 0 for a density function, whose mass
        outside is not known.

    Raises
    ------
    ValueError, TypeError
        If the law has no density or another number of parameters, or if the mesh
        leaves out more than `MASS_OUTSIDE`.
    """
    if hasattr(law, "paths"):
        if law.n_params != mesh.k:
            raise ValueError(
                f"`law` must have k = {mesh.k} parameters as the block, got "
                f"{law.n_params}."
            )
        masses = _law_masses(law, mesh, t)
        outside = _check_inside(masses, t)
    elif is_function(law):
        masses, outside = _function_masses(law, mesh, t), 0.0
    else:
        raise TypeError(
            f"`law` must be a law or a function density(theta, t), got {law!r}."
        )
    return masses / mesh.volume / _per_node(masses), outside


def _per_node(masses: Array) -> Array:
    axes = tuple(range(1, masses.ndim))
    return masses.sum(axis=axes, keepdims=True)


def _check_inside(masses: Array, t: Array) -> float:
    outside = np.maximum(1.0 - _per_node(masses).ravel(), 0.0)
    worst = int(np.argmax(outside))
    if outside[worst] > MASS_OUTSIDE:
        raise ValueError(
            f"`low` and `high` must hold the initial law up to a mass of "
            f"{MASS_OUTSIDE:g}, but {outside[worst]:.3g} lies outside at t = "
            f"{t[worst]:.4g} (depth). Widen the box."
        )
    return float(outside[worst])


def _law_masses(law: Any, mesh: Mesh, t: Array) -> Array:
    """Masses of the cells (J, *shape), exact to rounding."""
    if isinstance(law, laws.Mixture):
        parts = [_law_masses(each, mesh, t) for each in law.laws]
        return np.tensordot(np.asarray(law.probabilities), parts, axes=1)
    factors = _marginal_masses(law, mesh.edges, t)
    if mesh.k == 1:
        return factors[0]
    return factors[0][:, :, np.newaxis] * factors[1][:, np.newaxis]


def _marginal_masses(law: Any, edges: tuple[Array, ...], t: Array) -> list[Array]:
    """Masses (J, n_c) for each parameter c of a law with independent parameters."""
    k = len(edges)
    if isinstance(law, laws.Product):
        factors: list[Array] = []
        for each in law.laws:
            mine = edges[len(factors) : len(factors) + each.n_params]
            factors += _marginal_masses(each, mine, t)
        return factors
    if isinstance(law, laws.Uniform):
        low, high = bounds(law.low, law.high, t, k)
        distribution = _uniform_distribution
    elif _is_normal(law):
        low, high = _mean_and_std(law, t)
        distribution = _normal_distribution
    else:
        raise ValueError(
            f"`law` must have a density known here (Gaussian, GaussianProcess, "
            f"Uniform, Path of Gaussians, Product, Mixture), got "
            f"{type(law).__name__}. Pass a function density(theta, t) instead."
        )
    low, high = (np.broadcast_to(each, (len(t), k)) for each in (low, high))
    return [
        np.diff(distribution(edge, low[:, c, np.newaxis], high[:, c, np.newaxis]))
        for c, edge in enumerate(edges)
    ]


def _uniform_distribution(theta: Array, low: Array, high: Array) -> Array:
    return np.clip((theta - low) / (high - low), 0.0, 1.0)


def _normal_distribution(theta: Array, mean: Array, std: Array) -> Array:
    return ndtr((theta - mean) / std)


def _is_normal(law: Any) -> bool:
    if isinstance(law, laws.Path):
        return all(isinstance(each, laws.Gaussian) for each in law.coefficients)
    return isinstance(law, (laws.Gaussian, laws.GaussianProcess))


def _mean_and_std(law: Any, t: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (J, k) of a law linear in normal numbers.

    The transport of the law itself tells them: quantiles 1/2 are the mean, and the
    quantile of one standard deviation in one number is its share.
    """
    u = np.full((1 + law.n_random, law.n_random), 0.5)
    np.fill_diagonal(u[1:], ndtr(1.0))
    paths = law.paths(u, t)
    mean = paths[:, 0]
    std = np.sqrt(np.sum((paths[:, 1:] - mean[:, np.newaxis]) ** 2, axis=1))
    if std.min() <= 0.0:
        raise ValueError(
            "`law` must have a density at every depth, but a standard deviation is 0. "
            "Use particles (`mfpde.solve`) for it."
        )
    return mean, std


def _function_masses(
    density: Callable[[Array, float], Array], mesh: Mesh, t: Array
) -> Array:
    x, w = legendre.leggauss(POINTS_PER_CELL)
    pairs = zip(mesh.centres, mesh.widths, strict=True)
    axes = [(c[:, np.newaxis] + 0.5 * h * x).ravel() for c, h in pairs]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    masses = np.empty((len(t), *mesh.shape))
    for j, depth in enumerate(t):
        values = np.asarray(density(theta, float(depth)), dtype=np.float64)
        if values.shape != theta.shape[:-1]:
            raise ValueError(
                f"`law` must return one density for each theta, shape "
                f"{theta.shape[:-1]}, got {values.shape}."
            )
        if not np.isfinite(values).all() or values.min() < 0.0 or values.max() == 0.0:
            raise ValueError(
                "`law` must return finite densities, none negative and not all zero, "
                f"at t = {depth:.4g} (depth)."
            )
        for axis, n in enumerate(mesh.shape):
            split = (
                *values.shape[:axis],
                n,
                POINTS_PER_CELL,
                *values.shape[axis + 1 :],
            )
            values = np.tensordot(values.reshape(split), w, axes=(axis + 1, 0))
        masses[j] = values
    return masses
