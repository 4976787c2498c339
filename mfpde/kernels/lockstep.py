"""One stage of all blocks of samples: what ranks do between two reductions.

`sweep` takes one block of samples through all depths after the other. Where particles
are spread over ranks, all blocks go through depth together: at every stage each rank
adds up its particles' part of the field, the parts are added over the ranks, and then
all go on. The loops over blocks stand here, the formulas in `sweep`.

Arrays are those of `sweep.forward` and `sweep.adjoint`: width = d * STRIDE, zs
(n_blocks, n_steps, n_stages, width), lanes (n_blocks,); at_node (M, k) and weights (M,)
are those of the particles here. `part` (n_blocks, width) receives their part of what is
to be added over the ranks; `new` (width,) and `scratch` are for use in here.
"""

from __future__ import annotations

from numba import njit

from mfpde.kernels.sweep import (
    OPTIONS,
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
    kernels, at_node, weights, a, h, step, i, lanes, z, slopes, zs, part, changes, new,
    scratch,
):  # fmt: skip
    """Stage Z_i = z + dt sum_j a_ij F_j, Eq. (22), and the part of the field there.

    z (n_blocks, width), slopes (n_blocks, n_stages, width). Fills zs[:, step, i], part,
    and changes, how much the stage has changed, if that has a length: (n_blocks,).
    """
    for block in range(lanes.shape[0]):
        n = lanes[block]
        stage = zs[block, step, i]
        new[:] = z[block]
        for j in range(a.shape[0]):
            add_scaled(n, h * a[i, j], slopes[block, j], new)
        if changes.shape[0] > 0:
            latest = relative_change(n, stage, new)
            changes[block] = changes[block] if latest <= changes[block] else latest
        stage[:] = new
        part[block] = 0.0
        field(kernels, at_node, weights, n, stage, part[block], scratch)


@njit(**OPTIONS)
def pulled_at_stage(
    kernels, at_node, weights, a, b, h, step, i, lanes, p, pulled, zs, q, part, grad,
    scratch,
):  # fmt: skip
    """Lambda_i of Eq. (23) and the part of (d_z F_i)^T Lambda_i; all times dt.

    p (n_blocks, width); pulled and q (n_blocks, n_stages, width). Fills q[:, i] and
    part; grad (M, k) at the node, float64, gets the sums over samples added.
    """
    for block in range(lanes.shape[0]):
        n = lanes[block]
        covector = q[block, i]
        adjoint_stage(a, b, h, n, p[block], pulled[block], i, covector)
        part[block] = 0.0
        stage = zs[block, step, i]
        pullback(
            kernels, at_node, weights, n, stage, covector, part[block], grad, scratch
        )


@njit(**OPTIONS)
def pulled_state_at_stage(
    kernels, at_node, weights, a, b, h, step, i, lanes, p, pulled, zs, q, part, changes,
    new, scratch,
):  # fmt: skip
    """What `pulled_at_stage` does, without a gradient; changes as in `field_at_stage`.

    One stage of the fixed-point iteration of an implicit tableau.
    """
    for block in range(lanes.shape[0]):
        n = lanes[block]
        covector = q[block, i]
        adjoint_stage(a, b, h, n, p[block], pulled[block], i, new)
        latest = relative_change(n, covector, new)
        changes[block] = changes[block] if latest <= changes[block] else latest
        covector[:] = new
        part[block] = 0.0
        stage = zs[block, step, i]
        pullback_state(
            kernels, at_node, weights, n, stage, covector, part[block], scratch
        )


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
