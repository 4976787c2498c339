"""Arrays that start on a cache line.

The rows of a sweep are then read by whole vectors; starting elsewhere, as NumPy's
arrays may, most vectors cross two cache lines, which costs 10 % of a kernel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CACHE_LINE = 64


def empty_aligned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a C-contiguous array of that shape, not initialised."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + CACHE_LINE, dtype=np.uint8)
    start = -raw.__array_interface__["data"][0] % CACHE_LINE
    return raw[start : start + n_bytes].view(dtype).reshape(shape)
