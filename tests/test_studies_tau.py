"""The study of the residual scale, and what it is made of."""

import copy
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mfpde
from mfpde.blocks import Linear
from mfpde.errors import ConfigurationError, NotFiniteError
from mfpde.evaluation import trajectories
from mfpde.papers import tau, tau_iterations, tau_phases, tau_training
from mfpde.papers.powers import corrected_exponent, power_between
from mfpde.papers.residual import (
    descend,
    factor_share,
    feature_problem,
    feed_forward,
    matrix_network,
    normal_problem,
    steps_needed,
    steps_to,
)
from mfpde.papers.tau import STUDY
from mfpde.references.exact import tau_growth
from mfpde.studies import resolve, run_study
from mfpde.studies.judging import judge_between

EXPONENTS = (-1.25, -1.0, -0.75, -0.5)
ROOT = Path(__file__).parent.parent
DATA = {"source": "digits", "n_samples": 24, "pca": 8}
NORMS = {"depths": [16, 32, 64, 128], "width": 12, "n_samples": 4, "seeds": 12}
PHASES = {
    "smoothness": ["independent", "tied"],
    "exponents": [-1.0, -0.5, -0.25],
    "depths": [32, 64, 128, 256, 512],
    "width": 12,
    "seeds": 16,
}
STEPS = {
    "data": DATA,
    "width": 16,
    "depths": [4, 8, 16, 32],
    "slow_depth": 32,
    "below": 0.4,
    "seeds": 8,
}


def report(experiment, changes, folder):
    """Verdicts by the beginning of their claims."""
    config = resolve(STUDY, {experiment.name: changes})[experiment.name]
    found = run_study(experiment, config, folder / experiment.name)
    return {each.claim: each for each in found.report.verdicts}


def verdict(verdicts, *words):
    (found,) = (
        each for claim, each in verdicts.items() if all(word in claim for word in words)
    )
    return found.verdict


def test_configuration_holds_the_defaults():
    text = (ROOT / "data" / "studies" / "tau.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    assert table.pop("study") == STUDY.name
    assert table == STUDY.defaults


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"iterations": {"schemes": ["fast"]}}, "`iterations.schemes` must be of sde"),
        ({"iterations": {"depths": [8, 12]}}, "`iterations.depths` must divide"),
        ({"norms": {"depths": [8, 12]}}, "`norms.depths` must divide"),
        ({"training": {"scales": ["sde"]}}, "`training.scales` must hold sde, one"),
        ({"phases": {"smoothness": ["tied", "x"]}}, "`phases.smoothness` must hold"),
        ({"phases": {"exponents": [-1.0]}}, "`phases.smoothness` must hold"),
        ({"phases": {"depths": [64, 128]}}, "`phases.depths` must hold 5 or more"),
        ({"iterations": {"slow_depth": 32}}, "`iterations.slow_depth` must leave 4"),
        ({"normalised": {"scales": ["sde"]}}, "`normalised.scales` must hold sde, one"),
        ({"training": {"data": {"turns": 1.0}}}, "`training.data`: `turns` is not a"),
        (
            {"training": {"data": {"source": "spiral"}}},
            "`training.data`: `source` must",
        ),
        (
            {"training": {"data": {"source": "spirals", "pca": 16}}},
            "`training.data` cannot be loaded",
        ),
    ],
)
def test_wrong_keys_are_refused(changes, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        resolve(STUDY, changes)


def test_data_of_another_source():
    changes = {"data": {"source": "spirals", "n_samples": 16, "turns": 0.5}}
    config = resolve(STUDY, {"training": changes})["training"]
    assert config["data"] == changes["data"]
    same = resolve(STUDY, {"training": {"data": {"n_samples": 20}}})["training"]
    assert same["data"] == {"source": "digits", "n_samples": 20, "pca": 16}
    # --quick --set training.data.pca=8 leaves the other experiments alone.
    quick = copy.deepcopy(STUDY.quick)
    quick["training"]["data"]["pca"] = 8
    assert quick["iterations"]["data"]["pca"] == 16


def test_share_of_a_layer_is_between_one_and_two():
    """(31) for one layer: its two ends are met at h = 0 and far from the kink."""
    problem = normal_problem(40, 3, 1, positive=True)
    shares = []
    for seed in range(40):
        net = matrix_network(problem, 6, -3.0, seed)
        shares.append(factor_share(net, net.evaluate().z))
    error = np.std(shares) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - 2.0) < 4.0 * error
    assert error < 0.03
    # |ReLU(W h)|^2 + |ReLU(-W h)|^2 = |W h|^2: a state without its own part.
    net = matrix_network(problem, 1, 0.0, 0)
    w = net.ensemble.theta.reshape(40, 40)
    h = 1e-9 * problem.x
    direct = [
        np.sum(np.maximum(h + sign * h @ w.T, 0.0) ** 2, axis=1) for sign in (1, -1)
    ]
    expected = np.mean(np.mean(direct, axis=0) / np.sum(h**2, axis=1) - 1.0)
    found = factor_share(net, np.stack([h, np.maximum(h + h @ w.T, 0.0)]))
    assert found == pytest.approx(expected, rel=1e-9)


def test_exponents_and_next_terms():
    kinds = {"coherent": True}, {"coherent": False}
    found = [
        [tau_phases.growth_exponent(a, **kind) for kind in kinds] for a in EXPONENTS
    ]
    np.testing.assert_allclose(found, [[-0.5, -1.5], [0, -1], [0.25, -0.5], [0.5, 0]])
    assert tau_phases.region(-1.0, coherent=True) == "ODE"
    assert tau_phases.region(-0.5, coherent=False) == "SDE"
    assert tau_phases.next_exponents(-0.5, coherent=True) == {-0.5}
    assert tau_phases.next_exponents(-0.25, coherent=True) == {-0.25, -0.75}
    sizes = np.array([8.0, 16, 32, 64, 128])
    values = np.outer(3.0 * sizes**0.7 * np.exp(0.4 * sizes**-0.5), np.ones(3))
    value, interval = power_between(sizes, values, {-0.5, -1.0}, 0.9)
    assert interval[0] - 1e-9 <= 0.7 <= interval[1] + 1e-9
    assert interval[0] <= value <= interval[1]


def test_steps_at_the_best_rate():
    problem = feature_problem(DATA, 12, 0.3, 0)
    net = matrix_network(problem, 8, -0.5, 0)
    alone = steps_needed(net, [2.0], 60, 0.42)
    assert 1.0 < alone < 60.0
    # A rate at which it blows up takes nothing from the other one.
    assert steps_needed(net, [1e3, 2.0], 60, 0.42) == alone
    assert steps_needed(net, [2.0], 2, 0.42) == 3.0
    with pytest.raises(NotFiniteError):
        steps_needed(matrix_network(problem, 20, 0.0, 0), [1e3], 20, 0.1)


def test_a_small_budget_decides_nothing(tmp_path):
    changes = STEPS | {"schemes": ["sde", "plain"], "most_steps": 2, "seeds": 6}
    found = list(report(tau_iterations.Iterations(), changes, tmp_path).values())
    # Two that are tried, and two that are not.
    assert [each.verdict for each in found] == ["not resolved"] * 4
    assert "24 of 24 runs do not reach" in found[0].note
    assert found[3].note == "It is not among `schemes`."


@pytest.mark.parametrize("outer", ["relu", "identity"])
def test_layers_are_those_of_the_formula(outer):
    problem = normal_problem(5, 3, 1, positive=True)
    net = matrix_network(problem, 4, -0.5, 2, outer=outer)
    h = problem.x
    for w in net.ensemble.theta[:, 0].reshape(4, 5, 5):
        h = h + 0.5 * h @ w.T
        h = np.maximum(h, 0.0) if outer == "relu" else h
    np.testing.assert_allclose(net.evaluate().z_end, h, rtol=1e-12, atol=1e-13)
    plain, h = feed_forward(net), problem.x
    for w in net.ensemble.theta[:, 0].reshape(4, 5, 5):
        h = 0.5 * h @ w.T
        h = np.maximum(h, 0.0) if outer == "relu" else h
    np.testing.assert_allclose(plain.evaluate().z_end, h, rtol=1e-12, atol=1e-13)


def test_adjoint_of_a_functional_and_its_invariant():
    """p(1) = y; psi = ReLU is 1-homogeneous, so p_l . h_l is constant in depth."""
    problem = normal_problem(6, 3, 4, positive=True)
    found = matrix_network(problem, 9, -0.5, 3).evaluate()
    np.testing.assert_allclose(found.p[-1], problem.y, rtol=1e-14)
    products = np.sum(found.p * found.z, axis=2)
    np.testing.assert_allclose(products, products[-1:] + 0 * products, rtol=1e-11)


def test_coarse_draws_are_sums_of_fine_ones():
    problem = normal_problem(4, 2, 0, positive=True)
    fine = matrix_network(problem, 8, -0.5, 5, n_finest=8).ensemble.theta
    coarse = matrix_network(problem, 4, -0.5, 5, n_finest=8).ensemble.theta
    # tau W: 4^(-1/2) W' is the sum of two 8^(-1/2) W.
    pairs = fine.reshape(4, 2, 1, 16).sum(axis=1)
    np.testing.assert_allclose(coarse * 4**-0.5, pairs * 8**-0.5, rtol=1e-13)
    with pytest.raises(ValueError, match="`n_layers` must divide `n_finest` = 8"):
        matrix_network(problem, 3, -0.5, 5, n_finest=8)


def test_linear_layers_grow_as_the_formula_says():
    """T10: E|h_L|^2 = (1 + tau^2)^L |h_0|^2; tau = 1/3 for 9 layers."""
    ratios = []
    for seed in range(300):
        problem = normal_problem(6, 1, seed, positive=False)
        net = matrix_network(problem, 9, -0.5, seed, outer="identity", variance=1.0)
        _, z = trajectories(problem, net.grid, net.ensemble, problem.x)
        ratios.append(np.sum(z[-1] ** 2) / np.sum(z[0] ** 2))
    error = np.std(ratios) / np.sqrt(len(ratios))
    assert abs(np.mean(ratios) - tau_growth(9, 1 / 3)) < 4 * error
    assert error < 0.2


def test_steps_between_iterations():
    losses = np.exp(-0.5 * np.arange(6))
    assert steps_to(losses, np.exp(-1.25)) == pytest.approx(2.5, abs=1e-12)
    assert steps_to(losses, 2.0) == 0.0
    assert steps_to(losses, 1e-9) == np.inf


def test_corrected_exponent_is_exact():
    sizes = np.array([8.0, 16, 32, 64])
    values = 3.0 * sizes**0.7 * np.exp(0.4 * sizes**-0.5)
    assert corrected_exponent(sizes, values, sizes**-0.5) == pytest.approx(0.7)


def test_descent_reports_a_blow_up():
    problem = feature_problem(DATA, 12, 0.3, 0)
    # Layers grow by a factor of about 1.5: 2000 of them pass the largest number.
    with pytest.raises(NotFiniteError, match="not finite after layer"):
        descend(matrix_network(problem, 2000, 0.0, 0), 1.0, 20, None)
    # 20 layers are finite at the start, but not after a step as long as this.
    net = matrix_network(problem, 20, 0.0, 0)
    assert np.isfinite(net.evaluate().loss)
    with pytest.raises(NotFiniteError, match="not finite"):
        descend(net, 1e3, 20, None)
    losses = descend(matrix_network(problem, 8, -0.5, 0), 1.0, 5, None)
    assert losses.shape == (6,)
    assert (np.diff(losses) < 0).all()


def test_learning_rate_is_that_of_the_plain_parameters():
    """theta <- theta - rate dE/dtheta, with dE/dtheta by differences."""
    problem = feature_problem(DATA, 4, 0.3, 1)
    net = matrix_network(problem, 3, -1.0, 1)
    done = mfpde.train(net, mfpde.networks.SGD(learning_rate=0.7), n_iterations=1)
    moved = done.net.ensemble.theta - net.ensemble.theta
    h, place = 1e-6, (1, 0, 5)
    losses = []
    for sign in (1, -1):
        theta = net.ensemble.theta.copy()
        theta[place] += sign * h
        other = net.with_parameters(net.ensemble.with_theta(theta))
        losses.append(other.evaluate().loss)
    slope = (losses[0] - losses[1]) / (2 * h)
    assert moved[place] == pytest.approx(-0.7 * slope, rel=1e-6)


def test_features_are_not_negative():
    problem = feature_problem(DATA, 8, 0.3, 0)
    assert problem.x.min() >= 0.0
    assert isinstance(problem.block, Linear)


@pytest.mark.parametrize("changes", [NORMS, NORMS | {"width": 24, "first_seed": 50}])
def test_bounds_hold_and_a_wrong_variance_breaks_them(tmp_path, monkeypatch, changes):
    verdicts = report(tau.Norms(), changes, tmp_path / "right")
    found = [each.verdict for claim, each in verdicts.items() if "(31)" in claim]
    assert found == ["confirmed"] * 4
    assert verdict(verdicts, "backward map") == "confirmed"

    def wrong(*arguments, **options):
        return matrix_network(*arguments, **options, variance=4.0)

    monkeypatch.setattr(tau, "matrix_network", wrong)
    verdicts = report(tau.Norms(), changes, tmp_path / "wrong")
    found = [each.verdict for claim, each in verdicts.items() if "(31)" in claim]
    assert found == ["contradicted"] * 4


def test_few_seeds_contradict_no_theorem(tmp_path):
    changes = NORMS | {"seeds": 4, "first_seed": 50, "powers": [-0.25, 0.25]}
    verdicts = report(tau.Norms(), changes, tmp_path)
    assert "contradicted" not in {each.verdict for each in verdicts.values()}
    # What row 14 says of c = 0 was not tried.
    assert verdicts["c equal to 0"].verdict == "not resolved"


def test_regions_and_shared_layers(tmp_path, monkeypatch):
    verdicts = report(tau.Phases(), PHASES, tmp_path / "right")
    assert {each.verdict for each in verdicts.values()} == {"confirmed"}

    def tied(*arguments, **options):
        options = options | {"length": np.inf, "n_finest": None}
        return matrix_network(*arguments, **options)

    monkeypatch.setattr(tau_phases, "matrix_network", tied)
    verdicts = report(tau.Phases(), PHASES, tmp_path / "wrong")
    claim = "independent, tau = L^-0.5, SDE: exponent"
    assert verdicts[claim].verdict == "contradicted"
    assert verdict(verdicts, "independent", "L^-1,") == "contradicted"
    assert verdict(verdicts, "tied", "L^-0.5") == "confirmed"


def test_steps_and_a_rate_without_its_factor(tmp_path, monkeypatch):
    changes = STEPS | {"schemes": ["ode", "slow"]}
    verdicts = report(tau_iterations.Iterations(), changes, tmp_path / "right")
    assert verdict(verdicts, "rate O(L)") == "confirmed"
    assert verdict(verdicts, "1/L, rate O(1)") == "confirmed"
    # The learning rate of tau ~ 1/L without its factor L.
    schemes = tau_iterations.SCHEMES
    wrong = (-1.0, (0.0,), schemes["ode"][2])
    monkeypatch.setitem(schemes, "ode", wrong)
    changes |= {"most_steps": 2000, "schemes": ["ode"], "seeds": 3}
    verdicts = report(tau_iterations.Iterations(), changes, tmp_path / "wrong")
    assert verdict(verdicts, "rate O(L)") == "contradicted"


def test_training_counts_what_overflows(tmp_path):
    changes = {"data": DATA, "width": 12, "depths": [8, 80], "below": 0.4, "seeds": 6}
    config = resolve(STUDY, {"training": changes})["training"]
    found = run_study(tau_training.Training(), config, tmp_path)
    first, second = found.report.verdicts
    assert (first.verdict, second.verdict) == ("confirmed", "confirmed")
    assert found.counts["diverged"] >= 6
    assert "L = 80: 6 of 6 runs overflow" in found.report.texts[1]


def test_growth_and_normalisation(tmp_path):
    verdicts = report(
        tau_training.Growth(), {"depths": [10, 60], "width": 12, "seeds": 12}, tmp_path
    )
    assert verdict(verdicts, "L = 60") == "confirmed"
    # So many steps that the loss falls below that of the best constant outputs.
    changes = {
        "data": DATA, "width": 24, "depths": [64], "seeds": 6, "n_steps": 30,
        "rates": [2.5, 12.5],
    }  # fmt: skip
    verdicts = report(tau_training.Normalised(), changes, tmp_path)
    assert verdict(verdicts, "L = 64") == "confirmed"


def test_poor_data_confirm_no_bounds():
    """An interval that reaches well over the bounds proves nothing."""
    wide = judge_between("factor", (1.0, 2.0), 1.5, (0.5, 2.5), 0.1)
    near = judge_between("factor", (1.0, 2.0), 1.99, (1.95, 2.03), 0.1)
    outside = judge_between("factor", (1.0, 2.0), 3.0, (2.6, 3.4), 0.1)
    found = [each.verdict for each in (wide, near, outside)]
    assert found == ["not resolved", "confirmed", "contradicted"]
