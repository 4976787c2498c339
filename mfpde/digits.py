"""Numbers as text, with as many digits as their error leaves."""

from __future__ import annotations

import math


def number(value: float, n_digits: int = 5) -> str:
    """Return a number with so many digits, in plain form where that is short."""
    if value != 0 and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    return f"{value:.{n_digits}g}"


def with_error(value: float, error: float) -> str:
    """Return "0.0048 +- 0.0001": both end at the last digit that the error leaves.

    The error has one digit, or two if it begins with 1 or 2.

    Parameters
    ----------
    value : float
    error : float
        Absolute and positive; without one (0, NaN, infinite) the value stands alone.
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return number(value)
    largest = max(abs(value), error)
    exponent = 0 if 1e-4 <= largest < 1e5 else math.floor(math.log10(largest))
    value, error = (each / 10.0**exponent for each in (value, error))
    first = math.floor(math.log10(error))
    n_digits = 2 if error < 3 * 10.0**first else 1
    # Beyond 15 digits a double has none.
    places = min(max(n_digits - 1 - first, 0), 15)
    text = f"{value:.{places}f} +- {error:.{places}f}"
    return f"({text})e{exponent:+03d}" if exponent else text
