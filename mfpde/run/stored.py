"""A run read from its file, and what is rebuilt from it: problem, outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, number, optional
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.problem import MeanFieldProblem
from mfpde.run.solution import predict_raw
from mfpde.states import InitialState, Method
from mfpde.steppers import stepper_of
from mfpde.storage import reader

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
        if flow["stepper"] is None:
            raise ValueError(
                f"The run in {self.path} used a stepper of your own: give the solution "
                "of `solve` or `resume` in place of the path."
            )
        return initial_of(self, problem_of(self, None))

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
        if s is None and not self.trainable:
            return problem_of(self, None)
        return problem_of(self, snapshot_at(self, s))

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
        return predict_raw(*limit_of(self, snapshot_at(self, s)), self.data, x)


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


def problem_of(run: reader.Run, snapshot: int | None = -1) -> MeanFieldProblem:
    """The problem of a run with the trained maps of a snapshot; None is the start.

    Raises
    ------
    ValueError
        If the run has parts of the user's own.
    """
    data = run.data
    arrays = {
        "x": data["x"],
        "y": data["y"],
        "sample_weights": data["sample_weight"],
        "metric": data["metric"],
    }
    for name in ("embedding", "readout"):
        if snapshot is not None and name in run.trainable:
            arrays[name] = run.trainable[name][snapshot]
        elif f"{name}_start" in data:
            arrays[name] = data[f"{name}_start"]
    return MeanFieldProblem.from_description(run.description["problem"], arrays)


def limit_of(
    run: reader.Run, snapshot: int = -1
) -> tuple[MeanFieldProblem, DepthGrid, ParticleEnsemble]:
    """Problem, grid and ensemble at a snapshot of a run.

    Raises
    ------
    ValueError
        If the run has no snapshot, or parts of the user's own.
    """
    if not len(run.theta):
        raise ValueError(f"{run.path} holds no snapshot of theta yet.")
    problem = problem_of(run, snapshot)
    grid = DepthGrid.from_description(run.description["grid"])
    return problem, grid, ParticleEnsemble(run.theta[snapshot], run.weights)


def snapshot_at(run: reader.Run, s: float | None) -> int:
    """Index of the snapshot at training time s, to rounding; None is the last."""
    if s is None:
        return -1
    times = run.snapshot_s
    found = np.flatnonzero(np.isclose(times, s, rtol=1e-12, atol=0.0))
    if not len(found):
        shown = ", ".join(f"{time:g}" for time in times[:20])
        raise ValueError(f"`s` must be the time of a snapshot, {shown}, got {s!r}.")
    return int(found[-1])


def method_of(flow: Mapping[str, Any], stepper: Any) -> Method:
    """The method of a flow; `stepper` is the user's own, if it was one."""
    ds = flow["ds"]
    if flow["stepper"] is not None:
        stepper, ds = stepper_of(flow)
    return Method(stepper, flow["rtol"], flow["atol"], ds)


def initial_of(
    run: Any, problem: MeanFieldProblem, stepper: Any = None
) -> InitialState | None:
    """What a flow was started with, if its first snapshot is the start."""
    times = run.snapshot_s
    if not len(times) or times[0] != 0.0:
        return None
    grid = DepthGrid.from_description(run.description["grid"])
    start = ParticleEnsemble(run.theta[0], run.weights)
    method = method_of(run.description["flow"], stepper)
    return InitialState(problem, grid, start, method)
