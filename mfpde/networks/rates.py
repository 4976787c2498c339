"""Learning-rate schedules: factors of the learning rate, iteration by iteration.

A schedule is any object with `factor(iteration)` > 0, `over(n_iterations)`, which
returns the schedule of a training of that length, and `describe()`. None remembers
anything, so that a continued training goes on as one that never stopped.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from mfpde.arrays import (
    check_fields,
    checked,
    having,
    number,
    optional,
    positive,
    sequence,
    whole,
)
from mfpde.laws.parameters import choice

ITERATION = whole(0, 2**63)


@dataclass(frozen=True)
class Constant:
    """The learning rate as it is."""

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """1."""
        return 1.0

    @checked(n_iterations=whole(1))
    def over(self, n_iterations: int) -> Constant:
        """The same for every length."""
        return self

    def describe(self) -> dict[str, Any]:
        """Plain values from which `rate_from_description` rebuilds it."""
        return {"kind": "constant"}


@dataclass(frozen=True)
class Drops:
    """The learning rate is multiplied by `factor_each` at each of some iterations."""

    at: tuple[int, ...]
    factor_each: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self, at=sequence(whole(1)), factor_each=positive)

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """One factor for every drop so far."""
        return self.factor_each ** sum(iteration >= n for n in self.at)

    @checked(n_iterations=whole(1))
    def over(self, n_iterations: int) -> Drops:
        """The same for every length."""
        return self

    def describe(self) -> dict[str, Any]:
        """Plain values, as for `Constant`."""
        return {
            "kind": "drops",
            "at": list(self.at),
            "factor_each": float(self.factor_each),
        }


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 down to `final` over n_iterations, and `final` after them.

    n_iterations None is the length of the training that uses it first; a training that
    is continued beyond that goes on with `final`, which must be positive then.
    """

    n_iterations: int | None = None
    final: float = 0.0

    def __post_init__(self) -> None:
        check_fields(
            self, n_iterations=optional(whole(1)), final=number(least=0.0, most=1.0)
        )

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """(1 + cos(pi n / N)) / 2, between 1 and `final`."""
        share = min(1.0, iteration / (self.n_iterations or 1))
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * share))

    @checked(n_iterations=whole(1))
    def over(self, n_iterations: int) -> Cosine:
        """The schedule with its length filled in."""
        return dataclasses.replace(self, n_iterations=self.n_iterations or n_iterations)

    def describe(self) -> dict[str, Any]:
        """Plain values, as for `Constant`."""
        return {
            "kind": "cosine",
            "n_iterations": self.n_iterations,
            "final": float(self.final),
        }


@dataclass(frozen=True)
class WarmUp:
    """A rise 1/n, 2/n, ..., 1 over n_iterations, times another schedule."""

    n_iterations: int
    then: Any = field(default_factory=Constant)

    def __post_init__(self) -> None:
        check_fields(self, n_iterations=whole(1))
        check_rate("then", self.then)

    @checked(iteration=ITERATION)
    def factor(self, iteration: int) -> float:
        """Share of the rise, times the factor of the other schedule."""
        rise = min(1.0, (iteration + 1) / self.n_iterations)
        return rise * self.then.factor(iteration)

    @checked(n_iterations=whole(1))
    def over(self, n_iterations: int) -> WarmUp:
        """The other schedule has its length filled in."""
        return dataclasses.replace(self, then=self.then.over(n_iterations))

    def describe(self) -> dict[str, Any]:
        """Plain values, as for `Constant`."""
        return {
            "kind": "warm_up",
            "n_iterations": self.n_iterations,
            "then": self.then.describe(),
        }


RATES = {"constant": Constant, "drops": Drops, "cosine": Cosine, "warm_up": WarmUp}


def is_built_in_rate(schedule: Any) -> bool:
    """Whether `rate_from_description` can rebuild a schedule."""
    inner = getattr(schedule, "then", None)
    is_ours = type(schedule) in RATES.values()
    return is_ours and (inner is None or is_built_in_rate(inner))


def check_rate(name: str, schedule: Any) -> None:
    """Raise TypeError unless an object is a learning-rate schedule."""
    _A_RATE(name, schedule)


_A_RATE = having(
    "factor", "over", "describe", what="a schedule of mfpde.networks such as Cosine()"
)


def rate_from_description(description: dict[str, Any]) -> Any:
    """Rebuild a schedule from the output of its `describe`."""
    options = dict(description)
    kind = choice("kind", options.pop("kind", None), list(RATES))
    if "then" in options:
        options["then"] = rate_from_description(options["then"])
    return RATES[kind](**options)
