"""Standard streams that take any text, and any text on one line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO

_NAMES = ("stdin", "stdout", "stderr")


class Nowhere(io.TextIOBase):
    """A stream that keeps nothing."""

    encoding = "utf-8"

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Take a text."""
        return len(text)


def prepare_streams() -> bool:
    """Let standard output and error take any text; return whether there is output.

    A character that the encoding of a stream lacks is replaced: what was computed for
    hours shall not be lost by its title. A stream that was closed by whoever started
    this process leads nowhere, and its number is taken, so that no file gets it.
    """
    is_open = sys.stdout is not None
    if None in (sys.stdin, sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            while (descriptor := os.open(os.devnull, os.O_RDWR)) < len(_NAMES):
                os.set_inheritable(descriptor, True)
            os.close(descriptor)
    for name in _NAMES[1:]:
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Nowhere())
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    return is_open


def drop_output() -> None:
    """Let nothing more come of standard output, which cannot be written to.

    It is pointed at the null device, because the interpreter flushes it once more at
    exit and would complain.
    """
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line, by default to standard error, if it can be written to."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr if stream is None else stream, flush=True)


def one_line(text: Any) -> str:
    """A text as one line without control characters, which might move the cursor."""
    line = " ".join(str(text).split())
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in line
    )
