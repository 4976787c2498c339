"""From raw samples to a `Dataset`: split, standardise, project, pad, encode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    checked,
    choice,
    flag,
    optional,
    positive,
    seed_number,
    sequence,
    text,
    whole,
)
from mfpde.data.checks import sample_matrix
from mfpde.data.preprocessing import (
    fill_values,
    filled,
    fit,
    inverse_transform,
    inverse_transform_targets,
    standardisation,
    standardised,
    transform,
)
from mfpde.data.splitting import FRACTION, given_split, split
from mfpde.data.targets import TARGETS, Target, label_targets, value_targets

_DIMENSIONS = {
    "mean": ("raw_component",),
    "std": ("raw_component",),
    "components": ("principal_component", "raw_component"),
    "component_std": ("principal_component",),
    "explained_variance_ratio": ("principal_component",),
    "fill": ("raw_component",),
    "scale": (),
    "n_padding": (),
    "y_mean": ("y_component",),
    "y_std": ("y_component",),
    "train_index": ("sample",),
    "test_index": ("test_sample",),
}


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples ready for `MeanFieldProblem`, with what was done to them.

    Attributes
    ----------
    x : ndarray, shape (N, d)
        Training inputs.
    y : ndarray, shape (N, q)
        Training targets, encoded for the loss.
    x_test, y_test : ndarray or None, shapes (N_test, d) and (N_test, q)
        Test samples.
    labels, labels_test : ndarray of int or None, shapes (N,) and (N_test,)
        Classes, as positions in `class_names`.
    class_names, feature_names : tuple of str
        Names of the classes and of the columns of `x`.
    raw_names, target_names, column_names : tuple of str
        Names of the raw features, of the columns of the target, and of all columns of
        the files.
    sources : tuple of (str, str)
        Name and SHA-256 checksum of every file.
    n_dropped : int
        Rows of the files that were left out because a value is missing.
    preprocessing : mapping of str to ndarray
        mean and std (d_raw,), scale (), n_padding (), train_index (N,), test_index
        (N_test,); after PCA also components (c, d_raw), component_std (c,) and
        explained_variance_ratio (c,); with missing values filled in, fill (d_raw,);
        with standardised targets, y_mean and y_std (q,). The indices are rows of the
        raw samples.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_test: NDArray[np.float64] | None = None
    y_test: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None
    labels_test: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    preprocessing: Mapping[str, NDArray] | None = None
    raw_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    n_dropped: int = 0

    def transform(self, x_raw: ArrayLike) -> NDArray[np.float64]:
        """Map raw inputs (n, d_raw) to inputs (n, d), as was done to the samples."""
        return transform(self._fitted(), x_raw)

    def inverse_transform(self, x: ArrayLike) -> NDArray[np.float64]:
        """Map inputs (n, d) to raw inputs (n, d_raw); see `inverse_transform`."""
        return inverse_transform(self._fitted(), x)

    def inverse_transform_targets(self, y: ArrayLike) -> NDArray[np.float64]:
        """Map targets or outputs (n, q) to the units of the raw targets."""
        return inverse_transform_targets(self._fitted(), y)

    @property
    def y_std(self) -> NDArray[np.float64] | None:
        """By which the raw targets were divided, (q,); None if they were not."""
        return (self.preprocessing or {}).get("y_std")

    def extra_data(self) -> dict[str, tuple[NDArray, tuple[str, ...]]]:
        """Return all but x and y for the run file: name -> (array, dimensions)."""
        extra: dict[str, tuple[NDArray, tuple[str, ...]]] = {}
        for name, value, dimensions in (
            ("x_test", self.x_test, ("test_sample", "x_component")),
            ("y_test", self.y_test, ("test_sample", "y_component")),
            ("labels", self.labels, ("sample",)),
            ("labels_test", self.labels_test, ("test_sample",)),
        ):
            if value is not None:
                extra[name] = value, dimensions
        files, checksums = zip(*self.sources, strict=True) if self.sources else ((), ())
        for name, texts, dimension in (
            ("class_name", self.class_names, "class"),
            ("feature_name", self.raw_names, "raw_component"),
            ("x_name", self.feature_names, "x_component"),
            ("target_name", self.target_names, "target"),
            ("column_name", self.column_names, "column"),
            ("source_file", files, "source"),
            ("source_sha256", checksums, "source"),
        ):
            if texts:
                extra[name] = np.array(texts, dtype=object), (dimension,)
        for name, value in (self.preprocessing or {}).items():
            if value.size:
                extra[name] = value, _DIMENSIONS[name]
        return extra

    def summary(self) -> str:
        """Return one line: samples, features, components, outputs or classes."""
        line = f"{len(self.x)} training samples"
        if self.x_test is not None:
            line += f" and {len(self.x_test)} test samples"
        if self.n_dropped:
            line += f" ({self.n_dropped} rows with missing values left out)"
        arrays = self.preprocessing or {}
        line += f", {len(arrays['mean']) if arrays else self.x.shape[1]} features"
        if "components" in arrays:
            share = 100 * float(arrays["explained_variance_ratio"].sum())
            line += f" -> {len(arrays['components'])} principal components"
            line += f" ({share:.1f} % of the variance)"
        if arrays and arrays["n_padding"]:
            line += f", padded to {self.x.shape[1]}"
        if self.class_names:
            return f"{line}, {len(self.class_names)} classes"
        if "y_std" in arrays:
            return f"{line}, {self.y.shape[1]} outputs, standardised"
        return f"{line}, {self.y.shape[1]} outputs"

    def _fitted(self) -> Mapping[str, NDArray]:
        if self.preprocessing is None:
            raise ValueError("This data set has no `preprocessing`; use `prepare`.")
        return self.preprocessing


@checked(
    target=choice(*TARGETS),
    test_fraction=FRACTION,
    stratify=flag,
    seed=seed_number,
    standardise=flag,
    standardise_target=flag,
    fill_missing=flag,
    pca=optional(whole(1)),
    whiten=flag,
    scale=positive,
    pad_to=optional(whole(1)),
    class_names=sequence(text),
    feature_names=sequence(text),
    target_names=sequence(text),
)
def prepare(
    x: ArrayLike,
    labels_or_y: ArrayLike,
    *,
    target: Target = "one_hot",
    test_fraction: float = 0.0,
    test_index: ArrayLike | None = None,
    stratify: bool = True,
    seed: int = 0,
    standardise: bool = False,
    standardise_target: bool = False,
    fill_missing: bool = False,
    pca: int | None = None,
    whiten: bool = False,
    scale: float = 1.0,
    pad_to: int | None = None,
    class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
    target_names: Sequence[str] = (),
) -> Dataset:
    """Split, standardise, project, scale, pad and encode raw samples.

    Parameters
    ----------
    x : array, shape (N, d_raw)
        Raw inputs.
    labels_or_y : array, shape (N,) or (N, q)
        Integer labels of shape (N,), or for the target "value" numbers.
    target : str
        How targets are encoded: "one_hot", "signs" (-1 and 1, two classes), or "value"
        (numbers as they are; there are no labels then).
    test_fraction : float
        Share of the samples that is set apart for testing.
    test_index : array of int, optional
        Rows to set apart, instead of `test_fraction`.
    stratify : bool
        Whether each class has its share of the test samples; only with labels.
    seed : int
        Seed of the split.
    standardise : bool
        Whether to bring every feature to mean 0 and standard deviation 1.
    standardise_target : bool
        The same for the target "value"; `inverse_transform_targets` undoes it.
    fill_missing : bool
        Whether NaN in `x` is a missing value and replaced by the mean of the training
        samples that have one.
    pca : int, optional
        Number of principal components to keep.
    whiten : bool
        Whether to bring the components to standard deviation 1.
    scale : float
        Factor of the inputs after all that.
    pad_to : int, optional
        Number d of columns; zeros are appended. A flow in more dimensions can untangle
        what a flow of the plane cannot.
    class_names, feature_names, target_names : sequence of str, optional
        Names of all classes, of the raw features and of the target's columns.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError
        If inputs or targets have the wrong dtype.
    ValueError
        If shapes, values or options are wrong, or there is one class only.

    Warns
    -----
    DataWarning
        If there are more classes than half of the samples.
    """
    x = sample_matrix("x", x, may_be_missing=fill_missing)
    if target == "value":
        labels, y = None, value_targets(labels_or_y)
    else:
        labels, y, class_names = label_targets(labels_or_y, target, class_names)
    if standardise_target and target != "value":
        raise ValueError(
            "`standardise_target` must be left out with classes: it is for a "
            "regression."
        )
    if len(y) != len(x):
        raise ValueError(
            f"The targets must have one row for each of the {len(x)} samples of `x`, "
            f"got {len(y)}."
        )
    if test_index is None:
        train, test = split(len(x), test_fraction, seed, labels if stratify else None)
    else:
        train, test = given_split(len(x), test_index, test_fraction)
    if fill_missing:
        fill = fill_values(x[train], feature_names)
        x = filled(x, fill)
    preprocessing = fit(x[train], standardise, pca, whiten, scale, pad_to)
    if fill_missing:
        preprocessing["fill"] = fill
    if standardise_target:
        mean, std = standardisation(y[train])
        preprocessing |= {"y_mean": mean, "y_std": std}
        y = standardised(y, mean, std)
    # First what takes the most memory: without it nothing else is tried.
    x_train = transform(preprocessing, x[train])
    names = _column_names(feature_names, preprocessing)
    preprocessing |= {"train_index": train, "test_index": test}
    has_test = len(test) > 0
    return Dataset(
        x=x_train,
        y=y[train],
        x_test=transform(preprocessing, x[test]) if has_test else None,
        y_test=y[test] if has_test else None,
        labels=None if labels is None else labels[train],
        labels_test=labels[test] if has_test and labels is not None else None,
        class_names=() if labels is None else tuple(class_names),
        feature_names=names,
        preprocessing=preprocessing,
        raw_names=tuple(feature_names) or tuple(f"x{i}" for i in range(x.shape[1])),
        target_names=tuple(target_names),
    )


def _column_names(
    feature_names: Sequence[str], preprocessing: Mapping[str, NDArray]
) -> tuple[str, ...]:
    """Name the columns of the prepared inputs."""
    d_raw = len(preprocessing["mean"])
    if feature_names and len(feature_names) != d_raw:
        raise ValueError(
            f"`feature_names` must name {d_raw} features, got {len(feature_names)}."
        )
    names = list(feature_names) or [f"x{i}" for i in range(d_raw)]
    if "components" in preprocessing:
        names = [f"pc{i}" for i in range(len(preprocessing["components"]))]
    return (*names, *(f"pad{i}" for i in range(int(preprocessing["n_padding"]))))
