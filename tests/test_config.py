"""The schema, its checks, the TOML writer, the template, and what `build` makes."""

import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mfpde
from mfpde import config
from mfpde.config import toml
from mfpde.config.assembly import build
from mfpde.config.json_schema import json_schema
from mfpde.losses import accuracy
from mfpde.run.observers import Samples, make_observers

DATA = Path(__file__).parents[1] / "data"
MINIMAL = {"data": {"source": "moons", "n_samples": 20}}


def problems_of(table):
    with pytest.raises(mfpde.errors.ConfigurationError) as caught:
        config.parse(table)
    return caught.value.problems


def with_section(name, **keys):
    """MINIMAL with keys of a section, or of a section within ("problem.block")."""
    table = {name: dict(section) for name, section in MINIMAL.items()}
    inner = table
    for part in name.split("."):
        inner = inner.setdefault(part, {})
    inner.update(keys)
    return table


# Reading ---------------------------------------------------------------------


def test_minimal_configuration_is_filled_with_defaults():
    values = config.parse(MINIMAL)
    assert values.data["source"] == "moons"
    assert values.data["noise"] == 0.1  # the default of the source, not of another
    assert values.flow.stepper == "dopri5"
    assert values.flow.ds is None  # belongs to fixed steppers only
    assert values.problem.block.activation == "tanh"


def test_all_problems_are_reported_at_once():
    table = {
        "titel": "spirals",
        "data": {"source": "moons", "noise": "much", "turns": 2.0},
        "problem": {"block": {"activation": "tnah"}},
        "grid": {"scheme": "rk4", "n": 0},
        "flow": {"s_end": -1, "rtoll": 1e-3},
    }
    problems = problems_of(table)
    assert problems == [
        '`titel` is not a key of the top level; did you mean "title"?',
        '`data.turns` is not a key of [data] with source = "moons", which has '
        "n_samples, noise, seed, task, target, test_fraction, stratify, standardise, "
        "standardise_target, pca, whiten, scale, pad_to.",
        "`data.noise` must be a number, got 'much'.",
        "`grid.n` must be at least 1, got 0.",
        "`problem.block.activation` must be one of tanh, sigmoid, softplus, gelu, "
        "relu, leaky_relu, regularised_relu, squared_relu, sin, identity, got 'tnah'. "
        "Did you mean 'tanh'?",
        '`flow.rtoll` is not a key of [flow]; did you mean "rtol"?',
        "`flow.s_end` must be finite, at least 0, got -1.",
    ]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({}, "`data.source` is required: one of "),
        ({"data": {"source": "moon"}}, "Did you mean 'moons'?"),
        (
            {"data": {"source": "csv", "path": "a.csv"}},
            '`data.task` is required for a file: "classification" if',
        ),
        (
            {"data": {"source": "curve", "task": "classification"}},
            "`data.task` must be one of regression, got 'classification'",
        ),
        (
            {"data": {"source": "npy", "path": "a", "target": "signs"}}
            | {"problem": {"loss": "cross_entropy"}},
            '`problem.loss` = "cross_entropy" needs `data.target` = "one_hot"',
        ),
        ({"data": 3}, "`data` must be a name or a table, got 3."),
        (MINIMAL | {"flow": 3}, "`flow` must be a table, got 3."),
        (
            MINIMAL | {"s_end": 3},
            "not a key of the top level; did you mean `flow.s_end`",
        ),
        (with_section("problem", activation="tanh"), "`problem.block.activation`"),
        (
            with_section("flow", stepper="euler"),
            '`flow.ds` is required for stepper = "',
        ),
        (
            with_section("flow", ds=0.1),
            '`flow.ds` belongs to a stepper with fixed steps ("euler"',
        ),
        (
            with_section("flow", stepper="heun", ds=-1),
            "`flow.ds` must be positive and finite, got -1.",
        ),
        (
            with_section("flow", stepper="langevin", temperature=-1, ds=0.1),
            "`flow.temperature` must be finite, at least 0, got -1.",
        ),
        (
            with_section("flow", stepper="langevin", ds=0.1),
            "`flow.temperature` is required: nu, at least 0",
        ),
        (
            with_section("flow", temperature=0.1),
            'not a key of [flow]: it belongs to stepper = "langevin"',
        ),
        (
            with_section(
                "flow", stepper="langevin", temperature=0.1, ds=0.1, steady_state=0.1
            ),
            '`flow.steady_state` must be left out with `flow.stepper` = "langevin"',
        ),
        (with_section("flow", stepper="rkc"), "Did you mean 'rkc2'"),
        (with_section("flow", rtol=math.nan), "`flow.rtol` must be positive"),
        (with_section("flow", rtol=True), "`flow.rtol` must be a number, got T"),
        (with_section("grid", n=2.5), "`grid.n` must be an integer, got 2.5"),
        (
            with_section("grid", n_nodes=3),
            'n_nodes` is not a key of [grid] with scheme = "rk4"',
        ),
        (
            with_section("ensemble", coupling="layer"),
            '`grid.scheme` to be "euler" or "midpoint", but it is "rk4"',
        ),
        (
            with_section("law", kind="path") | {"ensemble": {"coupling": "tied"}},
            '`law.kind` is "path"; use coupling = "path"',
        ),
        (
            with_section("problem", loss="logistic"),
            '`problem.loss` = "logistic" needs `data.target` = "signs"',
        ),
        (
            with_section("law", std={"u": 1.0, "w": 2.0}),
            "`law.std.w` is not a parameter",
        ),
        (with_section("law", std={"u": 1.0}), '`law.std` must also have "v", "b"'),
        (with_section("problem", metric={"c": 1.0}), "`problem.metric.c` is not a"),
        (
            with_section("record", scalars={"each": 1}),
            "`record.scalars.kind` must be one of at, every, logarithmic, steps",
        ),
        (
            with_section("record", scalars=[-1.0]),
            "must hold training times of at least 0",
        ),
        (
            with_section("record", observers=["acc"]),
            "`record.observers` must be one of train_accuracy, ",
        ),
        (
            with_section("problem.readout", kind="matrix", matrix=[[1, 2], [3]]),
            "`problem.readout.matrix` must be a rectangular array of numbers",
        ),
        (with_section("data", pca=4, pad_to=3), "`data.pad_to` must be at least"),
    ],
)
def test_one_problem_gives_one_sentence(table, sentence):
    problems = problems_of(table)
    assert len(problems) == 1
    assert sentence in problems[0]
    assert problems[0][-1] in ".?"


def test_a_wrong_key_does_not_raise_further_complaints():
    """Rules that read a wrong value, or a key that depends on one, stay silent."""
    table = with_section("grid", scheme="rk5", n_nodes=3)
    table["ensemble"] = {"coupling": "layer"}
    assert len(problems_of(table)) == 1


def test_long_values_are_shortened_in_messages():
    (problem,) = problems_of(with_section("flow", s_end=list(range(100))))
    assert len(problem) < 150


def test_a_date_is_reported_and_not_a_crash():
    (problem,) = problems_of(
        with_section("flow") | {"title": tomllib.loads("d=1979-05-27")["d"]}
    )
    assert problem == "`title` must be a text, got datetime.date(1979, 5, 27)."


def test_input_is_not_changed():
    table = with_section("law", std={"u": 1, "v": 1, "b": 1})
    config.parse(table)
    assert table == with_section("law", std={"u": 1, "v": 1, "b": 1})


# Files and overrides ----------------------------------------------------------


def write(folder, text):
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_overrides_set_keys_with_toml_values_and_bare_words(tmp_path):
    path = write(tmp_path, '[data]\nsource = "moons"\n')
    values = config.load(
        path,
        [
            "flow.s_end=5",
            "flow.stepper=euler",
            "flow.ds = 0.1",
            "law.std={u = 1, v = 2, b = 3}",
            "data.source='rings'",
            "record.scalars=[0, 1]",
        ],
    )
    assert (values.flow.s_end, values.flow.stepper, values.flow.ds) == (
        5.0,
        "euler",
        0.1,
    )
    assert values.law.std == {"u": 1.0, "v": 2.0, "b": 3.0}
    assert values.data["source"] == "rings"
    assert values.record.scalars == {"kind": "at", "s": [0.0, 1.0]}


def test_an_override_without_value_takes_a_key_away(tmp_path):
    path = write(tmp_path, '[data]\nsource = "moons"\n[grid]\nn = 3\n')
    values = config.load(path, ["grid.scheme=gauss", "grid.n="])
    assert values.grid == {"scheme": "gauss", "n_nodes": 4, "n_elements": 1}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("flow.s_end", "--set takes KEY=VALUE"),
        ("flow.s_ned=3", 'did you mean "s_end"?'),
        ("title.x=3", "`title` is not a table"),
        ("flow..x=3", "is not a dotted key"),
        ("flow.s_end=-3", "`flow.s_end` must be finite, at least 0, got -3."),
    ],
)
def test_wrong_overrides_are_problems(tmp_path, override, sentence):
    path = write(tmp_path, 'title = "x"\n[data]\nsource = "moons"\n')
    with pytest.raises(mfpde.errors.ConfigurationError, match=re.escape(sentence)):
        config.load(path, [override])


def test_text_that_is_not_toml_names_file_and_line(tmp_path):
    path = write(tmp_path, "[data]\nsource = moons\n")
    with pytest.raises(
        mfpde.errors.ConfigurationError, match=r"run.toml is not valid.*line 2"
    ):
        config.load(path)
    path.write_bytes(b"title = '\xff'")
    with pytest.raises(mfpde.errors.ConfigurationError, match="is not valid TOML"):
        config.load(path)


# TOML -------------------------------------------------------------------------


def random_value(rng, depth):
    kind = rng.integers(8 if depth else 5)
    if kind == 0:
        return bool(rng.integers(2))
    if kind == 1:
        return int(rng.integers(-(10**12), 10**12))
    if kind == 2:
        return float(
            rng.choice([rng.normal() * 10.0 ** rng.integers(-300, 300), 0.0, 1e16, 5.0])
        )
    if kind in (3, 4):
        letters = list("ab.- \"'\\\n\t#=[]é√\x00\x1f\x7f")
        return "".join(rng.choice(letters, size=rng.integers(8)))
    if kind in (5, 6):
        return [random_value(rng, depth - 1) for _ in range(rng.integers(4))]
    return random_table(rng, depth - 1)


def random_table(rng, depth):
    keys = [str(random_value(rng, 0)) for _ in range(rng.integers(5))]
    return {key: random_value(rng, depth) for key in keys}


@pytest.mark.parametrize("seed", range(50))
def test_written_toml_reads_back_equal(seed):
    table = random_table(np.random.default_rng(seed), 3)
    assert tomllib.loads(toml.write_toml(table)) == table


def test_infinities_and_nan_have_a_form_in_toml():
    read = tomllib.loads(
        toml.write_toml({"a": math.inf, "b": -math.inf, "c": math.nan})
    )
    assert (read["a"], read["b"]) == (math.inf, -math.inf)
    assert math.isnan(read["c"])


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="type set has no form"):
        toml.write_toml({"a": {1, 2}.__class__()})


@pytest.mark.parametrize(
    "table",
    [
        MINIMAL,
        with_section("law", kind="path", std_beta={"u": 0.1, "v": 0.2, "b": 0.0}),
        with_section("record", states={"logarithmic": {"start": 0.1, "per_decade": 3}}),
        with_section("problem.readout", kind="matrix", matrix=[[1.0, 2.0], [3.0, 4.0]]),
        with_section("flow", stepper="rk4", ds=0.125),
    ],
)
def test_resolved_configuration_reads_back_equal(table):
    values = config.parse(table)
    again = config.parse(tomllib.loads(config.resolved_toml(values)))
    assert again == values


# Template ---------------------------------------------------------------------


def test_template_is_a_valid_configuration_of_defaults():
    values = config.parse(tomllib.loads(config.template()))
    assert values == config.parse({"data": {"source": values.data["source"]}})


def test_template_shows_every_key_with_a_value_that_is_accepted():
    """Each commented line, put in alone, is accepted."""
    section, n_seen = "", 0
    for line in config.template().splitlines():
        header = re.fullmatch(r"(?:# )?\[(\w.*)\]", line)
        section = header[1] if header else section
        match = re.fullmatch(r"(?:# )?(\w+ = .*)", line)
        if match is None:
            continue
        n_seen += 1
        table = tomllib.loads(match[1])
        for part in reversed(section.split(".") if section else []):
            table = {part: table}
        base = {"data": {"source": "spirals"}}
        base["problem"] = {"regulariser": {"lambda0": 1.0}, "clipping": {"bound": 1.0}}
        config.parse(_merged(base, table))
    assert n_seen > 40


def _merged(first, second):
    merged = dict(first)
    for name, value in second.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def test_the_schema_accepts_what_is_read_and_refuses_mistakes():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    valid = [tomllib.loads(config.template()), MINIMAL]
    valid += [tomllib.loads(path.read_text("utf-8")) for path in DATA.glob("*.toml")]
    valid.append(with_section("flow", stepper="euler", ds=0.1))
    valid.append(with_section("record", scalars={"every": 0.5}))
    for table in valid:
        assert not list(validator.iter_errors(table)), table
        config.parse(table)
    for table in (
        {},
        with_section("flow", s_ned=1.0),
        with_section("flow", s_end=-1.0),
        with_section("flow", stepper="euler"),
        with_section("law", kind="gaussain"),
        with_section("law", kind="gaussian", length=0.5),
        with_section("problem.block", activation=3),
        with_section("grid", n=2.5),
    ):
        assert not validator.is_valid(table), table
        problems_of(table)


def test_template_lines_are_short():
    assert max(map(len, config.template().splitlines())) <= 88


# Assembly ---------------------------------------------------------------------


def assembled(table, folder="."):
    return build(config.parse(table), folder)


def test_build_makes_what_solve_takes():
    table = with_section("data", test_fraction=0.25, pad_to=3)
    table["law"] = {"std": {"u": 2.0, "v": 1.0, "b": 0.0}}
    table["ensemble"] = {"n_particles": 8}
    table["problem"] = {"metric": {"v": 0.5}, "regulariser": {"lambda0": 0.1}}
    made = assembled(table)
    assert (made.problem.d, made.problem.q, made.problem.n_samples) == (3, 2, 15)
    assert made.problem.loss.name == "cross_entropy"
    assert made.problem.readout.trainable
    assert made.problem.metric.tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 1]
    assert made.problem.regulariser.lambda0 == 0.1
    assert made.ensemble.theta.shape == (9, 8, 7)
    assert not made.ensemble.theta[..., 6].any()
    assert set(made.keywords["observers"]) == {
        "train_accuracy",
        "test_accuracy",
        "test_loss",
    }
    assert made.keywords["ds"] is None
    assert "test_index" in made.keywords["metadata"]["extra_data"]
    stored = made.keywords["metadata"]["config_toml"]
    assert config.parse(tomllib.loads(stored)) == config.parse(table)


@pytest.mark.parametrize(
    ("target", "loss"),
    [("one_hot", "cross_entropy"), ("signs", "logistic")],
)
def test_loss_follows_from_the_target(target, loss):
    assert assembled(with_section("data", target=target)).problem.loss.name == loss


def test_regression_gets_the_squared_loss_and_a_test_loss():
    table = {"data": {"source": "curve", "n_samples": 12, "test_fraction": 0.25}}
    made = assembled(table)
    assert made.problem.loss.name == "squared"
    assert set(made.keywords["observers"]) == {"test_loss"}


@pytest.mark.parametrize(
    ("section", "keys", "shape"),
    [
        ("grid", {"scheme": "gauss", "n_nodes": 3, "n_elements": 2}, (6, 256, 5)),
        ("grid", {"scheme": "midpoint", "n": 3}, (3, 256, 5)),
        ("law", {"kind": "uniform", "low": -2.0, "high": [1, 1, 1, 1, 1]}, (9, 256, 5)),
        ("law", {"kind": "dirac", "theta": {"u": 1, "v": 1, "b": 0}}, (9, 256, 5)),
        ("law", {"kind": "gaussian_process", "length": 0.3}, (9, 256, 5)),
        ("problem.block", {"kind": "bilinear"}, (9, 256, 4)),
        ("problem.block", {"kind": "linear"}, (9, 256, 4)),
        ("problem.block", {"kind": "bias"}, (9, 256, 2)),
        ("problem.block", {"bias": False}, (9, 256, 4)),
    ],
)
def test_every_kind_can_be_built(section, keys, shape):
    assert assembled(with_section(section, **keys)).ensemble.theta.shape == shape


def test_embedding_to_another_dimension():
    table = with_section("problem.embedding", kind="random", trainable=True, rate=0.5)
    table["problem"]["block"] = {"d": 4}
    embedding = assembled(table).problem.embedding
    assert embedding.matrix.shape == (4, 2)
    assert (embedding.trainable, embedding.rate) == (True, 0.5)


def test_point_cloud_is_read_relative_to_the_configuration(tmp_path):
    theta = np.arange(15.0).reshape(3, 5)
    np.savez(tmp_path / "cloud.npz", theta=theta, weights=[0.5, 0.25, 0.25])
    table = with_section("law", kind="file", path="cloud.npz")
    table["ensemble"] = {"n_particles": 3}
    made = assembled(table, tmp_path)
    assert np.array_equal(made.ensemble.theta[0], theta)
    assert made.ensemble.weights.tolist() == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (with_section("problem.block", d=5), "Set data.pad_to = 5"),
        (
            with_section("ensemble", method="quadrature", n_particles=2),
            "`n_particles` = 2 is too few for a tensor rule over 5 random numbers",
        ),
        (
            with_section("ensemble", method="quadrature", nodes=[4, 4]),
            "n_random = 5, got 2",
        ),
        (
            with_section("problem.readout", kind="matrix", matrix=[[1.0]]),
            "`readout` must have shape",
        ),
        (with_section("record", observers=["test_loss"]), "needs test samples"),
        (
            {
                "data": {"source": "curve", "n_samples": 12, "test_fraction": 0.25},
                "record": {"observers": ["test_accuracy"]},
            },
            "needs classes as targets (`data.target`).",
        ),
        (with_section("law", mean=[1.0, 2.0]), "`mean` must be a number or have shape"),
    ],
)
def test_parts_that_do_not_fit_are_problems_of_the_configuration(table, sentence):
    with pytest.raises(mfpde.errors.ConfigurationError, match=re.escape(sentence)):
        assembled(table)


def test_missing_input_files_are_named(tmp_path):
    table = {"data": {"source": "csv", "path": "no.csv", "task": "regression"}}
    with pytest.raises(FileNotFoundError, match=r"no\.csv"):
        assembled(table, tmp_path)
    table = with_section("law", kind="file", path="no.npz")
    with pytest.raises(FileNotFoundError, match=r"no\.npz"):
        assembled(table, tmp_path)


FLOWS = sorted(set(DATA.glob("*.toml")) - {DATA / "digits_network.toml"})


@pytest.mark.parametrize("path", FLOWS, ids=lambda p: p.stem)
def test_ready_configurations_can_be_built(path):
    values = config.load(path)
    made = build(values, path.parent)
    assert values.title
    assert made.grid.order >= 2
    assert made.ensemble.n_particles >= 256
    assert made.dataset.x_test is not None


# Observers --------------------------------------------------------------------


def test_accuracy_counts_columns_or_signs():
    one_hot = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    output = np.array([[2.0, 1.0], [3.0, 4.0], [5.0, 1.0], [9.0, 8.0]])
    assert accuracy(output, one_hot) == 0.75
    assert accuracy(np.array([[0.3], [-2.0]]), np.array([[1.0], [1.0]])) == 0.5


def test_observers_of_the_test_set_agree_with_predict():
    made = assembled(with_section("data", test_fraction=0.25))
    ev = mfpde.evaluate(made.problem, made.grid, made.ensemble)
    data = made.dataset
    output = mfpde.predict(made.problem, made.grid, made.ensemble, data.x_test)
    seen = {name: f(ev) for name, f in made.keywords["observers"].items()}
    assert seen["test_accuracy"] == accuracy(output, data.y_test)
    expected = np.mean(made.problem.loss.values(output, data.y_test))
    assert seen["test_loss"] == pytest.approx(expected, rel=1e-14)


def test_observers_without_test_samples():
    assert set(make_observers(Samples(True))) == {"train_accuracy"}
    assert make_observers(Samples(False)) == {}


def test_accuracies_belong_to_classes_whatever_the_loss():
    table = with_section("data", target="signs", test_fraction=0.25)
    table["problem"] = {"loss": "squared"}
    made = assembled(table)
    assert made.problem.loss.name == "squared"
    assert set(made.keywords["observers"]) == {
        "train_accuracy",
        "test_accuracy",
        "test_loss",
    }
