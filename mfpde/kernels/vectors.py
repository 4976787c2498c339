"""Linear combinations and error norms for the steppers, in one pass over memory."""

from __future__ import annotations

from numba import njit

# Entries that stay in the first-level cache while all rates are added.
CHUNK = 1024
OPTIONS = {
    "fastmath": {"contract", "nsz"},
    "error_model": "numpy",
    "nogil": True,
    "cache": True,
}


@njit(**OPTIONS)
def combine(y, rates, coefficients, h, out):
    """Write y + h sum_r coefficients[r] rates[r] to out; y (n,), rates (R, n)."""
    for start in range(0, y.shape[0], CHUNK):
        stop = min(start + CHUNK, y.shape[0])
        for i in range(start, stop):
            out[i] = y[i]
        for r in range(coefficients.shape[0]):
            factor = h * coefficients[r]
            if factor != 0.0:
                for i in range(start, stop):
                    out[i] += factor * rates[r, i]


@njit(**OPTIONS)
def scaled_error(y, new, rates, coefficients, h, rtol, atol, first, last):
    """Sum of squares over first <= i < last of error_i / (atol + rtol |y_i|).

    error = h sum_r coefficients[r] rates[r]; |y_i| is the larger of |y| and |new|.
    Returns the sum and the index of its largest term.
    """
    total = 0.0
    worst = first
    largest = -1.0
    for i in range(first, last):
        error = 0.0
        for r in range(coefficients.shape[0]):
            error += coefficients[r] * rates[r, i]
        scale = atol + rtol * max(abs(y[i]), abs(new[i]))
        ratio = (h * error / scale) ** 2
        total += ratio
        if ratio > largest:
            largest = ratio
            worst = i
    return total, worst
