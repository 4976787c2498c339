"""Obstructions and failure paths: T16 (i, ii) and T18 of the theory."""

import math
import re

import numpy as np
import pytest
from exact import FEATURES, assert_order, at, flow

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble
from mfpde.blocks import Linear, Perceptron
from mfpde.references import exact

# T16: obstructions


def test_t16_orientation():
    """x > 0 > y: z(1) tends to zero like 1 / (|y| s), and E to y^2 / 2."""
    problem = MeanFieldProblem([1.0], [-1.0], Linear(1))
    grid = DepthGrid.gauss(4, 12)  # theta falls to -7: 1e-9 with four nodes
    ensemble = ParticleEnsemble(np.zeros((48, 1, 1)))
    times = [10.0, 100.0, 1000.0]
    ends = flow(problem, grid, ensemble, times, rtol=1e-9)
    scaled = [each.s * each.z_end[0, 0] for each in ends]
    np.testing.assert_allclose(scaled, [0.772694, 0.952653, 0.992829], atol=6e-7)
    losses = [each.loss for each in ends]
    assert losses == sorted(losses, reverse=True)
    # E = (u + 1)^2 / 2 with u = 0.993e-3.
    assert losses[-1] == pytest.approx(0.5 + 0.992829e-3, abs=1e-6)


def test_t16_order_cannot_be_reversed_in_one_dimension(rng):
    delta = 1.0
    problem = MeanFieldProblem(
        [-delta / 2, delta / 2], [delta / 2, -delta / 2], Perceptron(1)
    )
    grid = DepthGrid.gauss(3, 6)
    ensemble = ParticleEnsemble(np.tile(rng.normal(size=(8, 3)), (18, 1, 1)))
    times = [0.0, 1.0, 4.0, 16.0]
    ends = flow(problem, grid, ensemble, times, rtol=1e-6, atol=1e-8)
    losses = [each.loss for each in ends]
    moments = [each.second_moment for each in ends]
    assert losses == sorted(losses, reverse=True)
    assert moments[1:] == sorted(moments[1:])
    # Above delta^2 / 8, and near it in the end.
    infimum = exact.order_reversal_infimum(delta)
    assert infimum < losses[-1] < 1.2 * infimum
    assert (np.diff([each.z_end[:, 0] for each in ends], axis=1) > 0).all()


# T18: growth violation


def quadratic(x, y, **options):
    """f = theta z^2 in the first component."""
    x = np.stack([np.atleast_1d(x), np.zeros(np.size(x))], axis=1)
    metric = [0.0, 1.0, 0.0, 0.0]
    return MeanFieldProblem(
        x, np.atleast_1d(y), FEATURES, readout=[[1.0, 0.0]], metric=metric, **options
    )


def growth_ensemble(grid, values):
    """Two particles of mean values(t)."""
    theta = np.zeros((grid.n_nodes, 2, 4))
    theta[:, 0, 1] = values(grid.nodes) + 0.3
    theta[:, 1, 1] = values(grid.nodes) - 0.1
    return ParticleEnsemble(theta, [0.25, 0.75])


def test_t18_formula_below_the_blow_up_shows_the_depth_order():
    """z(1) = x / (1 - x int abar), with abar that varies along t."""
    problem = quadratic([1.1, -0.6], [0.0, 0.0])

    def values(t):
        return 0.9 * np.exp(-t) - 0.2 * t**2

    total = 0.9 * (1 - math.exp(-1.0)) - 0.2 / 3
    closed = exact.ScalarQuadratic(problem.x[:, 0], [0.0, 0.0], total).output(0.0)
    cases = {
        # scheme: order, sizes, bound on the last error (twice what was seen)
        "euler": (1, [128, 256, 512, 1024, 2048], 1.5e-3),
        "midpoint": (2, [16, 32, 64, 128, 256], 6e-5),
        "rk4": (4, [4, 8, 16, 32, 64], 1.5e-8),
    }
    for scheme, (order, sizes, last) in cases.items():
        errors = []
        for n in sizes:
            grid = getattr(DepthGrid, scheme)(n)
            end = mfpde.predict(problem, grid, growth_ensemble(grid, values), problem.x)
            errors.append(np.abs(end[:, 0] - closed).max())
        assert_order(sizes, errors, order, last)
    grid = DepthGrid.gauss(12)
    end = mfpde.predict(problem, grid, growth_ensemble(grid, values), problem.x)
    # Twelve nodes, spectral, until the tolerance 1e-14 of the stages.
    np.testing.assert_allclose(end[:, 0], closed, rtol=1e-12)


def test_t18_flow_below_the_blow_up():
    """A = int int theta is closed, for any number of samples."""
    problem = quadratic([0.8, -0.5], [1.5, -0.3])
    grid = DepthGrid.gauss(14)
    ensemble = growth_ensemble(grid, lambda t: 0.2 + 0 * t)
    closed = exact.ScalarQuadratic([0.8, -0.5], [1.5, -0.3], 0.2)
    for end in flow(problem, grid, ensemble, [0.3, 1.0]):
        # Spectral in 14 nodes, and the tolerance of the steps.
        np.testing.assert_allclose(end.output[:, 0], closed.output(end.s), atol=1e-10)
        dissipation = float(closed.dissipation(end.s))
        assert end.dissipation == pytest.approx(dissipation, abs=1e-9)


def test_t18_blow_up_at_the_start_is_named():
    """Sample 1 blows up at t = 1 / (0.8 * 2.5) = 0.5, sample 0 not at all."""
    assert exact.blow_up_depth([0.2, 0.8], 2.5) == 0.5
    problem = quadratic([0.2, 0.8], [0.0, 0.0])
    grid = DepthGrid.euler(512)
    ensemble = growth_ensemble(grid, lambda t: 2.5 + 0 * t)
    with pytest.raises(mfpde.errors.NotFiniteError) as caught:
        mfpde.solve(problem, grid, ensemble, s_end=1.0, stepper="euler", ds=0.1)
    found = re.match(
        r"The state is not finite after layer (\d+) of 512 \(t = ([\d.]+), depth\) for "
        r"sample 1, at training time s = 0\. ",
        str(caught.value),
    )
    assert found, str(caught.value)
    layer, t = int(found[1]), float(found[2])
    assert t == pytest.approx(layer / 512, abs=5e-5)
    # Euler is late: z grows like 1 / (0.5 - t) up to L, then it squares itself.
    assert 0.5 < t < 0.56
    with pytest.raises(mfpde.errors.NotFiniteError, match="for sample 1"):
        mfpde.predict(problem, grid, ensemble, problem.x)
    with pytest.raises(
        mfpde.errors.NotFiniteError, match=r"node \d+ of 24 .*for sample 1"
    ):
        mfpde.evaluate(
            problem,
            DepthGrid.gauss(3, 8),
            growth_ensemble(DepthGrid.gauss(3, 8), lambda t: 25.0 + 0 * t),
        )


def test_t18_fixed_stepper_ends_with_the_last_good_state():
    """Steps that overshoot: the run is stopped, named, and kept."""
    problem = quadratic([1.0], [6.0])
    grid = DepthGrid.euler(256)
    ensemble = growth_ensemble(grid, lambda t: 0.5 + 0 * t)
    # s = 0.02: velocity z^2 (6 - z) = 16 lifts the mean of theta above 1 in two steps.
    with pytest.warns(mfpde.errors.UnfinishedWarning, match="The last good state"):
        solution = mfpde.solve(
            problem, grid, ensemble, s_end=1.0, stepper="euler", ds=0.02, record=[0.0]
        )
    assert solution.status == "failed"
    assert not solution.converged
    found = re.match(
        r"The state is not finite after layer \d+ of 256 \(t = [\d.]+, depth\) for "
        r"sample 0, at training time s = ([\d.]+)\. .* "
        r"The last good state, at s = ([\d.]+), is kept\.",
        solution.message,
    )
    assert found, solution.message
    assert float(found[1]) == pytest.approx(float(found[2]) + 0.02, abs=1e-12)
    assert solution.s[-1] == pytest.approx(float(found[2]), abs=1e-12)
    assert np.isfinite(solution.ensemble.theta).all()
    kept = mfpde.evaluate(problem, grid, solution.ensemble)
    assert kept.loss == solution.loss[-1]


class Reward:
    """-out: a loss without a lower bound, which drives theta into the blow-up."""

    name = "reward"

    def values(self, output, y):
        return -output[:, 0]

    def gradients(self, output, y):
        return -np.ones_like(output)


def test_t18_adaptive_stepper_ends_with_the_last_good_state():
    """z(1) = 1 / (1 - A), dA/ds = 1 / (1 - A)^2: z(1) = (1 - 3 s)^(-1/3)."""
    problem = quadratic([1.0], [0.0], loss=Reward())
    grid = DepthGrid.gauss(6)
    ensemble = growth_ensemble(grid, lambda t: 0 * t)
    early = at(problem, grid, ensemble, 0.1)
    # Six nodes, |d_z F| = 0.2: order 12.
    assert early.output[0, 0] == pytest.approx(0.7 ** (-1 / 3), abs=1e-9)
    grid = DepthGrid.rk4(64)
    ensemble = growth_ensemble(grid, lambda t: 0 * t)
    with pytest.warns(mfpde.errors.UnfinishedWarning, match="The last good state"):
        solution = mfpde.solve(problem, grid, ensemble, s_end=1.0, record=[0.0, 0.3])
    assert solution.status == "failed"
    assert re.search(r"at training time s = 0\.3[34]\d*", solution.message)
    assert f"last good state, at s = {solution.s[-1]:g}, is kept" in solution.message
    assert np.isfinite(solution.ensemble.theta).all()
    # The blow-up stands at s = 1/3; RK4 with 64 steps sees it a little later.
    assert 0.333 < solution.s[-1] < 0.36
    kept = mfpde.evaluate(problem, grid, solution.ensemble)
    assert kept.loss == solution.loss[-1]
    # rtol 1e-6, RK4 with |d_z F| of a few units in 64 steps.
    assert -solution.loss[1] == pytest.approx(0.1 ** (-1 / 3), rel=1e-5)
