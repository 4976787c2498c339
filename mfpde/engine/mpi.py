"""One solve on many machines, by MPI: the only module that imports mpi4py."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.engine.sharding import WHOLE, Array, Range, Shard, balanced_bounds
from mfpde.environment import launched
from mfpde.errors import ConfigurationError, ConvergenceError, NotFiniteError, sentence

GRACE_S = 2.0
"""Seconds that a rank which fails waits for the others to fail, too."""

# Failures that a sentence explains; of others the traceback is shown.
_TOLD = (OSError, MemoryError, NotFiniteError, ConvergenceError, KeyboardInterrupt)


def world() -> Any:
    """The communicator of all processes that a launcher started; None for a single one.

    Raises
    ------
    ConfigurationError
        If mpi4py is missing, or belongs to another MPI than the launcher: the processes
        would not know of each other, and all write the same file.
    """
    _, size = launched()
    if size == 1:
        return None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ConfigurationError(
            [
                f"A launcher started {size} processes, which needs mpi4py ({error}). "
                "Install it with: pip install 'mfpde[mpi]'."
            ]
        ) from error
    communicator = MPI.COMM_WORLD
    if communicator.size != size:
        raise ConfigurationError(
            [
                f"The launcher started {size} processes, but mpi4py sees "
                f"{communicator.size}: it was built for another MPI library. Use the "
                "mpiexec of that library: "
                f"{MPI.Get_library_version().splitlines()[0].strip()}"
            ]
        )
    return communicator


def shard_of(communicator: Any, n_particles: int) -> Shard:
    """The share of this rank: particles cut evenly, in their order.

    Raises
    ------
    ConfigurationError
        If there are more ranks than particles.
    """
    if communicator is None:
        return WHOLE
    if communicator.size > n_particles:
        raise ConfigurationError(
            [
                f"There are {communicator.size} ranks for {n_particles} particles at "
                f"each node: start at most {n_particles} processes (mpiexec -n)."
            ]
        )
    return WHOLE if communicator.size == 1 else MpiShard(communicator, n_particles)


class MpiShard:
    """The particles of one rank of a communicator of mpi4py; see `Shard`."""

    def __init__(self, communicator: Any, n_particles: int) -> None:
        from mpi4py import MPI

        self.rank: int = communicator.rank
        self.size: int = communicator.size
        self._communicator = communicator
        self._n_particles = n_particles
        self._in_place = MPI.IN_PLACE

    def bounds(self, rank: int) -> Range:
        """First particle of a rank, and the one after its last."""
        return balanced_bounds(self._n_particles, self.size, rank)

    def sum_(self, array: NDArray[Any]) -> None:
        """Add a contiguous array over all ranks, in place."""
        self._communicator.Allreduce(self._in_place, array)

    def agree_(self, array: NDArray[Any]) -> None:
        """Overwrite a contiguous array with that of rank 0."""
        self._communicator.Bcast(array)

    def stack(self, values: ArrayLike) -> Array:
        """Values (n,) of all ranks, (size, n)."""
        values = np.ascontiguousarray(values, dtype=np.float64)
        table = np.empty((self.size, len(values)))
        self._communicator.Allgather(values, table)
        return table

    def gather(self, array: Array, *, everywhere: bool = False) -> Array | None:
        """Join shares (J, m, k) to (J, M, k) on rank 0, or everywhere; else None."""
        n_nodes, _, k = array.shape
        whole = None
        if everywhere or self.rank == 0:
            whole = np.empty((n_nodes, self._n_particles, k), dtype=array.dtype)
        ends = [self.bounds(rank) for rank in range(self.size)]
        counts = [k * (last - first) for first, last in ends]
        starts = [k * first for first, _ in ends]
        # Node by node: what arrives then stands in its place, without a copy.
        for j in range(n_nodes):
            here = np.ascontiguousarray(array[j])
            there = None if whole is None else (whole[j], (counts, starts))
            if everywhere:
                self._communicator.Allgatherv(here, there)
            else:
                self._communicator.Gatherv(here, there)
        return whole

    def tell(self, value: Any) -> Any:
        """The value that rank 0 has."""
        return self._communicator.bcast(value)


@contextlib.contextmanager
def all_or_none(communicator: Any) -> Iterator[Any]:
    """End all ranks when one fails: the others would wait for it for ever.

    Yields a communicator of its own for the messages of the block. A failure that all
    ranks share is raised on all of them; one that the others do not share within
    `GRACE_S` is printed, and MPI aborts all ranks with status 1.

    Raises
    ------
    TypeError
        If it is no communicator of mpi4py.
    """
    if communicator is not None and not hasattr(communicator, "Allreduce"):
        raise TypeError(
            "`communicator` must be one of mpi4py, such as MPI.COMM_WORLD, "
            f"got {communicator!r}."
        )
    if communicator is None or communicator.size == 1:
        yield communicator
        return
    own, agreement = communicator.Dup(), communicator.Dup()
    try:
        yield own
    except BaseException as error:
        if not _all_arrive(agreement):
            _tell(error, communicator)
            communicator.Abort(1)
            # It may return before this process is ended, too.
            os._exit(1)
        raise
    finally:
        own.Free()
        agreement.Free()


def _all_arrive(communicator: Any) -> bool:
    request = communicator.Ibarrier()
    deadline = time.monotonic() + GRACE_S
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(1e-3)
    return True


def _tell(error: BaseException, communicator: Any) -> None:
    """Print the sentence where it is seen, whatever became of sys.stderr."""
    stream = sys.__stderr__
    if not isinstance(error, _TOLD):
        traceback.print_exception(error, file=stream)
    print(
        f"mfpde: rank {communicator.rank} of {communicator.size} failed, so all are "
        f"ended: {sentence(error)}",
        file=stream,
        flush=True,
    )
