"""Threads: one parallel level, over parts of the work that are fixed beforehand.

The parts do not depend on the number of threads and no two write the same memory, so
results have the same bits for any number of threads. Kernels release the GIL.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# About 50 microseconds of work on one core.
SERIAL_BELOW = 200_000


def n_threads() -> int:
    """Threads in use: $MFPDE_NUM_THREADS, else $NUMBA_NUM_THREADS, else the cores."""
    for name in ("MFPDE_NUM_THREADS", "NUMBA_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0))


def run_parts(
    function: Callable[[int], Any], n_parts: int, n_operations: int
) -> list[Any]:
    """Call function(part) for every part and return the results in order.

    n_operations, of all parts together, tells whether waking threads is worth it.
    """
    workers = min(n_threads(), n_parts)
    if workers == 1 or n_operations < SERIAL_BELOW:
        return [function(part) for part in range(n_parts)]
    results: list[Any] = [None] * n_parts
    waiting = iter(range(n_parts))  # Its `next` is atomic: one part for one thread.

    def work() -> None:
        for part in waiting:
            results[part] = function(part)

    # The calling thread works, too: one thread less to wake.
    helpers = [_pool(workers - 1, os.getpid()).submit(work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.result()
    return results


@functools.lru_cache(maxsize=4)
def _pool(n_workers: int, process: int) -> ThreadPoolExecutor:
    # Keyed by the process: the threads of a pool do not survive a fork.
    return ThreadPoolExecutor(n_workers, thread_name_prefix="mfpde")
