"""Activations and their derivatives, written so that LLVM can vectorise them.

Each activation NAME has one function `NAME(a) -> sigma(a)` and one
`NAME_pair(a) -> (sigma(a), sigma'(a))` (theory, section 4). The functions are inlined
into the sweeps. Contraction to FMA is the only fast-math flag of `INLINE`:
re-association would destroy the range reductions. A division must not raise (error
model "numpy"), or the branch to the exception stops the vectoriser.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

INLINE = {"fastmath": {"contract"}, "forceinline": True, "error_model": "numpy"}

LOG2E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01
LN2_LOW = 1.90821492927058770002e-10
# 1.5 * 2**52: adding it rounds to an integer, which is left in the low mantissa bits.
ROUND_MAGIC = 6755399441055744.0
SQRT_HALF = 0.7071067811865476
INV_SQRT_2PI = 0.3989422804014327
LEAKY_SLOPE = 0.01


@intrinsic
def _power_of_two(typingctx, shifted):
    """2**n for a float64 that holds n + ROUND_MAGIC, by shifting its bits."""

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.IntType(64))
        exponent = builder.shl(bits, ir.Constant(ir.IntType(64), 52))
        one = ir.Constant(ir.IntType(64), 0x3FF0000000000000)
        return builder.bitcast(builder.add(exponent, one), ir.DoubleType())

    return types.float64(types.float64), codegen


@njit(**INLINE)
def expm1_reduced(a):
    """Split exp(a) - 1 for |a| < 700 into (scale, scaled): expm1 = scaled + scale - 1.

    Cody-Waite reduction a = n ln 2 + r, |r| <= ln(2) / 2, and the Taylor polynomial of
    degree 13 of expm1(r), relative error below 1e-17.
    """
    shifted = a * LOG2E + ROUND_MAGIC
    n = shifted - ROUND_MAGIC
    r = (a - n * LN2_HIGH) - n * LN2_LOW
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
    q = q * (r * r) + r
    scale = _power_of_two(shifted)
    return scale, scale * q


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
def _exp_negative(a):
    """exp(-|a|), flushed to 0 below exp(-708)."""
    x = -abs(a)
    x = -708.0 if x < -708.0 else x
    scale, scaled = expm1_reduced(x)
    return scaled + scale


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
    return (0.0 if a < 0.0 else a) + math.log1p(_exp_negative(a))


@njit(**INLINE)
def softplus_pair(a):
    """softplus(a) and sigmoid(a)."""
    e = _exp_negative(a)
    top = e if a < 0.0 else 1.0
    return (0.0 if a < 0.0 else a) + math.log1p(e), top / (1.0 + e)


@njit(**INLINE)
def gelu(a):
    """a Phi(a), Phi the normal distribution function (the erf form)."""
    return 0.5 * a * math.erfc(-a * SQRT_HALF)


@njit(**INLINE)
def gelu_pair(a):
    """a Phi(a) and Phi(a) + a phi(a)."""
    cumulative = 0.5 * math.erfc(-a * SQRT_HALF)
    density = INV_SQRT_2PI * math.exp(-0.5 * a * a)
    return a * cumulative, cumulative + a * density


@njit(**INLINE)
def relu(a):
    """max(a, 0)."""
    return 0.0 if a < 0.0 else a


@njit(**INLINE)
def relu_pair(a):
    """max(a, 0) and 1 for a > 0, else 0."""
    return (0.0 if a < 0.0 else a), (1.0 if a > 0.0 else 0.0)


@njit(**INLINE)
def leaky_relu(a):
    """a for a > 0, else 0.01 a."""
    return LEAKY_SLOPE * a if a < 0.0 else a


@njit(**INLINE)
def leaky_relu_pair(a):
    """leaky_relu(a) and its slope, 0.01 at a = 0."""
    return (LEAKY_SLOPE * a if a < 0.0 else a), (1.0 if a > 0.0 else LEAKY_SLOPE)


@njit(**INLINE)
def regularised_relu(a):
    """0 below -e, (a + e)^2 / (4 e) on [-e, e], a above; half-width e = 1/2."""
    c = a + 0.5
    c = 0.0 if c < 0.0 else c
    return a if c > 1.0 else 0.5 * c * c


@njit(**INLINE)
def regularised_relu_pair(a):
    """regularised_relu(a) and its slope, (a + e) / (2 e) clipped to [0, 1]."""
    c = a + 0.5
    c = 0.0 if c < 0.0 else c
    return (a if c > 1.0 else 0.5 * c * c), (1.0 if c > 1.0 else c)


@njit(**INLINE)
def squared_relu(a):
    """max(a, 0)^2."""
    c = 0.0 if a < 0.0 else a
    return c * c


@njit(**INLINE)
def squared_relu_pair(a):
    """max(a, 0)^2 and 2 max(a, 0)."""
    c = 0.0 if a < 0.0 else a
    return c * c, 2.0 * c


@njit(**INLINE)
def sin(a):
    """sin(a)."""
    return math.sin(a)


@njit(**INLINE)
def sin_pair(a):
    """sin(a) and cos(a)."""
    return math.sin(a), math.cos(a)


@njit(**INLINE)
def identity(a):
    """The activation a itself."""
    return a


@njit(**INLINE)
def identity_pair(a):
    """The activation a and 1."""
    return a, 1.0
