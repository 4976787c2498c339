"""Which samples train and which test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import as_array, checked, number, seed_number, whole
from mfpde.data.targets import integer_labels

FRACTION = number(0.0, below=1.0)


@checked(n_samples=whole(1), test_fraction=FRACTION, seed=seed_number)
def split(
    n_samples: int,
    test_fraction: float,
    seed: int = 0,
    stratify: ArrayLike | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the rows 0, ..., n_samples - 1 at random into training and test rows.

    Parameters
    ----------
    n_samples : int
        Number N of samples.
    test_fraction : float
        In [0, 1); round(test_fraction N) rows are test rows.
    seed : int
        Seed of the split.
    stratify : array of int, shape (N,), optional
        Labels; every class then has its share of the test rows to within one, and
        always a training row.

    Returns
    -------
    train_index, test_index : ndarray of int
        Both sorted.

    Raises
    ------
    ValueError
        If the fraction is out of range, or leaves either part empty.
    """
    n_test = round(test_fraction * n_samples)
    if test_fraction > 0 and not 0 < n_test < n_samples:
        raise ValueError(
            f"`test_fraction` = {test_fraction} of {n_samples} samples leaves the "
            f"{'test' if n_test == 0 else 'training'} set empty."
        )
    # The second word keeps this stream apart from those of the generators.
    rng = np.random.default_rng([seed, 1])
    if stratify is None:
        test = rng.permutation(n_samples)[:n_test]
    else:
        labels = integer_labels(stratify, "stratify")
        if len(labels) != n_samples:
            raise ValueError(
                f"`stratify` must have shape ({n_samples},), got ({len(labels)},)."
            )
        classes, counts = np.unique(labels, return_counts=True)
        seats = _proportional_seats(counts, n_test)
        if test_fraction > 0 and not seats.any():
            raise ValueError(
                f"`test_fraction` = {test_fraction} leaves the test set empty, since "
                f"each of the {len(classes)} classes keeps a training sample. Do not "
                "stratify."
            )
        test = np.concatenate(
            [
                rng.permutation(np.flatnonzero(labels == label))[:n_seats]
                for label, n_seats in zip(classes, seats, strict=True)
            ]
        )
    is_test = np.zeros(n_samples, dtype=bool)
    is_test[test] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def given_split(
    n_samples: int, test_index: ArrayLike, test_fraction: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Check rows given as test rows and return training and test rows."""
    if test_fraction:
        raise ValueError("`test_fraction` must be 0 when test samples are given.")
    test = as_array("test_index", test_index)
    if test.dtype.kind not in "iu" or test.ndim != 1:
        raise TypeError(
            "`test_index` must be row numbers of shape (n_test,), got dtype "
            f"{test.dtype} and shape {test.shape}."
        )
    outside = np.any((test < 0) | (test >= n_samples))
    if outside or len(np.unique(test)) < len(test):
        raise ValueError(
            f"`test_index` must be different rows in 0, ..., {n_samples - 1}."
        )
    if len(test) == n_samples:
        raise ValueError("`test_index` leaves the training set empty.")
    return np.setdiff1d(np.arange(n_samples), test), test


def _proportional_seats(counts: NDArray[np.int64], n_test: int) -> NDArray[np.int64]:
    """Distribute `n_test` test rows over classes by largest remainder.

    A class keeps at least one training row, so fewer rows may be distributed.
    """
    quota = counts * (n_test / counts.sum())
    seats = np.floor(quota).astype(np.int64)
    for i in np.argsort(seats - quota, kind="stable"):
        if seats.sum() < n_test and seats[i] < counts[i] - 1:
            seats[i] += 1
    return seats
