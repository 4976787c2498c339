"""An optimiser with a memory: the sign of a running mean of the velocity."""

from dataclasses import dataclass

import numpy as np

import mfpde


@mfpde.register
@dataclass(frozen=True)
class SignedMean:
    """theta moves by learning_rate sign(m), m the running mean of its velocity.

    Parameters
    ----------
    learning_rate : float
        How far each parameter moves in an iteration.
    beta : float
        Weight of the past in the running mean.
    """

    learning_rate: float = 0.01
    beta: float = 0.9

    def __post_init__(self):
        if not 0.0 <= self.beta < 1.0:
            raise ValueError(f"`beta` must lie in [0, 1), got {self.beta!r}.")

    def bound(self, net, n_iterations):
        return self

    def step_size(self, iteration):
        return self.learning_rate

    def plain_rate(self, net, iteration):
        return self.learning_rate

    def start(self, size):
        return {"mean": np.zeros(size)}

    def update(self, y, rate, iteration, memory, out):
        mean = self.beta * memory["mean"] + (1.0 - self.beta) * rate
        np.copyto(out, y + self.learning_rate * np.sign(mean))
        return {"mean": mean}
