"""Threads: one parallel level, over blocks of the work that are fixed beforehand.

The blocks do not depend on the number of threads, and what they share is written in
their order, so results have the same bits for any number. Kernels release the GIL.
Only the calling thread compiles: a compiler at work in a second thread would be cut off
in the middle when the program ends.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from mfpde.launch import launched

# About 50 microseconds of work on one core.
SERIAL_BELOW = 200_000
# Kernels, each with a number type for which it has been compiled.
_compiled: set[tuple[Any, Any]] = set()


def n_threads() -> int:
    """Threads in use: $MFPDE_NUM_THREADS, else $NUMBA_NUM_THREADS, else the cores.

    One by default where mpiexec started several processes: one for every core, mostly.
    """
    for name in ("MFPDE_NUM_THREADS", "NUMBA_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
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
        tasks = _tasks(n_helpers, os.getpid())
        for _ in range(n_helpers):
            tasks.put((kernel, arguments))


def _compile(kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Here, since what only asks for the number of threads needs no compiler.
    from numba import typeof

    kernel.compile(tuple(map(typeof, arguments)))


@functools.lru_cache(maxsize=4)
def _tasks(n_helpers: int, process: int) -> SimpleQueue:
    """The queue of that many waiting threads.

    Handing over costs a tenth of what it does in an executor of the standard library.
    Keyed by the process: threads do not survive a fork.
    """
    tasks: SimpleQueue = SimpleQueue()
    for i in range(n_helpers):
        name = f"mfpde_{i}"
        threading.Thread(target=_serve, args=(tasks,), name=name, daemon=True).start()
    return tasks


def _serve(tasks: SimpleQueue) -> None:
    while True:
        kernel, arguments = tasks.get()
        # An error is the calling thread's, too: it does the same, and raises it.
        with contextlib.suppress(Exception):
            kernel(*arguments)
        # Nothing of the work may live on while the thread waits.
        del kernel, arguments
