"""The affine map of the inputs, fitted on the training samples alone.

    x -> pad( scale * ((x - mean) / std) components^T / component_std )

Its arrays are a plain mapping, so that a run file can hold them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, mapping, shown, whole
from mfpde.data.checks import sample_matrix

# Entries of a column that differ by at most so many units in the last place are equal:
# a column that was computed, not measured, is constant to its rounding.
_ROUNDING_ULPS = 10


def standardisation(
    x: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of every column; constant columns get 1.

    Parameters
    ----------
    x : array, shape (N, d)

    Returns
    -------
    mean, std : ndarray, shape (d,)
        The deviation divides by N, not N - 1. Neither overflows nor underflows.
    """
    x = sample_matrix("x", x)
    # Powers of two scale without rounding; squares of columns within [-1, 1] are safe.
    largest = np.abs(x).max(axis=0)
    exponent = np.frexp(largest)[1]
    unit = np.ldexp(x, -exponent)
    low, high = unit.min(axis=0), unit.max(axis=0)
    # Rounding must not push the mean out of the range; it is exact for a constant.
    mean = np.clip(unit.mean(axis=0), low, high)
    std = np.ldexp(np.sqrt(np.mean((unit - mean) ** 2, axis=0)), exponent)
    spread = np.ldexp(high - low, exponent - 1)  # half of it, which cannot overflow
    is_constant = spread <= 0.5 * _ROUNDING_ULPS * np.spacing(largest)
    return np.ldexp(mean, exponent), np.where(is_constant, 1.0, std)


def standardised(
    x: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(x - mean) / std, where the difference alone might overflow."""
    exponent = np.frexp(std)[1]
    difference = np.ldexp(x, -exponent) - np.ldexp(mean, -exponent)
    return difference / np.ldexp(std, -exponent)


def _unstandardised(
    x: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> NDArray[np.float64]:
    """x std + mean, where the product alone might overflow."""
    exponent = np.frexp(std)[1]
    value = x * np.ldexp(std, -exponent) + np.ldexp(mean, -exponent)
    return np.ldexp(value, exponent)


@checked(n_components=whole(1))
def principal_components(
    x: ArrayLike, n_components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Principal components of centred samples, by singular value decomposition.

    Parameters
    ----------
    x : array, shape (N, d)
        Samples; the mean is subtracted here.
    n_components : int
        Number c of components, at most the rank of the centred samples.

    Returns
    -------
    components : ndarray, shape (c, d)
        Orthonormal rows of falling variance. The entry of largest modulus in each, the
        first of equal ones, is positive, which fixes the signs.
    std : ndarray, shape (c,)
        Standard deviation of the samples along each, dividing by N.
    explained_variance_ratio : ndarray, shape (c,)
        Share of each in the total variance.

    Raises
    ------
    ValueError
        If `n_components` is larger than the rank.
    """
    x = sample_matrix("x", x)
    mean, _ = standardisation(x)
    # A power of two brings the entries to [-1, 1]: no square overflows or underflows.
    exponent = np.frexp(np.abs(x).max())[1]
    x, mean = np.ldexp(x, -exponent), np.ldexp(mean, -exponent)
    _, singular, rows = np.linalg.svd(x - mean, full_matrices=False)
    # The threshold of numpy.linalg.matrix_rank, but for the size of x before centring.
    floor = max(x.shape) * np.finfo(float).eps * np.linalg.norm(x)
    rank = int(np.sum(singular > floor))
    if n_components > rank:
        raise ValueError(
            f"`n_components` (`pca` of `prepare`) must be at most {rank}, the rank of "
            f"{len(x)} samples with {x.shape[1]} features, got {n_components}."
        )
    components = rows[:n_components]
    modulus = np.abs(components)
    # Rounding must not decide between equal entries, as in (1, -1) / sqrt(2).
    largest = (modulus >= (1 - 1e-8) * modulus.max(axis=1, keepdims=True)).argmax(
        axis=1
    )
    sign = np.sign(components[np.arange(n_components), largest])
    share = singular[:n_components] ** 2 / np.sum(singular**2)
    return (
        components * sign[:, None],
        np.ldexp(singular[:n_components] / np.sqrt(len(x)), exponent),
        share,
    )


def fit(
    x: NDArray[np.float64],
    standardise: bool,
    pca: int | None,
    whiten: bool,
    scale: float,
    pad_to: int | None,
) -> dict[str, NDArray]:
    """Fit the affine map of this module to training samples (N, d_raw)."""
    d = x.shape[1]
    arrays = {"mean": np.zeros(d), "std": np.ones(d)}
    if standardise or pca is not None:
        arrays["mean"], std = standardisation(x)
        arrays["std"] = std if standardise else arrays["std"]
    if pca is not None:
        scaled = standardised(x, arrays["mean"], arrays["std"])
        components, std, share = principal_components(scaled, pca)
        arrays["components"] = components
        arrays["component_std"] = std if whiten else np.ones_like(std)
        arrays["explained_variance_ratio"] = share
        d = pca
    elif whiten:
        raise ValueError("`whiten` must come with `pca`, the number of components.")
    if pad_to is not None and pad_to < d:
        raise ValueError(f"`pad_to` must be at least {d}, the columns, got {pad_to}.")
    arrays["scale"] = np.array(scale)
    arrays["n_padding"] = np.array(0 if pad_to is None else pad_to - d)
    return arrays


_FITTED = ("mean", "std", "scale", "n_padding")


def fitted(name: str, value: Any) -> Mapping[str, NDArray]:
    """The arrays of a preprocessing, as `fit` returns them."""
    if not isinstance(value, Mapping):
        raise TypeError(
            f"`{name}` must be `Dataset.preprocessing` or the data of a run file, got "
            f"{shown(value)}."
        )
    lacks = [each for each in _FITTED if each not in value]
    if lacks:
        raise ValueError(
            f"`{name}` must hold {', '.join(_FITTED)}, but has no {lacks[0]!r}: these "
            "samples were not prepared by `prepare`."
        )
    return value


@checked(preprocessing=fitted)
def transform(
    preprocessing: Mapping[str, NDArray], x_raw: ArrayLike
) -> NDArray[np.float64]:
    """Apply a recorded preprocessing to raw inputs.

    Parameters
    ----------
    preprocessing : mapping of str to ndarray
        `Dataset.preprocessing`, or the data of a run file, which hold the same names.
    x_raw : array, shape (n, d_raw)
        May have NaN if missing values were filled in for the samples.

    Returns
    -------
    x : ndarray, shape (n, d)

    Raises
    ------
    ValueError
        If `x_raw` has the wrong number of columns, is not finite, or so far from the
        training samples that the result is not.
    """
    mean, std = preprocessing["mean"], preprocessing["std"]
    fill = preprocessing.get("fill")
    x = sample_matrix("x_raw", x_raw, may_be_missing=fill is not None)
    if x.shape[1] != len(mean):
        raise ValueError(f"`x_raw` must have {len(mean)} columns, got {x.shape[1]}.")
    if fill is not None:
        x = filled(x, fill)
    with np.errstate(over="ignore", invalid="ignore"):
        x = standardised(x, mean, std)
        if "components" in preprocessing:
            x = x @ preprocessing["components"].T / preprocessing["component_std"]
        x = x * preprocessing["scale"]
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0])
        raise ValueError(
            f"Row {row} of `x_raw` is too far from the training samples: its prepared "
            "inputs are not finite."
        )
    return np.pad(x, ((0, 0), (0, int(preprocessing["n_padding"]))))


def fill_values(
    x: NDArray[np.float64], names: Sequence[str] = ()
) -> NDArray[np.float64]:
    """Means (d,) of the values that are there; ValueError if a column has none."""
    fill = np.empty(x.shape[1])
    for i, column in enumerate(x.T):
        values = column[~np.isnan(column)]
        if not len(values):
            raise ValueError(
                f"Feature {names[i] if names else i!r} has no value in any training "
                "sample, so that there is none to fill in. Leave it out."
            )
        fill[i] = standardisation(values[:, None])[0][0]
    return fill


def filled(x: NDArray[np.float64], fill: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put `fill` (d,) in the place of NaN in x (n, d)."""
    return np.where(np.isnan(x), fill, x)


@checked(preprocessing=mapping)
def inverse_transform_targets(
    preprocessing: Mapping[str, NDArray], y: ArrayLike
) -> NDArray[np.float64]:
    """Map targets or outputs back to the units of the raw targets.

    Parameters
    ----------
    preprocessing : mapping of str to ndarray
        As for `transform`; without standardised targets, `y` comes back.
    y : array, shape (n, q)

    Returns
    -------
    y_raw : ndarray, shape (n, q)

    Raises
    ------
    ValueError
        If `y` has the wrong number of columns or is not finite.
    """
    y = sample_matrix("y", y)
    if "y_std" not in preprocessing:
        return y
    mean, std = preprocessing["y_mean"], preprocessing["y_std"]
    if y.shape[1] != len(mean):
        raise ValueError(f"`y` must have {len(mean)} columns, got {y.shape[1]}.")
    return _unstandardised(y, mean, std)


@checked(preprocessing=fitted)
def inverse_transform(
    preprocessing: Mapping[str, NDArray], x: ArrayLike
) -> NDArray[np.float64]:
    """Map inputs back to raw inputs.

    Padding is dropped. After PCA with fewer components than features this gives the
    raw input nearest to the mean among those that `transform` maps to `x`.

    Parameters
    ----------
    preprocessing : mapping of str to ndarray
        As for `transform`.
    x : array, shape (n, d)

    Returns
    -------
    x_raw : ndarray, shape (n, d_raw)

    Raises
    ------
    ValueError
        If `x` has the wrong number of columns or is not finite.
    """
    components = preprocessing.get("components", preprocessing["mean"])
    n_used, n_padding = len(components), int(preprocessing["n_padding"])
    x = sample_matrix("x", x)
    if x.shape[1] != n_used + n_padding:
        raise ValueError(
            f"`x` must have {n_used + n_padding} columns, got {x.shape[1]}."
        )
    x = x[:, :n_used] / preprocessing["scale"]
    if "components" in preprocessing:
        x = (x * preprocessing["component_std"]) @ preprocessing["components"]
    return _unstandardised(x, preprocessing["mean"], preprocessing["std"])
