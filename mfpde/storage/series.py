"""Lazy views of the datasets that grow with s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.storage.hdf5.access import format_errors
from mfpde.storage.runfile import RunFile


class Series:
    """A dataset with one row per committed `s`, read from the file row by row.

    Index it like an array; `numpy.asarray` reads all of it.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        Type of the arrays that indexing returns: float64, whatever the file holds.
    """

    def __init__(self, file: RunFile, path: str) -> None:
        self._file = file
        self._path = path

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows that count, then the shape of a row."""
        return (len(self), *self._file.dataset(self._path).shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the arrays that indexing returns."""
        return np.dtype(np.float64)

    def __len__(self) -> int:
        return self._file.n_rows(self._path)

    def __getitem__(self, key: Any) -> NDArray[np.float64]:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            first, rest = slice(None), [Ellipsis, *rest]
        if isinstance(first, slice):
            rows = range(len(self))[first]
            backward = rows.step < 0
            rows = rows[::-1] if backward else rows
            values = self._read((slice(rows.start, rows.stop, rows.step), *rest))
            return values[::-1] if backward else values
        if isinstance(first, (list, np.ndarray)):
            rows = np.arange(len(self))[first]
            values = [self._read((int(row), *rest)) for row in rows]
            return np.stack(values) if values else self[0:0]
        try:
            row = range(len(self))[first]
        except IndexError:
            raise IndexError(
                f"{self._path} has {len(self)} rows, got index {first}."
            ) from None
        return self._read((row, *rest))

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float64]:
        dataset = self._file.dataset(self._path)
        with format_errors(self._file.path):
            return np.asarray(dataset[key], dtype=np.float64)

    def __iter__(self) -> Iterator[NDArray[np.float64]]:
        return (self[row] for row in range(len(self)))

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> NDArray[np.float64]:
        if copy is False:
            raise ValueError("A series lives in a file, so an array of it is a copy.")
        return self[:].astype(dtype or np.float64, copy=False)

    def __repr__(self) -> str:
        return f"<Series {self._path} {self.shape}>"


class Columns(Mapping[str, NDArray[Any]]):
    """The series of one group by name, read as whole arrays when asked for."""

    def __init__(self, file: RunFile, group: str) -> None:
        self._file = file
        self._group = group

    def _names(self) -> list[str]:
        return [name for name in self._file.series_names(self._group) if name != "s"]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names():
            raise KeyError(name)
        return self._file.rows(f"/{self._group}/{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        return f"<{self._group}: {', '.join(self)}>"
