"""From the sums over samples to the velocity of the particles, Eqs. (7), (13), (14)."""

from __future__ import annotations

from numba import njit

# Particles in a chunk: its numbers stay in the first-level cache from loop to loop.
CHUNK = 64
OPTIONS = {
    "fastmath": {"contract", "nsz", "reassoc"},
    "error_model": "numpy",
    "nogil": True,
    "cache": True,
}


@njit(**OPTIONS)
def assemble(
    parts,
    node_weights,
    weights,
    theta,
    ridge,
    metric,
    first,
    last,
    velocity,
    integrands,
):
    """Velocity in the chunks first <= chunk < last, with the integrands of D and M2.

    velocity = -metric (sum of parts / node_weight + 2 ridge theta), Eqs. (7) and (13):
    the parts carry no particle weight, so only the depth weight divides.

    A chunk holds CHUNK particles of one node, which has ceil(M / CHUNK) of them.
    parts (n_parts, J, M k); node_weights (J,); theta and velocity (J, M k). weights and
    metric are given for the parameters of all particles: (M k,) each, the second of one
    chunk (CHUNK k,).
    Out: integrands (n_chunks, 3), sums over the chunk's part of rho at this depth of
    sum_c metric_c g_c^2 (the dissipation of Eq. 14), |g|^2 and |theta|^2, with g the
    gradient in the bracket.
    """
    n_parts = parts.shape[0]
    size = metric.shape[0]
    n_chunks = -(-theta.shape[1] // size)
    for chunk in range(first, last):
        node = chunk // n_chunks
        start = (chunk % n_chunks) * size
        stop = min(start + size, theta.shape[1])
        at_node = theta[node, start:stop]
        weight = weights[start:stop]
        gradient = velocity[node, start:stop]
        gradient[:] = parts[0, node, start:stop]
        for part in range(1, n_parts):
            summand = parts[part, node, start:stop]
            for i in range(gradient.shape[0]):
                gradient[i] += summand[i]
        inverse = 1.0 / node_weights[node]
        dissipated = 0.0
        squared = 0.0
        moment = 0.0
        for i in range(gradient.shape[0]):
            value = at_node[i]
            g = gradient[i] * inverse + 2.0 * ridge * value
            gradient[i] = -metric[i] * g
            dissipated += weight[i] * (metric[i] * g * g)
            squared += weight[i] * (g * g)
            moment += weight[i] * (value * value)
        integrands[chunk, 0] = dissipated
        integrands[chunk, 1] = squared
        integrands[chunk, 2] = moment
