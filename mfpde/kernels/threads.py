"""Threads: one parallel level, over blocks of the work that are fixed beforehand.

The blocks do not depend on the number of threads, and what they share is written in
their order, so results have the same bits for any number. Kernels release the GIL.
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


def run_workers(work: Callable[[], Any], n_blocks: int, n_operations: int) -> None:
    """Call work() on one or more threads at once; each call takes blocks of its own.

    n_operations, of all blocks together, tells whether waking threads is worth it.
    """
    is_little = n_operations < SERIAL_BELOW
    n_helpers = 0 if is_little else min(n_threads(), n_blocks) - 1
    # The calling thread works, too: one thread less to wake.
    helpers = [_pool(n_helpers, os.getpid()).submit(work) for _ in range(n_helpers)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.result()


@functools.lru_cache(maxsize=4)
def _pool(n_workers: int, process: int) -> ThreadPoolExecutor:
    # Keyed by the process: the threads of a pool do not survive a fork.
    return ThreadPoolExecutor(n_workers, thread_name_prefix="mfpde")
