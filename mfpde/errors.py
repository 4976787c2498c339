"""The exceptions a caller may want to catch by type, and the hint to a near name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class ConvergenceError(RuntimeError):
    """An iteration did not converge, or a step could not meet its tolerance."""


class NotFiniteError(ArithmeticError):
    """The state, the adjoint or the velocity is not finite (theory: T18)."""


class Interrupted(KeyboardInterrupt):
    """A signal ended a computation, in order; files are closed.

    Attributes
    ----------
    solution : object
        What was found until then, as the call would have returned it: a `Solution`, a
        `Training`, or the `Outcome` of a study.
    """

    def __init__(self, message: str = "", solution: Any = None) -> None:
        self.solution = solution
        super().__init__(message)


class GradientError(ValueError):
    """A derivative of a block, a loss or a regulariser is not that of its values."""


class StorageFormatError(OSError):
    """A file is not an mfpde file, is damaged, or has a newer format version."""


class ToleranceWarning(UserWarning):
    """A tolerance is out of reach; the answer has a larger error, which is told."""


class DataWarning(UserWarning):
    """The data contradict what they are said to be, or a run on them would crawl."""


class UnfinishedWarning(UserWarning):
    """A run failed before its end; what it returned is only the way there."""


class ConfigurationError(ValueError):
    """A configuration has problems; all of them are listed at once.

    Parameters
    ----------
    problems : sequence of str
        One sentence for each problem.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        is_list = isinstance(problems, list | tuple)
        if not is_list or not all(isinstance(each, str) for each in problems):
            raise TypeError(f"`problems` must be a list of texts, got {problems!r}.")
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def nearest(value: object, names: Iterable[str]) -> str | None:
    """The name nearest to an unknown one, whatever its case; None if none is near."""
    names, text = list(names), str(value)
    close = difflib.get_close_matches(text, names, n=1)
    close = close or difflib.get_close_matches(text.lower(), names, n=1)
    return close[0] if close else None


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """A sentence, after a blank, with the name nearest to an unknown one; or ""."""
    near = nearest(value, names)
    return f" Did you mean {near!r}?" if near else ""


def sentence(error: BaseException) -> str:
    """The error in words; the system's own errors name file and reason."""
    if isinstance(error, ConfigurationError):
        return "\n".join(error.problems)
    if isinstance(error, OSError) and error.strerror:
        place = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{place}."
    if isinstance(error, MemoryError):
        return "Not enough memory. Take fewer particles, nodes or samples."
    return str(error) or type(error).__name__
