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


@dataclass(frozen=True, eq=False)
class SampleLayout:
    """How N samples are cut into blocks, the units of parallel work.

    Depends on sizes only, never on the number of threads.

    Attributes
    ----------
    lanes : ndarray of int, shape (n_blocks,)
        Lanes in use in every block, a multiple of `VECTOR`.
    index : ndarray of int, shape (n_blocks, STRIDE)
        The sample in every lane; lanes without one of their own repeat the last.
    is_own : ndarray of bool, shape (n_blocks, STRIDE)
        Whether a lane has a sample of its own.
    """

    lanes: NDArray[np.int64]
    index: NDArray[np.int64]
    is_own: NDArray[np.bool_]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.lanes)

    def empty(self, d: int, dtype: DTypeLike) -> NDArray:
        """Blocks (n_blocks, d * STRIDE), not initialised."""
        return empty_aligned((self.n_blocks, d * STRIDE), dtype)

    def pack(self, values: NDArray, out: NDArray, fill_own_only: bool = False) -> None:
        """Write (..., N, d) to blocks (n_blocks, ..., d * STRIDE).

        Lanes without a sample of their own repeat one, or are zero on request.
        """
        blocks = values[..., self.index, :]
        if fill_own_only:
            blocks[..., ~self.is_own, :] = 0.0
        lanes_last = out.reshape(*out.shape[:-1], -1, STRIDE)
        lanes_last[...] = np.moveaxis(blocks, -3, 0).swapaxes(-1, -2)

    def unpack(self, blocks: NDArray, out: NDArray | None = None) -> NDArray:
        """Blocks (n_blocks, ..., d * STRIDE) as a float64 array (..., N, d)."""
        n_own = self.is_own.sum(axis=1)
        if out is None:
            shape = (*blocks.shape[1:-1], n_own.sum(), blocks.shape[-1] // STRIDE)
            out = np.empty(shape)
        start = 0
        # Block by block: all at once would take as much memory again, twice.
        for block, n in zip(blocks, n_own, strict=True):
            lanes_last = block.reshape(*block.shape[:-1], -1, STRIDE)
            target = out[..., start : start + n, :]
            target[...] = lanes_last[..., :n].swapaxes(-1, -2)
            start += n
        return out


def sample_layout(n_samples: int) -> SampleLayout:
    """Cut samples into blocks of at most BLOCK lanes, an even number as even as can be.

    A single block would leave all threads but one without work.
    """
    n_vectors = -(-n_samples // VECTOR)
    n_blocks = max(2, -(-n_samples // BLOCK))
    n_blocks = min(n_blocks + n_blocks % 2, n_vectors)
    sizes = [
        n_vectors // n_blocks + (i < n_vectors % n_blocks) for i in range(n_blocks)
    ]
    lanes = VECTOR * np.array(sizes, dtype=np.int64)
    first = np.cumsum(lanes) - lanes
    lane = np.arange(STRIDE)
    sample = first[:, np.newaxis] + lane
    is_own = (lane < lanes[:, np.newaxis]) & (sample < n_samples)
    return SampleLayout(
        lanes=lanes,
        index=np.minimum(sample, n_samples - 1),
        is_own=is_own,
    )
