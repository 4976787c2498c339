"""The best scale of errors that fall and rise again."""

import numpy as np
import pytest

from mfpde.analysis import bootstrap, fit_valley

SIZES = np.array([256.0, 1024.0, 4096.0, 16384.0])
SCALES = 2.0 ** np.arange(-1, 5.1, 0.5)


def valley(rng, power=0.5, n_seeds=200, noise=1.0, falling=1.0):
    """|A / x^falling + C x size^-power xi|, xi normal: best scale known exactly."""
    xi = rng.normal(size=(len(SIZES), 1, n_seeds))
    bias = 0.2 * SCALES[:, np.newaxis] ** -falling
    rise = 0.6 * SCALES[:, np.newaxis] * SIZES[:, np.newaxis, np.newaxis] ** -power
    return np.hypot(bias, rise * np.sqrt(1 + noise * (xi**2 - 1)))


def test_exact_curves_are_recovered(rng):
    fit = fit_valley(SIZES, SCALES, valley(rng, noise=0.0, n_seeds=4))
    np.testing.assert_allclose(fit.best, np.sqrt(0.2 / 0.6) * SIZES**0.25, rtol=1e-9)
    np.testing.assert_allclose(
        fit.least, np.sqrt(2 * 0.2 * 0.6) * SIZES**-0.25, rtol=1e-9
    )
    assert fit.exponent == pytest.approx(0.25, abs=1e-9)
    assert fit.least_exponent == pytest.approx(-0.25, abs=1e-9)
    np.testing.assert_allclose(fit.predict(SCALES), fit.values, rtol=1e-9)


def test_other_powers_of_the_falling_branch(rng):
    errors = valley(rng, noise=0.0, n_seeds=4, falling=2.0)
    fit = fit_valley(SIZES, SCALES, errors, falling=2.0)
    assert fit.exponent == pytest.approx(1 / 6, abs=1e-9)


def test_the_interval_holds_the_truth_and_not_another_power(rng):
    fit = fit_valley(SIZES, SCALES, valley(rng))
    low, high = fit.exponent_interval
    assert low < 0.25 < high
    assert high - low < 0.2
    other = fit_valley(SIZES, SCALES, valley(rng, power=0.25))
    assert other.exponent_interval[1] < 0.25


def test_minima_at_an_end_are_left_out(rng):
    errors = valley(rng)
    errors[0] = errors[0][::-1].cumsum(axis=0)
    errors[1, -1, 3] = np.inf
    fit = fit_valley(SIZES, SCALES, errors)
    assert np.isnan(fit.best).tolist() == [True, False, False, False]
    # A curve that was not fitted is not zero.
    assert np.isnan(fit.predict(SCALES)).all(axis=1).tolist() == [1, 0, 0, 0]
    with pytest.raises(ValueError, match="needs three sizes whose smallest"):
        fit_valley(SIZES, SCALES[:3], errors[:, :3])


def test_too_few_scales_about_the_best_are_not_fitted(rng):
    errors = valley(rng, noise=0.0, n_seeds=4)
    assert fit_valley(SIZES, SCALES, errors, reach=1.5).exponent == pytest.approx(0.25)
    with pytest.raises(ValueError, match=r"`reach` = 1\.2 must take in three"):
        fit_valley(SIZES, SCALES, errors, reach=1.2)


def test_one_seed_has_no_interval(rng):
    fit = fit_valley(SIZES, SCALES, valley(rng, noise=0.0, n_seeds=1))
    assert fit.exponent == pytest.approx(0.25, abs=1e-9)
    assert np.isnan([*fit.exponent_interval, *fit.least_interval]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"confidence": 95},
            r"`confidence` must lie in \(0, 1\), .*got 95",
        ),
        ({"reach": 0.5}, "`reach` must be finite, above 1, got 0.5"),
        ({"falling": -1.0}, "`falling` must lie in"),
        ({"rising": 0.0}, "`rising` must lie in"),
    ],
)
def test_options_out_of_range(rng, options, message):
    with pytest.raises(ValueError, match=message):
        fit_valley(SIZES, SCALES, valley(rng, n_seeds=3), **options)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, 2.0], {"n_bootstrap": 0}, "`n_bootstrap` must be at least 2"),
        ([1.0, 2.0], {"confidence": 95}, "`confidence` must lie in"),
        (1.0, {}, r"`values` must hold one entry or more for each run.*got shape \(\)"),
        ([], {}, r"`values` must hold one entry or more.*got shape \(0,\)"),
    ],
)
def test_arguments_of_the_bootstrap(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(np.mean, values, **options)
