"""Operations on the bits of float32 and float64 numbers, for `vectormath` and its twin.

Branch-free, and vectorised like arithmetic: each is one to three instructions on whole
registers. A number n is passed "shifted", as n + 1.5 * 2**52 (float64) or
n + 1.5 * 2**23 (float32): the addition rounds to an integer, which stands in the low
mantissa bits.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Integer of the same width, mantissa bits and the bits of 1.0 of each type.
_LAYOUT = {
    types.float32: (ir.IntType(32), 23, 0x3F800000),
    types.float64: (ir.IntType(64), 52, 0x3FF0000000000000),
}


@intrinsic
def power_of_two(typingctx, shifted):
    """2**n for n + 1.5 * 2**52 (or 2**23), n in the exponent range of the type."""
    integer, mantissa, one = _LAYOUT[shifted]

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], integer)
        exponent = builder.shl(bits, ir.Constant(integer, mantissa))
        result = builder.add(exponent, ir.Constant(integer, one))
        return builder.bitcast(result, args[0].type)

    return shifted(shifted), codegen


@intrinsic
def upper_half(typingctx, a):
    """The argument with the lower half of its mantissa cleared: its square is exact."""
    integer, mantissa, _ = _LAYOUT[a]

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], integer)
        mask = ir.Constant(integer, -(1 << (mantissa // 2 + 1)))
        return builder.bitcast(builder.and_(bits, mask), args[0].type)

    return a(a), codegen


@intrinsic
def low_bits(typingctx, shifted):
    """The integer n modulo 2**32, for n + 1.5 * 2**52 (or 2**23)."""
    integer, _, _ = _LAYOUT[shifted]

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], integer)
        narrow = ir.IntType(32)
        return bits if integer == narrow else builder.trunc(bits, narrow)

    return types.int32(shifted), codegen


@intrinsic
def exponent_group(typingctx, a):
    """The biased exponent of a float64 number, divided by 8: from 0 to 255."""

    def codegen(context, builder, signature, args):
        integer = ir.IntType(64)
        bits = builder.bitcast(args[0], integer)
        bits = builder.lshr(bits, ir.Constant(integer, 52 + 3))
        return builder.and_(bits, ir.Constant(integer, 255))

    return types.uint64(types.float64), codegen


@intrinsic
def is_odd(typingctx, n):
    """Whether the integer n is odd."""

    def codegen(context, builder, signature, args):
        return builder.trunc(args[0], ir.IntType(1))

    return types.boolean(n), codegen


@intrinsic
def negate_if(typingctx, a, n):
    """-a where n modulo 4 is 2 or 3, else a; n an integer of 32 or 64 bits."""
    integer, _, _ = _LAYOUT[a]

    def codegen(context, builder, signature, args):
        resized = context.cast(builder, args[1], n, _SIGNED[integer.width])
        top = builder.shl(resized, ir.Constant(integer, integer.width - 2))
        sign = builder.and_(top, ir.Constant(integer, 1 << (integer.width - 1)))
        flipped = builder.xor(builder.bitcast(args[0], integer), sign)
        return builder.bitcast(flipped, args[0].type)

    return a(a, n), codegen


_SIGNED = {32: types.int32, 64: types.int64}


@intrinsic
def multiply_add(typingctx, a, b, c):
    """a b + c with one rounding, whatever the processor; all float64."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def constant(typingctx, value, like):
    """A float64 value, rounded to the type of `like`."""

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[0], types.float64, like)

    return like(types.float64, like), codegen
