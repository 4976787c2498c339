"""The files of a study: study.h5, and a piece for each task while it is made.

Both are small, made in memory and put in place as a whole.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.storage.hdf5.access import (
    FORMAT_VERSION,
    check_format,
    format_errors,
    open_h5,
)
from mfpde.storage.header import StudyHeader
from mfpde.storage.layout import new_file, new_run_id, write_root
from mfpde.storage.runfile import checked_values
from mfpde.storage.scales import add_plain, add_static, dimension_names
from mfpde.storage.texts import attributes, set_attributes

PIECE = "piece"


@dataclass(frozen=True)
class Column:
    """One variable of a study file.

    Attributes
    ----------
    dims : tuple of str
    values : array_like
        One axis per name in `dims`.
    attrs : dict
        Attributes: long_name, units, flag_meanings, ...
    """

    dims: tuple[str, ...]
    values: ArrayLike
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyContent:
    """What a study file holds.

    Attributes
    ----------
    attrs : dict
        Attributes of the root group.
    axes : dict of str to list
    columns : dict of str to Column
        The variables, in the root group.
    groups : dict of str to dict of str to Column
        Other groups: config, verdicts, texts.
    """

    attrs: dict[str, Any]
    axes: dict[str, list]
    columns: dict[str, Column]
    groups: dict[str, dict[str, Column]]


def encode_study(
    header: StudyHeader,
    axes: Mapping[str, Sequence],
    columns: Mapping[str, Column],
    groups: Mapping[str, Mapping[str, Column]],
) -> bytes:
    """Return the content of a study file; see `StudyContent` for the arguments."""
    file = io.BytesIO()
    with new_file(file) as h5:
        write_root(h5, header, new_run_id())
        for name, values in axes.items():
            add_static(h5, name, np.array(values), (name,))
        for name, column in columns.items():
            _write_column(h5, name, column)
        for name, members in groups.items():
            group = h5.create_group(name, track_order=True)
            for key, column in members.items():
                _write_column(group, key, column)
    return file.getvalue()


def read_study(path: Path) -> StudyContent:
    """Read a study file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StorageFormatError
        If it is damaged, or no study file.
    """
    with open_h5(path) as opened, format_errors(path):
        h5 = opened.h5
        check_format(h5, path, ("study",))
        columns, axes, groups = {}, {}, {}
        for name, item in h5.items():
            if isinstance(item, h5py.Group):
                groups[name] = {key: _read_column(d, path) for key, d in item.items()}
            elif item.is_scale:
                axes[name] = checked_values(item, path).tolist()
            else:
                columns[name] = _read_column(item, path)
        return StudyContent(attributes(h5), axes, columns, groups)


def _write_column(group: h5py.Group, name: str, column: Column) -> None:
    add_static(group, name, column.values, column.dims)
    set_attributes(group[name], column.attrs)


def _read_column(dataset: h5py.Dataset, path: Path) -> Column:
    return Column(tuple(dimension_names(dataset)), checked_values(dataset, path))


def encode_piece(
    arrays: Mapping[str, ArrayLike], attrs: Mapping[str, int | float | str]
) -> bytes:
    """Return the content of a piece: named arrays and attributes."""
    file = io.BytesIO()
    with new_file(file) as h5:
        set_attributes(
            h5,
            {
                "Conventions": "MFPDE-1.0",
                "mfpde_format_version": np.int64(FORMAT_VERSION),
                "kind": PIECE,
            },
        )
        # As JSON, which has room for long texts and keeps every bit of a float.
        add_plain(h5, "attrs", json.dumps(dict(attrs)))
        group = h5.create_group("arrays", track_order=True)
        for name, values in arrays.items():
            add_plain(group, name, values)
    return file.getvalue()


def read_piece(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the arrays and attributes of a piece.

    Raises
    ------
    StorageFormatError
        If it is damaged, or no piece.
    """
    with open_h5(path) as opened, format_errors(path):
        check_format(opened.h5, path, (PIECE,))
        group = opened.h5["arrays"]
        arrays = {name: checked_values(item, path) for name, item in group.items()}
        return arrays, json.loads(str(checked_values(opened.h5["attrs"], path)))
