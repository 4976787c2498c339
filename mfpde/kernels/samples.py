"""Samples in blocks: the array layout of the sweeps (see `sweep`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mfpde.kernels.memory import empty_aligned
from mfpde.kernels.sweep import STRIDE

# Largest number of lanes in use.
BLOCK = 128
# Numbers in a vector register: a loop over fewer or uneven lanes is scalar.
VECTOR = 8
MAX_PARTS = 16
# Each part of the samples owns a gradient of the size of theta.
MAX_PARTS_BYTES = 128 * 2**20


@dataclass(frozen=True, eq=False)
class SampleLayout:
    """How N samples are cut into parts (units of parallel work) and blocks.

    Depends on sizes only, never on the number of threads.

    Attributes
    ----------
    lanes : ndarray of int, shape (n_blocks,)
        Lanes in use in every block, a multiple of `VECTOR`.
    index : ndarray of int, shape (n_blocks, STRIDE)
        The sample in every lane; lanes without one of their own repeat the last.
    is_own : ndarray of bool, shape (n_blocks, STRIDE)
        Whether a lane has a sample of its own.
    part_start : ndarray of int, shape (n_parts + 1,)
        First block of each part.
    """

    lanes: NDArray[np.int64]
    index: NDArray[np.int64]
    is_own: NDArray[np.bool_]
    part_start: NDArray[np.int64]

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return len(self.part_start) - 1

    def pack(
        self, values: NDArray, dtype: DTypeLike, fill_own_only: bool = False
    ) -> NDArray:
        """Array (N, d) as blocks (n_blocks, d * STRIDE); optionally zero elsewhere."""
        blocks = values[self.index]
        if fill_own_only:
            blocks[~self.is_own] = 0.0
        packed = empty_aligned((len(blocks), blocks.shape[2], STRIDE), dtype)
        packed[...] = blocks.transpose(0, 2, 1)
        return packed.reshape(len(blocks), -1)

    def unpack(self, blocks: NDArray) -> NDArray:
        """Blocks (n_blocks, ..., d * STRIDE) as a float64 array (..., N, d)."""
        shape = (*blocks.shape[:-1], -1, STRIDE)
        lanes_second = np.moveaxis(blocks.reshape(shape), -1, 1)
        own = lanes_second[self.is_own]
        return np.ascontiguousarray(np.moveaxis(own, 0, -2), dtype=np.float64)


def sample_layout(n_samples: int, gradient_bytes: int) -> SampleLayout:
    """Cut samples into parts of equal work and blocks of at most BLOCK lanes."""
    n_vectors = -(-n_samples // VECTOR)
    n_parts = max(2, -(-n_samples // BLOCK))
    n_parts = min(n_parts, MAX_PARTS, max(2, MAX_PARTS_BYTES // gradient_bytes))
    n_parts = min(n_parts + n_parts % 2, n_vectors)
    sizes, part_start = [], [0]
    for part in _even(n_vectors, n_parts):
        sizes += _even(part, -(-part * VECTOR // BLOCK))
        part_start.append(len(sizes))
    lanes = VECTOR * np.array(sizes, dtype=np.int64)
    first = np.cumsum(lanes) - lanes
    lane = np.arange(STRIDE)
    sample = first[:, np.newaxis] + lane
    is_own = (lane < lanes[:, np.newaxis]) & (sample < n_samples)
    return SampleLayout(
        lanes=lanes,
        index=np.minimum(sample, n_samples - 1),
        is_own=is_own,
        part_start=np.array(part_start, dtype=np.int64),
    )


def _even(total: int, n: int) -> list[int]:
    """Total as n whole numbers that differ by at most one."""
    return [total // n + (i < total % n) for i in range(n)]
