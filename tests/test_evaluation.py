"""evaluate, predict, trajectories and field against NumPy twins and complex steps."""

import dataclasses

import numpy as np
import pytest
import reference

from mfpde import (
    DecayingQuadratic,
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    evaluate,
    predict,
    solve,
)
from mfpde.blocks import Bias, Bilinear, Linear, Perceptron
from mfpde.describe import names
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.evaluation import field, first_variation_gradient, trajectories
from mfpde.readouts import Linear as LinearMap

GRIDS = [
    DepthGrid.euler(3),
    DepthGrid.midpoint(2),
    DepthGrid.rk4(2),
    DepthGrid.gauss(3),
    DepthGrid.gauss(2, 2),
]
BLOCKS = [
    Perceptron(2),
    Perceptron(3, "sigmoid", bias=False, scale=1.7),
    Bilinear(2),
    Linear(3),
    Bias(2),
]
S = 0.4
# Sums of some hundred terms of size one.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def ensemble_on(grid, block, rng, n_particles=5):
    # Small enough for the fixed-point iterations of Gauss, package and twin.
    theta = 0.4 * rng.normal(size=(grid.n_nodes, n_particles, block.k))
    return ParticleEnsemble(theta, rng.dirichlet(np.full(n_particles, 2.0)))


def full_problem(block, rng, loss="squared", n_samples=9, **options):
    """Both maps trained, unequal weights with a zero, a metric and a ridge."""
    weights = rng.random(n_samples)
    weights[2] = 0.0
    y = {
        "squared": rng.normal(size=(n_samples, 3)),
        "logistic": rng.choice([-1.0, 1.0], size=(n_samples, 3)),
        "cross_entropy": np.eye(3)[rng.integers(3, size=n_samples)],
    }[loss]
    values = {
        "embedding": LinearMap(rng.normal(size=(block.d, 4)), trainable=True, rate=0.7),
        "readout": LinearMap(rng.normal(size=(3, block.d)), trainable=True, rate=1.3),
        "loss": loss,
        "regulariser": DecayingQuadratic(0.3, 0.5),
        "metric": rng.uniform(0.5, 1.5, size=block.k),
        "sample_weights": weights / weights.sum(),
    } | options
    return MeanFieldProblem(rng.normal(size=(n_samples, 4)), y, block, **values)


def twin(problem, grid, ensemble, s):
    """Everything `evaluate` gives, from the twins in `reference`."""
    block, theta, w = problem.block, ensemble.theta, ensemble.weights
    z, stages = reference.forward(block, grid, theta, w, problem.z0)
    output = z[-1] @ problem.readout.matrix.T
    c = problem.sample_weights[:, np.newaxis]
    covector = problem.loss.gradients(output, problem.y) * c
    p, sums = reference.adjoint(
        block, grid, theta, w, stages, covector @ problem.readout.matrix
    )
    ridge = problem.regulariser
    omega = grid.weights[:, np.newaxis, np.newaxis]
    gradient = sums / omega + 2 * ridge.strength(s) * theta
    maps = {"embedding": p[0].T @ problem.x, "readout": covector.T @ z[-1]}
    rates = {name: getattr(problem, name).rate for name in maps}
    measure = omega * w[:, np.newaxis]
    second_moment = np.sum(measure * theta**2)
    dissipation = np.sum(measure * problem.metric * gradient**2)
    dissipation += sum(rates[name] * np.sum(g**2) for name, g in maps.items())
    squares = np.sum(measure * gradient**2)
    squares += sum(np.sum(g**2) for g in maps.values())
    loss = problem.sample_weights @ reference.LOSSES[problem.loss.name](
        output, problem.y
    )
    return {
        "z": z,
        "z_end": z[-1],
        "output": output,
        "loss": loss,
        "objective": loss + ridge.strength(s) * second_moment,
        "second_moment": second_moment,
        "velocity": -problem.metric * gradient,
        "dissipation": dissipation,
        "gradient_norm": np.sqrt(squares),
        "ledger_rate": ridge.rate(s) * second_moment - dissipation,
    }, {
        "p": np.divide(p, c, out=np.zeros_like(p), where=c > 0),
        **{name: -rates[name] * g for name, g in maps.items()},
    }


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("block", BLOCKS, ids=repr)
def test_evaluation_equals_its_twin(block, grid, rng):
    problem, ensemble = full_problem(block, rng), ensemble_on(grid, block, rng)
    evaluation = evaluate(problem, grid, ensemble, S)
    expected, others = twin(problem, grid, ensemble, S)
    for name, value in expected.items():
        np.testing.assert_allclose(
            getattr(evaluation, name), value, err_msg=name, **CLOSE
        )
    np.testing.assert_allclose(evaluation.p, others.pop("p"), **CLOSE)
    for name, value in others.items():
        np.testing.assert_allclose(evaluation.map_velocities[name], value, **CLOSE)
    assert evaluation.s == S


@pytest.mark.parametrize("loss", names("loss"))
@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_velocities_by_complex_steps_of_the_discrete_objective(grid, loss, rng):
    """The derivative of the twin's objective needs no adjoint, and has no rounding."""
    block = Perceptron(2)
    problem = full_problem(block, rng, loss)
    ensemble = ensemble_on(grid, block, rng)
    evaluation = evaluate(problem, grid, ensemble, S)
    measure = grid.weights[:, np.newaxis, np.newaxis] * ensemble.weights[:, np.newaxis]
    gradients = {"theta": -measure * evaluation.velocity / problem.metric}
    for name, velocity in evaluation.map_velocities.items():
        gradients[name] = -velocity / getattr(problem, name).rate
    starts = {
        "theta": ensemble.theta,
        "embedding": problem.embedding.matrix,
        "readout": problem.readout.matrix,
    }
    for name, start in starts.items():
        direction = rng.normal(size=start.shape)
        derivative = reference.slope(
            lambda value, name=name: reference.objective(
                problem, grid, ensemble, S, **{name: value}
            ),
            start,
            direction,
        )
        found = np.sum(gradients[name] * direction)
        assert found == pytest.approx(derivative, rel=1e-12, abs=1e-13), name


def test_maps_that_are_not_trained_have_no_velocity(rng):
    problem = full_problem(
        Perceptron(2),
        rng,
        embedding=rng.normal(size=(2, 4)),
        readout=LinearMap(rng.normal(size=(3, 2)), trainable=True),
    )
    ensemble = ensemble_on(GRIDS[0], problem.block, rng)
    assert list(evaluate(problem, GRIDS[0], ensemble).map_velocities) == ["readout"]


# ---- structure


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_ends_of_the_sweeps(grid, rng):
    problem = full_problem(Perceptron(2), rng)
    evaluation = evaluate(problem, grid, ensemble_on(grid, problem.block, rng))
    np.testing.assert_array_equal(evaluation.t_states, grid.state_depths())
    shape = (len(grid.state_depths()), problem.n_samples, 2)
    assert evaluation.z.shape == evaluation.p.shape == shape
    np.testing.assert_array_equal(evaluation.z[0], problem.z0)
    np.testing.assert_array_equal(evaluation.z[-1], evaluation.z_end)
    np.testing.assert_array_equal(evaluation.output, problem.read(evaluation.z_end))
    last = problem.readout.transposed(
        problem.loss.gradients(evaluation.output, problem.y)
    )
    last[2] = 0.0
    # p carries no factor c_i; it went through c_i and back.
    np.testing.assert_allclose(evaluation.p[-1], last, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_a_sample_of_weight_zero_does_not_count(grid, rng):
    problem = full_problem(Perceptron(2), rng)
    ensemble = ensemble_on(grid, problem.block, rng)
    keep = problem.sample_weights > 0
    # Not even if its target is out of all proportion.
    y = problem.y.copy()
    y[2] = 1e9
    options = {
        "embedding": problem.embedding,
        "readout": problem.readout,
        "regulariser": problem.regulariser,
        "metric": problem.metric,
    }
    found = [
        evaluate(
            MeanFieldProblem(
                problem.x[rows],
                y[rows],
                problem.block,
                sample_weights=problem.sample_weights[rows],
                **options,
            ),
            grid,
            ensemble,
        )
        for rows in (slice(None), keep)
    ]
    np.testing.assert_allclose(found[0].velocity, found[1].velocity, **CLOSE)
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-14)
    np.testing.assert_array_equal(found[0].p[:, 2], 0.0)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_repeating_a_sample_is_doubling_its_weight(grid, rng):
    block = Perceptron(2)
    x, y = rng.normal(size=(2, 4, 2))
    ensemble = ensemble_on(grid, block, rng)
    weighted = MeanFieldProblem(x, y, block, sample_weights=[0.2, 0.2, 0.2, 0.4])
    rows = [0, 1, 2, 3, 3]
    repeated = MeanFieldProblem(x[rows], y[rows], block)
    found = [evaluate(each, grid, ensemble) for each in (weighted, repeated)]
    np.testing.assert_allclose(found[0].velocity, found[1].velocity, **CLOSE)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_velocity_does_not_depend_on_how_mass_is_split(grid, rng):
    """Eq. (7): the weight of a particle divides out of its own velocity."""
    problem = full_problem(Perceptron(2), rng)
    theta = 0.4 * rng.normal(size=(grid.n_nodes, 3, 5))
    whole = ParticleEnsemble(theta, [0.5, 0.3, 0.2])
    rows = [0, 0, 1, 2]
    split = ParticleEnsemble(theta[:, rows], [0.499, 0.001, 0.3, 0.2])
    found = [evaluate(problem, grid, each) for each in (whole, split)]
    np.testing.assert_allclose(found[1].velocity, found[0].velocity[:, rows], **CLOSE)
    assert found[1].dissipation == pytest.approx(found[0].dissipation, rel=1e-13)


def test_order_of_the_particles_does_not_matter(rng):
    grid, problem = GRIDS[2], full_problem(Perceptron(2), rng)
    ensemble = ensemble_on(grid, problem.block, rng)
    order = rng.permutation(ensemble.n_particles)
    found = [
        evaluate(problem, grid, each) for each in (ensemble, ensemble.permuted(order))
    ]
    np.testing.assert_allclose(found[1].velocity, found[0].velocity[:, order], **CLOSE)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_the_same_call_gives_the_same_bits(grid, rng):
    problem = full_problem(Perceptron(2), rng)
    ensemble = ensemble_on(grid, problem.block, rng)
    first, second = (evaluate(problem, grid, ensemble, S) for _ in range(2))
    assert first.velocity.tobytes() == second.velocity.tobytes()
    assert (first.loss, first.dissipation) == (second.loss, second.dissipation)


def test_without_a_regulariser_the_objective_is_the_loss(rng):
    grid = GRIDS[0]
    problem = full_problem(Perceptron(2), rng, regulariser=None)
    ensemble = ensemble_on(grid, problem.block, rng)
    found = evaluate(problem, grid, ensemble, 3.0)
    assert found.objective == found.loss
    assert found.ledger_rate == -found.dissipation
    # s matters to a decaying regulariser only.
    assert found.loss == evaluate(problem, grid, ensemble, 0.0).loss


def test_evaluation_is_frozen_and_short_in_print(rng):
    problem = full_problem(Perceptron(2), rng)
    evaluation = evaluate(
        problem, GRIDS[0], ensemble_on(GRIDS[0], problem.block, rng), S
    )
    assert repr(evaluation).startswith("Evaluation(s=0.4, loss=")
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluation.loss = 0.0


# ---- predict, trajectories, field


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
def test_predictions_at_the_samples_are_the_outputs(grid, rng):
    problem = full_problem(Perceptron(2), rng)
    ensemble = ensemble_on(grid, problem.block, rng)
    evaluation = evaluate(problem, grid, ensemble)
    output = predict(problem, grid, ensemble, problem.x)
    np.testing.assert_array_equal(output, evaluation.output)
    t, z = trajectories(problem, grid, ensemble, problem.x)
    np.testing.assert_array_equal(t, evaluation.t_states)
    np.testing.assert_array_equal(z, evaluation.z)


@pytest.mark.parametrize("n", [1, 8, 130])
def test_predictions_elsewhere(n, rng):
    grid, problem = GRIDS[2], full_problem(Perceptron(2), rng)
    ensemble = ensemble_on(grid, problem.block, rng)
    x = rng.normal(size=(n, 4))
    z, _ = reference.forward(
        problem.block, grid, ensemble.theta, ensemble.weights, problem.embed(x)
    )
    found = predict(problem, grid, ensemble, x)
    np.testing.assert_allclose(found, problem.read(z[-1]), **CLOSE)
    np.testing.assert_allclose(trajectories(problem, grid, ensemble, x)[1], z, **CLOSE)


def test_predictions_of_lists_and_single_columns(rng):
    block = Perceptron(1)
    problem = MeanFieldProblem([1.0, 2.0], [1.0, 0.0], block)
    ensemble = ensemble_on(GRIDS[0], block, rng)
    np.testing.assert_array_equal(
        predict(problem, GRIDS[0], ensemble, [1, 2, 3]),
        predict(problem, GRIDS[0], ensemble, np.array([[1.0], [2.0], [3.0]])),
    )


@pytest.mark.parametrize("n", [1, 9, 300])
@pytest.mark.parametrize("block", [Perceptron(2), Linear(3)], ids=repr)
def test_field_at_every_node(block, n, rng):
    grid = GRIDS[4]
    x, y = rng.normal(size=(2, 3, block.d))
    problem, ensemble = MeanFieldProblem(x, y, block), ensemble_on(grid, block, rng)
    z = rng.normal(size=(n, block.d))
    found = field(problem, grid, ensemble, z)
    assert found.shape == (grid.n_nodes, n, block.d)
    for j, theta in enumerate(ensemble.theta):
        expected = reference.field(block, theta, ensemble.weights, z)
        np.testing.assert_allclose(found[j], expected, **CLOSE)


# ---- messages


def simple(rng, block=None, **options):
    block = block or Perceptron(2)
    x, y = rng.normal(size=(2, 3, block.d))
    return MeanFieldProblem(x, y, block, **options)


@pytest.mark.parametrize("function", [predict, trajectories, field])
@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"must have shape \(n, 2\), got \(2, 3\)"),
        (np.zeros(2), ValueError, r"must have shape \(n, 2\), got \(2,\)"),
        (np.zeros((0, 2)), ValueError, r"must have shape \(n, 2\), got \(0, 2\)"),
        ([[0.0, np.nan]], ValueError, r"must be finite, got nan at index \(0, 1\)"),
        ([["a", "b"]], TypeError, "must hold real numbers"),
    ],
)
def test_points_that_do_not_fit(function, points, error, message, rng):
    problem = simple(rng)
    ensemble = ensemble_on(GRIDS[0], problem.block, rng)
    name = "`z` " if function is field else "`x` "
    with pytest.raises(error, match=name + message):
        function(problem, GRIDS[0], ensemble, points)


@pytest.mark.parametrize("shape", [(4, 5, 5), (3, 5, 4)])
@pytest.mark.parametrize("function", [evaluate, predict, field])
def test_ensembles_that_do_not_fit(function, shape, rng):
    arguments = () if function is evaluate else (np.zeros((1, 2)),)
    message = (
        r"`theta` must have shape \(n_nodes, n_particles, n_params\) = \(3, 5, 5\) for "
        r"DepthGrid.euler\(3\) and Perceptron\(.*got \("
    )
    with pytest.raises(ValueError, match=message):
        function(simple(rng), GRIDS[0], ParticleEnsemble(np.ones(shape)), *arguments)


def test_arguments_in_the_wrong_order(rng):
    problem = simple(rng)
    ensemble = ensemble_on(GRIDS[0], problem.block, rng)
    with pytest.raises(TypeError, match="`grid` must be a DepthGrid, got ParticleEns"):
        evaluate(problem, ensemble, GRIDS[0])
    with pytest.raises(
        TypeError, match="`problem` must be a MeanFieldProblem, got Perc"
    ):
        evaluate(problem.block, GRIDS[0], ensemble)
    with pytest.raises(
        TypeError, match="`ensemble` must be a ParticleEnsemble, got nd"
    ):
        evaluate(problem, GRIDS[0], ensemble.theta)


# ---- blow-up


def growing(loss="squared", **options):
    """f = v max(u z, 0)^2: the state of the largest sample leaves the doubles first."""
    x = np.array([[0.5], [1.0], [2.0], [1.5]])
    y = {
        "squared": np.zeros(4),
        "logistic": np.array([1.0, -1.0, 1.0, 1.0]),
        "cross_entropy": np.eye(2)[[0, 1, 0, 1]],
    }[loss]
    if loss == "cross_entropy":
        options["readout"] = [[1.0], [-1.0]]
    block = Perceptron(1, "squared_relu", bias=False)
    return MeanFieldProblem(x, y, block, loss=loss, **options)


def first_overflow(grid, u, v):
    """Step and sample of the first overflow of Euler's method, by hand."""
    z = np.array([0.5, 1.0, 2.0, 1.5])
    with np.errstate(over="ignore"):
        for step in range(grid.n_steps):
            z = z + v * (u * z) ** 2 / grid.n_steps
            if not np.isfinite(z).all():
                return step + 1, int(np.argmin(np.isfinite(z)))
    raise AssertionError("no overflow")


@pytest.mark.parametrize("loss", names("loss"))
def test_blow_up_is_named_by_layer_depth_sample_and_s(loss):
    grid = DepthGrid.euler(40)
    ensemble = ParticleEnsemble(np.full((40, 2, 2), 8.0))
    layer, sample = first_overflow(grid, 8.0, 8.0)
    # Two samples might leave in one step; the largest leaves first.
    assert sample == 2
    message = (
        rf"The state is not finite after layer {layer} of 40 \(t = {layer / 40:.4g}, "
        rf"depth\) for sample {sample}, at training time s = 1.5\. Reduce the scale"
    )
    with pytest.raises(NotFiniteError, match=message):
        evaluate(growing(loss), grid, ensemble, 1.5)


@pytest.mark.parametrize("function", [predict, trajectories])
def test_blow_up_of_a_prediction(function):
    ensemble = ParticleEnsemble(np.full((40, 2, 2), 8.0))
    layer, _ = first_overflow(DepthGrid.euler(40), 8.0, 8.0)
    message = rf"after layer {layer} of 40 \(t = .*, depth\) for sample 1\. Reduce"
    with pytest.raises(NotFiniteError, match=message):
        function(growing(), DepthGrid.euler(40), ensemble, [0.0, 2.0])


def test_blow_up_on_a_gauss_grid_names_the_node():
    grid = DepthGrid.gauss(3)
    ensemble = ParticleEnsemble(np.full((3, 1, 2), 20.0))
    message = (
        r"not finite after node 1 of 3 \(t = 0.1127, depth\) for sample \d, "
        r"at training time s = 2\. It blows up, or the iteration"
    )
    with pytest.raises(NotFiniteError, match=message):
        evaluate(growing(), grid, ensemble, 2.0)


def test_loss_that_is_not_finite():
    problem, grid = growing(readout=[[1e200]]), DepthGrid.euler(2)
    message = (
        r"The loss is not finite, at training time s = 10\. Reduce the scale of the"
    )
    with pytest.raises(NotFiniteError, match=message):
        evaluate(problem, grid, ParticleEnsemble(np.zeros((2, 1, 2))), 10.0)


def test_velocity_that_is_not_finite_names_the_particle():
    # f = 0 since v = 0, but the gradient in v is p (u z)^2 = 1002 * 1e308.
    block = Perceptron(1, "squared_relu", bias=False)
    problem = MeanFieldProblem([2.0], [-1000.0], block)
    theta = np.zeros((2, 3, 2))
    theta[1, 2, 0] = 0.5e154
    message = (
        r"The velocity is not finite at node 1 \(t = 0.5\), particle 2, at training "
        r"time s = 0\. Reduce the scale of theta"
    )
    with pytest.raises(NotFiniteError, match=message):
        evaluate(problem, DepthGrid.euler(2), ParticleEnsemble(theta))


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (
            10.0,
            ConvergenceError,
            r"stages of depth element 0 of 1 did not converge; .*"
            r"DepthGrid\.gauss\(n_nodes, n_elements\)",
        ),
        (100.0, NotFiniteError, "the iteration for the stages diverges.*more elements"),
    ],
)
def test_gauss_stages_that_do_not_converge(size, error, message, rng):
    """A linear field, whose states are finite however large it is."""
    block = Linear(3)
    theta = np.broadcast_to(size * np.eye(3).ravel(), (3, 2, 9))
    with pytest.raises(error, match=message):
        evaluate(simple(rng, block), DepthGrid.gauss(3), ParticleEnsemble(theta))


def test_gauss_stages_converge_on_more_elements(rng):
    """The way out that the message names."""
    block, grid = Linear(3), DepthGrid.gauss(3, 16)
    theta = np.broadcast_to(10.0 * np.eye(3).ravel(), (grid.n_nodes, 2, 9))
    problem = simple(rng, block)
    evaluation = evaluate(problem, grid, ParticleEnsemble(theta))
    # Order 6 in 10 / 16; the solution is x e^10.
    np.testing.assert_allclose(evaluation.z_end, problem.x * np.exp(10.0), rtol=1e-4)


# ---- losses of the user's own


class OwnLoss:
    """|out - y|^2 without a half, by formulas of the user's own."""

    def values(self, output, y):
        return ((output - y) ** 2).sum(axis=1)

    def gradients(self, output, y):
        return 2 * (output - y)


def test_a_loss_of_the_users_own(rng):
    grid, problem = GRIDS[1], simple(rng)
    own = MeanFieldProblem(problem.x, problem.y, problem.block, loss=OwnLoss())
    ensemble = ensemble_on(grid, problem.block, rng)
    found = [evaluate(each, grid, ensemble) for each in (problem, own)]
    assert found[1].loss == pytest.approx(2 * found[0].loss, rel=1e-14)
    np.testing.assert_allclose(found[1].velocity, 2 * found[0].velocity, **CLOSE)


@pytest.mark.parametrize("method", ["values", "gradients"])
def test_shapes_of_a_loss_of_the_users_own(method, rng):
    class WrongShape(OwnLoss):
        """Gives one column too few."""

    def wrong(self, output, y):
        return (output - y)[:, :1]

    setattr(WrongShape, method, wrong)
    problem = simple(rng, loss=WrongShape())
    ensemble = ensemble_on(GRIDS[0], problem.block, rng)
    with pytest.raises(ValueError, match="`loss`"):
        evaluate(problem, GRIDS[0], ensemble)


# ---- float32


# Perceptrons whose kernels in both precisions other tests use, too: few and many
# components, different activations.
FLOAT32_BLOCKS = [
    Perceptron(6, "gelu"),
    Perceptron(1, "softplus", scale=-0.4),
    Perceptron(2, "sin", scale=0.7),
    Bilinear(2),
    Linear(3),
    Bias(2),
]


@pytest.mark.parametrize("grid", [DepthGrid.rk4(2), DepthGrid.gauss(3)], ids=repr)
@pytest.mark.parametrize("block", FLOAT32_BLOCKS, ids=repr)
def test_float32_is_right_to_its_rounding(rng, block, grid):
    x, y = rng.normal(size=(2, 300, block.d))
    theta = 0.5 * rng.normal(size=(grid.n_nodes, 50, block.k))
    ensemble = ParticleEnsemble(theta)
    exact = evaluate(MeanFieldProblem(x, y, block), grid, ensemble)
    found = evaluate(MeanFieldProblem(x, y, block, dtype="float32"), grid, ensemble)
    for name in ("velocity", "output", "z", "p"):
        value, twin = getattr(found, name), getattr(exact, name)
        assert value.dtype == np.float64
        # Some units of 6e-8, relative to the largest; not zero, or it was not used.
        error = np.abs(value - twin).max() / np.abs(twin).max()
        assert 1e-10 < error < 2e-6, name
    assert found.loss == pytest.approx(exact.loss, rel=2e-6)


def test_sums_over_samples_stay_accurate_in_float32(rng):
    """A float32 sum of 100,000 equal terms would be wrong by more than 1e-4."""
    x = np.full((100_000, 1), 0.7)
    y = np.full((100_000, 1), -0.4)
    grid, theta = DepthGrid.euler(2), rng.normal(size=(2, 3, 3))
    many = MeanFieldProblem(x, y, Perceptron(1), dtype="float32")
    one = MeanFieldProblem(x[:1], y[:1], Perceptron(1), dtype="float32")
    found, exact = (evaluate(p, grid, ParticleEnsemble(theta)) for p in (many, one))
    # The weight 1e-5 of a sample is rounded once.
    np.testing.assert_allclose(found.velocity, exact.velocity, rtol=1e-6)


def test_flow_in_float32(rng):
    x, y = rng.normal(size=(2, 20, 2))
    grid, theta = DepthGrid.rk4(2), rng.normal(size=(5, 30, 5))
    found, exact = (
        solve(
            MeanFieldProblem(x, y, Perceptron(2), dtype=dtype),
            grid,
            ParticleEnsemble(theta),
            s_end=2.0,
            rtol=1e-4,
        )
        for dtype in ("float32", "float64")
    )
    assert found.status == "finished"
    assert found.loss[-1] == pytest.approx(exact.loss[-1], rel=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "double precision", None, 3])
def test_unknown_dtype(dtype):
    with pytest.raises(ValueError, match="`dtype` must be one of float64, float32"):
        MeanFieldProblem([[1.0]], [[1.0]], Bias(1), dtype=dtype)


@pytest.mark.parametrize("block", [Perceptron(2), Bilinear(2), Linear(2), Bias(2)])
@pytest.mark.parametrize("n_samples", [1, 7, 300])
def test_first_variation_gradient_is_minus_the_velocity_of_a_network(
    rng, block, n_samples
):
    """Euler pairs z[l] with p[l + 1], Eq. (11); any weights of particles, samples."""
    x, y = rng.normal(size=(2, n_samples, 2))
    c = rng.uniform(0.5, 1.5, n_samples)
    problem = MeanFieldProblem(x, y, block, sample_weights=c / c.sum())
    w = rng.uniform(0.5, 1.5, 5)
    ensemble = ParticleEnsemble(0.5 * rng.normal(size=(6, 5, block.k)), w / w.sum())
    ev = evaluate(problem, DepthGrid.euler(6), ensemble)
    found = first_variation_gradient(problem, ensemble.theta, ev.z[:-1], ev.p[1:])
    np.testing.assert_allclose(found, -ev.velocity, rtol=1e-10, atol=1e-14)


def test_first_variation_gradient_by_differences(rng):
    """Eq. (5) differentiated in theta, for states that are nobody's."""
    problem = MeanFieldProblem(*rng.normal(size=(2, 9, 2)), Perceptron(2, "gelu"))
    theta, e = rng.normal(size=(3, 4, 5)), 1e-6
    z, p = rng.normal(size=(2, 3, 9, 2))
    found = first_variation_gradient(problem, theta, z, p)

    def variation(theta, j, m):
        one = ParticleEnsemble(theta[j : j + 1, m : m + 1])
        values = field(problem, DepthGrid.euler(1), one, z[j])[0]
        return np.mean(np.sum(p[j] * values, axis=1))

    for j, m, c in [(0, 0, 0), (1, 3, 2), (2, 1, 4), (2, 2, 1)]:
        step = np.zeros_like(theta)
        step[j, m, c] = e
        slope = variation(theta + step, j, m) - variation(theta - step, j, m)
        assert found[j, m, c] == pytest.approx(slope / (2 * e), rel=1e-7, abs=1e-9)


def test_first_variation_gradient_refuses_what_does_not_fit(rng):
    problem = MeanFieldProblem(*rng.normal(size=(2, 9, 2)), Perceptron(2))
    theta, z = np.zeros((3, 4, 5)), np.zeros((3, 9, 2))
    with pytest.raises(ValueError, match=r"`theta` must have shape .* 5\), got"):
        first_variation_gradient(problem, theta[:, :, :4], z, z)
    with pytest.raises(ValueError, match=r"`p` must have shape .*\(3, 9, 2\), got"):
        first_variation_gradient(problem, theta, z, z[:2])
