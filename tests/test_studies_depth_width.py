"""The study depth-width on a small problem: measurement, rates, verdicts, messages."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from mfpde import DepthGrid, solve
from mfpde.errors import ConfigurationError, NotFiniteError
from mfpde.papers.depth_width import STUDY
from mfpde.papers.depth_width_analysis import analyse
from mfpde.studies import run_study
from mfpde.studies.cases import build_case
from mfpde.studies.table import Table

SMALL = {
    "depths": [4, 8, 16, 32],
    "widths": [1, 16, 64, 256],
    "seeds": 24,
    "seeds_per_task": 8,
    "s": [0.0, 0.25, 0.5],
    "limit_tol": 1e-6,
    "cloud_seeds": 8,
    "assignment_width": 16,
    "eta": [0.25, 0.1],
    "cases": [
        {
            "name": "tanh",
            "data": {"source": "curve", "function": "step", "n_samples": 8},
            "problem": {"block": {"kind": "perceptron", "bias": False}},
            "law": {
                "kind": "path",
                "mean": {"u": 1.0, "v": 0.5},
                "mean_beta": {"u": 0.0, "v": -0.5},
                "std_alpha": 0.3,
                "std_beta": 0.2,
            },
        }
    ],
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return run_study(STUDY, SMALL, tmp_path_factory.mktemp("study") / "out")


def test_the_study_ends_with_verdicts_and_figures(outcome):
    assert outcome.status == "finished", outcome.message
    assert outcome.counts["done"] == 104
    assert set(outcome.report.figures) == {"tanh-path", "tanh-layer"}
    assert {len(page) for page in outcome.report.figures.values()} == {8}


def test_rates_are_those_of_the_theorem(outcome):
    """Rows 1 and 18: with 24 seeds the spread is known to about 0.06."""
    verdicts = {each.claim: each for each in outcome.report.verdicts}
    assert "contradicted" not in {each.verdict for each in verdicts.values()}
    for coupling in ("path", "layer"):
        p = verdicts[f"tanh, {coupling}: outputs: p, order in 1/L"]
        assert p.value == pytest.approx(1.0, abs=0.05)
        assert p.interval[0] <= 1.0 <= p.interval[1]
        spread = verdicts[f"tanh, {coupling}: spread over draws: order in 1/M"]
        assert spread.value == pytest.approx(0.5, abs=0.12)
    along = verdicts["tanh, path: spread over draws: order in 1/L"]
    across = verdicts["tanh, layer: spread over draws: order in 1/L"]
    assert along.value == pytest.approx(0.0, abs=0.03)
    assert across.value == pytest.approx(0.5, abs=0.2)
    same = verdicts["tanh, path: outputs: order in 1/L, same draws at all depths"]
    assert same.value == pytest.approx(1.0, abs=0.05)


def test_measured_errors_are_those_of_runs_made_by_hand(outcome):
    case = build_case({"cases": SMALL["cases"]}, "tanh")
    table = outcome.table.select(case="tanh", coupling="layer", depth=8, width=16.0)
    limit = STUDY.refer("limit-tanh", {**STUDY.defaults, **SMALL})
    grid = DepthGrid.euler(8)
    for seed in (0, 13):
        ens = case.law.sample(grid, 16, coupling="layer", seed=seed)
        found = solve(
            case.problem,
            grid,
            ens,
            s_end=SMALL["s"][-1],
            rtol=1e-9,
            record=SMALL["s"],
            observers={"output": lambda e: e.output},
        )
        difference = found.observations["output"] - limit["output"]
        rms = np.sqrt(np.mean(difference[:, :, 0] ** 2, axis=1))
        # The study solves with rtol = 1e-4.
        np.testing.assert_allclose(table["error_output"][seed], rms, rtol=1e-3)


def test_infinite_width_is_the_same_for_every_seed_and_coupling(outcome):
    wide = outcome.table.select(width=math.inf)["error_output"]
    assert np.ptp(wide, axis=(1, 3)).max() == 0.0
    assert wide.min() > 0.0


def test_tracers_bound_the_transport_distance(outcome):
    """W2 <= coupled distance, which falls with width; two draws of one law do not."""
    table = outcome.table.select(case="tanh", coupling="path", depth=8)
    coupled = table["distance"][:, :8, -1]
    is_known = ~np.isnan(table["w2"][:, :8])
    assert is_known[:2].all()
    assert not is_known[2:].any()
    assert np.all(table["w2"][:, :8][is_known] <= coupled[is_known] * (1 + 1e-9))
    assert np.isnan(table["distance"][:-1, 8:]).all()
    means = np.sqrt(np.mean(coupled**2, axis=1))
    assert np.all(np.diff(means) < 0)
    # Seeds are compared in pairs.
    assert np.isnan(table["w2_same_law"][1, 1:8:2]).all()
    assert np.all(table["w2_same_law"][1, :8:2] > table["w2"][1, :8].mean())


def test_a_task_gives_the_same_bits_twice(outcome):
    config = {**STUDY.defaults, **SMALL}
    references = {"limit-tanh": STUDY.refer("limit-tanh", config)}
    tasks = [t for t in STUDY.tasks(config) if t.coordinates["width"] == 64.0]
    task = tasks[5]
    first, second = (STUDY.measure(task, config, references) for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def planted(outcome, change):
    """The table with other errors of the outputs in cells of finite width."""
    table = outcome.table
    variables = dict(table.variables)
    dims, values = variables["error_output"]
    depth = np.array(table.axes["depth"], float)[:, None, None, None]
    variables["error_output"] = (dims, change(values.copy(), depth))
    return Table(table.axes, variables)


def verdict_of(table, claim):
    report = analyse(table, {**STUDY.defaults, **SMALL})
    return {each.claim: each.verdict for each in report.verdicts}[claim]


def test_a_missing_factor_flips_the_verdict(outcome):
    """Errors that fall like L^-1/2 instead of 1/L: a factor forgotten."""
    table = planted(outcome, lambda values, depth: values * np.sqrt(depth))
    claim = "tanh, path: outputs: p, order in 1/L"
    assert verdict_of(outcome.table, claim) == "confirmed"
    assert verdict_of(table, claim) == "contradicted"


def test_diverged_runs_are_counted_and_left_out(outcome):
    def diverge(values, depth):
        values[0, 0, 1, 2, 3] = np.inf
        return values

    report = analyse(planted(outcome, diverge), {**STUDY.defaults, **SMALL})
    (text,) = [t for t in report.texts if t.startswith("tanh, path")]
    assert "diverged runs: 1" in text


def test_all_diverged_is_a_sentence(outcome):
    table = planted(outcome, lambda values, depth: np.full_like(values, np.inf))
    with pytest.raises(ValueError, match=r"tanh, path: there is no fit\."):
        analyse(table, {**STUDY.defaults, **SMALL})


def test_a_blow_up_is_inf_in_its_seed_alone(monkeypatch):
    """Both ways to end: an error at the start, and a run that failed."""
    changes = {"depths": [2], "widths": [1], "seeds": 6, "couplings": ["path"]}
    config = {**STUDY.defaults, **SMALL, **changes, "cloud_seeds": 0}
    reference = {
        "output": np.zeros((3, 8, 1)),
        "state": np.zeros((3, 8, 1)),
        "loss": np.zeros(3),
    }
    n_calls = itertools.count()

    def failing(*args, **options):
        number = next(n_calls)
        if number == 2:
            raise NotFiniteError("The state is not finite.")
        found = solve(*args, **options)
        return dataclasses.replace(found, status="failed") if number == 4 else found

    monkeypatch.setattr("mfpde.papers.depth_width_networks.solve.quietly", failing)
    (task,) = [t for t in STUDY.tasks(config) if t.coordinates["width"] == 1.0]
    found = STUDY.measure(task, config, {"limit-tanh": reference})
    for name in ("error_output", "error_loss"):
        is_bad = np.isinf(found[name])
        assert is_bad.shape == (6, 3)
        assert np.flatnonzero(is_bad.all(axis=1)).tolist() == [2, 4]
        assert is_bad.sum() == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": [8, 4]}, "`depths` must increase"),
        ({"widths": [0, 4]}, "`widths` must be at least 1"),
        ({"s": [0.5, 1.0]}, "`s` must begin with 0"),
        ({"couplings": ["paths"]}, "`couplings` must be of"),
        ({"seeds": 0}, "`seeds` must be at least 1"),
        ({"cases": []}, "`cases` must have one entry or more"),
        ({"cases": [{"name": "a", "datum": {}}]}, "`datum` is not a part of a case"),
        (
            {"cases": [SMALL["cases"][0], SMALL["cases"][0]]},
            "the name 'tanh' is used twice",
        ),
        (
            {"cases": [{"name": "a", "data": {"source": "curv"}}]},
            "`cases`, number 1: `data.source` must be",
        ),
    ],
)
def test_wrong_configurations(change, message, tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        run_study(STUDY, {**SMALL, **change}, tmp_path / "out")
    assert any(message in problem for problem in caught.value.problems), caught.value
    assert not (tmp_path / "out").exists()
