"""Wrong derivatives are found; right ones never give an alarm."""

import math

import numpy as np
import pytest

import mfpde
from mfpde import blocks
from mfpde.differences import Precision, judged
from mfpde.gradients import check_own_parts
from mfpde.losses import Squared
from mfpde.progress import crawl

GRID = mfpde.DepthGrid.euler(2)

# Differences ------------------------------------------------------------------

FUNCTIONS = {
    "polynomial": (lambda x: x**9, lambda x: 9 * x**8),
    "saturated": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "stiff": (lambda x: np.tanh(1e4 * x), lambda x: 1e4 / np.cosh(1e4 * x) ** 2),
    "rough": (lambda x: np.sin(1e3 * x), lambda x: 1e3 * np.cos(1e3 * x)),
    "too rough": (lambda x: np.sin(1e9 * x), lambda x: 1e9 * np.cos(1e9 * x)),
    "kink": (lambda x: np.maximum(x - 0.3, 0.0), lambda x: 1.0 * (x > 0.3)),
    "second kink": (lambda x: np.maximum(x, 0.0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    "constant": (lambda x: 0 * x + 7.0, lambda x: 0 * x),
    "cancelled": (lambda x: (1e8 + x) - 1e8, lambda x: 1 + 0 * x),
    "undefined": (lambda x: np.sqrt(x), lambda x: 0.5 / np.sqrt(x)),
    "large": (lambda x: 1e8 * np.exp(x), lambda x: 1e8 * np.exp(x)),
    "small": (lambda x: 1e-8 * np.exp(x), lambda x: 1e-8 * np.exp(x)),
}


def verdict_of(f, derivative, x, scale, dtype="float64"):
    precision = Precision.of(dtype)
    with np.errstate(all="ignore"):
        points = (x + precision.offsets[:, np.newaxis] * scale).astype(dtype)
        values = f(points.astype(float)).astype(dtype).astype(float)
        given = derivative(x) * scale
        inner = np.abs(derivative(x) * x)
    return judged(values, given, np.abs(values[0]), inner, precision)


def points_of(rng):
    """Points of size one, and such at and near the kinks."""
    near = [0.3, 0.3 + 1e-9, 0.3 - 1e-7, 0.3 + 1e-5, 0.3 - 1e-3, 0.0, 1e-12, -1e-6]
    x = np.concatenate([rng.normal(size=200), near])
    return x, np.maximum(np.abs(x), 0.1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_derivatives_give_no_alarm(name, dtype, rng):
    x, scale = points_of(rng)
    if dtype == "float32":
        x = x.astype(dtype).astype(float)
    assert not verdict_of(*FUNCTIONS[name], x, scale, dtype).is_wrong.any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("factor", [-1.0, 0.8, 2.0, 100.0])
@pytest.mark.parametrize("name", ["polynomial", "large", "small", "kink"])
def test_wrong_derivatives_are_seen(name, factor, dtype, rng):
    f, derivative = FUNCTIONS[name]
    x = rng.uniform(0.5, 2.0, size=50)
    found = verdict_of(f, lambda x: factor * derivative(x), x, x, dtype)
    # Single precision leaves a few undecided.
    assert found.is_wrong.mean() >= {"float64": 1.0, "float32": 0.8}[dtype]
    rtol = {"float64": 1e-8, "float32": 3e-2}[dtype]
    np.testing.assert_allclose(found.difference, derivative(x) * x, rtol=rtol)


def test_a_slope_of_what_is_constant_and_a_derivative_that_is_nan_are_seen():
    x = np.array([0.5, 1.0])
    assert verdict_of(lambda x: 0 * x, lambda x: 1e-3 + 0 * x, x, x).is_wrong.all()
    assert verdict_of(np.tanh, lambda x: np.nan * x, x, x).is_wrong.all()


# Blocks -----------------------------------------------------------------------


def custom(wrong="", size=1.0):
    """size v tanh(u z) with a derivative that is wrong in some way."""
    slope_sign = -1.0 if wrong == "sign" else 1.0
    is_linear = wrong == "slope"
    late = 0.9 if wrong == "large" else 1.0

    def f(z, theta, out):
        out[0] = size * theta[1] * math.tanh(theta[0] * z[0])

    def vjp_z(z, theta, p, out):
        t = math.tanh(theta[0] * z[0])
        out[0] = slope_sign * size * p[0] * theta[1] * (1 - t * t) * theta[0]

    def vjp_theta(z, theta, p, out):
        t = math.tanh(theta[0] * z[0])
        slope = 1 - t if is_linear else 1 - t * t
        out[0] = size * p[0] * theta[1] * slope * z[0]
        out[1] = size * p[0] * t * (late if abs(theta[0] * z[0]) > 6 else 1.0)

    return blocks.Custom(1, 2, f, vjp_z, vjp_theta)


def linear(is_transposed):
    """Theta z, whose vjp_z may be that of the transposed matrix."""

    def f(z, theta, out):
        out[0] = theta[0] * z[0] + theta[1] * z[1]
        out[1] = theta[2] * z[0] + theta[3] * z[1]

    def vjp_z(z, theta, p, out):
        i, j = (1, 2) if is_transposed else (2, 1)
        out[0] = theta[0] * p[0] + theta[i] * p[1]
        out[1] = theta[j] * p[0] + theta[3] * p[1]

    def vjp_theta(z, theta, p, out):
        for i in range(2):
            for j in range(2):
                out[2 * i + j] = p[i] * z[j]

    return blocks.Custom(2, 4, f, vjp_z, vjp_theta)


def started(block, rng, size=1.0, **options):
    x, y = rng.normal(size=(2, 6, block.d))
    problem = mfpde.MeanFieldProblem(size * x, y, block, **options)
    theta = rng.normal(size=(GRID.n_nodes, 5, block.k))
    return problem, GRID, mfpde.ParticleEnsemble(theta)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (custom("slope"), r"`vjp_theta` of Custom .* in `theta\[0\]` is given as"),
        (custom("sign"), r"`vjp_z` of Custom .* in `z\[0\]` .*\(a factor -1: the sign"),
        (linear(True), r"`vjp_z` of Custom .* in `z\[[01]\]` is given as"),
    ],
)
def test_a_wrong_derivative_of_a_block_stops_every_solve(block, message, rng, tmp_path):
    start = started(block, rng)
    path = tmp_path / "run.h5"
    with pytest.raises(mfpde.errors.GradientError, match=message):
        mfpde.solve(*start, s_end=20.0, output=path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(mfpde.errors.GradientError, match=message):
        mfpde.solve_limit(
            start[0], mfpde.laws.Gaussian(0.0, 1.0, block.k), s_end=1.0, tol=1e-2
        )
    net = mfpde.ResNet(start[0], start[2])
    with pytest.raises(mfpde.errors.GradientError, match=message):
        mfpde.train(net, mfpde.networks.SGD(ds=0.1), n_iterations=1)
    with pytest.raises(mfpde.errors.GradientError, match=message):
        mfpde.check_gradient(*start)
    assert issubclass(mfpde.errors.GradientError, ValueError)


def test_what_is_wrong_far_out_is_found_by_the_full_check(rng):
    problem, *_ = start = started(custom("large"), rng, size=0.1)
    check_own_parts(*start)
    with pytest.raises(
        mfpde.errors.GradientError, match=r"in `theta\[1\]` is given as"
    ):
        mfpde.check_gradient(problem)


@pytest.mark.parametrize("size", [1.0, 1e8, 1e-8])
def test_right_blocks_of_any_size_pass(size, rng):
    start = started(custom(size=size), rng, size=1.0 / size)
    check_own_parts(*start)
    mfpde.check_gradient(start[0])
    mfpde.check_gradient(*start) if size == 1.0 else None


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "block",
    [
        blocks.Perceptron(2, "relu"),
        blocks.Perceptron(1, "tanh"),
        blocks.Bilinear(2),
        blocks.SquaredReLU(1),
    ],
    ids=repr,
)
def test_built_in_blocks_pass_also_from_zero(block, dtype, rng):
    problem, grid, ensemble = started(block, rng, dtype=dtype)
    mfpde.check_gradient(problem, grid, ensemble)
    # At zero all kinks coincide.
    zero = ensemble.with_theta(0.0 * ensemble.theta)
    mfpde.check_gradient(problem.with_changes(x=0.0 * problem.x), grid, zero)


# Losses, regularisers, objective ----------------------------------------------


class Quartic:
    """|out - y|^4 / 4; the gradient may be wrong."""

    def __init__(self, power=2):
        self.power = power

    def values(self, output, y):
        return 0.25 * ((output - y) ** 2).sum(axis=1) ** 2

    def gradients(self, output, y):
        square = ((output - y) ** 2).sum(axis=1, keepdims=True)
        return square ** (self.power / 2) * (output - y)


def test_a_wrong_gradient_of_a_loss_is_named(rng):
    start = started(blocks.Perceptron(2), rng, loss=Quartic())
    assert mfpde.solve(*start, s_end=0.01).converged
    mfpde.check_gradient(*start)
    wrong = start[0].with_changes(loss=Quartic(3))
    message = r"`gradients` of the loss Quartic do not belong to `values`: at output"
    with pytest.raises(mfpde.errors.GradientError, match=message):
        mfpde.solve(wrong, *start[1:], s_end=3.0)
    with pytest.raises(mfpde.errors.GradientError, match=message):
        mfpde.check_gradient(wrong)


def test_a_loss_with_a_domain_passes(rng):
    class Logarithm(Squared):
        """(ln(out) - y)^2 / 2, for outputs above 0 only."""

        def values(self, output, y):
            return super().values(np.log(output), y)

        def gradients(self, output, y):
            return super().gradients(np.log(output), y) / output

    problem = mfpde.MeanFieldProblem(
        [0.5, 1.0], [0.3, 0.1], blocks.Bias(1), loss=Logarithm()
    )
    ensemble = mfpde.ParticleEnsemble(np.zeros((2, 1, 1)))
    assert mfpde.solve(problem, GRID, ensemble, s_end=0.1).converged


def test_a_wrong_rate_of_a_regulariser_is_named(rng):
    class Ridge:
        def strength(self, s):
            return 0.1 * np.exp(-2.0 * s)

        def rate(self, s):
            return 0.2 * np.exp(-2.0 * s)

        def describe(self):
            return {"kind": "own"}

    start = started(blocks.Perceptron(2), rng, regulariser=Ridge())
    message = r"`rate` of the regulariser Ridge .* \(a factor -1: the sign is wrong\)"
    with pytest.raises(mfpde.errors.GradientError, match=message):
        mfpde.solve(*start, s_end=1.0)


def test_the_whole_objective_is_checked(rng, monkeypatch):
    """With trained maps, and a gradient that lost a factor somewhere."""
    readout = mfpde.readouts.Linear(rng.normal(size=(2, 2)), trainable=True, rate=0.3)
    start = started(blocks.Perceptron(2), rng, readout=readout)
    mfpde.check_gradient(*start)
    right = mfpde.readouts.Linear.transposed
    monkeypatch.setattr(
        mfpde.readouts.Linear, "transposed", lambda self, p: 1.1 * right(self, p)
    )
    with pytest.raises(
        mfpde.errors.GradientError, match="discrete objective in a random"
    ):
        mfpde.check_gradient(*start)


def test_wrong_arguments_are_named(rng):
    _, _, ensemble = start = started(blocks.Perceptron(2), rng)
    with pytest.raises(TypeError, match="`problem` must be a MeanFieldProblem"):
        mfpde.check_gradient(None)
    with pytest.raises(ValueError, match="`grid` must be given with an `ensemble`"):
        mfpde.check_gradient(start[0], ensemble=ensemble)


# Runs that crawl or stop ------------------------------------------------------


def test_steps_that_collapse_name_likely_causes():
    class Uphill(Squared):
        """Minus the gradient; `iterate` does not check it."""

        def gradients(self, output, y):
            return y - output

    problem = mfpde.MeanFieldProblem([0.0], [1.0], blocks.Bias(1), loss=Uphill())
    ensemble = mfpde.ParticleEnsemble(np.zeros((2, 1, 1)))
    with pytest.raises(
        mfpde.errors.ConvergenceError, match="keeps the objective"
    ) as caught:
        list(mfpde.iterate(problem, GRID, ensemble, s_end=1.0))
    text = "Likely causes: a derivative of your own loss that does not belong to its"
    assert text in str(caught.value)
    assert "mfpde.check_gradient tests it" in str(caught.value)


def test_a_run_that_crawls_is_called_so():
    assert "6.0e+09 more steps to s = 3" in crawl(1e-6, 3.0, 5e-10, 3000)
    assert "mfpde.check_gradient" in crawl(1e-6, 3.0, 5e-10, 3000)
    # One that has just begun, or whose steps are of use, does not.
    assert crawl(1e-6, 3.0, 5e-10, 100) == ""
    assert crawl(0.1, 3.0, 1e-3, 3000) == ""
