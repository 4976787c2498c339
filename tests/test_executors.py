"""Executors: results, bounds on threads and memory, and workers that die."""

import os
import resource
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from worker_cases import (
    Unreadable,
    allocate,
    die,
    divide,
    ignore_signals,
    scaled,
    sleep,
    surroundings,
)

from mfpde.executors import Call, Dask, Failure, Processes, Serial
from mfpde.executors import memory as memory_module
from mfpde.executors.memory import format_memory, machine_memory, share_of_memory


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] not in "ZX"
    except FileNotFoundError:
        return False


def results(executor, function, arguments, shared=None):
    """Name of each call, its number, to its result."""
    needs = tuple(shared or ())
    calls = [Call(str(i), each, needs) for i, each in enumerate(arguments)]
    found = {u.name: r for u, r in executor.run(function, calls, shared or {})}
    assert sorted(found, key=int) == [call.name for call in calls]
    return [found[call.name] for call in calls]


@pytest.mark.parametrize("executor", [Serial(), Processes(2)], ids=["serial", "two"])
def test_every_call_gets_its_result_and_the_shared_values(executor):
    with executor:
        factor = Fraction(2, 3)
        found = results(executor, scaled, [1, 2, 3], {"factor": factor})
        assert found == [factor, 2 * factor, 3 * factor]
        assert results(executor, divide, []) == []
        one, failed = results(executor, divide, [1, 0])
        assert one == 1
        assert isinstance(failed, Failure)
        assert failed.reason.startswith("ZeroDivisionError: ")
        # Otherwise an interrupted `solve` would pass for a finished one.
        assert results(executor, ignore_signals, [0]) == ["not the main thread"]


def test_workers_have_bounded_threads_and_memory(monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "7")
    executor = Processes(2, threads=3, memory=600_000_000)
    assert executor.describe() == "2 workers, 3 threads and at most 600 MB each"
    here = resource.getrlimit(resource.RLIMIT_DATA)
    with executor:
        (threads, limit, pid), *_ = results(executor, surroundings, [0, 0])
        small, large = results(executor, allocate, [1000, 2_000_000_000])
        assert is_running(pid)
    assert not is_running(pid)
    assert threads == ["3", "3", "3"]
    assert limit == 600_000_000
    assert small == 1000
    assert large == Failure("MemoryError")
    # Ours are as before.
    assert os.environ["NUMBA_NUM_THREADS"] == "7"
    assert resource.getrlimit(resource.RLIMIT_DATA) == here


def test_a_share_of_the_memory(monkeypatch, tmp_path):
    total = machine_memory()
    assert 1e8 < total <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert share_of_memory(2) == int(0.45 * total)
    monkeypatch.setattr(memory_module, "_group_limits", lambda: [5_000_000])
    assert machine_memory() == 5_000_000
    assert [format_memory(n) for n in (11_240_000_000, 512_000_000)] == [
        "11.2 GB",
        "512 MB",
    ]


@pytest.mark.parametrize(("n_deaths", "result"), [(2, 2), (9, None)])
def test_a_killed_worker_costs_its_call_which_is_given_up_in_the_end(
    tmp_path, n_deaths, result
):
    folder = tmp_path / str(n_deaths)
    folder.mkdir()
    (tmp_path / "0").mkdir()
    fine = str(tmp_path / "0")
    with Processes(2) as executor:
        found = results(executor, die, [fine, str(folder), fine, fine])
    assert [found[0], *found[2:]] == [0, 0, 0]
    if result is None:
        assert len(list(folder.iterdir())) == 3
        assert found[1] == Failure(
            "The worker died 3 times at it; it was killed, or ran out of memory."
        )
    else:
        assert found[1] == result


def test_what_cannot_be_sent_or_read_is_said():
    with Processes(1) as executor:
        with pytest.raises(ValueError, match="cannot be sent to another process"):
            results(executor, scaled, [lambda: None])
        (lost,) = results(executor, scaled, [Unreadable()])
    assert lost.reason == (
        "The work cannot be read in a worker (ImportError: no module of the user's)."
    )
    for options in ({"n_workers": 0}, {"n_workers": 1, "threads": 0}):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            Processes(**options)


def test_workers_are_killed_in_the_midst_of_a_call():
    executor = Processes(1)
    started = time.monotonic()
    with executor:
        # The generator has to begin for the call to be sent.
        calls = [Call("a", 1.0), Call("b", 600.0)]
        next(executor.run(sleep, calls, {}))
        pid = executor._workers[0].pid
        assert is_running(pid)
    assert not is_running(pid)
    assert time.monotonic() - started < 60.0


def test_workers_end_with_a_killed_parent():
    code = (
        "from mfpde.executors import Processes, Call\n"
        "from worker_cases import sleep\n"
        "executor = Processes(1)\n"
        "executor.__enter__()\n"
        "print(executor._workers[0].pid, flush=True)\n"
        "list(executor.run(sleep, [Call('a', 600.0)], {}))\n"
    )
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parent)])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.kill()
    end = time.monotonic() + 20.0
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(pid)


# Dask: what needs no cluster. The rest is in test_studies_command.py.


def test_dask_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'mfpde\[dask\]'"):
        Dask("local")


def test_a_scheduler_that_is_not_there(tmp_path):
    pytest.importorskip("distributed", reason="needs dask.distributed")
    missing, empty = tmp_path / "scheduler.json", tmp_path / "empty.json"
    empty.write_text("{}")
    cases = {
        "tcp://127.0.0.1:9": (ConnectionError, "cannot be reached .*Start one with"),
        "127.0.0.1": (ConnectionError, "an address such as tcp://host:8786"),
        str(missing): (FileNotFoundError, "There is no scheduler file"),
        str(empty): (ConnectionError, "is not the file of a scheduler"),
    }
    for address, (kind, message) in cases.items():
        started = time.monotonic()
        with pytest.raises(kind, match=message), Dask(address):
            pass
        assert time.monotonic() - started < 8.0
