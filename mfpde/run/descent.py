"""The training of a network: the loop, one iteration at a time.

State n holds the gradient of batch n: a blow-up is noticed before the state is given
out. What a state says about all data is computed when it is first used.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.engine.sharding import Space
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import Evaluation, evaluate
from mfpde.networks.batches import Batches
from mfpde.networks.parts import evaluate_in_parts
from mfpde.networks.resnet import ResNet
from mfpde.problem import MeanFieldProblem
from mfpde.run.flow import Layout
from mfpde.run.states import Checkpoint
from mfpde.steppers.base import counted_time

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Descent:
    """What is trained, and how.

    Attributes
    ----------
    net : ResNet
        At the start.
    optimiser : object
        Bound to the network, see `optimisers`.
    batches : Batches
    """

    net: ResNet
    optimiser: Any
    batches: Batches

    @functools.cached_property
    def layout(self) -> Layout:
        """Places of theta and the trained maps in the flat vector."""
        ensemble = self.net.ensemble
        space = Space(ensemble.shard, ensemble.theta.shape)
        weights = np.asarray(ensemble.weights)
        return Layout(self.net.problem, self.net.grid, space, weights)

    def times(self, n_iterations: int) -> Array:
        """Training time s after 0, ..., n_iterations iterations.

        Raises
        ------
        ValueError
            If it does not grow: the learning rate is 0 somewhere.
        """
        steps = [float(self.optimiser.step_size(n)) for n in range(n_iterations)]
        is_positive = np.array(steps) > 0
        if not is_positive.all():
            raise ValueError(
                "The learning rate must be positive, got 0 at iteration "
                f"{np.argmin(is_positive)} of {n_iterations}; the schedule ends "
                "earlier."
            )
        times, clock = [0.0], {}
        for step in steps:
            s, clock = counted_time(times[-1], step, clock)
            times.append(s)
        return np.array(times)

    def batch(self, iteration: int) -> MeanFieldProblem:
        """The problem on the samples of an iteration.

        Their weights are N / |B| times their own, so that the gradient is that of all
        data in the mean.
        """
        problem, batches = self.net.problem, self.batches
        if batches.is_whole:
            return problem
        index = batches.index(iteration)
        factor = batches.n_samples / len(index)
        return problem.on_samples(index, problem.sample_weights[index] * factor)


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingState(Checkpoint):
    """A network after `step` iterations; see `Checkpoint`.

    Attributes
    ----------
    y, rate : ndarray
        Parameters (theta, trained maps and one unused entry) and minus the gradient of
        the batch of the next iteration.
    memory : dict
        That of the optimiser, of `counted_time`, and "batch_loss": the mean over the
        batches of about one pass, in which every batch counts less the older it is.
    """

    descent: Descent
    rate: Array
    on_batch: Evaluation | None

    @property
    def grid(self) -> DepthGrid:
        """The layers."""
        return self.descent.net.grid

    @property
    def ensemble(self) -> ParticleEnsemble:
        """The present particles."""
        theta, _, _ = self.descent.layout.unpack(self.y)
        return ParticleEnsemble.view(theta, self.descent.layout.weights)

    @functools.cached_property
    def problem(self) -> MeanFieldProblem:
        """The problem, all data, with the present trained maps."""
        _, maps, _ = self.descent.layout.unpack(self.y)
        problem = self.descent.net.problem
        return problem.with_parameters(**maps) if maps else problem

    @functools.cached_property
    def evaluation(self) -> Evaluation:
        """On all data, in parts if need be; the work of a record."""
        if self.on_batch is not None:
            return self.on_batch
        return evaluate_in_parts(self.problem, self.grid, self.ensemble, self.s)

    @property
    def latest(self) -> tuple[float, float]:
        """Mean loss of the latest batches, twice, as progress shows it."""
        loss = self.memory["batch_loss"]
        return loss, loss


def descend(
    descent: Descent, checkpoint: Checkpoint | None = None
) -> Iterator[TrainingState]:
    """Iterate without end, yielding the start and the state after every iteration.

    Raises
    ------
    NotFiniteError
        If a network blows up.
    """
    if checkpoint is None:
        net, layout = descent.net, descent.layout
        maps = {name: m.matrix for name, m in net.problem.trained_maps.items()}
        y = layout.pack(net.ensemble.theta, maps, 0.0)
        state = _state(descent, 0.0, 0, 0.0, y, descent.optimiser.start(len(y)))
    else:
        at = checkpoint
        state = _state(descent, at.s, at.step, at.step_size, at.y, at.memory)
    while True:
        yield state
        state = _advance(descent, state)


def _advance(descent: Descent, state: TrainingState) -> TrainingState:
    optimiser, n = descent.optimiser, state.step
    y = np.empty_like(state.y)
    memory = optimiser.update(state.y, state.rate, n, state.memory, y)
    memory["batch_loss"] = state.memory["batch_loss"]
    step_size = float(optimiser.step_size(n))
    s, clock = counted_time(state.s, step_size, state.memory)
    return _state(descent, s, n + 1, step_size, y, memory | clock)


def _state(
    descent: Descent,
    s: float,
    step: int,
    step_size: float,
    y: Array,
    memory: dict[str, Any],
) -> TrainingState:
    """The state with parameters y, which a checkpoint has counted already."""
    is_whole = descent.batches.is_whole
    evaluation = evaluate_in_parts if is_whole else evaluate
    point = descent.layout.point(s, y, descent.batch(step), evaluation)
    # Nothing of the flow's ledger is kept in the last entry.
    point.rate[-1] = 0.0
    return TrainingState(
        descent=descent,
        s=s,
        step=step,
        step_size=step_size,
        n_evaluations=step + 1,
        n_rejected=0,
        y=y,
        rate=point.rate,
        memory=_with_loss(memory, step, point.info.loss, descent.batches.n_batches),
        on_batch=point.info if is_whole else None,
    )


def _with_loss(
    memory: dict[str, Any], step: int, loss: float, n_batches: int
) -> dict[str, Any]:
    """The memory, in which the loss of batch number `step` counts.

    "n_losses" tells whether it does already, as in a checkpoint.
    """
    if memory.get("n_losses", 0) == step + 1:
        return memory
    mean = memory.get("batch_loss", 0.0)
    mean += (loss - mean) / min(step + 1, n_batches)
    return memory | {"batch_loss": mean, "n_losses": step + 1}
