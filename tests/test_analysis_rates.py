"""Rates with intervals: exact laws, other programs, and how often they hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from scipy.special import ndtr

from mfpde import analysis
from mfpde.analysis.cells import cell_statistics
from mfpde.analysis.fitting import TwoTerms
from mfpde.analysis.resampling import (
    bca_intervals,
    bootstrap_counts,
    jackknife_counts,
)

DEPTHS = np.array([8.0, 16.0, 32.0, 64.0, 128.0])
WIDTHS = np.array([8.0, 32.0, 128.0, 512.0])
BIAS = np.array([0.5, -0.2, 0.1])
SPREAD = np.array([0.3, 0.5, 0.2])
TRUTH = {
    "p": 1.0,
    "q": 0.5,
    "c1": float(np.linalg.norm(BIAS)),
    "c2": float(np.linalg.norm(SPREAD)),
}


def law(p=1.0, q=0.5, c1=0.7, c2=1.3, *, a=0.0, power=2):
    """The errors of Eq. (29) without noise, (n_depths, n_widths)."""
    first = c1 * DEPTHS[:, np.newaxis] ** -p
    second = c2 * (DEPTHS[:, np.newaxis] ** a * WIDTHS) ** -q
    return (first**power + second**power) ** (1.0 / power)


def draws(generator, n_seeds, *, a=0.0, p=1.0, q=0.5, is_common=True):
    """Errors of vectors bias / L^p + fluctuation (L^a M)^-q, whose rms is the law."""
    shape = (n_seeds, 1, 1, 3) if is_common else (n_seeds, 5, 4, 3)
    fluctuation = SPREAD * generator.normal(size=shape)
    size = (DEPTHS[:, np.newaxis] ** a * WIDTHS) ** -q
    bias = BIAS * (DEPTHS**-p)[:, np.newaxis, np.newaxis]
    vectors = bias + fluctuation * size[..., np.newaxis]
    return np.moveaxis(np.linalg.norm(vectors, axis=-1), 0, -1)


def contains(interval, value):
    return interval[0] <= value <= interval[1]


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.iter_modules(analysis.__path__)]
)
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"mfpde.analysis.{module}"))
    assert result.failed == 0


# Powers of one variable


def test_pairwise_orders_are_exact_and_stop_at_gaps():
    n = np.array([1.0, 2.0, 6.0, 12.0])
    np.testing.assert_allclose(analysis.pairwise_orders(n, 3.0 * n**-1.5), 1.5)
    orders = analysis.pairwise_orders(n, [4.0, np.nan, 2.0, 1.0])
    np.testing.assert_allclose(orders, [np.nan, np.nan, 1.0])
    assert np.isnan(analysis.pairwise_orders([1, 2], [1.0, np.inf])).all()
    assert np.isnan(analysis.pairwise_orders([1, 2], [1.0, 0.0])).all()


def test_a_power_without_seeds_is_the_linear_regression_of_scipy(rng):
    n = np.array([4.0, 8.0, 16.0, 32.0, 64.0])
    errors = 2.0 * n**-0.8 * np.exp(0.1 * rng.normal(size=5))
    fit = analysis.fit_power(n, errors, confidence=0.9)
    expected = scipy.stats.linregress(np.log(n), np.log(errors))
    assert fit.exponent == pytest.approx(-expected.slope, rel=1e-12)
    assert np.log(fit.constant) == pytest.approx(expected.intercept, rel=1e-12)
    half = scipy.stats.t.ppf(0.95, 3) * np.array(
        [expected.stderr, expected.intercept_stderr]
    )
    assert np.ptp(fit.exponent_interval) == pytest.approx(2 * half[0], rel=1e-10)
    assert np.ptp(np.log(fit.constant_interval)) == pytest.approx(2 * half[1])
    assert "one run for each n" in fit.notes[0]
    np.testing.assert_allclose(fit.predict(n[0]), fit.constant * n[0] ** -fit.exponent)


def test_two_cells_give_a_line_but_no_interval():
    fit = analysis.fit_power([2, 4], [1.0, 0.25])
    assert fit.exponent == pytest.approx(2.0)
    assert np.isnan(fit.exponent_interval).all()
    assert "no interval" in str(fit)


def test_a_power_of_many_seeds_is_found_and_another_excluded(rng):
    n = 2.0 ** np.arange(3, 9)
    errors = np.abs(rng.normal(size=(6, 80))) * n[:, np.newaxis] ** -0.5
    errors[2, 5] = np.nan
    fit = analysis.fit_power(n, errors)
    assert contains(fit.exponent_interval, 0.5)
    assert not contains(fit.exponent_interval, 0.75)
    errors[0, 3] = np.inf
    fit = analysis.fit_power(n, errors, window=(0, 128))
    assert fit.n_diverged == 1
    assert fit.n_used == 4
    assert "n = 8 is left out: 1 of 80 runs diverged." in fit.left_out
    assert "n = 256 is left out: the window is [0, 128]." in str(fit)
    assert analysis.fit_power(n, errors, statistic="median").n_used == 6


# One number for each cell and resample


@pytest.mark.parametrize("statistic", ["rms", "mean", "median", 0.9, 0.37])
def test_statistics_of_resamples_are_those_of_numpy(rng, statistic):
    errors = np.abs(rng.normal(size=(3, 11)))
    errors[0, [2, 7]] = np.nan
    counts = bootstrap_counts(11, 20, 3)
    found = cell_statistics(errors, counts, statistic)
    for row, number in enumerate(counts.astype(int)):
        for cell in range(3):
            runs = np.repeat(errors[cell], number)
            runs = runs[~np.isnan(runs)]
            expected = {
                "rms": lambda r: np.sqrt(np.mean(r**2)),
                "mean": np.mean,
                "median": np.median,
            }.get(statistic, lambda r: np.quantile(r, statistic))(runs)
            assert found[row, cell] == pytest.approx(expected, rel=1e-12)


def test_diverged_runs_have_no_mean_but_may_have_a_quantile():
    errors = np.array([[1.0, 2.0, 3.0, np.inf], [np.nan] * 4])
    everything = np.ones((1, 4))
    assert np.isnan(cell_statistics(errors, everything, "rms")).all()
    assert cell_statistics(errors, everything, "median")[0, 0] == 2.5
    assert cell_statistics(errors, everything, 0.9)[0, 0] == np.inf
    assert np.isnan(cell_statistics(errors, everything, "median")[0, 1])


def test_tiny_errors_do_not_vanish():
    """Their squares are below the smallest number."""
    errors = np.full((1, 4), 1e-200)
    assert cell_statistics(errors, np.ones((1, 4)), "rms") == pytest.approx(1e-200)


# Intervals


def test_intervals_are_those_of_scipy_at_the_widened_level(rng):
    n = 15
    values = rng.exponential(size=n)
    counts = bootstrap_counts(n, 40_000, 1)
    found = bca_intervals(
        np.array([values.mean()]),
        (counts @ values / n)[:, np.newaxis],
        (jackknife_counts(n) @ values / (n - 1))[:, np.newaxis],
        0.9,
    )[0]
    z = np.sqrt(n / (n - 1)) * scipy.stats.t.ppf(0.95, n - 1)
    expected = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=40_000,
        confidence_level=float(2 * ndtr(z) - 1),
        method="BCa",
        rng=np.random.default_rng(2),
    ).confidence_interval
    # Monte Carlo error of a quantile of 40,000 resamples: 0.5 % of the spread.
    np.testing.assert_allclose(found, expected, atol=0.02 * values.std())


def test_intervals_cover_the_truth_as_often_as_they_say():
    """A small version: 40 data sets; 200 give 93 to 98 % for 12 seeds."""
    n_sets, hits = 40, dict.fromkeys(TRUTH, 0)
    for number in range(n_sets):
        errors = draws(np.random.default_rng(number), 12, a=1.0)
        fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=300)
        for name, value in TRUTH.items():
            hits[name] += contains(getattr(fit, f"{name}_interval"), value)
    # 0.95 * 40 = 38, standard deviation 1.4; all 40 would also come from intervals
    # that are too wide, so their width is bounded, too.
    assert min(hits.values()) >= 34
    assert np.ptp(fit.p_interval) < 0.15
    assert np.ptp(fit.q_interval) < 0.05


# The joint fit


@pytest.mark.parametrize("a", [0.0, 1.0])
@pytest.mark.parametrize(("combine", "power"), [("squares", 2), ("sum", 1)])
@pytest.mark.parametrize(("p", "q"), [(1.0, 0.5), (2.0, 0.25), (0.6, 0.9)])
def test_errors_without_noise_give_the_law_back(a, combine, power, p, q):
    errors = law(p, q, a=a, power=power)[..., np.newaxis]
    fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=a, combine=combine)
    found = [fit.p, fit.q, fit.c1, fit.c2]
    np.testing.assert_allclose(found, [p, q, 0.7, 1.3], rtol=1e-5)
    grid = np.meshgrid(DEPTHS, WIDTHS, indexing="ij")
    np.testing.assert_allclose(fit.predict(*grid), errors[..., 0], rtol=1e-6)
    first, second = fit.terms(16.0, WIDTHS)
    np.testing.assert_allclose(first, 0.7 * 16.0**-p, rtol=1e-5)
    assert second.shape == WIDTHS.shape
    assert "one seed" in fit.notes[0]
    assert np.isnan(fit.p_interval).all()
    assert np.isnan(fit.band(16.0, WIDTHS)).all()


@pytest.mark.parametrize("power", [1, 2])
def test_derivatives_of_the_law_are_those_of_differences(rng, power):
    cells = np.meshgrid(DEPTHS, WIDTHS)
    model = TwoTerms.of(cells[0].ravel(), cells[1].ravel(), 1.0, power)
    params = rng.normal(size=(3, 4))
    _, slopes = model(params)
    for i in range(4):
        shift = 1e-6 * np.eye(4)[i]
        difference = (model(params + shift)[0] - model(params - shift)[0]) / 2e-6
        np.testing.assert_allclose(slopes[..., i], difference, atol=1e-8)


def test_the_fit_is_the_minimum_that_scipy_finds(rng):
    errors = draws(rng, 30, a=1.0, is_common=False)
    fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=200)
    values = np.sqrt(np.mean(errors**2, axis=2))
    np.testing.assert_allclose(fit.values, values)

    def residuals(params):
        c1, p, c2, q = np.exp(params[0]), params[1], np.exp(params[2]), params[3]
        return ((np.log(values) - np.log(law(p, q, c1, c2, a=1))) / deviations).ravel()

    deviations = fit.deviations
    start = [np.log(0.5), 1.0, np.log(0.5), 0.5]
    best = scipy.optimize.least_squares(residuals, start, xtol=1e-12, ftol=1e-12)
    found = [np.log(fit.c1), fit.p, np.log(fit.c2), fit.q]
    np.testing.assert_allclose(found, best.x, atol=1e-5)
    np.testing.assert_allclose(
        fit.residuals / deviations, best.fun.reshape(values.shape), atol=1e-4
    )


@pytest.mark.parametrize("a", [0.0, 1.0])
def test_planted_wrong_exponents_are_detected(a):
    right = draws(np.random.default_rng(1), 40, a=a)
    fit = analysis.fit_rates(DEPTHS, WIDTHS, right, a=a, n_bootstrap=300)
    assert contains(fit.p_interval, 1.0)
    assert contains(fit.q_interval, 0.5)
    wrong = draws(np.random.default_rng(1), 40, a=a, p=0.7, q=0.4)
    fit = analysis.fit_rates(DEPTHS, WIDTHS, wrong, a=a, n_bootstrap=300)
    assert not contains(fit.p_interval, 1.0)
    assert not contains(fit.q_interval, 0.5)
    # Layers that are independent, fitted as if they were not, and the converse.
    fit = analysis.fit_rates(DEPTHS, WIDTHS, right, a=1 - a, n_bootstrap=300)
    assert np.nanmax(np.abs(fit.residuals / fit.deviations)) > 4


def test_seeds_are_resampled_together():
    """Common random numbers give exponents far more precise than their cells are."""
    generator = np.random.default_rng(3)
    errors = draws(generator, 30, a=1.0)
    mixed = generator.permuted(errors, axis=2)
    both = [
        analysis.fit_rates(DEPTHS, WIDTHS, table, a=1, n_bootstrap=300)
        for table in (errors, mixed)
    ]
    np.testing.assert_allclose(both[0].values, both[1].values)
    assert np.ptp(both[0].q_interval) < 0.4 * np.ptp(both[1].q_interval)


def test_diverged_and_missing_runs_are_counted_and_said(rng):
    errors = draws(rng, 20, a=1.0)
    errors[0, 0, :2] = np.inf
    errors[1, 1, 5] = np.nan
    errors[2, 2] = np.nan
    errors[3, 3] = 0.0
    fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=200)
    assert (fit.n_diverged, fit.n_missing, fit.n_used) == (2, 21, 17)
    assert fit.left_out == (
        "L = 8, M = 8 is left out: 2 of 20 runs diverged.",
        "L = 32, M = 128 is left out: no run.",
        "L = 64, M = 512 is left out: the error is zero.",
    )
    assert all(sentence in str(fit) for sentence in fit.left_out)
    assert "17 of 20 cells, 2 runs diverged" in str(fit)
    assert not fit.is_used[0, 0]
    assert np.isnan(fit.residuals[0, 0])
    assert contains(fit.p_interval, 1.0)
    # The upper quartile of that cell is finite.
    fit = analysis.fit_rates(
        DEPTHS, WIDTHS, errors, a=1, statistic=0.75, n_bootstrap=200
    )
    assert fit.is_used[0, 0]


def test_a_cell_that_many_resamples_miss_does_no_harm(rng):
    """One run in a cell: most resamples do not hold its seed."""
    errors = draws(rng, 30, a=1.0)
    full = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=300)
    errors[4, 1, 1:] = np.nan
    fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=300)
    assert fit.is_used.all()
    assert contains(fit.p_interval, 1.0)
    assert np.all(np.std(fit.replicates, axis=0) < 4 * np.std(full.replicates, axis=0))
    errors = np.abs(rng.normal(size=(6, 40))) * 0.5 ** np.arange(6.0)[:, None]
    errors[2, 1:] = np.nan
    power = analysis.fit_power(2.0 ** np.arange(6), errors)
    # ln of one run is biased and scattered: the interval is of the right width.
    assert abs(power.exponent - 1.0) < 0.15
    assert 0.1 < np.ptp(power.exponent_interval) < 0.25


def test_windows_are_given_or_follow_the_stated_rule(rng):
    errors = draws(rng, 40, a=1.0)
    inside = {"depth": (16, 128), "width": (32, np.inf)}
    fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, window=inside, n_bootstrap=99)
    mask = np.logical_and.outer(DEPTHS >= 16, WIDTHS >= 32)
    same = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, window=mask, n_bootstrap=99)
    np.testing.assert_array_equal(fit.is_used, mask)
    assert fit.p == same.p
    assert "L = 8, M = 8 is left out: outside the window." in fit.left_out
    # A shallow row before the asymptotic range.
    errors[0] *= 1.5
    biased = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=200)
    fit = analysis.fit_rates(
        DEPTHS, WIDTHS, errors, a=1, window="auto", n_bootstrap=200
    )
    np.testing.assert_array_equal(fit.is_used.all(axis=1), DEPTHS > 8)
    assert "before the asymptotic range" in fit.left_out[0]
    assert contains(fit.p_interval, 1.0)
    assert not contains(biased.p_interval, 1.0)


def test_a_term_that_is_not_seen_is_called_undetermined(rng):
    errors = 1e-3 * draws(rng, 20, a=1.0, is_common=False)
    errors += 5.0 / DEPTHS[:, np.newaxis, np.newaxis]
    fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=200)
    assert contains(fit.p_interval, 1.0)
    assert set(fit.not_identified) == {"q"}
    assert fit.not_identified["q"].startswith("the width term is at most")
    assert "q not identified: the width term" in str(fit)
    assert "M)^-q)" in str(fit)
    assert f"q = {fit.q:.4g}" not in str(fit)
    assert np.isnan([*fit.q_interval, *fit.c2_interval]).all()


def test_the_band_holds_the_fit_and_narrows_with_seeds():
    widths = []
    for n_seeds in (10, 160):
        errors = draws(np.random.default_rng(2), n_seeds, a=1.0, is_common=False)
        fit = analysis.fit_rates(DEPTHS, WIDTHS, errors, a=1, n_bootstrap=300)
        low, high = fit.band(DEPTHS[:, np.newaxis], WIDTHS)
        middle = fit.predict(DEPTHS[:, np.newaxis], WIDTHS)
        assert low.shape == (5, 4)
        assert np.all((low < middle) & (middle < high))
        widths.append(np.mean(np.log(high / low)))
    # Sixteen times the seeds: a quarter of the width, which itself fluctuates by
    # a quarter with ten seeds.
    assert 0.15 < widths[1] / widths[0] < 0.5


# Confidence levels


def test_quantiles_of_errors_are_bounded_by_order_statistics(rng):
    errors = rng.exponential(size=(2, 400))
    found = analysis.error_quantiles(errors, [0.5, 0.1, 0.001])
    for i, eta in enumerate((0.5, 0.1)):
        np.testing.assert_allclose(
            found.values[i], np.quantile(errors, 1 - eta, axis=1)
        )
        for cell in range(2):
            test = scipy.stats.quantile_test(errors[cell], p=1 - eta)
            ends = test.confidence_interval(0.95)
            assert (found.low[i, cell], found.high[i, cell]) == (ends.low, ends.high)
    # 400 draws do not bound the 0.999-quantile.
    assert np.isinf(found.high[2]).all()
    assert found.n_runs.tolist() == [400, 400]


def test_quantiles_hold_with_diverged_runs(rng):
    errors = rng.exponential(size=50)
    errors[:5] = np.inf
    found = analysis.error_quantiles(errors, [0.5, 0.02])
    assert np.isfinite(found.values[0])
    assert found.values[1] == np.inf
    assert found.n_diverged == 5


def test_the_power_of_eta_is_that_of_the_tail(rng):
    eta = np.geomspace(0.01, 0.3, 8)
    heavy = rng.pareto(2.0, size=(3, 2000)) + 1.0
    fit = analysis.fit_eta(heavy, eta, n_bootstrap=200)
    assert contains(fit.interval, 0.5)
    assert abs(fit.exponent - 0.5) < 0.05
    bounded = analysis.fit_eta(rng.uniform(size=(3, 2000)), eta, n_bootstrap=200)
    assert bounded.interval[1] < 0.15
    assert (bounded.n_used, bounded.n_cells) == (3, 3)
    heavy[0, :100] = np.inf
    fit = analysis.fit_eta(heavy, eta, n_bootstrap=200)
    assert fit.n_used == 2


# Sentences


GOOD = law()[..., np.newaxis]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"errors": np.empty((5, 4, 0))}, "no empty axis"),
        ({"errors": np.full((5, 4, 2), np.nan)}, "holds no run at all"),
        ({"errors": -GOOD}, "must not be negative, got -"),
        ({"errors": GOOD[..., 0]}, r"\(n_depths, n_widths, n_seeds\)"),
        ({"errors": [[["a"]]]}, "must hold real numbers"),
        ({"errors": [[[1.0], [1.0, 2.0]]]}, "rectangular"),
        ({"errors": np.full((5, 4, 2), np.inf)}, "at least 4 cells.*2 of 2 runs"),
        ({"depths": [8], "errors": GOOD[:1]}, "two depths and two widths, got 4 cells"),
        ({"depths": [8, 8, 16, 32, 64]}, "`depths` must be positive, finite and incr"),
        ({"widths": [1, 2, 3]}, "one entry for each row"),
        ({"combine": "squared"}, "Did you mean 'squares'"),
        ({"statistic": "average"}, "one of rms, mean, median"),
        ({"statistic": 1.5}, "between 0 and 1"),
        ({"a": np.nan}, "`a` must be a number, 0 for draws along paths"),
        ({"confidence": 95}, "`confidence` must lie between 0 and 1"),
        ({"window": np.ones(3, dtype=bool)}, "`window` must be 'auto'"),
        ({"window": {"depth": (200, 300)}}, "got 0 cells"),
    ],
)
def test_what_cannot_be_fitted_is_said(changes, words):
    arguments = {"depths": DEPTHS, "widths": WIDTHS, "errors": GOOD, "a": 0} | changes
    arrays = [arguments.pop(name) for name in ("depths", "widths", "errors")]
    with pytest.raises((ValueError, TypeError), match=words):
        analysis.fit_rates(*arrays, **arguments)


def test_what_is_no_power_or_level_is_said():
    with pytest.raises(ValueError, match="at least two values of n, got 1"):
        analysis.fit_power([4, 8], [1.0, np.nan])
    with pytest.raises(ValueError, match="`n` must be a list of numbers"):
        analysis.fit_power([[4, 8]], [1.0, 0.5])
    with pytest.raises(ValueError, match="no empty axis"):
        analysis.fit_power([], [])
    with pytest.raises(ValueError, match="`eta` must lie between 0 and 1, got 0"):
        analysis.error_quantiles(np.ones(5), 0.0)
    with pytest.raises(ValueError, match=r"none below 1 / n_seeds = 0\.2"):
        analysis.fit_eta(np.ones(5), [0.1, 0.5])
    for n_bootstrap in (0, 99.5, "many"):
        with pytest.raises((ValueError, TypeError), match="`n_bootstrap` must be "):
            analysis.fit_eta(np.ones(5), [0.3, 0.5], n_bootstrap=n_bootstrap)
    with pytest.raises(ValueError, match="too many runs diverged"):
        analysis.fit_eta([1.0, np.inf, np.inf, np.inf], [0.25, 0.5])


# What the cells do not determine -------------------------------------------------


@pytest.mark.parametrize("combine", ["squares", "sum"])
@pytest.mark.parametrize("lost", ["p", "q"])
def test_a_term_below_the_noise_has_no_exponent(lost, combine, rng):
    """Ten data sets each, where one term is a few per cent of the error at most."""
    sizes = {"p": (0.01, 1.0), "q": (1.0, 1e-3)}[lost]
    for _ in range(10):
        noise = SPREAD * rng.normal(size=(8, 1, 4, 3)) * (WIDTHS**-0.5)[:, np.newaxis]
        bias = BIAS * (DEPTHS**-1.0)[:, np.newaxis, np.newaxis]
        vectors = sizes[0] * bias + sizes[1] * noise
        errors = np.moveaxis(np.linalg.norm(vectors, axis=-1), 0, -1)
        fit = analysis.fit_rates(
            DEPTHS, WIDTHS, errors, a=0, combine=combine, n_bootstrap=200
        )
        assert lost in fit.not_identified
        assert f"{lost} not identified: " in str(fit)
        assert np.isnan(getattr(fit, f"{lost}_interval")).all()


def test_exponents_of_terms_that_are_seen_are_identified(rng):
    for seed in range(10):
        fit = analysis.fit_rates(
            DEPTHS, WIDTHS, draws(rng, 40), a=0, n_bootstrap=200, seed=seed
        )
        assert fit.not_identified == {}
        assert "not identified" not in str(fit)


def test_one_seed_is_judged_by_the_scatter_of_its_cells(rng):
    scatter = np.exp(0.1 * rng.normal(size=(5, 4, 1)))
    seen = analysis.fit_rates(DEPTHS, WIDTHS, law()[..., np.newaxis] * scatter, a=0)
    assert seen.not_identified == {}
    flat = law(c1=0.15, p=0.05)[..., np.newaxis] * scatter
    lost = analysis.fit_rates(DEPTHS, WIDTHS, flat, a=0)
    assert set(lost.not_identified) == {"p"}


def test_a_power_that_may_be_a_constant_is_called_so(rng):
    n = 2.0 ** np.arange(4, 9)
    flat = np.exp(0.2 * rng.normal(size=(5, 12)))
    fit = analysis.fit_power(n, flat, n_bootstrap=200)
    assert not fit.is_identified
    assert "Exponent not identified: a constant fits" in str(fit)
    fit = analysis.fit_power(n, flat / n[:, np.newaxis], n_bootstrap=200)
    assert fit.is_identified
    assert "not identified" not in str(fit)


def test_a_paired_order_at_the_bounds_of_the_search_has_no_interval(rng):
    depths = np.array([4.0, 8.0, 16.0, 32.0])
    errors = rng.normal(size=(4, 12, 3))
    fit = analysis.fit_paired(depths, errors, n_bootstrap=200)
    assert np.isnan(fit.interval).all()
