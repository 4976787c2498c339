"""Scalars beside those that every run records: accuracies, errors, the test loss."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.evaluation import Evaluation, predict
from mfpde.losses import accuracy
from mfpde.recording import collective

Array = NDArray[np.float64]
Observer = Callable[[Evaluation], float]


def make_observers(
    has_classes: bool,
    x_test: Array | None,
    y_test: Array | None,
    names: Sequence[str] | None = None,
    *,
    y_std: Array | None = None,
) -> dict[str, Observer]:
    """Return the observers that the data allow.

    Parameters
    ----------
    has_classes : bool
        Whether the targets encode classes, so that there is an accuracy, whatever the
        loss.
    x_test, y_test : ndarray or None, shapes (n, d_in) and (n, q)
    names : sequence of str, optional
        Which of them; default all, without root mean square errors if the targets are
        the raw ones: the loss says as much.
    y_std : ndarray, shape (q,), optional
        By which the raw targets were divided. A root mean square error is in their
        units, a loss in those of the problem.

    Returns
    -------
    observers : dict of str to callable
        From an evaluation to a number.

    Raises
    ------
    ValueError
        If one of `names` is not available.
    """
    available: dict[str, Observer] = {}
    if has_classes:
        available["train_accuracy"] = collective(
            lambda ev: accuracy(ev.output, ev.problem.y)
        )
    else:
        available["train_rmse"] = collective(
            lambda ev: _rmse(ev.output, ev.problem.y, y_std)
        )
    if x_test is not None and y_test is not None:
        available |= _test_observers(has_classes, x_test, y_test, y_std)
    for name in names or ():
        if name not in available:
            missing = []
            if name.startswith("test") and x_test is None:
                missing.append("test samples (`data.test_fraction`)")
            if name.endswith("accuracy") and not has_classes:
                missing.append("classes as targets (`data.target`)")
            if name.endswith("rmse") and has_classes:
                missing.append("numbers as targets (`data.target`)")
            raise ValueError(
                f"`record.observers` has {name}, which needs {' and '.join(missing)}."
            )
    for observer in available.values():
        observer.is_built_in = True
    if names is None:
        names = [n for n in available if not n.endswith("rmse") or y_std is not None]
    return {name: available[name] for name in names}


def built_in(observers: Mapping[str, Observer]) -> list[str]:
    """Names of the observers that `make_observers` made."""
    return [n for n, each in observers.items() if getattr(each, "is_built_in", False)]


def observers_of(run: Any, given: Mapping[str, Observer]) -> dict[str, Observer]:
    """The observers of a run, in their order: those given, and the built-in ones.

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
    description, data = run.description, run.data
    names = description["observers"]
    missing = [n for n in description["built_in_observers"] if n not in given]
    made = make_observers(
        "labels" in data,
        data.get("x_test"),
        data.get("y_test"),
        missing,
        y_std=data.get("y_std"),
    )
    found = {**given, **made}
    if different := sorted(set(names) ^ set(found)):
        raise ValueError(
            f"`observers` must be those of the run, {names}; "
            f"missing or new: {', '.join(different)}."
        )
    return {name: found[name] for name in names}


def _rmse(output: Array, y: Array, y_std: Array | None) -> float:
    """Root mean square over samples and outputs of the error in raw units."""
    error = output - y if y_std is None else (output - y) * y_std
    return float(np.sqrt(np.mean(error**2)))


def _test_observers(
    has_classes: bool, x_test: Array, y_test: Array, y_std: Array | None
) -> dict[str, Observer]:
    @functools.lru_cache(maxsize=1)
    def test_output(ev: Evaluation) -> Array:
        # Kept for one evaluation: the accuracy and the loss share a forward sweep.
        return predict(ev.problem, ev.grid, ev.ensemble, x_test)

    @collective
    def test_accuracy(ev: Evaluation) -> float:
        return accuracy(test_output(ev), y_test)

    @collective
    def test_loss(ev: Evaluation) -> float:
        return float(np.mean(ev.problem.loss.values(test_output(ev), y_test)))

    @collective
    def test_rmse(ev: Evaluation) -> float:
        return _rmse(test_output(ev), y_test, y_std)

    observers: dict[str, Observer] = {"test_loss": test_loss}
    if has_classes:
        observers["test_accuracy"] = test_accuracy
    else:
        observers["test_rmse"] = test_rmse
    return observers
