"""Fits that know the draws: at all depths the same, their spread, infinite width."""

import numpy as np
import pytest

from mfpde.analysis import fit_asymptotic, fit_fluctuation, fit_paired, fit_rates
from mfpde.analysis.asymptotic import bent_interval

DEPTHS = np.array([4.0, 8.0, 16.0, 32.0, 64.0])
WIDTHS = np.array([16.0, 64.0, 256.0, 1024.0])


def signed_errors(rng, p=1.0, second=0.0, noise=0.0, n_seeds=20, n_components=3):
    """A + B L^-p + second L^-2p, A and B of every seed and component, (D, S, C)."""
    a = rng.normal(size=(n_seeds, n_components))
    b = 0.2 + 0.05 * rng.normal(size=(n_seeds, n_components))
    x = DEPTHS[:, np.newaxis, np.newaxis]
    errors = a + b * x**-p + second * x ** (-2 * p)
    return errors + noise * rng.normal(size=errors.shape)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.25, 2.0])
def test_paired_order_without_any_noise(rng, p):
    fit = fit_paired(DEPTHS, signed_errors(rng, p))
    # The grid of exponents has a distance of 0.01, and a parabola between.
    assert fit.exponent == pytest.approx(p, abs=2e-3)
    assert fit.interval[0] - 2e-3 <= p <= fit.interval[1] + 2e-3


def test_paired_order_beats_the_noise_of_the_draws(rng):
    """A is ten to a thousand times what depth adds; norms would not see depth."""
    errors = signed_errors(rng, noise=1e-4)
    fit = fit_paired(DEPTHS, errors)
    assert fit.exponent == pytest.approx(1.0, abs=0.02)
    assert fit.interval[0] < 1.0 < fit.interval[1]
    assert fit.interval[1] - fit.interval[0] < 0.1


def test_paired_interval_allows_for_the_next_term(rng):
    """With a term 1/L^2 the fit is off; extrapolated it is nearer, and held."""
    fit = fit_paired(DEPTHS, signed_errors(rng, second=0.3))
    assert abs(fit.exponent - 1.0) > 0.05
    assert abs(fit.extrapolated - 1.0) < 0.5 * abs(fit.exponent - 1.0)
    assert fit.interval[0] <= 1.0 <= fit.interval[1]


def test_paired_order_is_contradicted_by_another_one(rng):
    fit = fit_paired(DEPTHS, signed_errors(rng, p=0.5, noise=1e-4))
    assert fit.interval[1] < 0.9


def test_paired_leaves_out_seeds_that_diverged(rng):
    errors = signed_errors(rng)
    errors[2, 3] = np.inf
    errors[1, 5, 0] = np.nan
    fit = fit_paired(DEPTHS, errors)
    assert (fit.n_seeds, fit.n_diverged) == (18, 1)
    assert fit.exponent == pytest.approx(1.0, abs=2e-3)
    with pytest.raises(ValueError, match="four depths and two seeds"):
        fit_paired(DEPTHS[:3], errors[:3])
    with pytest.raises(ValueError, match="n_depths, n_seeds, n_components"):
        fit_paired(DEPTHS, errors[..., 0])


@pytest.mark.parametrize("a", [0.0, 1.0])
def test_fluctuation_exponents(rng, a):
    counts = DEPTHS[:, np.newaxis] ** a * WIDTHS
    draws = rng.normal(size=(5, 4, 60, 4))
    # What is the same for all draws does not matter.
    errors = 0.7 / DEPTHS[:, None, None, None] + 0.3 * draws / np.sqrt(
        counts[..., None, None]
    )
    fit = fit_fluctuation(DEPTHS, WIDTHS, errors)
    assert fit.depth_exponent == pytest.approx(0.5 * a, abs=0.03)
    assert fit.width_exponent == pytest.approx(0.5, abs=0.03)
    for found, expected in (
        (fit.depth_interval, 0.5 * a),
        (fit.width_interval, 0.5),
    ):
        assert found[0] < expected < found[1]
    np.testing.assert_allclose(fit.values, 0.3 / np.sqrt(counts), rtol=0.25)


def test_fluctuation_leaves_out_what_has_no_spread(rng):
    errors = rng.normal(size=(5, 4, 30, 2)) / np.sqrt(WIDTHS[:, None, None])
    errors[0, 0, 3] = np.inf
    errors[1, 1, 1:] = np.nan
    errors[:, 3, 20:] = np.nan
    fit = fit_fluctuation(DEPTHS, WIDTHS, errors)
    assert not fit.is_used[0, 0]
    assert not fit.is_used[1, 1]
    assert fit.is_used.sum() == 18
    assert fit.width_exponent == pytest.approx(0.5, abs=0.06)
    with pytest.raises(ValueError, match="two depths and two widths"):
        fit_fluctuation(DEPTHS, WIDTHS, errors, window=np.eye(5, 4) > 2)


def errors_of_networks(rng, a, second=0.0, n_seeds=60):
    """Norms |c1 / L u + c2 (L^a M)^-1/2 xi| with finite widths and an infinite one."""
    depths = DEPTHS[:, None, None, None]
    counts = DEPTHS[:, np.newaxis] ** a * WIDTHS
    bias = 0.3 / depths + second / depths**2
    xi = rng.normal(size=(5, 4, n_seeds, 8)) / np.sqrt(counts[..., None, None])
    norms = np.sqrt(np.mean((bias + 0.4 * xi) ** 2, axis=-1))
    wide = np.broadcast_to(np.abs(bias)[..., 0], (5, 1, n_seeds))
    return np.concatenate([norms, wide], axis=1)


@pytest.mark.parametrize("a", [0.0, 1.0])
def test_infinite_width_fixes_the_order_in_depth(rng, a):
    widths = [*WIDTHS, np.inf]
    fit = fit_rates(DEPTHS, widths, errors_of_networks(rng, a), a=a)
    assert fit.p == pytest.approx(1.0, abs=0.01)
    assert fit.q == pytest.approx(0.5, abs=0.03)
    assert fit.c1 == pytest.approx(0.3, rel=0.03)
    assert fit.predict(8.0, np.inf) == pytest.approx(0.3 / 8, rel=0.03)


def test_asymptotic_intervals_hold_the_order_beyond_the_next_term(rng):
    errors = errors_of_networks(rng, 1.0, second=0.2)
    found = fit_asymptotic(DEPTHS, [*WIDTHS, np.inf], errors, a=1.0)
    assert not found.fit.p_interval[0] < 1.0 < found.fit.p_interval[1]
    assert found.p_interval[0] < 1.0 < found.p_interval[1]
    assert abs(found.p_extrapolated - 1.0) < abs(found.fit.p - 1.0)
    # What is wrong with the model of depth falls on the narrow networks, too.
    assert found.fit.q == pytest.approx(0.5, abs=0.03)


def test_asymptotic_fit_of_few_cells_has_no_extrapolation(rng):
    errors = errors_of_networks(rng, 0.0)[:2, :2]
    found = fit_asymptotic(DEPTHS[:2], WIDTHS[:2], errors, a=0.0)
    assert np.isnan(found.p_extrapolated)
    assert np.isnan(found.q_extrapolated)
    assert found.p_interval == found.fit.p_interval


def test_an_interval_is_stretched_by_what_leaving_out_the_coarsest_changes():
    assert bent_interval((0.9, 1.1), 1.0, 0.01) == (0.9, 1.1)
    assert bent_interval((1.05, 1.07), 1.06, -0.02) == pytest.approx((0.96, 1.16))


def test_fluctuation_interval_knows_of_a_bend(rng):
    """A spread (L M)^-1/2 (1 + 1/L): without the bend the interval would miss 1/2."""
    depths = DEPTHS[:, None, None, None]
    counts = (DEPTHS[:, np.newaxis] * WIDTHS)[..., None, None]
    draws = rng.normal(size=(1, 1, 200, 4))
    fit = fit_fluctuation(DEPTHS, WIDTHS, draws * (1 + 1 / depths) / np.sqrt(counts))
    assert fit.depth_exponent > 0.55
    assert fit.depth_interval[0] < 0.5 < fit.depth_interval[1]
    assert fit.width_exponent == pytest.approx(0.5, abs=1e-6)
