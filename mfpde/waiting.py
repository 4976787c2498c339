"""What takes long and says nothing: for how long, and which kernel is compiled."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from mfpde.progress import LINE_EVERY_S, Line, format_duration

ON_TERMINAL_S = 1.0
"""Seconds between two texts on a terminal."""
# Events of numba's: its compiler's lock is held, a pass over a function runs.
LOCK, PASS = "numba:compiler_lock", "numba:run_pass"
# Modules of numba's own functions are left out; "<dynamic>" are blocks of the user's.
OURS = ("mfpde", "<dynamic>")
# A module that was generated for a block: its name, and a hash of its text.
_GENERATED = re.compile(r"mfpde_(\w+?)(?:_[0-9a-f]{20})?")


@contextlib.contextmanager
def waiting(
    what: Any, stream: TextIO | None = None, every_s: float = LINE_EVERY_S
) -> Iterator[None]:
    """Say on a stream for how long the block has run, and what is compiled in it.

    On a terminal one line is written over and over, elsewhere one now and then. A
    short block passes without a word.

    Parameters
    ----------
    what : str or object
        What the block does, for example "preparing kernels"; an object whose text
        changes while it runs.
    stream : text stream, optional
        Default: standard error.
    every_s : float
        See `ticking`.
    """
    line = Line(stream)
    with compiled_kernel() as kernel:

        def tell(passed: float) -> None:
            text = f"mfpde: {what}, {format_duration(passed)}"
            line.write(f"{text}, compiling {kernel.name}" if kernel.name else text)

        try:
            with ticking(tell, line.is_terminal, every_s):
                yield
        finally:
            line.clear()


@contextlib.contextmanager
def ticking(
    tell: Callable[[float], None], is_terminal: bool, every_s: float = LINE_EVERY_S
) -> Iterator[None]:
    """Call `tell` with the seconds passed, from another thread, while the block runs.

    Parameters
    ----------
    tell : callable
        tell(passed_s).
    is_terminal : bool
        Whether it is called every second; else the pauses grow with what has passed.
    every_s : float
        Least pause in seconds where there is no terminal.
    """
    ended, start = threading.Event(), time.monotonic()

    def tick() -> None:
        pause = ON_TERMINAL_S if is_terminal else every_s
        while not ended.wait(pause):
            passed = time.monotonic() - start
            tell(passed)
            if not is_terminal:
                pause = max(every_s, 0.5 * passed)

    thread = threading.Thread(target=tick, name="mfpde_ticking", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Kernel:
    """The name of the kernel that numba is compiling, "" if none."""

    name = ""


@contextlib.contextmanager
def compiled_kernel() -> Iterator[Kernel]:
    """Keep the name of the kernel that is being compiled while the block runs."""
    # Here, since this module is loaded where nothing is compiled, too.
    from numba.core import event

    kernel = Kernel()

    class Listener(event.Listener):
        """Each pass over a function names it; the lock is held until all is made."""

        n_locks = 0

        def on_start(self, each: Any) -> None:
            if each.kind == LOCK:
                self.n_locks += 1
            elif each.data["module"].startswith(OURS):
                kernel.name = _readable(each.data["module"], each.data["qualname"])

        def on_end(self, each: Any) -> None:
            if each.kind == LOCK:
                self.n_locks -= 1
                if self.n_locks <= 0:
                    kernel.name = ""

    listener = Listener()
    with (
        event.install_listener(LOCK, listener),
        event.install_listener(PASS, listener),
    ):
        yield kernel


def _readable(module: str, function: str) -> str:
    """Return "perceptron_tanh_d2, pullback", "sweep, forward", or the name alone."""
    if module == OURS[1]:
        return function
    found = _GENERATED.fullmatch(module)
    place = found[1] if found else module.rpartition(".")[2]
    return f"{place}, {function}"
