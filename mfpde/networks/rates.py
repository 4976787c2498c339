"""Learning-rate schedules: factors of the learning rate, iteration by iteration.

A schedule is any object with `factor(iteration)` > 0. Where its length matters it also
has `over(n_iterations)`, which returns the schedule of a training of that length. None
remembers anything, so that a continued training goes on as one that never stopped.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from mfpde.arrays import checked, number, optional, positive, sequence, whole
from mfpde.describe import OfKind, register
from mfpde.fields import check

ITERATION = whole(0, 2**63)
A_SCHEDULE = OfKind("schedule")


class Schedule:
    """Base class of the schedules that are the same for every length."""

    def factor(self, iteration: int) -> float:
        """Factor of the learning rate in an iteration, positive."""
        raise NotImplementedError(f"{type(self).__name__} must define `factor`.")

    @checked(n_iterations=whole(1))
    def over(self, n_iterations: int) -> Any:
        """The schedule of a training of that length."""
        return self


@register(kind="schedule", name="constant")
@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate as it is."""

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """1."""
        return 1.0


@register(kind="schedule", name="drops")
@dataclass(frozen=True)
class Drops(Schedule):
    """The learning rate is multiplied by a factor at each of some iterations.

    Parameters
    ----------
    at : sequence of int
        Iterations at which it drops.
    factor_each : float
        Factor of each drop.
    """

    at: Annotated[tuple[int, ...], sequence(whole(1))]
    factor_each: Annotated[float, positive] = 0.1

    def __post_init__(self) -> None:
        check(self)

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """One factor for every drop so far."""
        return self.factor_each ** sum(iteration >= n for n in self.at)


@register(kind="schedule", name="cosine")
@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 down to `final` over n_iterations, and `final` after them.

    Parameters
    ----------
    n_iterations : int, optional
        Length of the fall; default that of the training that uses it first.
    final : float
        Factor at the end and beyond, in [0, 1]; positive for a training that is
        continued.
    """

    n_iterations: Annotated[int | None, optional(whole(1))] = None
    final: Annotated[float, number(least=0.0, most=1.0)] = 0.0

    def __post_init__(self) -> None:
        check(self)

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """(1 + cos(pi n / N)) / 2, between 1 and `final`."""
        share = min(1.0, iteration / (self.n_iterations or 1))
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * share))

    @checked(n_iterations=whole(1))
    def over(self, n_iterations: int) -> Cosine:
        """The schedule with its length filled in."""
        return dataclasses.replace(self, n_iterations=self.n_iterations or n_iterations)


@register(kind="schedule", name="warm_up")
@dataclass(frozen=True)
class WarmUp(Schedule):
    """A rise 1/n, 2/n, ..., 1 over n_iterations, times another schedule.

    Parameters
    ----------
    n_iterations : int
        Iterations in which it rises.
    then : schedule
        The other schedule.
    """

    n_iterations: Annotated[int, whole(1)]
    then: Annotated[Any, A_SCHEDULE] = field(default_factory=Constant)

    def __post_init__(self) -> None:
        check(self)

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """Share of the rise, times the factor of the other schedule."""
        rise = min(1.0, (iteration + 1) / self.n_iterations)
        return rise * self.then.factor(iteration)

    @checked(n_iterations=whole(1))
    def over(self, n_iterations: int) -> WarmUp:
        """The other schedule has its length filled in."""
        return dataclasses.replace(self, then=over(self.then, n_iterations))


def over(schedule: Any, n_iterations: int) -> Any:
    """A schedule with its length filled in, where that matters."""
    fill = getattr(schedule, "over", None)
    return schedule if fill is None else fill(n_iterations)
