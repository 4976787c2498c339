"""A run file open for reading: datasets by path, trimmed to what counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mfpde.errors import StorageFormatError
from mfpde.storage.hdf5.access import (
    Opened,
    check_format,
    format_errors,
    open_h5,
)
from mfpde.storage.hdf5.integrity import check_structure, committed_lengths
from mfpde.storage.presence import WriterState, read_writer_state
from mfpde.storage.scales import digest, is_series
from mfpde.storage.texts import attribute, attributes, decoded


class RunFile:
    """The file behind a `Run`.

    Attributes
    ----------
    path : Path
    attrs : dict
        Attributes of the root group.
    writer : WriterState
    lengths : dict of int
        Rows that count, by group.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.attrs: dict[str, Any] = {}
        self.lengths: dict[str, int] = {}
        self.writer: WriterState
        self._opened: Opened | None = None
        self.refresh()

    def refresh(self) -> None:
        """Open the file again: records that came since are seen."""
        self.close()
        opened = open_h5(self.path)
        try:
            with format_errors(self.path):
                check_format(opened.h5, self.path)
                self.lengths = committed_lengths(opened)
                check_structure(opened, self.lengths, self.path)
                self.attrs = attributes(opened.h5)
                self.writer = read_writer_state(opened.h5, self.path)
        except BaseException:
            opened.close()
            raise
        self._opened = opened

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def is_open(self) -> bool:
        """Whether datasets can be read."""
        return self._opened is not None

    @property
    def h5(self) -> h5py.File:
        """The HDF5 file itself."""
        if self._opened is None:
            raise ValueError(f"The run {self.path} is closed. Open it again.")
        return self._opened.h5

    def names(self, group: str) -> list[str]:
        """Names in a group, empty if there is no such group."""
        h5 = self.h5
        with format_errors(self.path):
            return list(h5[group]) if group in h5 else []

    def series_names(self, group: str) -> list[str]:
        """Names of the datasets of a group that grow, without `s`."""
        names = self.names(group)
        with format_errors(self.path):
            return [
                name
                for name in names
                if name != "s" and is_series(self.h5[group][name])
            ]

    def dataset(self, path: str) -> h5py.Dataset:
        """One dataset, not trimmed."""
        h5 = self.h5
        with format_errors(self.path):
            return h5[path]

    def n_rows(self, path: str) -> int:
        """Rows of a series that count."""
        return self.lengths[path.split("/")[1]]

    def rows(self, path: str) -> NDArray[Any]:
        """All rows of a series that count."""
        dataset = self.dataset(path)
        with format_errors(self.path):
            return dataset[: self.n_rows(path)]

    def static(self, path: str) -> NDArray[Any]:
        """Values of a dataset that does not grow, strings as numpy strings.

        Raises
        ------
        StorageFormatError
            If they do not match the checksum written with them.
        """
        dataset = self.dataset(path)
        with format_errors(self.path):
            return checked_values(dataset, self.path)


def checked_values(dataset: h5py.Dataset, path: Path) -> NDArray[Any]:
    """Values of a dataset of the file at `path`, strings as numpy strings.

    Raises
    ------
    StorageFormatError
        If they do not match the checksum written with them.
    """
    values = np.asarray(decoded(np.asarray(dataset[()])))
    expected = attribute(dataset, "sha256")
    if expected is not None and digest(values) != expected:
        raise StorageFormatError(
            f"{path} is damaged: the checksum of {dataset.name} is wrong."
        )
    return values
