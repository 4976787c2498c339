"""From the sums over samples to the velocity of the particles, Eqs. (7), (13), (14)."""

from __future__ import annotations

from numba import njit

OPTIONS = {
    "fastmath": {"contract", "nsz"},
    "error_model": "numpy",
    "nogil": True,
    "cache": True,
}


@njit(**OPTIONS)
def assemble_node(parts, node, node_weight, weights, theta, ridge, metric, velocity):
    """Velocity at one depth node, with the integrands of D and M2.

    velocity = -metric (sum of parts / node_weight + 2 ridge theta), Eqs. (7) and (13):
    the parts carry no particle weight, so only the depth weight divides.

    parts (n_parts, J, M, k); weights (M,); theta and velocity (J, M, k); metric (k,).
    Returns, as integrals over rho at this depth, sum_c metric_c g_c^2 (the dissipation
    of Eq. 14), |g|^2 and |theta|^2, with g the gradient in the bracket.
    """
    dissipation = 0.0
    squared_gradient = 0.0
    second_moment = 0.0
    for m in range(theta.shape[1]):
        dissipated = 0.0
        squared = 0.0
        moment = 0.0
        for c in range(theta.shape[2]):
            total = 0.0
            for part in range(parts.shape[0]):
                total += parts[part, node, m, c]
            value = theta[node, m, c]
            gradient = total / node_weight + 2.0 * ridge * value
            velocity[node, m, c] = -metric[c] * gradient
            dissipated += metric[c] * gradient * gradient
            squared += gradient * gradient
            moment += value * value
        dissipation += weights[m] * dissipated
        squared_gradient += weights[m] * squared
        second_moment += weights[m] * moment
    return dissipation, squared_gradient, second_moment
