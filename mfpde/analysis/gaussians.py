"""Distance of Gaussian laws in closed form."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.clouds import exponent
from mfpde.arrays import float_array

Array = NDArray[np.float64]

# Rounding of a covariance that was summed from particles stays below this share.
SYMMETRY_TOLERANCE = 1e-10


def bures(
    mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike
) -> float:
    """W2 between N(mean_a, cov_a) and N(mean_b, cov_b), the Bures distance.

    Parameters
    ----------
    mean_a, mean_b : array_like, shape (k,)
    cov_a, cov_b : array_like, shape (k, k)
        Symmetric and positive semidefinite.

    Returns
    -------
    distance : float

    Notes
    -----
    The square is |mean_a - mean_b|^2 plus the minimum over orthogonal U of
    |cov_a^(1/2) - cov_b^(1/2) U|^2, which does not cancel for near laws as the formula
    with traces does.

    Examples
    --------
    >>> round(bures([0.0], [[4.0]], [3.0], [[64.0]]), 12)  # sqrt(3^2 + (2 - 8)^2)
    6.708203932499
    """
    means = [
        float_array(name, mean)
        for name, mean in (("mean_a", mean_a), ("mean_b", mean_b))
    ]
    k = means[0].size
    if means[0].ndim != 1 or k == 0 or means[0].shape != means[1].shape:
        raise ValueError(
            f"`mean_a` and `mean_b` must have one shape (k,), got {means[0].shape} and "
            f"{means[1].shape}."
        )
    parts = [means[0] - means[1], _root("cov_a", cov_a, k), _root("cov_b", cov_b, k)]
    # Numbers of size one, exactly: no square overflows or vanishes.
    e = exponent(*parts)
    shift, root_a, root_b = (np.ldexp(each, -e) for each in parts)
    left, _, right = np.linalg.svd(root_b @ root_a)
    # In the kernel of a covariance U is found from rounding; 1 may be nearer there.
    rotations = left @ right, np.eye(k)
    least = min(np.sum((root_a - root_b @ each) ** 2) for each in rotations)
    return math.ldexp(math.sqrt(np.sum(shift**2) + least), e)


def _root(name: str, cov: ArrayLike, k: int) -> Array:
    """Symmetric root of a covariance."""
    cov = float_array(name, cov)
    if cov.shape != (k, k):
        raise ValueError(
            f"`{name}` must have shape (k, k) = {(k, k)}, got {cov.shape}."
        )
    bound = SYMMETRY_TOLERANCE * float(np.abs(cov).max())
    values, vectors = np.linalg.eigh(0.5 * (cov + cov.T))
    if np.abs(cov - cov.T).max() > bound or values.min() < -k * bound:
        raise ValueError(
            f"`{name}` must be symmetric and positive semidefinite, got a smallest "
            f"eigenvalue of {values.min():.3g}."
        )
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
