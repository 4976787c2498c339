"""Blocks of a network deleted or exchanged, and what first-order theory says of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import evaluate, first_variation
from mfpde.joint.evaluation import JointEvaluation
from mfpde.joint.measure import JointEnsemble

Array = NDArray[np.float64]


def exchanged(ensemble: JointEnsemble, layers: NDArray[np.int64]) -> JointEnsemble:
    """Return the blocks with those at layers l and l + 1 exchanged, for each l given.

    Raises
    ------
    ValueError
        If a layer is in two of the pairs.
    """
    layers = np.asarray(layers)
    if np.any(np.diff(np.sort(layers)) < 2):
        raise ValueError(
            "`layers` must be at least two apart, so that no block is in two pairs."
        )
    order = ensemble.order.copy()
    order[layers], order[layers + 1] = order[layers + 1], order[layers]
    return reordered(ensemble, order)


def reordered(ensemble: JointEnsemble, order: NDArray[np.int64]) -> JointEnsemble:
    """Return the same blocks in another order (n,), at the same depths."""
    t = np.empty_like(ensemble.t)
    t[order] = np.sort(ensemble.t)
    return dataclasses.replace(ensemble, t=t)


def lesion_losses(evaluation: JointEvaluation, layers: NDArray[np.int64]) -> Array:
    """Loss E of the network without the block at each of some layers (n_layers,)."""
    network = evaluation.network
    losses = []
    for layer in layers:
        theta = np.delete(network.ensemble.theta, layer, axis=0)
        # The other steps stay as they are: nothing takes the place of the block.
        steps = np.delete(network.grid.step_size, layer)
        grid = DepthGrid.layers(len(steps), steps)
        layered = ParticleEnsemble.view(theta, np.ones(1))
        losses.append(evaluate(network.problem, grid, layered, network.s).loss)
    return np.array(losses)


def lesion_slopes(evaluation: JointEvaluation) -> Array:
    """First variation of each block in its place (n,), Eq. (5).

    Deleting a block of step tau changes E by -tau times its slope + O(tau^2).
    """
    network = evaluation.network
    theta = network.ensemble.theta
    return first_variation(network.problem, theta, network.z[:-1], network.p[1:])[:, 0]
