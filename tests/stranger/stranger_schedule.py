"""A schedule of the learning rate: 1 / sqrt(1 + iteration / half_life)."""

from dataclasses import dataclass

import mfpde


@mfpde.register
@dataclass(frozen=True)
class InverseRoot:
    """The learning rate times (1 + n / scale)^(-1/2) in iteration n.

    Parameters
    ----------
    scale : float
        Iterations after which it has fallen by the root of two.
    """

    scale: float = 10.0

    def __post_init__(self):
        if not self.scale > 0.0:
            raise ValueError(f"`scale` must be positive, got {self.scale!r}.")

    def factor(self, iteration):
        return (1.0 + iteration / self.scale) ** -0.5

    def over(self, n_iterations):
        return self
