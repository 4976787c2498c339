"""What an executor offers, and what passes through it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mfpde.arrays import (
    a_function,
    check_fields,
    instance,
    mapping,
    sequence,
    text,
    whole,
)

MOST_DEATHS = 3
"""Workers that a unit may take with it before it is given up."""
GIVEN_UP = (
    f"The worker died {MOST_DEATHS} times at it; it was killed, or ran out of memory."
)
THREAD_NAMES = (
    "MFPDE_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)
"""Environment variables that bound the threads of a worker."""

COUNT = whole(1, 10**6)
BYTES = whole(1, 2**63 - 1)
Function = Callable[[Any, Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes
    ----------
    name : str
        For messages.
    argument : Any
        What the function is called with; it can be pickled.
    needs : tuple of str
        Names of the shared values that the function gets besides.
    """

    name: str
    argument: Any
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, name=text, needs=sequence(text))


@dataclass(frozen=True)
class Lost:
    """Stands in place of a result that there is none of; `reason` is a sentence."""

    reason: str


RUN = {
    "function": a_function,
    "units": sequence(instance(Unit)),
    "shared": mapping,
}


class Executor(Protocol):
    """A context manager; `n_workers` and `describe` have a meaning within it."""

    n_workers: int

    def describe(self) -> str:
        """Return what runs where, for example "2 workers, 1 thread each"."""

    def run(
        self, function: Function, units: Sequence[Unit], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Unit, Any]]:
        """Yield every unit with its result, or `Lost`, in the order they end.

        Parameters
        ----------
        function : callable
            Called as function(unit.argument, {name: shared[name] for the needs}).
        units : sequence of Unit
            In the order in which they are to be begun.
        shared : mapping
            Values that several units need; each is sent to a worker once.
        """

    def __enter__(self) -> Executor:
        """Start the workers."""

    def __exit__(self, *error: object) -> None:
        """Stop the workers, also in the midst of a unit."""


def attempt(function: Function, argument: Any, shared: Mapping[str, Any]) -> Any:
    """Return what the function returns, or `Lost` with what it raised."""
    try:
        return function(argument, shared)
    except Exception as error:
        return Lost(in_words(error))


def in_words(error: BaseException) -> str:
    """Return type and text of an error."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def pickled(function: Function, argument: Any) -> bytes:
    """Return the call as bytes.

    Raises
    ------
    ValueError
        If it cannot be pickled.
    """
    try:
        return pickle.dumps((function, argument))
    # Pickling calls code of the user's classes, which may raise anything.
    except Exception as error:
        raise ValueError(
            f"The work cannot be sent to another process ({error}). Define classes and "
            "functions at the top level of a module that can be imported there."
        ) from error


def counted(n: int, noun: str) -> str:
    """Return "1 worker" or "2 workers"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
