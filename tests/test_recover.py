"""Killed writers: what is kept, recovering, resuming."""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import storage_cases as cases

from mfpde.errors import StorageFormatError
from mfpde.storage import (
    RunWriter,
    checkpoint_path,
    open_run,
    read_checkpoint,
    recover,
)
from mfpde.storage.hdf5.superblock import lookup3, read_superblock

MODES = ["swmr", "no-swmr"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def start(path: Path, n: int, mode: str = "swmr") -> subprocess.Popen[str]:
    """A process that writes, or resumes, up to record n."""
    command = [sys.executable, cases.__file__, str(path), str(n), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _kill_after_records(path: Path, mode: str) -> None:
    process = start(path, 10**6, mode)
    assert process.stdout.readline() == "ready\n"
    while int(process.stdout.readline()) < 5:
        pass
    process.kill()
    process.communicate()


def _kill_within_record(path: Path, mode: str) -> None:
    script = """
import os, sys
from pathlib import Path
import storage_cases as cases
from mfpde.storage.hdf5 import rows
path, swmr = Path(sys.argv[1]), sys.argv[2] == "swmr"
writer = cases.create(path, n=3, swmr=swmr)
writer.write_checkpoint(*cases.state(3))
cases.append(writer, 3)
cases.append(writer, 4)
kind = rows.SwmrRows if swmr else rows.InPlaceRows
write = kind.write
def end_at_s(self, name, row, value):
    if name == "/scalars/s":
        self.flush()
        os.kill(os.getpid(), 9)
    write(self, name, row, value)
kind.write = end_at_s
cases.append(writer, 5)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", script, str(path), mode]
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed_runs(tmp_path_factory) -> dict[str, Path]:
    """Runs of killed processes, made once, by the way of killing and the mode."""
    runs = {}
    for name, make in (("after", _kill_after_records), ("within", _kill_within_record)):
        for mode in MODES:
            runs[name + mode] = tmp_path_factory.mktemp("killed") / "run.h5"
            make(runs[name + mode], mode)
    return runs


@pytest.fixture
def killed(path: Path, killed_runs) -> Callable[..., Path]:
    """Gives a run whose writer was killed after at least 6 records."""
    return lambda mode="swmr": _copied(killed_runs["after" + mode], path)


@pytest.fixture
def killed_within_record(path: Path, killed_runs) -> Callable[..., Path]:
    """Gives a run of 5 records whose writer ended before the `s` of the sixth."""
    return lambda mode="swmr": _copied(killed_runs["within" + mode], path)


def _copied(run: Path, path: Path) -> Path:
    shutil.copy(checkpoint_path(run), checkpoint_path(path))
    return Path(shutil.copy(run, path))


def opens_everywhere(path: Path) -> None:
    """Assert that plain HDF5 and xarray open the file."""
    with h5py.File(path, "r") as h5:
        n = len(h5["scalars/s"])
        assert {len(dataset) for dataset in h5["scalars"].values()} == {n}
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    for group in ("scalars", "trajectory", "observations", "states", "data"):
        with xarray.open_dataset(path, engine="h5netcdf", group=group) as dataset:
            dataset.load()


class TestKills:
    @pytest.mark.parametrize("n_kills", [3, pytest.param(25, marks=pytest.mark.slow)])
    @pytest.mark.parametrize("mode", MODES)
    def test_at_random_moments(self, path, mode, n_kills):
        """Each time all records are kept, and the run goes on from its checkpoint."""
        generator = random.Random(n_kills)
        n_end = 40 * n_kills
        n_committed = 0
        for _ in range(n_kills):
            n_committed = self._kill_once(path, n_end, mode, generator, n_committed)
        process = start(path, n_end, mode)
        process.communicate()
        assert process.returncode == 0
        with open_run(path) as run:
            assert cases.check(run) == n_end
            assert run.status == "finished"
        np.testing.assert_array_equal(
            read_checkpoint(path)[0]["theta"], cases.truth(n_end)["theta"]
        )
        assert sorted(os.listdir(path.parent)) == ["run.ckpt.h5", "run.h5"]

    @staticmethod
    def _kill_once(path, n_end, mode, generator, n_before):
        process = start(path, n_end, mode)
        assert process.stdout.readline() == "ready\n"
        time.sleep(generator.uniform(0.0, 0.1))
        process.kill()
        reported = process.communicate()[0].split()
        with open_run(path) as run:
            n = cases.check(run)
            assert run.status in ("killed", "finished")
        # What the writer has reported is there; resuming drops at most CADENCE
        # records, those since the checkpoint.
        assert n >= (int(reported[-1]) + 1 if reported else n_before - cases.CADENCE)
        assert read_checkpoint(path)[1]["i"] >= n - cases.CADENCE - 1
        return n

    @pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.03])
    def test_while_it_is_created(self, path, delay):
        """The file appears only with all that resuming needs."""
        process = start(path, 10**6)
        deadline = time.monotonic() + 10
        while not os.listdir(path.parent) and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(delay)
        process.kill()
        process.communicate()
        if path.exists():
            with open_run(path) as run:
                cases.check(run)
            assert read_checkpoint(path)[1]["i"] >= 0
        # What is left over is no obstacle.
        process = start(path, 5)
        process.communicate()
        assert process.returncode == 0
        with open_run(path) as run:
            assert cases.check(run) >= 5
        assert sorted(os.listdir(path.parent)) == ["run.ckpt.h5", "run.h5"]


class TestKilledFile:
    @pytest.mark.parametrize("mode", MODES)
    def test_is_read_without_permission_to_write(self, path, killed, mode):
        killed(mode)
        path.chmod(0o400)
        before = path.read_bytes()
        with open_run(path) as run:
            assert cases.check(run) >= 6
            assert run.status == "killed"
            assert run.message == ""
        assert path.read_bytes() == before

    @pytest.mark.parametrize("flags", [0, 1, 5])
    def test_flag_does_not_matter(self, path, killed, flags):
        """Cleared by hand, killed before SWMR began, and as usual."""
        killed()
        superblock = read_superblock(path)
        assert superblock.flags == 5
        raw = bytearray(superblock.closed(path.stat().st_size))
        raw[11] = flags
        raw[44:48] = struct.pack("<I", lookup3(bytes(raw[:44])))
        with open(path, "r+b") as file:
            file.write(raw)
        with open_run(path) as run:
            assert cases.check(run) >= 6
            assert run.status == "killed"

    def test_stale_end_of_file(self, path, killed):
        """As after a kill between the flush of a dataset and that of the file."""
        killed()
        with open(path, "r+b") as file:
            file.write(read_superblock(path).closed(4096))
        with open_run(path) as run:
            assert cases.check(run) >= 6
        assert "cleared the mark" in recover(path)
        opens_everywhere(path)

    def test_later_process_of_the_same_number(self, path, killed):
        killed()
        with h5py.File(_cleared(path), "r+") as h5:
            # This very process, but started at another time.
            h5["run/pid"][()] = os.getpid()
        with open_run(path) as run:
            assert run.status == "killed"

    def test_writer_on_another_machine(self, path, killed):
        killed()
        with h5py.File(_cleared(path), "r+") as h5:
            h5["run/host"][()] = "elsewhere"
            h5["run/last_record_unix"][()] = time.time()
        with open_run(path) as run:
            assert run.status == "running"
        with pytest.raises(OSError, match=r"on elsewhere is writing it\. Its last"):
            recover(path)
        with h5py.File(path, "r+") as h5:
            h5["run/last_record_unix"][()] = time.time() - 100
        assert "Recovered" in recover(path)


def _cleared(path: Path) -> Path:
    with open(path, "r+b") as file:
        file.write(read_superblock(path).closed(path.stat().st_size))
    return path


class TestRecover:
    @pytest.mark.parametrize("mode", MODES)
    def test_keeps_every_bit(self, path, killed, mode):
        killed(mode)
        with open_run(path) as run:
            n = len(run.s)
            before = {name: run.scalars[name] for name in run.scalars}
            theta = run.theta[:]
        account = recover(path)
        assert account.startswith(f"Recovered {path}: ")
        assert f"It holds {n} records and {len(theta)} snapshots" in account
        opens_everywhere(path)
        with open_run(path) as run:
            assert cases.check(run) == n
            assert run.status == "interrupted"
            assert run.message == "The process that wrote the file was killed."
            assert run.theta[:].tobytes() == theta.tobytes()
            for name, column in before.items():
                assert run.scalars[name].tobytes() == column.tobytes()
        content = path.read_bytes()
        assert "is in order, nothing was changed" in recover(path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("mode", MODES)
    def test_drops_an_unfinished_record(self, path, killed_within_record, mode):
        killed_within_record(mode)
        with open_run(path) as run:
            assert cases.check(run) == 5
            assert len(run.observations["confusion"]) == 5
        assert "after the last whole record" in recover(path)
        with h5py.File(path, "r") as h5:
            assert len(h5["scalars/loss"]) == len(h5["observations/confusion"]) == 5
        opens_everywhere(path)
        assert read_checkpoint(path)[1]["i"] == 3

    def test_only_the_superblock_changes_after_whole_records(self, path, killed):
        """No copy, so that it works on a full disk."""
        killed()
        recover(path)
        with h5py.File(path, "r+") as h5:
            h5["run/status"][()] = 0
        before = path.read_bytes()
        inode = path.stat().st_ino
        recover(path)
        after = path.read_bytes()
        assert path.stat().st_ino == inode
        differ = np.flatnonzero(
            np.frombuffer(before, "u1") != np.frombuffer(after, "u1")
        )
        assert len(differ) == 1

    @pytest.mark.parametrize("mode", MODES)
    def test_refuses_while_the_writer_lives(self, path, mode):
        process = start(path, 10**6, mode)
        try:
            assert process.stdout.readline() == "ready\n"
            message = rf"cannot be recovered: process {process.pid} on .*Stop it"
            with pytest.raises(OSError, match=message):
                recover(path)
            lengths = read_checkpoint(path)[2]
            with pytest.raises(OSError, match="cannot be resumed"):
                RunWriter.reopen(path, lengths)
            assert process.poll() is None
        finally:
            process.kill()
            process.communicate()

    @pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
    def test_leaves_a_damaged_file_alone(self, path, killed, part):
        killed()
        content = path.read_bytes()
        content = content[: int(part * len(content))]
        path.write_bytes(content)
        with pytest.raises(StorageFormatError, match=r"damaged|truncated|empty"):
            recover(path)
        assert path.read_bytes() == content

    def test_needs_permission_to_write(self, path, killed, monkeypatch):
        killed()
        content = path.read_bytes()
        # Root may write anywhere, so the answer of the system is replaced.
        monkeypatch.setattr(os, "access", lambda _, how: not how & os.W_OK)
        with pytest.raises(PermissionError, match="is not writable"):
            recover(path)
        assert path.read_bytes() == content

    def test_foreign_files(self, path):
        with pytest.raises(FileNotFoundError):
            recover(path)
        with h5py.File(path, "w") as h5:
            h5["a"] = 1
        with pytest.raises(StorageFormatError, match="not one written by mfpde"):
            recover(path)


class TestReopen:
    @pytest.mark.parametrize("first", MODES)
    @pytest.mark.parametrize("second", MODES)
    def test_equals_an_uninterrupted_run(
        self, path, killed_within_record, tmp_path, first, second
    ):
        killed_within_record(first)
        whole = tmp_path / "whole.h5"
        cases.write_until(whole, 9)
        cases.write_until(path, 9, swmr=second == "swmr")
        with open_run(path) as run, open_run(whole) as other:
            assert cases.check(run) == 9
            for name in other.scalars:
                assert run.scalars[name].tobytes() == other.scalars[name].tobytes()
            assert run.theta[:].tobytes() == other.theta[:].tobytes()
            assert run.status == "finished"
            lines = run.attrs["history"].splitlines()
            assert "created by mfpde 0.1.0" in lines[0]
            assert "resumed by mfpde 0.1.0 after 3 records" in lines[1]
            assert {k: v for k, v in run.attrs.items() if k in other.attrs}.keys() == (
                other.attrs.keys()
            )
        opens_everywhere(path)
        assert read_superblock(path).flags == 0

    def test_drops_records_after_the_checkpoint(self, path):
        cases.finished(path, n=6)
        lengths = dict.fromkeys(read_checkpoint(path)[2], 2)
        with RunWriter.reopen(path, lengths, source="mfpde 9.9.9") as writer:
            with open_run(path) as run:
                assert cases.check(run) == 2
                assert run.status == "running"
                assert "resumed by mfpde 9.9.9" in run.attrs["history"]
            for i in range(2, 4):
                cases.append(writer, i)
        with open_run(path) as run:
            assert cases.check(run) == 4

    def test_keeps_format_and_data(self, path):
        """A copy has the same attributes, types, chunks and scales."""
        cases.finished(path, n=3)
        before = _description(path)
        RunWriter.reopen(path, read_checkpoint(path)[2]).close()
        after = _description(path)
        for changed in ("/run/message", "/run/status", "/run/inode", "history"):
            before.pop(changed)
            after.pop(changed)
        assert after == before

    def test_does_not_touch_a_file_that_does_not_match(self, path, monkeypatch):
        cases.finished(path, n=3)
        content = path.read_bytes()
        lengths = read_checkpoint(path)[2]
        more = lengths | {"/trajectory/theta": 4}
        other = {name: n for name, n in lengths.items() if "readout" not in name}
        for wrong, message in ((more, "theta has 3 of 4 rows"), (other, "other datas")):
            with pytest.raises(StorageFormatError, match=message):
                RunWriter.reopen(path, wrong)
        monkeypatch.setattr(os, "replace", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            RunWriter.reopen(path, lengths)
        assert path.read_bytes() == content
        assert sorted(os.listdir(path.parent)) == ["run.ckpt.h5", "run.h5"]

    def test_checkpoint_of_an_overwritten_run(self, path, tmp_path):
        """A kill between the new checkpoint and the new file leaves the old file."""
        cases.finished(path)
        newer = cases.finished(tmp_path / "newer.h5")
        shutil.copy(checkpoint_path(newer), checkpoint_path(path))
        with open_run(path) as run:
            assert cases.check(run) == 5
        with pytest.raises(StorageFormatError, match="belongs to another run"):
            read_checkpoint(path)

    def test_after_a_full_disk(self, path, monkeypatch):
        writer = cases.create(path, n=4)
        writer.write_checkpoint(*cases.state(4))
        monkeypatch.setattr(writer._rows, "flush", _no_space)
        with pytest.raises(OSError, match=r"No space left on device\). The records"):
            cases.append(writer, 4)
        writer.close()
        monkeypatch.undo()
        cases.write_until(path, 8)
        with open_run(path) as run:
            assert cases.check(run) == 8


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def _description(path: Path) -> dict[str, object]:
    """Everything about a file but the places of its parts."""
    content: dict[str, object] = {}
    with h5py.File(path, "r") as h5:
        content |= {name: str(value) for name, value in h5.attrs.items()}
        for group in h5.values():
            content[group.name] = list(group)
            for dataset in group.values():
                scales = [
                    [scale.name for scale in dim.values()] for dim in dataset.dims
                ]
                attrs = {
                    name: (str(dataset.attrs[name]), dataset.attrs.get_id(name).dtype)
                    for name in dataset.attrs
                    if name not in ("DIMENSION_LIST", "REFERENCE_LIST")
                }
                content[dataset.name] = (
                    dataset.dtype, dataset.shape, dataset.maxshape, dataset.chunks,
                    dataset.is_scale, str(dataset.fillvalue), scales, attrs,
                    "" if dataset.name.startswith("/run/last") else str(dataset[()]),
                )  # fmt: skip
    return content
