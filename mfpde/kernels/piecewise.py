"""Activations made of polynomials, for float32 and float64 alike.

As in `vectormath`, NAME(a) is sigma(a) and NAME_pair(a) is (sigma(a), sigma'(a)). The
result has the type of `a`: a literal would be float64, and `constant` rounds it.
"""

from __future__ import annotations

from numba import njit

from mfpde.kernels.bits import constant

INLINE = {"fastmath": {"contract"}, "forceinline": True, "error_model": "numpy"}

LEAKY_SLOPE = 0.01


@njit(**INLINE)
def relu(a):
    """max(a, 0)."""
    zero = constant(0.0, a)
    return zero if a < zero else a


@njit(**INLINE)
def relu_pair(a):
    """max(a, 0) and 1 for a > 0, else 0."""
    zero, one = constant(0.0, a), constant(1.0, a)
    return relu(a), (one if a > zero else zero)


@njit(**INLINE)
def leaky_relu(a):
    """a for a > 0, else 0.01 a."""
    return constant(LEAKY_SLOPE, a) * a if a < constant(0.0, a) else a


@njit(**INLINE)
def leaky_relu_pair(a):
    """leaky_relu(a) and its slope, 0.01 at a = 0."""
    is_positive = a > constant(0.0, a)
    slope = constant(1.0, a) if is_positive else constant(LEAKY_SLOPE, a)
    return leaky_relu(a), slope


@njit(**INLINE)
def regularised_relu(a):
    """0 below -e, (a + e)^2 / (4 e) on [-e, e], a above; half-width e = 1/2."""
    half = constant(0.5, a)
    c = relu(a + half)
    return a if c > constant(1.0, a) else half * c * c


@njit(**INLINE)
def regularised_relu_pair(a):
    """regularised_relu(a) and its slope, (a + e) / (2 e) clipped to [0, 1]."""
    one = constant(1.0, a)
    c = relu(a + constant(0.5, a))
    return regularised_relu(a), (one if c > one else c)


@njit(**INLINE)
def squared_relu(a):
    """max(a, 0)^2."""
    c = relu(a)
    return c * c


@njit(**INLINE)
def squared_relu_pair(a):
    """max(a, 0)^2 and 2 max(a, 0)."""
    c = relu(a)
    return c * c, c + c


@njit(**INLINE)
def identity(a):
    """The activation a itself."""
    return a


@njit(**INLINE)
def identity_pair(a):
    """The activation a and 1."""
    return a, constant(1.0, a)
