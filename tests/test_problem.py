"""MeanFieldProblem: shapes, defaults, maps, descriptions, messages."""

import dataclasses
import json

import numpy as np
import pytest

from mfpde import Clipping, DecayingQuadratic, MeanFieldProblem
from mfpde.blocks import Custom, Perceptron
from mfpde.readouts import Linear

BLOCK = Perceptron(2)
X = np.array([[0.1, 0.2, 0.3], [1.0, 0.0, -1.0], [0.5, 0.5, 0.0], [2.0, 1.0, 1.5]])
Y = np.array([[1.0], [-1.0], [1.0], [-1.0]])
A = np.array([[1.0, 0.5, 0.0], [0.0, -1.0, 2.0]])
C = np.array([[3.0, -1.0]])
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])


def full_problem(**options):
    """A problem in which nothing is a default."""
    values = {
        "embedding": Linear(A, trainable=True, rate=0.5),
        "readout": Linear(C, trainable=True),
        "loss": "logistic",
        "regulariser": DecayingQuadratic(0.2, 0.1),
        "metric": [1.0, 1.0, 0.5, 0.5, 0.0],
        "sample_weights": WEIGHTS,
    } | options
    return MeanFieldProblem(X, Y, BLOCK, **values)


def test_changes_keep_all_that_is_not_named():
    """Also what another block, other data or another map leaves as it was."""
    problem = full_problem(clipping=Clipping(0.5), dtype="float32")
    changes = {"block": Perceptron(2, "gelu"), "x": 2.0 * X, "metric": None}
    copy = problem.with_changes(**changes)
    for field in dataclasses.fields(problem):
        if field.name not in (*changes, "z0"):
            np.testing.assert_array_equal(
                getattr(copy, field.name), getattr(problem, field.name)
            )
    assert copy.block.activation == "gelu"
    assert copy.metric.tolist() == [1.0] * 5
    np.testing.assert_array_equal(copy.z0, 2.0 * problem.z0)
    with pytest.raises(ValueError, match="`metric` must hold k = 4 numbers"):
        problem.with_changes(block=Perceptron(2, bias=False))
    with pytest.raises(TypeError, match="unexpected keyword argument 'clip'"):
        problem.with_changes(clip=None)


def test_sizes():
    problem = full_problem()
    assert (problem.n_samples, problem.d, problem.q, problem.k) == (4, 2, 1, 5)
    assert "n_samples=4, d=2, q=1" in repr(problem)
    assert "loss='logistic'" in repr(problem)


def test_defaults():
    problem = MeanFieldProblem(X[:, :2], X[:, 1:], BLOCK)
    assert (problem.embedding, problem.readout, problem.regulariser) == (None,) * 3
    np.testing.assert_array_equal(problem.sample_weights, np.full(4, 0.25))
    np.testing.assert_array_equal(problem.metric, np.ones(5))
    assert problem.loss.name == "squared"
    np.testing.assert_array_equal(problem.z0, X[:, :2])
    z = X[:, :2] + 1.0
    assert problem.read(z) is z
    assert problem.trained_maps == {}


def test_one_dimensional_data_are_columns():
    problem = MeanFieldProblem([1.0, 2.0, 3.0], [0, 1, 0], Perceptron(1))
    assert problem.x.shape == problem.y.shape == (3, 1)


def test_maps():
    problem = full_problem()
    np.testing.assert_allclose(problem.z0, X @ A.T, rtol=1e-15)
    np.testing.assert_allclose(problem.embed(2 * X), 2 * X @ A.T, rtol=1e-15)
    np.testing.assert_allclose(problem.read(X[:, :2]), X[:, :2] @ C.T, rtol=1e-15)
    assert list(problem.trained_maps) == ["embedding", "readout"]


def test_matrices_are_fixed_maps():
    problem = full_problem(embedding=A, readout=C)
    assert problem.trained_maps == {}
    np.testing.assert_array_equal(problem.readout.matrix, C)


def test_data_are_independent_read_only_copies():
    x = np.asfortranarray(X)
    problem = MeanFieldProblem(x, Y, BLOCK, embedding=A, readout=C)
    x[0, 0] = 99.0
    assert problem.x[0, 0] == X[0, 0]
    assert problem.x.flags.c_contiguous
    for name in ("x", "y", "metric", "sample_weights"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(problem, name)[...] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.x = X


def test_with_parameters_moves_a_map_and_the_start():
    problem = full_problem()
    other = problem.with_parameters(embedding=2 * A, readout=3 * C)
    np.testing.assert_allclose(other.z0, 2 * problem.z0, rtol=1e-15)
    np.testing.assert_array_equal(other.readout.matrix, 3 * C)
    assert (other.embedding.rate, other.embedding.trainable) == (0.5, True)
    assert other.x is problem.x
    # The first problem is what it was.
    np.testing.assert_allclose(problem.z0, X @ A.T, rtol=1e-15)
    np.testing.assert_array_equal(problem.readout.matrix, C)


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ({"readout": np.eye(3)}, r"`readout` must have shape \(1, 2\), got \(3, 3\)"),
        ({"weights": C}, "weights"),
    ],
)
def test_with_parameters_checks_its_matrices(matrices, message):
    with pytest.raises((TypeError, ValueError), match=message):
        full_problem().with_parameters(**matrices)


def test_description_rebuilds_the_problem():
    for problem in (full_problem(), MeanFieldProblem(X[:, :2], X[:, 1:], BLOCK)):
        description = json.loads(json.dumps(problem.describe()))
        other = MeanFieldProblem.from_description(description, problem.arrays())
        assert other.block == problem.block
        assert other.loss == problem.loss
        assert other.regulariser == problem.regulariser
        for name, array in problem.arrays().items():
            np.testing.assert_array_equal(other.arrays()[name], array)
        assert other.describe() == problem.describe()
        np.testing.assert_array_equal(other.z0, problem.z0)


# ---- messages


def squared(x=X[:, :2], y=X[:, 1:], block=BLOCK, **options):
    return MeanFieldProblem(x, y, block, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": X[:3, :2]}, ValueError, "same number of rows, got 3 and 4"),
        ({"x": X[None]}, ValueError, r"`x` must have shape .*, got \(1, 4, 3\)"),
        ({"x": X[:0], "y": Y[:0]}, ValueError, r"`x` must have shape .*got \(0, 3\)"),
        ({"y": 1.0}, ValueError, r"`y` must have shape .*got \(\)"),
        ({"x": X}, ValueError, "`embedding` is needed: without it x of size 3 must"),
        ({"y": Y}, ValueError, "`readout` is needed: .*state of size 2 must have size"),
        (
            {"x": X * 1j},
            TypeError,
            "`x` must hold real numbers, got ndarray of dtype c",
        ),
        ({"x": X > 0}, TypeError, "`x` must hold real numbers.* bool"),
        ({"x": [["a", "b"]] * 4}, TypeError, "`x` must hold real numbers"),
        ({"x": None}, TypeError, "`x` must hold real numbers, got NoneType"),
        ({"x": [[1.0], [1.0, 2.0]]}, ValueError, "rows of different lengths"),
        ({"block": "tanh"}, TypeError, "`block` must be a block such as .*got 'tanh'"),
        ({"block": Perceptron}, TypeError, "`block` must be a block such as"),
        ({"loss": "squard"}, ValueError, "Did you mean 'squared'"),
        ({"loss": "logistic"}, ValueError, "`y` must hold -1 or 1 for the loss 'logis"),
        ({"loss": "cross_entropy"}, ValueError, "`y` must hold one-hot rows"),
        ({"regulariser": 0.1}, TypeError, "`regulariser` must be .*got 0.1"),
        (
            {"embedding": A},
            ValueError,
            r"`embedding` must have shape \(2, 2\), got \(2,",
        ),
        (
            {"readout": C},
            ValueError,
            r"`readout` must have shape \(2, 2\), got \(1, 2\)",
        ),
        ({"metric": [1.0]}, ValueError, "`metric` must hold k = 5 numbers"),
        ({"metric": -np.ones(5)}, ValueError, "`metric` must hold .*none negative"),
        (
            {"sample_weights": [1.0]},
            ValueError,
            r"hold N = 4 numbers.*got shape \(1,\)",
        ),
        ({"sample_weights": [-1, 1, 1, 0]}, ValueError, "none negative.*minimum -1"),
        ({"sample_weights": np.ones(4)}, ValueError, "sum 1, got 4; divide by the sum"),
    ],
)
def test_arguments_that_do_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        squared(**arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("x", (4, 2)), ("y", (4, 2)), ("metric", (5,)), ("sample_weights", (4,))],
)
def test_numbers_must_be_finite(name, shape, bad):
    array = np.full(shape, 0.25)
    array[(1,) * len(shape)] = bad
    with pytest.raises(ValueError, match=f"`{name}` must be finite, got .*1"):
        squared(**{name: array})


def test_weights_of_samples_may_be_zero():
    problem = squared(sample_weights=[0.5, 0.0, 0.5, 0.0])
    np.testing.assert_array_equal(problem.sample_weights, [0.5, 0.0, 0.5, 0.0])


def test_any_object_with_the_methods_is_a_block():
    def nothing(*_):
        """A function of any arguments."""

    custom = Custom(2, 3, nothing, nothing, nothing)
    assert squared(block=custom).k == 3
