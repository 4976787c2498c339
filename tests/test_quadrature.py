"""Deterministic sampling: rules on a line, tensors, budgets, folding, mixed rules."""

import math

import numpy as np
import pytest
from reference import f_values
from scipy.special import erf

from mfpde import MeanFieldProblem, evaluate, laws, solve
from mfpde.blocks import Bias, Bilinear, Custom, Linear, Perceptron
from mfpde.depth import DepthGrid
from mfpde.laws.rules import RULES
from mfpde.laws.variables import from_uniform

EULER = DepthGrid.euler(4)
GAUSS = DepthGrid.gauss(3)
ONE = DepthGrid.gauss(1)
CUBE = laws.Uniform(-1.2, 1.2, 3)
NORMAL = laws.Gaussian(0.0, 0.7, 3)
TANH = Perceptron(1)
PROBLEM = MeanFieldProblem([-0.8, 0.3, 1.1], [-0.2, 0.9, 1.0], TANH)


def on_line(kind, n):
    """Nodes and weights of a rule, uniform base_variables on (-1, 1)."""
    variable, rule = RULES[kind]
    x, weights = rule(n)
    return (2 * x - 1 if variable == "uniform" else x), weights


def moment(kind, degree):
    """Mean of x^degree, x uniform on (-1, 1) or standard normal."""
    if degree % 2:
        return 0.0
    if RULES[kind][0] == "uniform":
        return 1 / (degree + 1)
    return math.prod(range(1, degree, 2))


def quadrature(law, n_particles=None, grid=EULER, **options):
    return law.sample(grid, n_particles, method="quadrature", **options)


def mean_of(function, ens, node=0):
    return ens.weights @ function(ens.theta[node])


# ---- rules on a line


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 25, 26, 64, 101])
def test_rules_are_positive_symmetric_and_exact_to_degree_three(kind, n):
    x, weights = on_line(kind, n)
    assert len(x) == n
    assert weights.min() > 0
    assert abs(weights.sum() - 1) < 1e-14
    np.testing.assert_allclose(x, -x[::-1], rtol=0, atol=1e-14 * max(abs(x)))
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-11)
    assert (np.diff(x) > 0).all()
    if RULES[kind][0] == "uniform":
        assert abs(x).max() < 1
    if n > 1:
        assert weights @ x**2 == pytest.approx(moment(kind, 2), rel=1e-13)


@pytest.mark.parametrize("kind", ["legendre", "hermite"])
@pytest.mark.parametrize("n", range(1, 9))
def test_gauss_rules_are_exact_to_degree_2n_minus_1_and_no_further(kind, n):
    x, weights = on_line(kind, n)
    for degree in range(2 * n):
        size = max(1.0, abs(x).max() ** degree)
        assert weights @ x**degree == pytest.approx(
            moment(kind, degree), abs=1e-14 * size
        )
    gap = moment(kind, 2 * n) - weights @ x ** (2 * n)
    # The square norm of the monic orthogonal polynomial: n! for Hermite.
    if kind == "hermite":
        assert gap == pytest.approx(math.factorial(n), rel=1e-9)
    assert gap > 1e-6


def test_legendre_converges_at_the_rate_of_the_nearest_pole():
    """1 / (1 + 4 x^2), poles at +-i/2: Bernstein ellipse rho, error rho^(-2n)."""
    exact = math.atan(2.0) / 2
    sizes = np.array([4, 8, 12, 16, 20])
    errors = []
    for n in sizes:
        x, weights = on_line("legendre", n)
        errors.append(abs(weights @ (1 / (1 + 4 * x**2)) - exact))
    rate = -np.polyfit(sizes, np.log(errors), 1)[0]
    assert rate == pytest.approx(2 * math.asinh(0.5), rel=0.02)
    x, weights = on_line("transplanted", 20)
    assert abs(weights @ (1 / (1 + 4 * x**2)) - exact) < errors[-1] / 20


def test_trapezoid_beats_hermite_where_poles_are_near():
    """The mean of 1 / (1 + x^2), poles at +-i: sqrt(pi e / 2) erfc(1 / sqrt 2)."""
    exact = math.sqrt(math.pi * math.e / 2) * (1 - erf(math.sqrt(0.5)))
    for n, gain in [(12, 3), (24, 30), (32, 50), (48, 10)]:
        errors = {}
        for kind in ("hermite", "trapezoid"):
            x, weights = on_line(kind, n)
            errors[kind] = abs(weights @ (1 / (1 + x**2)) - exact)
        assert errors["trapezoid"] < errors["hermite"] / gain, n


def test_trapezoid_of_an_entire_function():
    """E cos(2 x) = exp(-2), with the mass left out as only error."""
    errors = []
    for n in (8, 16, 32, 128):
        x, weights = on_line("trapezoid", n)
        errors.append(abs(weights @ np.cos(2 * x) - math.exp(-2)))
    assert errors[0] < 2e-3
    assert errors[1] < 1e-4
    assert errors[2] < 2e-6
    assert errors[3] < 3e-9


# ---- tensors and their laws


@pytest.mark.parametrize(
    ("law", "mean", "variance"),
    [
        (laws.Gaussian([0.3, -1.0], [0.5, 2.0]), [0.3, -1.0], [0.25, 4.0]),
        (laws.Uniform([-1.0, 0.0], 2.0), [0.5, 1.0], [0.75, 1 / 3]),
        (
            laws.Product([laws.Gaussian(1, 0.2), laws.Uniform(-1, 1)]),
            [1, 0],
            [0.04, 1 / 3],
        ),
        (laws.Gaussian([1.0, 2.0], [0.0, 1.0]), [1, 2], [0, 1]),
        (laws.Dirac([1.0, 2.0]), [1, 2], [0, 0]),
    ],
)
def test_two_nodes_each_have_mean_and_covariance(law, mean, variance):
    ens = quadrature(law, 4)
    assert ens.n_particles <= 4
    centred = ens.theta[0] - mean
    np.testing.assert_allclose(ens.weights @ centred, 0, atol=1e-14)
    cov = (centred.T * ens.weights) @ centred
    np.testing.assert_allclose(cov, np.diag(variance), atol=1e-14)


def test_paths_have_the_covariance_in_depth():
    ens = quadrature(laws.standard_path(1, 0.8, 0.5), 30, grid=GAUSS)
    theta = ens.theta[:, :, 0]
    c = np.cos(np.pi * GAUSS.nodes)
    cov = (theta * ens.weights) @ theta.T
    np.testing.assert_allclose(cov, 0.64 + 0.25 * np.outer(c, c), rtol=1e-13)
    # Quadrature over both coefficients: an analytic function of the path.
    law = laws.standard_path(1, 0.8, 0.5)
    ens = quadrature(law, None, grid=GAUSS, nodes=(14, 12))
    exact = np.exp(-0.5 * (0.64 + 0.25 * c**2))
    values = [mean_of(np.cos, ens, j)[0] for j in range(3)]
    np.testing.assert_allclose(values, exact, rtol=1e-4)


def test_process_is_a_law_of_finitely_many_germs():
    law = laws.GaussianProcess(0.0, 0.8, length=1.0)
    nodes = [6, 5, 3, 2] + [1] * (law.n_random - 4)
    ens = quadrature(law, None, grid=GAUSS, nodes=nodes)
    assert ens.n_particles == 180
    cov = (ens.theta[..., 0] * ens.weights) @ ens.theta[..., 0].T
    phi = law.modes(GAUSS.nodes)[:, :4]
    np.testing.assert_allclose(cov, 0.64 * phi @ phi.T, atol=1e-14)


def test_moving_law_is_sampled_in_its_own_coordinates():
    """A node at 8 standard deviations keeps its digits; u = 1 - 6e-16 has none."""
    law = laws.Gaussian(lambda t: t, lambda t: 1 + t)
    rule = laws.TensorRule(("hermite",), (40,))
    ens = quadrature(law, None, nodes=rule)
    x = RULES["hermite"][1](40)[0]
    assert x[-1] > 10
    expected = EULER.nodes[:, None] + (1 + EULER.nodes[:, None]) * x
    np.testing.assert_allclose(ens.theta[..., 0], expected, rtol=1e-15)


def test_built_in_laws_agree_in_both_coordinates():
    u = np.random.default_rng(0).random((20, 2))
    t = np.array([0.0, 0.4])
    for law in [
        laws.Gaussian(1.0, 2.0, 2),
        laws.Uniform(-1.0, lambda t: 2 + t, 2),
        laws.Product([laws.Uniform(0, 1), laws.Gaussian(0, 1)]),
        laws.standard_path(1, 0.5, 2.0),
    ]:
        xi = from_uniform(u, law.base_variables)
        np.testing.assert_allclose(law.base_paths(xi, t), law.paths(u, t), rtol=1e-15)


def test_mixture_is_the_union_of_the_rules_of_its_components():
    law = laws.Mixture(
        [laws.Gaussian(2.0, 1.0), laws.Dirac(-2.0), laws.Uniform(0, 1)], [0.25, 0.75, 0]
    )
    ens = quadrature(law, 41)
    assert ens.n_particles == 21
    x = ens.theta[0, :, 0]
    assert ens.weights @ x == pytest.approx(-1.0, rel=1e-14)
    assert ens.weights @ x**2 == pytest.approx(0.25 * 5 + 0.75 * 4, rel=1e-13)


def test_cloud_is_its_own_rule():
    law = laws.PointCloud([[0.0, 1.0], [2.0, -1.0], [4.0, 0.5]], [0.5, 0.3, 0.2])
    for n_particles in (None, 3, 100):
        ens = quadrature(law, n_particles)
        np.testing.assert_array_equal(ens.theta[0], law.theta)
        np.testing.assert_array_equal(ens.weights, law.weights)


def test_a_users_law_says_that_it_is_smooth():
    class Ring:
        n_params, n_random, base_variables = 2, 1, ("uniform",)

        def paths(self, u, t):
            angle = 2 * np.pi * u[:, 0]
            return np.broadcast_to(
                np.stack([np.cos(angle), np.sin(angle)], 1), (len(t), len(u), 2)
            )

    ens = laws.sample(Ring(), EULER, 30, method="quadrature")
    assert ens.n_particles == 30
    np.testing.assert_allclose(ens.weights @ ens.theta[0] ** 2, 0.5, atol=1e-8)
    assert (
        laws.Product([Ring(), NORMAL]).base_variables == ("uniform",) + ("normal",) * 3
    )


# ---- table of the theory, section 2.3


def end_states(ens, block=TANH, s_end=1.0):
    problem = MeanFieldProblem(PROBLEM.x, PROBLEM.y, block)
    options = {"rtol": 1e-10, "atol": 1e-12}
    sol = solve(problem, EULER, ens, s_end=s_end, **options)
    return evaluate(problem, EULER, sol.ensemble).z_end[:, 0]


@pytest.fixture(scope="module")
def cube_reference():
    return end_states(quadrature(CUBE, 4000, block=TANH))


def legendre_cube(n):
    return laws.TensorRule(("legendre",) * 3, (n,) * 3, is_folded=True)


def test_theory_table_of_gauss_legendre(cube_reference):
    printed = {2: 4.6e-3, 3: 5.4e-4, 4: 1.9e-4, 5: 1.9e-5, 6: 1.5e-6}
    printed |= {8: 3.7e-7, 10: 6.9e-9}
    for n, value in printed.items():
        end = end_states(quadrature(CUBE, None, nodes=legendre_cube(n)))
        # Two digits are printed.
        assert np.abs(end - cube_reference).max() == pytest.approx(value, rel=0.04)


@pytest.fixture(scope="module")
def normal_reference():
    return end_states(quadrature(NORMAL, 12_000, block=TANH))


def test_theory_table_of_gauss_hermite(normal_reference):
    # The theory prints 5.2e-5 for n = 8.
    printed = {2: 6.9e-3, 3: 1.2e-3, 4: 9.8e-4, 6: 2.4e-4, 8: 5.3e-5, 12: 2.3e-5}
    for n, value in printed.items():
        rule = laws.TensorRule(("hermite",) * 3, (n,) * 3, is_folded=True)
        end = end_states(quadrature(NORMAL, None, nodes=rule))
        assert np.abs(end - normal_reference).max() == pytest.approx(value, rel=0.03)


def test_chosen_rules_beat_equal_gauss_rules(cube_reference, normal_reference):
    """With no more particles than n^3 / 2 of a Gauss rule."""
    for law, reference, n, gain, error in [
        (CUBE, cube_reference, 8, 3, 3.7e-7),
        (NORMAL, normal_reference, 12, 3, 2.3e-5),
    ]:
        end = end_states(quadrature(law, n**3 // 2, block=TANH))
        assert np.abs(end - reference).max() < error / gain


def test_bilinear_flow_has_no_sampling_error():
    """Linear in theta: any rule exact on second moments is M = infinity."""
    block = Bilinear(1)
    law = laws.Gaussian(0.0, [0.8, 0.6])
    few = end_states(quadrature(law, 2, block=block), block)
    many = end_states(quadrature(law, 800, block=block), block)
    np.testing.assert_allclose(few, many, rtol=1e-9)
    trapezoids = laws.TensorRule(("trapezoid",) * 2, (5, 4))
    other = end_states(quadrature(law, None, nodes=trapezoids), block)
    np.testing.assert_allclose(other, many, rtol=1e-9)


# ---- folding


@pytest.mark.parametrize("nodes", [(4, 3, 6), (3, 5, 7), (1, 1, 1)])
@pytest.mark.parametrize("law", [CUBE, NORMAL, laws.standard_path(1, 0.8, 0.3)])
def test_folding_changes_nothing_but_the_number(law, nodes):
    block = TANH if law.n_params == 3 else Perceptron(1)
    if law.n_params == 1:
        law = laws.standard_path(3, 0.8, 0.3)
        nodes = (*nodes, 2, 1, 2)
    whole = quadrature(law, None, grid=GAUSS, nodes=nodes)
    folded = quadrature(law, None, grid=GAUSS, nodes=nodes, block=block)
    assert whole.n_particles == math.prod(nodes)
    assert folded.n_particles == (math.prod(nodes) + 1) // 2
    first, second = (evaluate(PROBLEM, GAUSS, ens) for ens in (whole, folded))
    np.testing.assert_allclose(second.output, first.output, rtol=0, atol=1e-14)
    assert second.dissipation == pytest.approx(first.dissipation, rel=1e-13)


def test_folding_inside_a_ball():
    rule = laws.TensorRule(("trapezoid", "hermite", "trapezoid"), (14, 5, 15), False)
    ball = laws.TensorRule(rule.kinds, rule.counts, False, 1, 3.0)
    fold = laws.TensorRule(rule.kinds, rule.counts, True, 1, 3.0)
    assert rule.n_particles == 14 * 5 * 15
    assert ball.n_particles < 0.6 * rule.n_particles
    assert fold.n_particles == (ball.n_particles + 1) // 2
    nodes, weights = ball.tensor()
    assert len(weights) == ball.n_particles
    inside = np.sum(rule.tensor()[0] ** 2, axis=1) <= 9
    np.testing.assert_array_equal(nodes, rule.tensor()[0][inside])
    ens = [quadrature(NORMAL, None, nodes=each) for each in (ball, fold)]
    first, second = (evaluate(PROBLEM, EULER, each).output for each in ens)
    np.testing.assert_allclose(second, first, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("block", "is_even"),
    [
        (Perceptron(2), True),
        (Perceptron(2, bias=False), True),
        (Perceptron(2, "sin"), True),
        (Perceptron(2, "identity"), True),
        (Perceptron(2, "gelu"), False),
        (Perceptron(2, "sigmoid"), False),
        (Perceptron(2, "softplus"), False),
        (Perceptron(2, "relu"), False),
        (Perceptron(2, "leaky_relu"), False),
        (Perceptron(2, "regularised_relu"), False),
        (Perceptron(2, "squared_relu"), False),
        (Bilinear(2), True),
        (Linear(2), False),
        (Bias(2), False),
    ],
)
def test_blocks_know_whether_they_are_even(block, is_even, rng):
    assert block.is_even_in_theta is is_even
    assert set(block.param_reach) == set(block.param_groups)
    theta = rng.normal(size=(4, block.k))
    z = rng.normal(size=(3, 2))
    first, second = (f_values(block, z, sign * theta) for sign in (1, -1))
    assert np.allclose(first, second, rtol=0, atol=1e-14) is is_even


@pytest.mark.parametrize(
    "law",
    [
        laws.Gaussian([0.0, 0.1, 0.0], 1.0),
        laws.Gaussian(lambda t: [0.0] * 3, 1.0),
        laws.Uniform(-1.0, [1.0, 1.0, 2.0]),
        laws.Uniform(lambda t: -1.0, 1.0, 3),
        laws.Product([laws.Gaussian(0.0, 1.0, 2), laws.Dirac(0.5)]),
    ],
)
def test_laws_that_are_not_symmetric_are_not_folded(law):
    assert not law.is_symmetric
    assert not laws.quadrature_rule(law, 1000, block=TANH).is_folded


def test_symmetric_laws_reflect_to_minus_theta(rng):
    t = np.array([0.1, 0.7])
    for law in [
        laws.Gaussian(0.0, lambda t: 1 + t, 2),
        laws.Uniform([-1.0, -2.0], [1.0, 2.0]),
        laws.Product([laws.Uniform(-3, 3), laws.Dirac(0.0), laws.Gaussian(0, 2)]),
        laws.standard_path(2, 1.0, 0.5),
        laws.GaussianProcess(0.0, 1.0, 0.8),
    ]:
        assert law.is_symmetric
        assert laws.quadrature_rule(law, nodes=[1] * law.n_random).is_folded is False
        u = rng.random((5, law.n_random))
        np.testing.assert_allclose(law.paths(1 - u, t), -law.paths(u, t), atol=1e-13)


# ---- budgets


@pytest.mark.parametrize("law", [CUBE, NORMAL, laws.standard_path(3, 1.0, 0.3)])
@pytest.mark.parametrize("block", [None, TANH])
def test_budgets_are_kept_and_used(law, block):
    for n_particles in (64, 65, 500, 3000):
        rule = laws.quadrature_rule(law, n_particles, block=block)
        ens = quadrature(law, n_particles, block=block)
        assert ens.n_particles == rule.n_particles <= n_particles
        assert rule.n_particles > (0.6 if n_particles > 100 else 0.4) * n_particles
        assert abs(ens.weights.sum() - 1) < 1e-12
        assert ens.weights.min() > 0


def test_budget_follows_the_dependence():
    rule = laws.quadrature_rule(CUBE, 4000, block=TANH)
    u, v, b = rule.counts
    assert 3 * v <= b
    assert v < u < b
    assert rule.is_folded
    plain = laws.quadrature_rule(CUBE, 4000)
    assert max(plain.counts) - min(plain.counts) <= 1
    # Nothing for a frozen parameter, little for one that hardly moves.
    law = laws.Gaussian(0.0, [1.0, 0.0, 0.1])
    counts = laws.quadrature_rule(law, 500).counts
    assert counts[1] == 1
    assert counts[2] < counts[0] / 3


def test_kind_of_rule_follows_the_size_of_the_law():
    """Reach 2.5 of a linear block over half width or deviation, against 1.4."""
    for size, kinds in [
        (1.7, ("legendre", "hermite")),
        (1.9, ("transplanted", "trapezoid")),
    ]:
        law = laws.Product([laws.Uniform(-size, size), laws.Gaussian(0.0, size)])
        assert laws.quadrature_rule(law, 50, block=Bilinear(1)).kinds == kinds


def test_rule_grows_one_germ_at_a_time():
    rule = laws.quadrature_rule(CUBE, nodes=(4, 2, 6), block=TANH)
    larger = rule.with_count(2, 9)
    assert larger.counts == (4, 2, 9)
    assert larger.n_particles == 36
    assert larger.is_folded
    ens = quadrature(CUBE, None, nodes=larger)
    assert ens.n_particles == 36
    with pytest.raises(ValueError, match="`count` must be at least 1, got 0"):
        rule.with_count(0, 0)


# ---- mixed with Sobol, replicates


def test_mixed_rule_is_exact_in_its_nodes_and_random_in_the_rest():
    law = laws.Product([laws.Gaussian(0.0, 1.0, 2), laws.Uniform(0.0, 1.0)])
    first = quadrature(law, 300, nodes=(5, 0, "sobol"), seed=1)
    assert first.n_particles == 5 * 32
    x = first.theta[0]
    assert first.weights @ x[:, 0] ** 2 == pytest.approx(1.0, rel=1e-13)
    # Independent of the rest, to rounding.
    assert first.weights @ (x[:, 0] ** 2 * x[:, 2]) == pytest.approx(
        first.weights @ x[:, 2], rel=1e-13
    )
    # 32 stratified points
    np.testing.assert_array_equal(
        np.unique(np.floor(32 * x[:, 2]), return_counts=True)[1], [5] * 32
    )
    again = quadrature(law, 300, nodes=(5, 0, 0), seed=1)
    np.testing.assert_array_equal(again.theta, first.theta)
    other = quadrature(law, 300, nodes=(5, 0, 0), seed=2)
    assert np.abs(other.theta - first.theta).max() > 0.1


def test_mixed_rule_converges_as_sobol_and_may_be_folded():
    errors = []
    for n_particles in (256, 4096):
        squares = []
        for seed in range(8):
            ens = quadrature(
                NORMAL, n_particles, nodes=(8, 2, 0), block=TANH, seed=seed
            )
            assert ens.n_particles == n_particles
            # E[(u^2 + v^2) (1 + cos b)], even in theta
            value = mean_of(
                lambda x: (x[:, 0] ** 2 + x[:, 1] ** 2) * (1 + np.cos(x[:, 2])), ens
            )
            squares.append((value - 0.98 * (1 + math.exp(-0.245))) ** 2)
        errors.append(math.sqrt(np.mean(squares)))
    # One dimension, smooth: M^(-3/2) for scrambled nets; at least M^(-1) is asked.
    assert errors[1] < errors[0] / 16


def test_all_sobol_is_sobol():
    mixed = quadrature(NORMAL, 64, nodes=(0, 0, 0), block=TANH, seed=3)
    sobol = NORMAL.sample(EULER, 64, method="sobol", seed=3)
    np.testing.assert_array_equal(mixed.theta, sobol.theta)
    np.testing.assert_array_equal(mixed.weights, sobol.weights)


@pytest.mark.parametrize("options", [{}, {"method": "quadrature", "nodes": (4, 0, 0)}])
def test_replicates_are_independent_and_give_error_bars(options):
    exact = math.exp(0.5 * 0.49 * 3)

    def values(n_replicates, seed):
        ensembles = laws.replicates(
            NORMAL, ONE, 128, n_replicates, seed=seed, **options
        )
        return [mean_of(lambda x: np.exp(x.sum(axis=1)), ens) for ens in ensembles]

    ratios = []
    for seed in range(30):
        mean, error = laws.replicate_mean(values(8, seed))
        ratios.append((mean - exact) / error)
    # Student's t with 7 degrees of freedom: standard deviation 1.18, known to 13 %.
    # Quadrature with 4 nodes has a bias of 3e-4 of its own.
    assert 0.7 < np.std(ratios) < 1.8
    first = values(4, 5)
    np.testing.assert_array_equal(values(2, 5), first[:2])
    assert len(set(first)) == 4
    assert not set(first) & set(values(4, 6))


# ---- messages


class Undeclared(laws.Law):
    n_params = n_random = 2

    def paths(self, u, t):
        return np.broadcast_to(u, (len(t), *u.shape))


def declared(base_variables):
    return type("Declared", (Undeclared,), {"base_variables": base_variables})()


CLOUD = laws.PointCloud([[0.0], [1.0], [2.0]])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: quadrature(Undeclared(), 9),
            ValueError,
            "Undeclared does not declare",
        ),
        (
            lambda: quadrature(laws.Product([CLOUD, NORMAL]), 99),
            ValueError,
            r'and Product does not declare any\. Use "sobol"',
        ),
        (
            lambda: quadrature(laws.Product([laws.Mixture([NORMAL], [1.0])]), 99),
            ValueError,
            "needs a law of independent random numbers",
        ),
        (
            lambda: quadrature(declared(("normal",)), 9),
            ValueError,
            r"n_random = 2 kinds",
        ),
        (
            lambda: quadrature(declared(("even",) * 2), 9),
            ValueError,
            '"uniform" or "nor',
        ),
        (
            lambda: quadrature(declared(("normal",) * 2), 9),
            TypeError,
            r'Declared declares "normal" variables and must define `base_paths',
        ),
        (lambda: quadrature(NORMAL), ValueError, "`n_particles`, the largest number"),
        (
            lambda: quadrature(NORMAL, 7),
            ValueError,
            "= 7 is too few .* over 3 random numbers: 2 nodes in each make 8 particles",
        ),
        (
            lambda: quadrature(laws.Gaussian(0, 1, 2000), 7),
            ValueError,
            r"2 nodes in each make 2\^2000 particles. Give `nodes` with 0 for Sobol",
        ),
        (lambda: quadrature(NORMAL, 0), ValueError, "`n_particles` must be at least 1"),
        (
            lambda: quadrature(NORMAL, 9, nodes=(2, 2)),
            ValueError,
            "n_random = 3, got 2",
        ),
        (
            lambda: quadrature(NORMAL, 9, nodes=4),
            TypeError,
            "`nodes` must be a sequence",
        ),
        (
            lambda: quadrature(NORMAL, 9, nodes="444"),
            TypeError,
            "`nodes` must be a sequ",
        ),
        (
            lambda: quadrature(NORMAL, 9, nodes=(2, -1, 2)),
            ValueError,
            "`nodes` must be at",
        ),
        (
            lambda: quadrature(NORMAL, 9, nodes=(2, "iid", 2)),
            TypeError,
            "`nodes` must be",
        ),
        (
            lambda: quadrature(NORMAL, 9, nodes=(2, 2.5, 2)),
            TypeError,
            "`nodes` must be",
        ),
        (
            lambda: quadrature(NORMAL, 9, nodes=(2, 3, 2)),
            ValueError,
            "`nodes` makes 12 particles, more than `n_particles` = 9",
        ),
        (
            lambda: quadrature(NORMAL, nodes=(2, 0, 2)),
            ValueError,
            "where `nodes` has zer",
        ),
        (
            lambda: quadrature(NORMAL, 99, block=Perceptron(2)),
            ValueError,
            "`block` must have as many parameters as the law, k = 3, got 5",
        ),
        (lambda: quadrature(NORMAL, 99, coupling="layer"), ValueError, "draws none"),
        (
            lambda: quadrature(laws.standard_path(1, 1, 1), 99, coupling="tied"),
            ValueError,
            '"tied" needs',
        ),
        (lambda: quadrature(CLOUD, 2), ValueError, "must be at least 3, the points of"),
        (
            lambda: quadrature(laws.Mixture([NORMAL], [1.0]), 99, nodes=(2, 2, 2)),
            ValueError,
            "`nodes` has no meaning for a mixture",
        ),
        (
            lambda: laws.replicates(NORMAL, EULER, 99, 4, method="quadrature"),
            ValueError,
            "makes the same particles every time",
        ),
        (
            lambda: laws.replicates(NORMAL, EULER, 9, 1),
            ValueError,
            "`n_replicates` must",
        ),
        (
            lambda: quadrature(
                NORMAL, nodes=laws.TensorRule(("legendre",) * 3, (2,) * 3)
            ),
            ValueError,
            "for each random number of the law: normal, normal, normal, got",
        ),
        (
            lambda: quadrature(
                NORMAL, 7, nodes=laws.TensorRule(("hermite",) * 3, (2,) * 3)
            ),
            ValueError,
            "`nodes` makes 8 particles, more than `n_particles` = 7",
        ),
        (
            lambda: laws.TensorRule(("hermit",), (2,)),
            ValueError,
            "Did you mean 'hermite'",
        ),
        (
            lambda: laws.TensorRule(("hermite",), (2, 2)),
            ValueError,
            "1 kinds and 2 cou",
        ),
        (lambda: laws.replicate_mean([1.0]), ValueError, "at least 2 replicates"),
    ],
)
def test_messages(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_custom_blocks_have_the_usual_reach():
    block = Custom(1, 3, *[lambda *a: None] * 3)
    assert laws.quadrature_rule(CUBE, 500, block=block) == laws.quadrature_rule(
        CUBE, 500
    )
