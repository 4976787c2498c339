"""Worker processes on this machine, each with bounded threads and memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection, resource_tracker
from typing import Any

from mfpde.arrays import checked, optional
from mfpde.executors.base import (
    BYTES,
    COUNT,
    GIVEN_UP,
    MOST_DEATHS,
    RUN,
    THREAD_NAMES,
    Function,
    Lost,
    Unit,
    counted,
    pickled,
)
from mfpde.executors.memory import format_memory, share_of_memory
from mfpde.executors.worker import serve

_DEAD = object()


class Processes:
    """Do the units in `n_workers` processes of this machine, started by spawn.

    A process that ends, whatever the reason, costs the unit it was at: a fresh process
    takes its place and the unit is begun again, three times at most.

    Parameters
    ----------
    n_workers : int
    threads : int
        Threads of the kernels and of the linear algebra in each process.
    memory : int, optional
        Bytes of data that each process may hold; a unit that needs more gets a
        MemoryError. Default: an equal share of 90 % of the machine's memory.

    Notes
    -----
    `concurrent.futures` gives up the whole pool, and every unit that runs in it, when
    one process dies; so each process has a pipe of its own here.
    """

    @checked(n_workers=COUNT, threads=COUNT, memory=optional(BYTES))
    def __init__(
        self, n_workers: int, *, threads: int = 1, memory: int | None = None
    ) -> None:
        self.n_workers = n_workers
        self.threads = threads
        self.memory = share_of_memory(n_workers) if memory is None else memory
        self._workers: list[_Worker] = []

    def describe(self) -> str:
        """See `Executor`."""
        return (
            f"{counted(self.n_workers, 'worker')}, {counted(self.threads, 'thread')} "
            f"and at most {format_memory(self.memory)} each"
        )

    @checked(**RUN)
    def run(
        self, function: Function, units: Sequence[Unit], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Unit, Any]]:
        """See `Executor`."""
        waiting, deaths = deque(units), Counter[str]()
        for worker in self._workers:
            worker.forget()
        while True:
            self._hand_out(function, waiting, shared)
            busy = {w.pipe: w for w in self._workers if w.unit is not None}
            if not busy:
                return
            ended = []
            for pipe in connection.wait(list(busy)):
                unit, result = busy[pipe].take_result()
                if result is not _DEAD:
                    ended.append((unit, result))
                    continue
                self._replace(busy[pipe])
                deaths[unit.name] += 1
                if deaths[unit.name] < MOST_DEATHS:
                    waiting.appendleft(unit)
                else:
                    ended.append((unit, Lost(GIVEN_UP)))
            # No process waits for what the caller does with the results.
            self._hand_out(function, waiting, shared)
            yield from ended

    def _hand_out(
        self, function: Function, waiting: deque[Unit], shared: Mapping[str, Any]
    ) -> None:
        for worker in self._workers:
            if waiting and worker.unit is None:
                worker.give(function, waiting.popleft(), shared)

    def _replace(self, worker: _Worker) -> None:
        worker.stop()
        self._workers[self._workers.index(worker)] = self._start()

    def _start(self) -> _Worker:
        with _environment(dict.fromkeys(THREAD_NAMES, str(self.threads))):
            return _Worker(self.memory)

    def __enter__(self) -> Processes:
        try:
            for _ in range(self.n_workers):
                self._workers.append(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._workers:
            self._workers.pop().stop()


class _Worker:
    """A process, our end of its pipe, and the unit it is at."""

    def __init__(self, memory: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.unit: Unit | None = None
        self._has: set[str] = set()
        # A daemon ends with us in any case; it may not start processes itself.
        self.process = context.Process(target=serve, args=(theirs, memory), daemon=True)
        with _interrupt_blocked():
            self.process.start()
        theirs.close()

    def give(self, function: Function, unit: Unit, shared: Mapping[str, Any]) -> None:
        """Send a unit, and before it the shared values not sent yet."""
        work = pickled(function, unit.argument)
        self.unit = unit
        # If the process is dead, reading tells so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for name in unit.needs:
                if name not in self._has:
                    self._send("keep", name, shared[name])
                    self._has.add(name)
            self._send("call", work, unit.needs)

    def forget(self) -> None:
        """Send shared values anew: another run may have others of the same name."""
        self._has.clear()

    def take_result(self) -> tuple[Unit, Any]:
        """Return the unit and its result, `_DEAD` if the process has died."""
        unit, self.unit = self.unit, None
        try:
            return unit, pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            return unit, _DEAD

    def stop(self) -> None:
        """Close the pipe, at which an idle process ends, and kill a busy one."""
        self.pipe.close()
        if self.unit is not None:
            self.process.kill()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()

    def _send(self, *message: Any) -> None:
        self.pipe.send_bytes(pickle.dumps(message))


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Processes started in the block do not notice Ctrl-C: it is ours to end them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Starting this helper process of Python's would undo the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
