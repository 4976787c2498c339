"""Training of networks: optimisers, batches, schedules, early stopping, parts."""

import dataclasses

import numpy as np
import pytest

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, ResNet, solve, train
from mfpde.blocks import Bias, Perceptron
from mfpde.describe import described, rebuilt
from mfpde.losses import Squared
from mfpde.networks import (
    SGD,
    Adam,
    Batches,
    Constant,
    Cosine,
    Drops,
    EarlyStopping,
    PowerLaw,
    WarmUp,
    parts,
)
from mfpde.readouts import Linear
from mfpde.recording import Steps
from mfpde.run.descent import Descent

EVERY = Steps(1)


def make_problem(rng, n_samples=40, *, has_maps=True, **options):
    """Two classes; both maps trained."""
    x = rng.normal(size=(n_samples, 2))
    y = np.eye(2)[(x[:, 0] * x[:, 1] > 0).astype(int)]
    maps = {
        "embedding": Linear(rng.normal(size=(3, 2)), has_maps, 0.5),
        "readout": Linear(rng.normal(size=(2, 3)), has_maps, 2.0),
    }
    return MeanFieldProblem(
        x, y, Perceptron(3), loss="cross_entropy", **maps, **options
    )


def make_net(rng, *, n_layers=4, n_particles=5, scale="ode", outer=None, **options):
    problem = make_problem(rng, **options)
    theta = rng.normal(size=(n_layers, n_particles, problem.k))
    return ResNet(problem, ParticleEnsemble(theta), scale, outer)


# Gradient descent is the flow by explicit Euler


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_plain_descent_has_the_bits_of_the_flow(rng, dtype):
    regulariser = mfpde.DecayingQuadratic(0.01)
    net = make_net(rng, n_samples=150, dtype=dtype, regulariser=regulariser)
    n_iterations, ds = 200, 0.0371
    end = {"s_end": n_iterations * ds, "stepper": "euler", "ds": ds}
    grid = DepthGrid.euler(4)
    flow = solve(net.problem, grid, net.ensemble, record=EVERY, **end)
    descent = train(net, SGD(ds=ds), n_iterations=n_iterations, record=EVERY)
    assert descent.ensemble.theta.tobytes() == flow.ensemble.theta.tobytes()
    for name in ("embedding", "readout"):
        moved, expected = (
            getattr(each.problem, name).matrix for each in (descent, flow)
        )
        assert moved.tobytes() == expected.tobytes()
    for name in ("loss", "objective", "dissipation", "gradient_norm"):
        assert np.array_equal(descent.scalars[name], flow.scalars[name])
    assert descent.s == pytest.approx(flow.s, rel=1e-12)
    assert descent.n_evaluations == flow.n_evaluations
    assert descent.loss[-1] < 0.7 * descent.loss[0]


def test_learning_rate_is_the_plain_one(rng):
    """Eq. (30): theta <- theta - lr dE/dtheta, dE/dtheta by central differences."""
    net = make_net(rng, n_layers=2, n_particles=3, has_maps=False, scale="sde")
    rate, h = 4.0, 1e-6
    moved = train(net, SGD(learning_rate=rate), n_iterations=1).ensemble.theta
    theta = net.ensemble.theta
    for index in [(0, 0, 0), (1, 2, 4), (0, 1, 6)]:
        losses = []
        for sign in (-1, 1):
            shifted = theta.copy()
            shifted[index] += sign * h
            losses.append(
                net.with_parameters(ParticleEnsemble(shifted)).evaluate().loss
            )
        gradient = (losses[1] - losses[0]) / (2 * h)
        assert moved[index] - theta[index] == pytest.approx(-rate * gradient, rel=1e-5)
    assert net.ds(rate) == pytest.approx(rate * 2**-0.5 / 3, rel=1e-15)
    assert net.learning_rate(net.ds(rate)) == pytest.approx(rate, rel=1e-15)


def test_map_of_learning_rates_is_said_in_words(rng):
    net = make_net(rng, n_layers=16, n_particles=64)
    assert net.ds(12.8) == pytest.approx(0.0125)
    sentence = net.rate_sentence(0.0125)
    assert sentence.startswith("learning rate 12.8 on L = 16, M = 64 is ds = 0.0125")
    text = SGD(ds=0.0125, momentum=0.9).sentence(net)
    assert "s counts ds / (1 - 0.9)" in text
    uneven = make_net(rng, n_layers=2, scale=[0.1, 0.2])
    assert "different tau w" in SGD(ds=0.1).sentence(uneven)
    with pytest.raises(ValueError, match=r"no single ds here.*Give `ds` instead"):
        train(uneven, SGD(learning_rate=1.0), n_iterations=1)
    solution = train(uneven, SGD(ds=0.1), n_iterations=2)
    assert np.isnan(solution.scalars["learning_rate"]).all()


# Against loops written once more


def loss_and_gradient(net, theta, matrices, index):
    """Mean cross-entropy of some samples and its plain gradient, by hand: Eq. (11)."""
    psi, slope = {
        None: (lambda a: a, np.ones_like),
        "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0).astype(float)),
    }[net.outer]
    x, y = net.problem.x[index], net.problem.y[index]
    d, states, arguments = net.problem.d, [x @ matrices["embedding"].T], []
    weights, tau = net.ensemble.weights, net.grid.weights
    for layer, scale in zip(theta, tau, strict=True):
        u, v, b = layer[:, :d], layer[:, d : 2 * d], layer[:, 2 * d]
        z = states[-1]
        arguments.append(z + scale * (np.tanh(z @ u.T + b) * weights) @ v)
        states.append(psi(arguments[-1]))
    out = states[-1] @ matrices["readout"].T
    shares = np.exp(out) / np.exp(out).sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(np.sum(shares * y, axis=1)))
    residual = (shares - y) / len(x)
    gradient, maps = np.empty_like(theta), {"readout": residual.T @ states[-1]}
    p = residual @ matrices["readout"]
    for i in reversed(range(len(theta))):
        u, v, b = theta[i, :, :d], theta[i, :, d : 2 * d], theta[i, :, 2 * d]
        r, z = slope(arguments[i]) * p, states[i]
        sigma = np.tanh(z @ u.T + b)
        e = tau[i] * weights * (r @ v.T) * (1 - sigma**2)
        gradient[i, :, :d] = e.T @ z
        gradient[i, :, d : 2 * d] = (tau[i] * weights * sigma).T @ r
        gradient[i, :, 2 * d] = e.sum(axis=0)
        p = r + e @ u
    return loss, gradient, maps | {"embedding": p.T @ x}


def by_hand(net, batches, n_iterations, update):
    """A training loop in plain gradients; `update` works on one array at a time."""
    theta = net.ensemble.theta.copy()
    matrices = {
        name: getattr(net.problem, name).matrix.copy()
        for name in ("embedding", "readout")
    }
    memories, losses = {name: {} for name in ("theta", *matrices)}, []
    # Plain gradients are multiplied by what makes them velocities.
    share = float(net.grid.weights[0] * net.ensemble.weights[0])
    rates = {"theta": 1 / share, "embedding": 0.5, "readout": 2.0}
    for n in range(n_iterations):
        loss, gradient, maps = loss_and_gradient(net, theta, matrices, batches.index(n))
        losses.append(loss)
        arrays = {"theta": theta} | matrices
        gradients = {"theta": gradient} | maps
        for name, array in arrays.items():
            array += update(n, rates[name] * gradients[name], memories[name])
    return theta, matrices, losses


def momentum_update(ds, momentum, nesterov, schedule):
    def update(n, g, memory):
        memory["v"] = momentum * memory.get("v", 0.0) + g
        step = g + momentum * memory["v"] if nesterov else memory["v"]
        return -ds * schedule.factor(n) * step

    return update


def adam_update(rate, beta1, beta2, epsilon, schedule):
    def update(n, g, memory):
        memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
        memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
        mean = memory["m"] / (1 - beta1 ** (n + 1))
        square = memory["v"] / (1 - beta2 ** (n + 1))
        return -rate * schedule.factor(n) * mean / (np.sqrt(square) + epsilon)

    return update


COSINE = Cosine(n_iterations=30)
CASES = {
    "momentum": (
        SGD(ds=0.05, momentum=0.9),
        momentum_update(0.05, 0.9, False, Constant()),
    ),
    "nesterov": (
        SGD(ds=0.05, momentum=0.8, nesterov=True, schedule=COSINE),
        momentum_update(0.05, 0.8, True, COSINE),
    ),
    "plain": (SGD(ds=0.3), momentum_update(0.3, 0.0, False, Constant())),
    "adam": (
        Adam(0.02, schedule=WarmUp(5, Drops((10, 15), 0.5))),
        adam_update(0.02, 0.9, 0.999, 1e-8, WarmUp(5, Drops((10, 15), 0.5))),
    ),
}


@pytest.mark.parametrize(("scale", "outer"), [("ode", None), ("sde", "relu")])
@pytest.mark.parametrize("name", CASES)
def test_training_agrees_with_a_loop_by_hand(rng, name, scale, outer):
    optimiser, update = CASES[name]
    net = make_net(rng, scale=scale, outer=outer)
    n_iterations, batch_size, seed = 25, 7, 3
    batches = Batches(40, batch_size, seed)
    theta, matrices, losses = by_hand(net, batches, n_iterations, update)
    done = train(
        net,
        optimiser,
        n_iterations=n_iterations,
        batch_size=batch_size,
        seed=seed,
        record=EVERY,
    )
    # Adam divides by small gradients: their rounding counts.
    tolerance = 1e-8 if name == "adam" else 1e-11
    np.testing.assert_allclose(
        done.ensemble.theta, theta, rtol=tolerance, atol=tolerance
    )
    for key, matrix in matrices.items():
        moved = getattr(done.problem, key).matrix
        np.testing.assert_allclose(moved, matrix, rtol=tolerance, atol=tolerance)
    assert np.abs(done.ensemble.theta - net.ensemble.theta).max() > 0.05
    running, expected = 0.0, []
    for n, loss in enumerate(losses):
        running += (loss - running) / min(n + 1, batches.n_batches)
        expected.append(running)
    np.testing.assert_allclose(done.scalars["batch_loss"][:-1], expected, rtol=1e-8)


def test_adam_agrees_with_torch(rng):
    torch = pytest.importorskip("torch", reason="torch has an Adam of its own")
    net = make_net(rng, has_maps=False)
    share = float(net.grid.weights[0] * net.ensemble.weights[0])
    theta = torch.tensor(net.ensemble.theta, requires_grad=True)
    epsilon = 1e-4
    adam = torch.optim.Adam([theta], lr=0.02, eps=epsilon * share)
    matrices = {n: getattr(net.problem, n).matrix for n in ("embedding", "readout")}
    everything = np.arange(40)
    for _ in range(20):
        present = theta.detach().numpy()
        _, gradient, _ = loss_and_gradient(net, present, matrices, everything)
        theta.grad = torch.tensor(gradient)
        adam.step()
    done = train(net, Adam(0.02, epsilon=epsilon), n_iterations=20)
    np.testing.assert_allclose(
        done.ensemble.theta, theta.detach().numpy(), rtol=1e-9, atol=1e-9
    )


def test_training_time_counts_what_an_iteration_moves(rng):
    net = make_net(rng)
    rates = {
        SGD(ds=0.1): 0.1,
        SGD(ds=0.1, momentum=0.75): 0.4,
        Adam(0.01): 0.01,
        SGD(learning_rate=2.0): 2.0 / 20,
    }
    for optimiser, expected in rates.items():
        done = train(net, optimiser, n_iterations=6, batch_size=10, record=EVERY)
        assert done.s == pytest.approx(expected * np.arange(7), rel=1e-13)
        assert done.n_passes == pytest.approx(7 / 4)
        assert done.n_kernel_evaluations == 4 * 5 * 70


def test_frozen_parameters_stay(rng):
    metric = [0.0] * 3 + [1.0] * 4
    net = make_net(rng, metric=metric)
    for optimiser in (SGD(ds=0.1, momentum=0.9), Adam(0.01)):
        moved = train(net, optimiser, n_iterations=4, batch_size=9).ensemble.theta
        change = np.abs(moved - net.ensemble.theta).max(axis=(0, 1))
        assert (change[:3] == 0).all()
        assert (change[3:] > 0).all()


# Batches


@pytest.mark.parametrize(("n", "size"), [(10, 3), (64, 64), (17, 1), (100, 33)])
def test_every_pass_uses_every_sample_once(n, size):
    batches = Batches(n, size, seed=5)
    for n_pass in range(3):
        first = n_pass * batches.n_batches
        rows = [batches.index(first + i) for i in range(batches.n_batches)]
        sizes = [len(each) for each in rows]
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1
        assert sorted(np.concatenate(rows)) == list(range(n))


def test_batches_are_a_function_of_seed_and_iteration_alone():
    batches = Batches(50, 7, seed=1)
    later = Batches(50, 7, seed=1).index(1234).copy()
    for n in range(20):
        batches.index(n)
    assert np.array_equal(batches.index(1234), later)
    assert not np.array_equal(Batches(50, 7, seed=2).index(1234), later)
    assert not np.array_equal(batches.index(0), batches.index(batches.n_batches))
    assert np.array_equal(Batches(5).index(3), np.arange(5))


def test_mean_over_a_pass_is_the_gradient_of_all_data(rng):
    """Also with unequal sample weights and batches of unequal size."""
    weights = rng.dirichlet(np.ones(40))
    net = make_net(rng, sample_weights=weights)
    descent = Descent(net, SGD(ds=1.0), Batches(40, 7, 0))
    shares = [len(descent.batches.index(n)) / 40 for n in range(6)]
    velocities = [
        mfpde.evaluate(
            descent.batch(n).with_parameters(
                embedding=net.problem.embedding.matrix,
                readout=net.problem.readout.matrix,
            ),
            net.grid,
            net.ensemble,
        ).velocity
        for n in range(6)
    ]
    mean = np.tensordot(shares, velocities, axes=1)
    np.testing.assert_allclose(mean, net.evaluate().velocity, rtol=1e-11, atol=1e-13)


# Schedules


def test_schedules():
    assert [Drops((2, 4), 0.5).factor(n) for n in range(6)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.25,
    ]
    cosine = Cosine(final=0.1).over(10)
    assert cosine.factor(0) == 1.0
    assert cosine.factor(5) == pytest.approx(0.55)
    assert cosine.factor(10) == cosine.factor(99) == pytest.approx(0.1)
    rise = WarmUp(4, Drops((6,), 0.5))
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 0.5]
    assert [rise.factor(n) for n in range(7)] == expected
    assert Constant().factor(3) == 1.0


@pytest.mark.parametrize(
    "optimiser",
    [
        SGD(learning_rate=3.0, momentum=0.5, nesterov=True),
        SGD(ds=0.1, schedule=WarmUp(3, Cosine(5, 0.1))),
        Adam(0.1, 0.8, 0.99, 1e-6, Drops((3,), 0.2)),
    ],
)
def test_optimisers_are_rebuilt_from_their_description(optimiser):
    assert rebuilt("optimiser", described(optimiser)) == optimiser


@pytest.mark.parametrize("where", ["optimiser", "schedule"])
def test_unknown_kinds_in_a_description_are_named(where):
    description = {"kind": "sgd", "ds": 0.1, "schedule": {"kind": "constant"}}
    (description if where == "optimiser" else description["schedule"])["kind"] = "other"
    with pytest.raises(ValueError, match=r"must be one of .*got 'other'"):
        rebuilt("optimiser", description)


def test_records_are_at_the_iterations_nearest_to_the_times(rng):
    net = make_net(rng)
    done = train(net, SGD(ds=0.1), n_iterations=10, record=[0.0, 0.33, 0.36, 0.7, 5.0])
    assert done.scalars["step"].tolist() == [0, 3, 4, 7, 10]
    assert len(train(net, SGD(ds=0.1), n_iterations=250).s) == 126
    few = train(net, SGD(ds=0.1), n_iterations=3)
    assert few.scalars["step"].tolist() == [0, 1, 2, 3]
    assert few.theta.shape == (2, 4, 5, 7)


def test_training_time_is_no_sum_that_rounding_adds_to(rng):
    net = make_net(rng)
    done = train(net, SGD(ds=0.1), n_iterations=250, record=Steps(1))
    assert done.s.tolist() == [0.1 * n for n in range(251)]
    # Times that a record is asked for are those of the iterations, to the bit.
    slower = SGD(ds=0.1, schedule=Drops((30, 60), 0.5))
    some = train(net, slower, n_iterations=90, record=[3.0, 4.5])
    ends = [0.1 * 30, 0.1 * 30 + 0.05 * 30]
    assert some.s.tolist() == [0.0, *ends, ends[1] + 0.025 * 30]


# Early stopping, losses, accuracies


def stopped_early(rng, **options):
    """A noisy task on few samples: the validation loss rises in the end."""
    net = make_net(rng, n_samples=12)
    x = rng.normal(size=(60, 2))
    validation = x, np.eye(2)[rng.integers(0, 2, 60)]
    return net, train(
        net,
        SGD(ds=0.5),
        n_iterations=400,
        validation=validation,
        early_stopping=EarlyStopping(patience=5),
        record=Steps(2),
        **options,
    )


def test_early_stopping_names_and_keeps_the_best(rng, tmp_path):
    for output in (None, tmp_path / "stopped.h5"):
        net, done = stopped_early(np.random.default_rng(3), output=output)
        losses = done.scalars["validation_loss"]
        best = int(np.argmin(losses))
        assert done.best_record == best
        assert len(losses) == best + 6
        assert done.message.startswith("Stopped early at iteration")
        assert f"iteration {done.scalars['step'][best]:.0f} (s = " in done.message
        assert done.status == "finished"
        assert done.best().evaluate().loss == done.loss[best]
        assert done.net.evaluate().loss == done.loss[-1]
    with pytest.raises(ValueError, match="There is no best record"):
        train(net, SGD(ds=0.1), n_iterations=1).best()


def test_small_improvements_do_not_count():
    rows = [
        {"validation_loss": v, "step": i, "s": i} for i, v in enumerate([1, 0.95, 0.9])
    ]
    assert EarlyStopping(2).best(rows) == 2
    assert EarlyStopping(2, min_delta=0.07).best(rows) == 2
    assert EarlyStopping(2, min_delta=0.2).best(rows) == 0
    assert EarlyStopping(2, min_delta=0.2).ending(rows)[0] == "finished"
    assert EarlyStopping(3, min_delta=0.2).ending(rows) is None
    nothing = [{"validation_loss": np.nan, "step": i} for i in range(3)]
    assert "no validation loss was a number" in EarlyStopping(2).ending(nothing)[1]


def test_validation_and_accuracies_are_those_of_the_outputs(rng):
    net = make_net(rng)
    other = make_problem(rng, 25)
    done = train(net, SGD(ds=0.1), n_iterations=5, validation=(other.x, other.y))
    for name, x, y in (
        ("train", net.problem.x, net.problem.y),
        ("validation", other.x, other.y),
    ):
        output = done.net.predict(x)
        share = np.mean(output.argmax(axis=1) == y.argmax(axis=1))
        assert done.scalars[f"{name}_accuracy"][-1] == share
    values = net.problem.loss.values(output, other.y)
    assert done.scalars["validation_loss"][-1] == pytest.approx(values.mean())
    regression = MeanFieldProblem(
        rng.normal(size=(5, 1)), np.ones((5, 1)), Perceptron(1)
    )
    net = ResNet.from_law(regression, mfpde.laws.Gaussian(0.0, 1.0, 3), 2, 3)
    assert "train_accuracy" not in train(net, SGD(ds=0.1), n_iterations=1).scalars


@pytest.mark.parametrize("has_classes", [True, False])
def test_a_loss_of_the_users_own_says_whether_it_has_classes(rng, has_classes):
    class Own(Squared):
        name = "own"

    Own.has_classes = has_classes
    problem = make_net(rng).problem.with_changes(loss=Own())
    net = ResNet.from_law(problem, mfpde.laws.Gaussian(0.0, 1.0, problem.k), 2, 3)
    done = train(net, SGD(ds=0.1), n_iterations=1)
    assert ("train_accuracy" in done.scalars) == has_classes


def test_other_reasons_to_end(rng):
    net = make_net(rng)
    done = train(net, SGD(ds=0.5), n_iterations=500, loss_below=0.6, record=EVERY)
    assert done.loss[-1] < 0.6 <= done.loss[-2]
    assert "is below 0.6 at iteration" in done.message
    done = train(net, SGD(ds=0.5), n_iterations=10**4, wall_time_s=1e-9)
    assert (done.status, done.n_steps) == ("interrupted", 1)
    assert "resume continues" in done.message


@pytest.mark.parametrize("optimiser", [SGD(ds=3.0), SGD(ds=3.0, momentum=0.5)])
def test_steps_that_blow_up_but_stay_finite_fail(optimiser):
    problem = MeanFieldProblem([0.0, 0.1], [1.0, 1.1], Bias(1))
    net = ResNet(problem, ParticleEnsemble(np.zeros((1, 1, 1))))
    options = {"n_iterations": 2000, "batch_size": 1}
    if optimiser.momentum:
        # Between 2 and 2 (1 + momentum) momentum is stable: it oscillates, and falls.
        done = train(net, dataclasses.replace(optimiser, ds=1.2), **options)
        assert done.status == "finished"
        optimiser = dataclasses.replace(optimiser, ds=5.0)
    with pytest.warns(mfpde.errors.UnfinishedWarning, match="the steps are too large"):
        done = train(net, optimiser, **options)
    assert done.status == "failed"
    assert f"at iteration {done.n_steps}: " in done.message
    assert np.isfinite(done.loss).all()


def test_blow_up_keeps_the_last_good_state(rng):
    x = rng.normal(size=(6, 1))
    problem = MeanFieldProblem(x, 3 * x, mfpde.blocks.Bilinear(1))
    net = ResNet.from_law(problem, mfpde.laws.Gaussian(0.0, 1.0, 2), 3, 4)
    with pytest.warns(mfpde.errors.UnfinishedWarning, match="not finite"):
        done = train(net, SGD(ds=1e160), n_iterations=50, record=EVERY)
    assert done.status == "failed"
    assert "not finite" in done.message
    assert "The last good state" in done.message
    assert np.isfinite(done.ensemble.theta).all()
    assert done.n_steps < 50


# Parts


@pytest.mark.parametrize("options", [{}, {"metric": [1, 1, 1, 0.5, 0.5, 0.5, 0]}])
def test_evaluation_in_parts_is_the_same_up_to_rounding(rng, monkeypatch, options):
    regulariser = mfpde.DecayingQuadratic(0.05, 0.3)
    weights = rng.dirichlet(np.ones(700))
    net = make_net(
        rng,
        n_samples=700,
        scale=0.3,
        outer="tanh",
        regulariser=regulariser,
        sample_weights=weights,
        **options,
    )
    whole = net.evaluate(0.7)
    output = net.predict(net.problem.x)
    # One grain of samples at a time: three parts, of which the last is smaller.
    monkeypatch.setattr(parts, "PART_BYTES", 1)
    assert parts.n_samples_at_once(net.problem, net.grid) == 256
    summed = net.evaluate(0.7)
    for name in (
        "loss",
        "objective",
        "dissipation",
        "gradient_norm",
        "second_moment",
        "ledger_rate",
    ):
        value, expected = getattr(summed, name), getattr(whole, name)
        assert value == pytest.approx(expected, rel=1e-13), name
    np.testing.assert_allclose(summed.velocity, whole.velocity, rtol=1e-11, atol=1e-13)
    for name, velocity in whole.map_velocities.items():
        np.testing.assert_allclose(summed.map_velocities[name], velocity, rtol=1e-11)
    assert np.array_equal(summed.output, whole.output)
    assert np.array_equal(net.predict(net.problem.x), output)
    with pytest.raises(AttributeError, match="are not kept"):
        summed.z  # noqa: B018
    descent = train(net, SGD(ds=0.1), n_iterations=3, record=EVERY)
    monkeypatch.setattr(parts, "PART_BYTES", 2**28)
    again = train(net, SGD(ds=0.1), n_iterations=3, record=EVERY)
    np.testing.assert_allclose(descent.loss, again.loss, rtol=1e-12)


# Wrong calls


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: SGD(), "One of `learning_rate` and `ds` is needed"),
        (lambda net: SGD(learning_rate=1.0, ds=1.0), "and not both"),
        (lambda net: SGD(ds=-1.0), "`ds` must be positive"),
        (lambda net: SGD(ds=1.0, momentum=1.0), r"`momentum` must lie in \[0, 1\)"),
        (lambda net: SGD(ds=1.0, nesterov=True), "`nesterov` needs a positive"),
        (lambda net: Adam(beta1=2), "`beta1` must lie"),
        (lambda net: Cosine(final=2.0), "`final` must lie"),
        (lambda net: Batches(5, 6), "`batch_size` must be at most the 5 samples"),
        (lambda net: Batches(5, 2, -1), "`seed` must be at least 0"),
        (lambda net: EarlyStopping(0), "`patience` must be at least 1"),
        (
            lambda net: train(net, SGD(ds=1.0), n_iterations=0),
            "`n_iterations` must be at least 1",
        ),
        (
            lambda net: train(
                net, SGD(ds=1.0), n_iterations=1, early_stopping=EarlyStopping()
            ),
            "`early_stopping` needs `validation`",
        ),
        (
            lambda net: train(
                net, SGD(ds=1.0), n_iterations=1, validation=(np.ones((2, 3)), None)
            ),
            r"`validation` must hold x of shape \(n, 2\)",
        ),
        (
            lambda net: train(
                net,
                SGD(ds=1.0, schedule=Cosine(3)),
                n_iterations=5,
            ),
            "The learning rate must be positive, got 0 at iteration 3 of 5",
        ),
        (
            lambda net: train(
                net,
                SGD(ds=1.0),
                n_iterations=1,
                observers={"batch_loss": lambda ev: 1.0},
            ),
            "must not reuse the name 'batch_loss'",
        ),
        (lambda net: ResNet(net.problem, net.ensemble, [1.0]), "n_layers = 4 of them"),
    ],
)
def test_wrong_values(rng, make, message):
    with pytest.raises(ValueError, match=message):
        make(make_net(rng))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda net: train(net.problem, SGD(ds=1.0), n_iterations=1),
            "must be a ResNet",
        ),
        (lambda net: train(net, 0.1, n_iterations=1), "`optimiser` must be mfpde.netw"),
        (lambda net: SGD(ds=1.0, schedule=3), "`schedule` must be a schedule"),
        (lambda net: ResNet(net.problem, None), "use ResNet.from_law"),
        (
            lambda net: train(net, SGD(ds=1.0), n_iterations=1, validation=3),
            "`validation` must be a pair",
        ),
    ],
)
def test_wrong_kinds(rng, make, message):
    with pytest.raises(TypeError, match=message):
        make(make_net(rng))


def test_network_from_a_law():
    rng = np.random.default_rng(0)
    problem = make_problem(rng)
    law = mfpde.laws.Gaussian(0.0, 1.0, problem.k)
    for coupling in ("path", "tied", "layer"):
        net = ResNet.from_law(
            problem, law, 3, 4, coupling=coupling, seed=2, residual_scale=PowerLaw()
        )
        is_tied = bool((net.ensemble.theta == net.ensemble.theta[0]).all())
        assert is_tied == (coupling != "layer")
        assert (net.n_layers, net.n_particles) == (3, 4)
    assert "ResNet(L=3, M=4" in repr(net)
    assert net.predict(problem.x[:2]).shape == (2, 2)


def test_an_iteration_costs_the_same_in_a_long_training(rng, monkeypatch):
    """Training times are computed once, not again for every report of progress."""
    calls = []
    times = Descent.times
    monkeypatch.setattr(
        Descent, "times", lambda self, n: calls.append(n) or times(self, n)
    )
    train(make_net(rng), SGD(ds=0.1), n_iterations=30, progress=lambda *_: None)
    assert calls == [30]
