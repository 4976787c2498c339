"""Blocks of a network in any other order, and the commutators of those that pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, index_array
from mfpde.theory.joint.brackets import brackets
from mfpde.theory.joint.evaluation import A_JOINT_EVALUATION, JointEvaluation
from mfpde.theory.joint.lesions import checked_order

Array = NDArray[np.float64]


@checked(evaluation=A_JOINT_EVALUATION)
def pair_slopes(evaluation: JointEvaluation) -> Array:
    """Return mean_i p_i . [f_b, f_a](z_i) for every pair of layers, (n, n).

    Entry a, b for block a in front of block b, with the state of block a and the
    adjoint behind it; 0 if b is not behind a. n^2 brackets.
    """
    network = evaluation.network
    theta = network.ensemble.theta[:, 0]
    n = len(theta)
    z, p = network.z[:-1], network.p[1:]
    slopes = np.zeros((n, n))
    for distance in range(1, n):
        first = np.arange(n - distance)
        # The last ones have no block so far behind: their ranges are empty.
        start = np.minimum(np.arange(n) + distance, n)
        ranges = np.stack([start, np.minimum(start + 1, n)])
        found = brackets(network.problem, theta, z, p, ranges)
        slopes[first, first + distance] = found[first]
    return slopes


@checked(evaluation=A_JOINT_EVALUATION)
def shuffle_slopes(evaluation: JointEvaluation, orders: ArrayLike) -> Array:
    """Return the sum of Eq. (20) over the pairs that other orders turn round.

    An order is a product of exchanges of neighbours, one for each pair of blocks of
    which the one behind comes to stand in front.

    Parameters
    ----------
    evaluation : JointEvaluation
    orders : array_like of int, shape (n_orders, n)
        Layer l of order r has what was the block of layer orders[r, l].

    Returns
    -------
    slopes : ndarray, shape (n_orders,)
        For steps 1/n and blocks times eps, E changes by slope / n^2 + O(eps^3); the
        slope is of the order eps^2. With eps = 1 the O(n^2) pairs of a random order
        are no small change.
    """
    pairs = pair_slopes(evaluation)
    slopes = []
    orders = index_array("orders", orders)
    if orders.ndim != 2:
        raise ValueError(f"`orders` must have shape (n_orders, n), got {orders.shape}.")
    for order in orders:
        place = np.argsort(checked_order(order, len(pairs), "orders"))
        is_turned = place[:, np.newaxis] > place
        slopes.append(np.sum(pairs[is_turned]))
    return np.array(slopes)
