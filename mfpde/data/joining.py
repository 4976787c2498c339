"""From frames of columns to one table of samples: inputs, target, test samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.data.checks import sha256
from mfpde.data.classes import check_values, number_classes
from mfpde.data.frames import Frame, features, refuse_missing, targets


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Raw samples of one or more files.

    Attributes
    ----------
    x : ndarray, shape (N, d)
        Inputs; NaN where a value is missing and shall be filled in.
    y : ndarray, shape (N,) or (N, q)
        Classes as positions in `class_names`, or the targets of a regression.
    feature_names, target_names : tuple of str
        Names of the columns of the inputs and of the target.
    class_names : tuple of str
        Empty for a regression.
    column_names : tuple of str
        Names of all columns of the files, in their order.
    rows : ndarray of int, shape (N,)
        Where the samples stand in the files, the rows of all of them counted from 0.
    n_test : int
        So many of the last samples are a test set that the files give apart.
    n_dropped : int
        Rows that were left out because a value is missing.
    sources : tuple of (str, str)
        Name and SHA-256 checksum of every file.
    """

    x: NDArray[np.float64]
    y: NDArray
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    class_names: tuple[str, ...]
    column_names: tuple[str, ...]
    rows: NDArray[np.int64]
    n_test: int
    n_dropped: int
    sources: tuple[tuple[str, str], ...]


def joined(
    parts: Sequence[Sequence[Frame]],
    *,
    task: str,
    missing: str,
    target_columns: str | Sequence[str] | None = None,
    feature_columns: Sequence[str] | None = None,
    drop_columns: Sequence[str] | None = None,
) -> Table:
    """Choose columns and join the samples for training and those for testing.

    A part is one frame with inputs and target, or one of each.
    """
    chosen = [
        _chosen(part, task, target_columns, feature_columns, drop_columns)
        for part in parts
    ]
    if len({(names, goals) for _, names, _, goals in chosen}) > 1:
        raise ValueError(
            f"{parts[1][0].path} and its targets must have the columns of "
            f"{parts[0][0].path}, {_both(chosen[0])}, got {_both(chosen[1])}."
        )
    _, names, _, goals = chosen[0]
    inputs, kept, values, labels = [], [], [], []
    for frame, _, goal_frame, _ in chosen:
        inputs.append(features(frame, names).values)
        if task == "regression":
            values.append(targets(goal_frame, goals).values)
        else:
            labels.append(goal_frame.labels(goals[0]))
        kept.append(_rows_to_keep(frame, names, goal_frame, goals, missing))
    rows = np.concatenate(kept)
    class_names: tuple[str, ...] = ()
    if task == "regression":
        y = np.concatenate(values)[rows]
        check_values(goals, y)
    else:
        present = np.array([v for part in labels for v in part], dtype=object)[rows]
        frame = chosen[0][2]
        where = f"Column {goals[0]!r} of {frame.path}"
        class_names, y = number_classes(where, present, frame.numerals, frame.hint())
    paths = dict.fromkeys(frame.path for part in parts for frame in part)
    return Table(
        x=np.concatenate(inputs)[rows],
        y=y,
        feature_names=names,
        target_names=goals,
        class_names=class_names,
        column_names=tuple(name for frame in parts[0] for name in frame.names),
        rows=np.flatnonzero(rows),
        n_test=sum(int(mask.sum()) for mask in kept[1:]),
        n_dropped=int((~rows).sum()),
        sources=tuple((p.name, sha256(p)) for p in paths),
    )


Chosen = tuple[Frame, tuple[str, ...], Frame, tuple[str, ...]]


def _chosen(
    part: Sequence[Frame],
    task: str,
    target_columns: str | Sequence[str] | None,
    feature_columns: Sequence[str] | None,
    drop_columns: Sequence[str] | None,
) -> Chosen:
    """The frames of inputs and target, with the names of their columns."""
    frame, goal_frame = part[0], part[-1]
    goals = [target_columns] if isinstance(target_columns, str) else target_columns
    if goals is None and len(part) > 1:
        goals = goal_frame.names
    if not goals or (task == "classification" and len(goals) > 1):
        one = "one column" if task == "classification" else "a column"
        raise ValueError(
            f"`target_columns` must name {one} of {goal_frame.path}, got "
            f"{'none' if not goals else list(goals)}. It has "
            f"{', '.join(map(repr, goal_frame.names[:20]))}."
        )
    goal_frame.check_names("target_columns", goals)
    frame.check_names("drop_columns", drop_columns or ())
    taken = set(drop_columns or ()) | (set(goals) if len(part) == 1 else set())
    if feature_columns is None:
        feature_columns = [name for name in frame.names if name not in taken]
    frame.check_names("feature_columns", feature_columns)
    if not feature_columns or taken & set(feature_columns):
        raise ValueError(
            f"`feature_columns` must name at least one column of {frame.path} that is "
            "not a target, and no target and no column of `drop_columns`, got "
            f"{list(feature_columns)}.{frame.hint()}"
        )
    if frame.n_rows != goal_frame.n_rows:
        raise ValueError(
            f"{goal_frame.path} must have one row of targets for each of the "
            f"{frame.n_rows} inputs of {frame.path}, got {goal_frame.n_rows}."
        )
    return frame, tuple(feature_columns), goal_frame, tuple(goals)


def _both(chosen: Chosen) -> str:
    names = [*chosen[1], *chosen[3]]
    return f"{', '.join(map(repr, names[:12]))}{', ...' if len(names) > 12 else ''}"


def _rows_to_keep(
    frame: Frame,
    names: Sequence[str],
    goal_frame: Frame,
    goals: Sequence[str],
    missing: str,
) -> NDArray[np.bool_]:
    """Which rows stay, shape (N,); raises for missing values that are refused."""
    if missing == "refuse":
        refuse_missing(frame, names, has_fill=True)
    if missing != "drop":
        refuse_missing(goal_frame, goals, has_fill=False)
    is_whole = ~_any_missing(goal_frame, goals)
    if missing == "drop":
        is_whole &= ~_any_missing(frame, names)
    if not is_whole.any():
        raise ValueError(
            f"Every row of {frame.path} has a missing value. Leave out columns with "
            "`drop_columns`."
        )
    return is_whole


def _any_missing(frame: Frame, names: Iterable[str]) -> NDArray[np.bool_]:
    return np.any([frame.is_missing(name) for name in names], axis=0)
