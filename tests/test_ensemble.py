"""ParticleEnsemble: immutability, helpers, messages."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from mfpde.ensemble import ParticleEnsemble


@pytest.fixture
def theta():
    return np.random.default_rng(1).standard_normal((3, 4, 2))


WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])


def test_sizes_defaults_and_repr(theta):
    ens = ParticleEnsemble(theta)
    assert (ens.n_nodes, ens.n_particles, ens.n_params) == (3, 4, 2)
    np.testing.assert_array_equal(ens.weights, np.full(4, 0.25))
    assert repr(ens) == (
        "ParticleEnsemble(n_nodes=3, n_particles=4, n_params=2, equal weights)"
    )
    assert "unequal weights" in repr(ParticleEnsemble(theta, WEIGHTS))


def test_arrays_are_independent_contiguous_and_read_only(theta):
    given = np.asfortranarray(theta)
    ens = ParticleEnsemble(given, WEIGHTS)
    given[0, 0, 0] = 99.0
    assert ens.theta[0, 0, 0] == theta[0, 0, 0]
    assert ens.theta.flags.c_contiguous
    for array in (ens.theta, ens.weights):
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        ens.theta = theta


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_copies_stay_equal_and_read_only(theta, duplicate):
    other = duplicate(ParticleEnsemble(theta, WEIGHTS))
    np.testing.assert_array_equal(other.theta, theta)
    np.testing.assert_array_equal(other.weights, WEIGHTS)
    assert not other.theta.flags.writeable


def test_integers_and_float32_become_float64():
    assert ParticleEnsemble([[[1], [2]]]).theta.dtype == np.float64
    assert ParticleEnsemble(np.ones((1, 1, 1), np.float32)).theta.dtype == np.float64


def test_with_theta_keeps_weights(theta):
    ens = ParticleEnsemble(theta, WEIGHTS).with_theta(2 * theta)
    np.testing.assert_array_equal(ens.theta, 2 * theta)
    np.testing.assert_array_equal(ens.weights, WEIGHTS)


def test_duplicated_is_the_same_measure(theta):
    ens = ParticleEnsemble(theta, WEIGHTS)
    twice = ens.duplicated(2)
    assert twice.theta.shape == (3, 8, 2)
    mean = np.einsum("m,jmk->jk", ens.weights, np.cos(ens.theta))
    same = np.einsum("m,jmk->jk", twice.weights, np.cos(twice.theta))
    np.testing.assert_allclose(same, mean, rtol=0, atol=1e-15)  # rounding


def test_permuted_moves_particles_with_their_weights(theta):
    order = [2, 0, 3, 1]
    ens = ParticleEnsemble(theta, WEIGHTS).permuted(order)
    np.testing.assert_array_equal(ens.theta, theta[:, order])
    np.testing.assert_array_equal(ens.weights, WEIGHTS[order])


def test_second_moment_by_hand():
    ens = ParticleEnsemble([[[1.0, 2.0], [0.0, 1.0]], [[3.0, 0.0], [0.0, 0.0]]])
    # nodes: (5 + 1) / 2 = 3 and (9 + 0) / 2 = 4.5
    assert ens.second_moment([0.25, 0.75]) == pytest.approx(4.125, rel=1e-15)
    weighted = ParticleEnsemble(ens.theta, [0.9, 0.1])
    assert weighted.second_moment([1.0, 0.0]) == pytest.approx(4.6, rel=1e-15)


def test_weights_may_miss_one_by_rounding_only(theta):
    ParticleEnsemble(theta, WEIGHTS * (1 + 5e-13))
    with pytest.raises(ValueError, match="must sum to 1"):
        ParticleEnsemble(theta, WEIGHTS * (1 + 5e-12))


def _with_nan(array):
    array = array.copy()
    array[1, 3, 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "weights", "error", "match"),
    [
        (lambda a: a[0], None, ValueError, r"`theta` must have shape .*got \(4, 2\)"),
        (lambda a: a[:, :0], None, ValueError, r"no empty axis, got \(3, 0, 2\)"),
        (_with_nan, None, ValueError, "got nan at node 1, particle 3, parameter 0"),
        (lambda a: a[0, 0] / 0.0, None, ValueError, r"got -?inf at index \(0,\)"),
        (lambda a: a.astype(str), None, TypeError, "`theta` must hold real numbers"),
        (lambda a: a + 0j, None, TypeError, "of dtype complex128"),
        (lambda a: None, None, TypeError, "got NoneType"),
        (lambda a: [[[1.0], [2.0, 3.0]]], None, ValueError, "rectangular array"),
        (lambda a: a, WEIGHTS[:3], ValueError, r"\(4,\), got \(3,\)"),
        (lambda a: a, [0.5, 0.5, 0, 0], ValueError, "positive, got 0 at particle 2"),
        (lambda a: a, [0.7, 0.5, 0.1, -0.3], ValueError, "got -0.3 at particle 3"),
        (lambda a: a, [1, 1, 1, 1], ValueError, "sum to 1, got a sum of 4; divide"),
        (lambda a: a, [0.5, np.nan, 0.2, 0.3], ValueError, "got nan at particle 1"),
        (lambda a: a, ["a", "b", "c", "d"], TypeError, "`weights` must hold real"),
    ],
)
@np.errstate(divide="ignore")
def test_constructor_messages(theta, change, weights, error, match):
    with pytest.raises(error, match=match):
        ParticleEnsemble(change(theta), weights)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda e: e.with_theta(e.theta[:2]), r"= \(3, 4, 2\), got \(2, 4, 2\)"),
        (lambda e: e.duplicated(0), "`n_copies` must be at least 1"),
        (lambda e: e.permuted([0, 1, 1, 2]), "permutation of 0, ..., .* = 3"),
        (lambda e: e.permuted([0, 1]), "permutation"),
        (lambda e: e.second_moment([1.0]), r"= \(3,\), got \(1,\)"),
    ],
)
def test_helper_messages(theta, call, match):
    with pytest.raises(ValueError, match=match):
        call(ParticleEnsemble(theta))
