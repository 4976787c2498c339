"""Least squares for the two terms of Eq. (29), many data sets at once.

The parameters are (ln c1, p, ln c2, q) with ln c1 and ln c2 taken at the centre of the
cells, where they are nearly independent of the exponents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_PARAMS = 4
# Exponents and, relative to the errors, logarithms of constants stay in here. A fit
# that ends at a bound is not determined by its cells.
EXPONENT_BOUNDS = (-2.0, 8.0)
LOG_CONSTANT_BOUNDS = (-12.0, 6.0)

_START_P = (0.5, 1.0, 2.0)
_START_Q = (0.25, 0.5, 1.0)
_MAX_ITERATIONS = 200
_RELATIVE_FALL = 1e-12
_DAMPING = (1e-3, 1e12)


@dataclass(frozen=True, slots=True)
class TwoTerms:
    """ln error = (1/r) ln( (c1 e^(-p x))^r + (c2 e^(-q y))^r ) on C cells.

    Attributes
    ----------
    x, y : ndarray, shape (C,)
        ln L and ln(L^a M), minus `centre`.
    centre : tuple of float
        Their means.
    power : int
        r: 1 adds the terms, 2 their squares.
    """

    x: Array
    y: Array
    centre: tuple[float, float]
    power: int

    @classmethod
    def of(cls, depths: Array, widths: Array, a: float, power: int) -> TwoTerms:
        """The model on cells of depths and widths, each of shape (C,)."""
        x, y = np.log(depths), _log_count(depths, widths, a)
        centre = (float(x.mean()), float(y[np.isfinite(widths)].mean()))
        return cls(x - centre[0], y - centre[1], centre, power)

    def at(self, depths: Array, widths: Array, a: float) -> TwoTerms:
        """The same model on other cells."""
        x, y = np.log(depths), _log_count(depths, widths, a)
        return TwoTerms(x - self.centre[0], y - self.centre[1], self.centre, self.power)

    def terms(self, params: Array) -> tuple[Array, Array]:
        """Logarithms of both terms, each (B, C), for params (B, 4)."""
        log_c1, p, log_c2, q = (column[:, np.newaxis] for column in params.T)
        return log_c1 - p * self.x, log_c2 - q * self.y

    def __call__(self, params: Array) -> tuple[Array, Array]:
        """Value (B, C) and derivative (B, C, 4) for params (B, 4)."""
        first, second = self.terms(params)
        value = np.logaddexp(self.power * first, self.power * second) / self.power
        share = np.exp(self.power * (first - value))
        rest = np.exp(self.power * (second - value))
        slopes = (share, -share * self.x, rest, -rest * self.y)
        return value, np.stack(slopes, axis=-1)

    def natural(self, params: Array) -> Array:
        """Return (c1, p, c2, q), shape (B, 4), of c1 L^-p and c2 (L^a M)^-q."""
        out = params.copy()
        for column, centre in ((0, self.centre[0]), (2, self.centre[1])):
            out[:, column] = np.exp(params[:, column] + params[:, column + 1] * centre)
        return out

    def bounds(self, log_errors: Array) -> tuple[Array, Array]:
        """Lowest and highest parameters, (4,) each, for errors like these."""
        middle = float(np.median(log_errors[np.isfinite(log_errors)]))
        lows, highs = zip(
            *([np.add(LOG_CONSTANT_BOUNDS, middle), EXPONENT_BOUNDS] * 2), strict=True
        )
        return np.array(lows), np.array(highs)

    def starts(self, log_errors: Array, weights: Array) -> Array:
        """Nine starting values (9, 4): constants that fit best for given exponents.

        With the exponents fixed, the relative errors of error^r are linear in c1^r and
        c2^r; a constant that would be negative is set to a small share of the other.
        """
        rows = []
        for p in _START_P:
            for q in _START_Q:
                first = np.exp(-self.power * (p * self.x) - self.power * log_errors)
                second = np.exp(-self.power * (q * self.y) - self.power * log_errors)
                c = _nonnegative(first, second, weights)
                rows.append([c[0] / self.power, p, c[1] / self.power, q])
        return np.array(rows)


def _log_count(depths: Array, widths: Array, a: float) -> Array:
    """ln(L^a M); so large for infinite widths that no power of it counts."""
    return a * np.log(depths) + np.log(np.where(np.isfinite(widths), widths, 1e300))


def _nonnegative(first: Array, second: Array, weights: Array) -> tuple[float, float]:
    """Logarithms of c1, c2 > 0 that make c1 first + c2 second nearly 1."""
    columns = np.stack([first, second])
    gram = (columns * weights) @ columns.T
    right = columns @ weights
    determinant = gram[0, 0] * gram[1, 1] - gram[0, 1] ** 2
    c = right / (2.0 * np.diag(gram))
    if determinant > 1e-10 * gram[0, 0] * gram[1, 1]:
        found = np.array(
            [
                gram[1, 1] * right[0] - gram[0, 1] * right[1],
                gram[0, 0] * right[1] - gram[0, 1] * right[0],
            ]
        )
        c = np.maximum(found / determinant, 0.02 * c)
    return float(np.log(c[0])), float(np.log(c[1]))


def fit_two_terms(
    model: TwoTerms,
    log_errors: Array,
    weights: Array,
    starts: Array,
    *,
    free: NDArray[np.bool_] | None = None,
) -> tuple[Array, Array]:
    """Minimise sum_c w_c (ln error_c - model_c)^2 for every row, with damping.

    Parameters
    ----------
    model : TwoTerms
    log_errors, weights : ndarray, shape (B, C)
        A weight 0 leaves a cell out.
    starts : ndarray, shape (B, 4)
    free : ndarray of bool, shape (4,), optional
        Parameters that move; default all.

    Returns
    -------
    params : ndarray, shape (B, 4)
    cost : ndarray, shape (B,)

    Notes
    -----
    Levenberg and Marquardt's method, a row of its own damping each; rows that do not
    improve any more are left alone.
    """
    low, high = model.bounds(log_errors)
    params = np.clip(starts, low, high)
    cost = _cost(model, params, log_errors, weights)
    damping = np.full(len(params), _DAMPING[0])
    active = np.arange(len(params))
    for _ in range(_MAX_ITERATIONS):
        if len(active) == 0:
            break
        data, w = log_errors[active], weights[active]
        step = _step(model, params[active], data, w, damping[active], free)
        trial = params[active] + step
        trial = np.clip(trial, low, high)
        new = _cost(model, trial, data, w)
        is_better = new < cost[active]
        fall = cost[active] - new
        chosen = active[is_better]
        params[chosen], cost[chosen] = trial[is_better], new[is_better]
        damping[active] *= np.where(is_better, 0.2, 5.0)
        is_done = is_better & (fall <= _RELATIVE_FALL * (new + _RELATIVE_FALL))
        is_done |= damping[active] > _DAMPING[1]
        active = active[~is_done]
    return params, cost


def _cost(model: TwoTerms, params: Array, log_errors: Array, weights: Array) -> Array:
    value, _ = model(params)
    return np.sum(weights * (log_errors - value) ** 2, axis=1)


def _step(
    model: TwoTerms,
    params: Array,
    log_errors: Array,
    weights: Array,
    damping: Array,
    free: NDArray[np.bool_] | None,
) -> Array:
    """Damped Gauss-Newton step (B, 4)."""
    value, slopes = model(params)
    if free is not None:
        slopes = slopes * free
    weighted = slopes * weights[..., np.newaxis]
    gram = np.swapaxes(weighted, 1, 2) @ slopes
    right = np.einsum("bci,bc->bi", weighted, log_errors - value)
    diagonal = np.einsum("bii->bi", gram)
    # The small share of the largest keeps a term that vanishes from being singular.
    extra = damping[:, np.newaxis] * (diagonal + 1e-6 * diagonal.max(1, keepdims=True))
    gram[:, range(N_PARAMS), range(N_PARAMS)] += extra + np.finfo(float).tiny
    return np.linalg.solve(gram, right[..., np.newaxis])[..., 0]
