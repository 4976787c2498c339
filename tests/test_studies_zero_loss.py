"""zero-loss: data without obstruction, each claim, and errors that flip its verdict."""

import dataclasses

import numpy as np
import pytest

from mfpde import DecayingQuadratic
from mfpde import losses as objectives
from mfpde.errors import NotFiniteError
from mfpde.papers import descents, zero_loss
from mfpde.papers.fixed_steps import PerceptronSteps, RegularisedSteps
from mfpde.papers.thresholds import Networks
from mfpde.papers.zero_loss import STUDY, Bias, Regulariser, Unobstructed
from mfpde.run.flow import Layout
from mfpde.studies import resolve, run_study

TINY = {
    "unobstructed": {
        "activations": ["tanh"],
        "dimensions": [3],
        "widths": [16],
        "seeds": 6,
        "depth_steps": 1,
        "n_samples": 3,
    },
    "regulariser": {
        "lambda0": [0.1, 1.0],
        "gamma": [0.1],
        "width": 16,
        "seeds": 3,
        "depth_steps": 1,
        "n_samples": 3,
    },
    "steps": {
        "activations": ["tanh"],
        "dimensions": [3],
        "width": 16,
        "seeds": 6,
        "depth_steps": 1,
        "n_samples": 3,
        "steps": 200,
    },
    "regularised-steps": {
        "lambda0": [0.1, 1.0],
        "gamma": [0.1],
        "width": 16,
        "seeds": 3,
        "depth_steps": 1,
        "n_samples": 3,
        "steps": 200,
    },
    "bias": {
        "lambdas": [4e-3, 2e-3, 1e-3],
        "dimension": 3,
        "width": 16,
        "seeds": 2,
        "depth_steps": 1,
        "n_samples": 2,
        "horizon": 2.0,
    },
    "networks": {
        "depths": [2, 4, 8],
        "width_of_first": 8,
        "seeds": 40,
        "s": [2.0],
        "limit_tol": 1e-2,
    },
}


def run(experiment, folder, **changes):
    tables = resolve(STUDY, {experiment.name: TINY[experiment.name] | changes})
    return run_study(experiment, tables[experiment.name], folder).report


def words(report, row=None):
    return [each.verdict for each in report.verdicts if row in (None, each.row)]


def test_targets_are_a_map_without_obstruction():
    """In d = 1 no two samples change their order, for any seed."""
    config = descents.DATA
    for seed in range(50):
        problem = descents.make_problem(config, 1, "tanh", seed)
        order = np.argsort(problem.x[:, 0])
        assert (np.diff(problem.y[order, 0]) > 0).all()
    again = descents.make_problem(config, 3, "gelu", 7)
    np.testing.assert_array_equal(
        again.y, descents.make_problem(config, 3, "tanh", 7).y
    )
    assert np.abs(again.y - again.x).max() <= config["shift"]


def test_values_between_steps_follow_their_logarithm():
    s = np.array([0.0, 3.0, 50.0])
    values = descents.at_times(s, 2.0 * np.exp(-0.3 * s))
    times = np.array(descents.TIMES)
    is_before = times <= 50.0
    np.testing.assert_allclose(values[is_before], 2 * np.exp(-0.3 * times[is_before]))
    assert np.isnan(values[~is_before]).all()


def test_the_flow_reaches_zero_at_the_rate_of_the_kernel(tmp_path):
    report = run(Unobstructed(), tmp_path)
    assert words(report, 4) == ["confirmed"] * 3
    late = report.verdicts[1]
    assert late.value == pytest.approx(1.0, abs=0.01)
    assert len(report.figures["unobstructed"]) == 2


def test_decaying_regularisers(tmp_path):
    report = run(Regulariser(), tmp_path)
    assert words(report, 6) == ["confirmed"]
    # E alone rises in every run with the strong and slow one.
    assert report.verdicts[1].value == 1.0


def test_a_law_that_was_shrunk_to_a_saddle_leaves_it(tmp_path):
    """theta is about e^-20 there: E moves as little as at the end."""
    options = {"activation": "gelu", "dimension": 3, "first_seed": 101, "seeds": 1}
    options |= {"lambda0": [1.0], "width": 32, "depth_steps": 2, "n_samples": 4}
    report = run(Regulariser(), tmp_path, **options)
    assert report.verdicts[0].value == 1.0


def test_a_constant_regulariser_leaves_its_square(tmp_path):
    report = run(Bias(), tmp_path)
    assert words(report) == ["confirmed"]
    assert report.verdicts[0].value == pytest.approx(2.0, abs=0.1)


def test_networks_of_growing_depth_and_width(tmp_path):
    report = run(Networks(), tmp_path)
    assert [each.row for each in report.verdicts] == [2, 2]
    assert "contradicted" not in words(report)
    assert report.verdicts[0].value > 0.7


def test_a_missing_factor_in_the_kernel_is_seen(tmp_path, monkeypatch):
    """The square of the weights sqrt(c_i) left out: K without its 1 / N."""
    kernel = descents.tangent_kernel

    def wrong(problem, grid, ensemble):
        return problem.n_samples * kernel(problem, grid, ensemble)

    monkeypatch.setattr(descents, "tangent_kernel", wrong)
    report = run(Unobstructed(), tmp_path)
    assert words(report, 4) == ["confirmed"] + ["contradicted"] * 2


def test_a_loss_with_an_obstruction_is_seen(tmp_path, monkeypatch):
    """Targets in the opposite order, in d = 1: E stays above a positive bound."""
    make = descents.make_problem

    def reversed_(config, dimension, activation, seed, regulariser=None):
        problem = make(config, dimension, activation, seed, regulariser)
        return problem._with({"y": -problem.x})

    monkeypatch.setattr(zero_loss, "make_problem", reversed_)
    options = {"dimensions": [1], "seeds": 2, "s_end": 5.0, "atol": 1e-9}
    report = run(Unobstructed(), tmp_path, **options)
    assert "contradicted" in words(report, 4)


@pytest.mark.parametrize("experiment", [PerceptronSteps(), RegularisedSteps()])
def test_steps_that_nothing_refuses(experiment, tmp_path, monkeypatch):
    """Every one falls; with a wrong sign of one group's velocity measured ones rise."""
    report = run(experiment, tmp_path / "right")
    assert words(report) == ["confirmed"] * 2
    assert words(report, experiment.claims[0]) == ["confirmed"]
    right = Layout.point

    def wrong(self, *args, **options):
        point = right(self, *args, **options)
        rate = point.rate.copy()
        group, *_ = self.problem.block.param_groups.values()
        self.unpack(rate)[0][:, :, group] *= -1.0
        return dataclasses.replace(point, rate=rate)

    monkeypatch.setattr(Layout, "point", wrong)
    config = resolve(STUDY, {experiment.name: TINY[experiment.name]})[experiment.name]
    finished = run_study(experiment, config, tmp_path / "wrong")
    assert words(finished.report, experiment.claims[0]) == ["contradicted"]
    rises = finished.table["rise"]
    assert (rises[np.isfinite(rises)] > 1e-6).any()


def test_a_wrong_sign_of_the_covector_is_seen(tmp_path, monkeypatch):
    """The flow climbs: no run gets to its end."""

    def wrong(self, output, y):
        return y - output

    monkeypatch.setattr(objectives.Squared, "gradients", wrong)
    report = run(Unobstructed(), tmp_path, seeds=2, s_end=1.0)
    assert words(report, 4) == ["contradicted"]


def test_runs_without_a_value_leave_nothing_resolved(tmp_path, monkeypatch):
    """One of the runs of a study diverges: fits leave it out, and say so."""
    right, calls = zero_loss.train, []

    def first_fails(*args, **options):
        calls.append(None)
        if len(calls) == 1:
            raise NotFiniteError("It blew up.")
        return right(*args, **options)

    monkeypatch.setattr(zero_loss, "train", first_fails)
    lambdas = [8e-3, 4e-3, 2e-3, 1e-3]
    report = run(Bias(), tmp_path / "bias", lambdas=lambdas)
    assert words(report, 6) == ["not resolved"]
    assert "1 of 8 runs have no value." in report.verdicts[0].note
    calls.clear()
    report = run(Unobstructed(), tmp_path / "unobstructed")
    assert words(report, 4) == ["contradicted"] + ["not resolved"] * 2


def test_a_regulariser_that_does_not_decay_is_seen(tmp_path, monkeypatch):
    def constant(lambda0, gamma):
        return DecayingQuadratic(lambda0)

    monkeypatch.setattr(zero_loss, "DecayingQuadratic", constant)
    report = run(Regulariser(), tmp_path, lambda0=[0.1, 0.2], s_end=50.0)
    assert words(report, 6) == ["contradicted"]


def test_a_regulariser_by_the_norm_is_seen(tmp_path, monkeypatch):
    """lambda^(1/2) for lambda: the exponent is 1."""

    def root(self, s):
        return 0.03 * np.sqrt(self.lambda0)

    monkeypatch.setattr(DecayingQuadratic, "strength", root)
    report = run(Bias(), tmp_path, seeds=6)
    assert words(report, 6) == ["contradicted"]
    assert report.verdicts[0].value < 1.5


def test_a_run_that_does_not_end_is_told():
    config = resolve(STUDY, {"bias": TINY["bias"]})["bias"]
    problem = descents.make_problem(config, 2, "tanh", 0)
    start = descents.draw(config, problem, 4, 0)
    with pytest.raises(NotFiniteError, match=r"."):
        descents.train(config, problem, *start, s_end=1.0, wall_time_s=1e-9)


def test_wrong_configurations_are_told():
    config = dict(Bias().defaults) | {"lambdas": [-1.0]}
    assert Bias().problems(config) == [
        "`lambdas` must hold 3 entries or more, got [-1.0].",
        "`lambdas` must be positive, got [-1.0].",
    ]
