"""The result of an error estimate: one number for each quantity and part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import shown

Array = NDArray[np.float64]

PARTS = ("depth", "particles", "time")
"""Where an error comes from: grid in depth t, sampling of rho, steps in s."""


@dataclass(frozen=True, eq=False, repr=False)
class ErrorEstimate:
    """Estimated errors of a solution, the largest over the times `s` and all entries.

    Attributes
    ----------
    parts : dict of str to dict of str to float
        For each quantity ("output", "loss", "loss_at_end", observables) the absolute
        error that comes from "depth", "particles" and "time" (training time); NaN where
        none could be estimated, which `notes` explains.
    s : ndarray, shape (R,)
        Training times that were compared.
    rounding : dict of str to float
        Floor of the total of each quantity.
    notes : tuple of str
        Sentences: how parts were estimated, what is left out.
    n_kernel_evaluations : int
        Node x particle x sample x right-hand side, over all solves for the estimate.
    """

    parts: Mapping[str, Mapping[str, float]]
    s: Array
    rounding: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    n_kernel_evaluations: int = 0

    def total(self, name: str = "output") -> float:
        """Sum of the known parts of one quantity, at least its rounding."""
        if not isinstance(name, str) or name not in self.parts:
            raise ValueError(
                f"`name` must be one of {', '.join(self.parts)}, got {shown(name)}."
            )
        known = [part for part in self.parts[name].values() if not math.isnan(part)]
        return max(sum(known), self.rounding.get(name, 0.0))

    @property
    def output(self) -> float:
        """Estimated error of the outputs, largest over samples and times."""
        return self.total("output")

    @property
    def loss(self) -> float:
        """Estimated error of the loss E of Eq. (3), largest over times."""
        return self.total("loss")

    @property
    def loss_at_end(self) -> float:
        """Estimated error of the loss at the last of the times."""
        return self.total("loss_at_end")

    @property
    def is_complete(self) -> bool:
        """Whether every part could be estimated."""
        return not any(
            math.isnan(part) for each in self.parts.values() for part in each.values()
        )

    def table(self) -> dict[str, dict[str, float]]:
        """Parts and total of every quantity, by name."""
        return {
            name: {**{part: each[part] for part in PARTS}, "total": self.total(name)}
            for name, each in self.parts.items()
        }

    def __repr__(self) -> str:
        total = ", ".join(f"{name}={self.total(name):.2g}" for name in self.parts)
        parts = ", ".join(f"{p} {v:.2g}" for p, v in self.parts["output"].items())
        return f"ErrorEstimate({total}; of the output: {parts})"
