"""Distances of clouds and laws: closed forms, brute force, and another program."""

from __future__ import annotations

import builtins
import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats

from mfpde import analysis
from mfpde.analysis import clouds


def weights(generator, n):
    w = generator.uniform(0.1, 1.0, size=n)
    return w / w.sum()


# Two clouds


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_distance_is_the_best_of_all_matchings(rng, k):
    a, b = rng.normal(size=(2, 6, k))
    best = min(
        np.sum((a - b[list(order)]) ** 2) for order in itertools.permutations(range(6))
    )
    assert analysis.w2(a, b) == pytest.approx(np.sqrt(best / 6), rel=1e-12)
    assert analysis.w2(b, a) == pytest.approx(analysis.w2(a, b), rel=1e-12)
    assert analysis.w2(a, a[::-1]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("method", ["exact", "sliced"])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_translation_has_its_length(rng, method, k):
    a, shift = rng.normal(size=(40, k)), rng.normal(size=k)
    found = analysis.w2_estimate(a, a[::-1] + shift, method=method, n_projections=3)
    assert found.value == pytest.approx(np.linalg.norm(shift), rel=1e-12)


def test_weighted_lines_are_those_of_quantile_functions(rng):
    """The integral of the squared difference of quantile functions, by hand."""
    found = analysis.w2([0.0, 1.0], [2.0, 5.0], [0.25, 0.75], [0.5, 0.5])
    # Quantiles 0 on [0, 1/4], 1 after; 2 on [0, 1/2], 5 after.
    expected = 0.25 * 4 + 0.25 * 1 + 0.5 * 16
    assert found == pytest.approx(np.sqrt(expected), rel=1e-14)
    a, b = rng.normal(size=7), rng.normal(size=11)
    w_a, w_b = weights(rng, 7), weights(rng, 11)
    u = (np.arange(200_000) + 0.5) / 200_000
    rows = [np.argsort(values) for values in (a, b)]
    quantiles = [
        values[row][np.minimum(np.searchsorted(np.cumsum(w[row]), u), len(w) - 1)]
        for values, w, row in zip((a, b), (w_a, w_b), rows, strict=True)
    ]
    expected = np.sqrt(np.mean((quantiles[0] - quantiles[1]) ** 2))
    assert analysis.w2(a, b, w_a, w_b) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("n_a", "n_b"), [(4, 12), (6, 9), (5, 5)])
def test_equal_weights_are_matched_after_duplication(rng, n_a, n_b):
    a, b = rng.normal(size=(n_a, 3)), rng.normal(size=(n_b, 3))
    found = analysis.w2_estimate(a, b)
    assert found.method == "assignment"
    doubled = analysis.w2(np.repeat(a, 2, axis=0), np.repeat(b, 6, axis=0))
    assert found.value == pytest.approx(doubled, rel=1e-12)


def test_other_programs_agree(rng):
    ot = pytest.importorskip("ot", reason="POT, the extra `ot`, is not installed")
    a, b = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)) + 0.3
    w_a, w_b = weights(rng, 30), weights(rng, 20)
    expected = np.sqrt(ot.emd2(w_a, w_b, ot.dist(a, b)))
    found = analysis.w2_estimate(a, b, w_a, w_b)
    assert found.method == "transport"
    assert found.value == pytest.approx(expected, rel=1e-12)
    expected = np.sqrt(ot.emd2([], [], ot.dist(a, b)))
    assert analysis.w2(a, b) == pytest.approx(expected, rel=1e-12)
    expected = np.sqrt(ot.emd2_1d(a[:, 0], b[:, 0], w_a, w_b))
    assert analysis.w2(a[:, 0], b[:, 0], w_a, w_b) == pytest.approx(expected, rel=1e-10)
    # Sizes whose least common multiple is above the bound.
    a, b = rng.normal(size=(64, 2)), rng.normal(size=(63, 2))
    found = analysis.w2_estimate(a, b)
    assert found.method == "transport"
    expected = np.sqrt(ot.emd2([], [], ot.dist(a, b)))
    assert found.value == pytest.approx(expected, rel=1e-10)


def split_law(generator, n, total):
    """Whole numbers that share out `total`: weights, and how often to repeat."""
    return generator.multinomial(total - n, np.full(n, 1 / n)) + 1


def by_repetition(a, b, copies_a, copies_b):
    """W2 of clouds with weights copies / sum, by a matching of equal masses."""
    return analysis.w2(np.repeat(a, copies_a, axis=0), np.repeat(b, copies_b, axis=0))


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e-8, 1e-7, 1e-5, 1.0, 1e12, 1e200])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3])
def test_the_unit_of_the_parameters_does_not_matter(rng, scale, offset):
    pytest.importorskip("ot", reason="POT, the extra `ot`, is not installed")
    a, b = rng.normal(size=(2, 20, 2)) * [1.0, 0.3]
    copies = split_law(rng, 20, 60), split_law(rng, 20, 60)
    w_a, w_b = (each / 60 for each in copies)
    if offset > 0.0 and 1e-10 < scale < 1e10:
        # Rounded as they are after the offset.
        a, b = (((offset + scale * each) - offset) / scale for each in (a, b))
    else:
        offset = 0.0
    expected = scale * by_repetition(a, b, *copies)
    here, there = offset + scale * a, offset + scale * b
    found = analysis.w2_estimate(here, there, w_a, w_b)
    assert found.method == "transport"
    assert found.value == pytest.approx(expected, rel=1e-12, abs=0)
    lines = analysis.w2(here[:, 0], there[:, 0], w_a, w_b)
    repeated = scale * by_repetition(a[:, :1], b[:, :1], *copies)
    assert lines == pytest.approx(repeated, rel=1e-12, abs=0)
    options = {"method": "sliced", "n_projections": 8}
    sliced = analysis.w2_estimate(here, there, w_a, **options)
    wanted = analysis.w2_estimate(a, b, w_a, **options)
    assert sliced.value == pytest.approx(scale * wanted.value, rel=1e-12, abs=0)
    error = scale * wanted.standard_error
    assert sliced.standard_error == pytest.approx(error, rel=1e-10, abs=0)


@pytest.mark.parametrize("radius", [1e-3, 1e-5, 1e-7, 1e-8])
def test_small_clusters_far_apart_are_resolved(rng, radius):
    """Costs of 1 and of radius^2 in one transport."""
    pytest.importorskip("ot", reason="POT, the extra `ot`, is not installed")
    places = np.repeat([0.0, 1.0, -1.0], 8)[:, np.newaxis]
    a, b = places + radius * rng.normal(size=(2, 24, 3))
    a, b = a[:23], np.concatenate([b, b[:2]])
    copies = [
        np.concatenate([split_law(rng, n, 20) for n in sizes])
        for sizes in ((8, 8, 7), (8, 8, 8))
    ]
    # Duplicates of two particles, which share their masses.
    copies[1][:2] += 3
    copies[0][:1] += 12
    copies[1] = np.concatenate([copies[1], [3, 3]])
    expected = by_repetition(a, b, *copies)
    assert radius < expected < 10 * radius
    weights = [each / each.sum() for each in copies]
    assert analysis.w2(a, b, *weights) == pytest.approx(expected, rel=1e-12, abs=0)


def test_linear_programming_agrees_on_clouds_with_duplicates(rng):
    pytest.importorskip("ot", reason="POT, the extra `ot`, is not installed")
    a = rng.integers(0, 3, size=(9, 2)).astype(float)
    b = rng.integers(0, 3, size=(7, 2)).astype(float)
    w_a, w_b = weights(rng, 9), weights(rng, 7)
    cost = np.sum((a[:, np.newaxis] - b) ** 2, axis=2)
    rows = [np.kron(np.eye(9), np.ones(7)), np.kron(np.ones(9), np.eye(7))]
    best = scipy.optimize.linprog(
        cost.ravel(), A_eq=np.concatenate(rows), b_eq=np.concatenate([w_a, w_b])
    )
    for scale in (1e-12, 1e-7, 1.0, 1e12):
        found = analysis.w2(scale * a, scale * b, w_a, w_b) / scale
        assert found == pytest.approx(np.sqrt(best.fun), rel=1e-9, abs=0)
    assert analysis.w2(a, np.repeat(a, 2, axis=0), w_a, np.repeat(w_a, 2) / 2) == 0.0


def test_rounding_of_sums_of_weights_is_no_distance():
    """0.1 + 0.2 is above 0.3 by 5e-17."""
    pytest.importorskip("ot", reason="POT, the extra `ot`, is not installed")
    w_a, w_b = [0.1, 0.2, 0.7], [0.3, 0.7]
    assert analysis.w2([0.0, 0.0, 1.0], [0.0, 1.0], w_a, w_b) == 0.0
    a, b = np.eye(2)[[0, 0, 1]], np.eye(2)
    assert analysis.w2(a, b, w_a, w_b) == 0.0
    # A particle of less weight than that counts.
    far = analysis.w2([0.0, -1e10], [0.0], [1.0, 1e-20])
    assert far == pytest.approx(1.0, rel=1e-12, abs=0)


@pytest.mark.parametrize("k", [2, 4])
def test_slices_far_from_the_origin_keep_their_digits(rng, k):
    shift = rng.normal(size=k)
    a = 1e9 + rng.integers(-8, 9, size=(30, k)) / 8
    b = a[::-1] + np.round(shift * 64) / 64
    found = analysis.w2(a, b, method="sliced", n_projections=k)
    assert found == pytest.approx(
        np.linalg.norm(np.round(shift * 64) / 64), rel=1e-12, abs=0
    )


def test_without_pot_the_sentence_names_the_extra(rng, monkeypatch):
    original = builtins.__import__

    def without_pot(name, *args, **options):
        if name == "ot":
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_pot)
    a, w = rng.normal(size=(4, 2)), weights(rng, 4)
    with pytest.raises(ImportError, match=r"pip install 'mfpde\[ot\]'.*'sliced'"):
        analysis.w2(a, a, w)
    assert analysis.w2(a, a, w, method="sliced") > 0.0


def test_slices_of_weighted_clouds_are_those_of_duplicates(rng):
    """Weights that are whole numbers of equal masses, in three ways of computing."""
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(6, 4))
    copies = [1, 2, 3]
    options = {"method": "sliced", "n_projections": 40, "seed": 5}
    weighted = analysis.w2(a, b, np.array(copies) / 6, **options)
    equal = analysis.w2(np.repeat(a, copies, axis=0), b, **options)
    assert weighted == pytest.approx(equal, rel=1e-12)
    longer = analysis.w2(np.repeat(a, np.multiply(copies, 2), axis=0), b, **options)
    assert longer == pytest.approx(equal, rel=1e-12)


def test_slices_bound_the_distance_from_below_with_a_true_error(rng):
    a, b = rng.normal(size=(200, 5)), 2.0 * rng.normal(size=(200, 5))
    exact = analysis.w2(a, b)
    few = [
        analysis.w2_estimate(a, b, method="sliced", n_projections=20, seed=seed)
        for seed in range(100)
    ]
    many = analysis.w2_estimate(a, b, method="sliced", n_projections=5000)
    assert 0.0 < many.standard_error < 1e-2 * many.value
    assert many.value < exact
    spread = np.std([each.value for each in few])
    stated = np.sqrt(np.mean([each.standard_error**2 for each in few]))
    # The spread of 100 values is known to 7 %, the stated variance is of 4 frames.
    assert 0.8 < stated / spread < 1.25
    assert np.mean([e.value for e in few]) == pytest.approx(many.value, abs=spread)
    assert np.isnan(
        analysis.w2_estimate(a, b, method="sliced", n_projections=5).standard_error
    )


def test_the_method_is_chosen_by_the_stated_size(rng, monkeypatch):
    monkeypatch.setattr(clouds, "EXACT_SIZE", 32)
    small, large = rng.normal(size=(32, 2)), rng.normal(size=(33, 2))
    assert analysis.w2_estimate(small, small).method == "assignment"
    assert analysis.w2_estimate(large, large).method == "sliced"
    assert analysis.w2_estimate(large, large, method="exact").method == "assignment"
    assert analysis.w2_estimate(large[:, 0], large[:, 0]).method == "quantiles"


# Gaussians


def test_gaussians_have_the_distance_of_bures(rng):
    k = 4
    means, roots = rng.normal(size=(2, k)), rng.normal(size=(2, k, k))
    a, b = roots[0] @ roots[0].T, roots[1] @ roots[1].T
    root = scipy.linalg.sqrtm(a)
    trace = np.trace(a + b - 2 * scipy.linalg.sqrtm(root @ b @ root).real)
    expected = np.sqrt(np.sum((means[0] - means[1]) ** 2) + trace)
    found = analysis.bures(means[0], a, means[1], b)
    assert found == pytest.approx(expected, rel=1e-8)
    # Near laws, where the formula with traces has lost all digits.
    shifted = analysis.bures(means[0], a, means[0], a * (1 + 1e-12) ** 2)
    assert shifted == pytest.approx(1e-12 * np.sqrt(np.trace(a)), rel=1e-2)
    # Singular: a point and a Gaussian.
    assert analysis.bures([0, 0], np.zeros((2, 2)), [3, 4], np.eye(2)) == (
        pytest.approx(np.sqrt(25 + 2))
    )


@pytest.mark.parametrize("scale", [1e-170, 1e-100, 1e-12, 1.0, 1e12, 1e150])
@pytest.mark.parametrize("rank", [0, 1, 3, 4])
def test_gaussians_in_a_plane_have_their_distance_in_every_unit(rng, scale, rank):
    factor = rng.normal(size=(4, rank))
    cov, mean, shift = factor @ factor.T, rng.normal(size=4), rng.normal(size=4)

    def distance(move, stretch):
        covs = (each * scale * scale for each in (cov, cov * stretch**2))
        a, b = covs
        return analysis.bures(scale * mean, a, scale * (mean + move), b) / scale

    size = np.sqrt(np.trace(cov))
    # 1e-170^2 is below the smallest number.
    size = size if scale > 1e-160 else 0.0
    assert distance(0.0, 1.0) == 0.0
    for stretch in (1.0, 1.0 + 2.0**-30, 3.0):
        expected = np.sqrt(np.sum(shift**2) + (size * (stretch - 1.0)) ** 2)
        assert distance(shift, stretch) == pytest.approx(expected, rel=1e-10)
    # Rounding of a covariance without full rank moves its root by 1e-8.
    bound = 1e-15 if rank == 4 else 3e-8 * size
    near = distance(0.0, 1.0 + 2.0**-30)
    assert near == pytest.approx(size * 2.0**-30, rel=1e-2, abs=bound)


def test_clouds_of_gaussian_quantiles_approach_the_closed_form():
    """In one dimension: a deterministic cloud of each law."""
    u = (np.arange(4000) + 0.5) / 4000
    a = scipy.stats.norm.ppf(u)
    found = analysis.w2(a, 1.0 + 3.0 * a)
    expected = analysis.bures([0.0], [[1.0]], [1.0], [[9.0]])
    assert expected == pytest.approx(np.sqrt(5.0))
    # The tails beyond the last quantiles are what is missing.
    assert found == pytest.approx(expected, rel=1e-3)


def test_linear_maps_of_a_cloud_are_optimal(rng):
    """Gradients of convex functions are optimal maps, whatever the cloud."""
    a = rng.normal(size=(300, 3))
    root = rng.normal(size=(3, 3))
    b = a @ (root @ root.T) + 1.0
    expected = np.sqrt(np.mean(np.sum((a - b) ** 2, axis=1)))
    assert analysis.w2(a, rng.permutation(b)) == pytest.approx(expected, rel=1e-12)


# Laws on depth


def test_laws_on_depth_are_compared_node_by_node(rng):
    a, shift = rng.normal(size=(3, 20, 2)), np.array([0.1, 0.5, 0.2])
    b = a[:, rng.permutation(20)] + shift[:, np.newaxis, np.newaxis] / np.sqrt(2)
    np.testing.assert_allclose(analysis.w2_depth(a, b), shift, rtol=1e-10)
    assert analysis.w2_sup(a, b) == pytest.approx(0.5)
    t_weights = np.array([0.5, 0.2, 0.3])
    found = analysis.w2_integrated(a, b, t_weights=t_weights)
    assert found == pytest.approx(np.sqrt(t_weights @ shift**2))
    assert analysis.w2_integrated(a, b) == pytest.approx(np.sqrt(np.mean(shift**2)))
    options = {"method": "sliced", "n_projections": 2}
    np.testing.assert_allclose(analysis.w2_depth(a, b, **options), shift)


def test_matched_particles_are_at_least_as_far_apart(rng):
    a, b = rng.normal(size=(2, 4, 15, 3))
    w, t_weights = weights(rng, 15), weights(rng, 4)
    expected = sum(
        t_weights[j] * w[m] * np.sum((a[j, m] - b[j, m]) ** 2)
        for j in range(4)
        for m in range(15)
    )
    found = analysis.coupled_distance(a, b, w, t_weights=t_weights)
    assert found == pytest.approx(np.sqrt(expected), rel=1e-12)
    assert analysis.coupled_distance(a, b) >= analysis.w2_integrated(a, b)


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1e12, 1e200])
def test_laws_on_depth_in_other_units(rng, scale):
    a, b = rng.normal(size=(2, 3, 8, 2))
    for distance in (analysis.coupled_distance, analysis.w2_integrated):
        found = distance(scale * a, scale * b)
        assert found == pytest.approx(scale * distance(a, b), rel=1e-12, abs=0)


def test_common_nodes_are_found_to_rounding():
    rows = analysis.common_nodes(np.arange(8) / 8, np.arange(24) * (1.0 / 24))
    np.testing.assert_array_equal(rows[0], np.arange(8))
    np.testing.assert_array_equal(rows[1], 3 * np.arange(8))
    rows = analysis.common_nodes([0.0, 0.3, 100.0], [0.1, 0.3, 0.4, 100.0 + 1e-8])
    np.testing.assert_array_equal(rows, [[1, 2], [1, 3]])
    assert len(analysis.common_nodes([0.5], [0.25])[0]) == 0
    assert len(analysis.common_nodes([0.25], [0.25])[0]) == 1
    assert len(analysis.common_nodes([], [0.25])[0]) == 0


def test_the_baseline_tells_equal_laws_from_different_ones(rng):
    a, b = rng.normal(size=(2, 2, 60, 2))
    other = b + 0.8
    baseline = analysis.same_law_baseline(a, b, n_splits=39)
    assert (baseline.kind, baseline.sizes) == ("permutation", (60, 60))
    assert len(baseline.values) == 39
    near, far = analysis.w2_integrated(a, b), analysis.w2_integrated(a, other)
    assert baseline.p_value(near) > 0.1
    assert analysis.same_law_baseline(a, other, n_splits=39).p_value(far) == 1 / 40
    # Fresh samples of the same law lie where the permutations do.
    fresh = [
        analysis.w2_integrated(*np.random.default_rng(i).normal(size=(2, 2, 60, 2)))
        for i in range(20)
    ]
    assert np.mean(fresh) == pytest.approx(baseline.mean, rel=0.1)
    halves = analysis.same_law_baseline(a, n_splits=9)
    assert (halves.kind, halves.sizes) == ("split", (30, 30))
    assert halves.mean > baseline.mean
    assert baseline.quantile(0.0) == baseline.values.min()
    sample = analysis.same_law_baseline(a, b, kind="sample")
    assert sample.values == pytest.approx([near])
    assert analysis.same_law_baseline(a[0], n_splits=2).values.shape == (2,)


# Sentences


CLOUD = np.arange(12.0).reshape(2, 3, 2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: analysis.w2(CLOUD, CLOUD), r"\(n_particles, n_params\)"),
        (lambda: analysis.w2(CLOUD[0], [[1.0]]), "same number of parameters.*2 and 1"),
        (lambda: analysis.w2([], [1.0]), r"`a` must have shape"),
        (lambda: analysis.w2([np.nan], [1.0]), "`a` must be finite"),
        (lambda: analysis.w2(CLOUD[0], CLOUD[0], [1, 1, 1]), "sum to 1"),
        (lambda: analysis.w2([1.0], [1.0], method="slice"), "Did you mean 'sliced'"),
        (lambda: analysis.w2([1.0], [1.0], n_projections=0), "`n_projections`"),
        (lambda: analysis.w2_depth(CLOUD, CLOUD[:1]), "same depth nodes, got 2 and 1"),
        (lambda: analysis.w2_depth(CLOUD[0], CLOUD), "`theta_a` must have shape"),
        (
            lambda: analysis.w2_integrated(CLOUD, CLOUD, t_weights=[1.0]),
            r"`t_weights` must have shape \(n_nodes,\) = \(2,\)",
        ),
        (
            lambda: analysis.coupled_distance(CLOUD, CLOUD[:, :2]),
            "particle by particle",
        ),
        (lambda: analysis.same_law_baseline(CLOUD, kind="sample"), "second cloud"),
        (lambda: analysis.same_law_baseline(CLOUD, CLOUD, kind="split"), "no `other`"),
        (lambda: analysis.same_law_baseline(CLOUD, kind="halves"), "one of split"),
        (lambda: analysis.same_law_baseline(CLOUD, n_splits=0), "`n_splits`"),
        (lambda: analysis.same_law_baseline(CLOUD[:, :1]), "two particles"),
        (lambda: analysis.same_law_baseline(CLOUD, CLOUD[:1]), "same nodes"),
        (lambda: analysis.bures([0.0], [[1.0]], [0.0, 0.0], np.eye(2)), "one shape"),
        (lambda: analysis.bures([0.0], [[-1.0]], [0.0], [[1.0]]), "semidefinite"),
        (lambda: analysis.bures([0.0], np.eye(2), [0.0], [[1.0]]), "`cov_a` must have"),
    ],
)
def test_what_has_no_distance_is_said(call, words):
    with pytest.raises(ValueError, match=words):
        call()
