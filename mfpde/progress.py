"""Progress of a run on a stream: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

LINE_EVERY_S = 5.0
"""Seconds between two lines where there is no terminal."""


def format_duration(seconds: float) -> str:
    """Return a duration as "12 s", "3 min 05 s" or "2 h 07 min"."""
    if not seconds < 1e9:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class LineReporter:
    """Writes a line with s, loss, rate and remaining time every few seconds.

    Parameters
    ----------
    stream : text stream
    every_s : float
        Seconds between two lines.
    clock : callable, optional
        Seconds from any origin; for tests.
    """

    def __init__(
        self,
        stream: TextIO,
        every_s: float = LINE_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream
        self.every_s = every_s
        self.clock = clock
        self.start: tuple[float, float, int] | None = None
        self.last_line = clock()

    def __call__(
        self, s: float, s_end: float, loss: float, n_steps: int, objective: float
    ) -> None:
        """Take note of an accepted step; write a line if one is due."""
        now = self.clock()
        if self.start is None:
            # The first step carries the compilation, which says nothing about
            # the rate of the others: count from its end.
            self.start = (now, s, n_steps)
        if now - self.last_line < self.every_s:
            return
        self.last_line = now
        self.stream.write(self._line(now, s, s_end, loss, n_steps, objective) + "\n")
        self.stream.flush()

    def _line(
        self,
        now: float,
        s: float,
        s_end: float,
        loss: float,
        n_steps: int,
        objective: float,
    ) -> str:
        text = f"s = {s:.4g} of {s_end:g}, loss {loss:.4g}"
        if objective != loss:
            text += f", objective {objective:.4g}"
        start, s_start, n_start = self.start or (now, s, n_steps)
        elapsed = now - start
        if elapsed <= 0 or n_steps == n_start:
            return text
        rate = (s - s_start) / elapsed
        text += f", {rate:.3g} s per second, "
        text += f"{(n_steps - n_start) / elapsed:.3g} steps/s"
        if rate > 0:
            text += f", {format_duration((s_end - s) / rate)} left"
        return text

    def close(self) -> None:
        """Do nothing; lines need no end."""


class BarReporter:
    """Draws tqdm's bar over s in [s_start, s_end]."""

    def __init__(self, stream: TextIO, tqdm: Any) -> None:
        self.stream = stream
        self.tqdm = tqdm
        self.bar: Any = None

    def __call__(
        self, s: float, s_end: float, loss: float, n_steps: int, objective: float
    ) -> None:
        """Advance the bar to `s`."""
        description = f"s = {s:.4g} of {s_end:g} "
        if self.bar is None:
            self.bar = self.tqdm(
                desc=description,
                total=float(s_end),
                initial=float(s),
                file=self.stream,
                bar_format="{desc}{percentage:3.0f}%|{bar}| "
                "[{elapsed}<{remaining}{postfix}]",
                leave=False,
            )
        self.bar.set_description_str(description, refresh=False)
        elapsed = self.bar.format_dict["elapsed"] or float("inf")
        rate = (s - self.bar.initial) / elapsed
        self.bar.set_postfix_str(
            f"loss {loss:.4g}, {rate:.3g} s per second, {n_steps} steps", refresh=False
        )
        self.bar.update(min(s, s_end) - self.bar.n)

    def close(self) -> None:
        """Take the bar away, so that what is printed next starts on a clean line."""
        if self.bar is not None:
            self.bar.close()


def make_progress(
    stream: TextIO | None = None, *, every_s: float = LINE_EVERY_S
) -> LineReporter | BarReporter:
    """Return a callable for `solve(progress=...)` with a method `close`.

    A tqdm bar if tqdm is installed and `stream` is a terminal, else a line every
    `every_s` seconds.

    Parameters
    ----------
    stream : text stream, optional
        Default: standard error.
    every_s : float
        Seconds between two lines where no bar is drawn.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        try:
            # An optional dependency, so it is looked for only when it is needed.
            tqdm = importlib.import_module("tqdm").tqdm
        except ImportError:
            pass
        else:
            return BarReporter(stream, tqdm)
    return LineReporter(stream, every_s)
