"""Progress of a run on a stream: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, TextIO

from mfpde.streams import Nowhere

CRAWL_EVALUATIONS, CRAWL_STEPS = 500, 1e5
"""A run crawls if so many steps are left after so many evaluations."""
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


def standard_error() -> TextIO:
    """Standard error, or what swallows everything where it was closed."""
    return Nowhere() if sys.stderr is None else sys.stderr


def terminal_width(stream: TextIO | None) -> int:
    """Columns of the terminal behind a stream; $COLUMNS, else 80, where it has none."""
    if not os.environ.get("COLUMNS"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if columns := os.get_terminal_size(stream.fileno()).columns:
                return columns
    return shutil.get_terminal_size().columns


class Line:
    """Writes lines to a stream; on a terminal each takes the place of the one before.

    There a line is cut to the width of the terminal, beyond which it could not be
    taken away again. A stream that cannot be written to ends no computation.

    Parameters
    ----------
    stream : text stream, optional
        Default: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = standard_error() if stream is None else stream
        self.is_terminal = self.stream.isatty()
        self._width = 0
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            if not self.is_terminal:
                self._put(text + "\n")
                return
            shown = text[: max(terminal_width(self.stream) - 1, 1)]
            self._put("\r" * bool(self._width) + shown.ljust(self._width))
            self._width = len(shown)

    def note(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._put(text + "\n")

    def clear(self) -> None:
        """Take the line away from a terminal."""
        with self._lock:
            if self._width:
                self._put("\r" + " " * self._width + "\r")
                self._width = 0

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()


def crawl(s: float, s_end: float, step_size: float, n_evaluations: float) -> str:
    """A sentence for a run whose steps are far too small to reach its end, or ""."""
    if n_evaluations < CRAWL_EVALUATIONS or not step_size > 0.0:
        return ""
    n_steps = (s_end - s) / step_size
    if not n_steps > CRAWL_STEPS:
        return ""
    return (
        f"The run crawls: at the present step of {step_size:.1e} it takes "
        f"{n_steps:.1e} more steps to s = {s_end:g}. Likely causes: data of a large "
        "scale, a stiff flow (stepper 'auto'), kinks, or a wrong derivative of your "
        "own (mfpde.check_gradient)."
    )


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
        self.line = Line(stream)
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
        self.line.write(self._line(now, s, s_end, loss, n_steps, objective))

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
        """Take the line away from a terminal."""
        self.line.clear()


class BarReporter:
    """Draws a bar of tqdm's over s, on a terminal or as a widget of a notebook."""

    def __init__(self, stream: TextIO, tqdm: Any) -> None:
        self.stream = stream
        self.tqdm = tqdm
        self.bar: Any = None

    def __call__(
        self, s: float, s_end: float, loss: float, n_steps: int, objective: float
    ) -> None:
        """Advance the bar to `s`."""
        # A terminal that has gone ends no run.
        with contextlib.suppress(OSError):
            text = f"s = {s:.4g} of {s_end:g} "
            if self.bar is None:
                self.bar = self.tqdm(
                    desc=text,
                    total=float(s_end),
                    initial=float(s),
                    file=self.stream,
                    bar_format="{desc}{percentage:3.0f}%|{bar}| "
                    "[{elapsed}<{remaining}{postfix}]",
                    leave=False,
                    dynamic_ncols=True,
                )
            self.bar.set_description_str(text, refresh=False)
            elapsed = self.bar.format_dict["elapsed"] or float("inf")
            rate = (s - self.bar.initial) / elapsed
            text = f"loss {loss:.4g}, {rate:.3g} s per second, {n_steps} steps"
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(min(s, s_end) - self.bar.n)

    def close(self) -> None:
        """Take the bar away, so that what is printed next starts on a clean line."""
        if self.bar is not None:
            with contextlib.suppress(OSError):
                self.bar.close()


def make_progress(
    stream: TextIO | None = None, *, every_s: float = LINE_EVERY_S
) -> LineReporter | BarReporter:
    """Return a callable for `solve(progress=...)` with a method `close`.

    A bar on a terminal and in a notebook that has widgets, else a line every `every_s`
    seconds.

    Parameters
    ----------
    stream : text stream, optional
        Default: standard error.
    every_s : float
        Seconds between two lines where no bar is drawn.
    """
    stream = standard_error() if stream is None else stream
    # tqdm is imported when it is needed, so that other commands start quickly.
    if stream.isatty():
        return BarReporter(stream, importlib.import_module("tqdm").tqdm)
    if stream is sys.stderr and "ipykernel" in sys.modules:
        # It warns where a notebook has no widgets.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bar = importlib.import_module("tqdm.auto").tqdm
        if any(each.__module__ == "tqdm.notebook" for each in bar.__mro__):
            return BarReporter(stream, bar)
    return LineReporter(stream, every_s)
