"""The two-layer network on the particles of a residual one, and ways down at rest."""

import numpy as np
import pytest

from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate, field
from mfpde.analysis import fit_power
from mfpde.blocks import Linear, Perceptron
from mfpde.evaluation import first_variation, first_variation_gradient
from mfpde.landscape import descent_slopes, escape, perturbed
from mfpde.shallow import compare_flows, scaled, shallow, shallow_gap


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 7, 2))
    problem = MeanFieldProblem(x, y, Perceptron(2))
    theta = np.repeat(rng.normal(size=(1, 6, 5)), 3, axis=0)
    return problem, DepthGrid.gauss(3), ParticleEnsemble(theta)


def test_the_shallow_network_is_shallow(setting):
    """T4: x + int int f(x, theta), on every grid."""
    problem, grid, ensemble = setting
    found = shallow(problem, ensemble)
    fields = field(problem, grid, ensemble, problem.x)
    expected = problem.x + np.einsum("j,jid->id", grid.weights, fields)
    end = evaluate(found.problem, grid, found.ensemble)
    np.testing.assert_allclose(end.z_end[:, 2:], expected, rtol=1e-13)
    np.testing.assert_array_equal(end.z_end[:, :2], problem.x)
    # Its velocity is that of v and u where the residual network has them.
    v = end.velocity[..., [0, 1, 6, 7, 8]]
    p = problem.loss.gradients(expected, problem.y)
    z = np.broadcast_to(problem.x, (3, 7, 2))
    p = np.broadcast_to(p, (3, 7, 2))
    expected = -first_variation_gradient(problem, ensemble.theta, z, p)
    np.testing.assert_allclose(v, expected, rtol=1e-12, atol=1e-14)
    assert not end.velocity[..., [2, 3, 4, 5]].any()


def test_the_gap_of_small_blocks(setting):
    """T8: gap / eps^2 -> |dF F| / 2 for an autonomous field, never above (21)."""
    problem, grid, ensemble = setting
    eps = np.array([0.2, 0.1, 0.05, 0.025])
    ratios = []
    for factor in eps:
        found = shallow_gap(scaled(problem, factor), grid, ensemble)
        assert (found.gap <= found.bound).all()
        ratios.append(found.gap / found.limit)
    assert np.abs(ratios[-1] - 1).max() < 0.03
    errors = np.abs(np.array(ratios) - 1).max(axis=1)
    assert fit_power(1 / eps, errors).exponent == pytest.approx(1.0, abs=0.1)


def test_the_gap_of_the_flows(setting):
    problem, _, ensemble = setting
    grid, eps = DepthGrid.euler(3), [0.1, 0.05, 0.025, 0.0125]
    gaps = [
        compare_flows(scaled(problem, e), grid, ensemble, np.array([0, 0.5 / e]))
        for e in eps
    ]
    for i in range(2):
        values = [each.flow_gap[i] for each in gaps]
        fit = fit_power(1 / np.array(eps), values)
        assert fit.exponent == pytest.approx(2.0, abs=0.1)
    assert gaps[0].flow_gap[0] == pytest.approx(
        np.sqrt(np.mean(gaps[0].measures[0].gap ** 2)), rel=1e-10
    )


def test_blocks_without_a_lift_are_refused(setting):
    problem, grid, ensemble = setting
    linear = MeanFieldProblem(problem.x, problem.y, Linear(2))
    with pytest.raises(ValueError, match="must have a Perceptron block"):
        shallow(linear, ensemble)
    with pytest.raises(ValueError, match="must have a Perceptron block"):
        scaled(linear, 0.1)
    gelu = MeanFieldProblem(problem.x, problem.y, Perceptron(2, "gelu"))
    with pytest.raises(ValueError, match="with tanh"):
        shallow_gap(gelu, grid, ensemble)


def test_first_variation_has_its_gradient(setting):
    problem, _, ensemble = setting
    rng = np.random.default_rng(0)
    z, p = rng.normal(size=(2, 3, 7, 2))
    direction = rng.normal(size=ensemble.theta.shape)
    step = 1e-5
    values = [
        first_variation(problem, ensemble.theta + sign * step * direction, z, p)
        for sign in (1, -1)
    ]
    slope = (values[0] - values[1]) / (2 * step)
    gradient = first_variation_gradient(problem, ensemble.theta, z, p)
    np.testing.assert_allclose(
        slope, np.sum(gradient * direction, axis=2), rtol=1e-7, atol=1e-9
    )


def at_rest(problem):
    """All mass at theta = 0."""
    return DepthGrid.euler(3), ParticleEnsemble(np.zeros((3, 1, problem.k)))


def test_a_way_down_is_the_derivative_of_the_loss(setting):
    problem, _, _ = setting
    grid, start = at_rest(problem)
    found = evaluate(problem, grid, start)
    assert found.gradient_norm == 0.0
    cloud = np.random.default_rng(0).normal(size=(20, problem.k))
    slopes = descent_slopes(found, cloud)
    assert (slopes < 0).all()
    # z rests at theta = 0: the best of the cloud is the same at every depth.
    z, p = found.z[:1], found.p[1:2]
    best = cloud[first_variation(problem, cloud[None], z, p)[0].argmin()][None]
    mass = 1e-6
    moved = evaluate(problem, grid, perturbed(start, best, mass)).loss
    assert (moved - found.loss) / mass == pytest.approx(slopes.mean(), rel=1e-4)


def test_the_loss_falls_again_after_a_perturbation(setting):
    problem, _, _ = setting
    grid, start = at_rest(problem)
    cloud = np.random.default_rng(0).normal(size=(20, problem.k))
    found = escape(problem, grid, start, cloud, mass=0.05, s_end=5.0)
    assert found.control == found.rest
    assert found.moved < 0.95 * found.rest


def test_a_block_without_universality_has_points_of_rest(setting):
    """Linear maps at the best of them: no direction lowers E, though E > 0."""
    problem, _, _ = setting
    best = np.linalg.lstsq(problem.x, problem.y, rcond=None)[0]
    linear = MeanFieldProblem(problem.x, problem.y, Linear(2))
    theta = (best.T - np.eye(2)).reshape(1, 1, 4)
    found = evaluate(linear, DepthGrid.euler(1), ParticleEnsemble(theta))
    assert found.loss > 0.1
    cloud = np.random.default_rng(0).normal(size=(20, 4))
    assert np.abs(descent_slopes(found, cloud)).max() < 1e-12


def test_what_is_refused(setting):
    problem, grid, ensemble = setting
    with pytest.raises(ValueError, match=r"`mass` must lie in \(0, 1\)"):
        perturbed(ensemble, ensemble.theta[0], 1.0)
    with pytest.raises(ValueError, match=r"must be on DepthGrid\.euler"):
        descent_slopes(evaluate(problem, grid, ensemble), ensemble.theta[0])
