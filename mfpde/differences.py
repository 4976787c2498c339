"""Whether a derivative belongs to its function, from differences of the function.

Neither rounding, nor curvature, nor a kink may give a false alarm: central differences
with many steps are compared with each other first, so that each has an error of its
own, and a derivative is wrong only if it is beyond that of all reliable ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIRST_STEP, FACTOR, N_STEPS = 0.1, 4.0, 15
"""Steps relative to the scale of the point: 0.1, 0.1 / 4, ..."""
SAFETY = 30.0
"""Errors of a difference within which a derivative is right."""
ROUNDING = 8.0
"""Units of rounding of a value, for an estimate of that of a difference."""


@dataclass(frozen=True, slots=True)
class Precision:
    """What numbers of a type allow.

    Attributes
    ----------
    eps : float
        Unit of rounding.
    steps : ndarray, shape (K,)
        Steps of the differences, falling.
    tolerance : float
        Relative error of a derivative that is never called wrong.
    last : int
        Index of the smallest step whose difference still counts.
    """

    eps: float
    steps: Array
    tolerance: float
    last: int

    @classmethod
    def of(cls, dtype: str) -> Precision:
        """That of "float64" or "float32"."""
        eps = float(np.finfo(dtype).eps)
        steps = FIRST_STEP * FACTOR ** -np.arange(float(N_STEPS))
        steps = steps[steps > eps**0.6]
        last = int(np.flatnonzero(steps > eps**0.48)[-1])
        return cls(eps, steps, max(1e-5, 30.0 * eps**0.5), last)

    @property
    def offsets(self) -> Array:
        """0, the steps, and minus the steps, (2 K + 1,): where values are needed."""
        return np.concatenate([[0.0], self.steps, -self.steps])


@dataclass(frozen=True, slots=True)
class Verdict:
    """One derivative beside the differences, for each of B directions, all (B,).

    Attributes
    ----------
    is_wrong : ndarray of bool
    difference, error : ndarray
        The best difference and its error; NaN where there is none.
    """

    is_wrong: NDArray[np.bool_]
    difference: Array
    error: Array


def judged(
    values: Array, derivative: Array, size: Array, inner: Array, precision: Precision
) -> Verdict:
    """Compare derivatives with differences of values along directions.

    Parameters
    ----------
    values : ndarray, shape (2 K + 1, B)
        At the `offsets` of the precision; what is not finite is not used.
    derivative : ndarray, shape (B,)
        At offset 0.
    size, inner : ndarray, shape (B,)
        Size of the numbers that are added up in a value, which sets its rounding; and
        of what enters by the rounding of the arguments if the derivative is right.
    precision : Precision

    Returns
    -------
    Verdict
    """
    with np.errstate(all="ignore"):
        return _judged(values, derivative, size, inner, precision)


def _judged(
    values: Array, derivative: Array, size: Array, inner: Array, precision: Precision
) -> Verdict:
    steps = precision.steps[:, np.newaxis]
    k = len(steps)
    middle, above, below = values[0], values[1 : k + 1], values[k + 1 :]
    central = (above - below) / (2.0 * steps)
    inner = np.where(np.isfinite(inner), inner, 0.0)
    unit = ROUNDING * precision.eps / steps
    of_values = unit * (size + np.abs(middle))
    rounding = of_values + unit * (inner + np.abs(central))
    central = np.where(_is_lost(central, above - below), np.nan, central)
    change = np.abs(np.diff(central, axis=0))
    # A difference is as good as it agrees with those of both neighbouring steps.
    error = np.fmax(np.vstack([change, change[-1:]]), np.vstack([change[:1], change]))
    error = error + rounding
    error = np.where(np.isfinite(error), error, np.inf)
    best = error.argmin(axis=0)
    columns = np.arange(values.shape[1])
    found, its_error = central[best, columns], error[best, columns]
    tolerance = precision.tolerance * np.fmax(np.abs(derivative), np.abs(central))
    is_beyond = ~(np.abs(derivative - central) <= SAFETY * error + tolerance)
    index = np.arange(k)[:, np.newaxis]
    counts = (index >= best) & (index <= np.maximum(best, precision.last))
    is_known = np.isfinite(its_error)
    # Rounding of the arguments alone must not change the values.
    largest = np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=0)
    moved = precision.eps * (inner + FIRST_STEP * np.abs(derivative))
    is_known &= ~(moved > 0.01 * largest) | (largest == 0.0)
    # Smaller steps have to agree up to rounding: else the function is too rough.
    noise = 3.0 * its_error + SAFETY * rounding + 0.1 * np.abs(found)
    counts &= np.isfinite(central)
    is_known &= np.where(counts, np.abs(central - found) <= noise, True).all(axis=0)
    # Neighbours may agree by chance: any other good difference acquits as well.
    counts |= SAFETY * error <= 10.0 * tolerance
    is_wrong = is_known & np.where(counts, is_beyond, True).all(axis=0)
    is_wrong &= ~_has_kink(middle, above, below, of_values, precision)
    return Verdict(
        is_wrong,
        np.where(is_known, found, np.nan),
        np.where(is_known, its_error, np.nan),
    )


def _is_lost(central: Array, change: Array) -> NDArray[np.bool_]:
    """Where a step is so small that the values do not change, but for larger ones."""
    before = np.maximum.accumulate(np.abs(np.nan_to_num(central)), axis=0)
    return (change == 0.0) & (before > 0.0)


def _has_kink(
    middle: Array, above: Array, below: Array, rounding: Array, precision: Precision
) -> NDArray[np.bool_]:
    """Where the slopes to both sides differ, and hardly less for smaller steps.

    So it is at a kink, and for a function too rough for all steps.
    """
    i = precision.last
    steps = precision.steps[: i + 1, np.newaxis]
    gap = np.abs(above - 2.0 * middle + below)[: i + 1] / steps
    ratio = np.median(gap[1:] / np.maximum(gap[:-1], 1e-300), axis=0)
    is_lasting = (gap[i] > 0.5 * gap[:i].min(axis=0)) | (ratio > 0.5)
    return is_lasting & (gap[i] > SAFETY * rounding[i])
