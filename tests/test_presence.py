"""Two writers of one run: locks, heartbeats, other process spaces, copies."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import storage_cases as cases

import mfpde
from mfpde.storage import RunWriter, open_run, presence, read_checkpoint, recover
from mfpde.storage.hdf5.superblock import read_superblock
from mfpde.storage.presence import WriterLock, lock_path, probe

SPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run([*SPACE, "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


@contextlib.contextmanager
def writing(path: Path, *before: str, mode: str = "swmr"):
    """A process that writes until the block ends, which kills it."""
    command = [*before, sys.executable, cases.__file__, str(path), str(10**6), mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        while int(process.stdout.readline()) < 5:
            pass
        yield process
    finally:
        process.kill()
        process.communicate()


def set_run(path: Path, **entries) -> None:
    """Change /run as another machine or process space would have written it."""
    with open(path, "r+b") as file:
        file.write(read_superblock(path).closed(path.stat().st_size))
    with h5py.File(path, "r+") as h5:
        for name, value in entries.items():
            h5[f"run/{name}"][()] = value


@pytest.mark.parametrize("mode", ["swmr", "no-swmr"])
@pytest.mark.skipif(not can_unshare(), reason="needs process namespaces")
def test_a_writer_in_another_process_space(path, mode):
    """Its number means nothing here; the lock of the kernel does."""
    with writing(path, *SPACE, mode=mode):
        with open_run(path) as run:
            assert run.status == "running"
            cases.check(run)
        lengths = read_checkpoint(path)[2]
        for action in (lambda: RunWriter.reopen(path, lengths), lambda: recover(path)):
            with pytest.raises(OSError, match="is writing it"):
                action()
        copy = Path(shutil.copy(path, path.with_name("copy.h5")))
        assert "Recovered" in recover(copy)
    # Killed: the lock has gone with it, without any wait.
    deadline = time.monotonic() + 20
    while probe(path) and time.monotonic() < deadline:
        time.sleep(0.05)
    with open_run(path) as run:
        assert run.status == "killed"
    assert "Recovered" in recover(path)
    assert not lock_path(path).exists()


def test_a_writer_elsewhere_counts_by_its_heartbeat(path):
    cases.create(path, n=3).close()
    for entries in (
        {"host": b"elsewhere"},
        {"boot_id": b"another start"},
        {"pid_namespace": b"pid:[1]"},
    ):
        start = {"status": 0, "last_record_unix": time.time(), **entries}
        set_run(path, **start)
        with pytest.raises(OSError, match=r"is writing it\. Its last sign is \d s old"):
            recover(path)
        set_run(path, last_record_unix=time.time() - 61)
        assert "interrupted" in recover(path)


def test_a_copy_of_a_live_file(path, tmp_path):
    copy = tmp_path / "copy.h5"
    with writing(path):
        shutil.copy(path, copy)
        shutil.copy(path.with_name("run.ckpt.h5"), tmp_path / "copy.ckpt.h5")
        with pytest.raises(OSError, match="is writing it"):
            recover(path)
        # A copy may be torn: what counts is that its writer does not stand in the way.
        assert "Recovered" in recover(copy)
        with open_run(copy) as run:
            cases.check(run)
            assert run.status == "interrupted"
        moved = path.rename(tmp_path / "moved.h5")
        with pytest.raises(OSError, match="is writing it"):
            recover(moved)


def test_heartbeat_between_records(path, monkeypatch):
    monkeypatch.setattr(presence, "HEARTBEAT_S", 0.02)
    for swmr in (True, False):
        with cases.create(path, n=1, swmr=swmr):
            before = time.time()
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                with open_run(path) as run:
                    if run._file.writer.last_record_unix > before:
                        break
                    cases.check(run)
            else:
                pytest.fail("no sign of life without records")
        path.unlink()


def test_the_lock_goes_with_the_writer(path):
    with cases.create(path, n=1):
        assert lock_path(path).exists()
        assert not WriterLock(path).acquire()
        assert probe(path)
    assert not lock_path(path).exists()
    assert probe(path) is None
    with pytest.raises(ValueError, match="hold real"):
        cases.create(
            path.with_name("b.h5"), extra_data={"x": (np.zeros(2, complex), "s")}
        )
    assert [each.name for each in path.parent.iterdir()] == [
        "run.h5", "run.ckpt.h5"
    ] or not lock_path(path.with_name("b.h5")).exists()  # fmt: skip


def test_where_there_are_no_locks(path, monkeypatch):
    """Then the number of the process, or the heartbeat, has to do."""

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(presence.fcntl, "flock", refuse)
    with cases.create(path, n=1):
        assert not lock_path(path).exists()
        with pytest.raises(OSError, match="is writing it"):
            recover(path)
    assert "in order" in recover(path)


RESUME = """
import sys, time
from pathlib import Path
import mfpde
path, go = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
try:
    mfpde.resume(path)
    print("in", flush=True)
except (OSError, ValueError) as error:
    print("out:", error, flush=True)
"""


def test_of_simultaneous_resumes_one_gets_in(path, tmp_path):
    n_together = 3
    x = np.eye(2)
    problem = mfpde.MeanFieldProblem(x, x, mfpde.blocks.Perceptron(2))
    ensemble = mfpde.ParticleEnsemble(np.ones((2, 2, 5)))
    grid = mfpde.DepthGrid.euler(2)
    options = {"s_end": 2.0, "stepper": "euler", "ds": 0.01}

    def stop(s, s_end, loss, step, objective):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mfpde.solve(
            problem, grid, ensemble, output=path, progress=stop,
            checkpoint_every_s=1e-9, **options,
        )  # fmt: skip
    go = tmp_path / "go"
    command = [sys.executable, "-c", RESUME, str(path), str(go)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(n_together)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    go.touch()
    said = sorted(process.communicate(timeout=120)[0] for process in processes)
    assert [line[:3] for line in said] == ["in\n", *["out"] * (n_together - 1)], said
    # One that is late finds a finished run.
    reasons = "cannot be resumed", "is finished"
    assert all(any(each in line for each in reasons) for line in said[1:]), said
    whole = mfpde.solve(problem, grid, ensemble, **options)
    with open_run(path) as run:
        assert run.status == "finished"
        assert run.theta[-1].tobytes() == whole.ensemble.theta.tobytes()
