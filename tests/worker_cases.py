"""What workers do in the tests of executors; they import this module, and quickly."""

import os
import resource
import signal
import time
from pathlib import Path


def scaled(argument, shared):
    return argument * shared["factor"]


def surroundings(_argument, _shared):
    names = ("MFPDE_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return [os.environ[name] for name in names], limit, os.getpid()


def allocate(n_bytes, _shared):
    return len(bytes(n_bytes))


def die(folder, _shared):
    """Die by SIGKILL, as often as the name of the folder says."""
    folder = Path(folder)
    n_before = len(list(folder.iterdir()))
    if n_before < int(folder.name):
        (folder / str(n_before)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n_before


def divide(argument, _shared):
    return 1 // argument


def sleep(seconds, _shared):
    time.sleep(seconds)


def ignore_signals(_argument, _shared):
    """What `solve` does: handlers of its own, if the thread allows."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except ValueError:
        return "not the main thread"
    return "main thread"


class Unreadable:
    """Cannot be imported where it is read."""

    def __reduce__(self):
        return (_import_error, ())


def _import_error():
    raise ImportError("no module of the user's")
