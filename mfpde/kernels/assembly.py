"""From the sums over samples to the velocity of the particles, Eqs. (7), (13), (14)."""

from __future__ import annotations

import math

from mfpde.kernels.compiled import njit
from mfpde.kernels.queue import finish, take

# Particles in a chunk: its numbers stay in the first-level cache from loop to loop.
CHUNK = 64
OPTIONS = {
    "fastmath": {"contract", "nsz", "reassoc"},
    "error_model": "numpy",
    "nogil": True,
}


@njit(**OPTIONS)
def clipped(g, bound, is_smooth):
    """pi(g) of Eq. (10), odd and monotone; a bound of inf leaves g as it is."""
    if is_smooth:
        # Of g / bound and its inverse the one that is at most 1: no square overflows.
        if abs(g) > bound:
            inverse = bound / g
            return math.copysign(bound, g) / math.sqrt(1.0 + inverse * inverse)
        ratio = g / bound
        return g / math.sqrt(1.0 + ratio * ratio)
    # Comparisons that a NaN does not pass: it stays one.
    if g > bound:
        return bound
    if g < -bound:
        return -bound
    return g


@njit(**OPTIONS)
def clip(values, bound, is_smooth, out):
    """pi of every entry of values (n,)."""
    for i in range(values.shape[0]):
        out[i] = clipped(values[i], bound, is_smooth)


@njit(**OPTIONS)
def assemble(
    node_weights,
    weights,
    theta,
    ridge,
    metric,
    bound,
    is_smooth,
    counts,
    velocity,
    integrands,
):
    """Velocity and the integrands of D and M2: one worker, which takes chunks.

    velocity = -metric pi(gradient / node_weight + 2 ridge theta), Eqs. (7), (10) and
    (13): the gradient of a particle carries no particle weight, so only the depth
    weight divides. pi is `clipped` at bound, or the identity for a bound of inf.

    A chunk holds CHUNK particles of one node, which has n_chunks = ceil(M / CHUNK).
    node_weights (J,); theta (J, M k). weights and metric are given for the parameters
    of all particles: (M k,), and of one chunk: (CHUNK k,). counts (2,), zero at the
    start, is shared by all workers (see `turns`).
    Out: velocity (J, M k), which holds the gradient before; integrands
    (J, n_chunks, 3), sums over a chunk's part of rho at this depth of
    sum_c metric_c g_c pi(g_c) (the dissipation of Eq. 14), |g|^2 and |theta|^2, with g
    the gradient in the bracket.
    """
    size = metric.shape[0]
    n_chunks = integrands.shape[1]
    while True:
        piece = take(counts)
        if piece >= integrands.shape[0] * n_chunks:
            return
        node = piece // n_chunks
        chunk = piece % n_chunks
        start = chunk * size
        stop = min(start + size, theta.shape[1])
        at_node = theta[node, start:stop]
        weight = weights[start:stop]
        gradient = velocity[node, start:stop]
        dissipated = 0.0
        squared = 0.0
        moment = 0.0
        for i in range(gradient.shape[0]):
            value = at_node[i]
            g = gradient[i] / node_weights[node] + 2.0 * ridge * value
            step = metric[i] * clipped(g, bound, is_smooth)
            gradient[i] = -step
            dissipated += weight[i] * (step * g)
            squared += weight[i] * (g * g)
            moment += weight[i] * (value * value)
        integrands[node, chunk, 0] = dissipated
        integrands[node, chunk, 1] = squared
        integrands[node, chunk, 2] = moment
        finish(counts)
