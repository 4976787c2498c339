"""What a run shall do: its options, each declared here once, and its specification."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfpde.arrays import (
    mapping,
    shown,
)
from mfpde.describe import described, is_described
from mfpde.recording import Clock, Observer, check_observers, make_clocks, make_schedule
from mfpde.run.observers import describe_observers
from mfpde.run.options import Progress
from mfpde.run.states import Checkpoint
from mfpde.run.stopping import Reason

__all__ = ["Dynamics", "Metadata", "Specification"]

Row = dict[str, float]
ExtraData = Mapping[str, tuple[Any, tuple[str, ...]]]


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
            "observers": describe_observers(self.observers),
        }


def _described(name: str, schedule: Any) -> Any:
    """Plain values of a schedule; TypeError for one that a file cannot rebuild."""
    description = described(schedule)
    if not is_described(description):
        raise TypeError(
            f"`{name}` must be a schedule of `mfpde.recording`, or of a class that "
            f"`mfpde.register` knows, to be written to a file, got {schedule!r}."
        )
    return description
