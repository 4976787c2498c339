"""Group /errors: estimated errors, added to a run file when the run has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping

import h5py
import numpy as np
from numpy.typing import ArrayLike

from mfpde.storage.hdf5.access import (
    Opened,
    check_format,
    format_errors,
    open_h5,
    refuse_if_live,
)
from mfpde.storage.hdf5.addition import add_in_place
from mfpde.storage.hdf5.files import check_writable, folder_lock, real_path
from mfpde.storage.hdf5.integrity import committed_lengths
from mfpde.storage.hdf5.parts import new_version
from mfpde.storage.hdf5.rebuild import copy_run
from mfpde.storage.scales import add_static, all_series

GROUP = "errors"


def write_errors(
    path: str | os.PathLike[str],
    errors: Mapping[str, Mapping[str, float]],
    *,
    s: ArrayLike,
    notes: str,
    n_kernel_evaluations: int,
) -> None:
    """Add estimated errors to the file of a run that has ended, or replace them.

    They are added in place. Only where that is not safe - rows of a killed writer that
    do not count, errors that are replaced - the file is copied, and the copy takes its
    place when it is complete.

    Parameters
    ----------
    path : path-like
    errors : dict of str to dict of str to float
        Quantity to part to error; the same parts for every quantity.
    s : array_like, shape (R,)
        Training times that were compared.
    notes : str
        How they were estimated.
    n_kernel_evaluations : int
        The work that it took.

    Raises
    ------
    StorageFormatError
        If the file is damaged.
    OSError
        If it is being written, or cannot be.
    """
    path = real_path(path)
    parts = list(next(iter(errors.values())))
    table = np.array([[each[part] for part in parts] for each in errors.values()])
    names = np.array(list(errors), dtype=object)

    def fill(h5: h5py.File) -> None:
        group = h5.create_group(GROUP, track_order=True)
        group.attrs["n_kernel_evaluations"] = np.int64(n_kernel_evaluations)
        add_static(group, "s", np.asarray(s, dtype=float), ("s",))
        add_static(group, "quantity_name", names, ("quantity",))
        add_static(group, "part_name", np.array(parts, dtype=object), ("part",))
        add_static(group, "estimate", table, ("quantity", "part"))
        add_static(group, "notes", notes, ())

    with folder_lock(path):
        with open_h5(path) as opened:
            with format_errors(path):
                check_format(opened.h5, path)
                rows = _committed(opened)
            refuse_if_live(opened.h5, path, "completed")
            check_writable(path, overwrite=True)
            is_whole = all(len(opened.h5[name]) == n for name, n in rows.items())
            is_new = GROUP not in opened.h5
        if is_whole and is_new and add_in_place(path, fill):
            return
        with open_h5(path) as opened, new_version(path) as h5:
            with format_errors(path):
                copy_run(opened.h5, h5, rows, leave_out=(GROUP,))
            fill(h5)


def _committed(opened: Opened) -> dict[str, int]:
    """Rows that count of every series."""
    lengths = committed_lengths(opened)
    return {name: lengths[name.split("/")[1]] for name in all_series(opened.h5)}
