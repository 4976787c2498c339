"""Shares of the particles, one on each of several processes ("ranks").

Every rank holds theta[:, m0:m1] and goes through the same steps with it; states,
adjoints and trained maps are the same on all ranks. All that the solver knows of other
ranks is a `Shard`; `WHOLE` is that of a single process. Every method of a shard is
collective: all ranks call it, in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Range = tuple[int, int]


class Shard(Protocol):
    """Which particles are here, and what the ranks tell each other.

    Attributes
    ----------
    rank, size : int
        Number of this rank, and of ranks.
    """

    rank: int
    size: int

    def bounds(self, rank: int) -> Range:
        """First particle of a rank, and the one after its last."""

    def sum_(self, array: NDArray[Any]) -> None:
        """Add a contiguous array over all ranks, in place. For fields.

        The last bits may differ from rank to rank: nothing is decided by it.
        """

    def agree_(self, array: NDArray[Any]) -> None:
        """Overwrite a contiguous array with that of rank 0."""

    def stack(self, values: ArrayLike) -> Array:
        """Values (n,) of all ranks, (size, n): the same bits everywhere.

        For scalars: what is computed from it is decided alike on all ranks.
        """

    def gather(self, array: Array, *, everywhere: bool = False) -> Array | None:
        """Join shares (J, m, k) to (J, M, k) on rank 0, or everywhere; else None."""

    def tell(self, value: Any) -> Any:
        """The value that rank 0 has, of whatever kind. For small ones."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All particles in one process: nobody to talk to."""

    rank = 0
    size = 1

    def bounds(self, rank: int) -> Range:
        """Not asked for: the length of theta tells."""
        raise NotImplementedError

    def sum_(self, array: NDArray[Any]) -> None:
        """Nothing to add."""

    def agree_(self, array: NDArray[Any]) -> None:
        """Nothing to overwrite."""

    def stack(self, values: ArrayLike) -> Array:
        """The values, (1, n)."""
        return np.asarray(values, dtype=np.float64)[np.newaxis]

    def gather(self, array: Array, *, everywhere: bool = False) -> Array:
        """The array itself."""
        return array

    def tell(self, value: Any) -> Any:
        """The value itself."""
        return value


WHOLE = Whole()


def balanced_bounds(n: int, size: int, rank: int) -> Range:
    """Range of n things for one of `size` ranks; the first ones have one more."""
    first = rank * (n // size) + min(rank, n % size)
    return first, first + n // size + (rank < n % size)


@dataclass(frozen=True, slots=True)
class Space:
    """Flat vectors: theta (J, m, k) of the particles here, then what all ranks share.

    Of the latter (trained maps, the ledger) every rank has the same copy, which counts
    once in sums. The default knows no particles: a vector is whole.
    """

    shard: Shard = WHOLE
    theta_shape: tuple[int, int, int] = (0, 0, 0)

    @property
    def n_own(self) -> int:
        """Entries that only this rank has."""
        return math.prod(self.theta_shape)

    def sums(self, of: Callable[[int, int], Sequence[float]], n: int) -> Array:
        """Sums over all entries of vectors; of(first, last) sums over a range here."""
        if self.shard.size == 1:
            return np.asarray(of(0, n))
        own, common = of(0, self.n_own), of(self.n_own, n)
        table = self.shard.stack([*own, *common])
        return table[:, : len(own)].sum(axis=0) + table[0, len(own) :]

    def count(self, n: int) -> int:
        """Entries of all ranks, for vectors with n of them here."""
        if self.shard.size == 1:
            return n
        return n + math.prod(self._whole_shape()) - self.n_own

    def norm(self, vector: Array) -> float:
        """Euclidean norm over all ranks."""

        def squares(first: int, last: int) -> list[float]:
            part = vector[first:last]
            return [np.dot(part, part)]

        return math.sqrt(self.sums(squares, len(vector))[0])

    def root_mean_square(self, vector: Array) -> float:
        """Root mean square over all ranks, 0 for no entries."""

        def squares(first: int, last: int) -> list[float]:
            return [np.sum(vector[first:last] ** 2)]

        n = len(vector)
        return float(np.sqrt(self.sums(squares, n)[0] / max(self.count(n), 1)))

    def standard_normal(self, generator: np.random.Generator, n: int) -> Array:
        """Normal numbers (n,) for the entries here, of those drawn for all ranks.

        Every rank draws them all, node by node: results do not depend on the ranks.
        """
        if self.shard.size == 1:
            return generator.standard_normal(n)
        first, last = self.shard.bounds(self.shard.rank)
        _, n_particles, k = self._whole_shape()
        numbers = np.empty(n)
        for at_node in numbers[: self.n_own].reshape(self.theta_shape):
            at_node[:] = generator.standard_normal((n_particles, k))[first:last]
        numbers[self.n_own :] = generator.standard_normal(n - self.n_own)
        return numbers

    def share(self, vector: Array) -> Array:
        """The entries that belong here of a vector of one process."""
        if self.shard.size == 1:
            return vector
        shape = self._whole_shape()
        first, last = self.shard.bounds(self.shard.rank)
        theta = vector[: math.prod(shape)].reshape(shape)[:, first:last]
        return np.concatenate([theta.ravel(), vector[math.prod(shape) :]])

    def gather(self, vector: Array) -> Array | None:
        """The vector as one process has it, on rank 0; None elsewhere."""
        if self.shard.size == 1:
            return vector
        theta = self.shard.gather(vector[: self.n_own].reshape(self.theta_shape))
        if theta is None:
            return None
        return np.concatenate([theta.ravel(), vector[self.n_own :]])

    def number(self, rank: int, index: int, n: int) -> int:
        """One number for an entry of a rank; n entries are here."""
        return rank * self._longest(n) + index

    def place(self, number: int, n: int) -> tuple[tuple[int, ...] | None, int]:
        """What `number` stands for: (node, particle, parameter), or a common entry.

        The second is the index among the common entries, -1 for a particle.
        """
        rank, index = divmod(number, self._longest(n))
        first, shape = 0, self.theta_shape
        if self.shard.size > 1:
            first, last = self.shard.bounds(rank)
            shape = (shape[0], last - first, shape[2])
        if index >= math.prod(shape):
            return None, index - math.prod(shape)
        node, particle, parameter = (int(i) for i in np.unravel_index(index, shape))
        return (node, first + particle, parameter), -1

    def _whole_shape(self) -> tuple[int, int, int]:
        _, n_particles = self.shard.bounds(self.shard.size - 1)
        return (self.theta_shape[0], n_particles, self.theta_shape[2])

    def _longest(self, n: int) -> int:
        """Entries on rank 0, which has the most."""
        if self.shard.size == 1:
            return n
        first, last = self.shard.bounds(0)
        n_nodes, n_here, k = self.theta_shape
        return n + n_nodes * (last - first - n_here) * k


ALL = Space()
"""Of vectors that one process has whole."""
