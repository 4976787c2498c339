"""Exact cases with linear flows and near-linear limits: T6 to T9, T13, T16 (iii)."""

import math

import numpy as np
import pytest
from exact import FEATURES, TIGHT, assert_order, at, flow, in_depth

import mfpde
from mfpde import DecayingQuadratic, DepthGrid, MeanFieldProblem, ParticleEnsemble
from mfpde.blocks import Bilinear, Linear, Perceptron
from mfpde.references import exact
from mfpde.references.exact import BilinearMoments, DepthScheme

# T6: linear in theta


@pytest.mark.parametrize(
    "grid", [DepthGrid.euler(4), DepthGrid.rk4(2), DepthGrid.gauss(3)], ids=str
)
def test_t6_linear_blocks_see_the_layer_mean_only(rng, grid):
    x, y = rng.normal(size=(2, 4, 2))
    problem = MeanFieldProblem(x, y, Linear(2))
    mean = 0.5 * rng.normal(size=(grid.n_nodes, 1, 4))
    spread = rng.normal(size=(grid.n_nodes, 1000, 4))
    spread -= spread.mean(axis=1, keepdims=True)
    options = {"stepper": "rk4", "ds": 0.1}
    one = at(problem, grid, ParticleEnsemble(mean), 1.0, **options)
    many = at(problem, grid, ParticleEnsemble(mean + spread), 1.0, **options)
    # Rounding of a mean of 1000 terms, carried through ten steps.
    np.testing.assert_allclose(many.output, one.output, atol=1e-13)
    assert many.loss == pytest.approx(one.loss, abs=1e-13)
    left = many.ensemble.theta - one.ensemble.theta
    np.testing.assert_allclose(left, spread, atol=1e-13)


def test_t6_perceptron_with_frozen_features(rng):
    """eta_u = eta_b = 0 and common (u, b): linear in v."""
    x, y = rng.normal(size=(2, 4, 2))
    problem = MeanFieldProblem(x, y, Perceptron(2), metric=[0.0, 0.0, 1.0, 1.0, 0.0])
    grid = DepthGrid.rk4(2)
    one = rng.normal(size=(grid.n_nodes, 1, 5))
    spread = np.zeros((grid.n_nodes, 200, 5))
    spread[:, :, 2:4] = rng.normal(size=(grid.n_nodes, 200, 2))
    spread -= spread.mean(axis=1, keepdims=True)
    options = {"stepper": "rk4", "ds": 0.1}
    few = at(problem, grid, ParticleEnsemble(one), 1.0, **options)
    many = at(problem, grid, ParticleEnsemble(one + spread), 1.0, **options)
    np.testing.assert_allclose(many.output, few.output, atol=1e-13)
    left = many.ensemble.theta - few.ensemble.theta
    np.testing.assert_allclose(left, spread, atol=1e-13)
    assert (many.ensemble.theta[:, :, [0, 1, 4]] == one[:, :, [0, 1, 4]]).all()


# T7: f = Theta z

TARGET = np.array([[2.0, 0.3, 0.0], [0.3, 1.5, 0.2], [0.0, 0.2, 0.8]])


def whitened(target, block):
    """mean x x^T = I and y = target x."""
    d = len(target)
    x = math.sqrt(d) * np.eye(d)
    return MeanFieldProblem(x, x @ target.T, block)


def end_to_end(evaluation):
    """The matrix of x -> z(1) on whitened data."""
    return (np.linalg.solve(evaluation.problem.x, evaluation.z_end)).T


def test_t7_whitened_data():
    grid = DepthGrid.gauss(6, 2)
    spread = np.zeros((12, 2, 9))
    spread[:, 0] = 0.3
    spread[:, 1] = -0.3  # mean zero
    problem = whitened(TARGET, Linear(3))
    end = at(problem, grid, ParticleEnsemble(spread), 1.0)
    closed = exact.WhitenedLinear(TARGET)
    found = end_to_end(end)
    np.testing.assert_allclose(
        np.linalg.eigvalsh((found + found.T) / 2),
        [0.85375925, 1.30962124, 2.07384411],
        atol=6e-9,
    )
    # Two elements of six nodes, |A| = 0.7: below 1e-13; the steps 1e-12.
    np.testing.assert_allclose(found, closed.end_map(1.0), atol=1e-11)
    mean = end.ensemble.theta.mean(axis=1)
    assert np.ptp(mean, axis=0).max() < 1e-11
    assert end.loss == pytest.approx(float(closed.loss(1.0)), abs=1e-11)
    assert end.dissipation == pytest.approx(float(closed.dissipation(1.0)), abs=1e-11)


def test_t7_velocity_is_minus_the_mean_of_p_z():
    """d/ds Abar_l = -mean p[l+1] z[l]^T on Euler grids, row by row."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 5, 3))
    c = rng.dirichlet(np.ones(5))
    problem = MeanFieldProblem(x, y, Linear(3), sample_weights=c)
    theta = 0.5 * rng.normal(size=(6, 4, 9))
    w = rng.dirichlet(np.ones(4))
    found = mfpde.evaluate(problem, DepthGrid.euler(6), ParticleEnsemble(theta, w))
    mean = np.einsum("m,jmk->jk", w, theta).reshape(6, 3, 3)
    z, p = [x], []
    for a in mean:
        z.append(z[-1] + z[-1] @ a.T / 6)
    p.append(z[-1] - y)
    for a in mean[::-1]:
        p.insert(0, p[0] + p[0] @ a / 6)
    # Products of six matrices: rounding.
    np.testing.assert_allclose(found.z, z, atol=1e-14)
    np.testing.assert_allclose(found.p, p, atol=1e-14)
    for layer in range(6):
        q = np.einsum("i,ic,ie->ce", c, p[layer + 1], z[layer])
        for m in range(4):
            np.testing.assert_allclose(found.velocity[layer, m], -q.ravel(), atol=1e-14)


@pytest.mark.parametrize(
    "grid",
    [
        DepthGrid.euler(7),
        DepthGrid.midpoint(4),
        DepthGrid.rk4(3),
        DepthGrid.gauss(2, 3),
    ],
    ids=str,
)
def test_t7_traces_are_constant_in_depth(rng, grid):
    """At the ends of all steps, for every exact discrete adjoint, rough theta, too."""
    x, y = rng.normal(size=(2, 5, 3))
    problem = MeanFieldProblem(x, y, Linear(3))
    theta = 0.6 * rng.normal(size=(grid.n_nodes, 2, 9))
    found = mfpde.evaluate(problem, grid, ParticleEnsemble(theta))
    z, p = found.z, found.p
    if grid.is_implicit:
        # Points inside an element carry stages, not the ends of steps: 0 and 1 only.
        z, p = z[[0, -1]], p[[0, -1]]
    q = np.einsum("pic,pie->pce", p, z) / 5
    power = np.eye(3)
    for _ in range(3):
        power = power @ q
        traces = np.trace(power, axis1=1, axis2=2)
        # Rounding; the implicit stages are solved to 1e-14.
        assert np.ptp(traces) < 1e-13 * np.abs(q).max() ** 3
    # Not a matter of course: the matrices themselves move.
    assert np.ptp(q, axis=0).max() > 0.1


def test_t16_negative_determinant_is_out_of_reach():
    """det Y < 0: E decreases to sigma_min(Y)^2 / 2 and stays above."""
    target = np.diag([1.5, -0.5])
    problem = whitened(target, Linear(2))
    grid = DepthGrid.gauss(4, 8)
    ensemble = ParticleEnsemble(np.zeros((32, 1, 4)))
    times = [1.0, 10.0, 100.0]
    ends = flow(problem, grid, ensemble, times, rtol=1e-9)
    expected = exact.WhitenedLinear(target).loss(times)
    losses = [each.loss for each in ends]
    # rtol 1e-9 over a hundred steps; four nodes with |A| / 8 = 0.5: 1e-10.
    np.testing.assert_allclose(losses, expected, rtol=1e-7)
    assert losses[0] > losses[1] > losses[2] > exact.orientation_infimum(target)
    assert losses[2] < 0.125 + 0.011  # u_2 = 1 / (0.5 s) = 0.02, times 0.5


# T8: near two layers


def test_t8_gap_to_the_two_layer_network():
    x = np.array([0.4, -0.6])
    problem = MeanFieldProblem([x], [[0.0, 0.0]], FEATURES)
    grid = DepthGrid.gauss(8)
    f = np.array([math.tanh(x[1]) + 0.3, 0.7 * math.sin(x[0])])
    jacobian = np.array([[0, 1 / math.cosh(x[1]) ** 2], [0.7 * math.cos(x[0]), 0]])
    limit = exact.near_two_layer_limit(f, jacobian)
    sizes = [0.2, 0.1, 0.05, 0.025]
    printed = [0.11983, 0.12166, 0.12257, 0.12302]
    for eps, value in zip(sizes, printed, strict=True):
        theta = np.zeros((8, 1, 4))
        theta[:, :, 0] = eps
        end = mfpde.predict(problem, grid, ParticleEnsemble(theta), [x])[0]
        gap = np.linalg.norm(end - x - eps * f)
        # Half a unit of the last digit; rounding 1e-16 / eps^2 is far below.
        assert abs(gap / eps**2 - value) < 5.1e-6
        # Bound (21) with |d_z F| <= eps.
        assert gap < exact.near_two_layer_bound(eps * np.linalg.norm(f), eps)
    assert abs(2 * printed[3] - printed[2] - limit) < 2e-5


# T9: i.i.d. bilinear initialisation


def test_t9_mean_square_displacement():
    """L = 8, M = 4, d = 3: 0.0749483 for |z_0| = 1."""
    d, s_u, s_v, n_layers, n_particles = 3, 0.8, 1.1, 8, 4
    expected = exact.bilinear_displacement(d, s_u, s_v, n_layers, n_particles)
    law = mfpde.laws.Gaussian(0.0, [s_u] * 3 + [s_v] * 3)
    problem = MeanFieldProblem(np.eye(3), np.zeros((3, 3)), Bilinear(3))
    grid = DepthGrid.euler(n_layers)
    squares = []
    for seed in range(1000):
        ensemble = law.sample(grid, n_particles, coupling="layer", seed=seed)
        z = mfpde.predict(problem, grid, ensemble, np.eye(3))
        squares.append(np.sum((z - np.eye(3)) ** 2) / 3)
    # Four standard errors, below 2 % each; one layer or particle more is 12 %.
    error = np.std(squares) / math.sqrt(len(squares))
    assert error < 0.02 * expected
    assert abs(np.mean(squares) - expected) < 4 * error


# T13: covariance closure

GOLDEN_X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
GOLDEN_Y = np.array([[0.0, 1.0], [-1.0, 0.0], [0.5, -0.5]])
GOLDEN = MeanFieldProblem(GOLDEN_X, GOLDEN_Y, Bilinear(2))
# s, E, D
TABLE = [
    (0.0, 1.0833333333, 2.444444444),
    (0.25, 0.7553131475, 0.732117970),
    (0.5, 0.6250272556, 0.374438716),
    (1.0, 0.5027312458, 0.162070774),
    (2.0, 0.4019807326, 0.065152135),
    (5.0, 0.2917237550, 0.020593911),
]


def unit_covariance(grid):
    """+-2 e_j with weights 1/8: int theta theta^T drho = I at every depth."""
    points = 2.0 * np.concatenate([np.eye(4), -np.eye(4)])
    return ParticleEnsemble(np.broadcast_to(points, (grid.n_nodes, 8, 4)))


def covariance(ensemble):
    """Sigma at every node, (J, k, k)."""
    theta = ensemble.theta
    return np.einsum("m,jma,jmb->jab", ensemble.weights, theta, theta)


def test_t13_golden_table():
    """All printed digits of E and D, as `solve` records them."""
    grid = DepthGrid.gauss(10)
    s, loss, dissipation = np.array(TABLE).T
    ensemble = unit_covariance(grid)
    found = mfpde.solve(GOLDEN, grid, ensemble, s_end=5.0, record=s, **TIGHT)
    assert found.status == "finished"
    assert (found.s == s).all()
    # Half a unit of the last digit and 1e-11 of the steps to s = 5.
    np.testing.assert_allclose(found.loss, loss, rtol=0, atol=6e-11 + 1e-11)
    np.testing.assert_allclose(found.dissipation, dissipation, rtol=0, atol=6e-10)
    assert found.dissipation[0] == pytest.approx(22 / 9, rel=1e-14)
    # The ledger of Eq. (28), integrated beside theta.
    assert np.abs(found.scalars["energy_residual"]).max() < 1e-11


def test_t13_golden_state_at_one():
    grid = DepthGrid.gauss(8)
    end = at(GOLDEN, grid, unit_covariance(grid), 1.0)
    assert abs(end.loss - 0.5027312458) < 6e-11
    sigma = covariance(end.ensemble)
    a = in_depth(grid, sigma[:, 2:, :2], [0.0, 1.0])
    # Extrapolated to the ends by the polynomial of eight nodes.
    first = [[-0.485089332, -0.545148858], [0.009921846, -0.744559361]]
    last = [[-0.362387971, -0.454510808], [0.137698749, -0.868043128]]
    np.testing.assert_allclose(a, [first, last], atol=1.5e-9)
    z = [
        [0.6513923467, 0.0362185935],
        [-0.2793784175, 0.4332322022],
        [0.3720139291, 0.4694507956],
    ]
    np.testing.assert_allclose(end.z_end, z, atol=6e-11)
    assert abs(end.second_moment - 4.9320526086) < 6e-11
    signs = np.array([1, 1, -1, -1])
    invariants = signs[:, np.newaxis] * sigma
    squares = np.trace(invariants @ invariants, axis1=1, axis2=2)
    # Kept by the steps to their tolerance, at every depth.
    np.testing.assert_allclose(squares, 4.0, atol=1e-10)
    for power in (1, 3):
        trace = np.trace(np.linalg.matrix_power(invariants, power), axis1=1, axis2=2)
        np.testing.assert_allclose(trace, 0.0, atol=1e-10)
    # White start: Sigma J Sigma = J for all s.
    np.testing.assert_allclose(
        sigma @ (signs[:, np.newaxis] * sigma),
        np.broadcast_to(np.diag(signs), sigma.shape),
        atol=1e-10,
    )
    # u_i.u_j - v_i.v_j of all pairs of particles.
    before, after = (
        np.einsum("jac,jbc,c->jab", e.theta, e.theta, signs)
        for e in (unit_covariance(grid), end.ensemble)
    )
    np.testing.assert_allclose(after, before, atol=1e-10)


def closed_network(problem, ensemble, ridge=0.0):
    """The closure of a finite network, from the moments of its particles."""
    return BilinearMoments(
        problem.x,
        problem.y,
        covariance(ensemble),
        ridge=ridge,
        depth=DepthScheme.euler(len(ensemble.theta)),
        sample_weights=problem.sample_weights,
    )


def test_t13_certified_rate():
    """(33): D >= 2 sigma^2 int |Q|^2 dt, with equality at s = 0."""
    grid = DepthGrid.euler(8)
    ends = flow(GOLDEN, grid, unit_covariance(grid), [0.0, 0.5, 2.0])
    for end in ends:
        state = closed_network(GOLDEN, end.ensemble).flow(0.0)
        bound = state.certified_dissipation(1.0)
        if end.s == 0.0:
            assert end.dissipation == pytest.approx(float(bound), rel=1e-13)
        else:
            assert end.dissipation > bound


def assert_same_moments(evaluation, state, atol):
    """Covariance, outputs and every scalar of the closure."""
    np.testing.assert_allclose(
        covariance(evaluation.ensemble), state.covariance, atol=atol
    )
    np.testing.assert_allclose(evaluation.z_end, state.output, atol=atol)
    for name in ("loss", "objective", "second_moment", "dissipation"):
        value = float(getattr(state, name))
        assert getattr(evaluation, name) == pytest.approx(value, abs=atol), name


def test_t13_exact_law_of_a_finite_network(rng):
    """Three random particles in each layer, ridge, unequal weights: all d, N, M, L."""
    problem = MeanFieldProblem(
        GOLDEN_X,
        GOLDEN_Y,
        Bilinear(2),
        sample_weights=[0.5, 0.2, 0.3],
        regulariser=DecayingQuadratic(0.05),
    )
    weights = np.array([0.2, 0.5, 0.3])
    ensemble = ParticleEnsemble(rng.normal(size=(5, 3, 4)), weights)
    end = at(problem, DepthGrid.euler(5), ensemble, 1.0)
    # Steps of the flow: 1e-12 each, some fifty of them; values up to 5.
    state = closed_network(problem, ensemble, ridge=0.05).flow(1.0)
    assert_same_moments(end, state, 1e-10)


@pytest.mark.parametrize(
    ("scheme", "size"), [("midpoint", (3,)), ("rk4", (2,)), ("gauss", (3, 2))]
)
def test_t13_exact_law_of_every_depth_scheme(rng, scheme, size):
    """d = 3, particles that differ at all nodes, a ridge that decays."""
    x, y = rng.normal(size=(2, 2, 3))
    problem = MeanFieldProblem(
        x, y, Bilinear(3), regulariser=DecayingQuadratic(0.2, 0.7)
    )
    grid = getattr(DepthGrid, scheme)(*size)
    ensemble = ParticleEnsemble(
        0.5 * rng.normal(size=(grid.n_nodes, 4, 6)), [0.1, 0.4, 0.3, 0.2]
    )
    depth = getattr(DepthScheme, scheme)(*size)
    np.testing.assert_allclose(depth.nodes, grid.nodes, atol=1e-15)
    np.testing.assert_allclose(depth.weights, grid.weights, atol=1e-15)
    closed = BilinearMoments(x, y, covariance(ensemble), 0.2, 0.7, depth=depth)
    for end in flow(problem, grid, ensemble, [0.0, 0.8]):
        assert_same_moments(end, closed.flow(end.s), 1e-10)


def test_t7_matrix_flow_of_any_data(rng):
    """Means that vary in depth and sample weights, on every grid."""
    x, y = rng.normal(size=(2, 4, 2))
    c = rng.dirichlet(np.ones(4))
    problem = MeanFieldProblem(x, y, Linear(2), sample_weights=c)
    for scheme, size in (("euler", (4,)), ("rk4", (2,)), ("gauss", (4,))):
        grid = getattr(DepthGrid, scheme)(*size)
        theta = 0.5 * rng.normal(size=(grid.n_nodes, 2, 4))
        ensemble = ParticleEnsemble(theta, [0.3, 0.7])
        mean = np.einsum("m,jmk->jk", [0.3, 0.7], theta).reshape(-1, 2, 2)
        depth = getattr(DepthScheme, scheme)(*size)
        closed = exact.MatrixLinear(x, y, mean, depth, c)
        end = at(problem, grid, ensemble, 0.9)
        np.testing.assert_allclose(end.z_end, closed.output(0.9), atol=2e-11)
        assert end.loss == pytest.approx(float(closed.loss(0.9)), abs=2e-11)
        dissipation = float(closed.dissipation(0.9))
        assert end.dissipation == pytest.approx(dissipation, abs=1e-10)


def test_t13_one_euler_step_is_a_congruence(rng):
    """Sigma <- T Sigma T^T with T = I + ds B, exactly."""
    ensemble = ParticleEnsemble(rng.normal(size=(4, 3, 4)), [0.2, 0.5, 0.3])
    end = at(GOLDEN, DepthGrid.euler(4), ensemble, 0.1, stepper="euler", ds=0.1)
    state = closed_network(GOLDEN, ensemble).descend(0.1, 1)
    assert_same_moments(end, state, 1e-13)


@pytest.mark.parametrize(
    ("n_layers", "printed"),
    [
        (4, 0.46558605),
        (8, 0.48482279),
        (16, 0.49393541),
        (32, 0.49837198),
        (64, 0.50056115),
    ],
)
def test_t13_finite_depth(n_layers, printed):
    grid = DepthGrid.euler(n_layers)
    # Half a unit of the eighth digit.
    assert abs(at(GOLDEN, grid, unit_covariance(grid), 1.0).loss - printed) < 6e-9


@pytest.mark.parametrize(
    ("n_layers", "ds", "printed"),
    [(8, 0.02, 0.48350450), (16, 0.01, 0.49327536), (32, 0.005, 0.49804196)],
)
def test_t13_gradient_descent(n_layers, ds, printed):
    grid = DepthGrid.euler(n_layers)
    end = at(GOLDEN, grid, unit_covariance(grid), 1.0, stepper="euler", ds=ds)
    assert abs(end.loss - printed) < 6e-9


def test_t13_depth_order_of_rk4():
    reference = 0.6250272556
    fine = DepthGrid.gauss(8)
    limit = at(GOLDEN, fine, unit_covariance(fine), 0.5).loss
    assert abs(limit - reference) < 6e-11
    n, errors = [2, 4, 8, 16, 32], []
    for n_steps in n:
        grid = DepthGrid.rk4(n_steps)
        errors.append(at(GOLDEN, grid, unit_covariance(grid), 0.5).loss - limit)
    # By SciPy at 1e-13 on the closed system of the 2 L + 1 covariances, and three
    # digits. The theory prints 6.5e-8 for L = 8, as RK4 in s with 30 steps would give.
    for found, closed in zip(errors, (1.755e-5, 1.020e-6, 6.12e-8), strict=False):
        assert found == pytest.approx(closed, rel=1e-3)
    assert_order(n, errors, 4, 3e-10)


def test_t13_extrapolation_in_depth():
    """Richardson over L = 4 ... 64 gives eight digits at s = 1."""
    losses = []
    for n_layers in (4, 8, 16, 32, 64):
        grid = DepthGrid.euler(n_layers)
        losses.append(at(GOLDEN, grid, unit_covariance(grid), 1.0).loss)
    for power in range(1, 5):
        factor = 2.0**power
        pairs = zip(losses[1:], losses[:-1], strict=True)
        losses = [(factor * fine - coarse) / (factor - 1) for fine, coarse in pairs]
    assert abs(losses[0] - 0.5027312458) < 1e-8
