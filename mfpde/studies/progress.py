"""Progress over the tasks of a study, on a stream."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TextIO

from mfpde.executors.base import counted
from mfpde.progress import LINE_EVERY_S, Line, format_duration
from mfpde.waiting import Kernel, compiled_kernel, ticking


class TaskReporter:
    """Writes how many tasks have ended and how long the rest may take.

    Until the first has ended: for how long, and what is compiled in this process.

    On a terminal one line is written over and over, elsewhere one every few seconds.

    Parameters
    ----------
    stream : text stream, optional
        Default: standard error.
    every_s : float
        Seconds between two lines where there is no terminal.
    clock : callable
        Seconds from any origin; for tests.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown = Line(stream)
        self.every_s = every_s
        self.clock = clock
        self.counts: dict[str, int] = {}
        self._last = clock()
        self._n_tasks = self._n_workers = 0
        self._cost_left = self._cost_ended = self._seconds = 0.0
        self._kernel = Kernel()
        self._start = 0.0
        self._stack = contextlib.ExitStack()

    def begin(self, text: str, n_tasks: int, cost: float, n_workers: int) -> None:
        """Write a heading; `cost` is that of all the tasks."""
        self._n_tasks, self._n_workers, self._cost_left = n_tasks, n_workers, cost
        self._last = self._start = self.clock()
        self.note(text)
        self._kernel = self._stack.enter_context(compiled_kernel())
        is_terminal = self._shown.is_terminal
        self._stack.enter_context(ticking(self._tell, is_terminal, self.every_s))

    def note(self, text: str) -> None:
        """Write a line."""
        self._shown.note(f"mfpde: {text}")

    def ended(self, status: str, cost: float, seconds: float) -> None:
        """Take note of a task that ended after `seconds` of work."""
        self.counts[status] = self.counts.get(status, 0) + 1
        self._cost_left -= cost
        self._cost_ended += cost
        self._seconds += seconds
        self._tell()

    def _tell(self, passed: float = 0.0) -> None:
        """Write the line; without a terminal, if the last one is some time ago."""
        now = self.clock()
        if self._shown.is_terminal or now - self._last >= self.every_s:
            self._last = now
            self._shown.write(self.line())

    def line(self) -> str:
        """Return "12 of 240 tasks, 1 diverged, 3 min 05 s left"."""
        n_ended = sum(self.counts.values())
        parts = [f"{n_ended} of {counted(self._n_tasks, 'task')}"]
        for status in ("diverged", "failed"):
            if self.counts.get(status):
                parts.append(f"{self.counts[status]} {status}")
        if self._cost_ended > 0 and n_ended < self._n_tasks:
            n_busy = min(self._n_workers, self._n_tasks - n_ended)
            left = self._seconds / self._cost_ended * self._cost_left / n_busy
            parts.append(f"{format_duration(left)} left")
        if n_ended == 0:
            parts.append(format_duration(self.clock() - self._start))
        if name := self._kernel.name:
            parts.append(f"compiling {name}")
        return ", ".join(parts)

    def close(self) -> None:
        """Take the last line away from a terminal."""
        self._stack.close()
        self._shown.clear()
