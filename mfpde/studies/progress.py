"""Progress over the tasks of a study, on a stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from mfpde.executors.base import counted
from mfpde.progress import LINE_EVERY_S, format_duration


class TaskReporter:
    """Writes how many tasks have ended and how long the rest may take.

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
        self.stream = sys.stderr if stream is None else stream
        self.every_s = every_s
        self.clock = clock
        self.counts: dict[str, int] = {}
        self._last = clock()
        self._n_tasks = self._n_workers = 0
        self._cost_left = self._cost_ended = self._seconds = 0.0
        self._width = 0

    def begin(self, text: str, n_tasks: int, cost: float, n_workers: int) -> None:
        """Write a heading; `cost` is that of all the tasks."""
        self._n_tasks, self._n_workers, self._cost_left = n_tasks, n_workers, cost
        self._last = self.clock()
        self.note(text)

    def note(self, text: str) -> None:
        """Write a line."""
        self._clear()
        self.stream.write(f"mfpde: {text}\n")
        self.stream.flush()

    def ended(self, status: str, cost: float, seconds: float) -> None:
        """Take note of a task that ended after `seconds` of work."""
        self.counts[status] = self.counts.get(status, 0) + 1
        self._cost_left -= cost
        self._cost_ended += cost
        self._seconds += seconds
        if self.stream.isatty():
            self._clear()
            line = self.line()
            self._width = len(line)
            self.stream.write(line)
            self.stream.flush()
        elif self.clock() - self._last >= self.every_s:
            self._last = self.clock()
            self.stream.write(self.line() + "\n")
            self.stream.flush()

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
        return ", ".join(parts)

    def close(self) -> None:
        """Take the last line away from a terminal."""
        self._clear()

    def _clear(self) -> None:
        if self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self._width = 0
