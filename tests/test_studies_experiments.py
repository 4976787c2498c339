"""Experiments on a grid and collections of them."""

import dataclasses

import numpy as np
import pytest

from mfpde.errors import ConfigurationError, NotFiniteError
from mfpde.executors import Processes
from mfpde.figures import Panel
from mfpde.studies import Report, Variable, open_study, resolve
from mfpde.studies.collection import Collection, parts_of, run_parts
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import (
    judge,
    judge_above,
    judge_all,
    judge_at_least,
    judge_below,
    judge_between,
)
from mfpde.studies.orders import judge_order, judge_those


class Euler(Experiment):
    """(1 + a / L)^L against e^a, with noise; a = 9 diverges."""

    name = "euler"
    title = "Euler's limit"
    claims = (1,)
    defaults = {
        "depths": [4, 8, 16],
        "slopes": [1.0, 9.0],
        "seeds": 3,
        "first_seed": 5,
        "times": [0.0, 1.0],
        "activation": "tanh",
        "tolerance": 0.1,
    }
    least, times = {"depths": 2}, ("times",)
    quick = {"depths": [4, 8]}
    grid = {"depth": "depths", "slope": "slopes", "seed": "seeds"}
    measured = {
        "error": "error of the limit",
        "steps": Variable(("step",), "product after a share of the steps"),
    }
    positive = ("depths",)

    def further_axes(self, config):
        return {"step": [0.5, 1.0]}

    def cell(self, at, config, references):
        if at["slope"] > 8.0 and at["seed"] == 6:
            raise NotFiniteError("too steep")
        n, a = at["depth"], at["slope"]
        noise = 1.0 + 1e-3 * np.random.default_rng(at["seed"]).normal()
        values = [(1 + a / n) ** (n // 2), (1 + a / n) ** n]
        return {"error": noise * abs(values[1] - np.exp(a)), "steps": values}

    def analyse(self, table, config):
        errors = table.select(slope=1.0)["error"]
        panel = curves("a", "L", "error", {"1": (table.axes["depth"], errors[:, 0])})
        verdict = judge("p", 1.0, 1.0, (0.9, 1.1), config["tolerance"], row=1)
        return Report([verdict], figures={"euler": [panel]})


class Other(Euler):
    name = "other"
    together = ()


PAIR = Collection("pair", "Two", (Euler(), Other()), "Euler 1748", whole="all")


def run(config, folder, **options):
    parts = parts_of(PAIR, resolve(PAIR, config), folder)
    return {part.study.name: out for part, out in run_parts(parts, **options)}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run({}, tmp_path_factory.mktemp("pair"))


def test_cells_are_in_their_places(outcomes):
    table = outcomes["euler"].table
    assert table.axes["seed"] == [5, 6, 7]
    assert table["steps"].shape == (3, 2, 3, 2)
    np.testing.assert_allclose(table["steps"][1, 0, 2], [1.125**4, 1.125**8])
    other = outcomes["other"].table
    np.testing.assert_array_equal(table["error"], other["error"])
    assert outcomes["euler"].counts["done"] == 6
    assert outcomes["other"].counts["done"] == 15


def test_a_diverged_cell_is_inf_alone(outcomes):
    for outcome in outcomes.values():
        is_inf = np.isinf(outcome.table["error"])
        assert is_inf[:, 1, 1].all()
        assert is_inf.sum() == 3
    assert outcomes["other"].counts["diverged"] == 3


def test_the_row_of_a_verdict_is_in_the_file(outcomes):
    found = open_study(outcomes["euler"].path)
    assert [each.row for each in found.verdicts] == [1]
    beside = dataclasses.replace(found.verdicts[0], row=None)
    assert beside.row is None


def test_processes_give_the_same_numbers(outcomes, tmp_path):
    again = run({}, tmp_path, executor=Processes(2))
    for name, outcome in outcomes.items():
        np.testing.assert_array_equal(
            outcome.table["error"], again[name].table["error"]
        )


def test_one_experiment_changes_without_the_others(tmp_path):
    run({}, tmp_path)
    with pytest.raises(ConfigurationError, match="depths"):
        run({"euler": {"depths": [4, 8]}}, tmp_path)
    again = run({"experiments": ["other"], "euler": {"depths": [4, 8]}}, tmp_path)
    assert again["other"].counts["done"] == 15


def test_what_only_the_analysis_reads_may_change(tmp_path):
    run({"experiments": ["euler"]}, tmp_path)
    found = run({"experiments": ["euler"], "euler": {"tolerance": 0.2}}, tmp_path)
    assert "0.2" in found["euler"].report.verdicts[0].rule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiments": ["euler", "eulre"]}, "`experiments` must be of euler, other"),
        ({"euler": {"depths": [4, 4]}}, "`euler.depths` must hold one value or more"),
        ({"other": {"seeds": 0}}, "`other.seeds` must be at least 1"),
        ({"euler": {"depths": [-4, 4]}}, "`euler.depths` must be positive"),
        ({"euler": {"tolerance": 2.0}}, r"`euler.tolerance` must lie in \(0, 1\)"),
        ({"euler": {"depth": [4]}}, "`euler.depth` is not a key"),
        ({"euler": {"depths": [8, 4]}}, "`euler.depths` must be sorted as its default"),
        ({"other": {"depths": []}}, "`other.depths` must have one entry or more"),
        ({"euler": {"depths": [4]}}, "`euler.depths` must hold 2 entries or more"),
        ({"euler": {"times": [1.0, 2.0]}}, "`euler.times` must begin with 0"),
        ({"euler": {"times": [0.0, 2.0, 1.0]}}, "`euler.times` must begin with 0"),
        ({"euler": {"activation": "gelo"}}, "there is no activation 'gelo'.*gelu"),
        ({"other": {"first_seed": -3}}, "`other.first_seed` must not be negative"),
    ],
)
def test_wrong_configurations(change, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve(PAIR, change)


def test_all_folders_are_checked_before_the_first_is_worked_on(tmp_path):
    run({"experiments": ["other"]}, tmp_path)
    with pytest.raises(ConfigurationError, match=r"different: `first_seed`"):
        run({"other": {"first_seed": 7}}, tmp_path)
    assert not (tmp_path / "euler").exists()


def test_a_folder_of_several_experiments_names_them(tmp_path):
    run({"experiments": ["other"]}, tmp_path)
    with pytest.raises(FileNotFoundError, match="open one of the folders other in it"):
        open_study(tmp_path)
    assert open_study(tmp_path / "other").verdicts


def test_putting_nothing_together(tmp_path):
    with pytest.raises(ConfigurationError, match="holds nothing to put together"):
        run({}, tmp_path / "nowhere", compute=False)
    assert not (tmp_path / "nowhere").exists()
    run({"experiments": ["other"]}, tmp_path)
    found = run({}, tmp_path, compute=False)
    assert found["other"].status == "finished"
    assert found["euler"].status == "failed"
    assert not (tmp_path / "euler").exists()


def test_tasks_that_are_missing_decide_nothing(tmp_path):
    part = {"experiments": ["other"]}
    run(part, tmp_path, share=(1, 2))
    found = run(part, tmp_path, compute=False)["other"]
    assert "are missing" in found.message
    (verdict,) = found.report.verdicts
    assert verdict.verdict == "not resolved"
    assert verdict.note.startswith(found.message)
    assert run(part, tmp_path)["other"].report.verdicts[0].verdict == "confirmed"


def test_an_unforeseen_error_of_one_analysis_leaves_the_others(tmp_path, monkeypatch):
    def broken(self, table, config):
        return {}["rate"]

    monkeypatch.setattr(Other, "analyse", broken)
    found = run({}, tmp_path)
    assert found["euler"].status == "finished"
    assert found["other"].message == "No analysis: KeyError: 'rate'"
    assert "broken" in found["other"].failures["analysis"].details


def test_rivals_are_excluded():
    found = judge("q", 0.5, 0.49, (0.1, 0.9), 0.1, rivals=(0.0, 1.0))
    assert found.verdict == "confirmed"
    assert "holds no 0, holds no 1;" in found.rule
    found = judge("q", 0.5, 0.49, (-0.1, 0.9), 0.1, rivals=(0.0, 1.0))
    assert found.verdict == "not resolved"


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_has_no_number_is_not_resolved(value):
    interval = (2.3, np.nan)
    found = [
        judge("c", 2.4, value, interval, 0.1),
        judge_above("c", 1.0, value, interval),
        judge_below("c", 9.0, value, interval),
        judge_at_least("c", 1.0, value, interval, 0.1),
        judge_between("c", (1.0, 9.0), value, interval, 0.1),
    ]
    assert {each.verdict for each in found} == {"not resolved"}


def test_at_least_excludes_the_order_below():
    assert judge_at_least("p", 1.0, 0.95, (0.6, 1.2), 0.15).verdict == "confirmed"
    assert judge_at_least("p", 1.0, 0.95, (0.4, 1.2), 0.15).verdict == "not resolved"


def test_runs_without_a_value_neither_hold_nor_fail():
    holds, has_value = np.ones(12, bool), np.ones(12, bool)
    assert judge_those("c", holds, has_value).verdict == "confirmed"
    holds[3] = has_value[3] = False
    found = judge_those("c", holds, has_value)
    assert (found.verdict, found.value) == ("not resolved", 1.0)
    holds[4] = False
    assert judge_those("c", holds, has_value).verdict == "contradicted"


def test_an_order_with_diverged_runs_is_not_resolved():
    n = np.array([4.0, 8, 16, 32])
    errors = np.outer(1.0 / n, [1.0, 1.1, 0.9, 1.0])
    config = {"confidence": 0.95, "tolerance": 0.1}
    verdict, fit = judge_order("p", 1.0, n, errors, config, row=1)
    assert verdict.verdict == "confirmed"
    assert fit.exponent == pytest.approx(1.0)
    errors[3, 1] = np.inf
    verdict, _ = judge_order("p", 1.0, n, errors, config, row=1, note="So.")
    assert (verdict.verdict, verdict.row) == ("not resolved", 1)
    assert verdict.note == "1 of 16 runs have no value. So."


def test_quick_is_made_of_the_parts():
    assert PAIR.quick == {"euler": {"depths": [4, 8]}, "other": {"depths": [4, 8]}}
    assert resolve(PAIR, PAIR.quick)["euler"]["depths"] == [4, 8]


def test_verdict_on_all_cases():
    assert judge_all("c", [True] * 8).verdict == "confirmed"
    assert judge_all("c", [True] * 3).verdict == "not resolved"
    assert judge_all("c", [True] * 30 + [False]).verdict == "contradicted"
    low, high = judge_all("c", [True] * 8).interval
    # Clopper-Pearson for 8 of 8: (0.025)^(1/8).
    assert low == pytest.approx(0.025**0.125)
    assert high == 1.0


def test_verdict_above():
    assert judge_above("c", 1.0, 2.0, (1.5, 2.5)).verdict == "confirmed"
    assert judge_above("c", 1.0, 0.5, (0.4, 1.2)).verdict == "not resolved"
    assert judge_above("c", 1.0, 0.5, (0.4, 0.6)).verdict == "contradicted"


def test_centre_leaves_diverged_runs_out():
    middle, low, high = centre([[1.0, 2.0, 3.0, np.inf], [np.inf] * 4])
    np.testing.assert_array_equal(middle, [2.0, np.nan])
    np.testing.assert_array_equal([low[0], high[0]], [1.5, 2.5])


def test_curves_need_two_coordinates():
    panel = curves("t", "x", "y", {"a": ([1, 2], [3, 4])}, bounds={"b": ([1], [2])})
    assert isinstance(panel, Panel)
    assert [each.style for each in panel.series] == ["points", "line", "line"]
