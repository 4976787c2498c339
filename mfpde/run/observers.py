"""Scalars besides those that every run records: accuracies, errors, the test loss.

An observer is a function of an `Evaluation`. One that is registered, ours or the user's
(`mfpde.register`), is known by its name in a configuration, and a run that used it is
continued without passing it again. A registered observer may have a second argument,
the `Samples` of the run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.describe import (
    MODULE,
    described,
    is_described,
    known_thing,
    names,
    rebuilt,
    register,
    thing_of,
)
from mfpde.evaluation import Evaluation, predict
from mfpde.losses import accuracy
from mfpde.recording import collective

Array = NDArray[np.float64]
Observer = Callable[[Evaluation], Any]


class Samples:
    """What an observer may use of the samples of a run, besides an `Evaluation`.

    Attributes
    ----------
    has_classes : bool
        Whether the targets encode classes, so that there is an accuracy, whatever the
        loss.
    x_test, y_test : ndarray or None, shapes (n, d_in) and (n, q)
    y_std : ndarray or None, shape (q,)
        By which the raw targets were divided. A root mean square error is in their
        units, a loss in those of the problem.
    """

    def __init__(
        self,
        has_classes: bool,
        x_test: Any = None,
        y_test: Any = None,
        y_std: Any = None,
    ) -> None:
        self.has_classes = has_classes
        self.x_test, self.y_test, self.y_std = x_test, y_test, y_std
        # Kept for one evaluation: observers share a forward sweep.
        self.test_output = functools.lru_cache(maxsize=1)(self._test_output)

    @property
    def has_test(self) -> bool:
        """Whether there are test samples."""
        return self.x_test is not None and self.y_test is not None

    def _test_output(self, ev: Evaluation) -> Array:
        """Outputs for the test samples, (n, q)."""
        return predict(ev.problem, ev.grid, ev.ensemble, self.x_test)

    def root_mean_square(self, error: Array) -> float:
        """Root mean square over samples and outputs of an error, in raw units."""
        error = error if self.y_std is None else error * self.y_std
        return float(np.sqrt(np.mean(error**2)))


@dataclass(frozen=True)
class Requirement:
    """What an observer requires of the samples, and words for it."""

    holds: Callable[[Samples], bool]
    words: str


TEST = Requirement(lambda each: each.has_test, "test samples (`data.test_fraction`)")
CLASSES = Requirement(
    lambda each: each.has_classes, "classes as targets (`data.target`)"
)
NUMBERS = Requirement(
    lambda each: not each.has_classes, "numbers as targets (`data.target`)"
)


def _built_in(*requires: Requirement) -> Callable[[Any], Any]:
    """A decorator: the function is a registered observer, right on any rank."""

    def decorate(function: Any) -> Any:
        function.requires = requires
        return register(collective(function), kind="observer", name=function.__name__)

    return decorate


@_built_in(CLASSES)
def train_accuracy(ev: Evaluation, samples: Samples) -> float:
    """Share of the training samples whose class is right."""
    return accuracy(ev.output, ev.problem.y)


@_built_in(TEST, CLASSES)
def test_accuracy(ev: Evaluation, samples: Samples) -> float:
    """Share of the test samples whose class is right."""
    return accuracy(samples.test_output(ev), samples.y_test)


@_built_in(TEST)
def test_loss(ev: Evaluation, samples: Samples) -> float:
    """Mean loss of the test samples."""
    values = ev.problem.loss.values(samples.test_output(ev), samples.y_test)
    return float(np.mean(values))


@_built_in(NUMBERS)
def train_rmse(ev: Evaluation, samples: Samples) -> float:
    """Root mean square error of the training samples."""
    return samples.root_mean_square(ev.output - ev.problem.y)


@_built_in(TEST, NUMBERS)
def test_rmse(ev: Evaluation, samples: Samples) -> float:
    """Root mean square error of the test samples."""
    return samples.root_mean_square(samples.test_output(ev) - samples.y_test)


@dataclass(frozen=True, eq=False)
class WithSamples:
    """A registered observer and the samples of a run."""

    observer: Any
    samples: Samples

    @property
    def is_collective(self) -> bool:
        """Whether the observer is right for the share of one rank."""
        return bool(getattr(self.observer, "is_collective", False))

    def __call__(self, ev: Evaluation) -> Any:
        """The value of the observer."""
        return self.observer(ev, self.samples)


def make_observers(
    samples: Samples, given: Sequence[str] | None = None
) -> dict[str, Observer]:
    """The observers of some names.

    Parameters
    ----------
    samples : Samples
    given : sequence of str, optional
        Names; default all built-in ones that the samples allow, without root mean
        square errors if the targets are the raw ones: the loss is as good.

    Raises
    ------
    ValueError
        If one of the names is unknown, or requires other samples.
    """
    if given is None:
        given = [name for name in names("observer") if _is_default(name, samples)]
    return {name: _observer_of(name, samples) for name in given}


def _is_default(name: str, samples: Samples) -> bool:
    requires = getattr(thing_of("observer", name), "requires", None)
    if requires is None or (NUMBERS in requires and samples.y_std is None):
        return False
    return all(each.holds(samples) for each in requires)


def _observer_of(description: Any, samples: Samples) -> Observer:
    """The observer of a name, or of what `describe_observers` returned for it."""
    is_name = isinstance(description, str)
    name = description if is_name else description["kind"]
    module = None if is_name else description.get(MODULE)
    thing = known_thing("observer", name, module, argument="record.observers")
    if inspect.isclass(thing):
        return rebuilt("observer", description)
    requires = getattr(thing, "requires", ())
    missing = [each.words for each in requires if not each.holds(samples)]
    if missing:
        raise ValueError(
            f"`record.observers` has {name}, which needs {' and '.join(missing)}."
        )
    has_samples = len(inspect.signature(thing).parameters) > 1
    return WithSamples(thing, samples) if has_samples else thing


def describe_observers(observers: Mapping[str, Observer]) -> dict[str, Any]:
    """Plain values by name, from which `observers_of` makes the registered ones."""
    return {
        name: described(each.observer if isinstance(each, WithSamples) else each)
        for name, each in observers.items()
    }


def observers_of(run: Any, given: Mapping[str, Observer]) -> dict[str, Observer]:
    """The observers of a run, in their order: those given, and the registered ones.

    Parameters
    ----------
    run : Run
        From `mfpde.open_run`.
    given : dict of str to callable
        Of the user's own.

    Raises
    ------
    ValueError
        If the names are not those of the run.
    """
    descriptions, data = run.description["observers"], run.data
    samples = Samples(
        "labels" in data, data.get("x_test"), data.get("y_test"), data.get("y_std")
    )
    made = {
        name: _observer_of(each, samples)
        for name, each in descriptions.items()
        if name not in given and is_described(each)
    }
    found = {**given, **made}
    if different := sorted(set(descriptions) ^ set(found)):
        raise ValueError(
            f"`observers` must be those of the run, {list(descriptions)}; "
            f"missing or new: {', '.join(different)}."
        )
    return {name: found[name] for name in descriptions}
