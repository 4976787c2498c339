"""Finer grids in depth, and the paths of particles interpolated to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BarycentricInterpolator, make_interp_spline

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble

Array = NDArray[np.float64]

POLYNOMIAL_NODES = 6
"""Up to so many nodes the interpolant in t is one polynomial, else a quintic spline:
its error is then of higher order than that of every scheme but Gauss, whose nodes
carry the polynomial of their own element."""


def refined_grid(grid: DepthGrid) -> DepthGrid:
    """Return a grid of the same scheme with twice the steps or elements."""
    description: dict[str, Any] = dict(grid.describe())
    doubled = "n_elements" if grid.scheme == "gauss" else "n"
    description[doubled] *= 2
    return DepthGrid.from_description(description)


def interpolated(
    grid: DepthGrid, ensemble: ParticleEnsemble, finer: DepthGrid
) -> ParticleEnsemble:
    """Return the ensemble at the nodes of another grid, by interpolation in depth t.

    Parameters
    ----------
    grid : DepthGrid
        Where the particles live.
    ensemble : ParticleEnsemble
    finer : DepthGrid

    Returns
    -------
    ensemble : ParticleEnsemble
        theta of shape (finer.n_nodes, M, k).
    """
    n_elements = grid.n_steps if grid.scheme == "gauss" else 1
    nodes = grid.nodes.reshape(n_elements, -1)
    theta = ensemble.theta.reshape(n_elements, nodes.shape[1], -1)
    element = np.minimum((finer.nodes * n_elements).astype(int), n_elements - 1)
    values = np.empty((finer.n_nodes, theta.shape[2]))
    for e in range(n_elements):
        wanted = element == e
        values[wanted] = _interpolant(nodes[e], theta[e])(finer.nodes[wanted])
    shape = (finer.n_nodes, *ensemble.theta.shape[1:])
    return ParticleEnsemble(values.reshape(shape), ensemble.weights)


def _interpolant(nodes: Array, values: Array) -> Any:
    if len(nodes) == 1:
        return lambda t: np.broadcast_to(values, (len(t), values.shape[1]))
    if len(nodes) <= POLYNOMIAL_NODES:
        # A fixed generator: SciPy permutes the nodes at random, for stability.
        return BarycentricInterpolator(nodes, values)
    return make_interp_spline(nodes, values, k=5)
