"""Sweeps through depth with the particles of several ranks, Eqs. (22) and (23).

`forward` and `adjoint` take what `kernels.sweep.forward` and `adjoint` take, after the
shard, and fill the same arrays. At every stage the parts of the field that the ranks'
particles make are added over the ranks: one message of all samples, each way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.engine.sharding import Shard
from mfpde.kernels.memory import empty_aligned
from mfpde.kernels.queue import close
from mfpde.kernels.stages import (
    add_stages,
    field_at_stage,
    pulled_at_stage,
    pulled_state_at_stage,
    settle,
)
from mfpde.kernels.sweep import (
    MAX_ITERATIONS,
    activate,
    has_coupled_stages,
    pull_activation,
)
from mfpde.kernels.threads import start_helpers

Array = NDArray[Any]


def forward(
    shard: Shard,
    kernels: tuple[int, int, int, int],
    outer: tuple[int, int],
    theta: Array,
    weights: Array,
    a: Array,
    b: Array,
    dt: Array,
    stage_node: NDArray[np.int64],
    tol: float,
    z0: Array,
    lanes: NDArray[np.int64],
    _counts: NDArray[np.int64],
    zs: Array,
    z_end: Array,
    failed: NDArray[np.int64],
) -> None:
    """State at every stage, Eq. (22), of all samples; see `kernels.sweep.forward`."""
    slopes, part = _work(len(b), z0)
    stages = _Stages(shard, len(lanes), part, theta.shape[1])
    iteration = _Iteration(shard, len(lanes), tol, has_coupled_stages(a))
    z_end[:] = z0
    failed[:] = -1
    for step, h in enumerate(dt.tolist()):
        slopes[:] = 0.0
        for _ in iteration:
            for i, node in enumerate(stage_node[step].tolist()):
                stages.run(
                    field_at_stage, kernels, theta[node], weights, a, h, step, i, lanes,
                    z_end, slopes, zs, part, iteration.changes,
                )  # fmt: skip
                slopes[:, i] = part
        if not iteration.is_settled:
            failed[:] = step
            return
        add_stages(lanes, h * b, slopes, z_end)
        for z, stored in zip(z_end, zs[:, step], strict=True) if outer[0] else ():
            stored[-1] = z
            activate(outer, stored[-1], z)


def adjoint(
    shard: Shard,
    kernels: tuple[int, int, int, int],
    outer: tuple[int, int],
    theta: Array,
    weights: Array,
    a: Array,
    b: Array,
    dt: Array,
    stage_node: NDArray[np.int64],
    tol: float,
    zs: Array,
    p_end: Array,
    lanes: NDArray[np.int64],
    _counts: NDArray[np.int64],
    _turns: NDArray[np.int64],
    ps: Array,
    grad: NDArray[np.float64],
    failed: NDArray[np.int64],
) -> None:
    """Adjoint and theta gradient, Eq. (23); see `kernels.sweep.adjoint`.

    grad (J, M, k) is that of the particles here.
    """
    is_implicit = bool(has_coupled_stages(a))
    pulled, part = _work(len(b), p_end)
    stages = _Stages(shard, len(lanes), part, theta.shape[1])
    iteration = _Iteration(shard, len(lanes), tol, is_implicit)
    q, p, ones = np.zeros_like(pulled), p_end.copy(), np.ones(len(b))
    grad[:] = 0.0
    ps[:, -1] = p
    failed[:] = -1
    for step in range(len(dt) - 1, -1, -1):
        h, backwards = float(dt[step]), list(enumerate(stage_node[step].tolist()))[::-1]
        pulled[:] = 0.0
        for covector, stored in zip(p, zs[:, step], strict=True) if outer[0] else ():
            pull_activation(outer, stored[-1], covector)
        for _ in iteration if is_implicit else ():
            for i, node in backwards:
                stages.run(
                    pulled_state_at_stage, kernels, theta[node], weights, a, b, h, step,
                    i, lanes, p, pulled, zs, q, part, iteration.changes,
                )  # fmt: skip
                pulled[:, i] = part
        if is_implicit and not iteration.is_settled:
            failed[:] = step
            return
        for i, node in backwards:
            turn = np.zeros(1, dtype=np.int64)
            stages.run(
                pulled_at_stage, kernels, theta[node], weights, a, b, h, step, i, lanes,
                p, pulled, zs, q, part, turn, grad[node],
            )  # fmt: skip
            pulled[:, i] = part
        add_stages(lanes, ones, pulled, p)
        if is_implicit:
            first = 1 + step * len(b)
            ps[:, first : first + len(b)] = q / (h * b)[:, np.newaxis]
        else:
            ps[:, step] = p
    ps[:, 0] = p


class _Stages:
    """Runs a kernel on all blocks of samples, by threads, and adds over the ranks."""

    def __init__(
        self, shard: Shard, n_blocks: int, part: Array, n_particles: int
    ) -> None:
        self.shard = shard
        self.n_blocks = n_blocks
        self.part = part
        self.n_operations = part.size * n_particles

    def run(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Call kernel(counts, *arguments), which fills the part; then reduce that."""
        # Its own for every stage: a thread that comes late finds nothing left to do.
        counts = np.zeros(2, dtype=np.int64)
        arguments = (counts, *arguments)
        dtype = self.part.dtype
        works, n_pieces = (counts,), (self.n_blocks,)
        try:
            start_helpers(kernel, arguments, dtype, self.n_blocks, self.n_operations)
            kernel(*arguments)
        finally:
            close(works, n_pieces)
        self.shard.sum_(self.part)


class _Iteration:
    """Passes over the stages of a step: one, or until all blocks of samples settle.

    Every iteration over it starts anew. `changes` (n_blocks,) is filled by the kernels;
    without coupled stages it has no length.
    """

    def __init__(
        self, shard: Shard, n_blocks: int, tol: float, is_implicit: bool
    ) -> None:
        self.shard = shard
        self.tol = tol
        self.changes = np.zeros(n_blocks if is_implicit else 0)
        self.is_settled = False

    def __iter__(self) -> Iterator[int]:
        self.is_settled = len(self.changes) == 0
        if self.is_settled:
            yield 0
            return
        self.changes[:] = 0.0
        previous = np.zeros_like(self.changes)
        settled = np.zeros(len(previous), dtype=np.bool_)
        for iteration in range(MAX_ITERATIONS):
            yield iteration
            are_all = settle(self.changes, previous, iteration, self.tol, settled)
            # Rank 0 decides: the last bits of sums may differ between ranks.
            self.is_settled = bool(self.shard.stack([are_all])[0, 0])
            if self.is_settled:
                return


def _work(n_stages: int, z: Array) -> tuple[Array, Array]:
    """Slopes of all stages of a step, and a message: zeros, for states like z."""
    n_blocks, width = z.shape
    slopes = empty_aligned((n_blocks, n_stages, width), z.dtype)
    part = empty_aligned(z.shape, z.dtype)
    slopes[:] = 0.0
    part[:] = 0.0
    return slopes, part
