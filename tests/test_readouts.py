"""Linear maps of embedding and readout: application, copies, messages."""

import dataclasses
import warnings

import numpy as np
import pytest

from mfpde.readouts import Linear

MATRIX = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 4.0]])


def test_map_and_transposed_map(rng):
    linear = Linear(MATRIX)
    z, p = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    np.testing.assert_allclose(linear(z), z @ MATRIX.T, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(linear.transposed(p), p @ MATRIX, rtol=1e-14, atol=1e-14)
    # <p, C z> = <C^T p, z>, row by row.
    np.testing.assert_allclose(
        (p * linear(z)).sum(axis=1), (linear.transposed(p) * z).sum(axis=1), rtol=1e-13
    )


def test_matrix_is_an_independent_read_only_copy():
    given = np.asfortranarray(MATRIX)
    linear = Linear(given)
    given[0, 0] = 99.0
    assert linear.matrix[0, 0] == 1.0
    assert linear.matrix.flags.c_contiguous
    assert linear.matrix.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        linear.matrix[0, 0] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        linear.trainable = True


def test_defaults_and_options():
    assert (Linear(MATRIX).trainable, Linear(MATRIX).rate) == (False, 1.0)
    trained = Linear([[1, 2]], trainable=True, rate=0.25)
    assert trained.options == {"trainable": True, "rate": 0.25}


def test_with_matrix_keeps_the_options():
    other = Linear(MATRIX, trainable=True, rate=0.5).with_matrix(2 * MATRIX)
    np.testing.assert_array_equal(other.matrix, 2 * MATRIX)
    assert (other.trainable, other.rate) == (True, 0.5)


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        ([1.0, 2.0], ValueError, r"`matrix` must be a 2-D array, got shape \(2,\)"),
        (np.ones((2, 0)), ValueError, r"`matrix` must be a 2-D array, got shape"),
        ([[1.0], [1.0, 2.0]], (TypeError, ValueError), "`matrix` must be a"),
        ([["a"]], TypeError, "`matrix` must"),
        (None, TypeError, "`matrix` must hold real numbers"),
        ([[1.0, np.nan]], ValueError, "`matrix` must be finite"),
        ([[np.inf, 1.0]], ValueError, "`matrix` must be finite"),
    ],
)
def test_wrong_matrices(matrix, error, message):
    with pytest.raises(error, match=message):
        Linear(matrix)


@pytest.mark.parametrize("matrix", [np.array([[1j]]), [["1"]], [[True]]])
def test_matrices_that_are_not_real_numbers(matrix):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TypeError, match="`matrix` must"):
            Linear(matrix)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan, np.inf])
def test_rate_must_be_positive(rate):
    with pytest.raises(ValueError, match="`rate` must be positive"):
        Linear(MATRIX, rate=rate)


@pytest.mark.parametrize("rate", ["1", None])
def test_rate_must_be_a_number(rate):
    with pytest.raises(TypeError, match="`rate` must be"):
        Linear(MATRIX, rate=rate)
