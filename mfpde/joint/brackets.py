"""Brackets of blocks in given states: the commutators of Eqs. (19) and (20)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.kernels import bracket as kernel
from mfpde.kernels.memory import empty_aligned
from mfpde.kernels.samples import sample_layout
from mfpde.kernels.sweep import STRIDE
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]


def brackets(
    problem: MeanFieldProblem,
    theta: Array,
    z: Array,
    p: Array,
    ranges: NDArray[np.int64],
) -> Array:
    """Return mean_i p_i . [F, f(., theta_j)](z_i), F the sum of f over a range.

    Parameters
    ----------
    problem : MeanFieldProblem
        Its block and sample weights are used.
    theta : ndarray, shape (n, k)
    z, p : ndarray, shape (n, N, d)
        States and adjoints at each block; no factor 1 / N in p.
    ranges : ndarray of int, shape (2, n)
        F of block j is the sum of the blocks ranges[0, j] <= m < ranges[1, j].

    Returns
    -------
    values : ndarray, shape (n,)
        With [F, f] = (d_z f) F - (d_z F) f, as in Eq. (19).
    """
    n = len(theta)
    layout = sample_layout(problem.n_samples)
    dtype = np.dtype(problem.dtype)
    shape = (layout.n_blocks, n, problem.d * STRIDE)
    states, covectors = (empty_aligned(shape, dtype) for _ in range(2))
    layout.pack(z, states)
    layout.pack(p * problem.sample_weights[:, np.newaxis], covectors, True)
    values = np.zeros(n)
    kernel.brackets(
        problem.block.kernels(problem.dtype).addresses,
        np.ascontiguousarray(theta, dtype=dtype),
        *np.ascontiguousarray(ranges),
        layout.lanes,
        states,
        covectors,
        values,
    )
    return values
