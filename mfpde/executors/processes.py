"""Worker processes on this machine, each with bounded threads and memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, resource_tracker
from typing import Any

from mfpde.arrays import checked, optional
from mfpde.executors.base import (
    BYTES,
    COUNT,
    GIVEN_UP,
    RUN,
    THREAD_NAMES,
    Call,
    DeadWorker,
    Failure,
    Function,
    attempt_in_thread,
    counted,
    in_words,
    pickled,
    stream,
)
from mfpde.executors.memory import bound_memory, format_memory, share_of_memory


class Processes:
    """Do the calls in `n_workers` processes of this machine, started by spawn.

    A process that ends, whatever the reason, costs the call it was at: a new process
    takes its place and the call is repeated, three times at most.

    Parameters
    ----------
    n_workers : int
    threads : int
        Threads of the kernels and of the linear algebra in each process.
    memory : int, optional
        Bytes of data that each process may hold; a call that needs more gets a
        MemoryError. Default: an equal share of 90 % of the machine's memory.

    Notes
    -----
    Every process is a `ProcessPoolExecutor` with one worker: if a process dies, its
    pool breaks, and the calls in the other pools go on.
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
        self, function: Function, calls: Sequence[Call], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Call, Any]]:
        """See `Executor`."""
        for place, worker in enumerate(self._workers):
            worker.has.clear()  # another run may have other values of the same name
            if worker.future is not None:  # left by a run that was not read to its end
                worker.stop()
                self._workers[place] = self._start()

        def submit(call: Call) -> Future[bytes]:
            worker = next(each for each in self._workers if each.future is None)
            return worker.submit(function, call, shared)

        def result_of(future: Future[bytes]) -> Any:
            (worker,) = (each for each in self._workers if each.future is future)
            worker.future = None
            try:
                return pickle.loads(future.result())
            except BrokenProcessPool:
                worker.stop()
                self._workers[self._workers.index(worker)] = self._start()
                return DeadWorker(GIVEN_UP)
            # A result that cannot be pickled, or read.
            except Exception as error:
                return Failure(in_words(error))

        yield from stream(calls, lambda: len(self._workers), submit, result_of)

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
    """A pool of one process, and the call it is at."""

    def __init__(self, memory: int) -> None:
        context = multiprocessing.get_context("spawn")
        # Closed with this process, however it ends; the worker then ends, too.
        theirs, self._pipe = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            1, context, initializer=_prepare, initargs=(theirs, memory)
        )
        with _interrupt_blocked():
            self._first = self._pool.submit(os.getpid)
        theirs.close()
        self.future: Future[bytes] | None = None
        self.has: set[str] = set()

    @property
    def pid(self) -> int:
        """The number of the process; waits until it runs."""
        return self._first.result()

    def submit(
        self, function: Function, call: Call, shared: Mapping[str, Any]
    ) -> Future[bytes]:
        """Send a call, and before it the shared values not sent yet."""
        work = pickled((function, call.argument))
        try:
            for name in call.needs:
                if name not in self.has:
                    self._pool.submit(_keep, name, pickled(shared[name]))
                    self.has.add(name)
            self.future = self._pool.submit(_work, work, call.needs)
        except BrokenProcessPool as error:
            # It died while it had nothing to do.
            self.future = Future()
            self.future.set_exception(error)
        return self.future

    def stop(self) -> None:
        """Let an idle process end, and kill a busy one."""
        if self.future is not None and self._first.done():
            with contextlib.suppress(OSError, BrokenProcessPool):
                os.kill(self.pid, signal.SIGKILL)
        if self.future is not None:
            self._pipe.close()
        self._pool.shutdown(cancel_futures=True)
        self._pipe.close()


# In the worker -----------------------------------------------------------------

_kept: dict[str, Any] = {}
"""Shared values that were sent to this process."""


def _prepare(pipe: connection.Connection, memory: int) -> None:
    """Bound the data of this process; end it when the other end of a pipe closes."""
    bound_memory(memory)
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()


def _end_with(pipe: connection.Connection) -> None:
    connection.wait([pipe])
    os._exit(1)


def _keep(name: str, value: bytes) -> None:
    try:
        _kept[name] = pickle.loads(value)
    # As below; a value may also be too large for this process.
    except Exception as error:
        _kept[name] = Failure(f"{name} cannot be read in a worker ({in_words(error)}).")


def _work(work: bytes, needs: tuple[str, ...]) -> bytes:
    try:
        function, argument = pickle.loads(work)
    # Unpickling imports the user's modules, which may raise anything.
    except Exception as error:
        reason = f"The work cannot be read in a worker ({in_words(error)})."
        return pickle.dumps(Failure(reason))
    shared = {name: _kept[name] for name in needs}
    for value in shared.values():
        if isinstance(value, Failure):
            return pickle.dumps(value)
    return pickle.dumps(attempt_in_thread(function, argument, shared))


# While a worker is started -----------------------------------------------------


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
    """Processes started in the block do not notice Ctrl-C: we end them."""
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
