"""`train`: the optimisation of a network, drained into the journal of a flow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import check_positive, float_array
from mfpde.data.checks import integer
from mfpde.draining import Progress, drain
from mfpde.ensemble import ParticleEnsemble
from mfpde.flow import Restart
from mfpde.journal import Cadence, Columns, Journal, Metadata, Row
from mfpde.networks.batches import Batches
from mfpde.networks.descent import Descent, NetworkRow, TrainingState, descend
from mfpde.networks.optimisers import (
    OPTIMISERS,
    check_optimiser,
    optimiser_from_description,
)
from mfpde.networks.resnet import ResNet
from mfpde.networks.stopping import EarlyStopping
from mfpde.plan import (
    check_same_observers,
    check_same_problem,
    describe_schedule,
    make_metadata,
    problem_for,
)
from mfpde.problem import MeanFieldProblem
from mfpde.recording import (
    Clock,
    Observer,
    Steps,
    check_observers,
    make_clocks,
    make_schedule,
    schedule_from_description,
)
from mfpde.solution import Solution
from mfpde.storage import check_writable, open_run

Array = NDArray[np.float64]
VALIDATION = ("x_validation", "y_validation")
# Records of a training unless told otherwise.
N_RECORDS = 100


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
        s = self.s[self.best_record]
        if self.path is None:
            times, theta, maps = self.snapshot_s, self.theta, self.maps
        else:
            with open_run(self.path) as run:
                times, theta, maps = run.snapshot_s, run.theta, run.trainable
                return self._at(int(np.flatnonzero(times == s)[0]), theta, maps)
        return self._at(int(np.flatnonzero(times == s)[0]), theta, maps)

    def _at(self, place: int, theta: Any, maps: Mapping[str, Any]) -> ResNet:
        """The network at one snapshot."""
        matrices = {name: maps[name][place] for name in maps}
        problem = self.problem.with_parameters(**matrices) if maps else self.problem
        ensemble = ParticleEnsemble(theta[place], self.ensemble.weights)
        return self.net.with_parameters(ensemble, problem)


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
    def columns(self) -> Columns:
        """The scalars that are recorded."""
        row = NetworkRow(self.descent.net.problem.loss, self.validation)
        return Columns(names=row.names, row=row)

    @property
    def s_end(self) -> float:
        """Training time after the last iteration."""
        return float(self.descent.times(self.n_iterations)[-1])

    def ending(
        self, state: TrainingState, rows: list[Row], waited_s: float
    ) -> tuple[str, str] | None:
        """(status, sentence) if the training shall end at this state.

        Rules on losses look at records only.
        """
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
        times = self.descent.times(self.n_iterations)
        clocks = make_clocks(self.schedules, float(times[-1]), float(times[n_start]))
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
        is_ours = type(optimiser) in OPTIMISERS.values()
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


def train(
    net: ResNet,
    optimiser: Any,
    *,
    n_iterations: int,
    batch_size: int | None = None,
    seed: int = 0,
    record: Any = None,
    snapshots: Any = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool | Progress = False,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    early_stopping: EarlyStopping | None = None,
    observers: Mapping[str, Observer] | None = None,
    loss_below: float | None = None,
    wall_time_s: float | None = None,
    metadata: Metadata | Mapping[str, Any] | None = None,
    checkpoint_every_s: float = 10.0,
    theta_dtype: str = "f8",
    swmr: bool = True,
) -> Training:
    """Train a residual network, Eq. (10), by an optimiser.

    Plain gradient descent on all data, `SGD(ds=ds)` with residual scale "ode", is
    `solve(problem, DepthGrid.euler(L), ens, stepper="euler", ds=ds)`, bit for bit.

    Parameters
    ----------
    net : ResNet
        At the start.
    optimiser : SGD, Adam or object
        See `mfpde.networks`.
    n_iterations : int
        Updates of the parameters.
    batch_size : int, optional
        Most samples in a mini-batch; None takes all data in every iteration.
    seed : int
        Of the shuffles, see `mfpde.networks.Batches`.
    record, snapshots : sequence of float or schedule, optional
        When quantities on all data, and theta, are recorded: training times s, of which
        the nearest iterations are taken, or a schedule of `mfpde.recording` such as
        Steps(100). None is about 100 records, and start and end of theta.
    output, overwrite, progress, observers, metadata, checkpoint_every_s, theta_dtype, \
swmr
        As for `solve`. Progress shows the mean loss of the latest batches.
    validation : (array_like, array_like), optional
        x (n, d_in) and y (n, q), whose loss, and accuracy for classes, are recorded.
    early_stopping : EarlyStopping, optional
        End when the recorded validation loss does not improve; the best network is kept
        as a snapshot, see `Training.best`.
    loss_below : float, optional
        End when a recorded loss is below.
    wall_time_s : float, optional
        End after so many seconds; `resume` continues.

    Returns
    -------
    Training
        A blow-up, SIGINT and SIGTERM end the training with the last good state
        recorded, and are told in `status` and `message`.

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit.
    NotFiniteError
        If the network blows up already at the start.
    FileExistsError, FileNotFoundError, PermissionError, OSError
        If the file cannot be created or written.
    """
    if not isinstance(net, ResNet):
        raise TypeError(f"`net` must be a ResNet, got {type(net).__name__}.")
    check_optimiser(optimiser)
    n_iterations = integer("n_iterations", n_iterations, 1)
    batches = Batches(net.problem.n_samples, batch_size, seed)
    if early_stopping is not None and validation is None:
        raise ValueError("`early_stopping` needs `validation` samples, got None.")
    for name, value in (("loss_below", loss_below), ("wall_time_s", wall_time_s)):
        if value is not None:
            check_positive(name, value)
    check_positive("checkpoint_every_s", checkpoint_every_s)
    if record is None:
        record = Steps(max(1, n_iterations // N_RECORDS))
    plan = TrainingPlan(
        descent=Descent(net, optimiser.bound(net, n_iterations), batches),
        n_iterations=n_iterations,
        schedules={
            "record": make_schedule("record", record),
            "snapshots": make_schedule("snapshots", snapshots),
        },
        validation=_checked_validation(validation, net.problem),
        early_stopping=early_stopping,
        loss_below=loss_below,
        wall_time_s=wall_time_s,
        observers=check_observers(observers),
        checkpoint_every_s=checkpoint_every_s,
        theta_dtype=theta_dtype,
        swmr=swmr,
        metadata=make_metadata(metadata),
    )
    _check_names(plan)
    return _start(plan, output, overwrite, progress)


def _start(
    plan: TrainingPlan, output: Any, overwrite: bool, progress: bool | Progress
) -> Training:
    """Drain the training of a plan from its start."""
    if output is not None:
        check_writable(output, overwrite)
    cadence = plan.cadence()
    journal = Journal(cadence, plan.columns, plan.observers)

    def start(state: TrainingState) -> None:
        if output is not None:
            extra = plan.extra_data() | dict(plan.metadata.extra_data)
            journal.open(
                state,
                Path(output),
                kind=plan.kind,
                description=plan.describe(),
                metadata=dataclasses.replace(plan.metadata, extra_data=extra),
                overwrite=overwrite,
                theta_dtype=plan.theta_dtype,
                swmr=plan.swmr,
            )
        journal.visit(state)

    return drain(plan, plan.states(cadence, None), journal, progress, start)


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
    n_end = training["n_iterations"]
    if n_iterations is not None:
        n_end = integer("n_iterations", n_iterations, 1)
        if n_end <= restart.step:
            raise ValueError(
                f"`n_iterations` must be more than the {restart.step} that the run in "
                f"{run.path} has made, got {n_end}."
            )
    elif run.status == "finished":
        raise ValueError(
            f"The run in {run.path} is finished: {run.message} Give `n_iterations` to "
            "go on."
        )
    observers = check_same_observers(observers, description["observers"])
    problem = problem_for(run, problem)
    check_same_problem(problem, run)
    if (training["optimiser"] is None) == (optimiser is None):
        raise ValueError(
            "`optimiser` is needed for a run with an optimiser of your own, and must "
            f"be None for any other; the run in {run.path} used "
            f"{training['optimiser'] or 'your own'}."
        )
    net = _net_at(run, problem, restart)
    if optimiser is None:
        optimiser = optimiser_from_description(training["optimiser"])
    stopping = training["early_stopping"]
    has_new_end = n_iterations is not None
    has_validation = VALIDATION[0] in run.data
    batch_size, seed = training["batch_size"], training["seed"]
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
        # Whoever asks for a later end does not want the rules that ended the run.
        early_stopping=None if has_new_end else stopping and EarlyStopping(**stopping),
        loss_below=None if has_new_end else training["loss_below"],
        wall_time_s=None if has_new_end else training["wall_time_s"],
        observers=observers,
        checkpoint_every_s=training["checkpoint_every_s"],
        swmr=training["swmr"],
    )


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


def _checked_validation(
    validation: Any, problem: MeanFieldProblem
) -> tuple[Array, Array] | None:
    if validation is None:
        return None
    try:
        x, y = validation
    except (TypeError, ValueError):
        raise TypeError(
            "`validation` must be a pair (x, y) of inputs and targets, got "
            f"{type(validation).__name__}."
        ) from None
    arrays = []
    for name, value, like in (("x", x, problem.x), ("y", y, problem.y)):
        array = float_array(f"validation {name}", value)
        array = array[:, np.newaxis] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] != like.shape[1] or len(array) == 0:
            raise ValueError(
                f"`validation` must hold {name} of shape (n, {like.shape[1]}), got "
                f"{array.shape}."
            )
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(
            "`validation` must hold as many inputs as targets, got "
            f"{len(arrays[0])} and {len(arrays[1])}."
        )
    if hasattr(problem.loss, "check"):
        problem.loss.check(arrays[1])
    return arrays[0], arrays[1]


def _check_names(plan: TrainingPlan) -> None:
    taken = sorted(set(plan.observers) & set(plan.columns.names))
    if taken:
        raise ValueError(
            f"`observers` must not reuse the name {taken[0]!r} of a recorded scalar."
        )
