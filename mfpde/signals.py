"""Signals that end a computation: collected, acted on in order, delivered again."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from mfpde.errors import Interrupted

ENDING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
"""The signals that end a computation, where they are not ignored."""


@contextlib.contextmanager
def collected() -> Iterator[list[int]]:
    """Collect the signals of `ENDING` in a list; a second one acts at once.

    The block has to look at the list, and to `deliver` what it holds once its work is
    closed. An error that leaves the block does not swallow a signal. In another thread
    than the main one there is nothing to collect.
    """
    caught: list[int] = []
    before = _handlers()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _frame: Any) -> None:
        caught.append(number)
        restore()

    try:
        for number in before:
            signal.signal(number, note)
        yield caught
    except BaseException:
        restore()
        if caught:
            signal.raise_signal(caught[0])
        raise
    finally:
        restore()


@contextlib.contextmanager
def as_interrupt(caught: list[int] | None = None) -> Iterator[list[int]]:
    """The signals of `ENDING` raise KeyboardInterrupt in the block, and are noted."""
    caught = [] if caught is None else caught
    before = _handlers()

    def stop(number: int, _frame: Any) -> NoReturn:
        caught.append(number)
        raise KeyboardInterrupt

    try:
        for number in before:
            signal.signal(number, stop)
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deliver(number: int, ending: Interrupted) -> NoReturn:
    """Deliver a signal again, now that all is closed; raise `ending` if we live on.

    What the signal does is up to its handler: SIGINT raises KeyboardInterrupt, which
    becomes `ending`, and SIGTERM ends the process. A handler that returns lets nobody
    go on with a half-made solution either.

    Raises
    ------
    Interrupted
        Always, unless the handler raises something else.
    """
    if threading.current_thread() is threading.main_thread():
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as error:
            if type(error) is not KeyboardInterrupt:
                raise
    raise ending


def _handlers() -> dict[int, Any]:
    """Present handlers of the signals that are not ignored, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in ENDING}
    # One that C code has set reads as None, and could not be set again.
    unset = (signal.SIG_IGN, None)
    return {n: handler for n, handler in found.items() if handler not in unset}
