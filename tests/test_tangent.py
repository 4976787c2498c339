"""The tangent kernel of Eq. (27) against dissipation, differences and closed forms."""

import numpy as np
import pytest

from mfpde import (
    Clipping,
    DecayingQuadratic,
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    evaluate,
    predict,
)
from mfpde.blocks import Bias, Bilinear, Linear, Perceptron
from mfpde.readouts import Linear as LinearMap
from mfpde.theory.tangent import late_rate, tangent_kernel

GRIDS = [
    DepthGrid.euler(3),
    DepthGrid.layers(3, 0.4),
    DepthGrid.midpoint(2),
    DepthGrid.rk4(2),
    DepthGrid.gauss(3),
]


def ensemble_on(grid, k, rng, n_particles=5):
    theta = 0.4 * rng.normal(size=(grid.n_nodes, n_particles, k))
    return ParticleEnsemble(theta, rng.dirichlet(np.full(n_particles, 2.0)))


def general_problem(rng, block, n_samples=4, **options):
    """Both maps trained, a metric, unequal weights, a ridge that K must not see."""
    d = block.d
    return MeanFieldProblem(
        rng.normal(size=(n_samples, 2)),
        rng.normal(size=(n_samples, 3)),
        block,
        embedding=LinearMap(rng.normal(size=(d, 2)), trainable=True, rate=0.7),
        readout=LinearMap(rng.normal(size=(3, d)), trainable=True, rate=1.3),
        metric=rng.random(block.k),
        sample_weights=rng.dirichlet(np.full(n_samples, 2.0)),
        regulariser=DecayingQuadratic(0.3),
        **options,
    )


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("block", [Perceptron(2), Bilinear(2), Linear(2), Bias(2)])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_quadratic_form_of_the_covectors_is_the_dissipation(grid, block, loss, rng):
    """dE/ds = -(1/N) r^T K r, with weights, metric, trained maps and other losses."""
    problem = general_problem(rng, block)
    y = rng.choice([-1.0, 1.0], size=problem.y.shape)
    options = {name: getattr(problem, name) for name in ("embedding", "readout")}
    options |= {"metric": problem.metric, "sample_weights": problem.sample_weights}
    plain = MeanFieldProblem(problem.x, y, block, loss=loss, **options)
    ensemble = ensemble_on(grid, block.k, rng)
    ev = evaluate(plain, grid, ensemble)
    c = problem.sample_weights[:, np.newaxis]
    g = (np.sqrt(c) * plain.loss.gradients(ev.output, y)).ravel()
    kernel = tangent_kernel(problem, grid, ensemble)
    assert g @ kernel @ g == pytest.approx(ev.dissipation, rel=1e-12)
    np.testing.assert_array_equal(kernel, kernel.T)
    lowest, highest = np.linalg.eigvalsh(kernel)[[0, -1]]
    assert lowest >= -1e-13 * highest


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_residuals_move_by_the_kernel(grid, rng):
    """Eq. (27) against central differences of the outputs along the velocity."""
    block = Perceptron(2, "gelu")
    problem = MeanFieldProblem(
        rng.normal(size=(4, 2)),
        rng.normal(size=(4, 3)),
        block,
        readout=rng.normal(size=(3, 2)),
        metric=rng.random(block.k),
    )
    ensemble = ensemble_on(grid, block.k, rng)
    ev = evaluate(problem, grid, ensemble)
    step = 1e-5

    def outputs(sign):
        moved = ensemble.with_theta(ensemble.theta + sign * step * ev.velocity)
        return predict(problem, grid, moved, problem.x).ravel()

    measured = (outputs(1) - outputs(-1)) / (2 * step)
    residual = (ev.output - problem.y).ravel()
    by_kernel = -tangent_kernel(problem, grid, ensemble) @ residual
    # The differences are wrong by step^2 and by rounding over the step.
    np.testing.assert_allclose(by_kernel, measured, rtol=1e-7, atol=1e-9)


def test_late_rate_of_the_scalar_bilinear_flow():
    """T3: the late rate of E is 4 y^2 sqrt(sigma^4 + ln(y / x)^2)."""
    x, y, sigma = 1.3, 2.0, 0.7
    # At the minimum r = ln(y / x), a^2 = r^2 + sigma^4; two atoms with these moments.
    r = np.log(y / x)
    a = np.hypot(r, sigma**2)
    plus, minus = np.sqrt(a + r), np.sqrt(a - r)
    # u = v with E uv = (a + r) / 2, and u = -v with E uv = -(a - r) / 2: in sum r.
    theta = np.array([[[plus, plus], [minus, -minus]]])
    grid = DepthGrid.gauss(8)
    ensemble = ParticleEnsemble(np.repeat(theta, 8, axis=0))
    problem = MeanFieldProblem([x], [y], Bilinear(1))
    kernel = tangent_kernel(problem, grid, ensemble)
    exact = 4 * y**2 * np.sqrt(sigma**4 + r**2)
    assert late_rate(kernel) == pytest.approx(exact, rel=1e-12)


def test_a_clipping_does_not_change_the_kernel(rng):
    """It is that of the free flow; a clipped one dissipates less, unless bounds fit."""
    block, grid = Perceptron(2), DepthGrid.euler(3)
    x, y = rng.normal(size=(2, 3, 2))
    ensemble, free = ensemble_on(grid, block.k, rng), MeanFieldProblem(x, y, block)
    kernel = tangent_kernel(free, grid, ensemble)
    residual = (evaluate(free, grid, ensemble).output - y).ravel() / np.sqrt(3)
    expected = residual @ kernel @ residual
    for bound, share in ((1e-3, (0.0, 0.1)), (1e3, (1 - 1e-12, 1 + 1e-12))):
        clipped = free.with_changes(clipping=Clipping(bound))
        same = tangent_kernel(clipped, grid, ensemble)
        np.testing.assert_array_equal(same, kernel)
        dissipation = evaluate(clipped, grid, ensemble).dissipation
        assert share[0] < dissipation / expected < share[1]


def test_samples_of_weight_zero_and_single_precision(rng):
    grid, block = DepthGrid.euler(3), Perceptron(2)
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    ensemble = ensemble_on(grid, block.k, rng)
    weights = [0.5, 0.0, 0.5]
    kernel = tangent_kernel(
        MeanFieldProblem(x, y, block, sample_weights=weights), grid, ensemble
    )
    assert not kernel[2:4].any()
    assert not kernel[:, 2:4].any()
    fewer = MeanFieldProblem(x[[0, 2]], y[[0, 2]], block)
    kept = [0, 1, 4, 5]
    same = tangent_kernel(fewer, grid, ensemble)
    np.testing.assert_allclose(kernel[np.ix_(kept, kept)], same, rtol=1e-14)
    coarse = MeanFieldProblem(x[[0, 2]], y[[0, 2]], block, dtype="float32")
    np.testing.assert_allclose(
        tangent_kernel(coarse, grid, ensemble), same, rtol=1e-5, atol=1e-6
    )


def test_arguments_that_do_not_fit(rng):
    problem = MeanFieldProblem([1.0], [1.0], Bias(1))
    ensemble = ParticleEnsemble(np.ones((3, 1, 1)))
    with pytest.raises(ValueError, match="`theta` must have shape"):
        tangent_kernel(problem, DepthGrid.euler(2), ensemble)
    with pytest.raises(ValueError, match=r"`kernel` must have shape \(n, n\), got"):
        late_rate(np.ones((2, 3)))
