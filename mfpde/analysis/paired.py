"""The order in depth from the same draws at all depths: common random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.asymptotic import bent_interval, extrapolated
from mfpde.analysis.cells import N_BOOTSTRAP, checked_share, positive_axis
from mfpde.analysis.rates import UNKNOWN, Interval
from mfpde.analysis.resampling import counts_with_all, percentile_interval
from mfpde.arrays import checked, float_array, seed_number

Array = NDArray[np.float64]

EXPONENTS = np.linspace(0.1, 4.0, 391)
"""Where the sum of squares is tabulated; between them it is a parabola."""


@dataclass(frozen=True, eq=False)
class PairedFit:
    """e_L = A + B L^-exponent for every seed and component, the exponent in common.

    Attributes
    ----------
    exponent : float
    interval : tuple of float
        At `confidence`, stretched by `asymptotic.bent_interval`; NaN where resamples
        reach the bounds of the search, 0.1 and 4: the exponent is not identified.
    extrapolated : float
        See `asymptotic.extrapolated`.
    confidence : float
    n_seeds, n_diverged : int
        Seeds in use, and those left out since a run of theirs diverged.
    """

    exponent: float
    interval: Interval
    extrapolated: float
    confidence: float
    n_seeds: int
    n_diverged: int


@checked(n_bootstrap=N_BOOTSTRAP, seed=seed_number)
def fit_paired(
    depths: ArrayLike,
    errors: ArrayLike,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> PairedFit:
    """Fit the order in depth to signed errors of networks from the same draws.

    The draws of a seed give an error A that no depth removes, and which differs from
    seed to seed; what depth adds, B L^-p, hardly does. Taking A and B for every seed
    and component by itself leaves one number to be fitted, far more sharply than from
    norms of errors.

    Parameters
    ----------
    depths : array_like, shape (D,)
        At least four numbers of layers.
    errors : array_like, shape (D, S, C)
        Signed errors of C outputs; NaN missing, inf diverged. Seeds with any of these
        are left out.
    confidence : float
    n_bootstrap, seed : int
        Of the resampling of seeds.

    Raises
    ------
    ValueError
        If shapes do not fit, or fewer than four depths or two seeds are left.
    """
    confidence = checked_share("confidence", confidence)
    table = float_array("errors", errors, is_finite=False)
    if table.ndim != 3:
        raise ValueError(
            f"`errors` must have shape (n_depths, n_seeds, n_components), got "
            f"{table.shape}."
        )
    depths = positive_axis("depths", depths, len(table))
    is_there = np.isfinite(table).all(axis=(0, 2))
    if len(depths) < 4 or is_there.sum() < 2:
        raise ValueError(
            "`errors` must have four depths and two seeds with runs at all of them, "
            f"got {len(depths)} and {int(is_there.sum())}."
        )
    counts = counts_with_all(int(is_there.sum()), n_bootstrap, seed)
    table = table[:, is_there]
    full = _exponents(depths, table, counts)
    own = percentile_interval(full[1:], confidence)
    step = EXPONENTS[1] - EXPONENTS[0]
    if own[0] <= EXPONENTS[0] + step or own[1] >= EXPONENTS[-1] - step:
        own = UNKNOWN
    coarse = float(full[0])
    fine = float(_exponents(depths[1:], table[1:], counts[:1])[0])
    return PairedFit(
        exponent=coarse,
        interval=bent_interval(own, coarse, fine - coarse),
        extrapolated=extrapolated(coarse, fine),
        confidence=confidence,
        n_seeds=int(is_there.sum()),
        n_diverged=int(np.isinf(np.asarray(errors)).any(axis=(0, 2)).sum()),
    )


def _exponents(depths: Array, table: Array, counts: Array) -> Array:
    """The best exponent (B,) for resamples of the seeds of errors (D, S, C)."""
    squares = np.array([_residuals(depths**-p, table) for p in EXPONENTS])
    totals = counts @ squares.T
    i = np.clip(totals.argmin(axis=1), 1, len(EXPONENTS) - 2)
    rows = np.arange(len(totals))
    before, at, after = (totals[rows, i + shift] for shift in (-1, 0, 1))
    curvature = before - 2.0 * at + after
    shift = np.divide(
        0.5 * (before - after), curvature, out=np.zeros(len(i)), where=curvature > 0
    )
    step = EXPONENTS[1] - EXPONENTS[0]
    return EXPONENTS[i] + step * np.clip(shift, -1.0, 1.0)


def _residuals(powers: Array, table: Array) -> Array:
    """Sum of squares (S,) that 1 and L^-p leave of the errors (D, S, C)."""
    basis, _ = np.linalg.qr(np.stack([np.ones_like(powers), powers], axis=1))
    left = table - np.einsum("dk,ek,esc->dsc", basis, basis, table)
    return np.sum(left**2, axis=(0, 2))
