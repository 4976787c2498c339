"""Comparison of two runs, and their export: against what was put into the files."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import storage_cases

import mfpde
from mfpde import analysis
from mfpde.errors import StorageFormatError

S = (0.0, 0.5, 1.0)


def problem_of(n_samples=6, **options):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, n_samples, 2))
    return mfpde.MeanFieldProblem(x, y, mfpde.blocks.Perceptron(2), **options)


def solve(grid, *, problem=None, seed=1, times=S, **options):
    problem = problem or problem_of()
    law = mfpde.laws.standard_path(problem.k, 1.0, 0.3)
    ensemble = law.sample(grid, 8, seed=seed)
    options = {"s_end": 1.0, "record": times, "snapshots": times} | options
    return mfpde.solve(problem, grid, ensemble, **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Euler networks of 4 and 8 layers from the same draws, and Gauss nodes."""
    folder = tmp_path_factory.mktemp("runs")
    grids = {
        "four": mfpde.DepthGrid.euler(4),
        "eight": mfpde.DepthGrid.euler(8),
        "gauss": mfpde.DepthGrid.gauss(4),
    }
    for name, grid in grids.items():
        solve(grid, output=folder / f"{name}.h5")
    return folder


def test_a_run_agrees_with_itself(files):
    found = analysis.compare(files / "four.h5", files / "four.h5")
    for difference in (
        found.loss_difference,
        found.output_rms,
        found.output_max,
        found.w2,
        found.w2_integrated,
        found.coupled,
    ):
        np.testing.assert_array_equal(difference, 0.0)
    np.testing.assert_array_equal(found.snapshot_s, S)
    assert found.w2.shape == (3, 4)


def test_differences_are_those_of_the_solutions(files):
    """Against what `evaluate` and the particles say, without any file."""
    problem = problem_of()
    grids = [mfpde.DepthGrid.euler(n) for n in (4, 8)]
    solutions = [solve(grid) for grid in grids]
    found = analysis.compare(files / "four.h5", files / "eight.h5")
    losses = [solution.loss for solution in solutions]
    np.testing.assert_array_equal(found.loss, losses)
    np.testing.assert_allclose(found.loss_difference, losses[1] - losses[0])
    for i in range(3):
        ensembles = [mfpde.ParticleEnsemble(each.theta[i]) for each in solutions]
        outputs = [
            mfpde.evaluate(problem, grid, ensemble).output
            for grid, ensemble in zip(grids, ensembles, strict=True)
        ]
        squares = np.sum((outputs[1] - outputs[0]) ** 2, axis=1)
        assert found.output_rms[i] == pytest.approx(np.sqrt(squares.mean()), rel=1e-12)
        largest = np.abs(outputs[1] - outputs[0]).max()
        assert found.output_max[i] == pytest.approx(largest, rel=1e-12)
        # The nodes l/4 are every second of the nodes l/8.
        thetas = solutions[0].theta[i], solutions[1].theta[i][::2]
        np.testing.assert_array_equal(found.t, grids[0].nodes)
        np.testing.assert_array_equal(found.w2[i], analysis.w2_depth(*thetas))
        coupled = analysis.coupled_distance(*thetas)
        assert found.coupled[i] == pytest.approx(coupled)
        assert found.w2_integrated[i] <= coupled * (1 + 1e-12)
    assert "4 of 4 and 8 depth nodes are common." in found.notes
    np.testing.assert_array_equal(found.w2_sup, found.w2.max(axis=1))
    assert found.output_rms[2] > 0.0


def test_solutions_and_open_runs_are_compared_like_files(files):
    expected = analysis.compare(files / "four.h5", files / "eight.h5")
    solution = solve(mfpde.DepthGrid.euler(4))
    with mfpde.open_run(files / "eight.h5") as run:
        found = analysis.compare(solution, run)
        assert len(run.s) == 3
    np.testing.assert_array_equal(found.output_rms, expected.output_rms)
    np.testing.assert_array_equal(found.w2, expected.w2)
    assert found.names == ("the solution", "eight.h5")


def test_chosen_times_and_inputs(files):
    pair = files / "four.h5", files / "eight.h5"
    everything = analysis.compare(*pair)
    last = analysis.compare(*pair, at="last", x=[[0.0, 0.0]])
    np.testing.assert_array_equal(last.snapshot_s, [1.0])
    assert last.output_rms != everything.output_rms[2]
    some = analysis.compare(*pair, at=[1.0, 0.5])
    np.testing.assert_array_equal(some.output_rms, everything.output_rms[1:])
    with pytest.raises(ValueError, match=r"`at` must name common snapshots.*0\.25"):
        analysis.compare(*pair, at=[0.25])
    with pytest.raises(ValueError, match="`at` must be 'all', 'last'"):
        analysis.compare(*pair, at="first")
    with pytest.raises(ValueError, match="`x` must"):
        analysis.compare(*pair, x=[[0.0, 0.0, 0.0]])


def test_the_summary_can_be_read(files):
    text = str(analysis.compare(files / "four.h5", files / "eight.h5"))
    lines = text.splitlines()
    assert lines[0] == "four.h5 against eight.h5"
    assert lines[1].startswith("loss: 3 common records up to s = 1, differences at")
    titles = ["s", "output rms", "output max", "W2 integrated", "W2 largest", "coupled"]
    assert [len(line) for line in lines[2:6]] == [14 * len(titles)] * 4
    assert "".join(lines[2].split()) == "".join("".join(titles).split())
    assert lines[6] == "4 of 4 and 8 depth nodes are common."


def test_what_two_runs_do_not_share_is_left_out_with_a_reason(files, tmp_path):
    found = analysis.compare(files / "gauss.h5", files / "eight.h5")
    assert found.w2.shape == (3, 0)
    assert np.isnan(found.w2_sup).all()
    assert found.notes == ("0 of 4 and 8 depth nodes are common.",)
    assert "W2" not in str(found)
    # Grids that meet in some nodes only.
    six = solve(mfpde.DepthGrid.euler(6))
    found = analysis.compare(files / "eight.h5", six)
    np.testing.assert_array_equal(found.t, [0.0, 0.5])
    assert np.isnan(found.w2_integrated).all()
    assert np.isnan(found.coupled).all()
    assert any("Neither grid lies in the other" in note for note in found.notes)
    # Other times.
    other = solve(mfpde.DepthGrid.euler(4), times=[0.0, 0.25, 0.5, 1.0])
    found = analysis.compare(files / "four.h5", other)
    np.testing.assert_array_equal(found.s, S)
    odd = solve(mfpde.DepthGrid.euler(4), times=[0.0, 0.25, 1.0])
    found = analysis.compare(files / "four.h5", odd)
    assert "2 of 3 and 3 records have a common s." in found.notes
    np.testing.assert_array_equal(found.snapshot_s, [0.0, 1.0])
    late = SimpleNamespace(s=np.array([0.75]), loss=np.array([0.1]))
    with pytest.raises(ValueError, match=r"no training time in common, four\.h5: s ="):
        analysis.compare(files / "four.h5", late)
    # Another size of the data, another block.
    wide = mfpde.MeanFieldProblem([[1.0], [2.0]], [[2.0], [1.0]], mfpde.blocks.Bias(1))
    law = mfpde.laws.Gaussian(np.zeros(1), 1.0)
    ensemble = law.sample(mfpde.DepthGrid.euler(4), 8, coupling="tied", seed=0)
    bias = mfpde.solve(
        wide,
        mfpde.DepthGrid.euler(4),
        ensemble,
        s_end=1.0,
        record=S,
        snapshots=S,
        output=tmp_path / "bias.h5",
    )
    found = analysis.compare(files / "four.h5", bias.path)
    assert "Laws are left out: particles have 5 and 1 parameters." in found.notes
    assert "inputs have 2 and 1 components" in str(found)
    assert len(found.loss_difference) == 3
    # Other samples of the same size.
    found = analysis.compare(
        files / "four.h5", solve(mfpde.DepthGrid.euler(4), problem=problem_of(9))
    )
    assert "those of four.h5" in found.notes[0]


def test_trained_maps_are_those_of_each_snapshot(tmp_path):
    readout = mfpde.readouts.Linear(np.array([[1.0, 0.5], [0.0, 1.0]]), trainable=True)
    problem, grid = problem_of(readout=readout), mfpde.DepthGrid.euler(4)
    solution = solve(grid, problem=problem)
    solve(grid, problem=problem, output=tmp_path / "trained.h5")
    with mfpde.open_run(tmp_path / "trained.h5") as run:
        matrix = run.trainable["readout"][1]
        assert np.any(matrix != run.trainable["readout"][2])
        outputs = mfpde.evaluate(
            problem.with_parameters(readout=matrix),
            grid,
            mfpde.ParticleEnsemble(run.theta[1]),
        ).output
    plain = solve(grid)
    found = analysis.compare(plain, tmp_path / "trained.h5")
    before = mfpde.evaluate(
        plain.problem, grid, mfpde.ParticleEnsemble(plain.theta[1])
    ).output
    expected = np.sqrt(np.mean(np.sum((outputs - before) ** 2, axis=1)))
    assert found.output_rms[1] == pytest.approx(expected, rel=1e-12)
    found = analysis.compare(solution, tmp_path / "trained.h5")
    np.testing.assert_array_equal(np.isnan(found.output_rms), [True, True, False])
    assert found.output_rms[2] == 0.0
    assert "left out at 2 of 3 snapshots: a solution knows its trained" in str(found)


def test_files_of_networks_and_without_built_in_parts(tmp_path, files):
    """Their description rebuilds nothing: laws are compared, outputs are not."""
    paths = [tmp_path / "one.h5", tmp_path / "two.h5"]
    for path in paths:
        storage_cases.finished(path, 3, kind="network")
    found = analysis.compare(*paths)
    np.testing.assert_array_equal(found.loss_difference, 0.0)
    np.testing.assert_array_equal(found.w2, 0.0)
    assert np.isnan(found.output_rms).all()
    assert "Outputs are left out at 3 of 3 snapshots" in str(found)
    table = SimpleNamespace(s=np.array(S), loss=np.array([3.0, 2.0, 1.0]), path=None)
    found = analysis.compare(files / "four.h5", table)
    assert "Outputs and laws are left out: no snapshot in the solution." in found.notes
    with pytest.raises(FileNotFoundError, match="There is no file"):
        analysis.compare(tmp_path / "absent.h5", table)
    with pytest.raises(TypeError, match="a path, an open run or a solution, got int"):
        analysis.compare(files / "four.h5", 3)
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"no file of ours")
    with pytest.raises(StorageFormatError):
        analysis.compare(files / "four.h5", damaged)


# Export


@pytest.mark.parametrize("kind", ["run", "network"])
def test_an_archive_holds_every_array_bit_for_bit(tmp_path, kind):
    path = storage_cases.finished(tmp_path / "small.h5", 4, kind=kind)
    output = analysis.export_npz(path, tmp_path / "small.npz")
    with np.load(output) as archive, mfpde.open_run(path) as run:
        assert json.loads(str(archive["attributes"]))["kind"] == kind
        np.testing.assert_array_equal(archive["scalars/s"], run.s)
        np.testing.assert_array_equal(archive["scalars/loss"], run.loss)
        assert archive["scalars/step"].dtype == np.int64
        for name, series in {
            "trajectory/theta": run.theta,
            "trajectory/readout": run.trainable["readout"],
            "states/z": run.states.z,
        }.items():
            np.testing.assert_array_equal(archive[name], series[:])
        np.testing.assert_array_equal(archive["trajectory/s"], run.snapshot_s)
        confusion = run.observations["confusion"]
        np.testing.assert_array_equal(archive["observations/confusion"], confusion)
        assert archive["data/label"].tolist() == list("abcdeä")
        assert archive["trajectory/param_name"].tolist() == run.param_names
        assert str(archive["config/toml"]) == run.config_toml
        assert set(archive.files) == {"attributes"} | {
            f"{group}/{name}" for group in run.groups for name in run.arrays(group)
        }


def test_a_file_without_records_gives_empty_arrays(tmp_path):
    path = storage_cases.finished(tmp_path / "empty.h5", 0)
    output = analysis.export_npz(path, tmp_path / "empty.npz")
    with np.load(output) as archive:
        assert archive["trajectory/theta"].shape == (0, 3, 4, 5)
    table = analysis.export_csv(path, tmp_path / "empty.csv")
    assert table.read_text().splitlines() == ["s,step,loss,objective,wall_time"]


def test_tables_read_back_bit_for_bit(tmp_path):
    path = storage_cases.finished(tmp_path / "small.h5", 3)
    table = analysis.export_csv(path, tmp_path / "scalars.csv")
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with mfpde.open_run(path) as run:
        assert rows[0] == ["s", *run.scalars]
        assert [row[1] for row in rows[1:]] == ["0", "1", "2"]
        for column, name in enumerate(rows[0]):
            values = [float(row[column]) for row in rows[1:]]
            np.testing.assert_array_equal(values, getattr(run, name))
        table = analysis.export_csv(path, tmp_path / "theta.csv", table="snapshots")
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        titles = ["s", "t", "t_weight", "particle", "weight", *run.param_names]
        assert rows[0] == titles
        values = np.array(rows[1:], dtype=float).reshape(3, 3, 4, len(titles))
        np.testing.assert_array_equal(values[..., 5:], run.theta[:])
        np.testing.assert_array_equal(values[:, 0, 0, 0], run.snapshot_s)
        np.testing.assert_array_equal(values[0, :, 0, 1], run.t)
        np.testing.assert_array_equal(values[0, :, 0, 2], run.t_weights)
        np.testing.assert_array_equal(values[0, 0, :, 3], np.arange(4))
        np.testing.assert_array_equal(values[0, 0, :, 4], run.weights)


@pytest.mark.parametrize("write", [analysis.export_npz, analysis.export_csv])
def test_nothing_is_replaced_unless_told(tmp_path, write):
    suffix = write.__name__[-3:]
    path = storage_cases.finished(tmp_path / "small.h5", 2)
    output = tmp_path / f"out.{suffix}"
    output.write_text("mine")
    with pytest.raises(FileExistsError, match="set `overwrite`"):
        write(path, output)
    with pytest.raises(FileExistsError, match="was not written by mfpde"):
        write(path, output, overwrite=True)
    assert output.read_text() == "mine"
    output.unlink()
    for overwrite in (False, True):
        assert write(path, output, overwrite=overwrite) == output
    assert output.read_bytes()[:4] in (b"PK\x03\x04", b"s,st")
    with pytest.raises(ValueError, match=f"`output` must end in .{suffix}, got"):
        write(path, path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write(path, tmp_path / "absent" / f"out.{suffix}")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        write(tmp_path / "absent.h5", output, overwrite=True)


@pytest.mark.parametrize("write", [analysis.export_npz, analysis.export_csv])
def test_a_failure_midway_leaves_what_was_there(tmp_path, monkeypatch, write):
    path = storage_cases.finished(tmp_path / "small.h5", 2)
    output = tmp_path / f"out.{write.__name__[-3:]}"
    options = {"table": "snapshots"} if write is analysis.export_csv else {}
    before = write(path, output, **options).read_bytes()

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("mfpde.storage.series.Series._read", fail)
    with pytest.raises(OSError, match="the disk is full"):
        write(path, output, overwrite=True, **options)
    assert output.read_bytes() == before
    assert not list(tmp_path.glob(".*part*"))


def test_an_unknown_table_is_said(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'snapshots'"):
        analysis.export_csv(tmp_path / "a.h5", tmp_path / "a.csv", table="snapshot")
