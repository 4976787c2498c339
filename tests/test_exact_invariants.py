"""Structure: homogeneity (T12), symmetries (T14), depth invariants (T17)."""

import numpy as np
import pytest
from exact import (
    NODE,
    assert_order,
    at,
    cosine_paths,
    perceptron_field,
    perceptron_gradients,
    perceptron_pullback,
    split,
    twin_states,
)

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble
from mfpde.blocks import Bilinear, Perceptron
from mfpde.recording import hamiltonian_spread, invariant_spread

SCHEMES = {
    "euler": (5, DepthGrid.euler(5)),
    "midpoint": (3, DepthGrid.midpoint(3)),
    "rk4": (3, DepthGrid.rk4(3)),
    "gauss": (3, DepthGrid.gauss(2, 3)),
}
TANH, RELU = Perceptron(2), Perceptron(2, "relu")
WEIGHTS = np.array([0.4, 0.1, 0.3, 0.2])


def make_case(rng, grid, block=TANH, n_samples=3):
    """Rough in depth, unequal weights of particles and samples."""
    x = rng.normal(size=(n_samples, 2))
    y = x + rng.normal(size=(n_samples, 2))
    c = rng.dirichlet(np.full(n_samples, 3.0))
    theta = rng.normal(size=(grid.n_nodes, 4, block.k))
    problem = MeanFieldProblem(x, y, block, sample_weights=c)
    return problem, ParticleEnsemble(theta, WEIGHTS)


# State and adjoint against the NumPy twin


@pytest.mark.parametrize("scheme", SCHEMES)
def test_states_are_those_of_the_textbook_scheme(rng, scheme):
    n_steps, grid = SCHEMES[scheme]
    problem, ensemble = make_case(rng, grid)
    theta = ensemble.theta

    def field(j, z):
        return perceptron_field(theta[j], WEIGHTS, "tanh", z)

    ends, stages = twin_states(scheme, n_steps, field, problem.x)
    found = mfpde.evaluate(problem, grid, ensemble)
    if scheme == "gauss":
        ends = [ends[0], *(z for step in stages for z in step), ends[-1]]
    # A few hundred operations on numbers of order one.
    np.testing.assert_allclose(found.z, ends, atol=2e-14)
    assert found.loss == pytest.approx(
        0.5 * problem.sample_weights @ ((ends[-1] - problem.y) ** 2).sum(axis=1)
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_t17_covector_times_tangent_is_constant(rng, scheme):
    """p^T dz/dx, to rounding: the tangents by a complex step through the twin."""
    n_steps, grid = SCHEMES[scheme]
    problem, ensemble = make_case(rng, grid)
    theta = ensemble.theta
    tangents = []
    for component in range(2):
        x = problem.x.astype(complex)
        x[:, component] += 1e-30j
        ends, _ = twin_states(
            scheme,
            n_steps,
            lambda j, z: perceptron_field(theta[j], WEIGHTS, "tanh", z),
            x,
        )
        tangents.append(ends.imag / 1e-30)
    tangents = np.stack(tangents, axis=-1)  # (n + 1, N, d, component)
    p = mfpde.evaluate(problem, grid, ensemble).p
    if scheme == "gauss":
        # Inside an element p is given at stages, where it is no invariant.
        p, tangents = p[[0, -1]], tangents[[0, -1]]
    product = np.einsum("pid,pidc->pic", p, tangents)
    # Rounding; the stages of the Gauss scheme are solved to 1e-14.
    assert np.ptp(product, axis=0).max() < 5e-14
    assert np.ptp(p, axis=0).max() > 0.05
    # p(1) is the residual, without 1 / N and without the sample weight.
    residual = mfpde.predict(problem, grid, ensemble, problem.x) - problem.y
    np.testing.assert_allclose(p[-1], residual, atol=1e-14)


@pytest.mark.parametrize(
    ("scheme", "order", "sizes", "last"),
    [
        # Bounds about twice the errors seen.
        ("euler", 1, [16, 32, 64, 128, 256], 6e-4),
        ("midpoint", 2, [8, 16, 32, 64, 128], 4e-7),
        ("rk4", 4, [4, 8, 16, 32, 64], 1.2e-11),
    ],
)
def test_t17_hamiltonian_shows_the_order(scheme, order, sizes, last):
    """H = p . F(z) of every sample, rho the same at all depths."""
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(4, 5))
    x = rng.normal(size=(3, 2))
    problem = MeanFieldProblem(x, x + 0.5 * rng.normal(size=(3, 2)), TANH)
    spreads = []
    for n in sizes:
        grid = getattr(DepthGrid, scheme)(n)
        ensemble = ParticleEnsemble(np.tile(theta, (grid.n_nodes, 1, 1)), WEIGHTS)
        found = mfpde.evaluate(problem, grid, ensemble)
        field = [perceptron_field(theta, WEIGHTS, "tanh", z) for z in found.z]
        hamiltonian = np.einsum("pid,pid->pi", found.p, field)
        spread = np.ptp(hamiltonian, axis=0).max() / np.abs(hamiltonian).max()
        spreads.append(spread)
        # The recorded scalar is this number.
        assert hamiltonian_spread(found) == pytest.approx(spread, abs=1e-14)
    assert_order(sizes, spreads, order, last)


def test_recorded_trace_spread_is_rounding_for_linear_flows(rng):
    """T7, in two dimensions: both traces of mean p z^T."""
    for grid in (DepthGrid.euler(6), DepthGrid.midpoint(3), DepthGrid.rk4(3)):
        problem, ensemble = make_case(rng, grid, Bilinear(2))
        found = mfpde.evaluate(problem, grid, ensemble)
        assert invariant_spread(found) < 1e-14


# T12: homogeneity


def stage_work(scheme, n_steps, theta, problem, found, activation):
    """Sum over the pairs of each node of dt Lambda_i . F_i(Z_i), and omega, by (23)."""
    tableaus = {
        "euler": ([[0.0]], [1.0]),
        "midpoint": ([[0.0, 0.0], [0.5, 0.0]], [0.0, 1.0]),
        "rk4": (
            [[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1.0, 0]],
            [1 / 6, 1 / 3, 1 / 3, 1 / 6],
        ),
    }
    a, b = (np.array(each) for each in tableaus[scheme])
    h, c = 1.0 / n_steps, problem.sample_weights
    _, stages = twin_states(
        scheme,
        n_steps,
        lambda j, z: perceptron_field(theta[j], WEIGHTS, activation, z),
        problem.x,
    )
    p = found.z_end - problem.y
    work, omega = np.zeros(len(theta)), np.zeros(len(theta))
    gradient = np.zeros(theta.shape)
    for nodes, inner in zip(NODE[scheme](n_steps)[::-1], stages[::-1], strict=True):
        pulled = [np.zeros_like(p)] * len(b)
        for i in reversed(range(len(b))):
            covector = b[i] * p + h * sum(
                a[j, i] * pulled[j] for j in range(i + 1, len(b))
            )
            args = theta[nodes[i]], activation, inner[i], covector
            field = perceptron_field(args[0], WEIGHTS, activation, inner[i])
            work[nodes[i]] += h * c @ (covector * field).sum(axis=1)
            omega[nodes[i]] += h * b[i]
            gradient[nodes[i]] += h * np.einsum(
                "i,imk->mk", c, perceptron_gradients(*args)
            )
            pulled[i] = perceptron_pullback(
                args[0], WEIGHTS, activation, inner[i], covector
            )
        p = p + h * sum(pulled)
    return work, omega, gradient


@pytest.mark.parametrize("scheme", ["euler", "midpoint", "rk4"])
@pytest.mark.parametrize(
    ("block", "activation"), [(TANH, "tanh"), (RELU, "relu"), (Bilinear(2), "identity")]
)
def test_t12_homogeneity_at_every_node(rng, scheme, block, activation):
    """(H2): d/ds int |theta|^2 drho_t = -4 mean p.F; linear in v: -2 mean p.F."""
    n_steps, grid = SCHEMES[scheme]
    problem, ensemble = make_case(rng, grid, block)
    found = mfpde.evaluate(problem, grid, ensemble)
    work, omega, gradient = stage_work(
        scheme, n_steps, ensemble.theta, problem, found, activation
    )
    # Rounding, divided by weights omega of 0.05 and more.
    np.testing.assert_allclose(grid.weights, omega, rtol=1e-14)
    np.testing.assert_allclose(
        found.velocity, -gradient / omega[:, np.newaxis, np.newaxis], atol=1e-13
    )
    growth = 2 * ensemble.theta * found.velocity
    _, in_v, _ = split(growth, 2)
    expected = -2 * work / omega
    np.testing.assert_allclose(
        np.einsum("m,jmc->j", WEIGHTS, in_v), expected, atol=1e-13
    )
    if activation != "tanh":
        np.testing.assert_allclose(
            np.einsum("m,jmk->j", WEIGHTS, growth), 2 * expected, atol=1e-13
        )


def test_t12_homogeneity_on_gauss_nodes(rng):
    """The stage pairs are the recorded states: node j is point j + 1."""
    grid = DepthGrid.gauss(3, 2)
    problem, ensemble = make_case(rng, grid, RELU)
    found = mfpde.evaluate(problem, grid, ensemble)
    growth = 2 * np.einsum("m,jmk->j", WEIGHTS, ensemble.theta * found.velocity)
    for j in range(grid.n_nodes):
        z, p = found.z[j + 1], found.p[j + 1]
        field = perceptron_field(ensemble.theta[j], WEIGHTS, "relu", z)
        work = problem.sample_weights @ (p * field).sum(axis=1)
        # Stages are solved to 1e-14.
        assert growth[j] == pytest.approx(-4 * work, abs=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("block", [RELU, Bilinear(2)], ids=lambda block: block.k)
def test_t12_balance_of_every_particle_is_conserved(rng, scheme, block):
    """|v|^2 - |u|^2 - b^2, semi-discretely: its rate is zero to rounding."""
    _, grid = SCHEMES[scheme]
    problem, ensemble = make_case(rng, grid, block)
    found = mfpde.evaluate(problem, grid, ensemble)
    u, v, b = split(ensemble.theta * found.velocity, 2)
    rate = v.sum(axis=-1) - u.sum(axis=-1) - b
    assert np.abs(rate).max() < 1e-13
    assert np.abs(found.velocity).max() > 0.1


@pytest.mark.parametrize(
    ("stepper", "order", "last"),
    # The flow of theta is linear for given Q: Heun's defect h^3 cancels, as of any
    # method whose stability function has modulus 1 + O(h^4).
    [("euler", 1, 2.5e-2), ("heun", 3, 7e-7), ("rk4", 4, 2e-9)],
)
def test_t12_steps_break_the_balance_at_their_order(stepper, order, last):
    rng = np.random.default_rng(1)
    x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    y = np.array([[0.0, 1.0], [-1.0, 0.0], [0.5, -0.5]])
    problem = MeanFieldProblem(x, y, Bilinear(2))
    start = ParticleEnsemble(rng.normal(size=(4, 3, 4)), [0.2, 0.5, 0.3])
    signs = np.array([-1, -1, 1, 1])
    sizes, drift = [16, 32, 64, 128, 256], []
    for n in sizes:
        end = at(problem, DepthGrid.euler(4), start, 1.0, stepper=stepper, ds=1.0 / n)
        change = (end.ensemble.theta**2 - start.theta**2) @ signs
        drift.append(np.abs(change).max())
    assert_order(sizes, drift, order, last)


# T14: symmetries

FIXED = {"stepper": "rk4", "ds": 0.1}
# Rounding of ten steps of sums over a dozen terms.
CLOSE = 1e-13


@pytest.mark.parametrize("scheme", SCHEMES)
def test_t14_permuting_the_particles_of_a_layer(rng, scheme):
    """Another order in every layer (equal weights)."""
    _, grid = SCHEMES[scheme]
    problem, weighted = make_case(rng, grid)
    theta = weighted.theta
    orders = np.array([rng.permutation(4) for _ in range(grid.n_nodes)])
    rows = np.arange(grid.n_nodes)[:, np.newaxis]
    one = at(problem, grid, ParticleEnsemble(theta), 1.0, **FIXED)
    two = at(problem, grid, ParticleEnsemble(theta[rows, orders]), 1.0, **FIXED)
    np.testing.assert_allclose(two.z_end, one.z_end, atol=CLOSE)
    np.testing.assert_allclose(
        two.ensemble.theta, one.ensemble.theta[rows, orders], atol=CLOSE
    )
    assert two.loss == pytest.approx(one.loss, abs=CLOSE)
    # With unequal weights the same order everywhere, weights permuted alike.
    order = [2, 0, 3, 1]
    three = at(problem, grid, weighted, 1.0, **FIXED)
    four = at(problem, grid, weighted.permuted(order), 1.0, **FIXED)
    np.testing.assert_allclose(
        four.ensemble.theta, three.ensemble.theta[:, order], atol=CLOSE
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_t14_rotation_of_the_state_space(rng, scheme):
    """x, y, u, v, the readout and its targets: the whole trajectory rotates."""
    _, grid = SCHEMES[scheme]
    problem, ensemble = make_case(rng, grid)
    angle = 0.7
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    turn = np.zeros((5, 5))
    turn[:2, :2] = turn[2:4, 2:4] = rotation
    turn[4, 4] = 1.0
    readout = np.array([[0.9, 0.3], [-0.2, 1.1]])
    pair = []
    for r, t in ((np.eye(2), np.eye(5)), (rotation, turn)):
        rotated = MeanFieldProblem(
            problem.x @ r.T,
            problem.y @ r.T,
            TANH,
            readout=r @ readout @ r.T,
            sample_weights=problem.sample_weights,
        )
        start = ParticleEnsemble(ensemble.theta @ t.T, WEIGHTS)
        pair.append(at(rotated, grid, start, 1.0, **FIXED))
    one, two = pair
    np.testing.assert_allclose(two.z, one.z @ rotation.T, atol=CLOSE)
    np.testing.assert_allclose(two.p, one.p @ rotation.T, atol=CLOSE)
    np.testing.assert_allclose(
        two.ensemble.theta, one.ensemble.theta @ turn.T, atol=CLOSE
    )
    assert two.loss == pytest.approx(one.loss, abs=CLOSE)
    assert two.dissipation == pytest.approx(one.dissipation, abs=CLOSE)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_t14_odd_activation_keeps_a_symmetric_law_symmetric(rng, scheme):
    """Sigma odd: theta -> -theta leaves f unchanged."""
    _, grid = SCHEMES[scheme]
    problem, half = make_case(rng, grid)
    theta = np.concatenate([half.theta, -half.theta], axis=1)
    ensemble = ParticleEnsemble(theta, np.concatenate([WEIGHTS, WEIGHTS]) / 2)
    one = at(problem, grid, half, 1.0, **FIXED)
    end = at(problem, grid, ensemble, 1.0, **FIXED)
    moved = end.ensemble.theta
    np.testing.assert_allclose(moved[:, :4], -moved[:, 4:], atol=CLOSE)
    np.testing.assert_allclose(moved[:, :4], one.ensemble.theta, atol=CLOSE)
    assert end.loss == pytest.approx(one.loss, abs=CLOSE)


@pytest.mark.parametrize(
    ("scheme", "order", "sizes", "last"),
    [
        # Of a scheme of even order p the leading error cancels: p + 1. Bounds about
        # twice the errors seen.
        ("euler", 1, [32, 64, 128, 256, 512], 2e-5),
        ("midpoint", 3, [8, 16, 32, 64, 128], 2e-11),
        ("rk4", 5, [4, 8, 16, 32, 64], 2e-12),
    ],
)
def test_t14_depth_reversal(scheme, order, sizes, last):
    """From z(1) back with -F, nodes in reverse: x again, to the order."""
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(4, 5)), rng.normal(size=(3, 2))
    problem = MeanFieldProblem(theta[1], theta[1], TANH)
    alpha, beta = rng.normal(0, 0.7, (4, 5)), rng.normal(0, 0.3, (4, 5))
    errors = []
    for n in sizes:
        grid = getattr(DepthGrid, scheme)(n)
        errors.append(reversal_error(problem, grid, alpha, beta))
    assert_order(sizes, errors, order, last)


def reversal_error(problem, grid, alpha, beta):
    theta = cosine_paths(grid, alpha, beta)
    there = mfpde.predict(problem, grid, ParticleEnsemble(theta, WEIGHTS), problem.x)
    back = theta[::-1].copy()
    back[:, :, 2:4] *= -1.0
    found = mfpde.predict(problem, grid, ParticleEnsemble(back, WEIGHTS), there)
    return np.abs(found - problem.x).max()


def test_t14_gauss_collocation_is_reversible(rng):
    problem, _ = make_case(rng, DepthGrid.euler(1))
    alpha, beta = rng.normal(0, 0.7, (4, 5)), rng.normal(0, 0.3, (4, 5))
    for n_elements in (1, 2):
        # A symmetric scheme: exact, until the tolerance 1e-14 of the stages.
        grid = DepthGrid.gauss(2, n_elements)
        assert reversal_error(problem, grid, alpha, beta) < 1e-13


@pytest.mark.parametrize("scheme", SCHEMES)
def test_t14_duplicates_change_nothing(rng, scheme):
    """All particles twice, all samples twice; also as weights."""
    _, grid = SCHEMES[scheme]
    problem, ensemble = make_case(rng, grid)
    one = at(problem, grid, ensemble, 1.0, **FIXED)
    twice = at(problem, grid, ensemble.duplicated(2), 1.0, **FIXED)
    np.testing.assert_allclose(twice.z_end, one.z_end, atol=CLOSE)
    np.testing.assert_allclose(
        twice.ensemble.theta, np.repeat(one.ensemble.theta, 2, axis=1), atol=CLOSE
    )
    samples = MeanFieldProblem(
        np.tile(problem.x, (50, 1)),
        np.tile(problem.y, (50, 1)),
        TANH,
        sample_weights=np.tile(problem.sample_weights, 50) / 50,
    )
    many = at(samples, grid, ensemble, 1.0, **FIXED)
    np.testing.assert_allclose(many.ensemble.theta, one.ensemble.theta, atol=CLOSE)
    assert many.loss == pytest.approx(one.loss, abs=CLOSE)
    # A particle counted twice, equal weights: half the weight each.
    theta = ensemble.theta[:, [0, 0, 1]]
    equal = at(problem, grid, ParticleEnsemble(theta), 1.0, **FIXED)
    thirds = ParticleEnsemble(ensemble.theta[:, :2], [2 / 3, 1 / 3])
    weighted = at(problem, grid, thirds, 1.0, **FIXED)
    np.testing.assert_allclose(equal.z_end, weighted.z_end, atol=CLOSE)
    moved = equal.ensemble.theta[:, [0, 2]]
    np.testing.assert_allclose(moved, weighted.ensemble.theta, atol=CLOSE)
    # A sample counted twice, equal weights: twice the weight.
    double = MeanFieldProblem(problem.x[[0, 0, 1]], problem.y[[0, 0, 1]], TANH)
    plain = MeanFieldProblem(
        problem.x[:2], problem.y[:2], TANH, sample_weights=[2 / 3, 1 / 3]
    )
    first, second = (at(each, grid, ensemble, 1.0, **FIXED) for each in (double, plain))
    np.testing.assert_allclose(first.ensemble.theta, second.ensemble.theta, atol=CLOSE)
