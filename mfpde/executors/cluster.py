"""Workers of a Dask cluster: a scheduler's, or one started on this machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from mfpde.arrays import checked, optional, text
from mfpde.executors.base import (
    BYTES,
    COUNT,
    GIVEN_UP,
    MOST_DEATHS,
    RUN,
    THREAD_NAMES,
    Call,
    DeadWorker,
    Failure,
    Function,
    attempt,
    counted,
    in_words,
    pickled,
    stream,
)
from mfpde.executors.memory import format_memory, share_of_memory
from mfpde.kernels.threads import n_cores

LOCAL = "local"
CONNECT_S = 5.0
"""Seconds to wait for a scheduler, and to look whether it is still there."""
WORKERS_S = 30.0
"""Seconds to wait for the first worker of a scheduler."""


# Ctrl-C reaches every process of a terminal; the workers are ours to end.
IGNORE_INTERRUPT = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"


class Dask:
    """Do the calls on a Dask cluster, one at a time on each thread of its workers.

    Parameters
    ----------
    address : str
        Of the scheduler ("tcp://host:8786"), its file (scheduler.json), or "local":
        processes of this machine, which end with the executor.
    n_workers : int, optional
        Workers of a local cluster. Default: the cores.
    threads : int
        Threads of the kernels in a call. On a worker started elsewhere
        $MFPDE_NUM_THREADS counts if it is set there.
    memory : int, optional
        Bytes for each worker of a local cluster, which Dask replaces when it comes
        near. Default: an equal share of 90 % of the machine's memory.

    Raises
    ------
    ImportError
        If dask.distributed is not installed.
    ConnectionError, FileNotFoundError
        On entering, if the scheduler cannot be reached, or has no workers.
    """

    @checked(
        address=text,
        n_workers=optional(COUNT),
        threads=COUNT,
        memory=optional(BYTES),
    )
    def __init__(
        self,
        address: str,
        *,
        n_workers: int | None = None,
        threads: int = 1,
        memory: int | None = None,
    ) -> None:
        try:
            import distributed
        except ImportError:
            raise ImportError(
                "Dask is not installed. Install it with `pip install 'mfpde[dask]'`, "
                "or use --jobs for processes on this machine."
            ) from None
        self._distributed = distributed
        self.address = address
        self.threads = threads
        self.n_workers = n_workers or n_cores()
        self.memory = share_of_memory(self.n_workers) if memory is None else memory
        self._stack = contextlib.ExitStack()
        self._client: Any = None

    def describe(self) -> str:
        """See `Executor`."""
        where = f"{counted(self.n_workers, 'Dask worker')}"
        threads = counted(self.threads, "thread")
        if self.address == LOCAL:
            return f"{where}, {threads} and at most {format_memory(self.memory)} each"
        return f"{where} of {self.address}, {threads} each"

    @checked(**RUN)
    def run(
        self, function: Function, calls: Sequence[Call], shared: Mapping[str, Any]
    ) -> Iterator[tuple[Call, Any]]:
        """See `Executor`."""
        sent: dict[str, Any] = {}

        def result_of(future: Any) -> Any:
            result = self._result(future)
            if isinstance(result, DeadWorker):
                # Shared values can be gone with the workers that kept them.
                sent.clear()
            return result

        yield from stream(
            calls,
            self._n_threads,
            lambda call: self._submit(function, call, shared, sent),
            result_of,
            self._check_connection,
            CONNECT_S,
        )

    def _submit(
        self,
        function: Function,
        call: Call,
        shared: Mapping[str, Any],
        sent: dict[str, Any],
    ) -> Any:
        pickled((function, call.argument))
        for name in call.needs:
            if name not in sent:
                self._wait_for_workers()
                sent[name] = self._client.scatter(
                    shared[name], broadcast=True, hash=False
                )
        needed = {name: sent[name] for name in call.needs}
        return self._client.submit(
            _call, function, call.argument, needed, self.threads, pure=False
        )

    def _check_connection(self) -> None:
        if self._client.status != "running":
            raise OSError(
                f"The connection to the scheduler {self.address} was lost. What is "
                "done is kept; the same call goes on from there."
            )

    def _result(self, future: Any) -> Any:
        """Return what a future holds, or why it holds nothing."""
        try:
            return future.result()
        except CancelledError:
            return DeadWorker(GIVEN_UP)
        except self._distributed.KilledWorker:
            return Failure(GIVEN_UP)
        # What a worker of another version raises, or a connection that breaks.
        except Exception as error:
            self._check_connection()
            return Failure(in_words(error))

    def _n_threads(self) -> int:
        return max(1, sum(self._client.nthreads().values()))

    def __enter__(self) -> Dask:
        try:
            self._connect()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _connect(self) -> None:
        distributed = self._distributed
        # Dask reports each lost connection at length; the errors here say what matters.
        logger = logging.getLogger("distributed")
        self._stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)
        if self.address == LOCAL:
            self._client = self._stack.enter_context(self._local_client())
            return
        address = _address_in(self.address)
        _check_reachable(address)
        try:
            client = distributed.Client(
                address, timeout=CONNECT_S, set_as_default=False
            )
        # What listens there may be anything, and answer anything.
        except Exception as error:
            raise ConnectionError(
                f"No Dask scheduler of this version answers at {address} "
                f"({in_words(error)})."
            ) from error
        self._client = self._stack.enter_context(client)
        self._wait_for_workers()
        self.n_workers = len(self._client.nthreads())

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            raise ConnectionError(
                f"The scheduler {self.address} has no workers. Start some with `dask "
                f"worker {self.address} --nthreads 1`."
            ) from None

    @contextlib.contextmanager
    def _local_client(self) -> Iterator[Any]:
        import dask

        environment = dict.fromkeys(THREAD_NAMES, self.threads)
        settings = {
            "distributed.nanny.pre-spawn-environ": environment,
            "distributed.scheduler.allowed-failures": MOST_DEATHS - 1,
        }
        with (
            dask.config.set(settings),
            self._distributed.LocalCluster(
                n_workers=self.n_workers,
                threads_per_worker=1,
                memory_limit=self.memory,
                dashboard_address=None,
                preload=[IGNORE_INTERRUPT],
                silence_logs=logging.CRITICAL,
            ) as cluster,
            self._distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client


def _address_in(address: str) -> str:
    """Return an address, or the one in a scheduler file.

    Raises
    ------
    FileNotFoundError, ConnectionError
        If there is no such file, or nothing useful in it.
    """
    if not address.endswith(".json"):
        return address
    try:
        with open(address, encoding="utf-8") as file:
            return str(json.load(file)["address"])
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no scheduler file {address}. Start the scheduler with `dask "
            f"scheduler --scheduler-file {address}`."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionError(f"{address} is not the file of a scheduler.") from error


def _check_reachable(address: str) -> None:
    """Raise ConnectionError if nothing listens at "tcp://host:port".

    Dask's own attempt leaves threads behind that complain later.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        raise ConnectionError(
            f"--dask takes an address such as tcp://host:8786, the file of a scheduler "
            f"(.json), or {LOCAL}, got {address!r}."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"The scheduler {address} cannot be reached ({error}). Start one with "
            "`dask scheduler`, or use --dask local."
        ) from error


def _call(
    function: Function, argument: Any, shared: Mapping[str, Any], threads: int
) -> Any:
    """Run on a worker."""
    os.environ.setdefault("MFPDE_NUM_THREADS", str(threads))
    return attempt(function, argument, shared)
