"""The training of a network as dynamics of a run, and what it finds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.describe import described, phrase
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConfigurationError
from mfpde.losses import accuracy, has_classes
from mfpde.networks.parts import predict_in_parts
from mfpde.networks.resnet import ResNet
from mfpde.networks.stopping import EarlyStopping
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Clock, make_clocks
from mfpde.run.descent import Descent, TrainingState, descend
from mfpde.run.solution import Solution
from mfpde.run.specification import Dynamics, ExtraData, Row
from mfpde.run.states import Checkpoint
from mfpde.run.stopping import Reason
from mfpde.storage import open_run

__all__ = ["VALIDATION", "Training", "TrainingDynamics", "refuse_ranks"]

Array = NDArray[np.float64]
VALIDATION = ("x_validation", "y_validation")


@dataclass(frozen=True, eq=False, repr=False)
class Training(Solution):
    """What a training found: a `Solution`, and the network.

    Attributes
    ----------
    net : ResNet
        At the end.
    n_passes : float
        Passes through the data.
    best_record : int or None
        Place of the record with the best validation loss, where there is early
        stopping.

    Notes
    -----
    `n_steps` counts iterations, `n_evaluations` evaluations of a batch, and `s` is
    training time as the optimiser counts it. `dissipation` and `gradient_norm` are
    those of Eqs. (10) and (14) on all data.
    """

    net: ResNet = dataclasses.field(kw_only=True)
    n_passes: float = 0.0
    best_record: int | None = None

    @property
    def n_kernel_evaluations(self) -> int:
        """Layer x particle x sample x evaluation of all batches."""
        size = self.ensemble.n_nodes * self.ensemble.n_particles
        return round(size * self.problem.n_samples * self.n_passes)

    def best(self) -> ResNet:
        """The network at the best record, from its snapshot in memory or in the file.

        Raises
        ------
        ValueError
            If there was no early stopping, which keeps it.
        """
        if self.best_record is None:
            raise ValueError(
                "There is no best record: give `train` a `validation` and "
                "`early_stopping`."
            )
        if self.path is None:
            return self._at_best(self.snapshot_s, self.theta, self.maps)
        with open_run(self.path) as run:
            return self._at_best(run.snapshot_s, run.theta, run.trainable)

    def _at_best(self, times: Array, theta: Any, maps: Mapping[str, Any]) -> ResNet:
        """The network at the snapshot of the best record."""
        place = int(np.flatnonzero(times == self.s[self.best_record])[0])
        matrices = {name: maps[name][place] for name in maps}
        problem = self.problem.with_parameters(**matrices) if maps else self.problem
        ensemble = ParticleEnsemble(theta[place], self.ensemble.weights)
        return self.net.with_parameters(ensemble, problem)


def refuse_ranks(communicator: Any) -> None:
    """Raise ConfigurationError if a network is to be trained by several ranks."""
    n_ranks = 1 if communicator is None else communicator.Get_size()
    if n_ranks > 1:
        raise ConfigurationError(
            [
                f"A network is trained by one process, but mpiexec started {n_ranks}: "
                "start it without mpiexec, or with -n 1."
            ]
        )


@dataclass(frozen=True, kw_only=True)
class TrainingDynamics(Dynamics):
    """The training of a network, Eq. (10); see `Dynamics`.

    Attributes
    ----------
    descent : Descent
    n_iterations : int
    validation : (ndarray, ndarray) or None
    early_stopping : EarlyStopping or None
    loss_below : float or None
        Conditions on losses look at records only.
    """

    descent: Descent
    n_iterations: int
    validation: tuple[Array, Array] | None
    early_stopping: EarlyStopping | None
    loss_below: float | None

    kind = "network"

    @property
    def problem(self) -> MeanFieldProblem:
        """The problem at the start."""
        return self.descent.net.problem

    @property
    def end(self) -> float:
        """Number of iterations."""
        return float(self.n_iterations)

    @functools.cached_property
    def times(self) -> Array:
        """Training time after 0, 1, ..., n_iterations iterations."""
        return self.descent.times(self.n_iterations)

    @property
    def s_end(self) -> float:
        """Training time after the last iteration."""
        return float(self.times[-1])

    def row(self, state: TrainingState) -> Row:
        """The scalars of a state, on all data."""
        evaluation, descent, loss = state.evaluation, self.descent, self.problem.loss
        row = {
            "loss": evaluation.loss,
            "objective": evaluation.objective,
            "batch_loss": state.memory["batch_loss"],
            "learning_rate": descent.optimiser.plain_rate(descent.net, state.step),
            "dissipation": evaluation.dissipation,
            "second_moment": evaluation.second_moment,
            "gradient_norm": evaluation.gradient_norm,
            "step_size": state.step_size,
            "n_evaluations": float(state.n_evaluations),
        }
        if has_classes(loss):
            row["train_accuracy"] = accuracy(evaluation.output, state.problem.y)
        if self.validation is not None:
            x, y = self.validation
            output = predict_in_parts(state.problem, state.grid, state.ensemble, x)
            row["validation_loss"] = float(np.mean(loss.values(output, y)))
            if has_classes(loss):
                row["validation_accuracy"] = accuracy(output, y)
        return row

    @property
    def extra_data(self) -> ExtraData:
        """Validation samples."""
        if self.validation is None:
            return {}
        components = ("x_component", "y_component")
        return {
            name: (array, ("validation_sample", component))
            for name, array, component in zip(
                VALIDATION, self.validation, components, strict=True
            )
        }

    def clocks(
        self, schedules: Mapping[str, Any], checkpoint: Checkpoint | None
    ) -> dict[str, Clock | None]:
        """When what is recorded: times are those of the nearest iterations."""
        step = checkpoint.step if checkpoint else 0
        clocks = make_clocks(schedules, self.s_end, float(self.times[step]))
        return {
            name: clock and _on_iterations(clock, self.times)
            for name, clock in clocks.items()
        }

    def states(
        self, tstops: set[float], checkpoint: Checkpoint | None
    ) -> Iterator[TrainingState]:
        """The training itself."""
        return descend(self.descent, checkpoint)

    def stop(self, state: TrainingState, rows: Sequence[Row]) -> Reason | None:
        """What a record says of the losses, and the number of iterations."""
        if rows[-1]["step"] == state.step:
            loss, limit = rows[-1]["loss"], self.loss_below
            if limit is not None and loss < limit:
                at = f"at iteration {state.step}"
                return "finished", f"The loss {loss:.4g} is below {limit:g} {at}."
            if self.early_stopping and (reason := self.early_stopping.ending(rows)):
                return reason
        if state.step >= self.n_iterations:
            return "finished", f"Made all {self.n_iterations} iterations."
        return None

    def is_worth_keeping(self, rows: Sequence[Row]) -> bool:
        """Whether early stopping takes the last record for the best."""
        return bool(self.early_stopping and self.early_stopping.is_best(rows))

    def place(self, state: TrainingState) -> str:
        """The iteration."""
        return f"iteration {state.step}"

    def describe(self) -> dict[str, Any]:
        """What `resume` needs, as plain values."""
        descent, stopping = self.descent, self.early_stopping
        net, optimiser = descent.net, descent.optimiser
        return {
            "problem": net.problem.describe(),
            "grid": net.grid.describe(),
            "network": net.describe(),
            "training": {
                "n_iterations": self.n_iterations,
                "optimiser": described(optimiser),
                "rate_sentence": _sentence(optimiser, net),
                **descent.batches.describe(),
                "early_stopping": stopping and dataclasses.asdict(stopping),
                "loss_below": self.loss_below,
            },
        }

    def solution(self, values: dict[str, Any], state: TrainingState) -> Training:
        """The solution of the run."""
        losses = values["scalars"].get("validation_loss", np.empty(0)).tolist()
        rows = [{"validation_loss": loss} for loss in losses]
        ensemble = ParticleEnsemble(state.ensemble.theta, state.ensemble.weights)
        theta = np.array(values.pop("theta")).reshape(-1, *ensemble.theta.shape)
        return Training(
            **values,
            theta=theta,
            ensemble=state.ensemble,
            net=self.descent.net.with_parameters(ensemble, state.problem),
            n_passes=state.n_evaluations / self.descent.batches.n_batches,
            best_record=self.early_stopping and self.early_stopping.best(rows),
        )


def _on_iterations(clock: Clock, times: Array) -> Clock:
    """The clock whose times are those of the nearest iterations."""
    wanted = np.array(sorted(clock.exact))
    right = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    is_left = wanted - times[right - 1] <= times[right] - wanted
    return Clock(clock.schedule, frozenset(times[right - is_left].tolist()))


def _sentence(optimiser: Any, net: ResNet) -> str:
    """How an optimiser moves a network, for the run summary."""
    say = getattr(optimiser, "sentence", None)
    return (say(net) if say else "") or f"{phrase(described(optimiser))}."
