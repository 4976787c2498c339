"""Activations and their derivatives, written so that LLVM can vectorise them.

Each activation NAME has one function `NAME(a) -> sigma(a)` and one
`NAME_pair(a) -> (sigma(a), sigma'(a))` (theory, section 4). The functions are inlined
into the sweeps. Contraction to FMA is the only fast-math flag of `INLINE`:
re-association would destroy the range reductions. A division must not raise (error
model "numpy"), or the branch to the exception stops the vectoriser.
"""

from __future__ import annotations

import math

from numba import njit

from mfpde.kernels.bits import power_of_two, upper_half
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
from mfpde.kernels.sine import sin, sin_pair

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

LOG2E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
# 1.5 * 2**52: adding it rounds to an integer, which is left in the low mantissa bits.
ROUND_MAGIC = 6755399441055744.0
# exp(LOG_SMALLEST), even times 1000, rounds to 0.
LOG_SMALLEST = -760.0
INV_SQRT_2PI = 0.3989422804014327
LEAKY_SLOPE = 0.01


@njit(**INLINE)
def expm1_polynomial(r):
    """exp(r) - 1 for |r| <= 0.35: Taylor polynomial of degree 13, error 1e-17."""
    q = 1.6059043836821613e-10
    q = q * r + 2.08767569878681e-09
    q = q * r + 2.505210838544172e-08
    q = q * r + 2.755731922398589e-07
    q = q * r + 2.7557319223985893e-06
    q = q * r + 2.48015873015873e-05
    q = q * r + 1.984126984126984e-04
    q = q * r + 1.388888888888889e-03
    q = q * r + 8.333333333333333e-03
    q = q * r + 4.1666666666666664e-02
    q = q * r + 1.6666666666666666e-01
    q = q * r + 0.5
    return q * (r * r) + r


@njit(**INLINE)
def expm1_reduced(a):
    """Split exp(a) - 1 for |a| < 700 into (scale, scaled): expm1 = scaled + scale - 1.

    Cody-Waite reduction a = n ln 2 + r, |r| <= ln(2) / 2.
    """
    shifted = a * LOG2E + ROUND_MAGIC
    n = shifted - ROUND_MAGIC
    r = (a - n * LN2_HIGH) - n * LN2_LOW
    scale = power_of_two(shifted)
    return scale, scale * expm1_polynomial(r)


@njit(**INLINE)
def tanh(a):
    """tanh(a) by expm1(2 |a|) / (expm1(2 |a|) + 2); NaN stays NaN."""
    twice = 2.0 * abs(a)
    twice = 40.0 if twice > 40.0 else twice
    scale, scaled = expm1_reduced(twice)
    e = scaled + (scale - 1.0)
    return math.copysign(e / (e + 2.0), a)


@njit(**INLINE)
def tanh_pair(a):
    """tanh(a) and 1 - tanh(a)^2."""
    t = tanh(a)
    return t, 1.0 - t * t


@njit(**INLINE)
def exp_split(high, low):
    """exp(high + low) as (1 + p) first second, high <= 0 and |low| < 1e-4.

    Returns p, first, second. The factor 2**n is split in halves, since it may lie below
    the normal range; to the smallest denormal nothing is lost if the product is taken
    last.
    """
    high = LOG_SMALLEST if high < LOG_SMALLEST else high
    n = (high * LOG2E + ROUND_MAGIC) - ROUND_MAGIC
    r = (high - n * LN2_HIGH) + (low - n * LN2_LOW)
    half = 0.5 * n + ROUND_MAGIC
    first = power_of_two(half)
    second = power_of_two((n - (half - ROUND_MAGIC)) + ROUND_MAGIC)
    return expm1_polynomial(r), first, second


@njit(**INLINE)
def _exp_negative(a):
    """exp(-|a|)."""
    p, first, second = exp_split(-abs(a), 0.0)
    return (p * first + first) * second


@njit(**INLINE)
def _log1p_unit(e):
    """log1p(e) for 0 <= e <= 1: 2 atanh(e / (2 + e)), with ln 2 split off above 0.414.

    Then the argument of atanh is below 0.172, and ten terms of its series suffice.
    """
    is_large = e > 0.41421356237309503
    top = e - 1.0 if is_large else e
    bottom = e + 3.0 if is_large else e + 2.0
    s = top / bottom
    t = s * s
    q = 1.0 / 21.0
    q = q * t + 1.0 / 19.0
    q = q * t + 1.0 / 17.0
    q = q * t + 1.0 / 15.0
    q = q * t + 1.0 / 13.0
    q = q * t + 1.0 / 11.0
    q = q * t + 1.0 / 9.0
    q = q * t + 1.0 / 7.0
    q = q * t + 1.0 / 5.0
    q = q * t + 1.0 / 3.0
    value = 2.0 * s + 2.0 * s * (t * q)
    return (LN2_HIGH + LN2_LOW) + value if is_large else value


@njit(**INLINE)
def normal_tail(w):
    """P(X > w) and exp(-w^2 / 2) of a standard normal X, 0 <= w <= 40, and a scale.

    Both are to be multiplied by the scale.

    (1 + 5 w / 4) exp(w^2 / 2) P(X > w) is a polynomial in (w - 5) / (w + 5), the
    Chebyshev interpolant of degree 22 (relative error below 1e-18); w^2 is split, so
    that its rounding does not reach the exponential.
    """
    high = upper_half(w)
    low = w - high
    p, first, scale = exp_split(-0.5 * high * high, -0.5 * low * (w + high))
    e = p * first + first
    # What rounding has taken from e.
    rest = p * first + (first - e)
    # One rounding near w = 0, where t is -1.
    t = 2.0 * (w / (w + 5.0)) - 1.0
    q = 9.98232001902474e-10
    q = q * t + 5.115188269200342e-09
    q = q * t - 1.7461931875275197e-11
    q = q * t - 4.13384585184618e-08
    q = q * t - 2.457697303356074e-08
    q = q * t + 2.582967125981273e-07
    q = q * t + 1.364214764411034e-07
    q = q * t - 1.698244730826936e-06
    q = q * t + 8.271947658607453e-08
    q = q * t + 1.1644000772342692e-05
    q = q * t - 1.4031754209597248e-05
    q = q * t - 6.725037358932721e-05
    q = q * t + 0.0002430246401877619
    q = q * t - 2.3829595642685872e-05
    q = q * t - 0.002149978123030306
    q = q * t + 0.008747211909194086
    q = q * t - 0.021210861890525633
    q = q * t + 0.036524679177524604
    q = q * t - 0.04496514177892162
    q = q * t + 0.032723909797537185
    q = q * t + 0.009770757560953396
    q = q * t - 0.07857596347650801
    q = q * t + 0.5576649610687956
    tail = (q * e + q * rest) / (1.0 + 1.25 * w)
    # Below 0.7 the scale is 1, and 1 / 2 - P(X > w) = w times a series in w^2 (again a
    # Chebyshev interpolant) is nearer to the truth.
    x = w * w
    q = 2.0382651695726738e-09
    q = q * x - 4.10146517950025191e-08
    q = q * x + 6.65865293078489682e-07
    q = q * x - 9.4446263755935073e-06
    q = q * x + 0.00011543468256454982
    q = q * x - 0.00118732821500019136
    q = q * x + 0.00997355701001292596
    q = q * x - 0.066490380066905026
    q = q * x + 0.398942280401432677
    return 0.5 - w * q if w < 0.7 else tail, e, scale


@njit(**INLINE)
def sigmoid(a):
    """1 / (1 + exp(-a)), from exp(-|a|) so that neither sign overflows."""
    e = _exp_negative(a)
    top = e if a < 0.0 else 1.0
    return top / (1.0 + e)


@njit(**INLINE)
def sigmoid_pair(a):
    """sigmoid(a) and its derivative exp(-|a|) / (1 + exp(-|a|))^2."""
    e = _exp_negative(a)
    inverse = 1.0 / (1.0 + e)
    top = e if a < 0.0 else 1.0
    return top * inverse, e * inverse * inverse


@njit(**INLINE)
def softplus(a):
    """max(a, 0) + log1p(exp(-|a|))."""
    return relu(a) + _log1p_unit(_exp_negative(a))


@njit(**INLINE)
def softplus_pair(a):
    """softplus(a) and sigmoid(a)."""
    e = _exp_negative(a)
    top = e if a < 0.0 else 1.0
    return relu(a) + _log1p_unit(e), top / (1.0 + e)


@njit(**INLINE)
def gelu(a):
    """a Phi(a), Phi the normal distribution function (the erf form)."""
    w = abs(a)
    w = 40.0 if w > 40.0 else w
    tail, _, scale = normal_tail(w)
    a = -40.0 if a < -40.0 else a
    return (a * tail) * scale if a < 0.0 else a * (1.0 - tail * scale)


@njit(**INLINE)
def gelu_pair(a):
    """a Phi(a) and Phi(a) + a phi(a)."""
    w = abs(a)
    w = 40.0 if w > 40.0 else w
    tail, e, scale = normal_tail(w)
    weighted = math.copysign(w, a) * (INV_SQRT_2PI * e)
    a = -40.0 if a < -40.0 else a
    if a < 0.0:
        return (a * tail) * scale, (tail + weighted) * scale
    cumulative = 1.0 - tail * scale
    return a * cumulative, cumulative + weighted * scale
