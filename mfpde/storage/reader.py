"""Read a run: live, finished or killed, without permission to write."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, text
from mfpde.paths import user_path
from mfpde.storage.frames import frame
from mfpde.storage.hdf5.access import format_errors
from mfpde.storage.runfile import RunFile
from mfpde.storage.scales import is_series
from mfpde.storage.series import Columns, Series


@dataclass(frozen=True, slots=True)
class States:
    """Recorded states and adjoints.

    Attributes
    ----------
    s : ndarray, shape (S,)
        Training time.
    t : ndarray, shape (P,)
        Depth.
    z, p : Series, shape (S, P, n, d)
    """

    s: NDArray[np.float64]
    t: NDArray[np.float64]
    z: Series
    p: Series


class Run:
    """A run file, open for reading; see `open_run`.

    Arrays hold committed records only. Every column of /scalars is an attribute
    too: `run.loss` is `run.scalars["loss"]`. Those of every run are declared here;
    for others, such as `train_accuracy`, type checkers know `run.scalars` only.
    """

    loss: NDArray[np.float64]
    objective: NDArray[np.float64]
    dissipation: NDArray[np.float64]
    energy_residual: NDArray[np.float64]
    wall_time: NDArray[np.float64]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = RunFile(user_path(path))

    def refresh(self) -> None:
        """Look at the file again: records that came since are seen."""
        self._file.refresh()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            "An open run cannot be pickled. Send its path and open it there."
        )

    @property
    def path(self) -> Path:
        """The file, as it was given to `open_run`."""
        return self._file.path

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the file: run_id, created, seed, command, software, ..."""
        return self._file.attrs

    @property
    def kind(self) -> str:
        """One of "run", "network" and "study"."""
        return self.attrs["kind"]

    @property
    def status(self) -> str:
        """One of "running", "finished", "interrupted", "failed" and "killed".

        "killed" if the writer ended on this machine without saying so.
        """
        writer = self._file.writer
        return "killed" if writer.is_killed else writer.status

    @property
    def message(self) -> str:
        """Why the run ended, a sentence."""
        return self._file.writer.message

    @property
    def scalars(self) -> Columns:
        """Columns of /scalars, each of shape (R,)."""
        return Columns(self._file, "scalars")

    @property
    def s(self) -> NDArray[np.float64]:
        """Training time of the records, shape (R,)."""
        return self._file.rows("/scalars/s")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NDArray[Any]:
            # Reached for names that the class lacks: the columns of /scalars.
            if not name.startswith("_") and name in self.scalars:
                return self.scalars[name]
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}.")

    def __dir__(self) -> list[str]:
        names = self.scalars if self._file.is_open else ()
        return sorted({*super().__dir__(), *names})

    @property
    def observations(self) -> Columns:
        """Arrays recorded with the scalars, each of shape (R, ...)."""
        return Columns(self._file, "observations")

    @property
    def snapshot_s(self) -> NDArray[np.float64]:
        """Training time of the snapshots, shape (S,)."""
        return self._file.rows("/trajectory/s")

    @property
    def theta(self) -> Series:
        """Snapshots of the particles, shape (S, J, M, k), read when indexed."""
        return Series(self._file, "/trajectory/theta")

    @property
    def trainable(self) -> dict[str, Series]:
        """Other trained arrays by name, shape (S, ...), read when indexed."""
        return {
            name: Series(self._file, f"/trajectory/{name}")
            for name in self._file.series_names("trajectory")
            if name != "theta"
        }

    @property
    def t(self) -> NDArray[np.float64]:
        """Depth nodes, shape (J,)."""
        return self._file.static("/trajectory/t")

    @property
    def t_weights(self) -> NDArray[np.float64]:
        """Weights of the depth nodes, shape (J,)."""
        return self._file.static("/trajectory/t_weight")

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weights of the particles, shape (M,)."""
        return self._file.static("/trajectory/weight")

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters of a particle."""
        return self._file.static("/trajectory/param_name").tolist()

    @property
    def states(self) -> States | None:
        """Recorded states and adjoints, None if the run has none."""
        if not self._file.series_names("states"):
            return None
        return States(
            s=self._file.rows("/states/s"),
            t=self._file.static("/states/t"),
            z=Series(self._file, "/states/z"),
            p=Series(self._file, "/states/p"),
        )

    @property
    def data(self) -> dict[str, NDArray[Any]]:
        """The data set: x, y, sample_weight and what the user added."""
        return {
            name: self._file.static(f"/data/{name}")
            for name in self._file.names("data")
            if "mfpde_index" not in self._file.dataset(f"/data/{name}").attrs
        }

    def _names_in_data(self, name: str) -> list[str]:
        """A column of names in /data; empty if the file has none."""
        if name not in self._file.names("data"):
            return []
        return [str(text) for text in self._file.static(f"/data/{name}")]

    @property
    def column_names(self) -> list[str]:
        """Names of all columns of the files that the data came from."""
        return self._names_in_data("column_name")

    @property
    def feature_names(self) -> list[str]:
        """Names of the raw features, before they were prepared as inputs."""
        return self._names_in_data("feature_name")

    @property
    def target_names(self) -> list[str]:
        """Names of the columns of the target."""
        return self._names_in_data("target_name")

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of the labels; empty for a regression."""
        return self._names_in_data("class_name")

    @property
    def source_sha256(self) -> dict[str, str]:
        """SHA-256 checksum of every file that the data came from, by name."""
        files = self._names_in_data("source_file")
        return dict(zip(files, self._names_in_data("source_sha256"), strict=True))

    @property
    def config_toml(self) -> str:
        """The resolved configuration as text."""
        return str(self._file.static("/config/toml"))

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        with format_errors(self.path):
            return tomllib.loads(self.config_toml)

    @property
    def description(self) -> dict[str, Any]:
        """How the solver rebuilds problem, grid and flow."""
        with format_errors(self.path):
            return json.loads(str(self._file.static("/config/description")))

    @property
    def errors(self) -> dict[str, dict[str, float]]:
        """Estimated errors, quantity to part to error; empty if there are none."""
        if not self._file.names("errors"):
            return {}
        parts = self._file.static("/errors/part_name").tolist()
        names = self._file.static("/errors/quantity_name").tolist()
        rows = self._file.static("/errors/estimate").tolist()
        return {
            name: dict(zip(parts, row, strict=True))
            for name, row in zip(names, rows, strict=True)
        }

    @property
    def error_notes(self) -> str:
        """How the errors were estimated; empty if they were not."""
        if not self._file.names("errors"):
            return ""
        return str(self._file.static("/errors/notes"))

    @property
    def groups(self) -> list[str]:
        """Names of the groups of the file."""
        return self._file.names("/")

    @checked(group=text)
    def arrays(self, group: str) -> dict[str, NDArray[Any] | Series]:
        """All datasets of a group by name: series lazily, the others read.

        Parameters
        ----------
        group : str
            One of `groups`.

        Raises
        ------
        KeyError
            If the file has no such group.
        """
        found: dict[str, NDArray[Any] | Series] = {}
        for name in self._names_of(group):
            path = f"/{group}/{name}"
            if not is_series(self._file.dataset(path)):
                found[name] = self._file.static(path)
            elif group in ("scalars", "observations"):
                found[name] = self._file.rows(path)
            else:
                found[name] = Series(self._file, path)
        return found

    def _names_of(self, group: str) -> list[str]:
        names = self._file.names(group)
        if not names:
            raise KeyError(
                f"{self.path} has no group {group!r}; it has {list(self._file.h5)}."
            )
        return names

    @checked(group=text)
    def to_xarray(self, group: str = "scalars") -> Any:
        """Return one group as an xarray.Dataset; the file is not locked.

        Parameters
        ----------
        group : str
            "scalars", "trajectory", "observations", "states", "data", "config",
            "run" or "errors".

        Notes
        -----
        Snapshots, states and observed arrays are read when their values are used,
        also after the run is closed: the file is opened for each reading only. The
        parameters are labelled by name: `theta.sel(param="u[0]")`.

        Raises
        ------
        ImportError
            If xarray is not installed.
        KeyError
            If the file has no such group.
        """
        self._names_of(group)
        return frame(self._file, group)

    def __repr__(self) -> str:
        if not self._file.is_open:
            return f"<Run {self.path}: closed>"
        s = self.s
        reached = f" to s = {s[-1]:g}" if len(s) else ""
        return (
            f"<Run {self.path}: {self.status}, {len(s)} records{reached}, "
            f"{len(self.theta)} snapshots of {self.theta.shape[1:]}>"
        )


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run file for reading, whether live, finished or killed.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    run : Run
        A context manager; close it when done.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StorageFormatError
        If it is not an mfpde file, has a newer format version, is truncated or
        damaged.

    Examples
    --------
    >>> with open_run("digits.h5") as run:  # doctest: +SKIP
    ...     print(run.status, run.s[-1], run.loss[-1], run.theta[-1].shape)
    """
    return Run(path)
