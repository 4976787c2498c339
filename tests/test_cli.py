"""The command `mfpde`: statuses, sentences, and every command from end to end."""

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import h5py
import numpy as np
import pytest
from tqdm import notebook

import mfpde
from mfpde.cli import main
from mfpde.commands import FAILED, SUCCESS, WRONG_CALL
from mfpde.digits import with_error
from mfpde.limit.refinement import interpolated, refined_grid
from mfpde.progress import BarReporter, LineReporter, format_duration, make_progress

TINY = """
title = "Tiny moons"

[data]
source = "moons"
n_samples = 16
test_fraction = 0.25

[grid]
scheme = "euler"
n = 2

[ensemble]
n_particles = 4

[flow]
s_end = 0.5
rtol = 1e-3
atol = 1e-3
"""


COMMAND = (
    sys.executable,
    "-c",
    "import sys; from mfpde.cli import main; sys.exit(main())",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the configuration tiny.toml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


@pytest.fixture
def run_file(folder):
    """A finished run without picture, tiny.h5."""
    assert main(["run", "tiny.toml", "--no-plot", "--quiet"]) == SUCCESS
    return folder / "tiny.h5"


def call(*arguments, **options):
    """Call the command in a process of its own."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def modules_of(*arguments):
    """Return what a call imports."""
    code = (
        "import sys\n"
        "from mfpde.cli import main\n"
        "try:\n"
        "    status = main()\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "print('MODULES', *sys.modules, file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == SUCCESS, result.stderr
    return set(result.stderr.split("MODULES")[1].split())


# Fast answers -----------------------------------------------------------------


def processor_time():
    """Seconds of the processor in all processes that this one has started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_imports_nothing_heavy_and_is_fast():
    modules = modules_of("--help")
    assert not modules & {"numba", "numpy", "scipy", "matplotlib", "h5py"}
    times = []
    for _ in range(3):
        start = processor_time()
        assert call("--help").returncode == SUCCESS
        times.append(processor_time() - start)
    assert min(times) < 0.3  # the best of three: a busy machine is not our fault


def test_info_imports_no_kernels(run_file):
    assert not modules_of("info", run_file) & {"numba", "matplotlib"}
    assert not modules_of("info") & {"numba", "matplotlib"}


def test_init_imports_no_kernels():
    assert not modules_of("init") & {"numba", "matplotlib"}


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == SUCCESS
    assert capsys.readouterr().out == f"mfpde {mfpde.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["runn"],
        ["run"],
        ["run", "a.toml", "--threads", "0"],
        ["info", "--out", "a"],
    ],
)
def test_wrong_calls_end_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == WRONG_CALL
    assert "usage: mfpde" in capsys.readouterr().err


# run --------------------------------------------------------------------------


def test_run_knows_the_configurations_that_come_with_mfpde(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    short = ["--set", "flow.s_end=0.01", "--set", "ensemble.n_particles=8"]
    assert main(["run", "digits", *short, "--no-plot"]) == SUCCESS
    assert (tmp_path / "digits.h5").is_file()
    assert main(["run", "digit"]) == WRONG_CALL
    told = capsys.readouterr().err
    assert "no configuration of that name" in told
    assert "digits, digits_network, spirals" in told


def test_run_writes_file_picture_and_account(folder, capsys):
    assert main(["run", "tiny.toml"]) == SUCCESS
    printed = capsys.readouterr()
    with mfpde.open_run("tiny.h5") as run:
        assert run.status == "finished"
        assert run.s[-1] == 0.5
        assert run.config["ensemble"]["n_particles"] == 4
        assert run.data["x_test"].shape == (4, 2)
        loss, accuracy = run.loss[-1], run.test_accuracy[-1]
    assert (folder / "tiny.png").read_bytes().startswith(b"\x89PNG")
    account = printed.out
    assert account.startswith("Tiny moons: finished. Reached s_end = 0.5.")
    assert re.search(rf"^loss +\S+ +{loss:.5g}$", account, re.MULTILINE)
    assert f"{100 * accuracy:.2f} %" in account
    flat = " ".join(account.split())
    for text in ("12 and 4 test samples", "a check of the steps in s, no error of"):
        assert text in flat
    # Nothing looks like an error bar, and how to get one is said.
    assert "errors none are estimated. `--estimate`" in flat
    assert "+-" not in account
    for name in ("tiny.h5", "tiny.ckpt.h5", "tiny.png"):
        assert name in account
    # Lines are wrapped, names of files are not.
    assert max(len(line) for line in account.splitlines() if "tiny." not in line) <= 88
    assert "Traceback" not in printed.err


def test_run_with_overrides_and_another_file(folder, capsys):
    arguments = ["run", "tiny.toml", "--quiet", "--no-plot", "--threads", "1"]
    arguments += [
        "--out",
        "other.h5",
        "--set",
        "flow.s_end=0.25",
        "--set",
        "title=Other",
    ]
    assert main(arguments) == SUCCESS
    assert capsys.readouterr() == ("", "")
    with mfpde.open_run("other.h5") as run:
        assert run.s[-1] == 0.25
        assert run.attrs["title"] == run.config["title"] == "Other"
    assert not (folder / "other.png").exists()


def test_same_configuration_gives_the_same_bits(folder):
    for name in ("a.h5", "b.h5"):
        arguments = ["run", "tiny.toml", "--quiet", "--no-plot", "--out", name]
        assert main(arguments) == SUCCESS
    with mfpde.open_run("a.h5") as a, mfpde.open_run("b.h5") as b:
        assert np.array_equal(a.theta[-1], b.theta[-1])
        assert a.theta.shape == (2, 2, 4, 5)


def error_of(capsys, *arguments):
    """Call a command that fails; return its status and what it says."""
    capsys.readouterr()
    status = main(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert all(line.startswith("mfpde: ") for line in lines), printed.err
    return status, "\n".join(line.removeprefix("mfpde: ") for line in lines)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("flow.s_end=-1", "`flow.s_end` must be finite, at least 0, got -1."),
        ("flow.ds=-1", "`flow.ds` must be positive and finite, got -1."),
        ("flow.stepper=rk4", '`flow.ds` is required for stepper = "rk4"'),
        ("flow.stepper=rk5", "got 'rk5'. Did you mean 'rk4'?"),
        ("flow.s_ende=1", 'did you mean "s_end"?'),
        ("problem.block.activation=tahn", "Did you mean 'tanh'?"),
        ("data.source=moon", "Did you mean 'moons'?"),
        ("ensemble.nodes=[3]", '`nodes` is for `method` = "quadrature"'),
        ("data.n_samples=1", "`n_samples` must be at least 2, got 1."),
        ("data.test_fraction=2", "`test_fraction` must lie in [0, 1)"),
        ("problem.block.d=3", "Set data.pad_to = 3"),
        ("problem.loss=logistic", 'needs `data.target` = "signs"'),
        ("law.std=[1, 2]", "`std` must be a number or have shape (n_params,) = (5,)"),
    ],
)
def test_wrong_configurations_end_with_two(folder, capsys, override, sentence):
    status, text = error_of(capsys, "run", "tiny.toml", "--set", override)
    assert status == WRONG_CALL
    assert sentence in text
    assert text.count("\n") == 0
    assert not (folder / "tiny.h5").exists()


def test_every_problem_is_a_line(folder, capsys):
    overrides = ["--set", "flow.s_end=-1", "--set", "grid.n=0", "--set", "ttle=x"]
    status, text = error_of(capsys, "run", "tiny.toml", *overrides)
    assert status == WRONG_CALL
    assert text.count("\n") == 2


def test_layer_coupling_needs_a_grid_of_steps(folder, capsys):
    overrides = ["--set", "ensemble.coupling=layer", "--set", "grid.scheme=gauss"]
    (folder / "tiny.toml").write_text(TINY.replace("n = 2\n", ""))
    status, text = error_of(capsys, "run", "tiny.toml", *overrides)
    assert status == WRONG_CALL
    assert '`ensemble.coupling` = "layer" is rough in depth t' in text


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ("1,2,a\n3,nan,b\n", "Row 2, column 'x1' of data.csv has no value, but 'nan'"),
        ("1,2,a\n3,4,b,5\n", "Line 3 of data.csv must have 3 cells"),
        ("1,2,a\n3,4,a\n", "at least two classes"),
        ("", "has no samples"),
    ],
)
def test_bad_data_files_end_with_two(folder, capsys, cells, sentence):
    (folder / "data.csv").write_text("x0,x1,y\n" + cells)
    text = 'path = "data.csv"\ntask = "classification"\ntarget_columns = "y"\n'
    config = TINY.replace(
        'source = "moons"\nn_samples = 16\n', 'source = "csv"\n' + text
    )
    (folder / "bad.toml").write_text(config.replace("test_fraction = 0.25\n", ""))
    status, said = error_of(capsys, "run", "bad.toml")
    assert status == WRONG_CALL, said
    assert sentence in said


def test_existing_output_is_kept(run_file, capsys):
    before = run_file.read_bytes()
    status, text = error_of(capsys, "run", "tiny.toml")
    assert status == WRONG_CALL
    assert "tiny.h5 exists" in text
    assert "--overwrite" in text
    assert run_file.read_bytes() == before
    arguments = ["run", "tiny.toml", "--overwrite", "--quiet", "--no-plot"]
    assert main([*arguments, "--set", "flow.s_end=0.1"]) == SUCCESS
    with mfpde.open_run(run_file) as run:
        assert run.s[-1] == 0.1


def test_missing_files_and_folders_end_with_two(folder, capsys):
    status, text = error_of(capsys, "run", "no.toml")
    assert (status, text) == (WRONG_CALL, "No such file or directory (no.toml).")
    status, text = error_of(capsys, "run", "tiny.toml", "--out", "no/tiny.h5")
    assert status == WRONG_CALL
    assert "The folder no does not exist" in text
    status, text = error_of(capsys, "run", folder)
    assert status == WRONG_CALL
    for command in ("info", "plot", "recover", "resume"):
        status, text = error_of(capsys, command, "no.h5")
        assert status == WRONG_CALL
        assert "no.h5" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_ends_with_two(folder, capsys):
    (folder / "locked").mkdir(mode=0o500)
    status, text = error_of(capsys, "run", "tiny.toml", "--out", "locked/tiny.h5")
    assert status == WRONG_CALL
    assert "is not writable" in text


def test_blow_up_ends_with_one_and_keeps_the_last_state(folder, capsys):
    # Euler's step far beyond 1 / lambda0: theta is multiplied by -199 at every step.
    (folder / "tiny.toml").write_text(
        TINY.replace("rtol = 1e-3\natol = 1e-3", 'stepper = "euler"\nds = 100')
        + "[problem.readout]\ntrainable = false\n[problem.regulariser]\nlambda0 = 1\n"
    )
    arguments = ["run", "tiny.toml", "--no-plot", "--set", "flow.s_end=1e5"]
    status = main(arguments)
    printed = capsys.readouterr()
    assert status == FAILED
    assert "at step 3 (s = 300): the steps are too large and blow up." in printed.err
    with mfpde.open_run("tiny.h5") as run:
        assert run.status == "failed"
        assert np.isfinite(run.theta[-1]).all()


# resume, info, plot, recover --------------------------------------------------


def test_resume_continues_to_a_later_end(run_file, capsys):
    status, text = error_of(capsys, "resume", run_file)
    assert status == WRONG_CALL
    assert "is at s = 0.5 already" in text
    assert "--until" in text
    status, text = error_of(capsys, "resume", run_file, "--until", "0.25")
    assert status == WRONG_CALL
    assert main(["resume", str(run_file), "--until", "1.0", "--no-plot"]) == SUCCESS
    account = capsys.readouterr().out
    assert "finished. Reached s_end = 1." in account
    with mfpde.open_run(run_file) as run:
        assert run.s[-1] == 1.0
        assert np.isfinite(run.test_accuracy).all()


def n_records(path):
    """Count the records of a live run; none before the file is there."""
    if not path.exists():
        return 0
    with mfpde.open_run(path) as run:
        return len(run.s)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted_run_resumes_to_the_same_bits(folder, name):
    """A signal in the loop ends the process, once the file is closed; then the bits."""
    slow = {"flow.stepper": "euler", "flow.ds": "0.01", "flow.s_end": "2"}
    slow = [part for k, v in slow.items() for part in ("--set", f"{k}={v}")]
    process = subprocess.Popen(
        [*COMMAND, "run", "tiny.toml", *slow, "--no-plot"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and n_records(folder / "tiny.h5") < 3:
        time.sleep(0.02)
    number = getattr(signal, name)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    # A loop of the shell goes on after exit 1, and ends with a signal.
    assert process.returncode == -number, err
    assert f"mfpde: Stopped by {name} at s = " in err
    assert "mfpde: continue with: mfpde resume tiny.h5" in err
    assert "Traceback" not in err
    assert "interrupted" in out
    with mfpde.open_run("tiny.h5") as run:
        assert run.status == "interrupted"
        assert 0 < run.s[-1] < 2
    same = ["--quiet", "--no-plot"]
    assert main(["resume", "tiny.h5", *same]) == SUCCESS
    assert main(["run", "tiny.toml", "--out", "whole.h5", *slow, *same]) == SUCCESS
    with mfpde.open_run("tiny.h5") as a, mfpde.open_run("whole.h5") as b:
        assert np.array_equal(a.theta[-1], b.theta[-1])


def test_info_describes_a_file(run_file, capsys):
    assert main(["info", str(run_file)]) == SUCCESS
    text = capsys.readouterr().out
    assert text.startswith("Tiny moons: finished.")
    assert "run_id" in text


def test_info_of_a_run_killed_before_its_first_record(run_file, capsys):
    with h5py.File(run_file, "r+") as file:
        for name in ("scalars", "trajectory"):
            for dataset in file[name].values():
                if dataset.maxshape[:1] == (None,):
                    dataset.resize(0, axis=0)
    assert main(["info", str(run_file)]) == SUCCESS
    assert "It holds no record yet." in capsys.readouterr().out


def test_info_describes_the_installation(capsys, monkeypatch):
    monkeypatch.setenv("MFPDE_NUM_THREADS", "3")
    assert main(["info"]) == SUCCESS
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()
    )
    assert lines["mfpde"] == mfpde.__version__
    assert lines["numpy"] == np.__version__
    assert lines["threads"] == "3"


def test_plot_draws_the_picture_again(run_file, folder, capsys):
    assert main(["plot", str(run_file), "--out", "again.png"]) == SUCCESS
    assert capsys.readouterr().out == "Wrote again.png.\n"
    assert (folder / "again.png").read_bytes().startswith(b"\x89PNG")


def test_recover_says_what_it_did(run_file, capsys):
    assert main(["recover", str(run_file)]) == SUCCESS
    assert "is in order, nothing was changed" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["info", "plot", "recover", "resume"])
def test_files_of_another_kind_end_with_two(folder, capsys, command):
    (folder / "other.h5").write_bytes(b"not HDF5 at all" * 100)
    (folder / "other.ckpt.h5").write_bytes(b"not HDF5 at all" * 100)
    status, text = error_of(capsys, command, "other.h5")
    assert status == WRONG_CALL, text
    assert "other" in text


@pytest.mark.parametrize("command", ["info", "plot", "recover", "resume"])
def test_truncated_files_end_with_two(run_file, capsys, command):
    run_file.write_bytes(run_file.read_bytes()[:3000])
    status, text = error_of(capsys, command, run_file)
    assert status == WRONG_CALL, text
    assert "tiny" in text


def test_a_newer_format_version_ends_with_two(run_file, capsys):
    with h5py.File(run_file, "r+") as file:
        file.attrs["mfpde_format_version"] = 99
    status, text = error_of(capsys, "info", run_file)
    assert status == WRONG_CALL
    assert "99" in text


def test_full_disk_ends_with_one_and_keeps_the_records(folder):
    """The limit on the size of a file stands in for the disk's end."""
    arguments = ["run", "tiny.toml", "--no-plot", "--set", "flow.stepper=euler"]
    arguments += ["--set", "flow.ds=0.001", "--set", "flow.s_end=100"]
    result = call(
        *arguments,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (220_000,) * 2),
    )
    assert result.returncode == FAILED, result.stderr
    assert "Traceback" not in result.stderr
    assert "tiny.h5" in result.stderr
    with mfpde.open_run("tiny.h5") as run:
        assert len(run.s) > 0
        assert np.isfinite(run.loss).all()


# Errors of the command itself -------------------------------------------------


def test_debug_shows_the_traceback(folder, capsys):
    assert main(["run", "no.toml", "--debug"]) == WRONG_CALL
    assert "Traceback" in capsys.readouterr().err


def fail_with(monkeypatch, error):
    def command(arguments):
        raise error

    monkeypatch.setattr("mfpde.commands.init.main", command)


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (KeyboardInterrupt(), FAILED, "Interrupted."),
        (OSError(28, "No space left on device", "a.h5"), FAILED, "No space left on d"),
        (MemoryError(), FAILED, "Not enough memory."),
        (
            mfpde.errors.NotFiniteError("Not finite at layer 3."),
            FAILED,
            "Not finite at layer",
        ),
        (mfpde.errors.StorageFormatError("Newer."), WRONG_CALL, "Newer."),
        (ZeroDivisionError("by zero"), FAILED, "Internal error, ZeroDivisionError"),
    ],
)
def test_errors_become_statuses_and_sentences(
    monkeypatch, capsys, error, status, sentence
):
    import mfpde.commands.init  # noqa: F401

    fail_with(monkeypatch, error)
    found, text = error_of(capsys, "init")
    assert found == status
    assert text.startswith(sentence)


def test_a_reader_that_leaves_is_no_error():
    result = subprocess.run(
        f"{shlex.join(COMMAND)} init | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    assert result.stdout.startswith("# Configuration of mfpde")


# Progress ---------------------------------------------------------------------


class Terminal(list):
    """A stream that keeps what is written."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal

    def write(self, text):
        self.append(text)

    def flush(self):
        pass


def test_lines_have_loss_rate_and_remaining_time():
    now = iter([0.0, 1.0, 2.0, 6.0, 6.5])
    stream = Terminal(False)
    report = LineReporter(stream, every_s=5.0, clock=lambda: next(now))
    report(1.0, 100.0, 0.9, 1, 0.9)  # the first step, with the compilation
    report(2.0, 100.0, 0.8, 2, 0.8)
    report(11.0, 100.0, 0.7, 11, 0.75)
    report(12.0, 100.0, 0.7, 12, 0.7)
    report.close()
    assert stream == [
        "s = 11 of 100, loss 0.7, objective 0.75, 2 s per second, 2 steps/s, "
        "44 s left\n"
    ]


def test_a_bar_on_a_terminal_and_lines_elsewhere():
    assert isinstance(make_progress(Terminal(False)), LineReporter)
    stream = Terminal(True)
    bar = make_progress(stream)
    assert isinstance(bar, BarReporter)
    for step in range(3):
        bar(step, 2.0, 0.5, step, 0.5)
    bar.close()
    assert "s = 0 of 2" in "".join(stream)


def test_in_a_notebook_a_widget_where_it_has_them_else_lines(monkeypatch):
    stream = Terminal(False)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    # No kernel runs here: tqdm.auto has no widget to offer.
    assert isinstance(make_progress(), LineReporter)
    bar = type("bar", (notebook.tqdm_notebook,), {})
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=bar))
    assert isinstance(make_progress(), BarReporter)
    # A stream of the user's is no notebook.
    assert isinstance(make_progress(Terminal(False)), LineReporter)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.6, "1 min 00 s"),
        (3725, "1 h 02 min"),
        (float("inf"), "unknown"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


# Refinement -------------------------------------------------------------------


@pytest.mark.parametrize(
    "grid",
    [
        mfpde.DepthGrid.euler(4),
        mfpde.DepthGrid.midpoint(8),
        mfpde.DepthGrid.rk4(4),
        mfpde.DepthGrid.gauss(4, 2),
    ],
    ids=lambda grid: grid.scheme,
)
def test_interpolation_in_depth_is_exact_for_cubics(grid):
    """All interpolants have degree 3 or more, elements included."""
    theta = np.stack([grid.nodes**p for p in range(4)], axis=1)[:, None, :]
    finer = refined_grid(grid)
    assert finer.n_nodes in (2 * grid.n_nodes, 2 * grid.n_nodes - 1)
    found = interpolated(grid, mfpde.ParticleEnsemble(theta), finer).theta[:, 0]
    expected = np.stack([finer.nodes**p for p in range(4)], axis=1)
    assert np.abs(found - expected).max() < 1e-12  # rounding of a small solve


# Digits of numbers with an error ----------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.004812345, 1.3e-4, "0.00481 +- 0.00013"),
        (0.004812345, 9.3e-5, "0.00481 +- 0.00009"),
        (0.004812345, 9.6e-2, "0.00 +- 0.10"),
        (0.0, 3e-3, "0.000 +- 0.003"),
        (-12.3456, 0.0251, "-12.346 +- 0.025"),
        (4.81e-8, 2.3e-9, "(4.81 +- 0.23)e-08"),
        (1234567.0, 4321.0, "(1.235 +- 0.004)e+06"),
        (1 / 3, 1e-18, "0.333333333333333 +- 0.000000000000000"),
        (0.5, 0.0, "0.5"),
        (0.5, float("nan"), "0.5"),
        (float("inf"), 1.0, "inf"),
    ],
)
def test_digits_end_where_the_error_begins(value, error, text):
    assert with_error(value, error) == text


def test_a_loss_with_an_estimated_error_is_printed_with_it(folder, capsys):
    assert main(["run", "tiny.toml", "--estimate"]) == SUCCESS
    text = capsys.readouterr().out
    with mfpde.open_run("tiny.h5") as run:
        expected = with_error(run.loss[-1], run.errors["loss_at_end"]["total"])
    assert " +- " in expected
    assert re.search(rf"^loss +\S+ +{re.escape(expected)}$", text, re.MULTILINE)
    assert "none are estimated" not in text


# The main job -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "train", "test"), [("digits", 0.99, 0.95), ("spirals", 1.0, 0.95)]
)
def test_ready_configurations_reach_their_accuracy(folder, name, train, test):
    path = Path(__file__).parents[1] / "data" / f"{name}.toml"
    assert main(["run", str(path), "--quiet"]) == SUCCESS
    assert (folder / f"{name}.png").exists()
    with mfpde.open_run(f"{name}.h5") as run:
        assert run.train_accuracy[-1] >= train
        assert run.test_accuracy[-1] >= test
        # The ledger closes to the tolerance, rtol = 1e-5 of the change.
        change = run.objective[-1] - run.objective[0]
        assert abs(run.energy_residual[-1] / change) < 1e-5
        # Without a regulariser the objective never rises.
        assert np.all(np.diff(run.objective) <= 1e-12)
