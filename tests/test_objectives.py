"""Losses and regulariser: values, gradients, domains, messages."""

import decimal
import math

import numpy as np
import pytest
import reference

from mfpde import DecayingQuadratic
from mfpde.describe import described, names, rebuilt
from mfpde.losses import (
    Squared,
    loss_from_name,
)

LOSSES = {name: loss_from_name(name) for name in names("loss")}


def targets(name, rng, n_samples=6, q=3):
    if name == "logistic":
        return rng.choice([-1.0, 1.0], size=(n_samples, q))
    if name == "cross_entropy":
        return np.eye(q)[rng.integers(q, size=n_samples)]
    return rng.normal(size=(n_samples, q))


@pytest.mark.parametrize("name", LOSSES)
def test_values(name, rng):
    output, y = 2 * rng.normal(size=(6, 3)), targets(name, rng)
    values = LOSSES[name].values(output, y)
    assert values.shape == (6,)
    np.testing.assert_allclose(values, reference.LOSSES[name](output, y), rtol=1e-14)
    assert (values >= 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_by_complex_steps(name, rng):
    output, y = 2 * rng.normal(size=(6, 3)), targets(name, rng)
    gradients = LOSSES[name].gradients(output, y)
    assert gradients.shape == (6, 3)
    for column in range(3):
        direction = np.eye(3)[column]
        found = reference.slope(
            lambda out: reference.LOSSES[name](out, y), output, direction
        )
        # Differences of numbers of size one.
        np.testing.assert_allclose(gradients[:, column], found, rtol=0, atol=1e-14)


def test_numbers_by_hand():
    squared, logistic, entropy = (LOSSES[name] for name in LOSSES)
    assert squared.values(np.array([[3.0, 1.0]]), np.array([[1.0, 2.0]])) == [2.5]
    ones = np.ones((1, 1))
    assert logistic.values(0 * ones, ones) == pytest.approx(math.log(2.0), rel=1e-15)
    assert logistic.gradients(0 * ones, -ones) == [[0.5]]
    one_hot = np.array([[0.0, 1.0, 0.0, 0.0]])
    flat = np.full((1, 4), 7.0)
    assert entropy.values(flat, one_hot) == pytest.approx(math.log(4.0), rel=1e-15)
    np.testing.assert_allclose(
        entropy.gradients(flat, one_hot), [[0.25, -0.75, 0.25, 0.25]], rtol=1e-15
    )


@pytest.mark.parametrize("name", ["logistic", "cross_entropy"])
@pytest.mark.parametrize("size", [1e3, 1e300])
def test_large_outputs_do_not_overflow(name, size):
    """The strict floating-point rules of the suite are on here."""
    y = np.array([[1.0, -1.0]]) if name == "logistic" else np.array([[1.0, 0.0]])
    loss = LOSSES[name]
    right, wrong = np.array([[size, -size]]), np.array([[-size, size]])
    assert loss.values(right, y) == 0.0
    np.testing.assert_array_equal(loss.gradients(right, y), 0.0)
    assert loss.values(wrong, y) == 2 * size
    np.testing.assert_array_equal(np.abs(loss.gradients(wrong, y)), 1.0)


def exact_cross_entropy(output, y):
    """Loss and gradient of one sample with 400 digits."""
    with decimal.localcontext(decimal.Context(prec=400)):
        out, share = ([decimal.Decimal(float(v)) for v in row] for row in (output, y))
        largest = max(out)
        parts = [max(v - largest, decimal.Decimal(-900)).exp() for v in out]
        whole = sum(parts)
        value = sum(
            w * (whole.ln() + largest - v) for v, w in zip(out, share, strict=True)
        )
        gradient = [part / whole - w for part, w in zip(parts, share, strict=True)]
        return float(value), [float(each) for each in gradient]


@pytest.mark.parametrize(
    "y", [[1, 0, 0], [0, 0, 1], [0.5, 0.25, 0.25], [0, 0.75, 0.25]]
)
@pytest.mark.parametrize(
    "output",
    [
        [40, 0, 0],
        [0, 40, -1],
        [1, 1, 1],
        [700, 0, 3],
        [1e4, 1e4 - 30, 1e4 - 31],
        [-1e4, -1e4 - 0.5, 1e4],
        [1e-9, 0, -1e-9],
        [1e300, 1e300, 0],
        [36.7, 36.7, -40],
    ],
)
def test_cross_entropy_is_accurate_to_rounding(output, y):
    """Relative to each number, also where softmax - y is far below rounding of 1."""
    output, y = np.array([output], float), np.array([y], float)
    value, gradient = exact_cross_entropy(output[0], y[0])
    loss = LOSSES["cross_entropy"]
    np.testing.assert_allclose(loss.values(output, y), value, rtol=2e-15)
    # Shares between 0 and 1 cancel against a softmax near them, as the input does.
    is_soft = (y > 0) & (y < 1)
    found, wanted = loss.gradients(output, y)[0], np.array(gradient)
    bound = 4e-15 * np.abs(wanted) + np.where(is_soft[0], 2e-16, 0.0)
    assert (np.abs(found - wanted) <= bound).all(), (found, wanted)


@pytest.mark.parametrize("margin", [1e-3, 1.0, 40.0, 600.0, 700.0])
@pytest.mark.parametrize("right", [True, False])
def test_two_classes_have_the_logistic_loss(margin, right):
    """A logit of margin against 0 is the same model; both agree to rounding."""
    entropy, logistic = LOSSES["cross_entropy"], LOSSES["logistic"]
    output, sign = np.array([[0.0, margin]]), 1.0 if right else -1.0
    y = np.array([[0.0, 1.0] if right else [1.0, 0.0]])
    one = np.array([[margin]]), np.array([[sign]])
    np.testing.assert_allclose(
        entropy.values(output, y), logistic.values(*one), rtol=1e-15
    )
    with decimal.localcontext(decimal.Context(prec=400)):
        slope = 1 / (1 + (decimal.Decimal(sign * margin)).exp())
    wanted = -sign * float(slope)
    assert logistic.gradients(*one)[0, 0] == pytest.approx(wanted, rel=2e-15, abs=0)
    found = entropy.gradients(output, y)[0]
    np.testing.assert_allclose(found, [-wanted, wanted], rtol=2e-15)


def test_cross_entropy_does_not_see_a_common_shift(rng):
    output, y = rng.normal(size=(4, 3)), targets("cross_entropy", rng, 4)
    loss = LOSSES["cross_entropy"]
    shifted = loss.values(output + 1000.0, y)
    # Rounding of numbers near 1000.
    np.testing.assert_allclose(shifted, loss.values(output, y), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "y", "message"),
    [
        ("logistic", [[1.0], [0.0]], "-1 or 1 .*'logistic', got 0 in row 1, column 0"),
        ("logistic", [[1.0, 2.0]], "got 2 in row 0, column 1"),
        ("cross_entropy", [[1.0, 0.0], [0.5, 0.5]], "one-hot rows .* got 0.5 in row 1"),
        ("cross_entropy", [[0.0, 0.0]], "`y` must hold one-hot rows"),
        ("cross_entropy", [[1.0, 1.0]], "`y` must hold one-hot rows"),
        ("cross_entropy", [[1.0], [1.0]], "at least two columns .*use 'logistic'"),
    ],
)
def test_targets_outside_the_domain(name, y, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name].check(np.array(y))


@pytest.mark.parametrize("name", LOSSES)
def test_targets_inside_the_domain(name, rng):
    LOSSES[name].check(targets(name, rng))


def test_loss_from_name_or_object():
    assert loss_from_name("squared") == Squared()

    class Own:
        def values(self, output, y):
            """Values."""

        def gradients(self, output, y):
            """Gradients."""

    own = Own()
    assert loss_from_name(own) is own


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        ("sqared", ValueError, "must be one of squared.*Did you mean 'squared'"),
        (
            "hinge",
            ValueError,
            "`loss` must be one of .*got 'hinge'. For a loss",
        ),
        (None, TypeError, "`loss` must be a loss or its name, got None, which has no"),
        (3.0, TypeError, "`loss` must be a loss or its name, got 3.0, which has no `v"),
    ],
)
def test_unknown_losses(loss, error, message):
    with pytest.raises(error, match=message):
        loss_from_name(loss)


# ---- regulariser


def test_strength_and_rate():
    ridge = DecayingQuadratic(0.7, 0.9)
    assert ridge.strength(0.0) == 0.7
    assert ridge.strength(2.0) == pytest.approx(0.7 * math.exp(-1.8), rel=1e-15)
    # Central differences of exp: error h^2 / 6, rounding 1e-16 / h.
    h = 1e-5
    for s in (0.0, 0.4, 3.0):
        slope = (ridge.strength(s + h) - ridge.strength(s - h)) / (2 * h)
        assert ridge.rate(s) == pytest.approx(slope, rel=1e-9)
    constant = DecayingQuadratic(0.3)
    assert (constant.strength(1e3), constant.rate(1e3)) == (0.3, 0.0)


def test_strength_may_decay_to_zero():
    assert DecayingQuadratic(1.0, 100.0).strength(1e6) == 0.0


def test_description_rebuilds_the_regulariser():
    ridge = DecayingQuadratic(2, 1)
    assert rebuilt("regulariser", described(ridge)) == ridge
    assert rebuilt("regulariser", None) is None


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "1", None])
@pytest.mark.parametrize("name", ["lambda0", "gamma"])
def test_wrong_strengths(name, value):
    options = {"lambda0": 1.0, "gamma": 1.0} | {name: value}
    with pytest.raises((TypeError, ValueError), match=f"`{name}` must be "):
        DecayingQuadratic(**options)


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.5),
        np.int64(1),
        np.float64(0.5),
    ],
)
def test_numpy_numbers_are_numbers(value):
    assert DecayingQuadratic(value).lambda0 == float(value)


def test_unknown_regulariser():
    with pytest.raises(ValueError, match=r"decaying_quadratic, got 'lasso'\."):
        rebuilt("regulariser", {"kind": "lasso"})
