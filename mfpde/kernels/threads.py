"""Threads: one parallel level, over blocks of the work that are fixed beforehand.

The blocks do not depend on the number of threads, and what they share is written in
their order, so results have the same bits for any number. Kernels release the GIL.
Only the calling thread compiles: a compiler at work in a second thread would be cut off
in the middle when the program ends.

An exception may leave the calling thread at any moment, a KeyboardInterrupt between any
two of its steps. So all that helpers are handed ends by itself, and `turns.close` in a
`finally` ends it at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from mfpde.environment import launched

# About 50 microseconds of work on one core.
SERIAL_BELOW = 200_000
# Tasks in the queue for each helper, at most: they keep arrays alive.
MOST_WAITING = 4
# Kernels, each with a number type for which it has been compiled.
_compiled: set[tuple[Any, Any]] = set()


def n_threads() -> int:
    """Threads in use: $MFPDE_NUM_THREADS, else $NUMBA_NUM_THREADS, else the cores.

    One by default where mpiexec started several processes: one for every core, mostly.
    """
    for name in ("MFPDE_NUM_THREADS", "NUMBA_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            return int(value)
    if launched()[1] > 1:
        return 1
    return n_cores()


def n_cores() -> int:
    """Cores that this process may use; all of the machine where it does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_helpers(
    kernel: Callable[..., Any],
    arguments: tuple[Any, ...],
    dtype: Any,
    n_pieces: int,
    n_operations: int,
) -> None:
    """Call kernel(*arguments) on the other threads, and do not wait for them.

    Each call takes pieces of the work until none is left (see `turns`), and so shall
    the calling thread: a helper that comes late, or fails before it takes one, is not
    missed. n_operations, of all pieces together, tells whether waking them is worth it.
    The types of a kernel's arguments shall depend on dtype alone, that of the states:
    it is compiled once for each.
    """
    is_little = n_operations < SERIAL_BELOW
    n_helpers = 0 if is_little else min(n_threads(), n_pieces) - 1
    if n_helpers > 0:
        if (kernel, dtype) not in _compiled:
            _compile(kernel, arguments)
            _compiled.add((kernel, dtype))
        _pool.put((kernel, arguments), n_helpers)


def _compile(kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Here, since what only asks for the number of threads needs no compiler.
    from numba import typeof

    kernel.compile(tuple(map(typeof, arguments)))


class _Pool:
    """The helpers of this process: as many as were ever needed at a time."""

    def __init__(self) -> None:
        # Handing over costs a tenth of what it does in an executor of the standard
        # library.
        self.tasks: SimpleQueue = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.lock = threading.RLock()

    def put(self, task: tuple[Any, ...], n_helpers: int) -> None:
        """Give a task to n_helpers threads, fewer if they are late or cannot start."""
        if len(self.threads) < n_helpers:
            self._grow(n_helpers)
        n_threads = len(self.threads)
        room = MOST_WAITING * n_threads - self.tasks.qsize()
        for _ in range(min(n_helpers, n_threads, room)):
            self.tasks.put(task)

    def _grow(self, n_threads: int) -> None:
        with self.lock:
            while len(self.threads) < n_threads:
                name = f"mfpde_{len(self.threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                try:
                    self.threads.append(thread)
                    thread.start()
                except BaseException as error:
                    # If it runs nevertheless, it finds itself not in the list.
                    if thread in self.threads:
                        self.threads.remove(thread)
                    if isinstance(error, RuntimeError):
                        # No more threads for this user or container.
                        return
                    raise

    def _serve(self) -> None:
        thread = threading.current_thread()
        # The list is right when it has grown.
        with self.lock:
            is_member = thread in self.threads
        try:
            while is_member:
                kernel, arguments = self.tasks.get()
                # An error is the calling thread's, too: it does the same, and raises
                # it.
                with contextlib.suppress(Exception):
                    kernel(*arguments)
                # Nothing of the work may live on while the thread waits.
                del kernel, arguments
        finally:
            with self.lock:
                if thread in self.threads:
                    self.threads.remove(thread)


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork.
    os.register_at_fork(after_in_child=_pool.__init__)
