"""One stage of all blocks of samples: what ranks do between two reductions.

`sweep` takes one block of samples through all depths after the other. Where particles
are spread over ranks, all blocks go through depth together: at every stage each rank
adds up its particles' part of the field, the parts are added over the ranks, and then
all go on. The loops over blocks stand here, the formulas in `sweep`.

Arrays are those of `sweep.forward` and `sweep.adjoint`: width = d * STRIDE, zs
(n_blocks, n_steps, n_stages, width), lanes (n_blocks,); at_node (M, k) and weights (M,)
are those of the particles here. Each function of a stage is one worker, which takes
blocks while there are, as in `sweep`: counts (2,), zero at the start of a stage, is
shared by the threads. `part` (n_blocks, width) receives what is to be added over the
ranks; changes (n_blocks,), how much the stage has changed since the last pass of a
fixed-point iteration, at most: it has no length if there is none.
"""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiled import njit
from mfpde.kernels.queue import finish, take
from mfpde.kernels.sweep import (
    OPTIONS,
    add_in_turn,
    add_scaled,
    adjoint_stage,
    field,
    is_settled,
    pullback,
    pullback_state,
    relative_change,
)


@njit(**OPTIONS)
def field_at_stage(
    counts, kernels, at_node, weights, a, h, step, i, lanes, z, slopes, zs, part,
    changes,
):  # fmt: skip
    """Stage Z_i = z + dt sum_j a_ij F_j, Eq. (22), and the part of the field there.

    z (n_blocks, width), slopes (n_blocks, n_stages, width). Fills zs[:, step, i].
    """
    new = np.empty(z.shape[1], dtype=z.dtype)
    scratch = np.empty(kernels[3], dtype=z.dtype)
    while True:
        block = take(counts)
        if block >= lanes.shape[0]:
            return
        n = lanes[block]
        stage = zs[block, step, i]
        new[:] = z[block]
        for j in range(a.shape[0]):
            add_scaled(n, h * a[i, j], slopes[block, j], new)
        note_change(changes, block, n, stage, new)
        stage[:] = new
        part[block] = 0.0
        field(kernels, at_node, weights, n, stage, part[block], scratch)
        finish(counts)


@njit(**OPTIONS)
def pulled_at_stage(
    counts, kernels, at_node, weights, a, b, h, step, i, lanes, p, pulled, zs, q, part,
    turn, grad,
):  # fmt: skip
    """Lambda_i of Eq. (23) and the part of (d_z F_i)^T Lambda_i; all times dt.

    p (n_blocks, width); pulled and q (n_blocks, n_stages, width). Fills q[:, i]; grad
    (M, k) at the node, float64, gets the sums over samples added, block by block: turn
    (1,), zero at the start of a stage, is shared like counts.
    """
    scratch = np.empty(kernels[3], dtype=p.dtype)
    own = np.zeros(at_node.shape)
    while True:
        block = take(counts)
        if block >= lanes.shape[0]:
            return
        n = lanes[block]
        covector = q[block, i]
        adjoint_stage(a, b, h, n, p[block], pulled[block], i, covector)
        part[block] = 0.0
        stage = zs[block, step, i]
        pullback(
            kernels, at_node, weights, n, stage, covector, part[block], own, scratch
        )
        add_in_turn(block, turn, own, grad, False)
        finish(counts)


@njit(**OPTIONS)
def pulled_state_at_stage(
    counts, kernels, at_node, weights, a, b, h, step, i, lanes, p, pulled, zs, q, part,
    changes,
):  # fmt: skip
    """What `pulled_at_stage` does, without a gradient: one pass of an iteration."""
    new = np.empty(p.shape[1], dtype=p.dtype)
    scratch = np.empty(kernels[3], dtype=p.dtype)
    while True:
        block = take(counts)
        if block >= lanes.shape[0]:
            return
        n = lanes[block]
        covector = q[block, i]
        adjoint_stage(a, b, h, n, p[block], pulled[block], i, new)
        note_change(changes, block, n, covector, new)
        covector[:] = new
        part[block] = 0.0
        stage = zs[block, step, i]
        pullback_state(
            kernels, at_node, weights, n, stage, covector, part[block], scratch
        )
        finish(counts)


@njit(**OPTIONS)
def note_change(changes, block, n, old, new):
    """Raise changes[block] to the relative change from old to new, if that is asked."""
    if changes.shape[0] > 0:
        latest = relative_change(n, old, new)
        # Written so that NaN is kept.
        changes[block] = changes[block] if latest <= changes[block] else latest


@njit(**OPTIONS)
def add_stages(lanes, factors, slopes, z):
    """Add sum_i factors_i slopes_i to z; slopes (n_blocks, n_stages, width)."""
    for block in range(lanes.shape[0]):
        for i in range(factors.shape[0]):
            add_scaled(lanes[block], factors[i], slopes[block, i], z[block])


@njit(**OPTIONS)
def settle(changes, previous, iteration, tol, settled):
    """Note in settled (n_blocks,) which blocks stand still; whether all do.

    previous takes over the changes, which start at zero again.
    """
    are_all = True
    for block in range(changes.shape[0]):
        if is_settled(changes[block], previous[block], iteration, tol):
            settled[block] = True
        are_all = are_all and settled[block]
        previous[block] = changes[block]
        changes[block] = 0.0
    return are_all
