"""The affine map of the inputs, fitted on the training samples alone.

    x -> pad( scale * ((x - mean) / std) components^T / component_std )

Its arrays are a plain mapping, so that a run file can hold them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.data.checks import integer, positive, sample_matrix


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
        The deviation divides by N, not N - 1.
    """
    x = sample_matrix("x", x)
    mean, std = x.mean(axis=0), x.std(axis=0)
    # Rounding in the mean gives a constant column a deviation of about one ulp.
    is_constant = std <= 10 * np.finfo(float).eps * np.abs(x).max(axis=0)
    return mean, np.where(is_constant, 1.0, std)


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
    n_components = integer("n_components", n_components, 1)
    _, singular, rows = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    # The threshold of numpy.linalg.matrix_rank, but for the size of x before centring.
    floor = max(x.shape) * np.finfo(float).eps * np.linalg.norm(x)
    rank = int(np.sum(singular > floor))
    if n_components > rank:
        raise ValueError(
            f"PCA can keep at most {rank} components, the rank of {len(x)} samples "
            f"with {x.shape[1]} features, got {n_components}."
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
        singular[:n_components] / np.sqrt(len(x)),
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
    if standardise:
        arrays["mean"], arrays["std"] = standardisation(x)
    if pca is not None:
        arrays["mean"] = x.mean(axis=0)
        scaled = (x - arrays["mean"]) / arrays["std"]
        components, std, share = principal_components(scaled, integer("pca", pca, 1))
        arrays["components"] = components
        arrays["component_std"] = std if whiten else np.ones_like(std)
        arrays["explained_variance_ratio"] = share
        d = pca
    elif whiten:
        raise ValueError("`whiten` must come with `pca`, the number of components.")
    if pad_to is not None and integer("pad_to", pad_to, 1) < d:
        raise ValueError(f"`pad_to` must be at least {d}, the columns, got {pad_to}.")
    arrays["scale"] = np.array(positive("scale", scale))
    arrays["n_padding"] = np.array(0 if pad_to is None else pad_to - d)
    return arrays


def transform(
    preprocessing: Mapping[str, NDArray], x_raw: ArrayLike
) -> NDArray[np.float64]:
    """Apply a recorded preprocessing to raw inputs.

    Parameters
    ----------
    preprocessing : mapping of str to ndarray
        `Dataset.preprocessing`, or the data of a run file, which hold the same names.
    x_raw : array, shape (n, d_raw)

    Returns
    -------
    x : ndarray, shape (n, d)

    Raises
    ------
    ValueError
        If `x_raw` has the wrong number of columns or is not finite.
    """
    mean, std = preprocessing["mean"], preprocessing["std"]
    x = sample_matrix("x_raw", x_raw)
    if x.shape[1] != len(mean):
        raise ValueError(f"`x_raw` must have {len(mean)} columns, got {x.shape[1]}.")
    x = (x - mean) / std
    if "components" in preprocessing:
        x = x @ preprocessing["components"].T / preprocessing["component_std"]
    x = x * preprocessing["scale"]
    return np.pad(x, ((0, 0), (0, int(preprocessing["n_padding"]))))


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
    return x * preprocessing["std"] + preprocessing["mean"]
