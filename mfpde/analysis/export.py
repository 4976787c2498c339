"""A run file written out as NumPy archive or as CSV tables.

Everything is read through `open_run`: live, finished and killed files, of a run or of a
network. An output appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, choice
from mfpde.paths import user_path
from mfpde.storage import Run, Series, check_writable, open_run
from mfpde.storage.hdf5.files import real_path, replacing

TABLES = ("scalars", "snapshots")


def export_npz(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> Path:
    """Write all arrays of a run file to a NumPy archive.

    Parameters
    ----------
    path : path-like
        The run, from `solve` or a network.
    output : path-like
        NAME.npz.
    overwrite : bool
        Replace an existing archive.

    Returns
    -------
    output : Path

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError
        If `output` cannot be written, or there is no run at `path`.
    StorageFormatError
        If `path` is not a run, or damaged.

    Notes
    -----
    Arrays are named "group/name" as in the file: "scalars/s", "scalars/loss",
    "trajectory/theta", "data/x"; "attributes" holds the attributes of the file as JSON.
    Snapshots are copied one by one, so that a file may be larger than the memory. Read
    it with `numpy.load(output)`; nothing is pickled.
    """
    with (
        open_run(path) as run,
        _writing(output, ".npz", overwrite) as file,
        # Not compressed: particle clouds hardly shrink.
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        attributes = json.dumps(run.attrs, default=str)
        _add(archive, "attributes", np.array(attributes))
        for group in run.groups:
            for name, values in run.arrays(group).items():
                _add(archive, f"{group}/{name}", values)
    return user_path(output, "output")


@checked(table=choice(*TABLES))
def export_csv(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    table: str = "scalars",
    overwrite: bool = False,
) -> Path:
    """Write one table of a run file as CSV with a header line.

    Parameters
    ----------
    path : path-like
        The run, from `solve` or a network.
    output : path-like
        NAME.csv.
    table : {"scalars", "snapshots"}
        "scalars": a row for each record, columns s, step, loss, ... "snapshots": a row
        for each snapshot, depth node and particle, columns s, t, t_weight, particle,
        weight and the parameters by name.
    overwrite : bool
        Replace an existing table.

    Returns
    -------
    output : Path

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError
        If `output` cannot be written, or there is no run at `path`.
    StorageFormatError
        If `path` is not a run, or damaged.

    Notes
    -----
    Numbers are written so that reading gives the same float64. A row that was reserved
    but not filled is no record and is not written; an unknown value is "nan".
    """
    with open_run(path) as run, _writing(output, ".csv", overwrite) as file:
        rows = _scalar_rows(run) if table == "scalars" else _snapshot_rows(run)
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text).writerows(rows)
        # The file itself is closed by the one who opened it.
        text.detach()
    return user_path(output, "output")


@contextlib.contextmanager
def _writing(
    output: str | os.PathLike[str], suffix: str, overwrite: bool
) -> Iterator[BinaryIO]:
    """A file that becomes `output` at the end of the block."""
    if user_path(output, "output").suffix != suffix:
        raise ValueError(f"`output` must end in {suffix}, got {os.fspath(output)!r}.")
    check_writable(output, overwrite, suffix)
    with replacing(real_path(output)) as file:
        yield file


def _add(archive: zipfile.ZipFile, name: str, values: NDArray[Any] | Series) -> None:
    """Add an array; a series row by row."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        if not isinstance(values, Series):
            np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
            return
        header = {
            "descr": np.lib.format.dtype_to_descr(values.dtype),
            "fortran_order": False,
            "shape": values.shape,
        }
        np.lib.format.write_array_header_1_0(member, header)
        for row in values:
            member.write(np.ascontiguousarray(row).tobytes())


def _scalar_rows(run: Run) -> Iterator[Iterable[Any]]:
    """Header and records of /scalars."""
    columns = {"s": run.s, **run.scalars}
    yield columns.keys()
    yield from zip(*(column.tolist() for column in columns.values()), strict=True)


def _snapshot_rows(run: Run) -> Iterator[Iterable[Any]]:
    """Header and one row for each snapshot, node and particle."""
    yield ["s", "t", "t_weight", "particle", "weight", *run.param_names]
    particles = list(enumerate(run.weights.tolist()))
    nodes = list(zip(run.t.tolist(), run.t_weights.tolist(), strict=True))
    for s, theta in zip(run.snapshot_s.tolist(), run.theta, strict=True):
        for node, cloud in zip(nodes, theta.tolist(), strict=True):
            for particle, parameters in zip(particles, cloud, strict=True):
                yield [s, *node, *particle, *parameters]
