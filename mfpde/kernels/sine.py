"""Sine and cosine of float64 numbers of any size, without branches.

An argument is reduced to a - n pi / 2 in [-pi / 4, pi / 4] in one of two ways. The
`quick_` functions subtract n times pi / 2 in four parts, which holds up to QUICK_LIMIT
and costs as much as `tanh`. The others multiply by the digits of 2 / pi that matter for
the size of `a`, after Payne and Hanek; they hold everywhere at four times the cost.
Errors are below 2 (quick) and 2.3 units of the last place.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numba import njit

from mfpde.kernels.bits import (
    exponent_group,
    is_odd,
    low_bits,
    multiply_add,
    negate_if,
)
from mfpde.kernels.piecewise import INLINE

# Sums and products must stay apart from their rounding errors.
UNCONTRACTED = {"forceinline": True, "error_model": "numpy"}

TWO_OVER_PI = 0.6366197723675814
PI_HALF = 1.5707963267948966
# Adding the first rounds to an integer, adding the second to a multiple of 2**12.
ROUND_MAGIC = 1.5 * 2.0**52
COARSE_MAGIC = 1.5 * 2.0**64

# pi / 2 as a sum. The first three have 29 bits: n times them is exact for n <= 2**24.
PI_HALF_PARTS = (
    1.570796325802803,
    9.920935774287987e-10,
    2.2517417706346578e-18,
    3.5215598651832e-27,
)
QUICK_LIMIT = 2.6e7

# 2 / pi in units of 2**-1280.
DIGITS = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561"
    "b7246e3a424dd2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484"
    "e99c7026b45f7e413991d639835339f49c845f8bbdf9283b1ff897ffde05980f"
    "ef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d7527bac7ebe5f17b"
    "3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6babf0cfbc209af4361d",
    16,
)
# Keeps the products of huge numbers and late digits in the normal range.
SHRINK = 2.0**-256


def _digits_of_two_over_pi() -> np.ndarray:
    """2 / pi / SHRINK as a sum of four numbers, for every group of 8 binary exponents.

    Row g is for arguments from 2**e, e = 8 g - 1023, on. They are multiples of
    2**(e - 52), so that multiples of 2**(54 - e) only add multiples of 4 to 2 a / pi.
    """
    table = np.empty((256, 4))
    for g in range(256):
        rest = Fraction(DIGITS, 2**1280)
        if 8 * g - 1023 > 54:
            rest %= Fraction(2) ** (54 - (8 * g - 1023))
        rest /= Fraction(SHRINK)
        for c in range(4):
            table[g, c] = float(rest)
            rest -= Fraction(table[g, c])
    return table


TABLE = _digits_of_two_over_pi()


@njit(**UNCONTRACTED)
def two_sum(a, b):
    """a + b as the rounded sum and its error."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@njit(**UNCONTRACTED)
def any_reduction(a):
    """The integer n nearest to 2 a / pi, modulo 2**32, and a - n pi / 2, for any a.

    2 a / pi is a sum of three products, each with its rounding error, and a fourth.
    The sum is known to 2**-130: doubles come no closer than 2**-62 to an integer.
    """
    x = a * SHRINK
    g = exponent_group(a)
    p0, p1, p2 = x * TABLE[g, 0], x * TABLE[g, 1], x * TABLE[g, 2]
    e0 = multiply_add(x, TABLE[g, 0], -p0)
    e1 = multiply_add(x, TABLE[g, 1], -p1)
    e2 = multiply_add(x, TABLE[g, 2], -p2)
    # p0 may reach 2**63; then, the other terms reach 2**10.
    top = p0 - ((p0 + COARSE_MAGIC) - COARSE_MAGIC)
    middle, s = two_sum(e0, p1)
    shifted = (top + middle) + ROUND_MAGIC
    top = top - (shifted - ROUND_MAGIC)
    # Twice over the sum, since `top` may cancel `middle`.
    t, u = two_sum(e1, p2)
    s, v = two_sum(s, t)
    top, middle = two_sum(top, middle)
    middle, s = two_sum(middle, s)
    top, middle = two_sum(top, middle)
    tail = s + (v + (u + multiply_add(x, TABLE[g, 3], e2)))
    turns = top + (middle + tail)
    # Also right for denormal numbers, whose products are not.
    return low_bits(shifted), (a if abs(a) < 0.785 else turns * PI_HALF)


@njit(**INLINE)
def quick_reduction(a):
    """As `any_reduction`, for |a| <= QUICK_LIMIT."""
    shifted = a * TWO_OVER_PI + ROUND_MAGIC
    n = shifted - ROUND_MAGIC
    r = (a - n * PI_HALF_PARTS[0]) - n * PI_HALF_PARTS[1]
    r = (r - n * PI_HALF_PARTS[2]) - n * PI_HALF_PARTS[3]
    return low_bits(shifted), r


@njit(**INLINE)
def turned(n, r):
    """sin(n pi / 2 + r) and cos(n pi / 2 + r), |r| <= pi / 4.

    Polynomials of fdlibm, k_sin.c and k_cos.c: relative errors 2**-58.
    """
    t = r * r
    q = 1.58969099521155010221e-10
    q = q * t - 2.50507602534068634195e-08
    q = q * t + 2.75573137070700676789e-06
    q = q * t - 1.98412698298579493134e-04
    q = q * t + 8.33333333332248946124e-03
    q = q * t - 1.66666666666666324348e-01
    # The sign of -0 would be lost in the sum.
    odd = math.copysign(q * (t * r) + r, r)
    q = -1.13596475577881948265e-11
    q = q * t + 2.08757232129817482790e-09
    q = q * t - 2.75573143513906633035e-07
    q = q * t + 2.48015872894767294178e-05
    q = q * t - 1.38888888888741095749e-03
    q = q * t + 4.16666666666666019037e-02
    even = q * (t * t) + (1.0 - 0.5 * t)
    sine, cosine = (even, odd) if is_odd(n) else (odd, even)
    return negate_if(sine, n), negate_if(cosine, n + 1)


@njit(**INLINE)
def sin_pair(a):
    """sin(a) and cos(a), for every a."""
    n, r = any_reduction(a)
    return turned(n, r)


@njit(**INLINE)
def sin(a):
    """sin(a), for every a."""
    return sin_pair(a)[0]


@njit(**INLINE)
def quick_sin_pair(a):
    """sin(a) and cos(a), for |a| <= QUICK_LIMIT."""
    n, r = quick_reduction(a)
    return turned(n, r)


@njit(**INLINE)
def quick_sin(a):
    """sin(a), for |a| <= QUICK_LIMIT."""
    return quick_sin_pair(a)[0]
