"""Brackets of blocks in given states: the commutators of Eqs. (19) and (20)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, float_array, index_array
from mfpde.kernels import bracket as kernel
from mfpde.kernels.memory import empty_aligned
from mfpde.kernels.samples import sample_layout
from mfpde.kernels.sweep import STRIDE
from mfpde.problem import A_PROBLEM, MeanFieldProblem

Array = NDArray[np.float64]


@checked(problem=A_PROBLEM, ranges=index_array)
def brackets(
    problem: MeanFieldProblem,
    theta: ArrayLike,
    z: ArrayLike,
    p: ArrayLike,
    ranges: ArrayLike,
) -> Array:
    """Return mean_i p_i . [F, f(., theta_j)](z_i), F the sum of f over a range.

    Parameters
    ----------
    problem : MeanFieldProblem
        Its block and sample weights are used.
    theta : array_like, shape (n, k)
    z, p : array_like, shape (n, N, d)
        States and adjoints at each block; no factor 1 / N in p.
    ranges : array_like of int, shape (2, n)
        F of block j is the sum of the blocks ranges[0, j] <= m < ranges[1, j].

    Returns
    -------
    values : ndarray, shape (n,)
        With [F, f] = (d_z f) F - (d_z F) f, as in Eq. (19).

    Raises
    ------
    ValueError, TypeError
        If the shapes do not fit each other or the problem, or a range leaves the n
        blocks.
    """
    theta, z, p = _in_states(problem, theta, z, p)
    n = len(theta)
    first, last = _ends(np.asarray(ranges), n)
    layout = sample_layout(problem.n_samples)
    dtype = np.dtype(problem.dtype)
    shape = (layout.n_blocks, n, problem.d * STRIDE)
    states, covectors = (empty_aligned(shape, dtype) for _ in range(2))
    layout.pack(z, states)
    layout.pack(p * problem.sample_weights[:, np.newaxis], covectors, True)
    values = np.zeros(n)
    kernel.brackets(
        problem.kernels.addresses,
        theta.astype(dtype),
        first,
        last,
        layout.lanes,
        states,
        covectors,
        values,
    )
    return values


def _in_states(
    problem: MeanFieldProblem, theta: ArrayLike, z: ArrayLike, p: ArrayLike
) -> tuple[Array, Array, Array]:
    """Blocks (n, k), states and adjoints (n, N, d) as arrays that fit."""
    theta, z, p = (
        float_array(name, values)
        for name, values in (("theta", theta), ("z", z), ("p", p))
    )
    if theta.ndim != 2 or theta.shape[1] != problem.k:
        raise ValueError(
            f"`theta` must have shape (n_blocks, {problem.k}), got {theta.shape}."
        )
    required = (len(theta), problem.n_samples, problem.d)
    for name, values in (("z", z), ("p", p)):
        if values.shape != required:
            raise ValueError(
                f"`{name}` must have shape (n_blocks, n_samples, d) = {required}, "
                f"got {values.shape}."
            )
    return theta, z, p


def _ends(ranges: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """First and last (2, n) of ranges among n blocks."""
    if ranges.shape != (2, n):
        raise ValueError(
            f"`ranges` must have shape (2, n_blocks) = (2, {n}), got {ranges.shape}."
        )
    bounds = np.concatenate([np.zeros((1, n)), ranges, np.full((1, n), n)])
    is_wrong = (np.diff(bounds, axis=0) < 0).any(axis=0)
    if is_wrong.any():
        j = int(np.argmax(is_wrong))
        raise ValueError(
            f"`ranges` must have 0 <= ranges[0, j] <= ranges[1, j] <= {n}, got "
            f"{ranges[0, j]} and {ranges[1, j]} for block {j}."
        )
    return ranges
