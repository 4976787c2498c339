"""Error estimates by solving again: of depth, particles and training time apart."""

from __future__ import annotations

from mfpde.limit.direct import estimate_error
from mfpde.limit.solver import solve_limit

__all__ = ["estimate_error", "solve_limit"]
