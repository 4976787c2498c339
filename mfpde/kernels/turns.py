"""Counters that threads share inside compiled code: who is next, whose turn it is."""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# More than all turns: what is counted up by it holds nobody up.
NEVER = 1 << 60
# Looks at a counter before the processor is offered to another thread.
PATIENCE = 200
_WORD = ir.IntType(64)
_yield_processor = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def fetch_and_add(typingctx, address, increment):
    """Add to the 64-bit counter at an address; returns what it was. Atomic."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _WORD.as_pointer())
        increment = context.cast(builder, args[1], signature.args[1], types.int64)
        return builder.atomic_rmw("add", pointer, increment, "seq_cst")

    return types.int64(address, increment), codegen


@intrinsic
def _load(typingctx, address):
    """The 64-bit counter at an address, with all that was written before it."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _WORD.as_pointer())
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(address), codegen


@njit(error_model="numpy")
def wait_until_at_least(address, value):
    """Return when the counter at the address has reached the value."""
    looks = 0
    while _load(address) < value:
        looks += 1
        if looks % PATIENCE == 0:
            _yield_processor()
