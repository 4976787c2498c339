"""A run read from its file, and what is rebuilt from it: problem, outputs."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, number, optional
from mfpde.describe import is_described
from mfpde.storage import reader

if TYPE_CHECKING:
    from mfpde.problem import MeanFieldProblem
    from mfpde.run.states import InitialState

__all__ = ["Run", "open_run"]

A_TIME = optional(number(least=0.0))


class Run(reader.Run):
    """A run file, open for reading; see `open_run`."""

    __doc__ = reader.Run.__doc__

    @property
    def initial(self) -> InitialState | None:
        """Problem, particles and method at s = 0; None if the file does not hold them.

        Raises
        ------
        ValueError
            If the run has parts of the user's own.
        """
        flow = self.description.get("flow")
        if flow is None:
            return None
        if not is_described(flow["stepper"]):
            raise ValueError(
                f"The run in {self.path} used a stepper of your own: give the solution "
                "of `solve` or `resume` in place of the path."
            )
        rebuilding = _rebuilding()
        return rebuilding.initial_of(self, rebuilding.problem_of(self, None))

    @checked(s=A_TIME)
    def problem(self, s: float | None = None) -> MeanFieldProblem:
        """The problem, with the trained maps of a snapshot.

        Parameters
        ----------
        s : float, optional
            Training time of the snapshot; default the last.

        Raises
        ------
        ValueError
            If the run has parts of the user's own, or there is no such snapshot.
        """
        rebuilding = _rebuilding()
        if s is None and not self.trainable:
            return rebuilding.problem_of(self, None)
        return rebuilding.problem_of(self, rebuilding.snapshot_at(self, s))

    @checked(s=A_TIME)
    def predict(self, x: ArrayLike, s: float | None = None) -> NDArray[np.float64]:
        """Outputs for raw inputs, in the units of the raw targets.

        Inputs are prepared as the samples were; see `Solution.predict`.

        Parameters
        ----------
        x : array_like, shape (n, d_raw)
        s : float, optional
            Training time of a snapshot; default the last.

        Returns
        -------
        output : ndarray, shape (n, q)
            For classes, one column for each of `class_names` (or one, above 0 for the
            second class).

        Raises
        ------
        ValueError
            If the inputs do not fit, the run has no snapshot (at `s`), or parts of the
            user's own.
        """
        return _rebuilding().predict_run(self, x, s)


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
    ...     print(run.predict(x))
    """
    return Run(path)


def _rebuilding() -> Any:
    """The module that rebuilds: it imports the solver, which reading does without."""
    return importlib.import_module("mfpde.run.rebuilding")
