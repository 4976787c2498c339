"""One evaluation by several threads: what those beside the calling one do.

They go through state, adjoint and assembly without returning to Python, since handing
work to a thread costs as much as a small sweep. Between state and adjoint they wait at
a gate, while the calling thread computes the loss; if that takes long they leave, and
the work is handed to them again.
"""

from __future__ import annotations

from mfpde.kernels.assembly import assemble
from mfpde.kernels.compiled import njit
from mfpde.kernels.queue import pass_gate, wait_for_all
from mfpde.kernels.sweep import adjoint, forward


@njit(error_model="numpy", nogil=True)
def follow(state, gate, backward, n_blocks, backward_counts, assembly):
    """Take part in all phases: arguments of `forward`, `adjoint` and `assemble`.

    gate (2,), zeros at the start, is opened by the calling thread; backward_counts (2,)
    are those of the n_blocks of the adjoint.
    """
    forward(*state)
    if not pass_gate(gate):
        return
    adjoint(*backward)
    wait_for_all(backward_counts, n_blocks)
    assemble(*assembly)
