"""A loss with a parameter: Huber's, by its square root form."""

from dataclasses import dataclass

import numpy as np

import mfpde


@mfpde.register
@dataclass(frozen=True)
class PseudoHuber:
    """width^2 (sqrt(1 + |out - y|^2 / width^2) - 1) for each sample.

    Parameters
    ----------
    width : float
        Where it turns from a square into a distance.
    """

    width: float = 1.0

    def __post_init__(self):
        if not self.width > 0.0:
            raise ValueError(f"`width` must be positive, got {self.width!r}.")

    def values(self, output, y):
        return self.width**2 * (self._root(output, y)[:, 0] - 1.0)

    def gradients(self, output, y):
        return (output - y) / self._root(output, y)

    def _root(self, output, y):
        squares = np.sum((output - y) ** 2, axis=1, keepdims=True)
        return np.sqrt(1.0 + squares / self.width**2)
