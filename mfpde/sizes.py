"""Inputs and targets so large that a run would crawl or overflow, and the advice."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import DataWarning

LARGE = 30.0
"""Root mean square of states z(0) or targets from which on we warn.

Steps shrink like its square: with normal particles, dopri5 was seen to make some 40
evaluations for a unit of s at 1, a few thousand at 30, and a million at 1000.
"""
HUGE = 1e6
"""Size from which on it, and nothing else, is given as the cause of a failure."""

_INPUTS = "Bring the inputs to size 1: `standardise` = true (or a smaller `scale`)"
_TARGETS = "Bring the targets to size 1: `standardise_target` = true"


def root_mean_square(rows: NDArray[np.float64]) -> float:
    """Root of the mean over rows (N, d) of |row|^2, without overflow below it."""
    largest = float(np.abs(rows).max(initial=0.0))
    if not largest:
        return 0.0
    with np.errstate(under="ignore", over="ignore"):
        return largest * float(np.sqrt(np.mean(np.sum((rows / largest) ** 2, axis=1))))


def advice(problem: Any) -> list[str]:
    """A sentence for inputs and one for targets that are too large, with its key."""
    found = []
    inputs = root_mean_square(problem.z0)
    if inputs > LARGE:
        found.append(
            f"The states z(0) have size {inputs:.2g} (root mean square). {_INPUTS}."
        )
    has_classes = getattr(problem.loss, "has_classes", False)
    targets = 0.0 if has_classes else root_mean_square(problem.y)
    if targets > LARGE:
        found.append(
            f"The targets have size {targets:.2g} (root mean square). {_TARGETS}."
        )
    return found


def cause(problem: Any, otherwise: str) -> str:
    """Why something is not finite: huge inputs or targets, or `otherwise`.

    Both are named where inputs or targets are large, but may not be the cause.
    """
    found = advice(problem)
    sizes = root_mean_square(problem.z0), root_mean_square(problem.y)
    is_certain = found and max(sizes) > HUGE
    return " ".join(found if is_certain else [otherwise, *found])


def warn_of_sizes(problem: Any) -> None:
    """Warn if inputs or targets are so large that the flow takes very small steps.

    The place of the warning is this line, so that one problem is warned of once.
    """
    found = advice(problem)
    if found:
        warnings.warn(
            " ".join(found) + " Steps in training time s shrink like the square of "
            "that size, and the run would crawl.",
            DataWarning,
            stacklevel=1,
        )
