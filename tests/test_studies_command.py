"""`mfpde study` in processes of its own: workers, kills, shares, Dask, wrong calls."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from study_cases import STUDY

from mfpde.cli import main
from mfpde.commands import FAILED, SUCCESS, WRONG_CALL
from mfpde.studies import open_study, run_study, store

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
    "MFPDE_NUM_THREADS": "1",
}
COMMAND = (sys.executable, str(HERE / "study_cases.py"), "study", "quadrature")
# A few short tasks; enough to be in the midst of when something happens.
SLOW = ("--set", "mischief.sleep_s=0.1")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder, in which this process knows the study, too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments, command=COMMAND):
    """Call the command in a process of its own."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
    )


@contextlib.contextmanager
def begun(*arguments, n_pieces, folder="quadrature"):
    """A call that has written some pieces, in a process group of its own."""
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    ) as process:
        end = time.monotonic() + 60.0
        while len(pieces(folder)) < n_pieces and time.monotonic() < end:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        yield process


def pieces(folder="quadrature"):
    return sorted(Path(folder).glob("tasks/[!.]*.h5"))


def lines(path):
    return Path(path).read_text().splitlines()


def same_numbers(one, other):
    first, second = open_study(one).table, open_study(other).table
    return all(
        np.array_equal(first[name], second[name], equal_nan=True)
        for name in ("error", "moments", "nodes", "status")
    )


# In this process ---------------------------------------------------------------


def test_a_study_from_end_to_end(folder, capsys):
    assert main(["study", "quadrature"]) == SUCCESS
    told = capsys.readouterr()
    assert told.err.startswith("mfpde: quadrature: 16 tasks, in this process, ")
    assert "order of the left sums in 1 / depth  1         0.98" in told.out
    assert "confirmed [1]" in told.out
    assert "A note." in told.out
    assert "Riemann sums: 16 of 16 tasks done." in told.out
    assert "quadrature/study.h5 (" in told.out
    assert "quadrature/errors.png (" in told.out
    assert (folder / "quadrature" / "errors.png").exists()
    # Nothing is left to be done, and nothing is said if so wished.
    before = [path.stat().st_mtime_ns for path in pieces()]
    assert main(["study", "quadrature", "--quiet", "--no-plot"]) == SUCCESS
    assert [path.stat().st_mtime_ns for path in pieces()] == before
    assert capsys.readouterr() == ("", "")


def test_the_configuration_is_shown_and_can_be_used(folder, capsys):
    assert main(["study", "quadrature", "--show", "--set", "scale=3"]) == SUCCESS
    text = capsys.readouterr().out
    assert text.startswith('study = "quadrature"\n')
    assert "scale = 3.0\n" in text
    (folder / "mine.toml").write_text(text)
    assert main(["study", "mine.toml", "--quiet", "--no-plot"]) == SUCCESS
    assert open_study("mine").config["scale"] == 3.0


def test_failures_are_listed_and_the_status_is_one(folder, capsys):
    arguments = ["study", "quadrature", "--no-plot", "--set", "mischief.kind=fail"]
    assert main(arguments) == FAILED
    told = capsys.readouterr().err
    assert (
        "mfpde: failed: depth = 4, width = 3, rule = left, seed = 0 to 2 (3): Valu"
        in (told)
    )
    assert told.endswith("2 of 16 tasks failed. The same call tries them again.\n")
    assert "Traceback" not in told
    assert main([*arguments, "--debug"]) == FAILED
    assert "raise ValueError" in capsys.readouterr().err


def test_all_runs_diverged(folder, capsys):
    grid = ["--set", "depths=[4]", "--set", "widths=[3]"]
    call = ["study", "quadrature", *grid, "--set", "mischief.kind=diverge"]
    assert main(call) == FAILED
    told = capsys.readouterr()
    assert "mfpde: No analysis: every run diverged (2 tasks)." in told.err
    assert "2 diverged" in told.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["quadratur"], "There is no study 'quadratur'. Did you mean 'quadrature'?"),
        (["absent.toml"], "No such file or directory (absent.toml)."),
        (
            ["quadrature", "--set", "depths=[]"],
            "`depths` must have one entry or more",
        ),
        (["quadrature", "--set", "depth=[]"], 'did you mean "depths"?'),
        (["quadrature", "--task", "5/4"], "--task takes I/N with I from 1 to N"),
        (["quadrature", "--task", "x"], "such as 3/20, got 'x'."),
        (
            ["quadrature", "--out", "other"],
            "holds this study with another configuration",
        ),
        (["quadrature", "--memory", "2"], "--memory is for workers: add --jobs N."),
        (["quadrature", "--dask", "a:1", "--jobs", "2"], "--jobs cannot be set for"),
        (["quadrature", "--out", "."], "is not empty and holds no study"),
    ],
)
def test_wrong_calls_are_sentences_and_touch_nothing(
    folder, capsys, arguments, sentence
):
    assert main(["study", "quadrature", "--out", "other", "--set", "n_seeds=1"]) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert main(["study", *arguments]) == WRONG_CALL
    told = capsys.readouterr()
    assert told.out == ""
    assert sentence in told.err
    assert "Traceback" not in told.err
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_a_full_disk_is_a_sentence_and_keeps_what_is_done(folder, capsys, monkeypatch):
    fine = store.replace_bytes

    def replace_bytes(path, content, **options):
        if len(pieces()) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        fine(path, content, **options)

    monkeypatch.setattr(store, "replace_bytes", replace_bytes)
    assert main(["study", "quadrature", "--no-plot"]) == FAILED
    assert "mfpde: No space left on device (quadrature/tasks" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert main(["study", "quadrature", "--no-plot"]) == SUCCESS
    assert "11 tasks (5 done before)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--jobs", "0"],
        ["--memory", "-1"],
        ["--memory", "x"],
        ["--task=1/2", "--assemble"],
    ],
)
def test_wrong_options(folder, capsys, options):
    with pytest.raises(SystemExit) as end:
        main(["study", "quadrature", *options])
    assert end.value.code == WRONG_CALL
    assert "usage: mfpde study" in capsys.readouterr().err


def test_dask_is_missed_in_a_sentence(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["study", "quadrature", "--dask", "local"]) == WRONG_CALL
    assert "pip install 'mfpde[dask]'" in capsys.readouterr().err
    assert not Path("quadrature").exists()


def test_a_scheduler_out_of_reach(folder, capsys):
    pytest.importorskip("distributed", reason="needs dask.distributed")
    assert main(["study", "quadrature", "--dask", "127.0.0.1:9"]) == WRONG_CALL
    assert "The scheduler 127.0.0.1:9 cannot be reached" in capsys.readouterr().err


def test_the_study_command_is_loaded_late(tmp_path):
    code = (
        "import sys, mfpde.cli\n"
        "mfpde.cli.make_parser()\n"
        "print('mfpde.studies' in sys.modules)"
    )
    done = call("-c", code, command=[sys.executable])
    assert done.stdout == "False\n"


# Processes ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The study done serially, for comparison."""
    place = tmp_path_factory.mktemp("reference") / "quadrature"
    assert run_study(STUDY, None, place).status == "finished"
    return place


def test_jobs_give_the_same_bits_and_a_killed_worker_costs_one_task(folder, reference):
    kill = ("--set", "mischief.log=log", "--set", "mischief.kind=kill once")
    done = call("--jobs", 2, "--memory", 2, "--no-plot", *kill)
    assert done.returncode == SUCCESS, done.stderr
    assert done.stderr.startswith(
        "mfpde: quadrature: 16 tasks, 2 workers, 1 thread and at most 2 GB each\n"
    )
    assert same_numbers("quadrature", reference)
    # Two tasks stand at that cell of the grid, one for each rule.
    assert len(lines("log")) == 18
    assert len({line.split()[1] for line in lines("log")}) <= 4
    assert {line.split()[2] for line in lines("log")} == {"1"}


def test_a_task_that_needs_too_much_memory_fails_alone(folder, capsys):
    grid = ("--set", "depths=[2,4]", "--set", "mischief.kind=memory")
    assert main(["study", "quadrature", "--jobs=1", "--memory=1", *grid]) == FAILED
    told = capsys.readouterr().err
    assert "It needs more memory than the 1 GB of a worker has (Unable to a" in told
    assert np.sum(open_study("quadrature").table["status"] == 3) == 6


def test_after_killing_everything_only_the_rest_is_done(folder, reference, capsys):
    options = (*SLOW, "--set", "mischief.log=log")
    with begun("--jobs", 2, *options, n_pieces=5) as process:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in pieces()}
    assert 5 <= len(before) < 16
    assert not Path("quadrature/study.h5").exists()
    n_begun = len(lines("log"))
    assert main(["study", "quadrature", "--no-plot", *options]) == SUCCESS
    assert f"({len(before)} done before)" in capsys.readouterr().err
    assert len(lines("log")) == n_begun + 16 - len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert same_numbers("quadrature", reference)


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--dask", "local"), marks=pytest.mark.slow)]
)
def test_an_interrupted_study_keeps_what_is_done(folder, options):
    with begun("--jobs", 2, *options, *SLOW, n_pieces=3) as process:
        # Ctrl-C on a terminal reaches the workers, too.
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    n_done = len(pieces())
    assert 3 <= n_done < 16
    assert f"Interrupted with {16 - n_done} of 16 tasks missing." in err
    assert "Traceback" not in err
    assert "KeyboardInterrupt" not in err
    assert f"{16 - n_done} missing, {n_done} done" in out
    table = open_study("quadrature").table
    assert np.sum(table["status"] == 1) == 3 * n_done


def test_all_shares_at_the_same_time_and_the_last_step(folder, reference, capsys):
    """Also the same share twice: what they write is the same."""
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*COMMAND, "--quiet", "--task", share], env=ENVIRONMENT
                )
            )
            for share in ("1/2", "2/2", "2/2")
        ]
        assert [process.wait(timeout=60) for process in processes] == [SUCCESS] * 3
    assert len(pieces()) == 16
    # Nothing is left of how they were written.
    assert not list(Path("quadrature").rglob(".*"))
    assert not Path("quadrature/study.h5").exists()
    assert main(["study", "quadrature", "--task", "1/2"]) == SUCCESS
    assert "Share 1 of 2 is done." in capsys.readouterr().out
    assert main(["study", "quadrature", "--assemble", "--no-plot"]) == SUCCESS
    assert same_numbers("quadrature", reference)


# Dask --------------------------------------------------------------------------


def test_dask_gives_the_same_bits(folder, reference):
    pytest.importorskip("distributed", reason="needs dask.distributed")
    done = call("--dask", "local", "--jobs", 2, "--no-plot", "--set=mischief.log=log")
    assert done.returncode == SUCCESS, done.stderr
    start = "mfpde: quadrature: 16 tasks, 2 Dask workers, 1 thread and at most"
    assert done.stderr.startswith(start)
    assert same_numbers("quadrature", reference)
    assert {line.split()[2] for line in lines("log")} == {"1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n_failed", "jobs"), [("once", 0, 2), ("once", 0, 1), ("always", 2, 2)]
)
def test_dask_survives_killed_workers(folder, reference, kind, n_failed, jobs):
    pytest.importorskip("distributed", reason="needs dask.distributed")
    kill = ("--set", "mischief.log=log", "--set", f"mischief.kind=kill {kind}")
    done = call("--dask", "local", "--jobs", jobs, "--no-plot", *kill)
    assert done.stderr.count("The worker died 3 times at it") == n_failed
    assert done.returncode == (FAILED if n_failed else SUCCESS), done.stderr
    table = open_study("quadrature").table
    assert np.sum(table["status"] == 3) == 3 * n_failed
    assert n_failed or same_numbers("quadrature", reference)


@pytest.mark.slow
def test_a_scheduler_of_its_own_by_address_and_file(folder, reference):
    pytest.importorskip("distributed", reason="needs dask.distributed")
    dask = [sys.executable, "-m", "dask"]
    options = {"env": ENVIRONMENT, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:
        for arguments in (
            [
                "scheduler",
                "--port",
                "0",
                "--scheduler-file",
                "s.json",
                "--no-dashboard",
            ],
            ["worker", "--scheduler-file", "s.json", "--nthreads", "1"],
        ):
            process = stack.enter_context(
                subprocess.Popen([*dask, *arguments], **options)
            )
            stack.callback(process.terminate)
            end = time.monotonic() + 60.0
            while not Path("s.json").exists() and time.monotonic() < end:
                time.sleep(0.05)
        done = call("--dask", "s.json", "--no-plot")
    assert done.returncode == SUCCESS, done.stderr
    assert "1 Dask worker of s.json, 1 thread each" in done.stderr
    assert same_numbers("quadrature", reference)


def test_pieces_are_files_of_our_own(reference):
    with h5py.File(pieces(reference)[0]) as file:
        assert file.attrs["kind"] == b"piece"
        assert set(file["arrays"]) == {"error", "moments", "nodes"}
