"""Brackets of vector fields in given states: Eqs. (19) and (20)."""

from __future__ import annotations

import numpy as np

from mfpde.kernels.compiled import njit
from mfpde.kernels.sweep import OPTIONS, STRIDE, field, pullback_state


@njit(**OPTIONS)
def brackets(kernels, theta, first, last, lanes, zs, qs, out):
    """Add sum_i q_i . [sum_m f_m, f_j](z_i), first_j <= m < last_j, to out (n,).

    [F, f] = (d_z f) F - (d_z F) f, by two fields and two pullbacks for each block.
    theta (n, k); lanes (n_blocks,); zs and qs (n_blocks, n, d * STRIDE), q times the
    weight of each sample and zero in lanes without one.
    """
    weights = np.ones(theta.shape[0], dtype=zs.dtype)
    scratch = np.empty(kernels[3], dtype=zs.dtype)
    # Rows: F and f at z, then (d_z F)^T q and (d_z f)^T q.
    rows = np.empty((4, zs.shape[2]), dtype=zs.dtype)
    for j in range(theta.shape[0]):
        others, own = theta[first[j] : last[j]], theta[j : j + 1]
        for block in range(lanes.shape[0]):
            n, z, q = lanes[block], zs[block, j], qs[block, j]
            rows[:] = 0.0
            field(kernels, others, weights, n, z, rows[0], scratch)
            field(kernels, own, weights, n, z, rows[1], scratch)
            pullback_state(kernels, others, weights, n, z, q, rows[2], scratch)
            pullback_state(kernels, own, weights, n, z, q, rows[3], scratch)
            for start in range(0, rows.shape[1], STRIDE):
                for i in range(start, start + n):
                    out[j] += rows[3, i] * rows[0, i] - rows[2, i] * rows[1, i]
