"""What an executor offers, what passes through it, and the loop over its calls."""

from __future__ import annotations

import pickle
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
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
"""Workers that may die at a call before it is given up."""
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
class Call:
    """One call of the function that an executor runs.

    Attributes
    ----------
    name : str
        For messages.
    argument : Any
        What the function is called with; it can be pickled.
    needs : tuple of str
        Names of the shared values that the function also gets.
    """

    name: str
    argument: Any
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, name=text, needs=sequence(text))


@dataclass(frozen=True)
class Failure:
    """Stands in place of a result that is missing; `reason` is a sentence."""

    reason: str


class DeadWorker(Failure):
    """The worker died: the call is to be repeated."""


RUN = {
    "function": a_function,
    "calls": sequence(instance(Call)),
    "shared": mapping,
}


class Executor(Protocol):
    """A context manager; `n_workers` and `describe` have a meaning within it."""

    n_workers: int

    def describe(self) -> str:
        """Return what runs where, for example "2 workers, 1 thread each"."""
        ...

    def run(
        self, function: Function, calls: Sequence[Call], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Call, Any]]:
        """Yield every call with its result, or `Failure`, in the order they end.

        Parameters
        ----------
        function : callable
            Called as function(call.argument, {name: shared[name] for the needs}).
        calls : sequence of Call
            In the order in which they are to be started.
        shared : mapping
            Values that several calls need; each is sent to a worker once.
        """
        ...

    def __enter__(self) -> Executor:
        """Start the workers."""
        ...

    def __exit__(self, *error: object) -> None:
        """Stop the workers, also in the midst of a call."""
        ...


def stream(
    calls: Sequence[Call],
    n_places: Callable[[], int],
    submit: Callable[[Call], Any],
    result_of: Callable[[Any], Any],
    check: Callable[[], None] = lambda: None,
    check_every_s: float | None = None,
) -> Iterator[tuple[Call, Any]]:
    """Yield calls with their results; a call whose worker died is repeated.

    Parameters
    ----------
    calls : sequence of Call
    n_places : callable
        Returns how many calls may run now: none waits on a worker that dies.
    submit : callable
        From a call to a future with `add_done_callback`.
    result_of : callable
        From a future that ended to its result, a `Failure`, or a `DeadWorker`.
    check : callable
        Called every `check_every_s` seconds without a result; may raise.
    """
    waiting, deaths = deque(calls), Counter[int]()
    ended: SimpleQueue[tuple[Call, Any]] = SimpleQueue()
    n_running = 0
    while waiting or n_running:
        while waiting and n_running < n_places():
            call = waiting.popleft()
            submit(call).add_done_callback(lambda f, call=call: ended.put((call, f)))
            n_running += 1
        try:
            call, future = ended.get(timeout=check_every_s)
        except Empty:
            check()
            continue
        n_running -= 1
        result = result_of(future)
        if isinstance(result, DeadWorker):
            deaths[id(call)] += 1
            if deaths[id(call)] < MOST_DEATHS:
                waiting.appendleft(call)
                continue
            result = Failure(GIVEN_UP)
        yield call, result


def attempt(function: Function, argument: Any, shared: Mapping[str, Any]) -> Any:
    """Return what the function returns, or `Failure` with what it raised."""
    try:
        return function(argument, shared)
    except Exception as error:
        return Failure(in_words(error))


def attempt_in_thread(
    function: Function, argument: Any, shared: Mapping[str, Any]
) -> Any:
    """As `attempt`, in a thread of its own while this one waits.

    Signals then belong to the process: `mfpde.solve`, which ends in order when it is
    interrupted, cannot pass an unfinished result off as its own.
    """
    result: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(
        target=lambda: result.put(attempt(function, argument, shared)), daemon=True
    ).start()
    return result.get()


def in_words(error: BaseException) -> str:
    """Return type and text of an error."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def pickled(value: Any) -> bytes:
    """Return what is sent to a worker as bytes.

    Raises
    ------
    ValueError
        If it cannot be pickled.
    """
    try:
        return pickle.dumps(value)
    # Pickling calls code of the user's classes, which may raise anything.
    except Exception as error:
        raise ValueError(
            f"The work cannot be sent to another process ({error}). Define classes and "
            "functions at the top level of a module that can be imported there."
        ) from error


def counted(n: int, noun: str) -> str:
    """Return "1 worker" or "2 workers"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
