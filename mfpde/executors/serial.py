"""One call after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mfpde.arrays import checked
from mfpde.executors.base import RUN, Call, Function, attempt_in_thread, counted
from mfpde.kernels.threads import n_threads


class Serial:
    """Do the calls one by one in this process, with all threads of the kernels.

    Each runs in a thread of its own while the main thread waits for signals.
    """

    n_workers = 1

    def describe(self) -> str:
        """See `Executor`."""
        return f"in this process, {counted(n_threads(), 'thread')}"

    @checked(**RUN)
    def run(
        self, function: Function, calls: Sequence[Call], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Call, Any]]:
        """See `Executor`."""
        for call in calls:
            needed = {name: shared[name] for name in call.needs}
            yield call, attempt_in_thread(function, call.argument, needed)

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        return None
