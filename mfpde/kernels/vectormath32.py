"""The activations of `vectormath` for float32 arguments.

The same names and formulas, written with float32 constants and with the polynomials
that its 24 bits need. numba turns a sum of a float32 number and a Python literal into
float64, at half the width of the vectors; so every constant stands as `f32(...)`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from mfpde.kernels import sine
from mfpde.kernels.bits import (
    is_odd,
    low_bits,
    multiply_add,
    negate_if,
    power_of_two,
    upper_half,
)
from mfpde.kernels.piecewise import (
    INLINE,
    identity,
    identity_pair,
    leaky_relu,
    leaky_relu_pair,
    regularised_relu,
    regularised_relu_pair,
    relu,
    relu_pair,
    squared_relu,
    squared_relu_pair,
)

__all__ = [
    "gelu",
    "gelu_pair",
    "identity",
    "identity_pair",
    "leaky_relu",
    "leaky_relu_pair",
    "regularised_relu",
    "regularised_relu_pair",
    "relu",
    "relu_pair",
    "sigmoid",
    "sigmoid_pair",
    "sin",
    "sin_pair",
    "softplus",
    "softplus_pair",
    "squared_relu",
    "squared_relu_pair",
    "tanh",
    "tanh_pair",
]

f32 = np.float32

LOG2E = f32(1.4426950408889634)
# The upper part has 9 bits: n times it is exact for all exponents n.
LN2_HIGH = f32(0.693359375)
LN2_LOW = f32(-2.1219444005469057e-04)
LN2 = f32(0.6931471805599453)
ROUND_MAGIC = f32(1.5 * 2**23)
# exp(LOG_SMALLEST), even times 1000, rounds to 0.
LOG_SMALLEST = f32(-120.0)
# Beyond, the tail of the normal distribution rounds to 0.
LARGEST_NORMAL = f32(15.0)
INV_SQRT_2PI = f32(0.3989422804014327)
ZERO, ONE, TWO = f32(0.0), f32(1.0), f32(2.0)


@njit(**INLINE)
def expm1_polynomial(r):
    """exp(r) - 1 for |r| <= 0.35: best polynomial, relative error 1.5e-8."""
    q = f32(0.00138982682)
    q = q * r + f32(0.00836620804)
    q = q * r + f32(0.0416668562)
    q = q * r + f32(0.166665475)
    q = q * r + f32(0.5)
    return q * (r * r) + r


@njit(**INLINE)
def expm1_reduced(a):
    """Split exp(a) - 1 for |a| < 80 as in `vectormath`: scaled + scale - 1."""
    shifted = a * LOG2E + ROUND_MAGIC
    n = shifted - ROUND_MAGIC
    r = (a - n * LN2_HIGH) - n * LN2_LOW
    scale = power_of_two(shifted)
    return scale, scale * expm1_polynomial(r)


@njit(**INLINE)
def tanh(a):
    """tanh(a) by expm1(2 |a|) / (expm1(2 |a|) + 2); NaN stays NaN."""
    twice = TWO * abs(a)
    twice = f32(20.0) if twice > f32(20.0) else twice
    scale, scaled = expm1_reduced(twice)
    e = scaled + (scale - ONE)
    return math.copysign(e / (e + TWO), a)


@njit(**INLINE)
def tanh_pair(a):
    """tanh(a) and 1 - tanh(a)^2."""
    t = tanh(a)
    return t, ONE - t * t


@njit(**INLINE)
def exp_split(high, low):
    """exp(high + low) as a product of two numbers, high <= 0 and |low| < 1e-2.

    The factor 2**n is split in halves, since it may lie below the normal range; to the
    smallest denormal nothing is lost if the product is taken last.
    """
    high = LOG_SMALLEST if high < LOG_SMALLEST else high
    n = (high * LOG2E + ROUND_MAGIC) - ROUND_MAGIC
    r = (high - n * LN2_HIGH) + (low - n * LN2_LOW)
    half = f32(0.5) * n + ROUND_MAGIC
    first = power_of_two(half)
    second = power_of_two((n - (half - ROUND_MAGIC)) + ROUND_MAGIC)
    return expm1_polynomial(r) * first + first, second


@njit(**INLINE)
def _exp_negative(a):
    """exp(-|a|)."""
    value, scale = exp_split(-abs(a), ZERO)
    return value * scale


@njit(**INLINE)
def _log1p_unit(e):
    """log1p(e) for 0 <= e <= 1: 2 atanh(e / (2 + e)), with ln 2 split off above 0.414.

    Then the argument of atanh is below 0.172, and five terms of its series suffice.
    """
    is_large = e > f32(0.41421356)
    top = e - ONE if is_large else e
    bottom = e + f32(3.0) if is_large else e + TWO
    s = top / bottom
    t = s * s
    q = f32(1.0 / 9.0)
    q = q * t + f32(1.0 / 7.0)
    q = q * t + f32(1.0 / 5.0)
    q = q * t + f32(1.0 / 3.0)
    value = TWO * s + TWO * s * (t * q)
    return LN2 + value if is_large else value


@njit(**INLINE)
def normal_tail(w):
    """P(X > w) and exp(-w^2 / 2) of a standard normal X, 0 <= w <= 15, and a scale.

    Both are to be multiplied by the scale. (w + 7/4) exp(w^2 / 2) P(X > w) is a
    polynomial in w / (w + 7/4), the best one of degree 10 which is exact at 0
    (relative error 3e-8). That variable is accurate near 0, where half of the result
    would feel its rounding otherwise.
    """
    high = upper_half(w)
    low = w - high
    e, scale = exp_split(f32(-0.5) * high * high, f32(-0.5) * low * (w + high))
    below = w + f32(1.75)
    u = w / below
    q = f32(0.0916470096)
    q = q * u - f32(0.23076428)
    q = q * u + f32(0.147637294)
    q = q * u - f32(0.00798171418)
    q = q * u - f32(0.0336051877)
    q = q * u + f32(0.0963829577)
    q = q * u + f32(0.0524029365)
    q = q * u - f32(0.0161953668)
    q = q * u - f32(0.228804522)
    q = q * u - f32(0.346757661)
    q = q * u + f32(0.875)
    return q * e / below, e, scale


@njit(**INLINE)
def sigmoid(a):
    """1 / (1 + exp(-a)), from exp(-|a|) so that neither sign overflows."""
    e = _exp_negative(a)
    top = e if a < ZERO else ONE
    return top / (ONE + e)


@njit(**INLINE)
def sigmoid_pair(a):
    """sigmoid(a) and its derivative exp(-|a|) / (1 + exp(-|a|))^2."""
    e = _exp_negative(a)
    below = ONE + e
    top = e if a < ZERO else ONE
    return top / below, e / (below * below)


@njit(**INLINE)
def softplus(a):
    """max(a, 0) + log1p(exp(-|a|))."""
    return relu(a) + _log1p_unit(_exp_negative(a))


@njit(**INLINE)
def softplus_pair(a):
    """softplus(a) and sigmoid(a)."""
    e = _exp_negative(a)
    top = e if a < ZERO else ONE
    return relu(a) + _log1p_unit(e), top / (ONE + e)


@njit(**INLINE)
def gelu(a):
    """a Phi(a), Phi the normal distribution function (the erf form)."""
    w = abs(a)
    w = LARGEST_NORMAL if w > LARGEST_NORMAL else w
    tail, _, scale = normal_tail(w)
    a = -LARGEST_NORMAL if a < -LARGEST_NORMAL else a
    return (a * tail) * scale if a < ZERO else a * (ONE - tail * scale)


@njit(**INLINE)
def gelu_pair(a):
    """a Phi(a) and Phi(a) + a phi(a)."""
    w = abs(a)
    w = LARGEST_NORMAL if w > LARGEST_NORMAL else w
    tail, e, scale = normal_tail(w)
    weighted = math.copysign(w, a) * (INV_SQRT_2PI * e)
    a = -LARGEST_NORMAL if a < -LARGEST_NORMAL else a
    if a < ZERO:
        return (a * tail) * scale, (tail + weighted) * scale
    cumulative = ONE - tail * scale
    return a * cumulative, cumulative + weighted * scale


@njit(**sine.UNCONTRACTED)
def quarter_turns(a):
    """The integer n nearest to 2 a / pi, modulo 2**32, and a - n pi / 2, |a| < 2**128.

    Done in float64, where the product of `a` with 2 / pi is known to 2**-57 as
    p + rest. Multiples of 4 may be left out of 2 / pi times the last place of `a`, so
    that two numbers hold the digits which matter for every 24 binary orders.
    """
    x, size = np.float64(a), abs(np.float64(a))
    upper, lower = 0.6366197723675814, -3.935735335036497e-17
    upper = -3.3922091508486964e-08 if size >= 2.0**48 else upper
    lower = -5.434184107743751e-25 if size >= 2.0**48 else lower
    upper = 2.93709554037182e-16 if size >= 2.0**72 else upper
    lower = 1.018166438749971e-32 if size >= 2.0**72 else lower
    upper = 3.254380609134673e-23 if size >= 2.0**96 else upper
    lower = 2.5184173833409495e-39 if size >= 2.0**96 else lower
    upper = -5.321602079519459e-31 if size >= 2.0**120 else upper
    lower = 1.7266765423121933e-47 if size >= 2.0**120 else lower
    p = x * upper
    rest = multiply_add(x, lower, multiply_add(x, upper, -p))
    shifted = p + sine.ROUND_MAGIC
    turns = (p - (shifted - sine.ROUND_MAGIC)) + rest
    # Small arguments as they are: the sum loses the sign of -0.
    r = a if abs(a) < f32(0.785) else f32(turns * sine.PI_HALF)
    return low_bits(shifted), r


@njit(**INLINE)
def sin_pair(a):
    """sin(a) and cos(a)."""
    n, r = quarter_turns(a)
    t = r * r
    q = f32(-1.9515295891e-4)
    q = q * t + f32(8.3321608736e-3)
    q = q * t - f32(1.6666654611e-1)
    odd = math.copysign(q * (t * r) + r, r)
    q = f32(2.443315711809948e-5)
    q = q * t - f32(1.388731625493765e-3)
    q = q * t + f32(4.166664568298827e-2)
    even = q * (t * t) + (ONE - f32(0.5) * t)
    sine, cosine = (even, odd) if is_odd(n) else (odd, even)
    return negate_if(sine, n), negate_if(cosine, n + 1)


@njit(**INLINE)
def sin(a):
    """sin(a)."""
    return sin_pair(a)[0]
