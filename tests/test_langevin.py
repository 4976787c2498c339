"""Noise: moments, order, stationary laws, seeds, entropy and free energy."""

import math

import numpy as np
import pytest
from scipy.stats import kstest, norm

import mfpde
from mfpde import (
    DecayingQuadratic,
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    evaluate,
    open_run,
    resume,
    solve,
)
from mfpde.blocks import Bias, Bilinear, Perceptron
from mfpde.plotting import ledger
from mfpde.readouts import Linear as LinearMap
from mfpde.recording import Every, Steps
from mfpde.report.summary import account
from mfpde.steppers import Langevin
from mfpde.theory.entropy import FreeEnergy, entropy

NODE = DepthGrid.euler(1)


def bias_problem(ridge, **options):
    """T20: f = theta, d = 1, x = 0.4, y = 1.5."""
    return MeanFieldProblem(
        [0.4], [1.5], Bias(1), regulariser=DecayingQuadratic(ridge), **options
    )


def particles(n, d=1, value=0.0):
    return ParticleEnsemble(np.full((1, n, d), value))


# ---- Ornstein-Uhlenbeck: T20 with noise


def exact_variance(s, ridge, temperature):
    """T20 from a point mass."""
    return temperature / (2 * ridge) * (1 - np.exp(-4 * ridge * s))


def test_moments_of_the_discrete_process():
    """Mean and variance after n steps of Euler-Maruyama, by their recursions."""
    ridge, temperature, h, n = 0.3, 0.7, 0.1, 20_000
    solution = solve(
        bias_problem(ridge), NODE, particles(n, value=-0.3), s_end=1.0,
        stepper=Langevin(temperature, h, seed=5),
    )  # fmt: skip
    mean, variance = -0.3, 0.0
    for _ in range(10):
        mean += -h * (mean + 0.4 - 1.5 + 2 * ridge * mean)
        variance = (1 - 2 * ridge * h) ** 2 * variance + 2 * temperature * h
    theta = solution.ensemble.theta.ravel()
    assert solution.n_steps == 10
    assert abs(theta.mean() - mean) < 4 * math.sqrt(variance / n)
    assert abs(theta.var() / variance - 1) < 4 * math.sqrt(2 / n)
    # The fluctuation of the mean itself, 1 / M, is far below that of the variance.
    assert abs(variance / exact_variance(1.0, ridge, temperature) - 1) < 0.1


def test_weak_order():
    """Error of the variance at s = 1.6, from 400,000 independent particles."""
    ridge, temperature, n = 0.5, 1.0, 400_000
    exact = exact_variance(1.6, ridge, temperature)
    steps = np.array([0.4, 0.2, 0.1, 0.05])
    errors = []
    for seed, h in enumerate(steps):
        stepper = Langevin(temperature, float(h), seed=seed)
        end = solve(bias_problem(ridge), NODE, particles(n), s_end=1.6, stepper=stepper)
        errors.append(end.ensemble.theta.var() - exact)
    order = np.polyfit(np.log(steps), np.log(np.abs(errors)), 1)[0]
    # The sampling error, 0.2 %, is a tenth of the last error.
    assert order == pytest.approx(1, abs=0.15)
    assert abs(errors[-1]) < 0.05 * exact


def test_metric_frozen_parameters_and_maps():
    """Variance 2 nu eta s without ridge; none where eta = 0, nor in maps."""
    problem = MeanFieldProblem(
        np.zeros((1, 3)),
        np.zeros((1, 1)),
        Bias(3),
        readout=LinearMap(np.zeros((1, 3)), trainable=True),
        metric=[1.0, 0.25, 0.0],
    )
    ensemble = particles(20_000, 3)
    solution = solve(problem, NODE, ensemble, s_end=0.5, stepper=Langevin(0.4, 0.05))
    theta = solution.ensemble.theta[0]
    np.testing.assert_array_equal(theta[:, 2], 0.0)
    expected = 2 * 0.4 * 0.5 * np.array([1.0, 0.25])
    np.testing.assert_allclose(theta[:, :2].var(axis=0), expected, rtol=0.04)
    assert abs(np.corrcoef(theta[:, :2].T)[0, 1]) < 0.03
    np.testing.assert_array_equal(solution.problem.readout.matrix, 0.0)


def test_the_metric_leaves_the_stationary_law(rng):
    """Two mobilities, one variance nu / (2 lambda)."""
    problem = MeanFieldProblem(
        np.zeros((1, 2)), np.zeros((1, 2)), Bias(2),
        regulariser=DecayingQuadratic(0.5), metric=[1.0, 3.0],
    )  # fmt: skip
    end = solve(
        problem, NODE, particles(20_000, 2), s_end=6.0, stepper=Langevin(0.2, 0.01)
    )
    # Bias of the scheme: lambda eta ds = 0.5 % and 1.5 %; sampling 1 %.
    np.testing.assert_allclose(end.ensemble.theta[0].var(axis=0), 0.2, rtol=0.05)


def test_stationary_law_of_gibbs():
    """Eq. (17) where it is not Gaussian: f = tanh(u z), u alone moves."""
    ridge, temperature, n = 0.3, 0.2, 20_000
    problem = MeanFieldProblem(
        [2.0], [4.5], Perceptron(1, bias=False),
        regulariser=DecayingQuadratic(ridge), metric=[1.0, 0.0],
    )  # fmt: skip
    start = ParticleEnsemble(np.tile([0.0, 1.0], (1, n, 1)))
    end = solve(problem, NODE, start, s_end=12.0, stepper=Langevin(temperature, 0.02))
    final = evaluate(end.problem, NODE, end.ensemble)
    p = final.p[-1, 0, 0]
    u = np.linspace(-8, 10, 4001)
    density = np.exp(-(p * np.tanh(2.0 * u) + ridge * u**2) / temperature)
    law = np.cumsum(density) / density.sum()
    found = end.ensemble.theta[0, :, 0]
    distance = kstest(found, lambda q: np.interp(q, u, law)).statistic
    # 1.6 / sqrt(n) and the bias of the scheme, of order ridge ds.
    assert distance < 0.015
    gaussian = norm(found.mean(), found.std()).cdf
    assert kstest(found, gaussian).statistic > 0.03


def test_bilinear_moments_with_ridge_and_noise():
    """T13: Sigma_l <- T Sigma_l T^T + 2 nu ds I, exactly for infinitely many."""
    x = np.array([[1.0, 0], [0, 1], [1, 1]])
    y = np.array([[0, 1.0], [-1, 0], [0.5, -0.5]])
    n_layers, copies, nu, h, ridge = 4, 400, 0.05, 0.05, 0.05
    problem = MeanFieldProblem(x, y, Bilinear(2), regulariser=DecayingQuadratic(ridge))
    atoms = 2 * np.concatenate([np.eye(4), -np.eye(4)])
    start = np.tile(np.repeat(atoms, copies, axis=0), (n_layers, 1, 1))
    solution = solve(
        problem, DepthGrid.euler(n_layers), ParticleEnsemble(start),
        s_end=1.0, stepper=Langevin(nu, h, seed=2),
    )  # fmt: skip
    sigma = np.tile(np.eye(4), (n_layers, 1, 1))
    for step in range(21):
        z = [x]
        for each in sigma:
            z.append(z[-1] + z[-1] @ each[2:, :2].T / n_layers)
        loss = 0.5 * np.mean(np.sum((z[-1] - y) ** 2, axis=1))
        if step == 20:
            break
        p = z[-1] - y
        for layer in reversed(range(n_layers)):
            q = p.T @ z[layer] / 3
            b = np.block([[np.zeros((2, 2)), -q.T], [-q, np.zeros((2, 2))]])
            t = np.eye(4) + h * (b - 2 * ridge * np.eye(4))
            p = p + p @ sigma[layer][2:, :2] / n_layers
            sigma[layer] = t @ sigma[layer] @ t.T + 2 * nu * h * np.eye(4)
    # Fluctuations are of order M^(-1/2) = 2 % of the noise's own part, nu s.
    assert solution.loss[-1] == pytest.approx(loss, abs=2e-3)
    without = solve(
        problem, DepthGrid.euler(n_layers), ParticleEnsemble(start),
        s_end=1.0, stepper="euler", ds=h,
    )  # fmt: skip
    assert abs(without.loss[-1] - loss) > 5e-3


# ---- seeds and restarts


def noise_of(seed, s_end=0.2, temperature=0.5, **options):
    problem, start = bias_problem(0.1), particles(50)
    stepper = Langevin(temperature, 0.1, seed=seed)
    return solve(problem, NODE, start, s_end=s_end, stepper=stepper, **options)


def test_noise_is_a_function_of_the_seed():
    first, same, other = (noise_of(seed).ensemble.theta for seed in (3, 3, 4))
    assert first.tobytes() == same.tobytes()
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.5


def test_steps_have_noise_of_their_own():
    states = list(
        mfpde.iterate(
            MeanFieldProblem([0.0], [0.0], Bias(1), metric=[1.0]), NODE,
            particles(4000), s_end=0.2, stepper=Langevin(0.5, 0.1),
        )
    )  # fmt: skip
    one, two = np.diff([s.y[:-1] for s in states], axis=0)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.06


def test_no_temperature_is_explicit_euler():
    theta = noise_of(1, temperature=0.0).ensemble.theta
    euler = solve(
        bias_problem(0.1), NODE, particles(50), s_end=0.2, stepper="euler", ds=0.1
    )
    assert theta.tobytes() == euler.ensemble.theta.tobytes()


def test_a_resumed_run_needs_no_stepper(tmp_path):
    path = tmp_path / "a.h5"
    noise_of(7, output=path, record=Steps(1))
    extended = resume(path, s_end=0.5)
    assert (
        extended.ensemble.theta.tobytes() == noise_of(7, 0.5).ensemble.theta.tobytes()
    )
    with open_run(path) as run:
        stepper = run.description["flow"]["stepper"]
    names = ("kind", "temperature", "ds", "seed")
    assert [stepper[name] for name in names] == ["langevin", 0.5, 0.1, 7]
    # It knows what it was started with, noise included.
    assert extended.initial.method.stepper.temperature == 0.5
    assert extended.initial.method.ds is None
    assert np.isnan(mfpde.estimate_error(extended).parts["output"]["time"])


# ---- what becomes of the ledger


def test_there_is_no_ledger(tmp_path):
    path = tmp_path / "a.h5"
    solution = noise_of(7, output=path, record=Steps(1))
    assert np.isnan(solution.scalars["energy_residual"]).all()
    with open_run(path) as run:
        text = " ".join(account(run).split())
        ax = ledger(run)
    assert "langevin (temperature = 0.5, ds = 0.1, seed = 7), from s = 0" in text
    assert "with noise the dissipation does not account for it" in text
    assert "nan" not in text.lower()
    assert [line.get_label() for line in ax.get_lines()] == [
        "decrease of the objective"
    ]


# ---- entropy and free energy


@pytest.mark.parametrize("k", [1, 2, 4])
def test_entropy_of_a_gaussian(k, rng):
    n, scale = 20_000, 0.3
    exact = 0.5 * k * np.log(2 * np.pi * np.e * scale**2)
    # Fluctuation of mean ln rho, (k / 2n)^(1/2), and of the distances; bias for k = 4.
    error = entropy(scale * rng.normal(size=(n, k))) - exact
    assert abs(error) < 4 * math.sqrt(k / n) + (0.02 if k == 4 else 0)


def test_entropy_of_a_cube(rng):
    assert entropy(rng.uniform(0, 2, size=(20_000, 2))) == pytest.approx(
        2 * np.log(2), abs=0.03
    )


def test_entropy_of_a_point_mass():
    assert entropy(np.zeros((10, 2))) == -math.inf


@pytest.mark.parametrize(
    ("theta", "n_neighbours", "message"),
    [
        (np.zeros(5), 1, r"`theta` must have shape \(M, k\) .* got shape \(5,\)"),
        (np.zeros((3, 1)), 3, "`n_neighbours` must be below .*3, got 3"),
        (np.zeros((3, 1)), 1.5, "`n_neighbours` must be an integer"),
        (np.zeros((3, 1)), 0, "`n_neighbours` must be at least 1"),
    ],
)
def test_wrong_entropy(theta, n_neighbours, message):
    with pytest.raises((ValueError, TypeError), match=message):
        entropy(theta, n_neighbours)


def test_free_energy_falls_to_that_of_gibbs(rng):
    """T20: minimal at mean (y - x) / (1 + 2 lambda), variance nu / (2 lambda)."""
    ridge, nu, n = 0.5, 0.2, 10_000
    start = ParticleEnsemble(-1.0 + 0.05 * rng.normal(size=(1, n, 1)))
    solution = solve(
        bias_problem(ridge), NODE, start, s_end=4.0, stepper=Langevin(nu, 0.02),
        record=Every(0.25), observers={"free_energy": FreeEnergy(nu)},
    )  # fmt: skip
    values = solution.scalars["free_energy"]
    mean, variance = 1.1 / (1 + 2 * ridge), nu / (2 * ridge)
    exact = (
        0.5 * (mean - 1.1) ** 2
        + ridge * (mean**2 + variance)
        - nu * 0.5 * np.log(2 * np.pi * np.e * variance)
    )
    # Entropy to 4 standard errors, and lambda ds = 1 % of the variance.
    assert values[-1] == pytest.approx(exact, abs=0.02)
    # Once at rest only the fluctuation of the estimate is left.
    assert (np.diff(values) < 0.01).all()
    assert values[0] > exact + 1


def test_free_energy_with_frozen_parameters_and_weights(rng):
    theta = np.concatenate([rng.normal(size=(1, 500, 1)), np.ones((1, 500, 1))], axis=2)
    problem = MeanFieldProblem(
        np.zeros((1, 2)), np.zeros((1, 2)), Bias(2), metric=[1.0, 0.0]
    )
    found = evaluate(problem, NODE, ParticleEnsemble(theta))
    expected = found.objective - 0.3 * entropy(theta[0, :, :1])
    assert FreeEnergy(0.3)(found) == pytest.approx(expected, rel=1e-12)
    weights = rng.dirichlet(np.ones(500))
    unequal = evaluate(problem, NODE, ParticleEnsemble(theta, weights))
    with pytest.raises(ValueError, match="`weights` must be equal"):
        FreeEnergy(0.3)(unequal)


# ---- wrong arguments


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((-0.1, 0.1), {}, ValueError, "`temperature` must be .* at least 0, got -0.1"),
        ((np.nan, 0.1), {}, ValueError, "`temperature` must be finite"),
        ((np.inf, 0.1), {}, ValueError, "`temperature` must be finite"),
        (("1", 0.1), {}, TypeError, "`temperature` must be a number, got '1'"),
        ((0.1, 0.0), {}, ValueError, "`ds` must be positive"),
        ((0.1, None), {}, TypeError, "`ds` must be a number"),
        ((0.1, 0.1), {"seed": -1}, ValueError, "`seed` must be at least 0"),
        ((0.1, 0.1), {"seed": 1.5}, TypeError, "`seed` must be an integer"),
        ((0.1, 0.1), {"seed": True}, TypeError, "`seed` must be an integer"),
    ],
)
def test_wrong_langevin(arguments, options, error, message):
    with pytest.raises(error, match=message):
        Langevin(*arguments, **options)


def test_wrong_use():
    case = (bias_problem(0.1), NODE, particles(3))
    with pytest.raises(
        ValueError, match=r"mfpde\.steppers\.Langevin\(temperature, ds\)"
    ):
        solve(*case, s_end=1.0, stepper="langevin")
    with pytest.raises(ValueError, match="`ds` must be None with a stepper that is"):
        solve(*case, s_end=1.0, stepper=Langevin(0.1, 0.1), ds=0.1)
    with pytest.raises(TypeError, match="`stepper` must be a name or an object"):
        solve(*case, s_end=1.0, stepper=Langevin)
    with pytest.raises(ValueError, match="`steady_state` must be None with noise"):
        solve(*case, s_end=1.0, stepper=Langevin(0.1, 0.1), steady_state=1e-3)
