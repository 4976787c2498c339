"""A group of a run file as an xarray.Dataset; large arrays are read when used."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.errors import StorageFormatError
from mfpde.storage.hdf5.access import format_errors, open_h5
from mfpde.storage.runfile import RunFile
from mfpde.storage.scales import dimension_names, is_series
from mfpde.storage.texts import attribute, attributes

# Groups whose series are short: they are read at once.
_SMALL = ("scalars",)
# Attributes for the file itself; xarray would write them a second time.
_OF_THE_FILE = ("sha256", "coordinates", "mfpde_index", "_Encoding")


def frame(file: RunFile, group: str) -> Any:
    """Return a group as an xarray.Dataset; see `Run.to_xarray`."""
    try:
        import xarray
    except ImportError:
        raise ImportError(
            "to_xarray needs xarray. Install it with `pip install 'mfpde[xarray]'`."
        ) from None
    with format_errors(file.path):
        names = {name: file.dataset(f"/{group}/{name}") for name in file.names(group)}
        variables = {
            name: xarray.Variable(
                dimension_names(dataset),
                _values(file, f"/{group}/{name}", is_series(dataset)),
                {k: v for k, v in attributes(dataset).items() if k not in _OF_THE_FILE},
            )
            for name, dataset in names.items()
        }
        listed = [str(attribute(each, "coordinates", "")) for each in names.values()]
    coordinates = set(" ".join(listed).split())
    coordinates.update(dim for each in variables.values() for dim in each.dims)
    for name, variable in list(variables.items()):
        if [f"{dim}_name" for dim in variable.dims] == [name]:
            # A dimension whose places have names is labelled by them.
            variables[variable.dims[0]] = variable
            coordinates.add(name)
    coords = {
        name: variables.pop(name) for name in list(variables) if name in coordinates
    }
    kept = {name: file.attrs[name] for name in ("title", "run_id", "source", "history")}
    return xarray.Dataset(variables, coords, kept)


def _values(file: RunFile, path: str, grows: bool) -> Any:
    if not grows:
        return file.static(path)
    if path.endswith("/s") or path.split("/")[1] in _SMALL:
        return file.rows(path)
    shape = (file.n_rows(path), *file.dataset(path).shape[1:])
    where = os.path.abspath(file.path), path, file.attrs["run_id"], shape
    return _lazily(_stored(*where))


def _lazily(array: Any) -> Any:
    """The array as `xarray.open_dataset` would give it: kept once it is read."""
    from xarray.core import indexing

    lazy = indexing.CopyOnWriteArray(indexing.LazilyIndexedArray(array))
    return indexing.MemoryCachedArray(lazy)


@functools.cache
def _stored_class() -> type:
    """The class of arrays in a file; xarray is imported when it is needed."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Stored(BackendArray):
        """The rows of a series that counted when it was made.

        The file is opened for each reading only, so that it may be written, resumed
        or moved to the end of a run meanwhile.
        """

        def __init__(
            self, path: str, name: str, run_id: str, shape: tuple[int, ...]
        ) -> None:
            self.where = path, name, run_id, shape
            self.shape = shape
            self.dtype = np.dtype(np.float64)

        def __getitem__(self, key: Any) -> Any:
            support = indexing.IndexingSupport.OUTER_1VECTOR
            read = functools.partial(_read, *self.where)
            return indexing.explicit_indexing_adapter(key, self.shape, support, read)

        def __reduce__(self) -> Any:
            return _stored, self.where

    return Stored


def _stored(path: str, name: str, run_id: str, shape: tuple[int, ...]) -> Any:
    return _stored_class()(path, name, run_id, shape)


def _read(
    path: str, name: str, run_id: str, shape: tuple[int, ...], key: tuple[Any, ...]
) -> NDArray[np.float64]:
    """Part of the first rows of a series; `key` as for h5py."""
    with open_h5(path) as opened, format_errors(path):
        dataset = opened.h5[name]
        is_same = attribute(opened.h5, "run_id") == run_id
        if not is_same or len(dataset) < shape[0] or dataset.shape[1:] != shape[1:]:
            raise StorageFormatError(
                f"{path} is no longer the file that `to_xarray` was called for. Open "
                "it again."
            )
        return np.asarray(dataset[key], dtype=np.float64)
