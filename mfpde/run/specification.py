"""What a run shall do: its options, each declared here once, and its specification."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from mfpde.arrays import (
    a_path,
    choice,
    flag,
    instance,
    is_function,
    mapping,
    positive,
    seed_number,
    shown,
    whole,
)
from mfpde.networks.stopping import EarlyStopping
from mfpde.options import Option
from mfpde.recording import Clock, Observer, check_observers, make_clocks, make_schedule
from mfpde.run.observers import built_in
from mfpde.run.stopping import Reason
from mfpde.states import Checkpoint, MethodOptions

__all__ = ["FlowOptions", "Metadata", "Specification", "TrainingOptions"]

Row = dict[str, float]
ExtraData = Mapping[str, tuple[Any, tuple[str, ...]]]
Progress = Callable[[float, float, float, int, float], None]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its run besides the numbers.

    Attributes
    ----------
    title, command : str
    seed : int, optional
    config_toml : str
        The configuration the run was made from, if any.
    extra_data : dict
        Name to (array, names of its dimensions), stored in /data.
    """

    title: str = ""
    command: str = ""
    seed: int | None = None
    config_toml: str = ""
    extra_data: ExtraData = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> Metadata:
        """From what `solve` and `train` take."""
        if isinstance(given, Metadata):
            return given
        values = {} if given is None else mapping("metadata", given)
        try:
            return cls(**values)
        except TypeError as error:
            names = ", ".join(each.name for each in dataclasses.fields(cls))
            raise TypeError(
                f"`metadata` must be a dict with some of {names}, got {shown(given)}."
            ) from error


def a_progress(name: str, value: Any) -> Any:
    """True, False, or a function that is called after every step."""
    return value if is_function(value) else flag(name, value)


class OutputOptions(TypedDict, total=False):
    """Options of what a run writes: to a file, and to the terminal.

    Attributes
    ----------
    snapshots : sequence of float or schedule, optional
        When theta is recorded: training times, or a schedule of `mfpde.recording`. None
        is start and end. The end is always recorded.
    output : path, optional
        HDF5 file; None keeps everything in memory.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : bool or callable
        True writes progress to stderr; a callable gets
        (s, s_end, loss, n_steps, objective) after every step.
    metadata : Metadata or dict, optional
        Title, command, seed, configuration and further arrays for the file.
    checkpoint_every_s : float
        Seconds of wall time between checkpoints.
    theta_dtype : {"f8", "f4"}
        Type of the snapshots in the file; the checkpoint is always exact.
    swmr : bool
        Whether others may read the file while it grows; False on NFS.
    """

    snapshots: Annotated[Any, Option(None)]
    output: Annotated[str | os.PathLike[str] | None, Option(None, a_path)]
    overwrite: Annotated[bool, Option(False, flag)]
    progress: Annotated[bool | Progress, Option(False, a_progress)]
    metadata: Annotated[Metadata | Mapping[str, Any] | None, Option(None)]
    checkpoint_every_s: Annotated[float, Option(10.0, positive)]
    theta_dtype: Annotated[str, Option("f8", choice("f8", "f4"))]
    swmr: Annotated[bool, Option(True, flag)]


class RunOptions(OutputOptions, total=False):
    """Options that `solve` and `train` share.

    Attributes
    ----------
    record : sequence of float or schedule, optional
        When scalars are recorded, as for `snapshots`; None is start and end, and for a
        network about 100 records.
    observers : dict of str to callable, optional
        Functions of an `Evaluation` that give a number or an array of fixed shape.
    loss_below : float, optional
        End where the loss falls below this; a network, with such a record.
    wall_time_s : float, optional
        End after so many seconds; `resume` continues.
    """

    record: Annotated[Any, Option(None)]
    observers: Annotated[Mapping[str, Observer] | None, Option(None)]
    loss_below: Annotated[float | None, Option(None, positive)]
    wall_time_s: Annotated[float | None, Option(None, positive)]


class FlowOptions(RunOptions, MethodOptions, total=False):
    """Options of `solve`.

    Attributes
    ----------
    states : sequence of float or schedule, optional
        When states and adjoints are recorded; None is never.
    gradient_norm_below : float, optional
        End where the gradient norm falls below this.
    steady_state : float, optional
        End, before s_end, when the objective at its present rate would change by at
        most this fraction of its initial value up to s_end. Not with noise.
    communicator : mpi4py.MPI.Comm, optional
        Its ranks, which all make this call with the same arguments, share the
        particles; file and progress are rank 0's. All return the same solution.
    """

    states: Annotated[Any, Option(None)]
    gradient_norm_below: Annotated[float | None, Option(None, positive)]
    steady_state: Annotated[float | None, Option(None, positive)]
    communicator: Annotated[Any, Option(None)]


class TrainingOptions(RunOptions, total=False):
    """Options of `train`.

    Attributes
    ----------
    batch_size : int, optional
        Most samples in a mini-batch; None takes all data in every iteration.
    seed : int
        Of the shuffles, see `mfpde.networks.Batches`.
    validation : (array_like, array_like), optional
        x (n, d_in) and y (n, q), whose loss, and accuracy for classes, are recorded.
    early_stopping : EarlyStopping, optional
        End when the recorded validation loss does not improve; the best network is kept
        as a snapshot, see `Training.best`.
    """

    batch_size: Annotated[int | None, Option(None, whole(1))]
    seed: Annotated[int, Option(0, seed_number)]
    validation: Annotated[tuple[Any, Any] | None, Option(None)]
    early_stopping: Annotated[
        EarlyStopping | None, Option(None, instance(EarlyStopping))
    ]


class Dynamics:
    """What a run advances: a flow, the training of a network, the joint flow.

    The run loop knows no more of it than the names of this class. States are
    `Checkpoint`s that have `problem`, `grid`, `ensemble`, `evaluation` and `latest`
    (loss and objective).

    Attributes
    ----------
    problem : MeanFieldProblem
        At the start.
    s_end : float
        End in training time.
    """

    problem: Any
    s_end: Any
    kind = "run"
    """Of the file: "run" or "network"."""

    @property
    def end(self) -> float:
        """The end as a checkpoint holds it."""
        return self.s_end

    @property
    def extra_data(self) -> ExtraData:
        """Further arrays for the file, as in `Metadata`."""
        return {}

    def row(self, state: Any) -> Row:
        """The scalars of a state but `s`, `step` and `wall_time`, in order."""
        raise NotImplementedError

    def clocks(
        self, schedules: Mapping[str, Any], checkpoint: Checkpoint | None
    ) -> dict[str, Clock | None]:
        """When what is recorded, from a checkpoint on."""
        return make_clocks(schedules, self.s_end, checkpoint.s if checkpoint else 0.0)

    def states(
        self, tstops: set[float], checkpoint: Checkpoint | None
    ) -> Iterator[Any]:
        """The start, or the state of a checkpoint, and the state after each step."""
        raise NotImplementedError

    def limit(
        self, before: Any, after: Any, rows: Sequence[Row]
    ) -> tuple[Any, Reason] | None:
        """A state in the last step that ends the run, before it is recorded, and why.

        `before` is None for the first state.
        """
        return None

    def stop(self, state: Any, rows: Sequence[Row]) -> Reason | None:
        """The reason to end at a state that has been recorded where that is due."""
        if state.s >= self.s_end:
            return "finished", f"Reached s_end = {self.s_end:g}."
        return None

    def is_worth_keeping(self, rows: Sequence[Row]) -> bool:
        """Whether theta is recorded with the last row, whatever the schedule."""
        return False

    def place(self, state: Any) -> str:
        """Words for where a state is."""
        return f"step {state.step} (s = {state.s:g})"

    def describe(self) -> dict[str, Any]:
        """What `resume` needs to go on, as plain values."""
        raise NotImplementedError

    def solution(self, values: dict[str, Any], state: Any) -> Any:
        """The solution, from the fields of a `Solution` and the last state."""
        raise NotImplementedError


SCHEDULES = ("record", "snapshots", "states")


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What a run shall do: dynamics, and what is recorded when and where.

    Attributes
    ----------
    dynamics : Dynamics
    schedules : dict
        For "record", "snapshots" and "states" (which may be None).
    observers : dict of str to callable
    metadata : Metadata
    wall_time_s, checkpoint_every_s, theta_dtype, swmr, output, overwrite, progress
        See `RunOptions`.
    """

    dynamics: Dynamics
    schedules: Mapping[str, Any]
    observers: Mapping[str, Observer] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=Metadata)
    wall_time_s: float | None = None
    checkpoint_every_s: float = 10.0
    theta_dtype: str = "f8"
    swmr: bool = True
    output: str | os.PathLike[str] | None = None
    overwrite: bool = False
    progress: bool | Progress = False

    @classmethod
    def of(cls, dynamics: Dynamics, options: Mapping[str, Any]) -> Specification:
        """From the options of `solve` or `train`."""
        given = {name: options.get(name) for name in SCHEDULES}
        kept = ("wall_time_s", "checkpoint_every_s", "theta_dtype", "swmr")
        kept += ("output", "overwrite", "progress")
        return cls(
            dynamics=dynamics,
            schedules={
                name: None
                if name == "states" and value is None
                else make_schedule(name, value)
                for name, value in given.items()
            },
            observers=check_observers(options["observers"]),
            metadata=Metadata.of(options["metadata"]),
            **{name: options[name] for name in kept},
        )

    def describe(self) -> dict[str, Any]:
        """What `resume` needs to go on, as plain values."""
        return {
            **self.dynamics.describe(),
            "recording": {
                "schedules": {
                    name: schedule and _described(name, schedule)
                    for name, schedule in self.schedules.items()
                },
                "wall_time_s": self.wall_time_s,
                "checkpoint_every_s": self.checkpoint_every_s,
                "swmr": self.swmr,
            },
            "observers": list(self.observers),
            "built_in_observers": built_in(self.observers),
        }


def _described(name: str, schedule: Any) -> dict[str, Any]:
    """Plain values of a schedule; TypeError for the user's own without `describe`."""
    if not hasattr(schedule, "describe"):
        raise TypeError(
            f"`{name}` must be a schedule with `describe()` to be written to a file, "
            f"got {schedule!r}."
        )
    return schedule.describe()
