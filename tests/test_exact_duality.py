"""T0: the velocity is the exact gradient of the discrete objective, Eq. (25)."""

import numpy as np
import pytest
from exact import FEATURES, fourth_order_difference

import mfpde
from mfpde import DecayingQuadratic, DepthGrid, MeanFieldProblem, ParticleEnsemble
from mfpde.blocks import Bias, Bilinear, Linear, Perceptron

GRIDS = [
    DepthGrid.euler(3),
    DepthGrid.midpoint(2),
    DepthGrid.rk4(2),
    DepthGrid.gauss(3, 2),
]
BLOCKS = {
    "tanh": Perceptron(2),
    "wide": Perceptron(5, scale=1.7),  # larger d: dot products in tiles
    "gelu": Perceptron(2, "gelu"),
    "relu": Perceptron(2, "relu"),
    "bilinear": Bilinear(2),
    "linear": Linear(2),
    "bias": Bias(2),
    "custom": FEATURES,
}
LOSSES = ("squared", "logistic", "cross_entropy")
# Truncation step^4 = 1e-12, rounding 1e-16 / step = 1e-13, both times constants of
# the loss; a wrong factor or index shows in the first digit.
RELATIVE = 1e-9


def make_problem(rng, block, loss, **options):
    """Problem with unequal sample weights, N = 5, q = 2."""
    x = rng.normal(size=(5, 2))
    y = {
        "squared": rng.normal(size=(5, 2)),
        "logistic": rng.choice([-1.0, 1.0], size=(5, 2)),
        "cross_entropy": np.eye(2)[rng.integers(2, size=5)],
    }[loss]
    weights = rng.dirichlet(np.full(5, 3.0))
    return MeanFieldProblem(x, y, block, loss=loss, sample_weights=weights, **options)


def make_ensemble(rng, grid, block, n_particles=3):
    theta = 0.7 * rng.normal(size=(grid.n_nodes, n_particles, block.k))
    if getattr(block, "activation", "") == "relu":
        # Differences must not cross the kink: particles that are on, off, on.
        theta[:, :, :2] *= 0.5
        theta[:, :, 4] = 3.0 * (-1.0) ** np.arange(n_particles)
    return ParticleEnsemble(theta, rng.dirichlet(np.full(n_particles, 2.0)))


def directional(problem, grid, ensemble, direction, s=0.0):
    """Derivative of the objective along theta + e direction, by differences."""

    def objective(e):
        moved = ensemble.with_theta(ensemble.theta + e * direction)
        return mfpde.evaluate(problem, grid, moved, s).objective

    return fourth_order_difference(objective)


def predicted(evaluation, direction):
    """-sum_k sum_m omega_k w_m v_km . delta_km, the metric taken out."""
    gradient = -evaluation.velocity / evaluation.problem.metric
    return np.einsum(
        "j,m,jmk,jmk",
        evaluation.grid.weights,
        evaluation.ensemble.weights,
        gradient,
        direction,
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("name", BLOCKS)
def test_duality_for_every_block_grid_and_loss(rng, name, grid, loss):
    """With metric, ridge at s > 0, embedding, readout and unequal weights."""
    block = BLOCKS[name]
    problem = make_problem(
        rng,
        block,
        loss,
        embedding=np.eye(block.d, 2) + 0.3 * rng.normal(size=(block.d, 2)),
        readout=np.eye(2, block.d) + 0.3 * rng.normal(size=(2, block.d)),
        metric=rng.uniform(0.5, 2.0, size=block.k),
        regulariser=DecayingQuadratic(0.3, 0.8),
    )
    ensemble = make_ensemble(rng, grid, block)
    evaluation = mfpde.evaluate(problem, grid, ensemble, s=0.7)
    for _ in range(2):
        direction = rng.normal(size=ensemble.theta.shape)
        exact = directional(problem, grid, ensemble, direction, s=0.7)
        size = np.sqrt(np.sum(direction**2) / direction.size)
        scale = max(abs(exact), evaluation.gradient_norm * size)
        assert abs(predicted(evaluation, direction) - exact) < RELATIVE * scale


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_every_component_of_the_gradient(rng, grid):
    """No error can hide in a sum: one parameter at a time, plain problem."""
    problem = make_problem(rng, BLOCKS["tanh"], "squared")
    ensemble = make_ensemble(rng, grid, problem.block)
    evaluation = mfpde.evaluate(problem, grid, ensemble)
    exact = np.empty_like(ensemble.theta)
    for index in np.ndindex(exact.shape):
        direction = np.zeros_like(exact)
        direction[index] = 1.0
        exact[index] = directional(problem, grid, ensemble, direction)
    masses = grid.weights[:, np.newaxis] * ensemble.weights
    scale = np.abs(exact).max()
    difference = -evaluation.velocity * masses[:, :, np.newaxis] - exact
    assert np.abs(difference).max() < RELATIVE * scale
    dissipation = np.sum(exact**2 / masses[:, :, np.newaxis])
    # Divided by masses of 0.01 and more.
    assert evaluation.dissipation == pytest.approx(dissipation, rel=100 * RELATIVE)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_trained_maps_move_along_their_gradient(rng, grid):
    maps = {
        "embedding": np.array([[0.9, 0.2], [-0.3, 1.1]]),
        "readout": np.array([[1.2, -0.4], [0.1, 0.8]]),
    }
    rates = {"embedding": 0.7, "readout": 1.6}
    problem = make_problem(
        rng,
        BLOCKS["tanh"],
        "cross_entropy",
        **{n: mfpde.readouts.Linear(maps[n], True, rates[n]) for n in maps},
    )
    ensemble = make_ensemble(rng, grid, problem.block)
    evaluation = mfpde.evaluate(problem, grid, ensemble)
    for name, matrix in maps.items():
        for index in np.ndindex(2, 2):
            unit = np.zeros((2, 2))
            unit[index] = 1.0

            def loss(e, name=name, matrix=matrix, unit=unit):
                moved = problem.with_parameters(**{name: matrix + e * unit})
                return mfpde.evaluate(moved, grid, ensemble).loss

            exact = -rates[name] * fourth_order_difference(loss)
            velocity = evaluation.map_velocities[name]
            assert abs(velocity[index] - exact) < RELATIVE * np.abs(velocity).max()
    squares = sum(np.sum(v**2) / rates[n] for n, v in evaluation.map_velocities.items())
    theta_part = np.einsum(
        "j,m,jmk->", grid.weights, ensemble.weights, evaluation.velocity**2
    )
    # Sums of a few dozen terms: rounding.
    assert evaluation.dissipation == pytest.approx(squares + theta_part, rel=1e-13)


def test_taylor_remainder_is_of_second_order(rng):
    grid = DepthGrid.rk4(2)
    problem = make_problem(rng, BLOCKS["tanh"], "squared")
    ensemble = make_ensemble(rng, grid, problem.block)
    direction = rng.normal(size=ensemble.theta.shape)
    start = mfpde.evaluate(problem, grid, ensemble)
    steps = 2.0 ** -np.arange(4, 11)
    remainders = []
    for e in steps:
        moved = ensemble.with_theta(ensemble.theta + e * direction)
        change = mfpde.evaluate(problem, grid, moved).loss - start.loss
        remainders.append(abs(change - e * predicted(start, direction)))
    observed = np.polyfit(np.log(steps), np.log(remainders), 1)[0]
    assert abs(observed - 2.0) < 0.1
    assert remainders[-1] < 2.0 * remainders[0] / 64**2


def test_a_particle_of_vanishing_weight_is_not_divided_by_its_weight(rng):
    """Its velocity is that of Eq. (7), -mean p . d_theta f, whatever w_m is."""
    grid = DepthGrid.euler(4)
    problem = make_problem(rng, BLOCKS["tanh"], "squared")
    theta = 0.7 * rng.normal(size=(4, 3, 5))
    velocity = []
    for tiny in (1e-16, 1e-300):
        ensemble = ParticleEnsemble(theta, [0.6, 0.4, tiny])
        velocity.append(mfpde.evaluate(problem, grid, ensemble).velocity[:, 2])
    # The states differ by the mass 1e-16 of the particle.
    assert np.abs(velocity[0] - velocity[1]).max() < 1e-14
    assert np.abs(velocity[1]).max() > 1e-3


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_metric_multiplies_and_zero_freezes(rng, grid):
    block = BLOCKS["tanh"]
    plain = make_problem(rng, block, "squared")
    metric = np.array([0.0, 2.0, 0.5, 0.0, 3.0])
    other = MeanFieldProblem(
        plain.x, plain.y, block, metric=metric, sample_weights=plain.sample_weights
    )
    ensemble = make_ensemble(rng, grid, block)
    first = mfpde.evaluate(plain, grid, ensemble)
    second = mfpde.evaluate(other, grid, ensemble)
    # The same arithmetic but for one product: a rounding each.
    np.testing.assert_allclose(second.velocity, metric * first.velocity, rtol=1e-15)
    expected = np.einsum(
        "j,m,c,jmc->", grid.weights, ensemble.weights, metric, first.velocity**2
    )
    assert second.dissipation == pytest.approx(expected, rel=1e-13)
    assert second.gradient_norm == pytest.approx(np.sqrt(first.dissipation), rel=1e-13)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_ridge_pulls_to_zero_with_factor_two(rng, grid, sign):
    """The term -2 lambda(s) theta of Eq. (13) alone: E is at its minimum."""
    problem = MeanFieldProblem(
        [[0.4, -0.2]],
        [[0.4 + sign, -0.2]],
        Bias(2),
        regulariser=DecayingQuadratic(0.6, 1.5),
    )
    theta = np.zeros((grid.n_nodes, 2, 2))
    theta[:, :, 0] = sign
    theta[:, 0, 1], theta[:, 1, 1] = 0.5, -0.5
    evaluation = mfpde.evaluate(problem, grid, ParticleEnsemble(theta), s=0.9)
    strength = 0.6 * np.exp(-1.5 * 0.9)
    # The residual is the rounding of z(1), 1e-16 a few times.
    np.testing.assert_allclose(evaluation.velocity, -2.0 * strength * theta, atol=1e-15)
    assert evaluation.objective == pytest.approx(strength * 1.25, rel=1e-14)
    # Ledger rate, Eq. (14): -D_s + lambda' M2.
    rate = -(4.0 * strength**2) * 1.25 - 1.5 * strength * 1.25
    assert evaluation.ledger_rate == pytest.approx(rate, rel=1e-13)
