"""Checks on what a study says of itself, and the shares of its tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mfpde.arrays import sequence, shown, whole
from mfpde.errors import ConfigurationError, did_you_mean
from mfpde.studies.study import Config, Study, Task
from mfpde.studies.table import find
from mfpde.studies.work import is_range

RESERVED = ("status", "wall_time")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+,-]*")


def checked_tasks(study: Study, config: Config) -> list[Task]:
    """Return the tasks of a study.

    Raises
    ------
    ConfigurationError
        If the grid is empty, or has a value twice.
    ValueError
        If axes, variables, references and tasks do not fit each other.
    """
    axes, tasks = study.axes(config), list(study.tasks(config))
    problems = []
    for axis, values in axes.items():
        if not values:
            problems.append(f"The grid is empty: axis `{axis}` has no value.")
        elif len(set(values)) < len(values):
            problems.append(f"Axis `{axis}` has a value twice: {list(values)}.")
    if not tasks and not problems:
        problems.append("The grid is empty: there is no task.")
    if problems:
        raise ConfigurationError(problems)
    _check_parts(study, config, axes, tasks)
    return tasks


def _check_parts(
    study: Study, config: Config, axes: dict[str, list], tasks: Sequence[Task]
) -> None:
    for name, variable in study.variables(config).items():
        if name in RESERVED or name in axes:
            raise ValueError(f"A variable must not be named {name!r}.")
        for dim in variable.dims:
            if dim not in axes:
                hint = did_you_mean(dim, axes)
                raise ValueError(
                    f"Variable {name!r} has the dimension {dim!r}, which is no axis."
                    f"{hint}"
                )
    references = study.references(config)
    for name in references:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"The reference {name!r} cannot be the name of a file.")
    keys: dict[str, Task] = {}
    for task in tasks:
        if task.key in keys:
            raise ValueError(f"Two tasks are the same: {task}.")
        keys[task.key] = task
        for axis, given in task.coordinates.items():
            if axis not in axes:
                raise ValueError(f"The coordinate {axis!r} of {task} is no axis.")
            for value in given if is_range(given) else [given]:
                find(axes, axis, value)
        for name in task.needs:
            if name not in references:
                raise ValueError(f"{task} needs {name!r}, which is no reference.")


def a_share(name: str, value: Any) -> tuple[int, int]:
    """(I, N) with 1 <= I <= N."""
    pair = sequence(whole(1))(name, value)
    if len(pair) != 2 or pair[0] > pair[1]:
        raise ValueError(
            f"`{name}` must be (I, N) with I from 1 to N, got {shown(value)}."
        )
    return pair[0], pair[1]


def check_share(share: tuple[int, int] | None) -> None:
    """Raise ConfigurationError unless 1 <= I <= N."""
    if share is not None and not 1 <= share[0] <= share[1]:
        raise ConfigurationError(
            [f"--task takes I/N with I from 1 to N, got {share[0]}/{share[1]}."]
        )


def read_share(text: str) -> tuple[int, int]:
    """Return (I, N) of the text "I/N".

    Raises
    ------
    ConfigurationError
        If it is something else.
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if found is None:
        raise ConfigurationError(
            [f"--task takes I/N with I from 1 to N, such as 3/20, got {text!r}."]
        )
    share = int(found[1]), int(found[2])
    check_share(share)
    return share


def share_of(tasks: Sequence[Task], index: int, n_shares: int) -> list[Task]:
    """Return share `index`, from 1, of `n_shares` of about equal cost.

    The dear tasks are dealt out first, each to the share that has least; all tasks
    count, done or not, so that the shares never change.
    """
    costs = [0.0] * n_shares
    counts = [0] * n_shares
    chosen = []
    for task in sorted(tasks, key=lambda task: (-task.cost, task.key)):
        least = min(range(n_shares), key=lambda i: (costs[i], counts[i]))
        costs[least] += task.cost
        counts[least] += 1
        if least == index - 1:
            chosen.append(task)
    return chosen
