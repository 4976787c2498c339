"""The lazy limit: linearised blocks and the flow that large scales approach."""

import numpy as np
import pytest

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, laws
from mfpde.blocks import Bilinear, Perceptron
from mfpde.theory.lazy import (
    SECOND_DERIVATIVES,
    lazy_law,
    lazy_order,
    lazy_problem,
    linearised,
    linearised_block,
)

X = np.array([[-1.2, 0.3], [0.5, -0.8], [0.9, 1.1]])
Y = X + np.array([[0.8, -0.3], [0.2, 0.6], [-0.5, 0.4]])


@pytest.mark.parametrize("activation", SECOND_DERIVATIVES)
def test_block_is_the_derivative_in_the_parameters(activation, rng):
    """Against central differences of the perceptron."""
    block = Perceptron(2, activation)
    theta, delta = rng.normal(size=(2, 1, 3, block.k))
    lazy = MeanFieldProblem(X, Y, linearised_block(block))
    grid, step = DepthGrid.euler(1), 1e-5
    plain = MeanFieldProblem(X, Y, block)
    ends = [
        mfpde.evaluation.field(
            plain, grid, ParticleEnsemble(theta + sign * step * delta), X
        )
        for sign in (1, -1)
    ]
    both = ParticleEnsemble(np.concatenate([theta, delta], axis=2))
    found = mfpde.evaluation.field(lazy, grid, both, X)
    # Third derivatives times step^2, and rounding / step.
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("activation", SECOND_DERIVATIVES)
def test_adjoint_of_the_linearised_block(activation, rng):
    """Duality T0: the velocity against central differences of the loss."""
    lazy = MeanFieldProblem(X, Y, linearised_block(Perceptron(2, activation)))
    grid = DepthGrid.euler(3)
    theta, along = 0.7 * rng.normal(size=(2, 3, 2, lazy.k))
    velocity = mfpde.evaluate(lazy, grid, ParticleEnsemble(theta)).velocity
    step = 1e-5
    up, down = (
        mfpde.evaluate(lazy, grid, ParticleEnsemble(theta + sign * step * along)).loss
        for sign in (1, -1)
    )
    expected = -np.sum(velocity * along) / theta[..., 0].size
    assert (up - down) / (2 * step) == pytest.approx(expected, rel=1e-7)


def test_large_scales_approach_the_lazy_flow():
    """Symmetric v: error A / alpha^2, by an ensemble without a field at the start."""
    half = laws.Gaussian(0.0, 0.6, 5).sample(DepthGrid.gauss(4), 16, seed=3)
    mirrored = half.theta * np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    start = ParticleEnsemble(np.concatenate([half.theta, mirrored], axis=1))
    grid, errors = DepthGrid.gauss(4), []
    problem = MeanFieldProblem(X, Y, Perceptron(2, "gelu"))
    options = {"s_end": 0.5, "rtol": 1e-9, "atol": 1e-12}
    limit, lazy_start = linearised(problem, start)
    lazy = mfpde.solve(limit, grid, lazy_start, **options)
    for alpha in (4.0, 8.0, 16.0, 32.0):
        run = mfpde.solve(lazy_problem(problem, alpha), grid, start, **options)
        errors.append(abs(run.loss[-1] - lazy.loss[-1]))
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(orders, 2.0, atol=0.1)
    assert errors[-1] < 1e-3 * lazy.loss[0]


@pytest.mark.parametrize(
    ("activation", "share", "order"),
    [("gelu", 0.2, 1), ("softplus", 0.2, 1), ("tanh", 0.2, 2), ("gelu", 0.5, 2)],
)
def test_order_of_the_lazy_limit(activation, share, order):
    assert lazy_order(activation, share) == order
    law, grid = lazy_law(2, share=share, size=1.5, spread=0.5), DepthGrid.gauss(2)
    start = law.sample(grid, 64, method="quadrature")
    problem = MeanFieldProblem(X, Y, Perceptron(2, activation))
    ends = []
    for limit, first in (
        linearised(problem, start),
        *((lazy_problem(problem, alpha), start) for alpha in (32.0, 64.0)),
    ):
        run = mfpde.solve(limit, grid, first, s_end=0.5, rtol=1e-7, atol=1e-10)
        final = ParticleEnsemble(run.theta[-1], start.weights)
        ends.append(mfpde.evaluate(limit, grid, final).output)
    errors = [np.abs(end - ends[0]).max() for end in ends[1:]]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_lazy_law_has_no_field_and_unit_variance(share):
    law = lazy_law(2, share=share, size=1.5, spread=0.5)
    grid = DepthGrid.euler(1)
    start = law.sample(grid, 2000, method="quadrature")
    problem = MeanFieldProblem(X, Y, Perceptron(2, "gelu"))
    np.testing.assert_allclose(
        mfpde.evaluation.field(problem, grid, start, X), 0.0, atol=1e-13
    )
    v = start.theta[0, :, 2]
    moments = [start.weights @ v**n for n in (1, 2, 3)]
    third = 1.5**3 * (1 - 2 * share) / np.sqrt(share * (1 - share))
    np.testing.assert_allclose(moments, [0.0, 1.5**2, third], atol=1e-12)
    with pytest.raises(ValueError, match=r"`share` must lie in \(0, 1\)"):
        lazy_law(2, share=1.0, size=1.0, spread=1.0)


def test_wrong_blocks_are_named():
    with pytest.raises(TypeError, match="`block` must be a Perceptron, got Bilinear"):
        linearised_block(Bilinear(2))
    for options in ({"bias": False}, {"scale": 2.0}):
        with pytest.raises(ValueError, match=r"bias and scale 1.*Take Perceptron\(2, "):
            linearised_block(Perceptron(2, **options))
    with pytest.raises(ValueError, match="`block` must have an activation of tanh"):
        linearised_block(Perceptron(2, "relu"))
    with pytest.raises(ValueError, match=r"`activation` must be one of tanh.*'gelu'\?"):
        lazy_order("gelo", 0.5)


def test_problems_with_another_lazy_limit_are_refused():
    plain = MeanFieldProblem(X, Y, Perceptron(2))
    start = ParticleEnsemble(np.zeros((1, 1, 5)))
    wrong = {
        "must have a Perceptron block": plain.with_changes(
            block=Bilinear(2), metric=None
        ),
        "must have no clipping": plain.with_changes(clipping=mfpde.Clipping(0.1)),
        "must have no regulariser": plain.with_changes(
            regulariser=mfpde.DecayingQuadratic(0.1)
        ),
    }
    for message, problem in wrong.items():
        with pytest.raises(ValueError, match=message):
            lazy_problem(problem, 2.0)
        with pytest.raises(ValueError, match=message):
            linearised(problem, start)
