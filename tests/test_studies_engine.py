"""`run_study` in one process: pieces, table, file, folder, shares, failures."""

import io
import json
import os
import re
import signal
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from study_cases import STUDY, Quadrature

import mfpde
from mfpde.errors import ConfigurationError, StorageFormatError
from mfpde.studies import (
    Report,
    Table,
    Task,
    Variable,
    Verdict,
    open_study,
    run_study,
    verdict_table,
)
from mfpde.studies.checks import read_share, share_of
from mfpde.studies.progress import TaskReporter

DIVERGE = {"mischief": {"kind": "diverge"}}
FAIL = {"mischief": {"kind": "fail"}}


def contents(folder):
    """Every file below a folder, but for those that every call writes anew."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(p): p.read_bytes() for p in files if p.name != "study.h5"}


def expected_error(depth, width, rule, seed):
    """The error of the sums, written out once more."""
    t = [(i + (rule == "right")) / depth for i in range(depth)]
    noise = 1e-3 * np.random.default_rng([seed, width]).standard_normal()
    return sum(np.exp(t)) / depth - np.expm1(1.0) + noise / depth


# The table ---------------------------------------------------------------------


def test_every_value_stands_in_its_cell(tmp_path):
    outcome = run_study(STUDY, None, tmp_path / "out")
    assert (outcome.status, outcome.message) == ("finished", "16 of 16 tasks done.")
    assert outcome.counts == {"missing": 0, "done": 16, "diverged": 0, "failed": 0}
    table = outcome.table
    assert table.dims("moments") == ("depth", "width", "rule", "seed", "power")
    for i, depth in enumerate([2, 4, 8, 16]):
        for j, width in enumerate([1, 3]):
            for k, rule in enumerate(["left", "right"]):
                for seed in range(3):
                    value = table["error"][i, j, k, seed]
                    # Rounding of a mean of sixteen numbers.
                    exact = expected_error(depth, width, rule, seed)
                    assert abs(value - exact) < 1e-14
    # The mean of t is (1 - 1 / depth) / 2 for left sums.
    noise = 1e-3 * np.random.default_rng([2, 3]).standard_normal()
    assert abs(table["moments"][2, 1, 0, 2, 0] - (0.4375 + noise)) < 1e-15
    assert table["nodes"].tolist() == [2.0, 4.0, 8.0, 16.0]
    assert np.all(table["status"] == 1)
    assert np.all(table["wall_time"] > 0)


def test_a_diverged_task_is_inf_and_counted_and_never_averaged(tmp_path):
    outcome = run_study(STUDY, DIVERGE, tmp_path / "out")
    assert outcome.status == "finished"
    assert outcome.counts == {"missing": 0, "done": 14, "diverged": 2, "failed": 0}
    assert outcome.message == "14 of 16 tasks done, 6 cells diverged."
    assert outcome.n_diverged == 6
    diverged = np.zeros((4, 2, 2, 3), dtype=bool)
    diverged[1, 1] = True
    table = outcome.table
    assert np.array_equal(np.isposinf(table["error"]), diverged)
    assert np.array_equal(table["status"] == 2, diverged)
    # What other tasks measured is not touched.
    assert table["nodes"].tolist() == [2.0, 4.0, 8.0, 16.0]
    assert not np.isinf(outcome.report.verdicts[0].value)


def test_one_diverged_seed_of_a_task_is_told_by_inf(tmp_path):
    config = {"mischief": {"kind": "one seed"}, "rules": ["left"]}
    outcome = run_study(STUDY, config, tmp_path / "out")
    status = outcome.table["status"]
    assert status[1, 1, 0].tolist() == [1, 2, 1]
    assert np.sum(status == 2) == outcome.n_diverged == 1
    assert outcome.message == "8 of 8 tasks done, 1 cell diverged."


def test_a_failed_task_is_reported_and_tried_again(tmp_path):
    folder = tmp_path / "out"
    log = str(tmp_path / "log")
    config = {"mischief": {"kind": "fail", "log": log}}
    first = run_study(STUDY, config, folder)
    assert first.status == "failed"
    assert first.message == "2 of 16 tasks failed. The same call tries them again."
    name = "depth = 4, width = 3, rule = left, seed = 0 to 2 (3)"
    assert first.failures[name].message == "ValueError: `depth` must be odd."
    assert "_do_mischief" in first.failures[name].details
    assert np.isnan(first.table["error"][1, 1]).all()
    assert np.isfinite(first.table["error"]).sum() == 42
    before = contents(folder / "tasks")
    again = run_study(STUDY, config, folder)
    assert again.counts == first.counts
    # Sixteen tasks, and the two that failed.
    assert len((tmp_path / "log").read_text().splitlines()) == 18
    changed = [n for n, text in contents(folder / "tasks").items() if text != before[n]]
    assert len(changed) == 2


def test_a_reference_that_fails_fails_its_tasks(tmp_path):
    config = {"mischief": {"reference": True}}
    outcome = run_study(STUDY, config, tmp_path / "out")
    assert outcome.status == "failed"
    assert outcome.counts["failed"] == 16
    assert outcome.failures["reference integral"].message == (
        "RuntimeError: no integral today"
    )
    assert list((tmp_path / "out" / "references").iterdir()) == []


def test_all_diverged_is_a_sentence(tmp_path):
    config = DIVERGE | {"depths": [4], "widths": [3]}
    outcome = run_study(STUDY, config, tmp_path / "out")
    assert outcome.status == "failed"
    assert outcome.message.startswith("No analysis: every run diverged (2 tasks).")
    assert outcome.report is None
    assert np.isinf(open_study(outcome.path).table["error"]).all()
    config = {"depths": [4]}
    outcome = run_study(STUDY, config, tmp_path / "few")
    assert outcome.message == "No analysis: Two depths are required for an order."
    assert outcome.status == "failed"


class Wrong(Quadrature):
    """Measures arrays that do not fit."""

    def __init__(self, **values):
        self.values = values

    def measure(self, task, config, references):
        return self.values


def test_measurements_that_do_not_fit_fail(tmp_path):
    cases = {
        "shape (3,) for depth = 2": {"error": 1.0},
        "'eror', which is no variable. Did you mean 'error'?": {"eror": np.ones(3)},
        "must give real numbers": {"error": np.ones(3) * 1j},
    }
    for number, (message, values) in enumerate(cases.items()):
        outcome = run_study(Wrong(**values), None, tmp_path / str(number))
        assert outcome.counts["failed"] == 16
        assert all(
            message.split(" for")[0] in p.message for p in outcome.failures.values()
        )
    # Less than all is fine.
    outcome = run_study(Wrong(nodes=np.array(1.0)), None, tmp_path / "nodes")
    assert outcome.counts["done"] == 16
    assert np.isnan(outcome.table["error"]).all()


# study.h5 ----------------------------------------------------------------------


def test_the_file_opens_in_xarray(tmp_path):
    xarray = pytest.importorskip("xarray", reason="needs the extra xarray")
    pytest.importorskip("h5netcdf", reason="needs the extra xarray")
    outcome = run_study(STUDY, DIVERGE, tmp_path / "out")
    with xarray.open_dataset(outcome.path, engine="h5netcdf") as dataset:
        dataset.load()
    assert dict(dataset.sizes) == {
        "depth": 4,
        "width": 2,
        "rule": 2,
        "seed": 3,
        "power": 3,
    }
    assert dataset.rule.values.tolist() == ["left", "right"]
    assert dataset.error.dims == ("depth", "width", "rule", "seed")
    assert dataset.error.attrs["long_name"] == "error of the sum"
    assert dataset.moments.attrs["units"] == "m"
    assert np.array_equal(dataset.error.values, outcome.table["error"])
    assert dataset.status.dtype == np.int8
    assert dataset.status.attrs["flag_meanings"] == "missing done diverged failed"
    assert dataset.status.attrs["flag_values"].tolist() == [0, 1, 2, 3]
    one = dataset.sel(depth=8, width=3, rule="right", seed=1).error
    assert float(one) == outcome.table["error"][2, 1, 1, 1]
    assert dataset.attrs["kind"] == "study"
    assert json.loads(dataset.attrs["software"])["mfpde"] == mfpde.__version__


def test_the_file_reads_back(tmp_path):
    outcome = run_study(STUDY, {"scale": 2}, tmp_path / "out", command="mfpde study q")
    opened = open_study(tmp_path / "out")
    assert opened.path == outcome.path == tmp_path / "out" / "study.h5"
    assert opened.table.axes == outcome.table.axes
    for name in outcome.table:
        assert opened.table.dims(name) == outcome.table.dims(name)
        assert np.array_equal(opened.table[name], outcome.table[name])
    assert opened.verdicts == list(outcome.report.verdicts)
    assert opened.texts == ["A note."]
    assert opened.config == {"study": "quadrature", **STUDY.defaults, "scale": 2.0}
    assert opened.attrs["command"] == "mfpde study q"


def test_runs_and_studies_are_told_apart(tmp_path):
    study = run_study(STUDY, None, tmp_path / "out").path
    with pytest.raises(StorageFormatError, match="with mfpde\\.studies\\.open_study"):
        mfpde.open_run(study)
    problem = mfpde.MeanFieldProblem([1.0, 2.0], [2.0, 1.0], mfpde.blocks.Bias(1))
    ensemble = mfpde.ParticleEnsemble(np.zeros((2, 3, 1)))
    run = tmp_path / "run.h5"
    grid = mfpde.DepthGrid.euler(2)
    mfpde.solve(problem, grid, ensemble, s_end=0.1, output=run)
    with pytest.raises(StorageFormatError, match="'run', not 'study'"):
        open_study(run)
    with pytest.raises(StorageFormatError, match="of kind 'study', not 'run'"):
        mfpde.recover(study)
    with pytest.raises(FileNotFoundError, match=r"There is no file .*study\.h5"):
        open_study(tmp_path)


# The folder --------------------------------------------------------------------


def test_a_second_call_does_only_what_is_missing(tmp_path):
    folder, log = tmp_path / "out", tmp_path / "log"
    config = {"mischief": {"log": str(log)}}
    first = run_study(STUDY, config, folder)
    before = contents(folder)
    assert len(log.read_text().splitlines()) == 16
    lost = sorted((folder / "tasks").iterdir())[:3]
    for path in lost:
        path.unlink()
    # A piece that is cut off counts as missing.
    cut = sorted((folder / "tasks").iterdir())[0]
    cut.write_bytes(cut.read_bytes()[:500])
    stream = io.StringIO()
    second = run_study(STUDY, config, folder, progress=TaskReporter(stream))
    assert len(log.read_text().splitlines()) == 20
    assert f"{cut} is damaged and counts as missing." in stream.getvalue()
    assert "quadrature: 4 tasks (12 done before), in this process" in stream.getvalue()
    assert np.array_equal(second.table["error"], first.table["error"])
    kept = set(before) - {str(path) for path in (*lost, cut)}
    after = contents(folder)
    assert all(after[name] == before[name] for name in kept)


def test_another_study_or_configuration_is_refused_and_nothing_touched(tmp_path):
    folder = tmp_path / "out"
    run_study(STUDY, None, folder)
    before = contents(tmp_path)

    class Other(Quadrature):
        name = "other"

    with pytest.raises(
        ConfigurationError, match="holds the study 'quadrature', not 'o"
    ):
        run_study(Other(), None, folder)
    with pytest.raises(
        ConfigurationError, match=r"different: `n_seeds`, `mischief\.kind`"
    ):
        run_study(STUDY, {"n_seeds": 2, **FAIL}, folder)
    assert contents(tmp_path) == before
    # A piece from elsewhere, under the right name.
    elsewhere = tmp_path / "elsewhere"
    run_study(STUDY, {"scale": 2.0}, elsewhere)
    name = sorted(path.name for path in (folder / "tasks").iterdir())[0]
    piece = elsewhere / "tasks" / name
    (folder / "tasks" / name).write_bytes(piece.read_bytes())
    before = contents(folder)
    with pytest.raises(ConfigurationError, match=f"{name} belongs to another study"):
        run_study(STUDY, None, folder)
    assert contents(folder) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(
        ConfigurationError, match=r"holds no study \(it has thesis.tex\)"
    ):
        run_study(STUDY, None, tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        run_study(STUDY, None, tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    folder = tmp_path / "out"
    run_study(STUDY, None, folder)
    (folder / "study.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"study\.json is damaged"):
        run_study(STUDY, None, folder)


def test_an_older_version_is_mentioned(tmp_path):
    folder = tmp_path / "out"
    run_study(STUDY, None, folder)
    path = folder / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "0.0.9"}))
    stream = io.StringIO()
    run_study(STUDY, None, folder, progress=TaskReporter(stream))
    assert "was begun by mfpde 0.0.9; its pieces are kept" in stream.getvalue()


def test_pieces_say_what_they_are(tmp_path):
    run_study(STUDY, None, tmp_path / "out")
    task = STUDY.tasks(STUDY.defaults)[0]
    path = tmp_path / "out" / "tasks" / f"{task.key}.h5"
    with h5py.File(path) as file:
        attrs = json.loads(file["attrs"][()])
    assert attrs["task"] == "depth = 2, width = 1, rule = left, seed = 0 to 2 (3)"
    with pytest.raises(StorageFormatError, match="of kind 'piece', required is"):
        mfpde.open_run(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_work_and_keeps_what_is_done(tmp_path, number):
    config = {"mischief": {"sleep_s": 0.05}}
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    # A handler of the user's own that returns: there is no table without an end.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    handlers[0] = signal.getsignal(signal.SIGTERM)
    with pytest.raises(mfpde.errors.Interrupted) as ending:
        run_study(STUDY, config, tmp_path / "out")
    timer.join()
    outcome = ending.value.solution
    assert outcome.status == "interrupted"
    missing = outcome.counts["missing"]
    assert 0 < missing < 16
    assert outcome.message.startswith(
        f"Interrupted with {missing} of 16 tasks missing."
    )
    assert outcome.report is None
    assert np.isnan(open_study(outcome.path).table["error"]).sum() == 3 * missing
    again = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    assert again == handlers
    signal.signal(signal.SIGTERM, before)
    assert run_study(STUDY, config, tmp_path / "out").status == "finished"


# Shares ------------------------------------------------------------------------


def test_shares_together_are_the_whole(tmp_path):
    folder = tmp_path / "out"
    for index in (3, 1, 2):
        outcome = run_study(STUDY, None, folder, share=(index, 3))
        assert outcome.status == "share"
        assert outcome.message.startswith(f"Share {index} of 3 is done.")
        assert not (folder / "study.h5").exists()
    whole = run_study(STUDY, None, tmp_path / "whole")
    stream = io.StringIO()
    assembled = run_study(STUDY, None, folder, progress=TaskReporter(stream))
    assert stream.getvalue() == ""
    for name in ("error", "moments", "nodes", "status"):
        assert np.array_equal(assembled.table[name], whole.table[name])


def test_what_is_there_can_be_put_together(tmp_path):
    run_study(STUDY, None, tmp_path / "out", share=(1, 2))
    outcome = run_study(STUDY, None, tmp_path / "out", compute=False)
    missing = outcome.counts["missing"]
    assert 0 < missing < 16
    assert outcome.status == "failed"
    assert outcome.message.startswith(f"{missing} of 16 tasks are missing.")
    assert np.sum(outcome.table["status"] == 0) == 3 * missing


@pytest.mark.parametrize("n_shares", [1, 3, 7, 20])
def test_shares_are_of_about_equal_cost_and_overlap_nowhere(n_shares):
    tasks = STUDY.tasks(STUDY.defaults)
    shares = [share_of(tasks, i, n_shares) for i in range(1, n_shares + 1)]
    keys = [task.key for share in shares for task in share]
    assert sorted(keys) == sorted(task.key for task in tasks)
    costs = [sum(task.cost for task in share) for share in shares]
    dearest = max(task.cost for task in tasks)
    assert max(costs) - min(costs) <= dearest
    free = [replace(task, cost=0.0) for task in tasks]
    sizes = [len(share_of(free, i, n_shares)) for i in range(1, n_shares + 1)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5"])
def test_a_wrong_share_is_a_sentence(text):
    with pytest.raises(ConfigurationError, match="--task takes I/N with I from 1 to N"):
        read_share(text)


def test_a_share_is_read():
    assert read_share("3/20") == (3, 20)
    with pytest.raises(ValueError, match=r"`share` must be \(I, N\) .* got \(5, 2\)"):
        run_study(STUDY, None, "never-made", share=(5, 2))
    assert not Path("never-made").exists()


# Tasks, tables, verdicts -------------------------------------------------------


def test_keys_depend_on_coordinates_and_settings_alone():
    task = Task({"depth": 2, "seed": [0, 1]}, {"a": 1.5, "b": "x"}, ("limit",), 3.0)
    # Written down: a change would orphan the pieces of every folder.
    assert task.key == "5b960be89b1faadf"
    same = Task(
        {"seed": np.arange(2), "depth": np.int64(2)}, {"b": "x", "a": np.float64(1.5)}
    )
    assert same.key == task.key
    for other in (
        replace(task, coordinates={"depth": 3, "seed": [0, 1]}),
        replace(task, settings={"a": 1.5, "b": "y"}),
    ):
        assert other.key != task.key
    with pytest.raises(TypeError, match="must be numbers, strings, lists and tables"):
        Task({"depth": object()}).key  # noqa: B018


def test_a_table_is_cut_by_values():
    values = np.arange(24.0).reshape(2, 3, 4)
    axes = {"depth": [2, 4], "rule": ["a", "b", "c"], "seed": [0, 1, 2, 3]}
    table = Table(
        axes, {"error": (tuple(axes), values), "n": (("depth",), values[:, 0, 0])}
    )
    part = table.select(rule="b", seed=[3, 1])
    assert part.dims("error") == ("depth", "seed")
    assert part.axes == {"depth": [2, 4], "seed": [3, 1]}
    assert part["error"].tolist() == [[7.0, 5.0], [19.0, 17.0]]
    assert part["n"].tolist() == [0.0, 12.0]
    assert "error" in part
    assert list(part) == ["error", "n"]
    diverged = Table({"n": [1, 2]}, {"error": (("n",), np.array([0.5, np.inf]))})
    np.testing.assert_array_equal(diverged.finite()["error"], [0.5, np.nan])
    with pytest.raises(KeyError, match=r"no axis 'dept'\. Did you mean 'depth'"):
        table.select(dept=2)
    with pytest.raises(KeyError, match="Axis 'depth' has no value 3, but 2, 4"):
        table.select(depth=3)
    with pytest.raises(KeyError, match="no variable 'eror'"):
        table["eror"]
    with pytest.raises(ValueError, match=r"must have shape \(2,\)"):
        Table(axes, {"n": (("depth",), values)})


class Odd(Quadrature):
    """Parts that do not fit each other, one at a time."""

    def __init__(self, part):
        self.part = part

    def axes(self, config):
        axes = super().axes(config)
        return axes | {"seed": [0, 0]} if self.part == "axes" else axes

    def variables(self, config):
        found = super().variables(config)
        extra = {"status": "status", "dims": "x"}.get(self.part)
        return found | {extra: Variable(("dept",))} if extra else found

    def references(self, config):
        return {} if self.part == "needs" else super().references(config)

    def tasks(self, config):
        tasks = super().tasks(config)
        return {"none": [], "twice": tasks + tasks[:1]}.get(self.part, tasks)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("axes", "Axis `seed` has a value twice"),
        ("none", "The grid is empty: there is no task"),
        ("status", "must not be named 'status'"),
        ("dims", "has the dimension 'dept', which is no axis. Did you mean 'depth'"),
        ("needs", "needs 'integral', which is no reference"),
        ("twice", "Two tasks are the same"),
    ],
)
def test_a_study_whose_parts_do_not_fit_is_refused(tmp_path, part, message):
    with pytest.raises(ValueError, match=message):
        run_study(Odd(part), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verdicts_as_text():
    long = (
        "slope of the error in the width M, for independent layers at a fixed depth L"
    )
    verdicts = [
        Verdict("order", 1.0, 0.98, (0.9, 1.1), "confirmed", "in the interval"),
        Verdict(long, "-1/2", None, None, "not resolved", "in the interval", "Few."),
    ]
    lines = verdict_table(verdicts).splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "claim",
        "-" * len(lines[1]),
        "order",
        "slope of the error in the width M, for",
        "",
        "[1] in the interval",
        "[2] Few.",
    ]
    assert lines[2].split()[1:] == ["1", "0.98", "[0.9,", "1.1]", "confirmed", "[1]"]
    assert lines[3].endswith("not resolved [1, 2]")
    # Columns stand below each other.
    assert lines[0].index("verdict") == lines[2].index("conf") == lines[3].index("not")
    assert max(map(len, lines)) <= 100
    assert verdict_table([]) == ""
    with pytest.raises(ValueError, match="`verdict` must be one of"):
        replace(verdicts[0], verdict="true")
    assert Report().verdicts == ()


# Progress ----------------------------------------------------------------------


def test_the_remaining_time_goes_by_cost():
    now = [0.0]
    stream = io.StringIO()
    reporter = TaskReporter(stream, clock=lambda: now[0])
    reporter.begin("q: 4 tasks, 2 workers", 4, 100.0, 2)
    now[0] = 6.0
    reporter.ended("done", 50.0, 10.0)
    now[0] = 7.0
    reporter.ended("diverged", 30.0, 6.0)
    now[0] = 12.0
    reporter.ended("done", 10.0, 2.0)
    # 0.2 s per cost: 50 left for two workers, then 10 for one.
    assert stream.getvalue() == (
        "mfpde: q: 4 tasks, 2 workers\n"
        "1 of 4 tasks, 5 s left\n"
        "3 of 4 tasks, 1 diverged, 2 s left\n"
    )


def test_on_a_terminal_one_line_is_written_over():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    reporter = TaskReporter(stream)
    reporter.begin("q", 2, 0.0, 1)
    reporter.ended("failed", 0.0, 1.0)
    reporter.close()
    line = "1 of 2 tasks, 1 failed"
    blank = "\r" + " " * len(line) + "\r"
    assert stream.getvalue() == f"mfpde: q\n{line}{blank}"


# The documentation -------------------------------------------------------------


def test_the_study_in_the_documentation_runs(tmp_path, monkeypatch, capsys):
    page = Path(mfpde.__file__).parents[1] / "docs" / "clusters.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert capsys.readouterr().out == "3 of 3 tasks done. confirmed\n"
    assert open_study("riemann").verdicts[0].claim == "order"
