"""What runs in a worker process: it serves calls until its parent closes the pipe.

A message is a tuple of a verb and its values: ("keep", name, value) stores a shared
value, ("call", work, needs) is answered by what the pickled call `work` returns.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from multiprocessing import connection
from typing import Any

from mfpde.executors.base import Lost, attempt, in_words
from mfpde.executors.memory import bound_memory

PARENT_CHECK_S = 0.5


def serve(pipe: connection.Connection, memory: int | None) -> None:
    """Answer calls; `memory` bounds the data of the process, in bytes.

    Calls are answered in a second thread. A signal to end then ends the process, even
    if a call has a handler of its own, and the first thread sees when the parent has
    been killed: nothing goes on without it.
    """
    if memory is not None:
        bound_memory(memory)
    thread = threading.Thread(target=_answer, args=(pipe,), daemon=True)
    thread.start()
    parent = multiprocessing.parent_process()
    while thread.is_alive():
        if connection.wait([parent.sentinel], timeout=0):
            os._exit(1)
        thread.join(PARENT_CHECK_S)


def _answer(pipe: connection.Connection) -> None:
    kept: dict[str, Any] = {}
    try:
        while True:
            verb, *values = pickle.loads(pipe.recv_bytes())
            if verb == "keep":
                kept[values[0]] = values[1]
            else:
                pipe.send_bytes(pickle.dumps(_call(*values, kept)))
    except (EOFError, OSError):
        return


def _call(work: bytes, needs: tuple[str, ...], kept: dict[str, Any]) -> Any:
    try:
        function, argument = pickle.loads(work)
    # Unpickling imports the user's modules, which may raise anything.
    except Exception as error:
        return Lost(f"The work cannot be read in a worker ({in_words(error)}).")
    return attempt(function, argument, {name: kept[name] for name in needs})
