"""When things are recorded: output schedules, and their clocks during a run.

A schedule is any object with `times(s_end)` and `is_due(step)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    checked,
    float_array,
    number,
    positive,
    shown,
    whole,
)
from mfpde.describe import register
from mfpde.fields import check

Array = NDArray[np.float64]
# Relative distance below which two training times are the same one.
SAME_TIME = 1e-12


END = number(least=0.0)
MOST_RECORDS = 10**7


def _check_number(name: str, n: float, s_end: float) -> None:
    """Raise ValueError for a schedule with too many records."""
    if n > MOST_RECORDS:
        raise ValueError(
            f"`{name}` must give at most {MOST_RECORDS} records up to s = {s_end:g}, "
            f"got {n:.3g}."
        )


class Schedule:
    """Base class of the schedules: when something is recorded."""

    def times(self, s_end: float) -> Array:
        """Training times in [0, s_end] on which steps end, to be recorded."""
        return np.empty(0)

    def is_due(self, step: int) -> bool:
        """Whether to record after this step, whatever s."""
        return False


def _times(name: str, value: Any) -> Array:
    times = np.unique(float_array("record", value))
    if times.size and times[0] < 0:
        raise ValueError(
            f"`record` must hold training times of at least 0, got {times[0]:g}."
        )
    return times


@register(kind="output schedule", name="at")
@dataclass(frozen=True, eq=False)
class At(Schedule):
    """Record at given training times s.

    Parameters
    ----------
    s : array_like, shape (n,)
        Training times; those after s_end are left out.
    """

    s: Annotated[NDArray[np.float64], _times]

    def __post_init__(self) -> None:
        check(self)

    @checked(s_end=END)
    def times(self, s_end: float) -> Array:
        """The given times up to s_end."""
        return self.s[self.s <= s_end]


@register(kind="output schedule", name="every")
@dataclass(frozen=True)
class Every(Schedule):
    """Record at s = 0, ds, 2 ds, ...

    Parameters
    ----------
    ds : float
        Training time between two records.
    """

    ds: Annotated[float, positive]

    def __post_init__(self) -> None:
        check(self)

    @checked(s_end=END)
    def times(self, s_end: float) -> Array:
        """Multiples of ds up to s_end."""
        n = s_end / self.ds * (1 + 1e-12)
        _check_number("ds", n, s_end)
        return self.ds * np.arange(int(n) + 1)


@register(kind="output schedule", name="logarithmic")
@dataclass(frozen=True)
class Logarithmic(Schedule):
    """Record at s = 0 and at start 10^(i / per_decade), i = 0, 1, ...

    Parameters
    ----------
    start : float
        The first time after 0.
    per_decade : float
        Records in a factor of ten.
    """

    start: Annotated[float, positive] = 1e-2
    per_decade: Annotated[float, positive] = 10

    def __post_init__(self) -> None:
        check(self)

    @checked(s_end=END)
    def times(self, s_end: float) -> Array:
        """The times up to s_end."""
        decades = np.log10(s_end / self.start) if s_end >= self.start else -1.0
        n = decades * self.per_decade * (1 + 1e-12)
        _check_number("per_decade", n, s_end)
        steps = np.arange(int(n) + 1)
        values = self.start * 10.0 ** (steps / self.per_decade)
        return np.concatenate([[0.0], values[values <= s_end]])


@register(kind="output schedule", name="steps")
@dataclass(frozen=True)
class Steps(Schedule):
    """Record after every n-th step, without changing any step.

    Parameters
    ----------
    n : int
        Steps from record to record.
    """

    n: Annotated[int, whole(1)] = 1

    def __post_init__(self) -> None:
        check(self)

    @checked(step=whole(0, 2**63))
    def is_due(self, step: int) -> bool:
        """Whether step is a multiple of n."""
        return step % self.n == 0


def make_schedule(name: str, value: Any) -> Any:
    """A schedule from a sequence of s, from None (start and end), or as it is."""
    if value is None:
        return At(np.zeros(1))
    if hasattr(value, "times") and hasattr(value, "is_due"):
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        return At(np.atleast_1d(np.asarray(value, dtype=np.float64)))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"`{name}` must be a sequence of training times, at least 0, or a schedule "
            f"such as mfpde.recording.Every(ds), got {shown(value)}."
        ) from None


@dataclass(frozen=True)
class Clock:
    """One cadence over a horizon: its schedule and the exact times of its records."""

    schedule: Any
    exact: frozenset[float]

    def is_due(self, s: float, step: int) -> bool:
        """Whether a record belongs here; the start always does."""
        return step == 0 or s in self.exact or bool(self.schedule.is_due(step))


def make_clocks(
    schedules: Mapping[str, Any], s_end: float, s_start: float = 0.0
) -> dict[str, Clock | None]:
    """Clocks of several schedules, None staying None, over 0 <= s <= s_end.

    Times that differ by rounding alone, between schedules or from the ends of the run
    at s_start and s_end, become one: no step could tell them apart.
    """
    wanted = {
        name: np.asarray(schedule.times(s_end), dtype=np.float64)
        for name, schedule in schedules.items()
        if schedule is not None
    }
    every = np.sort(np.concatenate([[s_end], *wanted.values()]))
    one_of: dict[float, float] = {}
    last = s_end
    for time in every[::-1].tolist():
        last = last if last - time <= SAME_TIME * last else time
        is_start = abs(time - s_start) <= SAME_TIME * s_start
        one_of[time] = s_start if is_start else last
    return {
        name: None
        if schedule is None
        else Clock(schedule, frozenset(one_of[t] for t in wanted[name].tolist()))
        for name, schedule in schedules.items()
    }
