"""Homogeneity identities (T12), supports that separate, limits of slow sequences."""

import dataclasses

import numpy as np
import pytest

from mfpde import (
    Clipping,
    DecayingQuadratic,
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    blocks,
    evaluate,
)
from mfpde.analysis import power_limit
from mfpde.theory import homogeneity, supports

BLOCKS = [
    blocks.SignedSquaredReLU(2),
    blocks.Capped(2, "regularised_relu"),
    blocks.Perceptron(2),
    blocks.Bilinear(2),
    blocks.Linear(2),
]


CUSTOM = blocks.Custom(1, 1, *(lambda *_: None,) * 3)


def flow(rng, block, grid):
    x, y = 0.5 * rng.normal(size=(2, 4, 2))
    theta = 0.5 * rng.normal(size=(grid.n_nodes, 6, block.k))
    return MeanFieldProblem(x, y, block), ParticleEnsemble(
        theta, rng.dirichlet(np.ones(6))
    )


@pytest.mark.parametrize("grid", [DepthGrid.euler(3), DepthGrid.gauss(3)], ids=repr)
@pytest.mark.parametrize("block", BLOCKS, ids=repr)
def test_identity_holds_to_rounding(rng, block, grid):
    problem, ensemble = flow(rng, block, grid)
    evaluation = evaluate(problem, grid, ensemble)
    rates = homogeneity.group_moment_rates(evaluation)
    predicted = homogeneity.predicted_moment_rates(evaluation)
    np.testing.assert_allclose(predicted, rates, rtol=1e-11, atol=1e-12)
    moments = homogeneity.group_moments(evaluation)
    step = 1e-6
    moved = ParticleEnsemble(
        ensemble.theta + step * evaluation.velocity, ensemble.weights
    )
    after = homogeneity.group_moments(evaluate(problem, grid, moved))
    np.testing.assert_allclose((after - moments) / step, rates, rtol=1e-4, atol=1e-6)


def test_rates_of_a_law_without_depth_are_the_same_at_all_depths():
    """T12: p . F is a constant of the motion in t if rho is."""
    spreads = []
    for n_nodes in (3, 10):
        grid = DepthGrid.gauss(n_nodes)
        problem, ensemble = flow(np.random.default_rng(1), BLOCKS[2], grid)
        theta = np.broadcast_to(ensemble.theta[:1], ensemble.theta.shape)
        start = ParticleEnsemble(theta, ensemble.weights)
        rates = homogeneity.predicted_moment_rates(evaluate(problem, grid, start))
        spreads.append(np.ptp(rates) / np.abs(rates).max())
    assert spreads[0] < 1e-2
    assert spreads[1] < 1e-9


@pytest.mark.parametrize("block", BLOCKS, ids=repr)
def test_identity_with_metric_and_ridge(rng, block):
    """One multiplier for the group, any for the other parameters; s of the ridge."""
    problem, ensemble = flow(rng, block, DepthGrid.euler(3))
    group = block.homogeneous_group
    metric = rng.uniform(0.5, 2.0, block.k)
    metric[block.param_groups[group] if group else slice(None)] = 0.7
    ridge = DecayingQuadratic(0.3, 1.0)
    problem = problem.with_changes(metric=metric, regulariser=ridge)
    evaluation = evaluate(problem, DepthGrid.euler(3), ensemble, 0.5)
    rates = homogeneity.group_moment_rates(evaluation)
    predicted = homogeneity.predicted_moment_rates(evaluation)
    np.testing.assert_allclose(predicted, rates, rtol=1e-11, atol=1e-12)


def test_balances_with_a_metric_do_not_move(rng):
    block = blocks.Perceptron(2, "relu")
    problem, ensemble = flow(rng, block, DepthGrid.euler(3))
    metric = rng.uniform(0.5, 2.0, block.k)
    problem = problem.with_changes(metric=metric)
    evaluation = evaluate(problem, DepthGrid.euler(3), ensemble)
    rates = 2.0 * ensemble.theta * evaluation.velocity / metric
    signs = np.array([-1.0, -1.0, 1.0, 1.0, -1.0])
    assert np.abs(rates @ signs).max() < 1e-14 < np.abs(rates).max()
    moved = dataclasses.replace(
        evaluation, ensemble=ParticleEnsemble(ensemble.theta * metric**0.5)
    )
    np.testing.assert_allclose(
        homogeneity.balances(moved), ensemble.theta**2 @ signs, rtol=1e-13, atol=1e-14
    )


def test_identities_that_do_not_hold_are_refused(rng):
    block, grid = blocks.Perceptron(2, "relu"), DepthGrid.euler(3)
    problem, ensemble = flow(rng, block, grid)

    def changed(**changes):
        return evaluate(problem.with_changes(**changes), grid, ensemble)

    clipped = changed(clipping=Clipping(0.1))
    for identity in (homogeneity.predicted_moment_rates, homogeneity.balances):
        with pytest.raises(ValueError, match="without clipping"):
            identity(clipped)
    with pytest.raises(ValueError, match="same for all parameters of the homogeneous"):
        homogeneity.predicted_moment_rates(changed(metric=[1, 1, 1, 2, 1]))
    with pytest.raises(ValueError, match="must have no regulariser"):
        homogeneity.balances(changed(regulariser=DecayingQuadratic(0.1)))
    with pytest.raises(ValueError, match="no parameter with metric 0"):
        homogeneity.balances(changed(metric=[0, 1, 1, 1, 1]))


def test_messages_of_identities(rng):
    problem, ensemble = flow(rng, blocks.Bias(2), DepthGrid.rk4(1))
    evaluation = evaluate(problem, DepthGrid.rk4(1), ensemble)
    with pytest.raises(ValueError, match=r"Use DepthGrid\.euler or DepthGrid\.gauss"):
        homogeneity.predicted_moment_rates(evaluation)
    with pytest.raises(ValueError, match="an activation among relu"):
        homogeneity.balances(evaluation)
    other = dataclasses.replace(
        evaluation, problem=MeanFieldProblem([[0.0]], [[0.0]], CUSTOM)
    )
    with pytest.raises(ValueError, match="must have a block with `homogeneous_degree`"):
        homogeneity.group_moments(other)


def test_a_group_that_a_block_lacks_is_named(rng):
    class Wrong(blocks.Linear):
        __slots__ = ()
        homogeneous_group = "v"

    problem, ensemble = flow(rng, Wrong(2), DepthGrid.euler(1))
    evaluation = evaluate(problem, DepthGrid.euler(1), ensemble)
    with pytest.raises(ValueError, match="groups Theta, got 'v'"):
        homogeneity.group_moments(evaluation)


# ---- supports


def test_windings():
    turns, gap = supports.winding(supports.circle(12))
    assert turns == 1
    assert gap == pytest.approx(2 * np.pi / 12)
    assert supports.winding(supports.circle(12)[::-1])[0] == -1
    assert supports.winding(supports.circle(12) + np.array([1.5, 0.0]))[0] == 0
    twice = np.concatenate([supports.circle(12)] * 2)
    assert supports.winding(np.stack([twice, 3.0 * twice]))[0].tolist() == [2, 2]
    through = supports.circle(12).copy()
    through[3] = 0.0
    assert supports.winding(through)[1] == np.pi
    gaps = supports.winding(np.stack([through, supports.circle(12)]))[1]
    np.testing.assert_allclose(gaps, [np.pi, 2 * np.pi / 12])
    with pytest.raises(ValueError, match=r"`loops` must have shape \(\.\.\., n_points"):
        supports.winding(np.zeros((2, 2)))


def test_joined_circles_lie_on_the_sphere():
    points = supports.joined_circles(8, 3)
    assert points.shape == (3, 8, 8, 4)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1.0)
    assert (supports.winding(points[..., :2].swapaxes(1, 2))[0] == 1).all()
    assert (supports.winding(points[..., 2:])[0] == 1).all()


def test_edges_of_sheets():
    sheet, inside = supports.square_sheet(9, 2.0), supports.square_sheet(3, 1.0)
    points = inside.reshape(-1, 2)
    assert (supports.edge_winding(sheet, points)[0] == 1).all()
    # Folding inside the edge changes nothing; a torn edge does.
    folded = sheet.copy()
    folded[3:6, 3:6] *= -1.0
    assert (supports.edge_winding(folded, points)[0] == 1).all()
    aside = sheet + np.array([2.5, 0.0])
    assert supports.edge_winding(aside, points)[0].min() == 0


# ---- limits


def test_power_limit():
    s = 2.0 ** np.arange(8)
    limit, interval = power_limit(0.3 + 1.7 * s**-0.8)
    assert limit == pytest.approx(0.3, abs=1e-12)
    limit, interval = power_limit(0.3 + s**-1.0 + s**-2.0)
    assert interval[0] <= 0.3 <= interval[1]
    assert interval[1] - interval[0] < 1e-2
    assert power_limit([1.0] * 5) == (1.0, (1.0, 1.0))
    assert np.isnan(power_limit([5.0, 4.0, 3.0, 2.0, 1.0])[0])
    # Faster and faster: there is no limit, and no interval of width zero.
    limit, interval = power_limit([5.0, 4.9, 4.7, 4.3, 3.5])
    assert np.isnan([limit, *interval]).all()
    # One triple without a limit leaves no interval.
    limit, interval = power_limit([4.0, 3.0, 2.0, 1.5, 1.25])
    assert limit == 1.0
    assert np.isnan(interval).all()
    # Differences of the size of rounding are none.
    ulp = np.finfo(float).eps
    assert power_limit([1.0, 1.0, 1.0, 1.0 + ulp, 1.0 - ulp])[0] == 1.0 - ulp
    # A run that diverged has no limit, whenever it did.
    for value in (np.nan, np.inf):
        limit, interval = power_limit([value, 3.0, 2.0, 1.5, 1.25, 1.125])
        assert np.isnan([limit, *interval]).all()
    with pytest.raises(ValueError, match="must hold five numbers or more"):
        power_limit([1.0, 2.0, 3.0, 4.0])
