"""What a run shall do: its options, each declared here once, and its specification."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypedDict

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
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Clock, Observer, check_observers, make_schedule
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
    """Options of what a run writes: to a file, and to the terminal."""

    snapshots: Annotated[
        Any, Option(None, None, "When theta is recorded; None is start and end.")
    ]
    output: Annotated[
        str | os.PathLike[str] | None,
        Option(None, a_path, "HDF5 file; None keeps everything in memory."),
    ]
    overwrite: Annotated[
        bool, Option(False, flag, "Whether an existing file may be replaced.")
    ]
    progress: Annotated[
        bool | Progress,
        Option(
            False,
            a_progress,
            "True writes progress to stderr; a function gets "
            "(s, s_end, loss, n_steps, objective) after every step.",
        ),
    ]
    metadata: Annotated[
        Metadata | Mapping[str, Any] | None,
        Option(
            None,
            None,
            "Title, command, seed, configuration and further arrays for the file.",
        ),
    ]
    checkpoint_every_s: Annotated[
        float, Option(10.0, positive, "Seconds of wall time between checkpoints.")
    ]
    theta_dtype: Annotated[
        str,
        Option(
            "f8",
            choice("f8", "f4"),
            "Type of the snapshots in the file; the checkpoint is always exact.",
        ),
    ]
    swmr: Annotated[
        bool,
        Option(
            True, flag, "Whether others may read the file as it grows; False on NFS."
        ),
    ]


class RunOptions(OutputOptions, total=False):
    """Options that `solve` and `train` share."""

    record: Annotated[
        Any,
        Option(
            None,
            None,
            "When scalars are recorded: training times s, or a schedule of "
            "`mfpde.recording`. None is start and end, for a network about 100 "
            "records. The end is always written.",
        ),
    ]
    observers: Annotated[
        Mapping[str, Observer] | None,
        Option(
            None,
            None,
            "Functions of an `Evaluation`, by name, that give a number or an array of "
            "fixed shape.",
        ),
    ]
    loss_below: Annotated[
        float | None,
        Option(
            None,
            positive,
            "End where the loss falls below this; a network, with such a record.",
        ),
    ]
    wall_time_s: Annotated[
        float | None,
        Option(None, positive, "End after so many seconds; `resume` continues."),
    ]


class FlowOptions(RunOptions, MethodOptions, total=False):
    """Options of `solve`."""

    states: Annotated[
        Any,
        Option(None, None, "When states and adjoints are recorded; None is never."),
    ]
    gradient_norm_below: Annotated[
        float | None, Option(None, positive, "End where the gradient norm falls below.")
    ]
    steady_state: Annotated[
        float | None,
        Option(
            None,
            positive,
            "End, before s_end, when the objective at its present rate would change by "
            "at most this fraction of its initial value up to s_end. Not with noise.",
        ),
    ]
    communicator: Annotated[
        Any,
        Option(
            None,
            None,
            "mpi4py.MPI.Comm whose ranks, which all make this call with the same "
            "arguments, share the particles; file and progress are those of rank 0.",
        ),
    ]


class TrainingOptions(RunOptions, total=False):
    """Options of `train`."""

    batch_size: Annotated[
        int | None,
        Option(
            None,
            whole(1),
            "Most samples in a mini-batch; None takes all data in every iteration.",
        ),
    ]
    seed: Annotated[
        int, Option(0, seed_number, "Of the shuffles, see `mfpde.networks.Batches`.")
    ]
    validation: Annotated[
        tuple[Any, Any] | None,
        Option(
            None,
            None,
            "x (n, d_in) and y (n, q), whose loss, and accuracy for classes, are "
            "recorded.",
        ),
    ]
    early_stopping: Annotated[
        EarlyStopping | None,
        Option(
            None,
            instance(EarlyStopping),
            "End when the recorded validation loss does not improve; the best network "
            "is kept as a snapshot, see `Training.best`.",
        ),
    ]


class Dynamics(Protocol):
    """What a run advances: a flow, the training of a network, the joint flow.

    The loop knows no more of it than this. States have `s`, `step`, `problem`, `grid`,
    `ensemble`, `evaluation`, `latest` (loss and objective), and the fields of a
    `Checkpoint`.

    Attributes
    ----------
    kind : str
        Of the file: "run" or "network".
    problem : MeanFieldProblem
        At the start.
    end, s_end : float
        Where it ends, as the checkpoint has it (s or iterations), and in s.
    scalar_names : tuple of str
        Recorded scalars in the order of the file; `row` gives those of a state but `s`,
        `step` and `wall_time`.
    extra_data : dict
        Further arrays for the file, as in `Metadata`.
    """

    @property
    def kind(self) -> str: ...

    @property
    def end(self) -> float: ...

    @property
    def extra_data(self) -> ExtraData: ...

    @property
    def problem(self) -> MeanFieldProblem: ...

    @property
    def s_end(self) -> float: ...

    @property
    def scalar_names(self) -> tuple[str, ...]: ...

    def row(self, state: Any) -> Row:
        """The scalars of a state."""
        ...

    def clocks(
        self, schedules: Mapping[str, Any], checkpoint: Checkpoint | None
    ) -> dict[str, Clock | None]:
        """When what is recorded, from a checkpoint on."""
        ...

    def states(
        self, tstops: set[float], checkpoint: Checkpoint | None
    ) -> Iterator[Any]:
        """The start, or the state of a checkpoint, and the state after each step."""
        ...

    def limit(
        self, before: Any, after: Any, rows: Sequence[Row]
    ) -> tuple[Any, Reason] | None:
        """A state in the last step that ends the run, and the reason; not recorded yet.

        `before` is None for the first state.
        """
        ...

    def stop(self, state: Any, rows: Sequence[Row]) -> Reason | None:
        """The reason to end at a state that has been recorded where that is due."""
        ...

    def is_worth_keeping(self, rows: Sequence[Row]) -> bool:
        """Whether theta is recorded with the last row, whatever the schedule."""
        ...

    def place(self, state: Any) -> str:
        """Words for where a state is."""
        ...

    def describe(self) -> dict[str, Any]:
        """What `resume` needs to go on, as plain values."""
        ...

    def solution(self, values: dict[str, Any], state: Any) -> Any:
        """The solution, from the fields of a `Solution` and the last state."""
        ...


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

    def __post_init__(self) -> None:
        for name in self.observers:
            if name in self.dynamics.scalar_names:
                raise ValueError(
                    f"`observers` must not reuse the name {name!r} of a recorded "
                    "scalar."
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
