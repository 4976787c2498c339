"""Data from files through a whole run: names, checksum, units, sizes."""

import hashlib
import re
import warnings

import h5py
import numpy as np
import pytest

import mfpde
from mfpde import cli, data, plotting
from mfpde.config import parse
from mfpde.config.assembly import build
from mfpde.errors import DataWarning, NotFiniteError

RUN = """
[data]
source = "csv"
path = "table.csv"
{keys}
[grid]
scheme = "euler"
n = 2
[ensemble]
n_particles = 8
[flow]
s_end = 0.5
"""
REGRESSION = """task = "regression"
target_columns = "food"
standardise = true
standardise_target = true
test_fraction = 0.25
pad_to = 2
"""
CLASSIFICATION = """task = "classification"
target_columns = "kind"
drop_columns = ["note"]
standardise = true
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder, text, keys):
    (folder / "table.csv").write_text(text)
    (folder / "run.toml").write_text(RUN.format(keys=keys))


@pytest.fixture
def regression(folder):
    income = 1000.0 + 100.0 * np.arange(40)
    food = 300.0 + 0.5 * income
    rows = "".join(f"{a},{b}\n" for a, b in zip(income, food, strict=True))
    written(folder, "income,food\n" + rows, REGRESSION)
    return folder, income, food


def test_a_standardised_target_is_undone(regression, capsys):
    _, income, food = regression
    assert cli.main(["run", "run.toml", "--no-plot"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "target food; features income; target standardised" in said
    assert "test rmse" in said
    with mfpde.open_run("run.h5") as run:
        rows = run.data["train_index"]
        assert run.data["y_mean"] == pytest.approx([food[rows].mean()])
        assert run.data["y_std"] == pytest.approx([food[rows].std()])
        assert run.data["y"].std() == pytest.approx(1.0)
        output = run.predict(income[:, None])
        error = np.sqrt(np.mean((output[rows, 0] - food[rows]) ** 2))
        # Squared loss in standardised units: |out - y|^2 / 2.
        assert error == pytest.approx(food[rows].std() * np.sqrt(2 * run.loss[-1]))
        assert error == pytest.approx(run.train_rmse[-1])
        test = run.data["test_index"]
        error = np.sqrt(np.mean((output[test, 0] - food[test]) ** 2))
        assert error == pytest.approx(run.test_rmse[-1])
        start = run.predict(income[:, None], s=0.0)
        assert np.abs(start - output).max() > 1.0
        with pytest.raises(ValueError, match="`s` must be the time of a snapshot"):
            run.predict(income[:, None], s=0.123)
        figure = plotting.summary(run)
    (fit,) = (ax for ax in figure.axes if ax.get_xlabel() == "income")
    assert fit.get_ylabel() == "food and output"
    points, line = fit.lines
    assert np.allclose(np.sort(points.get_ydata()), np.sort(food[rows]))
    assert np.allclose(np.sort(points.get_xdata()), np.sort(income[rows]))
    assert 300.0 < line.get_ydata().mean() < 3000.0


def test_errors_keep_their_units_when_a_run_is_resumed(regression):
    _, income, food = regression
    options = ["--quiet", "--no-plot"]
    assert cli.main(["run", "run.toml", *options]) == 0
    assert cli.main(["resume", "run.h5", "--until", "0.6", *options]) == 0
    with mfpde.open_run("run.h5") as run:
        output = run.predict(income[:, None])
        test = run.data["test_index"]
        error = np.sqrt(np.mean((output[test, 0] - food[test]) ** 2))
        assert run.s[-1] == 0.6
        assert error == pytest.approx(run.test_rmse[-1])


def test_names_and_checksum_belong_to_the_file(folder, capsys):
    rows = "".join(f"{i},n,{-i},{'ab'[i % 2]} class\n" for i in range(12))
    written(folder, "length,note,cost ($),kind\n" + rows, CLASSIFICATION)
    assert cli.main(["run", "run.toml", "--no-plot"]) == 0
    checksum = hashlib.sha256((folder / "table.csv").read_bytes()).hexdigest()
    with mfpde.open_run("run.h5") as run:
        assert run.column_names == ["length", "note", "cost ($)", "kind"]
        assert run.feature_names == ["length", "cost ($)"]
        assert run.target_names == ["kind"]
        assert run.class_names == ["a class", "b class"]
        assert run.source_sha256 == {"table.csv": checksum}
        assert run.to_xarray("data")["feature_name"].values.tolist() == [
            "length",
            "cost ($)",
        ]
        assert run.predict([[1.0, -1.0]]).shape == (1, 2)
        figure = plotting.summary(run)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert "length" in labels
    with h5py.File("run.h5") as file:
        assert file["data/class_name"].asstr()[:].tolist() == ["a class", "b class"]
    capsys.readouterr()
    assert cli.main(["info", "run.h5"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"table.csv (SHA-256 {checksum[:12]}...); target kind" in said
    assert "classes a class, b class; features length, cost ($)" in said


def test_predictions_of_a_file_without_preparation(folder):
    problem = sized(1.0, 1.0)
    parts = problem, *limit_for(problem)
    solution = mfpde.solve(*parts, s_end=0.1, output="run.h5")
    x = np.array([[0.1, 0.2]])
    expected = mfpde.predict(problem, parts[1], solution.ensemble, x)
    assert np.array_equal(solution.predict(x), expected)
    with mfpde.open_run("run.h5") as run:
        assert np.array_equal(run.predict(x), expected)
        assert (run.feature_names, run.source_sha256) == ([], {})


# Sizes


def sized(x_size, y_size, loss="squared"):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 2))
    y = np.tanh(x[:, :1]) if loss == "squared" else np.sign(x[:, :1])
    return mfpde.MeanFieldProblem(
        x_size * x,
        y_size * y,
        mfpde.blocks.Perceptron(2),
        readout=np.ones((1, 2)),
        loss=loss,
    )


def limit_for(problem):
    grid = mfpde.DepthGrid.euler(2)
    law = mfpde.laws.Gaussian(0.0, 1.0, problem.k)
    return grid, law.sample(grid, 8, seed=0)


@pytest.mark.parametrize(
    ("sizes", "keys"),
    [
        ((1e3, 1.0), ["`standardise` = true"]),
        ((1.0, 1e3), ["`standardise_target` = true"]),
        ((1e3, 1e300), ["`standardise` = true", "`standardise_target` = true"]),
    ],
)
def test_large_data_are_warned_of_before_the_run(sizes, keys):
    problem = sized(*sizes)
    message = "(?s)" + ".*".join(map(re.escape, keys)) + ".*would crawl"
    if max(sizes) < 1e150:
        with pytest.warns(DataWarning, match=message):
            mfpde.solve(problem, *limit_for(problem), s_end=1e-12)
        return
    with pytest.warns(DataWarning, match=message), pytest.raises(NotFiniteError):
        mfpde.solve(problem, *limit_for(problem), s_end=1e-12)


def test_sizes_that_are_usual_are_not_warned_of():
    problem = sized(5.0, 5.0)
    mfpde.solve(problem, *limit_for(problem), s_end=1e-3)
    problem = sized(5.0, 1.0, "logistic")
    mfpde.solve(problem, *limit_for(problem), s_end=1e-3)


@pytest.mark.filterwarnings("ignore::mfpde.errors.DataWarning")
@pytest.mark.filterwarnings("ignore::mfpde.errors.UnfinishedWarning")
@pytest.mark.parametrize("stepper", ["dopri5", "rkc2", "auto"])
@pytest.mark.parametrize("size", [1e150, 1e300])
@pytest.mark.parametrize(
    ("which", "key"),
    [("x", "`standardise` = true"), ("y", "`standardise_target` = true")],
)
def test_what_is_too_large_is_named(which, key, size, stepper):
    problem = sized(*((size, 1.0) if which == "x" else (1.0, size)))
    try:
        solution = mfpde.solve(
            problem,
            *limit_for(problem),
            s_end=1.0,
            stepper=stepper,
        )
        message = solution.message
    except NotFiniteError as error:
        message = str(error)
    assert key in message
    assert "scale of theta" not in message


def test_a_run_of_huge_targets_ends_with_a_sentence(folder, capsys):
    rows = "".join(f"{i},{(-1) ** i * 1e300 / (1 + i)}\n" for i in range(8))
    keys = 'task = "regression"\ntarget_columns = "y"\npad_to = 2\n'
    written(folder, "x,y\n" + rows, keys)
    with warnings.catch_warnings(action="always"):
        assert cli.main(["run", "run.toml", "--no-plot"]) == 1
    warned, *_, failed = capsys.readouterr().err.splitlines()
    assert warned.startswith("mfpde: warning: The targets have size")
    for line in (warned, failed):
        assert "`standardise_target` = true" in line
    # Standardised, the same table runs.
    made = build(parse({"data": data_of(keys)}), folder)
    assert made.problem.y.std() == pytest.approx(1.0)


def data_of(keys):
    return {
        "source": "csv",
        "path": "table.csv",
        "task": "regression",
        "target_columns": "y",
        "pad_to": 2,
        "standardise": True,
        "standardise_target": True,
    }


def test_large_data_in_a_network_are_warned_of():
    problem = sized(1e3, 1.0)
    law = mfpde.laws.Gaussian(0.0, 1.0, problem.k)
    net = mfpde.ResNet.from_law(problem, law, 2, 4, coupling="layer", seed=0)
    optimiser = mfpde.networks.SGD(learning_rate=1e-9)
    with pytest.warns(DataWarning, match="`standardise` = true"):
        mfpde.train(net, optimiser, n_iterations=1)


def test_targets_come_back():
    x = np.arange(12.0)[:, None]
    y = np.stack([1e300 * x[:, 0], 3.0 - x[:, 0]], axis=1)
    dataset = data.prepare(
        x, y, target="value", standardise_target=True, standardise=True
    )
    assert dataset.y.std(axis=0) == pytest.approx([1.0, 1.0])
    back = dataset.inverse_transform_targets(dataset.y)
    assert back / y.max(axis=0) == pytest.approx(y / y.max(axis=0), abs=1e-12)
    with pytest.raises(ValueError, match="`y` must have 2 columns, got 1"):
        dataset.inverse_transform_targets(dataset.y[:, :1])
    with pytest.raises(ValueError, match="`standardise_target` must be left out with"):
        data.prepare(x, np.arange(12) % 2, standardise_target=True)


# Problems and predictions, rebuilt


def test_a_problem_comes_with_the_maps_of_its_snapshot(tmp_path):
    x = np.linspace(-1.0, 1.0, 5)[:, None]
    readout = mfpde.readouts.Linear([[1.0]], trainable=True)
    block = mfpde.blocks.Bias(1)
    problem = mfpde.MeanFieldProblem(x, 2.0 * x, block, readout=readout)
    grid = mfpde.DepthGrid.euler(1)
    start = mfpde.ParticleEnsemble(np.zeros((1, 1, 1)))
    path = tmp_path / "a.h5"
    solution = mfpde.solve(problem, grid, start, s_end=1.0, output=path)
    new = np.array([[3.0], [-0.5]])
    with mfpde.open_run(path) as run:
        first, last = run.problem(s=0.0), run.problem()
        np.testing.assert_array_equal(first.readout.matrix, [[1.0]])
        np.testing.assert_array_equal(
            last.readout.matrix, solution.problem.readout.matrix
        )
        assert last.readout.matrix[0, 0] > 1.05
        np.testing.assert_array_equal(last.x, x)
        # A bias has moved nothing yet at s = 0.
        np.testing.assert_array_equal(run.predict(new, s=0.0), new)
        np.testing.assert_array_equal(run.predict(new), solution.predict(new))
        with pytest.raises(ValueError, match="`s` must be the time of a snapshot"):
            run.problem(s=0.5)
    network = mfpde.ResNet(problem, start)
    trained = mfpde.train(network, mfpde.networks.SGD(ds=0.1), n_iterations=3)
    np.testing.assert_array_equal(trained.predict(new), trained.net.predict(new))


def test_a_solution_in_memory_undoes_the_preparation_of_its_data():
    x, y = np.linspace(0.0, 100.0, 20)[:, None], np.linspace(-30.0, 50.0, 20)
    options = {"standardise": True, "standardise_target": True, "target": "value"}
    dataset = mfpde.data.prepare(x, y, **options)
    problem = mfpde.MeanFieldProblem(dataset.x, dataset.y, mfpde.blocks.Bias(1))
    grid, start = mfpde.DepthGrid.euler(1), np.zeros((1, 1, 1))
    metadata = {"extra_data": dataset.extra_data()}
    solution = mfpde.solve(
        problem, grid, mfpde.ParticleEnsemble(start), s_end=0.1, metadata=metadata
    )
    # Inputs and targets are affine in each other, and the bias has nothing to do.
    np.testing.assert_allclose(solution.predict(x)[:, 0], y, rtol=0.0, atol=1e-10)
