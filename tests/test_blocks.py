"""Blocks: sizes, names, descriptions, equality, messages. Their formulas are tested
with the kernels."""

import dataclasses

import numpy as np
import pytest

from mfpde.blocks import ACTIVATIONS, Bias, Bilinear, Custom, Linear, Perceptron
from mfpde.describe import described, rebuilt


def _nothing(*_):
    """A function of any arguments."""


CUSTOM = Custom(2, 3, _nothing, _nothing, _nothing)
SIZES = [
    (Perceptron(3), 7, ["u[0]", "u[1]", "u[2]", "v[0]", "v[1]", "v[2]", "b"]),
    (Perceptron(1), 3, ["u", "v", "b"]),
    (Perceptron(2, bias=False), 4, ["u[0]", "u[1]", "v[0]", "v[1]"]),
    (Bilinear(2), 4, ["u[0]", "u[1]", "v[0]", "v[1]"]),
    (Linear(2), 4, ["Theta[0,0]", "Theta[0,1]", "Theta[1,0]", "Theta[1,1]"]),
    (Bias(2), 2, ["theta[0]", "theta[1]"]),
    (Bias(1), 1, ["theta"]),
    (CUSTOM, 3, ["theta[0]", "theta[1]", "theta[2]"]),
]


@pytest.mark.parametrize(("block", "k", "names"), SIZES)
def test_sizes_and_names(block, k, names):
    assert block.k == k
    assert block.param_names == names
    # The groups cover the parameters once, in order.
    edges = [0]
    for part in block.param_groups.values():
        assert part.start == edges[-1]
        edges.append(part.stop)
    assert edges[-1] == k


@pytest.mark.parametrize(
    "block",
    [
        Perceptron(3, "gelu", bias=False, scale=0.5),
        Perceptron(1),
        Bilinear(2),
        Linear(4),
        Bias(5),
    ],
)
def test_description_rebuilds_the_block(block):
    other = rebuilt("block", described(block))
    assert other == block
    assert type(other) is type(block)
    assert hash(other) == hash(block)


def test_defaults():
    assert Perceptron(2) == Perceptron(2, "tanh", bias=True, scale=1.0)
    assert Perceptron(2) != Perceptron(2, bias=False)


def test_linear_in_the_state():
    linear = [Bilinear(2), Linear(2), Perceptron(2, "identity", bias=False)]
    others = [Bias(2), Perceptron(2), Perceptron(2, "identity")]
    assert [block.is_linear_in_z for block in linear + others] == [True] * 3 + [
        False
    ] * 3
    assert not getattr(CUSTOM, "is_linear_in_z", False)


def test_blocks_are_immutable():
    for block, _, _ in SIZES:
        with pytest.raises(dataclasses.FrozenInstanceError):
            block.d = 7


def test_numpy_integers_are_sizes():
    assert Perceptron(np.int64(2)) == Perceptron(2)
    assert type(Linear(np.int32(2)).d) is int


# ---- messages


@pytest.mark.parametrize(
    ("d", "error", "message"),
    [
        (0, ValueError, "`d` must be at least 1, got 0"),
        (-1, ValueError, "`d` must be at least 1, got -1"),
        (2.0, TypeError, "`d` must be an integer, got 2.0"),
        ("2", TypeError, "`d` must be an integer, got '2'"),
        (True, TypeError, "`d` must be an integer, got True"),
        (None, TypeError, "`d` must be an integer, got None"),
    ],
)
@pytest.mark.parametrize("kind", [Perceptron, Bilinear, Linear, Bias])
def test_wrong_sizes(kind, d, error, message):
    with pytest.raises(error, match=message):
        kind(d)


@pytest.mark.parametrize(
    ("activation", "hint"),
    [
        ("thanh", "Did you mean 'tanh'"),
        ("ReLU", "Did you mean 'relu'"),
        ("swish", "must be one of tanh, sigmoid"),
        (None, "must be one of tanh, sigmoid, .*got None"),
    ],
)
def test_unknown_activations(activation, hint):
    with pytest.raises((TypeError, ValueError), match=hint):
        Perceptron(2, activation)


def test_every_activation_is_known():
    for name in ACTIVATIONS:
        assert Perceptron(2, name).activation == name


@pytest.mark.parametrize("scale", [np.nan, np.inf, "1", None, 1j])
def test_wrong_scales(scale):
    with pytest.raises((TypeError, ValueError), match="`scale` must be "):
        Perceptron(2, scale=scale)


@pytest.mark.parametrize(
    "scale",
    [
        np.float32(0.5),
        np.int64(2),
        2,
        np.float64(3.0),
    ],
)
def test_numpy_numbers_are_scales(scale):
    assert Perceptron(2, scale=scale).scale == float(scale)


@pytest.mark.parametrize("bias", ["no", 2, None])
def test_bias_must_be_true_or_false(bias):
    with pytest.raises((TypeError, ValueError), match="`bias` must be"):
        Perceptron(2, bias=bias)


@pytest.mark.parametrize("position", [2, 3, 4])
def test_custom_needs_functions(position):
    arguments = [2, 3, _nothing, _nothing, _nothing]
    arguments[position] = "f"
    name = ("f", "vjp_z", "vjp_theta")[position - 2]
    with pytest.raises(TypeError, match=f"`{name}` must be a function .*got 'f'"):
        Custom(*arguments)


def test_custom_needs_sizes():
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        Custom(2, 0, _nothing, _nothing, _nothing)


def test_custom_cannot_be_rebuilt():
    assert described(CUSTOM) == {
        "kind": "own Custom",
        "d": 2,
        "k": 3,
        "params": {"theta": 3},
    }
    with pytest.raises(ValueError, match=r"Custom is the user's own .*: pass the"):
        rebuilt("block", described(CUSTOM))


def test_unknown_kind():
    with pytest.raises(ValueError, match=r"`kind` must be one of perc.*got 'pe'"):
        rebuilt("block", {"kind": "pe", "d": 2})
    with pytest.raises(ValueError, match=r"`kind` must say its `kind`, got {'d': 2}"):
        rebuilt("block", {"d": 2})


def nothing_back(z, theta, p, out):
    out[0] = p[0]


def wrong_name(z, theta, out):
    out[0] = unknown_name  # noqa: F821


def wrong_type(z, theta, p, out):
    out[0] = "a" + 1


def wrong_arguments(z, theta, out):
    out[0] = z[0]


def wrong_attribute(z, theta, out):
    out[0] = np.linalg.nothing(z)


@pytest.mark.parametrize(
    ("functions", "name", "text"),
    [
        (
            (wrong_name, nothing_back, nothing_back),
            "f",
            "NameError: name 'unknown_name'",
        ),
        ((_nothing, wrong_type, nothing_back), "vjp_z", "No implementation .* >>> add"),
        (
            (_nothing, nothing_back, wrong_arguments),
            "vjp_theta",
            "too many positional arguments",
        ),
        ((wrong_attribute, nothing_back, nothing_back), "f", "no attribute 'nothing'"),
    ],
)
def test_custom_functions_that_numba_cannot_compile(functions, name, text):
    """The function that is at fault, and the first line of numba's own text."""
    start = f"^`{name}` must be a function that numba can compile, .*; numba says: "
    with pytest.raises(TypeError, match=start + f".*{text}") as found:
        Custom(1, 1, *functions).kernels()
    assert "pipeline" not in str(found.value)
    assert "\n" not in str(found.value)
