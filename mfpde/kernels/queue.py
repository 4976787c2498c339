"""Counters that threads share inside compiled code: who is next, whose turn it is.

Work is cut into pieces; a pair `counts` holds how many are taken and how many done.
Waiting is busy for some microseconds, since waking a thread takes longer than that.
A thread waits without end only for pieces that another one works on: those are always
done, while the thread that hands out the work may leave it at any moment, through an
exception. Nobody waits for that thread longer than about a millisecond.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mfpde.kernels.compiled import njit

# More than all turns: what is counted up by it holds nobody up.
NEVER = 1 << 60
# Looks at a counter before the processor is offered to another thread, and offers
# before the thread sleeps for a while.
PATIENCE = 200
MOST_OFFERS = 2000
NAP_MICROSECONDS = 50
_WORD = ir.IntType(64)
_yield_processor = types.ExternalFunction("sched_yield", types.int32())
_sleep = types.ExternalFunction("usleep", types.int32(types.uint32))


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


@njit(error_model="numpy", nogil=True)
def wait_until_at_least(address, value):
    """Return when the counter at the address has reached the value."""
    looks = 0
    while _load(address) < value:
        looks += 1
        if looks % PATIENCE == 0:
            if looks < PATIENCE * MOST_OFFERS:
                _yield_processor()
            else:
                _sleep(types.uint32(NAP_MICROSECONDS))


@njit(error_model="numpy", nogil=True)
def take(counts):
    """The number of the next piece of work: pieces are taken in their order."""
    return fetch_and_add(counts.ctypes.data, 1)


@njit(error_model="numpy", nogil=True)
def finish(counts):
    """Count a piece of work as done."""
    fetch_and_add(counts[1:].ctypes.data, 1)


@njit(error_model="numpy", nogil=True)
def wait_for_all(counts, n_pieces):
    """Return when all pieces of work are done, by whatever thread."""
    wait_until_at_least(counts[1:].ctypes.data, n_pieces)


@njit(error_model="numpy", nogil=True)
def close(counts, n_pieces):
    """Let nobody take further pieces, and return when those taken are done.

    Of several works at once: `counts`, a tuple of pairs, and `n_pieces`, of as many
    numbers. They are closed in their order, so a work that follows another one comes
    first. Those who wait for all pieces of a work go on. A gate is a work without
    pieces.
    """
    for i in range(len(counts)):
        taken = fetch_and_add(counts[i].ctypes.data, NEVER)
        done = counts[i][1:].ctypes.data
        wait_until_at_least(done, min(taken, n_pieces[i]))
        fetch_and_add(done, NEVER)


@njit(error_model="numpy", nogil=True)
def open_gate(gate):
    """Let those pass who wait at a gate (2,), zeros at the start."""
    fetch_and_add(gate.ctypes.data, 1)


@njit(error_model="numpy", nogil=True)
def pass_gate(gate):
    """Wait for a gate to open, for a while; returns whether it is open.

    False also for a gate that has been closed. gate[1] counts those who were there too
    early and have left.
    """
    looks = 0
    while True:
        state = _load(gate.ctypes.data)
        if state != 0:
            return state == 1
        looks += 1
        if looks % PATIENCE == 0:
            if looks >= PATIENCE * MOST_OFFERS:
                fetch_and_add(gate[1:].ctypes.data, 1)
                return False
            _yield_processor()
