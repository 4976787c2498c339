"""Steps that are too large: what they do to the objective before it overflows."""

from __future__ import annotations

import numpy as np

from mfpde.problem import MeanFieldProblem

MOST_GROWTH = 1e12
"""Of the objective, beyond which steps in s have blown up. For a squared loss the
outputs are then a million times as large as the targets and those of the start: no
momentum, noise, small batch or overshoot that ends well goes so far, and the balance
(14), by which E_s falls, is long lost."""


def blown_up(
    problem: MeanFieldProblem, objective: float, at_start: float, where: str
) -> tuple[str, str] | None:
    """("failed", sentence) if an objective is beyond anything that descent explains.

    It is compared with the largest of the objective at the start, and the losses of
    outputs that no block has made: of zero, and of the state z(0). A start near zero
    loss may well be left by large steps for a place from where they go down.

    Parameters
    ----------
    problem : MeanFieldProblem
        At the start.
    objective, at_start : float
        E_s, or the loss of a batch, now and at s = 0.
    where : str
        The step, in words.
    """
    if objective <= MOST_GROWTH * abs(at_start):
        return None
    size = max(abs(at_start), _loss_without_blocks(problem))
    if size == 0.0 or objective <= MOST_GROWTH * size:
        return None
    return "failed", (
        f"The objective has grown from {at_start:.4g} at s = 0 to {objective:.4g} at "
        f"{where}: the steps are too large and blow up. Reduce `ds`, the learning rate "
        "or the scale of the data."
    )


def _loss_without_blocks(problem: MeanFieldProblem) -> float:
    """The larger loss of the outputs zero and C z(0)."""
    output = problem.z0
    if problem.readout is not None:
        output = output @ problem.readout.matrix.T
    losses = [
        problem.loss.values(each, problem.y) for each in (np.zeros_like(output), output)
    ]
    return max(abs(float(problem.sample_weights @ values)) for values in losses)
