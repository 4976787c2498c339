"""`references.exact` against independent routes, on data the theory does not print."""

import doctest
import importlib
import math
import pkgutil

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm, sqrtm

from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.references import exact
from mfpde.references.exact import DepthScheme
from mfpde.references.exact.schemes import sweep

RNG = np.random.default_rng(12)
X1, Y1 = np.array([0.7, -1.1, 1.6]), np.array([1.0, 0.4, 2.2])
C = np.array([0.5, 0.2, 0.3])
X2, Y2 = RNG.normal(size=(2, 3, 2))
FACTORS = RNG.normal(size=(2, 4, 4)) / 2
PATH = [np.diag([0.4, 0.9, 0.5, 0.7]), FACTORS[0] @ FACTORS[0].T, 0.1 * np.eye(4)]
SCHEMES = [
    DepthScheme.euler(5),
    DepthScheme.midpoint(3),
    DepthScheme.rk4(2),
    DepthScheme.gauss(3, 2),
]


def covariance_path(t):
    """A covariance that depends on depth."""
    return PATH[0] + t * PATH[1] + math.sin(3 * t) * PATH[2]


def linear_path(t):
    return np.array([[0.3 - t, 0.5 * t**2], [-0.4, math.cos(t)]])


CASES = {
    "linear": exact.ScalarLinear(X1, Y1, -0.3, C),
    "linear, Euler": exact.ScalarLinear(X1, Y1, [0.2, -0.7, 0.4], n_layers=3),
    "bilinear": exact.ScalarBilinear(X1, Y1, 0.6, -0.2, C),
    "bilinear, Euler": exact.ScalarBilinear(0.8, 1.7, [0.3, 0.9], [0.1, -0.5], None, 2),
    "quadratic": exact.ScalarQuadratic(X1, Y1, 0.2, C),
    "two layers": exact.TwoLayer(Y1, -0.3, 0.5, X1, C),
    "bias": exact.Bias(X2, Y2, [0.3, -1.0], [0.2, 0.5], 0.3, 0.7, sample_weights=C),
    "matrix": exact.MatrixLinear(X2, Y2, linear_path, sample_weights=C),
    "matrix, Euler": exact.MatrixLinear(X2, Y2, linear_path, DepthScheme.euler(4)),
    "whitened": exact.WhitenedLinear([[1.5, 0.4], [0.4, -0.3]]),
    "whitened, Euler": exact.WhitenedLinear([[1.5, 0.4], [0.4, -0.3]], 5),
    "moments": exact.BilinearMoments(X2, Y2, covariance_path, 0.2, 0.6),
    "moments, Euler": exact.BilinearMoments(
        X2, Y2, covariance_path, 0.2, 0.6, depth=DepthScheme.euler(3), sample_weights=C
    ),
}


# What all cases share


@pytest.mark.parametrize("name", CASES)
def test_the_objective_falls_at_the_rate_of_the_dissipation(name):
    """dE_s/ds = -D_s + lambda'(s) M2, Eq. (14), by differences of fourth order."""
    case, s, h = CASES[name], 0.1, 0.002
    value = getattr(case, "objective", case.loss)
    at = value(s + h * np.array([-2, -1, 1, 2]))
    slope = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
    expected = -case.dissipation(s)
    if hasattr(case, "objective"):
        ridge = case.ridge * math.exp(-case.decay * s)
        expected -= case.decay * ridge * case.second_moment(s)
    # h^4 / 30 of the fifth derivative.
    assert slope == pytest.approx(expected, rel=2e-6)
    assert abs(expected) > 1e-5


@pytest.mark.parametrize("name", CASES)
def test_times_of_any_shape_and_order(name):
    case = CASES[name]
    grid = [[0.5, 0.0, 0.2], [0.2, 0.5, 0.5]]
    values = case.output(grid)
    assert values.shape == (2, 3, *case.y.shape)
    assert case.loss(grid).shape == case.dissipation(grid).shape == (2, 3)
    assert np.shape(case.loss(0.5)) == ()
    assert case.output([]).shape == (0, *case.y.shape)
    # The steps differ with the other times asked for.
    np.testing.assert_allclose(values[1, 2], case.output(0.5), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(values[0, 0], values[1, 1])
    np.testing.assert_array_equal(values[0, 2], values[1, 0])


@pytest.mark.parametrize("name", CASES)
def test_two_steps_in_s_are_one(name):
    """Values at s do not depend on stops on the way: the accuracy that is stated."""
    case = CASES[name]
    many = case.output(np.linspace(0.0, 2.0, 9))[-1]
    np.testing.assert_allclose(case.output(2.0), many, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_times_are_checked(name):
    with pytest.raises(ValueError, match=r"`s` must not be negative, got -0\.1"):
        CASES[name].output([0.0, -0.1])
    with pytest.raises(ValueError, match="`s` must be finite"):
        CASES[name].dissipation(math.nan)


@pytest.mark.parametrize(
    "module",
    [m.name for m in pkgutil.iter_modules(exact.__path__, "mfpde.references.exact.")],
)
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


def test_limits_of_the_integration(monkeypatch):
    with pytest.raises(NotFiniteError, match="not finite at s = 0"):
        exact.ScalarLinear(1.0, 1.0, 800.0).output(1.0)
    monkeypatch.setattr("mfpde.references.exact.closed.MAX_EVALUATIONS", 2000)
    with pytest.raises(ConvergenceError, match="more than 2000 evaluations"):
        exact.ScalarLinear(1.0, 300.0).output(1.0)


# T1, T18


def test_t1_implicit_solution_and_target_zero():
    case = exact.ScalarLinear(0.6, 1.4, 0.9)
    s = np.array([0.0, 0.3, 1.0, 4.0])
    u = case.output(s)
    implicit = np.log(np.abs(u - 1.4) / u) / 1.4**2 + 1 / (1.4 * u)
    # |u - y| is 1e-4 at the end and amplifies an error of 1e-14.
    np.testing.assert_allclose(implicit + s, implicit[0], atol=1e-10)
    s = np.array([0.1, 1.0, 100.0, 1e4])
    u = exact.ScalarLinear(0.6, 0.0, 0.9).output(s)
    u0 = 0.6 * math.exp(0.9)
    np.testing.assert_allclose(u, u0 / np.sqrt(1 + 2 * u0**2 * s), rtol=1e-11)


def test_t1_printed_equations_of_one_sample():
    """u and delta by their own equations, which the package does not use."""
    x, y, a, n = -0.8, -1.9, 0.5, 6

    def rhs(_, v):
        u, delta, finite = v
        forcing = -2 * u**2 * (u - y) * math.log(x / u)
        return [
            -(u**2) * (u - y),
            -(3 * u**2 - 2 * u * y) * delta + forcing,
            -(abs(finite) ** (2 - 2 / n)) * abs(x) ** (2 / n) * (finite - y),
        ]

    u0 = x * math.exp(a)
    start = [u0, -0.5 * u0 * a**2, x * (1 + a / n) ** n]
    end = solve_ivp(rhs, (0, 0.7), start, "DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
    case = exact.ScalarLinear(x, y, a)
    found = [v(0.7) for v in (case.output, case.depth_coefficient)]
    found.append(case.finite_depth(n).output(0.7))
    np.testing.assert_allclose(found, end, atol=1e-11)


def test_t1_depth_coefficient_of_many_samples():
    case = CASES["linear"]
    delta = case.depth_coefficient(0.8)
    assert delta.shape == (3,)
    n = np.array([64, 128, 256, 512])
    scaled = [k * (case.finite_depth(k).output(0.8) - case.output(0.8)) for k in n]
    errors = np.abs(np.array(scaled) - delta).max(axis=1)
    order = -np.polyfit(np.log(n), np.log(errors), 1)[0]
    assert abs(order - 1) < 0.05
    assert errors[-1] < 2e-3


def test_t1_mean_is_that_of_the_matrix_flow():
    """d = 1 of `MatrixLinear`, layer by layer and on Gauss nodes."""
    found = CASES["linear, Euler"].mean([0.3, 1.1])
    start = np.reshape([0.2, -0.7, 0.4], (3, 1, 1))
    net = exact.MatrixLinear(X1[:, None], Y1[:, None], start, DepthScheme.euler(3))
    np.testing.assert_allclose(found, net.mean([0.3, 1.1])[..., 0, 0], atol=1e-11)
    limit = exact.MatrixLinear(
        X1[:, None], Y1[:, None], [[-0.3]], sample_weights=C
    ).mean(1.1)
    np.testing.assert_allclose(
        limit.ravel(), CASES["linear"].mean(1.1) * np.ones(12), atol=1e-11
    )


def test_t18_one_sample_and_blow_up():
    """u' = -u^4 (u - y) for one sample."""
    end = solve_ivp(
        lambda _, u: -(u**4) * (u - 1.7),
        (0, 0.9),
        [0.8 / (1 - 0.24)],
        "DOP853",
        rtol=1e-13,
        atol=1e-15,
    )
    found = exact.ScalarQuadratic(0.8, 1.7, 0.3).output(0.9)
    assert found == pytest.approx(end.y[0, -1], abs=1e-12)
    assert exact.blow_up_depth([0.2, 0.8, -4.0], 2.5) == pytest.approx(0.5)
    assert exact.blow_up_depth([0.2, -0.5], -4.0) == pytest.approx(0.5)
    assert exact.blow_up_depth(-1.0, 3.0) == math.inf
    with pytest.raises(ValueError, match=r"blow up at t = 0.5 \(depth\)"):
        exact.ScalarQuadratic([0.2, 0.8], [0.0, 0.0], 2.5)


# T3


def test_t3_is_the_closure_in_one_dimension():
    sigma = np.array([[0.5, -0.2], [-0.2, 0.7]])  # a = 0.6, r = -0.2
    limit = exact.BilinearMoments(X1[:, None], Y1[:, None], sigma, sample_weights=C)
    s = [0.2, 1.3]
    np.testing.assert_allclose(
        CASES["bilinear"].output(s), limit.output(s)[..., 0], atol=1e-11
    )
    state = limit.flow(s)
    r, a = CASES["bilinear"].moments(s)
    np.testing.assert_allclose(state.a[..., 0, 0], np.tile(r[:, None], 12), atol=1e-11)
    np.testing.assert_allclose(state.second_moment, 2 * a, atol=1e-11)
    np.testing.assert_allclose(a**2 - r**2, 0.36 - 0.04, atol=1e-12)
    np.testing.assert_allclose(
        CASES["bilinear"].second_moment(s), state.second_moment, atol=1e-11
    )


def test_t3_layers_that_differ():
    stacked = [[[0.3, 0.1], [0.1, 0.3]], [[0.9, -0.5], [-0.5, 0.9]]]
    net = exact.BilinearMoments([[0.8]], [[1.7]], stacked, depth=DepthScheme.euler(2))
    case = CASES["bilinear, Euler"]
    state = net.flow(0.9)
    r, a = case.moments(0.9)
    np.testing.assert_allclose(state.a.ravel(), r, atol=1e-11)
    np.testing.assert_allclose(
        np.trace(state.covariance, axis1=1, axis2=2), 2 * a, atol=1e-11
    )
    assert case.dissipation(0.9) == pytest.approx(float(state.dissipation), abs=1e-11)
    # A layer that maps to zero: its own gradient needs the product of the others.
    dead = exact.ScalarLinear(1.0, 2.0, [-2.0, 0.5], n_layers=2)
    assert dead.dissipation(0.0) == pytest.approx((1.25 * 2) ** 2 / 2)


def test_t3_width_constant_is_the_gradient_in_the_moments():
    base, h = exact.ScalarBilinear.gaussian(0.9, 1.6, sigma=0.8), 1e-4

    def end(r, a):
        return exact.ScalarBilinear(0.9, 1.6, 0.64 + a, r).output(0.7)

    slopes = [(end(h, 0) - end(-h, 0)) / (2 * h), (end(0, h) - end(0, -h)) / (2 * h)]
    # Rounding 1e-13 / h, and h^2.
    assert base.width_constant(0.7) == pytest.approx(0.64 * np.hypot(*slopes), rel=1e-7)


def test_late_rates():
    late = exact.ScalarBilinear(0.9, 1.4, 0.5, 0.1)
    losses = late.loss([4.0, 4.2])
    assert math.log(losses[0] / losses[1]) / 0.2 == pytest.approx(
        late.late_rate(), rel=1e-4
    )
    two = exact.TwoLayer(Y1, 0.1, 0.5, X1, C)
    excess = two.loss([3.5, 3.7]) - two.loss(50.0)
    rate = math.log(excess[0] / excess[1]) / 0.2
    assert rate == pytest.approx(two.late_rate(), rel=1e-3)


# T4, T5, T20


@pytest.mark.parametrize(
    ("r", "a", "y"),
    [
        (0.2, 0.8, 1.7),
        (-0.4, 0.6, 1.3),
        (0.4, 0.6, -1.3),
        (0.0, 1.0, 0.0),
        (0.5, 0.5, 1.2),  # k = 0, reached
        (-0.5, 0.5, 1.2),  # k = 0, out of reach
        (0.5, 0.5, 0.0),  # k = 0 and target zero
        (0.0, 0.0, 1.0),  # stationary
        (0.3, 0.3 + 1e-11, -1.0),  # a near-saddle, where P is tiny
        (30.0, 40.0, 0.5),
    ],
)
def test_t4_against_the_moment_equations(r, a, y):
    case = exact.TwoLayer([y, 2 * y, 0.1], r, a, [1.0, 1.5, -0.7], C)

    def rhs(_, v):
        c = C @ (case.x * (v[0] * case.x - case.y))
        return [-2 * v[1] * c, -2 * v[0] * c]

    s = [0.0, 0.01, 0.4, 2.0]
    ode = solve_ivp(rhs, (0, 2), [r, a], "DOP853", s, rtol=1e-13, atol=1e-15).y
    # Dense output of the integrator: relative 1e-10 at a = 40.
    np.testing.assert_allclose(case.correlation(s), ode[0], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(case.second_moment(s), 2 * ode[1], rtol=1e-9, atol=1e-10)


def test_t5_t20_closed_formulas():
    """Integrating factors by quadrature; constant lambda with noise in closed form."""
    lambda0, gamma, s = 0.3, 0.7, 1.9
    case = exact.Bias(X2, Y2, [0.3, -1.0], 0.4, lambda0, gamma, sample_weights=C)

    def grown(r):
        return lambda0 / gamma * -math.expm1(-gamma * r)

    gap = C @ (Y2 - X2)
    area = quad(lambda r: math.exp(r + 2 * grown(r)), 0, s, epsabs=1e-13)[0]
    mean = math.exp(-s - 2 * grown(s)) * (np.array([0.3, -1.0]) + gap * area)
    np.testing.assert_allclose(case.mean_at(s), mean, atol=1e-12)
    np.testing.assert_allclose(
        case.variance_at(s), 0.4 * math.exp(-4 * grown(s)), atol=1e-12
    )
    noisy = exact.Bias([[0.0]], [[1.0]], [0.2], 0.4, ridge=0.6, temperature=0.25)
    left = math.exp(-2.4 * s)
    expected = 0.4 * left + 0.25 / 1.2 * (1 - left)
    assert noisy.variance_at(s)[0] == pytest.approx(expected, abs=1e-12)
    assert noisy.second_moment(s) == pytest.approx(
        expected + noisy.mean_at(s)[0] ** 2, abs=1e-12
    )
    plain = exact.Bias(X2, Y2, [0.3, -1.0], sample_weights=C)
    now = gap + (np.array([0.3, -1.0]) - gap) * math.exp(-s)
    scatter = C @ ((Y2 - X2 - gap) ** 2).sum(axis=1)
    loss = 0.5 * scatter + 0.5 * np.sum((now - gap) ** 2)
    assert plain.loss(s) == pytest.approx(loss, abs=1e-12)


# Depth schemes


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_the_adjoint_is_the_gradient_of_the_scheme(scheme):
    """omega_j Q_j is dE / dA_j, entry by entry; the weights sum to one."""
    assert scheme.weights.sum() == pytest.approx(1.0, abs=1e-15)
    a = np.random.default_rng(5).normal(size=(scheme.n_nodes, 2, 2))
    q = sweep(scheme, a, X2, Y2, C).q
    for index in np.ndindex(a.shape):
        ends = []
        for h in (-1e-5, 1e-5):
            moved = a.copy()
            moved[index] += h
            ends.append(sweep(scheme, moved, X2, Y2, C).loss)
        slope = (ends[1] - ends[0]) / 2e-5
        # h^2 / 6 of the third derivative and 1e-16 / h.
        assert slope == pytest.approx(scheme.weights[index[0]] * q[index], abs=2e-9)


def test_gauss_nodes_are_those_of_the_textbook():
    two = DepthScheme.gauss(2)
    root = math.sqrt(3) / 6
    np.testing.assert_allclose(two.nodes, [0.5 - root, 0.5 + root], atol=1e-16)
    np.testing.assert_allclose(
        two.a, [[0.25, 0.25 - root], [0.25 + root, 0.25]], atol=1e-16
    )
    many = DepthScheme.gauss(16)
    powers = np.arange(16)
    integral = many.nodes[:, None] ** (powers + 1) / (powers + 1)
    np.testing.assert_allclose(
        many.a @ many.nodes[:, None] ** powers, integral, atol=1e-14
    )


@pytest.mark.parametrize(
    ("scheme", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)]
)
def test_order_in_depth_of_a_constant_matrix(scheme, order):
    a = np.array([[0.3, -0.8], [0.9, -0.2]])
    n, errors = [8, 16, 32, 64], []
    for size in n:
        grid = getattr(DepthScheme, scheme)(size)
        matrices = np.broadcast_to(a, (grid.n_nodes, 2, 2))
        found = sweep(grid, matrices, X2, Y2, C).output
        errors.append(np.abs(found - X2 @ expm(a).T).max())
    assert abs(-np.polyfit(np.log(n), np.log(errors), 1)[0] - order) < 0.1
    assert errors[-1] < {1: 0.03, 2: 3e-4, 4: 2e-8}[order]


def test_continuation_in_depth():
    scheme = DepthScheme.gauss(4)
    values = np.stack([scheme.nodes**3, 1 - scheme.nodes], axis=1)
    np.testing.assert_allclose(
        scheme.at_depth(values, [[0.0, 1.0]]), [[[0, 1], [1, 0]]], atol=1e-14
    )
    with pytest.raises(ValueError, match="scheme 'rk4' with 3 steps"):
        DepthScheme.rk4(3).at_depth(np.zeros(7), 0.5)
    with pytest.raises(ValueError, match="scheme 'gauss' with 2 steps"):
        DepthScheme.gauss(3, 2).at_depth(np.zeros(6), 0.5)


# T7


def test_t7_whitened_is_the_matrix_flow():
    case = CASES["whitened"]
    s = [0.3, 1.5]
    for n_layers in (None, 5):
        short = case if n_layers is None else case.finite_depth(n_layers)
        full = exact.MatrixLinear(case.x, case.y)
        full = full if n_layers is None else full.finite_depth(n_layers)
        np.testing.assert_allclose(short.output(s), full.output(s), atol=1e-11)
        np.testing.assert_allclose(short.loss(s), full.loss(s), atol=1e-11)
        np.testing.assert_allclose(
            short.dissipation(s), full.dissipation(s), atol=1e-11
        )
    np.testing.assert_allclose(case.end_map(0.0), np.eye(2), atol=1e-15)
    negative = np.linalg.eigvalsh(case.target)[0]
    assert case.final_loss() == pytest.approx(negative**2 / 2)
    assert case.final_loss() == pytest.approx(exact.orientation_infimum(case.target))
    # u = 1 / (|y| s) for the negative eigenvalue: E - inf = |y| u.
    assert case.loss(1e4) - case.final_loss() == pytest.approx(1e-4, rel=1e-2)


def test_t7_velocity_and_traces_in_depth():
    """Q by matrix exponentials for constant A; traces of Q^j constant along t."""
    a = np.array([[0.3, -0.8], [0.9, -0.2]])
    constant = exact.MatrixLinear(X2, Y2, a, sample_weights=C)
    q = constant.gradient(0.0)
    end = X2 @ expm(a).T - Y2
    for t, found in zip(constant.depth.nodes, q, strict=True):
        p, z = end @ expm((1 - t) * a), X2 @ expm(t * a).T
        np.testing.assert_allclose(found, (C[:, None] * p).T @ z, atol=1e-13)
    moving = CASES["matrix"].gradient(0.8)
    for power in (1, 2):
        traces = np.trace(np.linalg.matrix_power(moving, power), axis1=1, axis2=2)
        # Spectral in the twelve nodes, at the nodes themselves.
        assert np.ptp(traces) < 1e-10
    assert np.ptp(moving, axis=0).max() > 0.05


# T13


def test_t13_zero_inputs_leave_an_ornstein_uhlenbeck_process():
    """x = 0: Q = 0, Sigma' = -4 lambda Sigma + 2 nu I at every depth."""
    case = exact.BilinearMoments(
        np.zeros((1, 2)), [[1.0, 0.0]], covariance_path, ridge=0.4, temperature=0.3
    )
    state = case.flow(0.9)
    left = math.exp(-1.6 * 0.9)
    expected = left * case.flow(0.0).covariance + 0.6 / 1.6 * (1 - left) * np.eye(4)
    np.testing.assert_allclose(state.covariance, expected, atol=1e-12)


def test_t13_noise_feeds_the_second_moment():
    """dM2/ds = -4 mean p.F - 4 lambda M2 + 4 d nu, by homogeneity (T12)."""
    case = exact.BilinearMoments(
        X2, Y2, covariance_path, ridge=0.2, decay=0.5, temperature=0.1, sample_weights=C
    )
    s, h = 0.6, 0.01
    moment = case.second_moment(s + h * np.array([-2, -1, 1, 2]))
    slope = (moment[0] - 8 * moment[1] + 8 * moment[2] - moment[3]) / (12 * h)
    state = case.flow(s)
    work = np.einsum("jab,jab->j", state.q, state.a) @ case.depth.weights
    ridge = 0.2 * math.exp(-0.5 * s)
    expected = -4 * work - 4 * ridge * state.second_moment + 8 * 0.1
    assert slope == pytest.approx(expected, rel=1e-6)


def test_t13_particles_of_a_network_by_hand():
    """Twelve particles in three layers, in loops, by explicit Euler in s."""
    rng = np.random.default_rng(8)
    theta, w = rng.normal(size=(3, 4, 4)) / 2, np.array([0.1, 0.4, 0.3, 0.2])
    case = exact.BilinearMoments(
        X2,
        Y2,
        np.einsum("m,lma,lmb->lab", w, theta, theta),
        ridge=0.3,
        decay=0.8,
        depth=DepthScheme.euler(3),
        sample_weights=C,
    )
    ds = 0.05
    for step in range(4):
        u, v = theta[..., :2], theta[..., 2:]
        z = [X2]
        for layer in range(3):
            z.append(z[-1] + (z[-1] @ u[layer].T * w) @ v[layer] / 3)
        p, velocity = z[-1] - Y2, np.empty_like(theta)
        loss = 0.5 * C @ (p**2).sum(axis=1)
        for layer in (2, 1, 0):
            velocity[layer, :, :2] = -((p @ v[layer].T * C[:, None]).T @ z[layer])
            velocity[layer, :, 2:] = -((z[layer] @ u[layer].T * C[:, None]).T @ p)
            p = p + (p @ v[layer].T * w) @ u[layer] / 3
        ridge = 0.3 * math.exp(-0.8 * ds * step)
        found = case.flow(0.0) if step == 0 else case.descend(ds, step)
        assert found.loss == pytest.approx(loss, abs=1e-14)
        np.testing.assert_allclose(
            found.covariance,
            np.einsum("m,lma,lmb->lab", w, theta, theta),
            atol=1e-14,
        )
        velocity -= 2 * ridge * theta
        rate = np.einsum("m,lma,lma->", w, velocity, velocity) / 3
        assert found.dissipation == pytest.approx(rate, abs=1e-13)
        theta = theta + ds * velocity


def test_t13_certificates():
    """(33) and (15) along a run from white covariance; invariants of T13."""
    case = exact.BilinearMoments(X2, Y2, 0.49 * np.eye(4))
    state = case.flow([0.0, 0.3, 1.0, 3.0])
    bound = state.certified_dissipation(0.7)
    assert bound[0] == pytest.approx(state.dissipation[0], rel=1e-13)
    assert (bound[1:] < state.dissipation[1:]).all()
    solution = np.linalg.lstsq(X2, Y2, rcond=None)[0]
    least = 0.5 * np.mean(np.sum((X2 @ solution - Y2) ** 2, axis=1))
    kappa = np.linalg.eigvalsh(X2.T @ X2 / 3)[0]
    largest = np.linalg.norm(state.a, 2, axis=(-2, -1)).max()
    rate = exact.certified_rate(0.7, kappa, largest)
    assert (state.dissipation >= rate * (state.loss - least)).all()
    for moment, loss, s in zip(state.second_moment, state.loss, state.s, strict=True):
        most = exact.second_moment_bound(
            state.second_moment[0], state.loss[0] - loss, s
        )
        assert moment <= most * (1 + 1e-12)
    np.testing.assert_allclose(
        state.invariants(), state.invariants()[:1] * np.ones((4, 1, 1)), atol=1e-11
    )
    signs = np.diag([1.0, 1.0, -1.0, -1.0])
    product = state.covariance @ signs @ state.covariance
    np.testing.assert_allclose(
        product, 0.49**2 * signs * np.ones((4, 12, 1, 1)), atol=1e-11
    )


def test_bures_distance():
    first, second = (f @ f.T + 0.1 * np.eye(4) for f in FACTORS)
    root = sqrtm(first)
    cross = np.trace(np.real(sqrtm(root @ second @ root)))
    expected = math.sqrt(np.trace(first) + np.trace(second) - 2 * cross)
    assert exact.bures_distance(first, second) == pytest.approx(expected, abs=1e-12)
    stack = np.stack([first, second])
    found = exact.bures_distance(stack, stack[::-1])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # Near: |1 - sqrt(1 + e)| = e / 2 for every axis; the textbook form gives 1e-8.
    near = exact.bures_distance(np.eye(4), (1 + 1e-10) * np.eye(4))
    assert near == pytest.approx(2 * 0.5e-10, rel=1e-4)
    # A rank-one law and its mirror: |a| = |b|, a and b orthogonal.
    mirror = exact.bures_distance(np.diag([4.0, 0.0]), np.diag([0.0, 4.0]))
    assert mirror == pytest.approx(math.sqrt(8.0))
    with pytest.raises(ValueError, match="same size, got 4 and 2"):
        exact.bures_distance(first, np.eye(2))


# Formulas


def hermite(function, std, n=60):
    """E function(std g) for g ~ N(0, 1)."""
    points, weights = np.polynomial.hermite_e.hermegauss(n)
    return weights @ function(std * points) / weights.sum()


def test_t1_sampling_by_quadrature():
    x, m, sg, n_particles = -0.7, 0.3, 0.6, 5
    std = sg / math.sqrt(n_particles)
    mean, variance = exact.scalar_sampling(x, m, sg, n_particles)
    assert mean == pytest.approx(hermite(lambda g: x * np.exp(m + g), std), rel=1e-13)
    second = hermite(lambda g: (x * np.exp(m + g)) ** 2, std)
    assert variance == pytest.approx(second - mean**2, rel=1e-12)
    mean, variance = exact.scalar_sampling(x, m, sg, n_particles, n_layers=3)
    one = hermite(lambda g: 1 + (m + g) / 3, std)
    two = hermite(lambda g: (1 + (m + g) / 3) ** 2, std)
    assert mean == pytest.approx(x * one**3, rel=1e-13)
    assert variance == pytest.approx(x**2 * (two**3 - one**6), rel=1e-12)
    zero, alone = exact.scalar_sampling(x, -3.0, sg, n_particles, n_layers=3)
    assert zero == 0.0
    assert alone == pytest.approx(x**2 * (std / 3) ** 6, rel=1e-12)


def test_t1_left_positions():
    def path(t):
        return 0.3 + math.sin(2 * t)

    coefficient = exact.left_position_coefficient(-0.9, path)
    area = quad(path, 0, 1, epsabs=1e-14)[0]
    scaled = []
    for n in (2000, 4000):
        product = np.prod([1 + path(layer / n) / n for layer in range(n)])
        scaled.append(n * -0.9 * (product - math.exp(area)))
    assert 2 * scaled[1] - scaled[0] == pytest.approx(coefficient, abs=1e-6)


def test_t9_is_a_product_over_layers():
    """One layer by the moments of u and v: E|v (u.z)|^2 / M, zero mean."""
    kappa = 2 * 0.7**2 * 1.3**2
    one = exact.bilinear_displacement(2, 0.7, 1.3, 1, 6)
    assert one == pytest.approx(kappa / 6, rel=1e-14)
    five = exact.bilinear_displacement(2, 0.7, 1.3, 5, 6)
    assert five == pytest.approx((1 + kappa / 150) ** 5 - 1, rel=1e-13)


def test_t10_laws_by_sampling():
    """Fresh Gaussian layers: W h is |h| / sqrt(m) times a normal vector."""
    rng = np.random.default_rng(3)
    width, n_layers, n_draws = 8, 200, 4000
    h = np.zeros((n_draws, width))
    h[:, 0] = 1.0
    relu = np.full((n_draws, width), 1 / math.sqrt(width))
    perceptron = h.copy()
    tau = 1.0 / math.sqrt(n_layers)

    def layer(state, variance):
        size = np.linalg.norm(state, axis=1, keepdims=True) * math.sqrt(variance)
        return size * rng.normal(size=(n_draws, width))

    for step in range(n_layers):
        h = h + tau * layer(h, 1 / width)
        if step < 40:
            relu = np.maximum(relu + tau * layer(relu, 2 / width), 0.0)
            hidden = np.maximum(layer(perceptron, 1 / width), 0.0)
            perceptron = perceptron + layer(hidden, 1 / width) / math.sqrt(40)
    logs = np.log(np.sum(h**2, axis=1))
    mean, variance = exact.tau_log_law(width, 1.0)
    # Standard errors 0.011 and 2.2 %, and O(1 / L).
    assert abs(logs.mean() - mean) < 0.04
    assert abs(logs.var() / variance - 1) < 0.08
    square = np.sum(h**2, axis=1)
    growth = exact.tau_growth(n_layers, tau)
    assert growth == pytest.approx((1 + 1 / 200) ** 200, rel=1e-13)
    assert abs(square.mean() - growth) < 4 * square.std() / math.sqrt(n_draws)
    low, high = exact.tau_relu_bounds(40, tau)
    assert (low, high) == pytest.approx((1.005**40, 1.01**40), rel=1e-13)
    square = np.sum(relu**2, axis=1)
    error = square.std() / math.sqrt(n_draws)
    assert low - 3 * error < square.mean() < high + 3 * error
    square = np.sum(perceptron**2, axis=1)
    expected = exact.tau_perceptron_growth(40, 0.5)
    assert abs(square.mean() - expected) < 4 * square.std() / math.sqrt(n_draws)
    assert exact.tau_growth(10**6, 1.0) == math.inf


def test_t8_bound_and_limit():
    """A linear field: z(1) - x - A x = (e^A - I - A) x, and sharp for A = K I."""
    slope = np.array([[0.2, -0.5], [0.4, 0.1]])
    x = np.array([0.7, -1.2])
    for eps in (1e-3, 0.4, 1.0, 2.0):
        gap = np.linalg.norm((expm(eps * slope) - np.eye(2) - eps * slope) @ x)
        size = np.linalg.norm(eps * slope, 2)
        bound = exact.near_two_layer_bound(np.linalg.norm(eps * slope @ x), size)
        assert gap <= bound
    limit = exact.near_two_layer_limit(slope @ x, slope)
    gap = np.linalg.norm((expm(1e-3 * slope) - np.eye(2) - 1e-3 * slope) @ x)
    assert gap / 1e-6 == pytest.approx(limit, rel=1e-3)
    for k in (1e-9, 0.499999, 0.500001, 3.0):
        reference = quad(lambda r, k=k: k * (1 - r) * math.exp(k * r), 0, 1)[0]
        assert exact.near_two_layer_bound(2.0, k) == pytest.approx(
            2 * reference, rel=1e-12
        )
    assert exact.near_two_layer_bound(2.0, 0.0) == 0.0


def test_t16_infima():
    assert exact.order_reversal_infimum(1.6) == pytest.approx(0.32)
    assert exact.orientation_infimum(np.diag([1.5, -0.5])) == pytest.approx(0.125)
    assert exact.orientation_infimum(np.diag([-1.5, -0.5])) == 0.0
    # The loss of the flow tends to the infimum from above.
    case = exact.MatrixLinear(np.sqrt(2) * np.eye(2), np.sqrt(2) * np.diag([1.5, -0.5]))
    losses = case.loss([1.0, 10.0])
    assert losses[0] > losses[1] > exact.orientation_infimum(np.diag([1.5, -0.5]))


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact.ScalarLinear([[1.0]], [[1.0]]), r"`x` must be a number or have"),
        (lambda: exact.ScalarLinear([], []), r"`x` must be a number or have"),
        (
            lambda: exact.ScalarLinear([1.0, 2.0], 1.0),
            r"`y` must have the shape \(2,\)",
        ),
        (lambda: exact.ScalarLinear(1.0, math.inf), "`y` must be finite"),
        (lambda: exact.ScalarLinear(1.0, 1.0, [0.1, 0.2]), "`a` must be a number, got"),
        (
            lambda: exact.ScalarLinear(1.0, 1.0, [0.1, 0.2], n_layers=3),
            r"`a` must be a number or have shape \(3,\)",
        ),
        (lambda: exact.ScalarLinear(1.0, 1.0, n_layers=0), "`n_layers` must be at"),
        (lambda: CASES["linear, Euler"].finite_depth(4), "`a` differs between layers"),
        (lambda: CASES["linear, Euler"].depth_coefficient(1.0), "must be None, got 3"),
        (
            lambda: exact.ScalarLinear(X1, Y1, 0.0, [0.5, 0.5]),
            r"must have shape \(3,\)",
        ),
        (lambda: exact.ScalarLinear(X1, Y1, 0.0, [1, 1, -1]), "must not be negative"),
        (lambda: exact.ScalarLinear(X1, Y1, 0.0, [1, 1, 1]), "sum 1, got sum 3"),
        (lambda: exact.ScalarBilinear(1.0, 1.0, 0.1, 0.2), r"at least \|r\|"),
        (lambda: exact.ScalarBilinear.gaussian(1.0, 1.0, 0.0), "`sigma` must lie in"),
        (lambda: exact.ScalarBilinear(1.0, -1.0, 0.1).late_rate(), "y / x > 0"),
        (lambda: CASES["bilinear"].width_constant(1.0), "needs the start of"),
        (lambda: exact.TwoLayer(1.0, 0.3, 0.2), r"at least \|r\|"),
        (lambda: exact.TwoLayer(1.0, [0.3], 0.4), "`r` must be a number"),
        (lambda: exact.Bias(1.0, 1.0, [0.0]), r"`x` must have shape \(n_samples, d\)"),
        (lambda: exact.Bias(X2, Y2, [0.0]), r"`mean` must have shape \(2,\)"),
        (lambda: exact.Bias(X2, Y2, [0.0, 0.0], [1, 2, 3]), "`variance` must be a"),
        (lambda: exact.Bias(X2, Y2, [0.0, 0.0], -1.0), "`variance` must not be neg"),
        (lambda: exact.Bias(X2, Y2, [0.0, 0.0], ridge=-1.0), "`ridge` must be finite"),
        (lambda: exact.MatrixLinear(X2, Y2, np.eye(3)), r"`start` must have shape"),
        (lambda: exact.WhitenedLinear([[1.0, 2.0]]), r"shape \(d, d\), got \(1, 2\)"),
        (lambda: exact.WhitenedLinear([[1, 2], [0, 1]]), "must be symmetric"),
        (lambda: exact.BilinearMoments(X2, Y2, np.eye(2)), "`covariance` must have"),
        (lambda: exact.BilinearMoments(X2, Y2, -np.eye(4)), "no negative eigenvalue"),
        (
            lambda: exact.BilinearMoments(X2, Y2, np.tri(4)),
            "`covariance` must be symmetric",
        ),
        (
            lambda: exact.BilinearMoments(
                X2, Y2, np.ones((3, 1, 1)) * np.eye(4), depth=DepthScheme.euler(3)
            ).finite_depth(4),
            "a function of t fits every scheme",
        ),
        (lambda: CASES["moments"].descend(0.1, 0), "`n_steps` must be at least 1"),
        (lambda: CASES["moments"].descend(0.0, 1), "`ds` must be positive"),
        (lambda: DepthScheme.gauss(0), "`n_nodes` must be at least 1, got 0"),
        (lambda: exact.tau_growth(4, -1.0), "`tau` must be finite and not negative"),
        (lambda: exact.near_two_layer_limit([1.0], np.eye(2)), "shapes"),
        (
            lambda: exact.orientation_infimum([1.0]),
            r"`target` must have shape \(d, d\)",
        ),
        (lambda: exact.order_reversal_infimum(-1.0), "`delta` must be positive"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: exact.ScalarLinear("a", 1.0),
        lambda: exact.ScalarLinear(1.0, 1.0, n_layers=2.0),
        lambda: exact.Bias(X2, Y2, [0.0, 0.0], temperature="hot"),
        lambda: CASES["linear"].output("late"),
    ],
)
def test_wrong_kinds(call):
    with pytest.raises(TypeError):
        call()
