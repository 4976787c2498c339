"""One unit after the other, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from mfpde.arrays import checked
from mfpde.executors.base import RUN, Function, Unit, attempt, counted
from mfpde.kernels.threads import n_threads


class Serial:
    """Do the units one by one in this process, with all threads of the kernels.

    Each runs in a thread of its own while the main thread waits: signals then belong
    to the caller, and a unit that would end itself in order when it is interrupted
    (`mfpde.solve`) cannot pass an unfinished result off as its own.
    """

    n_workers = 1

    def describe(self) -> str:
        """See `Executor`."""
        return f"in this process, {counted(n_threads(), 'thread')}"

    @checked(**RUN)
    def run(
        self, function: Function, units: Sequence[Unit], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Unit, Any]]:
        """See `Executor`."""
        for unit in units:
            needed = {name: shared[name] for name in unit.needs}
            yield unit, _in_thread(function, unit.argument, needed)

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _in_thread(function: Function, argument: Any, shared: Mapping[str, Any]) -> Any:
    result: SimpleQueue = SimpleQueue()
    threading.Thread(
        target=lambda: result.put(attempt(function, argument, shared)), daemon=True
    ).start()
    return result.get()
