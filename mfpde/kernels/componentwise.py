"""Source text of the kernels of blocks whose activation acts on W z + b by component.

As in `families`: the text of `field`, `pullback_state` and `pullback` for one d. The
loops over samples are innermost, with stride one; scratch holds a row of samples for
each component. `ACTIVATION` stands for sigma and `ACTIVATION_pair` for (sigma, sigma').
"""

from __future__ import annotations

AFFINE = """
import math

ONE = real(1.0)


@njit(**INLINE)
def affine(theta, start, w_scale, b_scale, n, z, out):
    # Rows of W z + b, both scaled: W stands at `start`, b behind it.
    for c in range({d}):
        b = b_scale * theta[start + {d} * {d} + c]
        for i in range(n):
            out[c * STRIDE + i] = b
        for e in range({d}):
            w = w_scale * theta[start + c * {d} + e]
            for i in range(n):
                out[c * STRIDE + i] += w * z[e * STRIDE + i]


@njit(**INLINE)
def pull_affine(theta, start, scale, n, g, out):
    # Add scale W^T g to out.
    for c in range({d}):
        for e in range({d}):
            w = scale * theta[start + c * {d} + e]
            for i in range(n):
                out[e * STRIDE + i] += w * g[c * STRIDE + i]


@njit(**INLINE)
def sum_products(n, left, row, right, other):
    total = ZERO
    for i in range(n):
        total += left[row * STRIDE + i] * right[other * STRIDE + i]
    return total


@njit(**INLINE)
def sum_row(n, values, row):
    total = ZERO
    for i in range(n):
        total += values[row * STRIDE + i]
    return total
"""

# Rows of scratch: first those of W z + b, which become those of its covector; then
# e^{-|z|^2}; then what all particles give to the covector of -|z|^2.
DAMPED = """
SCRATCH = ({d} + 2) * STRIDE
SIZE_OF_ONE = {d} * {d} + {d}


@njit(**INLINE)
def damping(n, z, out):
    for i in range(n):
        total = ZERO
        for c in range({d}):
            total += z[c * STRIDE + i] * z[c * STRIDE + i]
        out[{d} * STRIDE + i] = math.exp(-total)
        out[({d} + 1) * STRIDE + i] = ZERO


@njit(**INLINE)
def pull_one(theta, start, weight, sign, n, z, q, out, scratch):
    affine(theta, start, ONE, ONE, n, z, scratch)
    for c in range({d}):
        for i in range(n):
            value, slope = ACTIVATION_pair(scratch[c * STRIDE + i])
            e = sign * scratch[{d} * STRIDE + i] * q[c * STRIDE + i]
            scratch[c * STRIDE + i] = e * slope
            scratch[({d} + 1) * STRIDE + i] += weight * (e * value)
    pull_affine(theta, start, weight, n, scratch, out)


@njit(**INLINE)
def pull_damping(n, z, out, scratch):
    for c in range({d}):
        for i in range(n):
            e = z[c * STRIDE + i] * scratch[({d} + 1) * STRIDE + i]
            out[c * STRIDE + i] -= e + e


@cfunc(FIELD, **OPTIONS)
def field(theta, weights, n_particles, n, z, out, scratch, scale):
    damping(n, z, scratch)
    for m in range(n_particles):
        for part in range({n_parts}):
            weight = weights[m] if part == 0 else -weights[m]
            start = (m * {n_parts} + part) * SIZE_OF_ONE
            affine(theta, start, ONE, ONE, n, z, scratch)
            for c in range({d}):
                for i in range(n):
                    value = ACTIVATION(scratch[c * STRIDE + i])
                    e = weight * scratch[{d} * STRIDE + i]
                    out[c * STRIDE + i] += e * value


@cfunc(PULLBACK_STATE, **OPTIONS)
def pullback_state(theta, weights, n_particles, n, z, q, out, scratch, scale):
    damping(n, z, scratch)
    for m in range(n_particles):
        for part in range({n_parts}):
            sign = ONE if part == 0 else -ONE
            start = (m * {n_parts} + part) * SIZE_OF_ONE
            pull_one(theta, start, weights[m], sign, n, z, q, out, scratch)
    pull_damping(n, z, out, scratch)


@cfunc(PULLBACK, **OPTIONS)
def pullback(theta, weights, n_particles, n, z, q, out, grad, scratch, scale):
    damping(n, z, scratch)
    for m in range(n_particles):
        for part in range({n_parts}):
            sign = ONE if part == 0 else -ONE
            start = (m * {n_parts} + part) * SIZE_OF_ONE
            pull_one(theta, start, weights[m], sign, n, z, q, out, scratch)
            for c in range({d}):
                for e in range({d}):
                    grad[start + c * {d} + e] += sum_products(n, scratch, c, z, e)
                grad[start + {d} * {d} + c] += sum_row(n, scratch, c)
    pull_damping(n, z, out, scratch)
"""

# Scratch: the rows of W z + b, which become those of its covector; then a matrix.
CAPPED = """
SCRATCH = {d} * STRIDE + {d} * {d}
N_PARAMS = 1 + {d} * {d} + {d}


@njit(**INLINE)
def cap(theta, first, size):
    total = ONE
    for c in range(first, first + size):
        total += theta[c] * theta[c]
    return ONE / math.sqrt(total)


@njit(**INLINE)
def pull_one(theta, at, w_cap, b_cap, weight, n, z, q, out, scratch):
    # Returns what the factor c gets, sum_i sigma(a_i) . q_i.
    affine(theta, at + 1, w_cap, b_cap, n, z, scratch)
    total = ZERO
    for c in range({d}):
        for i in range(n):
            value, slope = ACTIVATION_pair(scratch[c * STRIDE + i])
            covector = q[c * STRIDE + i]
            total += value * covector
            scratch[c * STRIDE + i] = theta[at] * slope * covector
    pull_affine(theta, at + 1, weight * w_cap, n, scratch, out)
    return total


@cfunc(FIELD, **OPTIONS)
def field(theta, weights, n_particles, n, z, out, scratch, scale):
    for m in range(n_particles):
        at = m * N_PARAMS
        w_cap = cap(theta, at + 1, {d} * {d})
        b_cap = cap(theta, at + 1 + {d} * {d}, {d})
        affine(theta, at + 1, w_cap, b_cap, n, z, scratch)
        weight = weights[m] * theta[at]
        for c in range({d}):
            for i in range(n):
                value = ACTIVATION(scratch[c * STRIDE + i])
                out[c * STRIDE + i] += weight * value


@cfunc(PULLBACK_STATE, **OPTIONS)
def pullback_state(theta, weights, n_particles, n, z, q, out, scratch, scale):
    for m in range(n_particles):
        at = m * N_PARAMS
        w_cap = cap(theta, at + 1, {d} * {d})
        b_cap = cap(theta, at + 1 + {d} * {d}, {d})
        pull_one(theta, at, w_cap, b_cap, weights[m], n, z, q, out, scratch)


@cfunc(PULLBACK, **OPTIONS)
def pullback(theta, weights, n_particles, n, z, q, out, grad, scratch, scale):
    for m in range(n_particles):
        at = m * N_PARAMS
        at_b = at + 1 + {d} * {d}
        w_cap = cap(theta, at + 1, {d} * {d})
        b_cap = cap(theta, at_b, {d})
        grad[at] += pull_one(
            theta, at, w_cap, b_cap, weights[m], n, z, q, out, scratch
        )
        # Through the caps: G / r - W (W : G) / r^3, and the same for b.
        along_w, along_b = ZERO, ZERO
        for c in range({d}):
            along_b += theta[at_b + c] * sum_row(n, scratch, c)
            for e in range({d}):
                product = sum_products(n, scratch, c, z, e)
                scratch[{d} * STRIDE + c * {d} + e] = product
                along_w += theta[at + 1 + c * {d} + e] * product
        along_w *= w_cap * w_cap
        along_b *= b_cap * b_cap
        for c in range({d}):
            total = sum_row(n, scratch, c)
            grad[at_b + c] += b_cap * (total - theta[at_b + c] * along_b)
            for e in range({d}):
                product = scratch[{d} * STRIDE + c * {d} + e]
                w = theta[at + 1 + c * {d} + e]
                grad[at + 1 + c * {d} + e] += w_cap * (product - w * along_w)
"""


def damped(d: int, n_parts: int, activation: str) -> str:
    """f = e^{-|z|^2} sigma(W z + b), or with two parts the difference of two such.

    theta = (W row by row, b), once or twice.
    """
    return _filled(AFFINE + DAMPED, d, activation).replace("{n_parts}", str(n_parts))


def capped(d: int, activation: str) -> str:
    """f = c sigma(W z / sqrt(1 + |W|^2) + b / sqrt(1 + |b|^2)), theta = (c, W, b)."""
    return _filled(AFFINE + CAPPED, d, activation)


def _filled(text: str, d: int, activation: str) -> str:
    return text.replace("{d}", str(d)).replace("ACTIVATION", activation)
