"""Targets as the losses want them: one-hot, signs, values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import as_array, check_size, checked, whole
from mfpde.data.checks import real_array
from mfpde.data.classes import check_classes

Target = Literal["one_hot", "signs", "value"]
TARGETS = get_args(Target)


@checked(n_classes=whole(2))
def one_hot(labels: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Encode labels 0, ..., n_classes - 1 for the loss "cross_entropy".

    Parameters
    ----------
    labels : array of int, shape (N,)
    n_classes : int
        The number q of classes, at least 2.

    Returns
    -------
    y : ndarray, shape (N, n_classes)
        One in the column of the label, else zero.

    Raises
    ------
    TypeError
        If the labels are not integers.
    ValueError
        If a label is out of its domain; the message has the first such index.
    """
    labels = integer_labels(labels)
    outside = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if len(outside):
        raise ValueError(
            f"`labels` must lie in 0, ..., {n_classes - 1} for {n_classes} classes, "
            f"got {labels[outside[0]]} at index {outside[0]}."
        )
    check_size("n_classes", len(labels), n_classes)
    y = np.zeros((len(labels), n_classes))
    y[np.arange(len(labels)), labels] = 1.0
    return y


def signs(labels: ArrayLike) -> NDArray[np.float64]:
    """Encode two classes as -1 and 1 for the loss "logistic".

    Parameters
    ----------
    labels : array of int, shape (N,)
        Either 0 and 1, or -1 and 1 already.

    Returns
    -------
    y : ndarray, shape (N, 1)

    Raises
    ------
    TypeError
        If the labels are not integers.
    ValueError
        If a label is out of its domain; the message has the first such index.
    """
    labels = integer_labels(labels)
    low = -1 if np.any(labels == -1) else 0
    outside = np.flatnonzero((labels != low) & (labels != 1))
    if len(outside):
        raise ValueError(
            "`labels` must be 0 and 1, or -1 and 1, for signs, got "
            f"{labels[outside[0]]} at index {outside[0]}. Keep two classes, or use "
            "'one_hot'."
        )
    return np.where(labels == 1, 1.0, -1.0)[:, None]


def label_targets(
    labels: ArrayLike, target: str, class_names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64], Sequence[str]]:
    """Return labels 0, 1, ..., their encoding, and a name for every class."""
    labels = integer_labels(labels, "labels_or_y")
    check_classes("The target", labels)
    if target == "signs":
        y = signs(labels)
        if np.any(labels == -1):
            class_names = class_names or ("-1", "1")
            labels = (labels + 1) // 2
        n_classes = 2
    else:
        n_classes = max(2, len(class_names) or int(labels.max(initial=0)) + 1)
        check_size("labels_or_y", len(labels), n_classes)
        y = one_hot(labels, n_classes)
    class_names = class_names or tuple(str(label) for label in range(n_classes))
    if len(class_names) != n_classes:
        raise ValueError(
            f"`class_names` must name {n_classes} classes for {target!r}, got "
            f"{len(class_names)}."
        )
    return labels, y, class_names


def value_targets(y: ArrayLike) -> NDArray[np.float64]:
    """Return targets (N,) or (N, q) as finite float64 of shape (N, q)."""
    y = real_array("labels_or_y", y)
    if y.ndim == 1:
        y = y[:, None]
    if y.ndim != 2 or y.shape[1] == 0:
        raise ValueError(
            f"`labels_or_y` must have shape (n_samples, n_outputs), got {y.shape}."
        )
    return y


def integer_labels(labels: ArrayLike, name: str = "labels") -> NDArray[np.int64]:
    """Return labels (N,) as int64; raise unless they are integers."""
    labels = as_array(name, labels)
    if labels.dtype.kind not in "iub":
        raise TypeError(
            f"`{name}` must be integers, got dtype {labels.dtype}. For numbers to be "
            "fitted use target = 'value'."
        )
    if labels.ndim != 1:
        raise ValueError(f"`{name}` must have shape (n_samples,), got {labels.shape}.")
    return labels.astype(np.int64)
