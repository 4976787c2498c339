"""Updates of the optimisers, one pass over memory each."""

from __future__ import annotations

import math

from mfpde.kernels.compiled import njit

OPTIONS = {
    "fastmath": {"contract", "nsz"},
    "error_model": "numpy",
    "nogil": True,
}


@njit(**OPTIONS)
def momentum_step(y, rate, velocity, momentum, is_nesterov, ds, new, out):
    """Heavy-ball descent, all arrays (n,); `rate` is minus the gradient.

    new = momentum velocity + rate; out = y + ds new, or with Nesterov's look-ahead
    out = y + ds (rate + momentum new).
    """
    for i in range(y.shape[0]):
        v = momentum * velocity[i] + rate[i]
        new[i] = v
        out[i] = y[i] + ds * (rate[i] + momentum * v if is_nesterov else v)


@njit(**OPTIONS)
def adam_step(
    y, rate, mean, square, beta1, beta2, epsilon, n, step, new_mean, new_square, out
):
    """Adam's update number n >= 1 (Kingma, Ba, algorithm 1), all arrays (n,).

    The mean is that of `rate`, minus the gradient, so that the step is added.
    """
    scale = step / (1.0 - beta1**n)
    root = math.sqrt(1.0 - beta2**n)
    for i in range(y.shape[0]):
        m = beta1 * mean[i] + (1.0 - beta1) * rate[i]
        v = beta2 * square[i] + (1.0 - beta2) * rate[i] * rate[i]
        new_mean[i] = m
        new_square[i] = v
        out[i] = y[i] + scale * m / (math.sqrt(v) / root + epsilon)
