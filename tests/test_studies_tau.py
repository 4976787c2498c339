"""The study of the residual scale, and what it is made of."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

import mfpde
from mfpde.blocks import Linear
from mfpde.errors import ConfigurationError, NotFiniteError
from mfpde.evaluation import trajectories
from mfpde.exact import tau_growth
from mfpde.studies import resolve, run_study, tau, tau_training
from mfpde.studies.powers import corrected_exponent
from mfpde.studies.residual import (
    descend,
    feature_problem,
    feed_forward,
    matrix_network,
    normal_problem,
    steps_to,
)
from mfpde.studies.tau import STUDY

ROOT = Path(__file__).parent.parent
DATA = {"source": "digits", "n_samples": 24, "pca": 8}
NORMS = {"depths": [16, 32, 64, 128], "width": 12, "n_samples": 4, "seeds": 12}
PHASES = {
    "smoothness": ["independent", "tied"],
    "exponents": [-1.0, -0.5, -0.25],
    "depths": [64, 128, 256, 512],
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
    ],
)
def test_wrong_keys_are_refused(changes, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        resolve(STUDY, changes)


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


def test_bounds_hold_and_a_wrong_variance_breaks_them(tmp_path, monkeypatch):
    verdicts = report(tau.Norms(), NORMS, tmp_path / "right")
    assert verdict(verdicts, "(31)") == "confirmed"
    assert verdict(verdicts, "backward map") == "confirmed"

    def wrong(*arguments, **options):
        return matrix_network(*arguments, **options, variance=4.0)

    monkeypatch.setattr(tau, "matrix_network", wrong)
    verdicts = report(tau.Norms(), NORMS, tmp_path / "wrong")
    assert verdict(verdicts, "(31)") == "contradicted"


def test_regions_and_shared_layers(tmp_path, monkeypatch):
    verdicts = report(tau.Phases(), PHASES, tmp_path / "right")
    assert verdict(verdicts, "regions") == "confirmed"
    assert verdict(verdicts, "tied layers") == "confirmed"

    def tied(*arguments, **options):
        return matrix_network(*arguments, **(options | {"length": np.inf}))

    monkeypatch.setattr(tau, "matrix_network", tied)
    verdicts = report(tau.Phases(), PHASES, tmp_path / "wrong")
    assert verdict(verdicts, "regions") == "contradicted"
    assert verdict(verdicts, "independent layers") == "contradicted"


def test_steps_and_a_rate_without_its_factor(tmp_path, monkeypatch):
    changes = STEPS | {"schemes": ["ode", "slow"]}
    verdicts = report(tau_training.Iterations(), changes, tmp_path / "right")
    assert verdict(verdicts, "rate O(L)") == "confirmed"
    assert verdict(verdicts, "1/L, rate O(1)") == "confirmed"
    # The learning rate of tau ~ 1/L without its factor L.
    schemes = tau_training.SCHEMES
    wrong = (-1.0, (0.0,), schemes["ode"][2])
    monkeypatch.setitem(schemes, "ode", wrong)
    changes |= {"most_steps": 2000, "schemes": ["ode"], "seeds": 3}
    verdicts = report(tau_training.Iterations(), changes, tmp_path / "wrong")
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
