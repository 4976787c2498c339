"""Observed orders: depth schemes, steppers, the energy ledger, particles.

The runs of theory, sections 2.1 and 2.3, and T11. Refinements of one discretisation
keep the errors of the others at 1e-12.
"""

import math

import numpy as np
import pytest
from exact import assert_order, at, cosine_paths, in_depth, slope

import mfpde
from mfpde import DecayingQuadratic, DepthGrid, MeanFieldProblem, ParticleEnsemble
from mfpde.blocks import Perceptron
from mfpde.steppers import DormandPrince, Point, make_stepper

WEIGHTS = np.array([0.4, 0.1, 0.3, 0.2])


@pytest.fixture(scope="module")
def run():
    """The run of section 2.1: a function of the grid, with unequal weights."""
    rng = np.random.default_rng(1)
    alpha = rng.normal(0, 0.5, (4, 5))
    beta = rng.normal(0, 0.1, (4, 5))
    x = rng.normal(size=(3, 2))
    y = x + 0.5 * rng.normal(size=(3, 2))

    def start(grid, regulariser=None):
        problem = MeanFieldProblem(x, y, Perceptron(2), regulariser=regulariser)
        return problem, grid, ParticleEnsemble(cosine_paths(grid, alpha, beta), WEIGHTS)

    return start


@pytest.fixture(scope="module")
def reference(run):
    """24 Gauss nodes at s = 1: 1e-14 in depth, theta at its ends, too; 1e-12 in s."""
    return at(*run(DepthGrid.gauss(24)), 1.0)


# scheme: order of z(1), sizes, bound; order of theta at the nodes, sizes, bound. The
# bounds are about twice the errors seen.
DEPTH_ORDERS = {
    "euler": (1, [8, 16, 32, 64, 128], 6e-4, 1, [8, 16, 32, 64, 128], 4e-4),
    "midpoint": (2, [4, 8, 16, 32, 64], 2.5e-7, 2, [4, 8, 16, 32, 64], 1e-6),
    "rk4": (4, [4, 8, 16, 32, 64], 1.3e-11, 3, [8, 16, 32, 64, 128], 2.5e-9),
    "gauss": (4, [4, 8, 16, 32, 64], 8e-12, 3, [4, 8, 16, 32, 64], 5e-9),
}


@pytest.mark.parametrize("scheme", DEPTH_ORDERS)
def test_depth_orders_of_state_and_parameters(run, reference, scheme):
    """The table of section 2.1: z(1) superconverges, theta at the nodes does not."""
    order, sizes, last, theta_order, theta_sizes, theta_last = DEPTH_ORDERS[scheme]
    state, parameters = {}, {}
    for n in sorted({*sizes, *theta_sizes}):
        if scheme == "gauss":
            grid = DepthGrid.gauss(2, n)
        else:
            grid = getattr(DepthGrid, scheme)(n)
        end = at(*run(grid), 1.0)
        state[n] = np.abs(end.z_end - reference.z_end).max()
        exact = in_depth(reference.grid, reference.ensemble.theta, grid.nodes)
        parameters[n] = np.abs(end.ensemble.theta - exact).max()
    assert_order(sizes, [state[n] for n in sizes], order, last)
    assert_order(
        theta_sizes, [parameters[n] for n in theta_sizes], theta_order, theta_last
    )


def test_gauss_collocation_is_spectral(run, reference):
    """The printed decay is that of another draw: within a factor two of it."""
    printed = {3: 1.6e-4, 4: 9.4e-6, 5: 4.8e-7, 6: 4.0e-8, 8: 4.7e-10, 10: 3.3e-12}
    for n_nodes, value in printed.items():
        end = at(*run(DepthGrid.gauss(n_nodes)), 1.0)
        assert np.abs(end.z_end - reference.z_end).max() < 2.0 * value


# Steppers


@pytest.mark.parametrize(
    ("stepper", "order", "last"),
    [("euler", 1, 6e-2), ("heun", 2, 6e-5), ("rk4", 4, 8e-11), ("dopri5", 5, 6e-14)],
)
def test_order_of_the_steppers_on_a_known_solution(stepper, order, last):
    """y' = cos(s) y, y = e^{sin s}: the times of the stages matter, too."""

    def evaluate(s, y):
        return Point(s, y, math.cos(s) * y)

    exact = math.exp(math.sin(8.0))
    sizes, errors = [64, 128, 256, 512, 1024], []
    for n in sizes:
        h = 8.0 / n
        if stepper == "dopri5":
            method = DormandPrince(rtol=1.0, atol=1.0)
        else:
            method = make_stepper(stepper, ds=h)
        point = evaluate(0.0, np.array([1.0]))
        for i in range(n):
            # Every step is accepted, and ends at its target.
            target = 8.0 * (i + 1) / n
            step = method.step(evaluate, point, target, {"step": h, "error": 1e-4})
            assert step.point.s == target
            assert step.size == pytest.approx(h, rel=1e-12)
            point = step.point
        errors.append(abs(point.y[0] - exact))
    assert_order(sizes, errors, order, last)


# T11: dissipation


def ledger_defects(stepper, states, ds):
    """Largest defect per step of Eq. (28), by the rule that fits the stepper."""
    objective = np.array([each.evaluation.objective for each in states])
    rate = np.array([each.evaluation.ledger_rate for each in states])
    if stepper == "euler":
        return np.abs(np.diff(objective) / ds - rate[:-1]).max()
    if stepper == "heun":
        return np.abs(np.diff(objective) / ds - (rate[1:] + rate[:-1]) / 2).max()
    simpson = (rate[2:] + 4 * rate[1:-1] + rate[:-2]) / 6
    return np.abs((objective[2:] - objective[:-2]) / (2 * ds) - simpson).max()


# The bounds, of the state, of the ledger and per step, are twice the errors seen.
@pytest.mark.parametrize("grid", [DepthGrid.euler(5), DepthGrid.rk4(2)], ids=str)
@pytest.mark.parametrize(
    ("stepper", "order", "bounds"),
    [
        ("euler", 1, (2e-3, 2e-3, 3e-3)),
        ("heun", 2, (5e-7, 2.5e-6, 8e-6)),
        ("rk4", 4, (4e-13, 1.3e-11, 8e-11)),
    ],
)
def test_t11_ledger_and_flow_in_training_time(run, grid, stepper, order, bounds):
    """E_s falls by the dissipation, with a ridge that decays: order in ds."""
    start = run(grid, DecayingQuadratic(0.4, 1.0))
    exact = at(*start, 1.0)
    state, ledger, per_step = [], [], []
    sizes = [12, 24, 48, 96, 192, 384]
    for n in sizes:
        states = list(mfpde.iterate(*start, s_end=1.0, stepper=stepper, ds=1.0 / n))
        assert len(states) == n + 1
        end = states[-1].evaluation
        state.append(np.abs(end.ensemble.theta - exact.ensemble.theta).max())
        ledger.append(abs(states[-1].energy_residual))
        per_step.append(ledger_defects(stepper, states, 1.0 / n))
        objective = [each.evaluation.objective for each in states]
        assert (np.diff(objective) < 0).all()
    # On the finest level of RK4, state and ledger are rounding; on the coarsest, the
    # first step has not found its order yet.
    assert_order(sizes[:5], state[:5], order, bounds[0])
    assert_order(sizes[:5], ledger[:5], order, bounds[1])
    assert_order(sizes[1:], per_step[1:], order, bounds[2])


def test_error_control_follows_the_tolerance(run):
    grid = DepthGrid.gauss(6)
    exact = at(*run(grid), 1.0, rtol=1e-13, atol=1e-14).ensemble.theta
    for tolerance in (1e-5, 1e-7, 1e-9, 1e-11):
        end = at(*run(grid), 1.0, rtol=tolerance, atol=tolerance)
        # Contracting flow to s = 1: the sum of some ten local errors.
        assert np.abs(end.ensemble.theta - exact).max() < 10 * tolerance


def test_a_posteriori_bound_on_the_second_moment(run):
    """(15): sqrt(M2) <= sqrt(M2(0)) + sqrt(s (E(0) - E(s)))."""
    states = list(mfpde.iterate(*run(DepthGrid.gauss(5)), s_end=4.0))
    first = states[0].evaluation
    for each in states:
        now = each.evaluation
        way = math.sqrt(each.s * (first.loss - now.loss))
        bound = math.sqrt(first.second_moment) + way
        assert math.sqrt(now.second_moment) <= bound + 1e-12


# Section 2.3: particles as quadrature

QUADRATURE = MeanFieldProblem([-0.8, 0.3, 1.1], [-0.2, 0.9, 1.0], Perceptron(1))
FOUR_LAYERS = DepthGrid.euler(4)


def end_states(ensemble, **options):
    return at(QUADRATURE, FOUR_LAYERS, ensemble, 1.0, **options).z_end[:, 0]


def tensor_rule(nodes, weights):
    """n^3 particles (u, v, b), tied in depth."""
    axes = np.meshgrid(nodes, nodes, nodes, indexing="ij")
    theta = np.stack(axes, axis=-1).reshape(-1, 3)
    w = np.einsum("a,b,c->abc", weights, weights, weights).ravel()
    return ParticleEnsemble(np.broadcast_to(theta, (4, *theta.shape)), w / w.sum())


def legendre(n):
    """Uniform law on [-1.2, 1.2]^3."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return tensor_rule(1.2 * nodes, weights)


def hermite(n):
    """Normal law, standard deviation 0.7."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return tensor_rule(0.7 * nodes, weights)


def test_gauss_legendre_particles_converge_geometrically():
    options = {"rtol": 1e-10, "atol": 1e-12}
    exact = end_states(legendre(14), **options)
    printed = {
        2: 4.6e-3,
        3: 5.4e-4,
        4: 1.9e-4,
        5: 1.9e-5,
        6: 1.5e-6,
        8: 3.7e-7,
        10: 6.9e-9,
    }
    for n, value in printed.items():
        error = np.abs(end_states(legendre(n), **options) - exact).max()
        # Two digits are printed; the reference is 1e-10 off at most.
        assert error == pytest.approx(value, rel=0.04)


@pytest.fixture(scope="module")
def normal_reference():
    """36^3 Gauss-Hermite nodes: 1e-8, as seen against 44^3."""
    return end_states(hermite(36), rtol=1e-8, atol=1e-10)


def test_gauss_hermite_particles_converge(normal_reference):
    # The theory prints 5.2e-5 for n = 8, as a reference of 20^3 nodes would give.
    printed = {2: 6.9e-3, 3: 1.2e-3, 4: 9.8e-4, 6: 2.4e-4, 8: 5.3e-5, 12: 2.3e-5}
    for n, value in printed.items():
        end = end_states(hermite(n), rtol=1e-9, atol=1e-11)
        error = np.abs(end - normal_reference).max()
        assert error == pytest.approx(value, rel=0.03)


def test_sobol_particles_beat_independent_ones(normal_reference):
    law = mfpde.laws.Gaussian(0.0, 0.7, n_params=3)
    sizes = [64, 256, 1024]
    rms = {}
    for method in ("iid", "sobol"):
        for n in sizes:
            squares = []
            for seed in range(16):
                ensemble = law.sample(
                    FOUR_LAYERS, n, method=method, coupling="tied", seed=seed
                )
                end = end_states(ensemble, rtol=1e-7, atol=1e-9)
                squares.append(np.abs(end - normal_reference).max() ** 2)
            rms[method, n] = math.sqrt(np.mean(squares))
    # Sixteen draws give the rms to 1 / sqrt(32) = 18 %, the printed numbers likewise:
    # a factor 2 is four standard errors.
    printed = {
        "iid": (4.4e-2, 1.6e-2, 8.7e-3),
        "sobol": (1.1e-2, 2.9e-3, 6.5e-4),
    }
    for method, values in printed.items():
        for n, value in zip(sizes, values, strict=True):
            assert value / 2 < rms[method, n] < 2 * value
    ratio = {m: math.log(rms[m, 64] / rms[m, 1024]) / math.log(16) for m in printed}
    # Slopes 1/2, and about 1: 0.25 / ln(16) = 0.09 is one standard error.
    assert abs(ratio["iid"] - 0.5) < 0.2
    assert ratio["sobol"] > 0.8


def test_slope_needs_four_refinements():
    with pytest.raises(AssertionError, match="four refinements"):
        slope([1, 2, 4], [1.0, 0.5, 0.25])
