"""Linear combinations and error norms for the steppers, in one pass over memory."""

from __future__ import annotations

from mfpde.kernels.compiled import njit

# Entries that stay in the first-level cache while all rates are added.
CHUNK = 1024
OPTIONS = {
    "fastmath": {"contract", "nsz"},
    "error_model": "numpy",
    "nogil": True,
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


@njit(**OPTIONS)
def squares_of_differences(rates, coefficients, h, first, last):
    """Squares of |rates[-1] - rates[-2]| and |h sum_r coefficients[r] rates[r]|.

    Over first <= i < last; rates (R, n).
    """
    n_rates = coefficients.shape[0]
    squared_rate = 0.0
    squared_distance = 0.0
    for i in range(first, last):
        distance = 0.0
        for r in range(n_rates):
            distance += coefficients[r] * rates[r, i]
        difference = rates[n_rates, i] - rates[n_rates - 1, i]
        squared_rate += difference * difference
        squared_distance += h * distance * (h * distance)
    return squared_rate, squared_distance


@njit(**OPTIONS)
def chebyshev_stage(y, rate, before, last, last_rate, mu, nu, step, step_start, out):
    """Write one stage of the Chebyshev recursion to out, which may be `before`.

    out = (1 - mu - nu) y + mu last + nu before + step last_rate + step_start rate;
    all arrays (n,).
    """
    for i in range(y.shape[0]):
        out[i] = (
            (1.0 - mu - nu) * y[i]
            + mu * last[i]
            + nu * before[i]
            + step * last_rate[i]
            + step_start * rate[i]
        )
