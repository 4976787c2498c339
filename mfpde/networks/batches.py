"""Mini-batches, shuffled in every pass through the data."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import check_fields, checked, optional, whole
from mfpde.networks.rates import ITERATION


@dataclass(frozen=True)
class Batches:
    """Which samples an iteration uses: a function of (seed, iteration) alone.

    Parameters
    ----------
    n_samples : int
        N.
    batch_size : int, optional
        Most samples in a batch; None is all of them, in their order. A pass through the
        data has ceil(N / batch_size) batches, whose sizes differ by at most one.
    seed : int
        Of the shuffles: pass number e is shuffled by the counter-based generator Philox
        with the key `seed` at the counter e, so nothing has to be remembered.
    """

    n_samples: int
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(
            self,
            n_samples=whole(1),
            batch_size=optional(whole(1)),
            seed=whole(0, 2**63 - 1),
        )
        if self.batch_size is not None and self.batch_size > self.n_samples:
            raise ValueError(
                f"`batch_size` must be at most the {self.n_samples} samples, got "
                f"{self.batch_size}; None takes all of them in every iteration."
            )

    @property
    def n_batches(self) -> int:
        """Batches in a pass."""
        return -(-self.n_samples // (self.batch_size or self.n_samples))

    @property
    def is_whole(self) -> bool:
        """Whether every batch is all the data."""
        return self.n_batches == 1

    @checked(iteration=ITERATION)
    def index(self, iteration: int) -> NDArray[np.int64]:
        """Rows of the samples of an iteration, (n,)."""
        n, n_batches = self.n_samples, self.n_batches
        if self.is_whole:
            return np.arange(n)
        n_pass, place = divmod(iteration, n_batches)
        first, last = place * n // n_batches, (place + 1) * n // n_batches
        return _shuffled(n, self.seed, n_pass)[first:last]

    def describe(self) -> dict[str, Any]:
        """Plain values, without the number of samples."""
        return {"batch_size": self.batch_size, "seed": int(self.seed)}


@functools.lru_cache(maxsize=2)
def _shuffled(n_samples: int, seed: int, n_pass: int) -> NDArray[np.int64]:
    """The order of a pass; kept while it lasts."""
    # A block of the counter for each pass: streams of 2^128 numbers apart.
    generator = np.random.Generator(
        np.random.Philox(key=int(seed), counter=[0, 0, n_pass, 0])
    )
    order = generator.permutation(n_samples)
    order.setflags(write=False)
    return order
