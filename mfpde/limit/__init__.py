"""Error estimates by solving again: of depth, particles and training time apart."""

from __future__ import annotations

from mfpde.limit.direct import estimate_error
from mfpde.limit.estimate import ErrorEstimate

__all__ = ["ErrorEstimate", "estimate_error"]
