"""From pieces to the table, to study.h5, and back."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfpde import __version__
from mfpde.paths import user_path
from mfpde.run.recorder import software
from mfpde.storage import StudyHeader
from mfpde.storage.hdf5.access import format_errors
from mfpde.storage.studyfile import Column, encode_study, read_study
from mfpde.studies.configuration import resolved_text
from mfpde.studies.report import Report, Verdict
from mfpde.studies.study import Config, Study, Task
from mfpde.studies.table import STATUS, Table, find
from mfpde.studies.work import TaskResult, is_range

_CELL_COLUMNS = ("status", "wall_time")


def assemble(study: Study, config: Config, pieces: Mapping[str, TaskResult]) -> Table:
    """Put pieces together.

    Parameters
    ----------
    study : Study
    config : mapping
        Resolved.
    pieces : mapping
        Key of a task to what became of it; missing tasks have none.

    Returns
    -------
    table : Table
        The variables, inf where a run diverged, and two more over the axes of the
        tasks: `status` (see `STATUS`) and `wall_time`, the seconds of a task shared
        out over its cells.
    """
    axes, variables = study.axes(config), study.variables(config)
    tasks = study.tasks(config)
    used = {axis for task in tasks for axis in task.coordinates}
    cell_dims = tuple(axis for axis in axes if axis in used)
    cell_shape = tuple(len(axes[axis]) for axis in cell_dims)
    columns = {
        name: (each.dims, np.full([len(axes[d]) for d in each.dims], each.fill))
        for name, each in variables.items()
    }
    columns["status"] = (cell_dims, np.zeros(cell_shape, dtype=np.int8))
    columns["wall_time"] = (cell_dims, np.full(cell_shape, np.nan))
    for task in tasks:
        piece = pieces.get(task.key)
        if piece is not None:
            _place(task, piece, axes, columns)
    table = Table(axes, columns)
    _mark_diverged_cells(table, list(variables))
    return table


def _place(
    task: Task,
    piece: TaskResult,
    axes: Mapping[str, list],
    columns: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
) -> None:
    """Write the piece of one task into the columns."""
    n_cells = int(np.prod([len(c) for c in task.coordinates.values() if is_range(c)]))
    cells = {
        "status": np.int8(STATUS.index(piece.status)),
        "wall_time": piece.wall_time_s / n_cells,
    }
    for name, (dims, values) in columns.items():
        places = _places(task, dims, axes)
        view = values[np.ix_(*places)]
        if name in cells:
            values[np.ix_(*places)] = cells[name]
        elif name in piece.arrays:
            values[np.ix_(*places)] = piece.arrays[name].reshape(view.shape)
        elif piece.status == "diverged" and set(task.coordinates) <= set(dims):
            values[np.ix_(*places)] = np.inf


def _places(
    task: Task, dims: Sequence[str], axes: Mapping[str, list]
) -> list[list[int]]:
    """Return the indices along each axis that a task fills."""
    places = []
    for dim in dims:
        if dim not in task.coordinates:
            places.append(list(range(len(axes[dim]))))
            continue
        given = task.coordinates[dim]
        wanted = list(given) if is_range(given) else [given]
        places.append([find(axes, dim, value) for value in wanted])
    return places


def _mark_diverged_cells(table: Table, names: Sequence[str]) -> None:
    """Set the status of cells whose values are inf: one seed of several diverged."""
    cell_dims, status = table.variables["status"]
    for name in names:
        dims, values = table.variables[name]
        if not set(cell_dims) <= set(dims):
            continue
        others = tuple(i for i, dim in enumerate(dims) if dim not in cell_dims)
        is_inf = np.isinf(values).any(axis=others)
        kept = [dim for dim in dims if dim in cell_dims]
        is_inf = is_inf.transpose([kept.index(dim) for dim in cell_dims])
        status[is_inf & (status == STATUS.index("done"))] = STATUS.index("diverged")


def encode(
    study: Study, config: Config, table: Table, report: Report | None, command: str = ""
) -> bytes:
    """Return the content of study.h5."""
    variables = study.variables(config)
    columns = {}
    for name, (dims, values) in table.variables.items():
        if name in _CELL_COLUMNS:
            attrs = _cell_attributes(name)
        else:
            each = variables[name]
            attrs = {
                "long_name": each.long_name or name.replace("_", " "),
                "units": each.units,
            }
        columns[name] = Column(dims, values, attrs)
    header = StudyHeader(
        title=study.title,
        source=f"mfpde {__version__}",
        config_toml=resolved_text(study, config),
        command=command,
        software=json.dumps(software()),
    )
    groups = {"config": {"toml": Column((), header.config_toml)}}
    if report is not None:
        groups |= _report_groups(report)
    return encode_study(header, table.axes, columns, groups)


def _cell_attributes(name: str) -> dict[str, Any]:
    if name == "wall_time":
        return {"long_name": "time spent computing, shared out over the cells"}
    return {
        "long_name": "what became of the measurement",
        "flag_values": np.arange(len(STATUS), dtype=np.int8),
        "flag_meanings": " ".join(STATUS),
    }


def _report_groups(report: Report) -> dict[str, dict[str, Column]]:
    groups: dict[str, dict[str, Column]] = {}
    if report.verdicts:
        each = list(report.verdicts)
        missing = (np.nan, np.nan)
        numbers = {
            "value": [np.nan if v.value is None else v.value for v in each],
            "low": [(v.interval or missing)[0] for v in each],
            "high": [(v.interval or missing)[1] for v in each],
            "row": [np.nan if v.row is None else v.row for v in each],
        }
        texts = {
            "claim": [v.claim for v in each],
            "expected": [str(v.expected) for v in each],
            "verdict": [v.verdict for v in each],
            "rule": [v.rule for v in each],
            "note": [v.note for v in each],
        }
        arrays = {name: np.array(texts[name], dtype=object) for name in texts}
        arrays |= {name: np.array(numbers[name], dtype=float) for name in numbers}
        dims = ("verdict_index",)
        groups["verdicts"] = {name: Column(dims, arrays[name]) for name in arrays}
    if report.texts:
        lines = np.array(list(report.texts), dtype=object)
        groups["texts"] = {"text": Column(("text_index",), lines)}
    return groups


@dataclass(frozen=True, repr=False)
class AssembledStudy:
    """What study.h5 holds, in memory; see `open_study`.

    Attributes
    ----------
    path : Path
    table : Table
    attrs : dict
        Attributes of the file: title, created, source, command, software, ...
    config_toml : str
        The resolved configuration.
    verdicts : list of Verdict
        `expected` is a number where it reads as one.
    texts : list of str
    """

    path: Path
    table: Table
    attrs: dict[str, Any]
    config_toml: str
    verdicts: list[Verdict]
    texts: list[str]

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration as a table."""
        with format_errors(self.path):
            return tomllib.loads(self.config_toml)

    def __repr__(self) -> str:
        return f"<{self.attrs['title']}, {self.path}: {self.table!r}>"


def open_study(path: str | os.PathLike[str]) -> AssembledStudy:
    """Read the assembled file of a study.

    Parameters
    ----------
    path : path-like
        study.h5, or the folder that it stands in.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StorageFormatError
        If it is damaged, or no file of a study.
    """
    path = user_path(path)
    if path.is_dir():
        parts = sorted(each.parent.name for each in path.glob("*/study.h5"))
        path = path / "study.h5"
        if parts and not path.exists():
            raise FileNotFoundError(
                f"There is no file {path}. {path.parent} holds several experiments: "
                f"open one of the folders {', '.join(parts)} in it."
            )
    content = read_study(path)
    with format_errors(path):
        table = Table(
            content.axes,
            {name: (each.dims, each.values) for name, each in content.columns.items()},
        )
        texts = content.groups.get("texts", {}).get("text")
        return AssembledStudy(
            path=path,
            table=table,
            attrs=content.attrs,
            config_toml=str(content.groups["config"]["toml"].values),
            verdicts=_verdicts(content.groups.get("verdicts", {})),
            texts=[] if texts is None else texts.values.tolist(),
        )


def _verdicts(columns: Mapping[str, Column]) -> list[Verdict]:
    names = ("claim", "expected", "value", "low", "high", "verdict", "rule", "note")
    if not columns:
        return []
    values = [columns[name].values.tolist() for name in names]
    # Files that were written before there were rows have no such column.
    no_rows = [np.nan] * len(values[0])
    values.append(columns["row"].values.tolist() if "row" in columns else no_rows)
    return [
        Verdict(
            claim=claim,
            expected=_number_or_text(expected),
            value=None if np.isnan(value) else value,
            interval=None if np.isnan(low) else (low, high),
            verdict=verdict,
            rule=rule,
            note=note,
            row=None if np.isnan(row) else int(row),
        )
        for claim, expected, value, low, high, verdict, rule, note, row in zip(
            *values, strict=True
        )
    ]


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
