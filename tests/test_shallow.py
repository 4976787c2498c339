"""The two-layer network on the particles of a residual one, and ways down at rest."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate, solve
from mfpde.analysis import fit_power
from mfpde.blocks import Capped, Linear, Perceptron
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.evaluation import field, first_variation, first_variation_gradient
from mfpde.kernels.sweep import STRIDE
from mfpde.theory.landscape import (
    descent_changes,
    descent_directions,
    escape,
    perturbed,
)
from mfpde.theory.shallow import compare_flows, scaled, shallow, shallow_gap


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
    # Before anything is trained, and also where another block has a tanh.
    for block in (Perceptron(2, "gelu"), Capped(2, "tanh")):
        other = MeanFieldProblem(problem.x, problem.y, block)
        with pytest.raises(ValueError, match="with tanh"):
            shallow_gap(other, grid, ensemble)
        with pytest.raises(ValueError, match="with tanh"):
            compare_flows(other, grid, ensemble, np.array([1.0]))
    outer = DepthGrid.layers(3, outer="relu")
    with pytest.raises(ValueError, match="must have no outer activation"):
        shallow_gap(problem, outer, ensemble)


def test_the_bound_holds_where_the_residual_scales_do_not_sum_to_one():
    """16 layers of scale 1/4 are a field four times as large; the gap, too."""
    problem = MeanFieldProblem([[0.0]], [[0.0]], Perceptron(1))
    ensemble = ParticleEnsemble(np.tile([0.5, 0.1, 1.0], (16, 1, 1)))
    found = shallow_gap(problem, DepthGrid.layers(16, "sde"), ensemble)
    other = shallow_gap(scaled(problem, 4.0), DepthGrid.euler(16), ensemble)
    for name in ("gap", "bound", "limit"):
        expected = getattr(other, name)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-12)
    assert 0.3 < (found.gap / found.bound).item() < 1.0


def test_copies_keep_every_option_of_the_problem(setting):
    problem, _, ensemble = setting
    options = {
        "regulariser": mfpde.DecayingQuadratic(0.1),
        "clipping": mfpde.Clipping(0.5),
        "sample_weights": np.arange(1.0, 8.0) / 28,
        "dtype": "float32",
    }
    rich = problem.with_changes(loss="logistic", y=np.sign(problem.y), **options)
    for copy in (scaled(rich, 0.5), shallow(rich, ensemble).problem):
        for name in ("regulariser", "clipping", "loss", "dtype"):
            assert getattr(copy, name) == getattr(rich, name)
        np.testing.assert_array_equal(copy.sample_weights, rich.sample_weights)


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


def test_first_variation_is_a_sum_over_all_samples(rng):
    """More samples than one block has lanes, by the field of each particle."""
    problem = MeanFieldProblem(*rng.normal(size=(2, 300, 2)), Perceptron(2))
    theta, p = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 300, 2))
    z, grid = np.stack([problem.x] * 2), DepthGrid.euler(2)
    found = first_variation(problem, theta, z, p)
    for m in range(4):
        fields = field(problem, grid, ParticleEnsemble(theta[:, m : m + 1]), problem.x)
        np.testing.assert_allclose(found[:, m], np.mean(p * fields, axis=1).sum(axis=1))


def test_first_variation_needs_no_memory_for_all_nodes_and_samples(rng):
    """Room for the fields of all candidates at one node, not at all of them."""
    problem = MeanFieldProblem(*rng.normal(size=(2, 8, 2)), Perceptron(2))
    z = np.stack([problem.x] * 16)
    tracemalloc.start()
    first_variation(problem, rng.normal(size=(16, 500, 5)), z, z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 8 * 500 * 2 * STRIDE


def at_rest(problem):
    """All mass at theta = 0."""
    return DepthGrid.euler(3), ParticleEnsemble(np.zeros((3, 1, problem.k)))


def test_a_way_down_is_the_derivative_of_the_loss(setting):
    problem, _, _ = setting
    grid, start = at_rest(problem)
    found = evaluate(problem, grid, start)
    assert found.gradient_norm == 0.0
    cloud = np.random.default_rng(0).normal(size=(20, problem.k))
    slopes, best = descent_directions(found, cloud)
    assert (slopes < 0).all()
    mass = 1e-6
    moved = evaluate(problem, grid, perturbed(start, best[:, None], mass)).loss
    assert (moved - found.loss) / mass == pytest.approx(slopes.mean(), rel=1e-4)


def test_changes_along_a_direction_tend_to_its_slope(setting):
    """Also of a law of several particles with weights of their own."""
    problem, _, _ = setting
    rng = np.random.default_rng(1)
    theta, cloud = rng.normal(size=(3, 4, problem.k)), rng.normal(size=(20, problem.k))
    law = ParticleEnsemble(theta, [0.1, 0.2, 0.3, 0.4])
    found = evaluate(problem, DepthGrid.euler(3), law)
    slopes, best = descent_directions(found, cloud)
    errors = np.abs(descent_changes(found, best, [1e-3, 5e-4]) - slopes[:, None])
    assert (errors < 1e-2 * np.abs(slopes[:, None])).all()
    np.testing.assert_allclose(errors[:, 0] / errors[:, 1], 2.0, rtol=0.02)


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
    slopes, best = descent_directions(found, cloud)
    assert np.abs(slopes).max() < 1e-12
    assert (descent_changes(found, best, [0.1]) > 0.0).all()


def test_what_is_refused(setting):
    problem, grid, ensemble = setting
    with pytest.raises(ValueError, match=r"`mass` must lie in \(0, 1\)"):
        perturbed(ensemble, ensemble.theta[0], 1.0)
    with pytest.raises(ValueError, match=r"must be on DepthGrid\.euler"):
        descent_directions(evaluate(problem, grid, ensemble), ensemble.theta[0])
    # Eq. (11) pairs the states with psi'(a) p.
    outer = DepthGrid.layers(3, outer="tanh")
    with pytest.raises(ValueError, match="without an outer activation"):
        descent_directions(evaluate(problem, outer, ensemble), ensemble.theta[0])


@pytest.mark.parametrize("cloud", [np.ones(5), np.ones((2, 4)), np.ones((0, 5))])
def test_clouds_that_do_not_fit_are_named(setting, cloud):
    problem, _, ensemble = setting
    found = evaluate(problem, DepthGrid.euler(3), ensemble)
    with pytest.raises(ValueError, match=r"`candidates` must have shape \(n_cand"):
        descent_directions(found, cloud)
    with pytest.raises(ValueError, match=r"`cloud` must have shape \(n_candidates, 5"):
        perturbed(ensemble, cloud, 0.1)


def test_clouds_may_be_lists(setting):
    problem, _, ensemble = setting
    found = evaluate(problem, DepthGrid.euler(3), ensemble)
    cloud = [[1, 0, 0, 1, 0]]
    slopes, _ = descent_directions(found, np.array(cloud, dtype=float))
    np.testing.assert_array_equal(descent_directions(found, cloud)[0], slopes)
    assert perturbed(ensemble, cloud, 0.1).n_particles == 7


@pytest.mark.parametrize("kind", [NotFiniteError, ConvergenceError])
def test_a_flow_that_does_not_end_tells_why(setting, monkeypatch, kind):
    """A blow-up is one error, a tolerance out of reach another."""
    problem, _, ensemble = setting
    grid, times = DepthGrid.euler(3), np.array([0.0, 0.01])
    found = solve(problem, grid, ensemble, s_end=0.01)
    failed = dataclasses.replace(found, status="failed", message="No!", failure=kind)
    monkeypatch.setattr("mfpde.theory.landscape.solve.quietly", lambda *_, **__: failed)
    monkeypatch.setattr("mfpde.theory.shallow.solve.quietly", lambda *_, **__: failed)
    with pytest.raises(kind, match="No!"):
        escape(problem, grid, ensemble, np.ones((1, 5)), mass=0.5, s_end=1.0)
    with pytest.raises(kind, match="No!"):
        compare_flows(problem, grid, ensemble, times)
