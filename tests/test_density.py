"""The grid solver: exact solutions, orders, invariants, and against particles."""

import math

import exact
import numpy as np
import pytest
import reference
from exact import integrate
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from scipy import special

import mfpde
from mfpde import blocks, laws, plotting
from mfpde.references.density import fluxes, formulas
from mfpde.references.density.collocation import lobatto, solve_adjoint, solve_states
from mfpde.references.density.flow import GridFlow
from mfpde.references.density.initial import cell_averages
from mfpde.references.density.mesh import make_mesh

RIDGE = 0.35


def solve(problem, law, low, high, n_cells, s_end, **options):
    """One mesh, without estimates unless asked for."""
    options = {"estimate": False, "n_depth": 4} | options
    return mfpde.references.density.solve_density(
        problem, law, low=low, high=high, n_cells=n_cells, s_end=s_end, **options
    )


def density_error(solution, law, j=0):
    """L1 distance at depth node j of the last density from the averages of a law."""
    wanted, _ = cell_averages(law, solution.mesh, np.zeros(1))
    difference = np.abs(solution.density[-1, j] - wanted[0])
    return float(difference.sum() * solution.mesh.volume)


def scalar_linear(ridge):
    """T1 with a ridge, one sample: problem and the mean of theta at s."""
    x, y, start = 1.3, 2.0, -0.4
    problem = mfpde.MeanFieldProblem(
        [x], [y], blocks.Linear(1), regulariser=mfpde.DecayingQuadratic(ridge)
    )

    def mean(s):
        def rhs(_, a):
            u = x * np.exp(a)
            return -u * (u - y) - 2.0 * ridge * a

        return integrate(rhs, start, s)[-1, 0]

    return problem, start, mean


# Exact solutions


def test_scalar_linear_flow_translates_the_density():
    """T1: rho moves as a whole; the loss follows the implicit formula."""
    problem, start, mean = scalar_linear(0.0)
    found = solve(problem, laws.Gaussian(start, 0.5), -4, 4, 128, 1.5, n_depth=7)
    # The digits of theory T1. Steps in s leave 1e-8 to 1e-7 at the default rtol.
    assert found.output[-1, 0, 0] == pytest.approx(1.97709146720, abs=2e-7)
    assert density_error(found, laws.Gaussian(mean(1.5), 0.5), j=3) < 2e-5


def test_bilinear_moments():
    """T3: z1 and M2 at s = 1."""
    problem = mfpde.MeanFieldProblem([1.3], [2.0], blocks.Bilinear(1))
    law = laws.Gaussian(0.0, 0.7, 2)
    found = solve(problem, law, -6, 6, 64, 1.0, n_depth=6)
    assert found.output[-1, 0, 0] == pytest.approx(1.982636171334, abs=1e-6)
    assert found.second_moment[-1] == pytest.approx(1.293425306, abs=1e-6)


def test_bias_in_two_dimensions():
    """T5: the mean relaxes, the shape stays; two samples with weights."""
    x, y = np.array([[0.4, 0.0], [0.1, 0.3]]), np.array([[1.5, 0.2], [0.0, -0.4]])
    weights = np.array([0.3, 0.7])
    problem = mfpde.MeanFieldProblem(x, y, blocks.Bias(2), sample_weights=weights)
    start, target = np.array([-0.3, 0.2]), weights @ (y - x)
    law = laws.Gaussian(start, [0.4, 0.5])
    found = solve(problem, law, [-3, -3.5], [3, 3.5], 64, 1.0, record=[0.5])
    for s, output in zip(found.s, found.output, strict=True):
        mean = target + (start - target) * math.exp(-s)
        np.testing.assert_allclose(output, x + mean, atol=1e-7)
    final = laws.Gaussian(target + (start - target) * math.exp(-1.0), [0.4, 0.5])
    assert density_error(found, final) < 1e-3


def ornstein_uhlenbeck(s, nu=0.3, start=-0.3, std=0.25):
    """T20 with constant lambda and noise: mean and variance at s."""
    rate = 1.0 + 2.0 * RIDGE
    end = 1.1 / rate
    mean = end + (start - end) * math.exp(-rate * s)
    decay = math.exp(-4.0 * RIDGE * s)
    return mean, std**2 * decay + nu / (2.0 * RIDGE) * (1.0 - decay)


OU = mfpde.MeanFieldProblem(
    [0.4], [1.5], blocks.Bias(1), regulariser=mfpde.DecayingQuadratic(RIDGE)
)


def test_noise_comes_to_rest_at_the_gibbs_law():
    """(17): from far away to rounding, with a falling free energy."""
    found = solve(
        OU,
        laws.Uniform(-1.0, 1.0),
        -5,
        6,
        80,
        25.0,
        temperature=0.3,
        record=np.linspace(0, 2, 9),
    )
    gibbs = found.gibbs()
    assert np.abs(found.density[-1] - gibbs).max() < 1e-12
    mean, variance = 1.1 / (1 + 2 * RIDGE), 0.3 / (2 * RIDGE)
    # exp(-36) of the law is beyond the walls.
    assert found.output[-1, 0, 0] == pytest.approx(0.4 + mean, abs=1e-10)
    assert found.second_moment[-1] == pytest.approx(mean**2 + variance, abs=1e-9)
    assert (np.diff(found.free_energy) < 0.0).all()
    # Free energy of the Gibbs law: E + lambda M2 + nu int rho ln rho of a normal law.
    entropy = -0.5 * math.log(2 * math.pi * math.e * variance)
    energy = 0.5 * (mean - 1.1) ** 2 + RIDGE * (mean**2 + variance) + 0.3 * entropy
    assert found.free_energy[-1] == pytest.approx(energy, abs=1e-9)


def bilinear_closure(s, nu, x, y, sigma):
    """T13, d = 1, t-independent: output and M2 of the closed moment equations."""

    def rhs(_, moments):
        uu, uv, vv = moments
        z = x * np.exp(uv)
        q = np.mean(z * (z - y))  # p z is constant in t
        return [
            -2 * q * uv - 4 * RIDGE * uu + 2 * nu,
            -q * (uu + vv) - 4 * RIDGE * uv,
            -2 * q * uv - 4 * RIDGE * vv + 2 * nu,
        ]

    end = integrate(rhs, [sigma**2, 0.0, sigma**2], s)[-1]
    return x * np.exp(end[1]), end[0] + end[2]


def test_noise_in_two_parameters_follows_the_moment_closure():
    x, y, nu = np.array([1.3, 0.5]), np.array([2.0, 0.1]), 0.15
    problem = mfpde.MeanFieldProblem(
        x, y, blocks.Bilinear(1), regulariser=mfpde.DecayingQuadratic(RIDGE)
    )
    law = laws.Gaussian(0.0, 0.6, 2)
    found = solve(problem, law, -4, 4, 64, 0.5, temperature=nu, estimate=True)
    output, second_moment = bilinear_closure(0.5, nu, x, y, 0.6)
    error = np.abs(found.output[-1].ravel() - output).max()
    assert error < found.output_error[-1] < 1e-2
    # Fourth order at sigma / h = 5: some 1e-4.
    assert error < 2e-4
    assert found.second_moment[-1] == pytest.approx(second_moment, abs=5e-4)


def bias(y, ridge=0.0, d=1):
    """T5 and T20 with x = 0: the block whose means and variances are known."""
    regulariser = mfpde.DecayingQuadratic(ridge) if ridge else None
    return mfpde.MeanFieldProblem(
        [[0.0] * d], [[y] * d], blocks.Bias(d), regulariser=regulariser
    )


@pytest.mark.parametrize("nu", [0.0, 1e-320, 1e-300, 1e-8, 1e-2])
def test_little_noise_does_not_stop_the_drift(nu):
    """The mean, exact in closed form, moves by 0.126 whatever the noise."""
    law, s_end = laws.Gaussian(0.0, 0.5), -math.log(1.0 - 0.126)
    found = solve(bias(1.0), law, -4, 4, 64, s_end, temperature=nu, estimate=True)
    error = abs(found.output[-1, 0, 0] - 0.126)
    assert error <= found.output_error[-1] < 1e-5
    assert error < 1e-8


def test_strong_drift_and_little_noise():
    """Potentials of 100 theta: 1,900 times the noise from cell to cell."""
    law, wanted = laws.Gaussian(0.0, 0.6), 100.0 * -math.expm1(-0.02)
    found = solve(bias(100.0), law, -5, 7, 64, 0.02, temperature=0.01, estimate=True)
    error = abs(found.output[-1, 0, 0] - wanted)
    assert error < 1e-6
    assert error < found.output_error[-1] < 1e-3


@pytest.mark.parametrize("nu", [1e-300, 1e-3, 0.03, 0.1])
def test_estimates_hold_at_every_noise(nu):
    """A ridge makes the drift vary: for little noise the scheme is of first order."""
    mean, variance = ornstein_uhlenbeck(1.0, nu)
    law = laws.Gaussian(-0.3, 0.25)
    found = solve(OU, law, -4, 5, 64, 1.0, temperature=nu, estimate=True)
    output, loss = 0.4 + mean, 0.5 * (mean - 1.1) ** 2
    assert abs(found.output[-1, 0, 0] - output) <= found.output_error[-1] < 0.1
    assert abs(found.loss[-1] - loss) <= found.loss_error[-1] < 0.1
    # Upwind fluxes add a noise of half a cell times the drift, and less as this goes.
    assert 0.9 * variance < found.second_moment[-1] - mean**2 < variance + 0.1


@pytest.mark.parametrize(("nu", "scale"), [(1e-300, 2.0**-10), (1e-2, 2.0**13)])
def test_the_unit_of_theta_does_not_matter(nu, scale):
    found = [
        solve(
            bias(c, RIDGE),
            laws.Gaussian(0.0, 0.25 * c),
            -2 * c,
            2 * c,
            64,
            0.5,
            temperature=nu * c * c,
            estimate=True,
        )
        for c in (1.0, scale)
    ]
    for name, unit in (("output", scale), ("output_error", scale), ("loss", scale**2)):
        one, other = (getattr(each, name) for each in found)
        np.testing.assert_allclose(other, unit * one, rtol=1e-12, err_msg=name)


def test_little_noise_in_two_parameters():
    law = laws.Gaussian(0.0, 0.4, 2)
    ends = [
        solve(bias(1.0, d=2), law, -3, 3.5, 32, 0.3, temperature=nu)
        for nu in (0.0, 1e-300, 1e-6)
    ]
    for each in ends:
        np.testing.assert_allclose(each.output[-1], -math.expm1(-0.3), atol=1e-6)


@pytest.mark.parametrize("nu", [5e-324, 1e-300, 1e-9, 1.0, 1e9])
def test_rates_of_scharfetter_and_gummel_at_every_drop(nu):
    ratios = np.array([0.0, 1e-9, 0.3, 2.0, 30.0, 690.0, 710.0, 1e4, 1e200, 1e305])
    with np.errstate(all="ignore"):
        drops = np.concatenate([-ratios, ratios]) * nu
        drops = drops[np.isfinite(drops)]
    found = fluxes._rate(drops, nu)
    with np.errstate(all="ignore"):
        x = np.longdouble(drops) / np.longdouble(nu)
        wanted = np.where(x == 0.0, 1.0, x / np.expm1(x)) * np.longdouble(nu)
    # Beyond 700 the smaller one is below rounding of all else.
    none = max(np.finfo(float).tiny, 1e-300 * nu)
    np.testing.assert_allclose(found, wanted.astype(float), rtol=2e-15, atol=none)
    # What drift alone would give, and no jump where the formula changes.
    assert (found >= np.maximum(-drops, 0.0)).all()
    assert fluxes._rate(np.array([-1e300, 1e300]), nu).tolist() == [1e300, 0.0]


def test_the_gibbs_law_without_much_noise_is_at_the_least_potential():
    law = laws.Gaussian(0.0, 0.5)
    found = solve(bias(1.0, RIDGE), law, -4, 4, 64, 0.1, temperature=1e-300)
    gibbs = found.gibbs()[0]
    assert gibbs.argmax() == found.potential[0].argmin()
    assert gibbs.max() == pytest.approx(1.0 / found.mesh.volume)


# Orders


def test_order_without_noise():
    """k = 1: fifth order, that of the upwind values; the flow moves and narrows rho."""
    problem, start, mean = scalar_linear(RIDGE)
    law = laws.Gaussian(start, 0.6)
    final = laws.Gaussian(mean(0.5), 0.6 * math.exp(-RIDGE))
    n_cells, errors = [128, 160, 200, 250, 320], []
    for n in n_cells:
        found = solve(problem, law, -4.3, 4.0, n, 0.5, n_depth=7, rtol=1e-9)
        errors.append(density_error(found, final, j=2))
    exact.assert_order(n_cells, errors, 5, 2e-7)


def test_order_with_noise():
    """Fourth order, of the density itself and of its moments."""
    mean, variance = ornstein_uhlenbeck(1.0)
    n_cells = [96, 120, 152, 192, 240]
    errors = []
    for n in n_cells:
        found = solve(OU, laws.Gaussian(-0.3, 0.25), -4, 5, n, 1.0, temperature=0.3)
        theta = found.mesh.centres[0]
        wanted = np.exp(-((theta - mean) ** 2) / (2 * variance))
        wanted /= math.sqrt(2 * math.pi * variance)
        output = found.output[-1, 0, 0] - 0.4 - mean
        errors.append([np.abs(found.density[-1, 1] - wanted).max(), output])
    errors = np.array(errors)
    exact.assert_order(n_cells, errors[:, 0], 4, 4e-7)
    exact.assert_order(n_cells, errors[:, 1], 4, 1e-7)


def test_order_in_two_parameters():
    """At least fourth order across and along: T13 keeps a normal law normal."""
    x, y = 1.3, 2.0
    problem = mfpde.MeanFieldProblem([x], [y], blocks.Bilinear(1))
    mean, std = np.array([0.3, -0.2]), np.array([0.45, 0.6])

    def moved(c):
        """Mean and covariance after exp(-c [[0, 1], [1, 0]])."""
        turn = np.array([[np.cosh(c), -np.sinh(c)], [-np.sinh(c), np.cosh(c)]])
        return turn @ mean, (turn * std**2) @ turn.T

    def rhs(_, c):
        m, covariance = moved(c[0])
        z = x * np.exp(covariance[0, 1] + m[0] * m[1])
        return z * (z - y)

    m, covariance = moved(integrate(rhs, 0.0, 0.6)[-1, 0])
    inverse = np.linalg.inv(covariance)

    def law(theta, t):
        away = theta - m
        return np.exp(-0.5 * np.einsum("...i,ij,...j", away, inverse, away))

    n_cells = [32, 40, 52, 64, 80]
    errors = [
        density_error(
            solve(
                problem,
                laws.Gaussian(mean, std),
                [-4.2, -4.6],
                [4.4, 4.1],
                n,
                0.6,
                rtol=1e-6,
            ),
            law,
            j=1,
        )
        for n in n_cells
    ]
    assert 3.9 < exact.slope(n_cells, errors) < 5.1
    assert errors[-1] < 2e-4


def test_order_of_integrals_over_theta():
    """Averages on the mesh give integrals to fourth order."""
    n_cells, errors = [16, 22, 32, 44, 64], []
    for n in n_cells:
        mesh = make_mesh([-4.0, -5.0], [5.0, 4.0], n, 2, 1)
        law = laws.Gaussian([0.3, -0.4], [0.6, 0.7])
        averages, _ = cell_averages(law, mesh, np.zeros(1))
        problem = mfpde.MeanFieldProblem([1.0], [0.0], blocks.Bilinear(1))
        flow = GridFlow(problem, None, mesh, lobatto(4), 0.0)
        u, v = mesh.at_centres
        found = np.sum(flow.masses(averages)[0] * np.cos(u) * np.exp(0.5 * v))
        wanted = math.cos(0.3) * math.exp(-0.18) * math.exp(-0.2 + 0.125 * 0.49)
        errors.append(found - wanted)
    exact.assert_order(n_cells, errors, 4, 1e-5)


def test_jumps_converge_and_are_estimated():
    problem, _, _ = scalar_linear(0.0)
    law = laws.Uniform(-1.4, 0.6)
    found = solve(problem, law, -2.4, 3.0, 128, 1.5, estimate=True, n_depth=6)
    error = abs(found.output[-1, 0, 0] - 1.97709146720)
    assert error < found.output_error[-1] < 1e-3
    assert found.density.min() >= 0.0
    assert found.order[-1] < 3.0


# Depth


def test_lobatto_rule():
    rule = lobatto(6)
    degrees = np.arange(10)  # 2 J - 3 = 9
    integrals = rule.weights @ rule.nodes[:, np.newaxis] ** degrees
    np.testing.assert_allclose(integrals, 1.0 / (degrees + 1), rtol=1e-13)
    low = np.arange(6)
    primitives = rule.integrals @ rule.nodes[:, np.newaxis] ** low
    wanted = rule.nodes[:, np.newaxis] ** (low + 1) / (low + 1)
    np.testing.assert_allclose(primitives, wanted, atol=1e-14)
    np.testing.assert_allclose(rule.nodes + rule.nodes[::-1], 1.0, atol=1e-14)
    assert (rule.weights > 0.0).all()


def test_states_and_adjoint_in_depth(rng):
    """Against SciPy, for a nonlinear field in two dimensions that depends on t."""
    rule = lobatto(16)

    def value(t, z):
        return np.array([np.sin(z[1] + t), 0.5 * z[0] * np.cos(t) - 0.2 * z[1] ** 2])

    def slope(t, z):
        return np.array(
            [[0.0, np.cos(z[1] + t)], [0.5 * np.cos(t), -0.4 * z[1]]],
        )

    def field(z):
        each = [[(value(t, a), slope(t, a)) for a in row] for t, row in depths(z)]
        return (np.array([[pair[i] for pair in row] for row in each]) for i in (0, 1))

    def depths(z):
        return zip(rule.nodes, z, strict=True)

    start = rng.normal(size=(2, 2))
    z, slopes = solve_states(rule, field, start, None)
    p = solve_adjoint(rule, slopes, np.array([[1.0, -0.5], [0.3, 0.7]]))
    for i in range(2):
        path = integrate(value, start[i], rule.nodes[1:])
        np.testing.assert_allclose(z[1:, i], path, atol=1e-10)

        def back(r, both):
            t, now, adjoint = 1.0 - r, both[:2], both[2:]
            return np.concatenate([-value(t, now), slope(t, now).T @ adjoint])

        end = np.concatenate([z[-1, i], p[-1, i]])
        wanted = integrate(back, end, [1.0])[-1, 2:]
        np.testing.assert_allclose(p[0, i], wanted, atol=1e-9)


# Formulas


@pytest.mark.parametrize("activation", list(formulas.ACTIVATIONS))
def test_activations_against_the_twins(activation, rng):
    a = 3.0 * rng.normal(size=50)
    for ours, twin in zip(
        formulas.ACTIVATIONS[activation], reference.ACTIVATIONS[activation], strict=True
    ):
        np.testing.assert_allclose(ours(a), twin(a), rtol=1e-13, atol=1e-15)


def _custom_f(z, theta, out):
    out[0] = theta[1] * math.tanh(theta[0] * z[0])


def _custom_vjp_z(z, theta, p, out):
    out[0] = p[0] * theta[1] * theta[0] / math.cosh(theta[0] * z[0]) ** 2


def _custom_vjp_theta(z, theta, p, out):
    out[0] = p[0] * theta[1] * z[0] / math.cosh(theta[0] * z[0]) ** 2
    out[1] = p[0] * math.tanh(theta[0] * z[0])


CUSTOM = blocks.Custom(1, 2, _custom_f, _custom_vjp_z, _custom_vjp_theta)


@pytest.mark.parametrize(
    "block",
    [
        blocks.Perceptron(1, "gelu", bias=False, scale=0.7),
        blocks.Bilinear(1),
        blocks.Linear(1),
        blocks.Bias(1),
        blocks.Bias(2),
        blocks.SquaredReLU(1),
        CUSTOM,
    ],
    ids=lambda block: type(block).__name__,
)
def test_formulas_against_the_twins(block, rng):
    n_samples, n_particles, d, k = 3, 4, block.d, block.k
    z, p = rng.normal(size=(2, n_samples, d))
    theta = rng.normal(size=(n_particles, k))
    twin = blocks.Perceptron(1, bias=False) if block is CUSTOM else block
    formula = formulas.make_formula(block)
    shape = (n_samples, n_particles)
    columns = [tuple(each[:, a, np.newaxis] for a in range(d)) for each in (z, p)]
    points = tuple(theta[:, c] for c in range(k))

    def close(ours, wanted):
        np.testing.assert_allclose(np.broadcast_to(ours, shape), wanted, rtol=1e-12)

    rows = formula.jacobian(columns[0], points)
    values = reference.f_values(twin, z, theta)
    pulled = reference.vjp_z(twin, z, theta, p)
    gradients = reference.vjp_theta(twin, z, theta, p)
    for a, value in enumerate(formula.value(columns[0], points)):
        close(value, values[..., a])
        ours = sum(columns[1][b] * rows[b][a] for b in range(d))
        close(ours, pulled[..., a])
    for c in range(k):
        close(formula.gradient(*columns, points, c), gradients[..., c])


def test_a_custom_block_solves_as_the_built_in_one():
    found = [
        solve(
            mfpde.MeanFieldProblem([0.5, 1.0], [1.0, 0.3], block),
            laws.Gaussian(0.0, 0.5, 2),
            -4,
            4,
            20,
            0.3,
        )
        for block in (CUSTOM, blocks.Perceptron(1, bias=False))
    ]
    np.testing.assert_allclose(found[0].density, found[1].density, atol=1e-12)


# Invariants


PERCEPTRON = mfpde.MeanFieldProblem(
    [1.3, 0.4, -0.5], [2.0, 0.5, 0.1], blocks.Perceptron(1, bias=False)
)


@pytest.mark.filterwarnings("ignore:The walls of the mesh hold a mass")
@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_mass_and_sign_are_kept(temperature):
    """Also with jumps, where high orders overshoot and the limiter works."""
    law = laws.Mixture(
        [laws.Uniform(-1.0, 0.7, 2), laws.Uniform(0.2, 1.3, 2)], [0.6, 0.4]
    )
    found = solve(
        PERCEPTRON,
        law,
        -2.5,
        3,
        32,
        1.0,
        temperature=temperature,
        record=[0.2, 0.6],
        rtol=1e-5,
    )
    assert found.density.min() >= 0.0
    assert found.mass_error.max() < 1e-13
    assert (np.diff(found.loss) < 0.0).all() or temperature > 0.0
    assert (np.diff(found.free_energy) < 0.0).all()


def test_the_limiter_leaves_exactly_what_a_cell_can_afford(rng):
    start = rng.uniform(size=(2, 6, 7))
    start[0, 2, 3] = 0.0
    widths = (0.5, 0.25)
    gain = [rng.normal(size=(2, 5, 7)), rng.normal(size=(2, 6, 6))]
    limited = fluxes.limit(start, gain, widths, 0.4)
    after = start - 0.4 * fluxes.divergence(limited, start, widths)
    assert after.min() >= 0.0
    for flux, less in zip(gain, limited, strict=True):
        assert (flux * less >= 0.0).all()
        assert (np.abs(less) <= np.abs(flux)).all()
    # What asks for little is untouched.
    small = [1e-3 * each for each in gain]
    safe = fluxes.limit(start + 0.1, small, widths, 0.4)
    np.testing.assert_array_equal(safe[0], small[0])


def test_walls_are_watched():
    """A law that runs into the wall stays whole, and is reported."""
    problem = mfpde.MeanFieldProblem([0.0], [3.0], blocks.Bias(1))
    with pytest.warns(
        mfpde.errors.ToleranceWarning, match="hold a mass of .* at s = 2 "
    ):
        found = solve(problem, laws.Gaussian(0.0, 0.2), -1.5, 1.5, 64, 2.0)
    assert found.wall_mass[0] < 1e-8
    assert found.wall_mass[-1] > 0.5
    assert found.mass_error.max() < 1e-13
    assert found.density.min() >= 0.0


def test_metric_freezes_a_parameter():
    problem = mfpde.MeanFieldProblem(
        [1.3], [2.0], blocks.Perceptron(1, bias=False), metric=[0.0, 1.0]
    )
    law = laws.Gaussian([0.5, 0.0], 0.4)
    found = solve(problem, law, -3, 3, 24, 0.5)
    first = found.marginal(0)
    np.testing.assert_allclose(first[-1], first[0], atol=1e-13)
    assert np.abs(np.diff(found.marginal(1), axis=0)).max() > 0.01


# Against particles


def particles(problem, mean, std, n, s_end, *, uniform=False):
    """Outputs by particles on a Gauss rule of n points per parameter.

    mean and std, or the bounds of a uniform law, are functions of the depth t.
    """
    grid = mfpde.DepthGrid.gauss(6)
    if uniform:
        x, w = np.polynomial.legendre.leggauss(n)
        w = w / 2.0
    else:
        x, w = np.polynomial.hermite_e.hermegauss(n)
        w = w / math.sqrt(2.0 * math.pi)
    axes = np.meshgrid(*[x] * problem.k, indexing="ij")
    points = np.column_stack([axis.ravel() for axis in axes])
    weights = np.prod(np.meshgrid(*[w] * problem.k, indexing="ij"), axis=0).ravel()
    theta = np.array([mean(t) + std(t) * points for t in grid.nodes])
    ensemble = mfpde.ParticleEnsemble(theta, weights / weights.sum())
    found = mfpde.solve(problem, grid, ensemble, s_end=s_end, rtol=1e-10, atol=1e-12)
    output = mfpde.predict(problem, grid, found.ensemble, problem.x)
    return output, found.loss[-1]


def wave(t):
    return 0.4 + 0.1 * np.cos(np.pi * t)


CASES = {
    # problem, law, its mean and std in t, box, cells, s_end
    "linear, mean in t": (
        mfpde.MeanFieldProblem([1.3, -0.4], [2.0, 0.1], blocks.Linear(1)),
        laws.Gaussian(lambda t: np.sin(t), wave),
        (np.sin, wave),
        (-3.5, 4.5),
        128,
        1.0,
    ),
    "tanh perceptron, law in t": (
        PERCEPTRON,
        laws.Gaussian(lambda t: [0.3 * t, 0.5 - 0.4 * t], wave, 2),
        (lambda t: np.array([0.3 * t, 0.5 - 0.4 * t]), wave),
        (-3.5, 4.0),
        64,
        1.0,
    ),
    "gelu, ridge, logistic, metric, maps": (
        mfpde.MeanFieldProblem(
            [1.0, -0.7, 0.2],
            [1.0, -1.0, 1.0],
            blocks.Perceptron(1, "gelu", bias=False, scale=1.5),
            embedding=[[1.2]],
            readout=[[0.8]],
            loss="logistic",
            regulariser=mfpde.DecayingQuadratic(0.2, 0.5),
            metric=[1.0, 0.5],
            sample_weights=[0.5, 0.3, 0.2],
        ),
        laws.Gaussian([0.2, -0.1], [0.5, 0.4]),
        (lambda t: np.array([0.2, -0.1]), lambda t: np.array([0.5, 0.4])),
        (-3.5, 3.5),
        64,
        1.5,
    ),
    "bilinear, uniform": (
        mfpde.MeanFieldProblem([1.3, 0.5], [2.0, 0.4], blocks.Bilinear(1)),
        laws.Uniform([-1.0, -0.75], [1.0, 1.25]),
        (lambda t: np.array([0.0, 0.25]), lambda t: 1.0),
        (-2.0, 2.5),
        72,
        0.5,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_grid_and_particles_agree(name):
    problem, law, (mean, std), (low, high), n_cells, s_end = CASES[name]
    found = solve(
        problem, law, low, high, n_cells, s_end, n_depth=7, estimate=True, rtol=1e-6
    )
    options = {"uniform": "uniform" in name}
    output, loss = particles(problem, mean, std, 16, s_end, **options)
    fewer, other = particles(problem, mean, std, 12, s_end, **options)
    ours = found.output_error[-1] + np.abs(output - fewer).max()
    assert np.abs(found.output[-1] - output).max() < ours
    assert abs(found.loss[-1] - loss) < found.loss_error[-1] + abs(loss - other)
    # Estimates that are too generous test nothing; the loss has moved by far more.
    assert ours < 5e-2 * abs(found.loss[-1] - found.loss[0])
    assert found.wall_mass.max() < 1e-7


def test_grid_and_langevin_particles_agree():
    """Noise, ridge and a tanh perceptron: Eq. (16) with and without sampling."""
    temperature, ridge, s_end = 0.3, 0.1, 1.0
    problem = mfpde.MeanFieldProblem(
        [-0.8, 0.3, 1.1],
        [-0.2, 0.9, 1.6],
        blocks.Perceptron(1, bias=False),
        regulariser=mfpde.DecayingQuadratic(ridge),
    )
    law = laws.Gaussian([0.5, 0.7], [0.6, 0.6])
    options = {"temperature": temperature, "estimate": True, "rtol": 1e-5}
    found = solve(problem, law, -6.0, 6.5, 64, s_end, n_depth=5, **options)
    grid = mfpde.DepthGrid.gauss(3)

    def replicates(ds):
        outputs = []
        for seed in range(8):
            sol = mfpde.solve(
                problem,
                grid,
                law.sample(grid, 4096, method="sobol", coupling="tied", seed=seed),
                s_end=s_end,
                stepper=mfpde.steppers.Langevin(temperature, ds, seed=seed),
            )
            outputs.append(mfpde.predict(problem, grid, sol.ensemble, problem.x))
        return np.mean(outputs, axis=0), np.std(outputs, axis=0, ddof=1) / np.sqrt(8)

    (fine, error), (coarse, _) = replicates(0.02), replicates(0.04)
    # Order 1 in ds; the extrapolation has sqrt(5) times the standard error.
    extrapolated = 2 * fine - coarse
    allowed = found.output_error[-1] + 4 * np.sqrt(5) * error
    assert (np.abs(found.output[-1] - extrapolated) < allowed).all()
    # Without the noise the outputs differ by more than what is allowed.
    calm = solve(problem, law, -6.0, 6.5, 64, s_end, n_depth=5, rtol=1e-5)
    assert np.abs(calm.output[-1] - extrapolated).max() > 2 * allowed.max()


def test_estimate_in_depth_counts():
    """A law that is rough in t: four nodes are too few, and the estimate says so."""
    problem = mfpde.MeanFieldProblem([1.3], [2.0], blocks.Linear(1))
    law = laws.Gaussian(lambda t: np.cos(7.0 * t), 0.4)
    coarse = solve(problem, law, -4, 4, 64, 0.2, estimate=True, n_depth=5)
    fine = solve(problem, law, -4, 4, 64, 0.2, n_depth=14)
    error = np.abs(coarse.output[-1] - fine.output[-1]).max()
    assert 1e-4 < error < coarse.output_error[-1]


@pytest.mark.parametrize(
    ("law", "temperature"),
    [
        (laws.Gaussian(-0.3, 0.35), 0.0),
        (laws.Uniform(-1.05, 0.45), 0.0),
        (laws.Gaussian(-0.3, 0.35), 0.3),
        (laws.Uniform(-1.05, 0.45), 0.3),
    ],
)
@pytest.mark.parametrize("n_cells", [92, 112])
def test_errors_stay_below_their_estimates(law, temperature, n_cells):
    options = {"temperature": temperature, "record": [0.3, 0.8], "rtol": 1e-5}
    found = solve(OU, law, -3.7, 4.7, n_cells, 1.5, estimate=True, **options)
    for i, s in enumerate(found.s):
        error = abs(found.output[i, 0, 0] - 0.4 - ornstein_uhlenbeck(s)[0])
        # Without noise the mean of theta is exact on every mesh: steps in s only.
        assert error < found.output_error[i] + 1e-5
        assert found.output_error[i] < 5e-2


# Initial laws


@pytest.mark.parametrize(
    ("law", "distribution"),
    [
        (laws.standard_path(1, 0.5, 0.3), lambda t: (0.0, np.hypot(0.5, 0.3 * t))),
        (laws.GaussianProcess(0.2, 0.4, 0.5), lambda t: (0.2, 0.4)),
        (laws.Product([laws.Gaussian(0.1, 0.3)]), lambda t: (0.1, 0.3)),
    ],
    ids=["path", "process", "product"],
)
def test_normal_marginals(law, distribution):
    mesh = make_mesh(-4.0, 4.0, 40, 1, 1)
    for t, cosine in ((0.0, 1.0), (1 / 3, 0.5), (0.5, 0.0)):
        averages, outside = cell_averages(law, mesh, np.array([t]))
        mean, std = distribution(cosine)
        wanted = np.diff(special.ndtr((mesh.edges[0] - mean) / std)) / mesh.volume
        np.testing.assert_allclose(averages[0], wanted, atol=1e-11)
        assert outside < 1e-10


def test_laws_agree_with_density_functions():
    law = laws.Mixture(
        [
            laws.Product([laws.Gaussian(0.3, 0.5), laws.Uniform(-1.0, 1.0)]),
            laws.Gaussian([0.0, -0.2], 0.4),
        ],
        [0.25, 0.75],
    )

    def normal(a, mean, std):
        return np.exp(-0.5 * ((a - mean) / std) ** 2) / std

    def density(theta, t):
        u, v = theta[..., 0], theta[..., 1]
        box = 0.5 * (np.abs(v) < 1.0) * np.sqrt(2 * np.pi)
        first = normal(u, 0.3, 0.5) * box
        return 0.25 * first + 0.75 * normal(u, 0.0, 0.4) * normal(v, -0.2, 0.4)

    # Edges at the jumps, so that the rule in each cell is accurate.
    mesh = make_mesh(-4.0, 4.0, 32, 2, 1)
    t = np.array([0.0, 1.0])
    ours, _ = cell_averages(law, mesh, t)
    theirs, outside = cell_averages(density, mesh, t)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert outside == 0.0


# Pictures


@pytest.fixture
def axis():
    return Figure().add_subplot()


def test_curves_of_a_density(axis):
    found = solve(OU, laws.Gaussian(0.0, 0.4), -4, 4, 32, 0.2, record=[0.1])
    plotting.density(found, s=[0.0, 0.2], t=0.0, ax=axis)
    first, last = axis.get_lines()
    np.testing.assert_array_equal(first.get_ydata(), found.density[0, 0])
    np.testing.assert_array_equal(last.get_ydata(), found.density[-1, 0])
    assert last.get_label() == "$s$ = 0.2"
    assert "at depth $t$ = 0" in axis.get_xlabel()


def test_map_of_a_density(axis):
    found = solve(PERCEPTRON, laws.Gaussian([0.4, 0], 0.4), -3, 3, [16, 20], 0.1)
    plotting.density(found, ax=axis)
    (image,) = [each for each in axis.collections if isinstance(each, QuadMesh)]
    np.testing.assert_array_equal(image.get_array(), found.density[-1, 1].T)
    marginal = Figure().add_subplot()
    plotting.density(found, "v", ax=marginal)
    lines = marginal.get_lines()
    assert len(lines) == 2
    np.testing.assert_allclose(lines[1].get_ydata(), found.marginal(1)[-1, 1])
    with pytest.raises(ValueError, match="`parameter` must be one of u, v"):
        plotting.density(found, "w", ax=marginal)


# Errors


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"low": -1.0}, ValueError, "`low` and `high` must hold the initial law"),
        ({"low": 5.0}, ValueError, "`low` must be below `high`"),
        ({"low": [1.0, 2.0]}, ValueError, "`low` must be a number or hold one"),
        ({"n_cells": 66}, ValueError, "multiple of 4"),
        ({"n_cells": 32}, ValueError, "at least 64"),
        ({"n_cells": 64.5}, ValueError, "`n_cells` must be an integer"),
        ({"n_depth": 3}, ValueError, "`n_depth` must be at least 4"),
        ({"n_depth": 4.0}, TypeError, "`n_depth` must be an integer"),
        ({"temperature": -0.1}, ValueError, "`temperature` must be finite, at least 0"),
        ({"s_end": 0.0}, ValueError, "`s_end` must be positive"),
        ({"rtol": 0.0}, ValueError, "`rtol` must be positive"),
        ({"record": [2.0]}, ValueError, "`record` must be a sequence"),
        ({"law": laws.Dirac(0.0)}, ValueError, "must have a density known here"),
        ({"law": laws.Gaussian(0.0, 0.0)}, ValueError, "standard deviation is 0"),
        ({"law": laws.Gaussian(0.0, 0.1, 2)}, ValueError, "k = 1 parameters"),
        ({"law": 3}, TypeError, "`law` must be a law or a function"),
        ({"law": lambda theta, t: theta}, ValueError, "one density for each theta"),
        ({"law": lambda theta, t: theta[..., 0]}, ValueError, "none negative"),
    ],
)
def test_errors(change, error, message):
    options = {
        "law": laws.Gaussian(0.0, 0.5),
        "low": -4.0,
        "high": 4.0,
        "n_cells": 64,
        "s_end": 1.0,
    }
    options |= change
    problem = mfpde.MeanFieldProblem([1.0], [2.0], blocks.Linear(1))
    with pytest.raises(error, match=message):
        mfpde.references.density.solve_density(problem, options.pop("law"), **options)


@pytest.mark.parametrize(
    ("block", "options", "more", "message"),
    [
        (blocks.Perceptron(1), {}, {}, "k = 1 or 2 parameters .* got 3"),
        (
            blocks.Linear(1),
            {"readout": mfpde.readouts.Linear([[1.0]], trainable=True)},
            {},
            "fixed maps .* its readout would be trained",
        ),
        (blocks.Linear(1), {"metric": [0.5]}, {"temperature": 0.1}, "`metric`"),
    ],
)
def test_problems_that_do_not_fit(block, options, more, message):
    problem = mfpde.MeanFieldProblem([1.0], [2.0], block, **options)
    with pytest.raises(ValueError, match=message):
        solve(problem, laws.Gaussian(0.0, 0.5), -4, 4, 64, 1.0, **more)


def test_a_foreign_block_is_named():
    class Foreign:
        d = k = 1
        param_names = ("a",)

        def kernels(self):
            return None

    problem = mfpde.MeanFieldProblem([1.0], [2.0], Foreign())
    with pytest.raises(TypeError, match="Give the same f as"):
        solve(problem, laws.Gaussian(0.0, 0.5), -4, 4, 64, 1.0)
    with pytest.raises(TypeError, match="must be a MeanFieldProblem"):
        solve(None, laws.Gaussian(0.0, 0.5), -4, 4, 64, 1.0)


def test_an_unknown_activation_is_named_before_anything_is_computed():
    block = blocks.Perceptron(1, bias=False)
    # As of a block that a later version, or a subclass, allows.
    object.__setattr__(block, "activation", "swish")
    problem = mfpde.MeanFieldProblem([1.0], [2.0], block)

    def density(theta, t):
        raise AssertionError("It is not evaluated.")

    with pytest.raises(ValueError, match=r"an activation of tanh.*got 'swish'\. Give"):
        solve(problem, density, -4, 4, 64, 1.0)


def test_blow_up_in_depth_is_an_error():
    """T18: f about 1.5 z^2, so the state is infinite at t = 2/3."""
    block = blocks.Perceptron(1, "squared_relu", bias=False)
    problem = mfpde.MeanFieldProblem([1.0], [2.0], block)
    with pytest.raises(mfpde.errors.ConvergenceError, match="may blow up before t = 1"):
        solve(problem, laws.Gaussian([1.0, 1.5], 0.1), 0, 3, 32, 1.0)


def test_overflow_of_the_field_is_an_error():
    problem = mfpde.MeanFieldProblem([1.0], [2.0], blocks.Bilinear(1))
    law = laws.Gaussian(1e155, 1e154, 2)
    with (
        np.errstate(all="ignore"),
        pytest.raises(mfpde.errors.NotFiniteError, match="depth"),
    ):
        solve(problem, law, 0.0, 2e155, 32, 1.0)


def test_steps_that_become_too_short_are_an_error():
    with pytest.raises(mfpde.errors.ConvergenceError, match="too short at s = 0"):
        solve(OU, laws.Gaussian(0.0, 0.4), -4, 4, 32, 0.1, rtol=1e-30)


def test_results_that_make_no_sense_are_refused():
    found = solve(OU, laws.Gaussian(0.0, 0.4), -4, 4, 32, 0.1)
    with pytest.raises(ValueError, match="`temperature` was 0"):
        found.gibbs()
    with pytest.raises(ValueError, match="`parameter` must be one of 0 to 0"):
        found.marginal(1)
    assert found.output_error is None
    assert "32 cells, 4 depth nodes" in repr(found)
