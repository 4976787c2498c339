"""DepthGrid.layers: residual scales and outer activations, Eqs. (9)-(11)."""

import numpy as np
import pytest

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate
from mfpde.blocks import Bilinear, Linear, Perceptron
from mfpde.recording import observe
from mfpde.scales import PowerLaw

SMOOTH = ["tanh", "sigmoid", "softplus", "gelu", "sin", "squared_relu"]
KINKED = ["relu", "leaky_relu", "regularised_relu", "normalised_relu"]
OUTER = {
    None: lambda a: a,
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0.0),
    "sin": np.sin,
    "softplus": lambda a: np.logaddexp(0.0, a),
    "normalised_relu": lambda a: normalised(np.maximum(a, 0.0)),
}


def normalised(z):
    """Rows of root mean square one."""
    return z / np.sqrt(np.mean(z**2, axis=1, keepdims=True) + 1e-12)


def make_case(outer, scale, *, seed=4, dtype="float64", n_samples=11):
    rng = np.random.default_rng(seed)
    n_layers, n_particles, d = 4, 5, 3
    problem = MeanFieldProblem(
        rng.normal(size=(n_samples, d)),
        rng.normal(size=(n_samples, d)),
        Perceptron(d),
        dtype=dtype,
    )
    theta = rng.normal(size=(n_layers, n_particles, problem.k))
    weights = rng.dirichlet(np.full(n_particles, 2.0))
    grid = DepthGrid.layers(n_layers, scale, outer)
    return problem, grid, ParticleEnsemble(theta, weights)


def forward(problem, ensemble, tau, psi):
    """Eq. (9), written once more."""
    z, d = problem.x, problem.d
    for layer, scale in zip(ensemble.theta, tau, strict=True):
        u, v, b = layer[:, :d], layer[:, d : 2 * d], layer[:, 2 * d]
        z = psi(z + scale * (np.tanh(z @ u.T + b) * ensemble.weights) @ v)
    return z


SCALES = {
    "ode": ("ode", 1 / 4),
    "sde": ("sde", 1 / 2),
    "number": (0.3, 0.3),
    "power law": (PowerLaw(0.5, -0.25), 0.5 * 4**-0.25),
    "array": ([0.2, 0.7, 0.4, 0.9], [0.2, 0.7, 0.4, 0.9]),
}


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("outer", OUTER)
def test_state_is_that_of_the_network(outer, name):
    scale, tau = SCALES[name]
    problem, grid, ensemble = make_case(outer, scale)
    tau = np.broadcast_to(tau, 4)
    np.testing.assert_allclose(grid.weights, tau, rtol=1e-15)
    expected = forward(problem, ensemble, tau, OUTER[outer])
    evaluation = evaluate(problem, grid, ensemble)
    # Some tens of operations in each entry.
    np.testing.assert_allclose(evaluation.z_end, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("outer", SMOOTH + KINKED)
def test_velocity_is_the_gradient_divided_by_the_shares(outer):
    problem, grid, ensemble = make_case(outer, np.array([0.2, 0.7, 0.4, 0.9]))
    evaluation = evaluate(problem, grid, ensemble)
    rng = np.random.default_rng(8)
    direction = rng.normal(size=ensemble.theta.shape)
    h = 1e-5

    def loss(step):
        moved = ensemble.with_theta(ensemble.theta + step * direction)
        return evaluate(problem, grid, moved).loss

    slope = (loss(h) - loss(-h)) / (2 * h)
    shares = np.outer(grid.weights, ensemble.weights)[:, :, np.newaxis]
    expected = -np.sum(shares * evaluation.velocity * direction)
    # h^2 of the differences; these samples do not cross a kink within h.
    assert slope == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("outer", ["relu", "gelu"])
def test_velocity_agrees_with_torch(outer):
    torch = pytest.importorskip("torch", reason="torch differentiates by itself")
    problem, grid, ensemble = make_case(outer, "sde")
    theta = torch.tensor(ensemble.theta, requires_grad=True)
    weights, z, d = torch.tensor(ensemble.weights), torch.tensor(problem.x), problem.d
    psi = getattr(torch.nn.functional, outer)
    for layer, tau in zip(theta, grid.weights, strict=True):
        u, v, b = layer[:, :d], layer[:, d : 2 * d], layer[:, 2 * d]
        z = psi(z + float(tau) * (torch.tanh(z @ u.T + b) * weights) @ v)
    (0.5 * ((z - torch.tensor(problem.y)) ** 2).sum(dim=1).mean()).backward()
    shares = np.outer(grid.weights, ensemble.weights)[:, :, np.newaxis]
    velocity = evaluate(problem, grid, ensemble).velocity
    expected = -theta.grad.numpy() / shares
    np.testing.assert_allclose(velocity, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("outer", SMOOTH + KINKED)
def test_float32_agrees(outer):
    single = make_case(outer, "sde", dtype="float32", n_samples=300)
    double = make_case(outer, "sde", n_samples=300)
    velocity, expected = evaluate(*single).velocity, evaluate(*double).velocity
    # Rounding of float32, some tens of operations.
    assert np.abs(velocity - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e19), ("float64", 1e160)])
def test_large_states_are_normalised_too(dtype, size):
    """psi does not depend on the size of large states: no square overflows."""
    grid, found = DepthGrid.layers(1, outer="normalised_relu"), []
    ensemble = ParticleEnsemble(np.zeros((1, 1, 9)))
    for factor in (1e3, size):
        x, y = factor * np.array([[1.0, 10.0, -3.0]]), [[1.0, 2.0, 3.0]]
        problem = MeanFieldProblem(x, y, Linear(3), dtype=dtype)
        found.append(evaluate(problem, grid, ensemble))
    rtol = 1e-6 if dtype == "float32" else 1e-14
    expected = normalised(np.array([[1e3, 1e4, 0.0]]))
    for each in found:
        np.testing.assert_allclose(each.output, expected, rtol=rtol)
    # The derivative falls like 1 / size: times z it is the same velocity.
    scale = np.abs(found[0].velocity).max()
    assert scale > 0.1
    np.testing.assert_allclose(
        found[1].velocity, found[0].velocity, rtol=10 * rtol, atol=10 * rtol * scale
    )


def test_ode_scale_has_the_bits_of_euler():
    problem, grid, ensemble = make_case(None, "ode")
    layers = evaluate(problem, grid, ensemble)
    euler = evaluate(problem, DepthGrid.euler(4), ensemble)
    assert layers.velocity.tobytes() == euler.velocity.tobytes()
    assert layers.loss == euler.loss
    assert np.array_equal(grid.state_depths(), DepthGrid.euler(4).state_depths())
    for n in (3, 7, 49):
        ode = DepthGrid.layers(n, PowerLaw(1.0, -1.0), "identity")
        assert np.array_equal(ode.step_size, DepthGrid.euler(n).step_size)
        assert ode.outer is None


def test_ledger_holds_with_the_residual_scales_as_weights():
    problem, grid, ensemble = make_case("tanh", 0.4)
    problem = MeanFieldProblem(
        problem.x,
        problem.y,
        problem.block,
        regulariser=mfpde.DecayingQuadratic(0.1, 0.5),
    )
    first = evaluate(problem, grid, ensemble, 0.3)
    squares = np.einsum("jmk,m->j", ensemble.theta**2, ensemble.weights)
    assert first.second_moment == pytest.approx(0.4 * squares.sum(), rel=1e-14)
    h = 1e-5
    objectives = [
        evaluate(
            problem,
            grid,
            ensemble.with_theta(ensemble.theta + step * first.velocity),
            0.3 + step,
        ).objective
        for step in (-h, h)
    ]
    slope = (objectives[1] - objectives[0]) / (2 * h)
    assert slope == pytest.approx(first.ledger_rate, rel=1e-7)


def test_second_moment_of_random_bilinear_layers_follows_the_scale():
    """T10: E |z_L|^2 = (1 + tau^2)^L |z_0|^2: e for L^(-1/2), 1 for 1/L, as L grows."""
    rng = np.random.default_rng(2)
    d, n_draws = 2, 400
    for n_layers, scale, tau in ((16, "sde", 0.25), (16, "ode", 1 / 16)):
        grid = DepthGrid.layers(n_layers, scale)
        x = rng.normal(size=(1, d))
        problem = MeanFieldProblem(x, x, Bilinear(d))
        growth = []
        for _ in range(n_draws):
            # One particle: E (u.z)^2 |v|^2 = |z|^2 for variances 1 and 1 / d.
            theta = rng.normal(size=(n_layers, 1, 2 * d))
            theta[:, :, d:] /= np.sqrt(d)
            z = mfpde.predict(problem, grid, ParticleEnsemble(theta), x)
            growth.append(np.sum(z**2) / np.sum(x**2))
        expected = (1 + tau**2) ** n_layers
        error = np.std(growth) / np.sqrt(n_draws)
        assert abs(np.mean(growth) - expected) < 4 * error
        assert error < 0.1 * expected


def test_blow_up_names_the_layer():
    x = np.ones((3, 1))
    problem = MeanFieldProblem(x, x, Bilinear(1))
    theta = np.full((6, 1, 2), 1e60)
    grid = DepthGrid.layers(6, 1.0, "leaky_relu")
    with pytest.raises(
        mfpde.errors.NotFiniteError, match="not finite after layer 3 of 6"
    ):
        evaluate(problem, grid, ParticleEnsemble(theta))


def test_invariants_of_linear_blocks_are_not_told_with_an_outer_activation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 2))
    problem = MeanFieldProblem(x, x, Bilinear(2))
    ensemble = ParticleEnsemble(np.ones((3, 1, 1)) * rng.normal(size=(1, 5, 4)))
    plain = observe(evaluate(problem, DepthGrid.layers(3, 0.4), ensemble))
    assert plain["invariant_spread"] < 1e-14
    outer = observe(evaluate(problem, DepthGrid.layers(3, 0.4, "tanh"), ensemble))
    assert np.isnan(outer["invariant_spread"])
    assert np.isnan(outer["hamiltonian_spread"])


@pytest.mark.parametrize(
    "scale", ["ode", "sde", 0.25, PowerLaw(2.0, -0.4), [0.1, 0.2, 0.3]]
)
@pytest.mark.parametrize("outer", [None, "relu"])
def test_layers_are_rebuilt_from_their_description(scale, outer):
    grid = DepthGrid.layers(3, scale, outer)
    again = DepthGrid.from_description(grid.describe())
    assert np.array_equal(again.step_size, grid.step_size)
    assert (again.outer, again.describe()) == (grid.outer, grid.describe())
    assert repr(grid).startswith("DepthGrid.layers(3, ")
    if isinstance(scale, list):
        with pytest.raises(ValueError, match="one number for each layer"):
            grid.refined()
    else:
        assert grid.refined().n_nodes == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, "odd"), "`residual_scale` must be one of .*ode, sde.* Did you mean 'ode'"),
        ((3, 0.0), "`residual_scale` must be positive and finite.*got 0.0"),
        ((3, [0.1, 0.2]), "one number or n_layers = 3 of them"),
        ((3, [0.1, -0.2, 0.3]), "must be positive"),
        ((3, None), "`residual_scale` must be positive"),
        ((3, "ode", "rely"), "`outer` must be None or one of .* Did you mean 'relu'"),
        ((0,), "`n` must be at least 1"),
    ],
)
def test_bad_layers(arguments, message):
    with pytest.raises(ValueError, match=message):
        DepthGrid.layers(*arguments)


def test_independent_draws_fit_layers():
    law = mfpde.laws.Gaussian(0.0, 1.0, 3)
    ensemble = law.sample(DepthGrid.layers(4, "sde"), 5, coupling="layer", method="iid")
    assert np.abs(np.diff(ensemble.theta, axis=0)).min() > 0
