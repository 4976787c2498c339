"""T0: the velocity is the exact gradient of the discrete objective, Eq. (25)."""

import numpy as np
import pytest
from exact import FEATURES, fourth_order_difference

import mfpde
from mfpde import DecayingQuadratic, DepthGrid, MeanFieldProblem, ParticleEnsemble
from mfpde.blocks import Perceptron

GRIDS = [
    DepthGrid.euler(3),
    DepthGrid.midpoint(2),
    DepthGrid.rk4(2),
    DepthGrid.gauss(3, 2),
]
# Blocks that `test_evaluation` does not compare with a twin of every number.
BLOCKS = {
    "wide": Perceptron(6, scale=1.7),  # larger d: dot products in tiles
    "gelu": Perceptron(2, "gelu"),
    "relu": Perceptron(2, "relu"),
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


def test_a_particle_of_vanishing_weight_is_not_divided_by_its_weight(rng):
    """Its velocity is that of Eq. (7), -mean p . d_theta f, whatever w_m is."""
    grid = DepthGrid.euler(4)
    problem = make_problem(rng, Perceptron(2), "squared")
    theta = 0.7 * rng.normal(size=(4, 3, 5))
    velocity = []
    for tiny in (1e-16, 1e-300):
        ensemble = ParticleEnsemble(theta, [0.6, 0.4, tiny])
        velocity.append(mfpde.evaluate(problem, grid, ensemble).velocity[:, 2])
    # The states differ by the mass 1e-16 of the particle.
    assert np.abs(velocity[0] - velocity[1]).max() < 1e-14
    assert np.abs(velocity[1]).max() > 1e-3
