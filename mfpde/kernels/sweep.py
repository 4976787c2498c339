"""Sweeps through depth: Eqs. (22) and (23), for any family of blocks.

With an outer activation psi, every step ends with z = psi(a), Eq. (9), and starts on
the way back with r = psi'(a) p, Eq. (11); the arguments a are kept behind the stages.

A block enters by the addresses of its three compiled kernels (see `build`):

- field(theta, weights, M, n, z, out, scratch, scale) adds sum_m w_m f(z_i, theta_m) to
  out, Eq. (8);
- pullback_state(theta, weights, M, n, z, q, out, scratch, scale) adds
  sum_m w_m (d_z f(z_i, theta_m))^T q_i to out, the integral in Eq. (4);
- pullback(theta, weights, M, n, z, q, out, grad, scratch, scale) does the same, and
  adds sum_i (d_theta f(z_i, theta_m))^T q_i to grad, the sum over samples in Eq. (7),
  which carries no particle weight.

`scale` points to a factor of f; blocks that have none do not read it.

Each works at one depth node on one block of samples: theta (M, k), weights (M,), grad
(M, k), and z, q, out of d * STRIDE numbers. grad is float64 always; the other numbers
are float64 or float32, the type for which the kernels were built.

Layout. Samples are cut into blocks of at most 128. Component c of sample i of a block
stands at c * STRIDE + i, so that the innermost loop of every kernel runs over samples
with stride one. `n` lanes of a block are in use; lanes beyond its samples repeat one of
them and carry a zero adjoint. Arrays of states start on a cache line (`memory`), and so
then does every component.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mfpde.kernels.compiled import njit
from mfpde.kernels.queue import (
    NEVER,
    fetch_and_add,
    finish,
    take,
    wait_until_at_least,
)

# Not 128: rows a power of two apart compete for the same cache sets, and the kernels
# for 16 and more components then take up to twice as long.
STRIDE = 136
MAX_ITERATIONS = 100
OPTIONS = {
    "fastmath": {"contract", "arcp", "nsz", "reassoc"},
    "error_model": "numpy",
    "nogil": True,
}


@intrinsic
def call_at(typingctx, address, arguments):
    """Call the C function at an address with a tuple of 64-bit words (pointers too)."""
    signature = types.void(address, arguments)

    def codegen(context, builder, signature, values):
        word = ir.IntType(64)
        n_arguments = len(signature.args[1])
        kind = ir.FunctionType(ir.VoidType(), [word] * n_arguments)
        function = builder.inttoptr(values[0], kind.as_pointer())
        words = [builder.extract_value(values[1], i) for i in range(n_arguments)]
        builder.call(function, words)
        return context.get_dummy_value()

    return signature, codegen


@njit(**OPTIONS)
def field(kernels, theta, weights, n, z, out, scratch):
    """Call a block's `field`.

    kernels holds the addresses of field, pullback_state and pullback, the numbers of
    scratch that they need, and the address of the block's scale.
    """
    words = (
        theta.ctypes.data,
        weights.ctypes.data,
        theta.shape[0],
        n,
        z.ctypes.data,
        out.ctypes.data,
        scratch.ctypes.data,
        kernels[4],
    )
    call_at(kernels[0], words)


@njit(**OPTIONS)
def pullback_state(kernels, theta, weights, n, z, q, out, scratch):
    """Call a block's `pullback_state`."""
    words = (
        theta.ctypes.data,
        weights.ctypes.data,
        theta.shape[0],
        n,
        z.ctypes.data,
        q.ctypes.data,
        out.ctypes.data,
        scratch.ctypes.data,
        kernels[4],
    )
    call_at(kernels[1], words)


@njit(**OPTIONS)
def pullback(kernels, theta, weights, n, z, q, out, grad, scratch):
    """Call a block's `pullback`."""
    words = (
        theta.ctypes.data,
        weights.ctypes.data,
        theta.shape[0],
        n,
        z.ctypes.data,
        q.ctypes.data,
        out.ctypes.data,
        grad.ctypes.data,
        scratch.ctypes.data,
        kernels[4],
    )
    call_at(kernels[2], words)


@njit(**OPTIONS)
def gradient_in_states(kernels, theta, weights, lanes, zs, qs, grad):
    """Add sum_i (d_theta f(z_i, theta_jm))^T q_i to grad (J, M, k), states given.

    lanes (n_blocks,); zs and qs (n_blocks, J, d * STRIDE), q times the weight of each
    sample.
    """
    scratch = np.empty(kernels[3], dtype=zs.dtype)
    pulled = np.zeros(zs.shape[2], dtype=zs.dtype)
    for node in range(theta.shape[0]):
        for block in range(lanes.shape[0]):
            pullback(
                kernels, theta[node], weights, lanes[block], zs[block, node],
                qs[block, node], pulled, grad[node], scratch,
            )  # fmt: skip


@njit(**OPTIONS)
def activate(outer, a, out):
    """Write psi(a) to out, both (d * STRIDE,).

    outer holds the addresses of psi and of its pullback (see `build`); zeros are the
    identity, for which neither is called.
    """
    call_at(outer[0], (a.shape[0], a.ctypes.data, out.ctypes.data))


@njit(**OPTIONS)
def pull_activation(outer, a, p):
    """Multiply p by psi'(a), both (d * STRIDE,), Eq. (11)."""
    call_at(outer[1], (a.shape[0], a.ctypes.data, p.ctypes.data))


@njit(**OPTIONS)
def forward(
    kernels, outer, theta, weights, a, b, dt, stage_node, tol, z0, lanes, counts, zs,
    z_end, failed,
):  # fmt: skip
    """State at every stage, Eq. (22): one worker, which takes blocks while there are.

    kernels as in `field`, outer as in `activate`; theta (J, M, k), weights (M,);
    a (n_stages, n_stages), b (n_stages,), dt (n_steps,),
    stage_node (n_steps, n_stages); z0 (n_blocks, d * STRIDE), lanes (n_blocks,);
    counts (2,), zero at the start, is shared by all workers (see `turns`).
    Out: zs (n_blocks, n_steps, n_stages, d * STRIDE), with psi one row more for its
    argument; z_end (n_blocks, d * STRIDE);
    failed (n_blocks,) receives -1, or the depth step whose stages did not converge.
    """
    slopes = np.empty((b.shape[0], z0.shape[1]), dtype=z0.dtype)
    new = np.empty(z0.shape[1], dtype=z0.dtype)
    scratch = np.empty(kernels[3], dtype=z0.dtype)
    while True:
        block = take(counts)
        if block >= lanes.shape[0]:
            return
        n = lanes[block]
        z = z_end[block]
        z[:] = z0[block]
        failed[block] = -1
        for step in range(dt.shape[0]):
            h = dt[step]
            is_solved = forward_stages(
                kernels, theta, weights, a, stage_node[step], h, tol, n, z,
                zs[block, step], slopes, new, scratch,
            )  # fmt: skip
            if not is_solved:
                failed[block] = step
                break
            for i in range(b.shape[0]):
                add_scaled(n, h * b[i], slopes[i], z)
            if outer[0] != 0:
                argument = zs[block, step, b.shape[0]]
                argument[:] = z
                activate(outer, argument, z)
        finish(counts)


@njit(**OPTIONS)
def forward_stages(
    kernels, theta, weights, a, nodes, h, tol, n, z, stages, slopes, new, scratch
):
    """Solve Z_i = z + dt sum_j a_ij F_j(Z_j) for the stages of one step, Eq. (22).

    One pass is exact for an explicit tableau; otherwise passes are repeated, each with
    the newest slopes, until the stages stand still. Returns whether they do.
    """
    is_implicit = has_coupled_stages(a)
    slopes[:] = 0.0
    previous = 0.0
    for iteration in range(MAX_ITERATIONS):
        change = 0.0
        for i in range(a.shape[0]):
            new[:] = z
            for j in range(a.shape[0]):
                add_scaled(n, h * a[i, j], slopes[j], new)
            if is_implicit:
                latest = relative_change(n, stages[i], new)
                change = change if latest <= change else latest
            stages[i] = new
            slopes[i] = 0.0
            at_node = theta[nodes[i]]
            field(kernels, at_node, weights, n, stages[i], slopes[i], scratch)
        if not is_implicit or is_settled(change, previous, iteration, tol):
            return True
        previous = change
    return False


@njit(**OPTIONS)
def adjoint(
    kernels, outer, theta, weights, a, b, dt, stage_node, tol, zs, p_end, lanes, counts,
    turns, ps, grad, failed,
):  # fmt: skip
    """Adjoint and theta gradient, Eq. (23): one worker, as in `forward`.

    p_end (n_blocks, d * STRIDE) is p(1), times the weight of each sample. turns (J,),
    zero at the start, is shared: the number of blocks that have given their share at a
    node. They give it in their order, whatever thread they are on, so that sums have
    the same bits for any number of threads.
    Out: grad (J, M, k) receives the sum over samples of dt (d_theta f)^T Lambda;
    ps (n_blocks, P, d * STRIDE) p at the ends of the steps (explicit) or at 0, the
    stages and 1 (implicit).
    """
    is_implicit = has_coupled_stages(a)
    n_stages = b.shape[0]
    pulled = np.empty((n_stages, p_end.shape[1]), dtype=p_end.dtype)
    q = np.empty((n_stages, p_end.shape[1]), dtype=p_end.dtype)
    new = np.empty(p_end.shape[1], dtype=p_end.dtype)
    p = np.empty(p_end.shape[1], dtype=p_end.dtype)
    scratch = np.empty(kernels[3], dtype=p_end.dtype)
    own = np.zeros(theta.shape[1:])
    while True:
        block = take(counts)
        if block >= lanes.shape[0]:
            return
        n = lanes[block]
        p[:] = p_end[block]
        ps[block, ps.shape[1] - 1] = p
        failed[block] = -1
        for step in range(dt.shape[0] - 1, -1, -1):
            h = dt[step]
            if outer[0] != 0:
                pull_activation(outer, zs[block, step, n_stages], p)
            if is_implicit and not adjoint_stages(
                kernels, theta, weights, a, b, stage_node[step], h, tol, n, p,
                zs[block, step], q, pulled, new, scratch,
            ):  # fmt: skip
                failed[block] = step
                break
            for i in range(n_stages - 1, -1, -1):
                node = stage_node[step, i]
                adjoint_stage(a, b, h, n, p, pulled, i, q[i])
                pulled[i] = 0.0
                pullback(
                    kernels, theta[node], weights, n, zs[block, step, i], q[i],
                    pulled[i], own, scratch,
                )  # fmt: skip
                # The stages that use a node follow each other.
                following = next_node(stage_node, step, i)
                if following != node:
                    give_share(block, turns, node, own, grad)
            for i in range(n_stages):
                add_scaled(n, 1.0, pulled[i], p)
            if is_implicit:
                for i in range(n_stages):
                    point = ps[block, 1 + step * n_stages + i]
                    point[:] = 0.0
                    add_scaled(n, 1.0 / (h * b[i]), q[i], point)
            else:
                ps[block, step] = p
        ps[block, 0] = p
        if failed[block] >= 0:
            # Nothing of the gradient is used: nobody shall wait for this block.
            own[:] = 0.0
            for node in range(turns.shape[0]):
                fetch_and_add(turns[node:].ctypes.data, NEVER)
        finish(counts)


@njit(**OPTIONS)
def adjoint_stage(a, b, h, n, p, pulled, i, out):
    """Write q_i = dt Lambda_i = dt (b_i p + sum_j a_ji g_j) to out, Eq. (23)."""
    out[:] = 0.0
    add_scaled(n, h * b[i], p, out)
    for j in range(b.shape[0]):
        add_scaled(n, h * a[j, i], pulled[j], out)


@njit(**OPTIONS)
def adjoint_stages(
    kernels, theta, weights, a, b, nodes, h, tol, n, p, stages, q, pulled, new, scratch
):
    """Solve Lambda_i = b_i p + sum_j a_ji g_j, g_j = dt (d_z F_j)^T Lambda_j, Eq. (23).

    For an implicit tableau, by iteration with `pullback_state` alone. Works with
    q_i = dt Lambda_i, so that pulled_j = (d_z F_j)^T q_j = g_j and the gradient needs
    no further factor. Returns whether the stages stand still.
    """
    pulled[:] = 0.0
    previous = 0.0
    for iteration in range(MAX_ITERATIONS):
        change = 0.0
        for i in range(b.shape[0] - 1, -1, -1):
            adjoint_stage(a, b, h, n, p, pulled, i, new)
            latest = relative_change(n, q[i], new)
            change = change if latest <= change else latest
            q[i] = new
            pulled[i] = 0.0
            at_node = theta[nodes[i]]
            pullback_state(
                kernels, at_node, weights, n, stages[i], q[i], pulled[i], scratch
            )
        if is_settled(change, previous, iteration, tol):
            return True
        previous = change
    return False


@njit(**OPTIONS)
def next_node(stage_node, step, i):
    """Node of the stage after (step, i) on the way back, -1 after the last."""
    if i > 0:
        return stage_node[step, i - 1]
    return stage_node[step - 1, stage_node.shape[1] - 1] if step > 0 else -1


@njit(**OPTIONS)
def give_share(block, turns, node, own, grad):
    """Add the sums of a block to the gradient at a node when its turn has come."""
    add_in_turn(block, turns[node:], own, grad[node], block == 0)


@njit(**OPTIONS)
def add_in_turn(block, turn, own, target, is_first):
    """Wait for turn[0] to reach the block; add its sums to target, or start with them.

    own and target (M, k); own is zero afterwards.
    """
    wait_until_at_least(turn.ctypes.data, block)
    for m in range(own.shape[0]):
        for c in range(own.shape[1]):
            target[m, c] = own[m, c] if is_first else target[m, c] + own[m, c]
            own[m, c] = 0.0
    fetch_and_add(turn.ctypes.data, 1)


@njit(**OPTIONS)
def is_settled(change, previous, iteration, tol):
    """Whether a fixed point is reached to tol, or to the rounding of the sums."""
    is_stagnant = change < 1e4 * tol and change > 0.5 * previous
    return iteration > 0 and (change <= tol or is_stagnant)


@njit(**OPTIONS)
def has_coupled_stages(a):
    """Whether any stage depends on itself or on a later one."""
    for i in range(a.shape[0]):
        for j in range(i, a.shape[1]):
            if a[i, j] != 0.0:
                return True
    return False


@njit(**OPTIONS)
def add_scaled(n, scale, source, target):
    """Add scale * source to target, over the n lanes in use of every component."""
    if scale == 0.0:
        return
    for start in range(0, target.shape[0], STRIDE):
        for i in range(start, start + n):
            target[i] += scale * source[i]


@njit(**OPTIONS)
def relative_change(n, old, new):
    """Largest |new - old| in the lanes in use, relative to the largest |new|."""
    change = 0.0
    size = 0.0
    for start in range(0, new.shape[0], STRIDE):
        for i in range(start, start + n):
            difference = abs(new[i] - old[i])
            # Written so that NaN is kept.
            change = change if difference <= change else difference
            size = max(size, abs(new[i]))
    return change / size if size > 0.0 else change
