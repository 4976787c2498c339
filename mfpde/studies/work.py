"""What a worker does: one task or one reference, from arguments to a piece."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import NotFiniteError, did_you_mean
from mfpde.executors.base import in_words
from mfpde.executors.memory import format_memory, memory_bound
from mfpde.studies.study import Config, Study, Task, Variable

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class TaskResult:
    """What became of one task or reference.

    Attributes
    ----------
    status : {"done", "diverged", "failed"}
    message : str
        Why it diverged or failed, a sentence.
    arrays : dict of str to ndarray
        Empty unless done.
    wall_time_s : float
    details : str
        Traceback of an unexpected error.
    """

    status: str
    message: str = ""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    wall_time_s: float = 0.0
    details: str = ""


@dataclass(frozen=True)
class Job:
    """A study and its configuration, as workers get them."""

    study: Study
    config: Config

    def measure(self, task: Task, references: Mapping[str, Arrays]) -> TaskResult:
        """Do one task."""
        return _timed(lambda: self._measured(task, references))

    def refer(self, name: str, _: Mapping[str, Arrays]) -> TaskResult:
        """Compute one reference."""
        return _timed(lambda: _plain(self.study.refer(name, self.config)))

    def _measured(self, task: Task, references: Mapping[str, Arrays]) -> Arrays:
        arrays = _plain(self.study.measure(task, self.config, references))
        variables = self.study.variables(self.config)
        axes = self.study.axes(self.config)
        for name, values in arrays.items():
            if name not in variables:
                hint = did_you_mean(name, variables)
                raise ValueError(
                    f"`measure` gave {name!r}, which is no variable.{hint}"
                )
            shape = piece_shape(task, variables[name], axes)
            if values.shape != shape:
                raise ValueError(
                    f"`measure` must give {name!r} with shape {shape} for {task}, got "
                    f"{values.shape}."
                )
            if np.issubdtype(values.dtype, np.complexfloating):
                raise ValueError(f"`measure` must give real numbers for {name!r}.")
        return arrays


def piece_shape(
    task: Task, variable: Variable, axes: Mapping[str, list]
) -> tuple[int, ...]:
    """Return the shape of what a task measures of a variable."""
    lengths = []
    for dim in variable.dims:
        if dim not in task.coordinates:
            lengths.append(len(axes[dim]))
        elif is_range(task.coordinates[dim]):
            lengths.append(len(task.coordinates[dim]))
    return tuple(lengths)


def is_range(coordinate: Any) -> bool:
    """Return whether a coordinate of a task is a list of values."""
    return isinstance(coordinate, list | tuple | np.ndarray)


def _plain(values: Mapping[str, Any]) -> Arrays:
    return {name: np.asarray(each) for name, each in values.items()}


def _timed(compute: Callable[[], Arrays]) -> TaskResult:
    """Return what became of a computation; no error escapes."""
    start = time.perf_counter()
    arrays: Arrays = {}
    status, message, details = "done", "", ""
    try:
        arrays = compute()
    except NotFiniteError as error:
        status, message = "diverged", str(error)
    except MemoryError as error:
        status, message = "failed", _out_of_memory(error)
    # A task may raise anything; the others go on.
    except Exception as error:
        status, message = "failed", in_words(error)
        details = traceback.format_exc()
    return TaskResult(status, message, arrays, time.perf_counter() - start, details)


def _out_of_memory(error: MemoryError) -> str:
    bound = memory_bound()
    has = "this process" if bound is None else f"the {format_memory(bound)} of a worker"
    end = f" ({error})" if str(error) else ""
    return (
        f"It needs more memory than {has} has{end}. Use fewer --jobs or more --memory."
    )
