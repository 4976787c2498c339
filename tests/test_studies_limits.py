"""References of studies: the limit, its fields, tracers in them."""

import numpy as np
import pytest

from mfpde import DepthGrid, MeanFieldProblem, laws, solve
from mfpde.blocks import Bias, Linear, Perceptron
from mfpde.losses import DecayingQuadratic
from mfpde.papers.references import (
    Fields,
    chebyshev_points,
    limit_of,
    root_mean_square,
    trace,
)
from mfpde.references import exact
from mfpde.studies.cases import Case

S = [0.0, 0.4, 1.0]
DEPTHS = [4, 8]


def reference(case, **options):
    keywords = {"s": S, "tol": 1e-6, "depths": DEPTHS, "rtol": 1e-9}
    return limit_of(case, **keywords | {"max_particles": 20_000} | options)


@pytest.fixture(scope="module")
def scalar():
    """T1: f = theta z, one sample, a path whose mean is -0.4 at every depth."""
    problem = MeanFieldProblem([[1.3]], [[2.0]], Linear(1))
    law = laws.Path(
        [laws.Gaussian(-0.4, 0.3), laws.Gaussian(0.0, 0.2)], ["1", "cos(pi t)"]
    )
    case = Case("scalar", problem, law)
    return case, reference(case)


def test_limit_and_networks_of_infinite_width_are_the_exact_ones(scalar):
    _, arrays = scalar
    law = exact.ScalarLinear(1.3, 2.0, -0.4)
    expected = [law.output(s) for s in S]
    np.testing.assert_allclose(arrays["output"][:, 0, 0], expected, atol=1e-6)
    assert arrays["error"] < 1e-6
    for row, depth in enumerate(DEPTHS):
        finite = [law.finite_depth(depth).output(s) for s in S]
        np.testing.assert_allclose(
            arrays["wide_output"][row, :, 0, 0], finite, atol=1e-6
        )
    np.testing.assert_allclose(
        arrays["wide_loss"], 0.5 * (arrays["wide_output"][..., 0, 0] - 2.0) ** 2
    )


def test_tracers_translate_as_the_exact_limit_says(scalar):
    """T1: every particle at every depth moves by ln(u(s) / u(0))."""
    case, arrays = scalar
    law = exact.ScalarLinear(1.3, 2.0, -0.4)
    start = case.law.sample(DepthGrid.euler(5), 6, seed=3).theta
    fields = Fields(arrays, DepthGrid.euler(5).nodes)
    found = trace(case.problem, fields, start, S)
    shift = np.log([law.output(s) / law.output(0.0) for s in S])
    moved = np.broadcast_to(shift[:, None, None, None], found.shape)
    # 24 steps of RK4: 4e-6.
    np.testing.assert_allclose(found - start, moved, atol=1e-5)


def test_fields_are_states_and_adjoints_of_the_exact_limit(scalar):
    """T1: z(t) = x e^(A t), and p z is constant in t: p(1) = u - y."""
    _, arrays = scalar
    t = np.array([0.0, 0.3, 0.77, 1.0])
    z, p = Fields(arrays, t)(0.0)
    np.testing.assert_allclose(z[:, 0, 0], 1.3 * np.exp(-0.4 * t), atol=1e-5)
    u = 1.3 * np.exp(-0.4)
    np.testing.assert_allclose(z[:, 0, 0] * p[:, 0, 0], u * (u - 2.0), atol=1e-5)


@pytest.mark.parametrize("n_elements", [1, 3])
def test_tracers_of_the_limit_are_its_own_particles(rng, n_elements):
    """With a ridge and a metric, on one Gauss element or several."""
    problem = MeanFieldProblem(
        *rng.normal(size=(2, 6, 2)),
        Perceptron(2),
        regulariser=DecayingQuadratic(0.2, 0.5),
        metric=[1.0, 0.5, 2.0, 1.0, 0.0],
    )
    grid = DepthGrid.gauss(6, n_elements)
    start = laws.standard_path(5, 0.4, 0.3).sample(grid, 20, seed=1)
    options = {"s_end": S[-1], "rtol": 1e-9, "atol": 1e-12}
    times = chebyshev_points(S[-1], 17)
    moving = solve(
        problem,
        grid,
        start,
        record=times,
        observers={"states": lambda e: np.stack([e.z, e.p])},
        **options,
    )
    arrays = {
        "fields_t": grid.state_depths(),
        "fields_elements": np.array(n_elements),
        "fields_s": times,
        "fields": moving.observations["states"],
    }
    own = solve(problem, grid, start, snapshots=S, **options)
    found = trace(problem, Fields(arrays, grid.nodes), start.theta, S)
    # At the nodes nothing is interpolated in t; RK4 in s and 17 points leave 1e-7.
    np.testing.assert_allclose(found, own.theta, atol=1e-6)


def test_bias_moves_alike_in_any_field():
    """T5: thetabar(s) = e* + (thetabar(0) - e*) e^-s, whatever the law."""
    problem = MeanFieldProblem([[0.2], [0.6]], [[1.0], [1.6]], Bias(1))
    case = Case("bias", problem, laws.Gaussian(-0.3, 0.5))
    arrays = reference(case)
    end = 0.9 + (-0.3 - 0.9) * np.exp(-np.array(S))
    np.testing.assert_allclose(arrays["output"][:, 0, 0], 0.2 + end, atol=1e-6)
    start = np.array([[[0.0], [5.0]]])
    found = trace(problem, Fields(arrays, [0.5]), start, S)
    moved = np.broadcast_to((end - end[0])[:, None, None, None], found.shape)
    np.testing.assert_allclose(found - start, moved, atol=1e-6)


def test_root_mean_square_weighs_samples():
    values = np.array([[[3.0, 4.0], [0.0, 0.0]]])
    np.testing.assert_allclose(root_mean_square(values, np.array([0.25, 0.75])), [2.5])
