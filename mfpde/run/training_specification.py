"""What a training shall do: checked, told to the file, and rebuilt from it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.data.checks import integer
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConfigurationError
from mfpde.flow import Restart
from mfpde.networks.batches import Batches
from mfpde.networks.descent import Descent, NetworkRow, TrainingState, descend
from mfpde.networks.optimisers import is_built_in, optimiser_from_description
from mfpde.networks.resnet import ResNet
from mfpde.networks.stopping import EarlyStopping
from mfpde.problem import MeanFieldProblem
from mfpde.recording import (
    Clock,
    Observer,
    check_observers,
    make_clocks,
    schedule_from_description,
)
from mfpde.run.divergence import blown_up
from mfpde.run.observers import built_in, observers_of
from mfpde.run.recorder import Cadence, Columns, Metadata, Row
from mfpde.run.solution import Solution
from mfpde.run.specification import (
    check_same_problem,
    describe_schedule,
    problem_for,
)
from mfpde.storage import open_run

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

    net: ResNet | None = None
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
class TrainingPlan:
    """Everything `train` was asked to do, checked."""

    descent: Descent
    n_iterations: int
    schedules: dict[str, Any]
    validation: tuple[Array, Array] | None
    early_stopping: EarlyStopping | None
    loss_below: float | None
    wall_time_s: float | None
    observers: dict[str, Observer]
    checkpoint_every_s: float
    theta_dtype: str = "f8"
    swmr: bool = True
    metadata: Metadata = field(default_factory=Metadata)

    kind = "network"

    @property
    def end(self) -> float:
        """Number of iterations, for the checkpoint: a restart may have moved it."""
        return float(self.n_iterations)

    def shared(self, communicator: Any) -> TrainingPlan:
        """The same: a network is trained by one process."""
        refuse_ranks(communicator)
        return self

    @property
    def columns(self) -> Columns:
        """The scalars that are recorded."""
        row = NetworkRow(self.descent.net.problem.loss, self.validation)
        return Columns(names=row.names, row=row)

    @functools.cached_property
    def times(self) -> Array:
        """Training time after 0, 1, ..., n_iterations iterations."""
        return self.descent.times(self.n_iterations)

    @property
    def s_end(self) -> float:
        """Training time after the last iteration."""
        return float(self.times[-1])

    def ending(
        self, state: TrainingState, rows: list[Row], waited_s: float
    ) -> tuple[str, str] | None:
        """(status, sentence) if the training shall end at this state.

        Rules on losses look at records only.
        """
        problem, where = self.descent.net.problem, f"iteration {state.step}"
        at_start = rows[0]["objective"]
        ending = blown_up(problem, state.latest[1], at_start, where)
        if ending is not None:
            return ending
        if rows[-1]["step"] == state.step:
            loss, limit = rows[-1]["loss"], self.loss_below
            if limit is not None and loss < limit:
                at = f"at iteration {state.step}"
                return "finished", f"The loss {loss:.4g} is below {limit:g} {at}."
            ending = self.early_stopping and self.early_stopping.ending(rows)
            if ending:
                return ending
        if state.step >= self.n_iterations:
            return "finished", f"Made all {self.n_iterations} iterations."
        if self.wall_time_s is not None and waited_s > self.wall_time_s:
            return "interrupted", (
                f"The wall time of {self.wall_time_s:g} s is over at iteration "
                f"{state.step}; resume continues."
            )
        return None

    def crossing(self, before: Any, after: Any, rows: list[Row]) -> None:
        """None: between two iterations there is nothing."""

    def completed(self, solution: Solution) -> Training:
        """The solution with what only a plan knows: the network."""
        values = {
            each.name: getattr(solution, each.name)
            for each in dataclasses.fields(Solution)
        }
        rows = [{"validation_loss": v} for v in self._validation_losses(solution)]
        return Training(
            **values,
            net=self.descent.net.with_parameters(
                ParticleEnsemble(solution.ensemble.theta, solution.ensemble.weights),
                solution.problem,
            ),
            n_passes=solution.n_evaluations / self.descent.batches.n_batches,
            best_record=self.early_stopping and self.early_stopping.best(rows),
        )

    def _validation_losses(self, solution: Solution) -> list[float]:
        return solution.scalars.get("validation_loss", np.empty(0)).tolist()

    def cadence(self, n_start: int = 0) -> Cadence:
        """When what is recorded: times are those of the nearest iterations."""
        times = self.times
        clocks = make_clocks(self.schedules, self.s_end, float(times[n_start]))
        clocks = {name: _on_iterations(clock, times) for name, clock in clocks.items()}
        stopping = self.early_stopping
        is_kept = {"is_worth_keeping": stopping.is_best} if stopping else {}
        return Cadence(
            scalars=clocks["record"],
            snapshots=clocks["snapshots"],
            states=None,
            checkpoint_every_s=self.checkpoint_every_s,
            **is_kept,
        )

    def states(
        self, cadence: Cadence, restart: Restart | None
    ) -> Iterator[TrainingState]:
        """The training itself, from the start or from a restart."""
        return descend(self.descent, restart)

    def describe(self) -> dict[str, Any]:
        """What `resume` needs to go on, as plain values."""
        descent, stopping = self.descent, self.early_stopping
        optimiser = descent.optimiser
        is_ours = is_built_in(optimiser)
        return {
            "problem": descent.net.problem.describe(),
            "grid": descent.net.grid.describe(),
            "network": descent.net.describe(),
            "training": {
                "n_iterations": self.n_iterations,
                "optimiser": optimiser.describe() if is_ours else None,
                "rate_sentence": optimiser.sentence(descent.net) if is_ours else "",
                **descent.batches.describe(),
                "schedules": {
                    name: describe_schedule(name, schedule)
                    for name, schedule in self.schedules.items()
                },
                "early_stopping": stopping and dataclasses.asdict(stopping),
                "loss_below": self.loss_below,
                "wall_time_s": self.wall_time_s,
                "checkpoint_every_s": self.checkpoint_every_s,
                "swmr": self.swmr,
            },
            "observers": list(self.observers),
            "built_in_observers": built_in(self.observers),
        }

    def extra_data(self) -> dict[str, tuple[Array, tuple[str, ...]]]:
        """Validation samples for the file."""
        if self.validation is None:
            return {}
        components = ("x_component", "y_component")
        return {
            name: (array, ("validation_sample", component))
            for name, array, component in zip(
                VALIDATION, self.validation, components, strict=True
            )
        }


def training_plan_of(
    run: Any,
    restart: Restart,
    n_iterations: int | None,
    problem: MeanFieldProblem | None,
    observers: Mapping[str, Observer] | None,
    optimiser: Any,
) -> TrainingPlan:
    """Rebuild the plan of a training from its file."""
    description = run.description
    training = description["training"]
    n_end = _end_of(run, restart, n_iterations)
    observers = observers_of(run, check_observers(observers))
    problem = problem_for(run, problem)
    check_same_problem(problem, run)
    optimiser = _optimiser_of(run, optimiser)
    net = _net_at(run, problem, restart)
    # Whoever asks for a later end does not want the rules that ended the run.
    rules = dict.fromkeys(("loss_below", "wall_time_s", "early_stopping"))
    if n_iterations is None:
        rules = {name: training[name] for name in rules}
    stopping = rules.pop("early_stopping")
    batch_size, seed = training["batch_size"], training["seed"]
    has_validation = VALIDATION[0] in run.data
    return TrainingPlan(
        descent=Descent(
            net,
            optimiser.bound(net, training["n_iterations"]),
            Batches(problem.n_samples, batch_size, seed),
        ),
        n_iterations=n_end,
        schedules={
            name: schedule_from_description(schedule)
            for name, schedule in training["schedules"].items()
        },
        validation=tuple(run.data[n] for n in VALIDATION) if has_validation else None,
        early_stopping=stopping and EarlyStopping(**stopping),
        **rules,
        observers=observers,
        checkpoint_every_s=training["checkpoint_every_s"],
        swmr=training["swmr"],
    )


def _end_of(run: Any, restart: Restart, n_iterations: int | None) -> int:
    """Iterations of a continued training."""
    if n_iterations is None:
        if run.status == "finished":
            raise ValueError(
                f"The run in {run.path} is finished: {run.message} Give "
                "`n_iterations` to go on."
            )
        planned = run.description["training"]["n_iterations"]
        return planned if restart.end is None else int(restart.end)
    if integer("n_iterations", n_iterations, 1) <= restart.step:
        raise ValueError(
            f"`n_iterations` must be more than the {restart.step} that the run in "
            f"{run.path} has made, got {n_iterations}."
        )
    return n_iterations


def _optimiser_of(run: Any, optimiser: Any) -> Any:
    """The optimiser of a run, or the one given for it."""
    described = run.description["training"]["optimiser"]
    if (described is None) == (optimiser is None):
        raise ValueError(
            "`optimiser` is needed for a run with an optimiser of your own, and must "
            f"be None for any other; the run in {run.path} used "
            f"{described or 'your own'}."
        )
    return optimiser if described is None else optimiser_from_description(described)


def _net_at(run: Any, problem: MeanFieldProblem, restart: Restart) -> ResNet:
    """The network of a run with the particles of a restart."""
    grid = run.description["grid"]
    shape = (len(run.t), len(run.weights), problem.k)
    theta = restart.y[: int(np.prod(shape))].reshape(shape)
    ensemble = ParticleEnsemble(theta, run.weights)
    return ResNet(problem, ensemble, grid["residual_scale"], grid["outer"])


def _on_iterations(clock: Clock, times: Array) -> Clock:
    """The clock whose times are those of the nearest iterations."""
    wanted = np.array(sorted(clock.exact))
    right = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    is_left = wanted - times[right - 1] <= times[right] - wanted
    return Clock(clock.schedule, frozenset(times[right - is_left].tolist()))
