"""What is rebuilt from the file of a run: problem, grid, particles, method, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.depth import DepthGrid
from mfpde.describe import is_described, rebuilt
from mfpde.ensemble import ParticleEnsemble
from mfpde.problem import MeanFieldProblem
from mfpde.run.solution import predict_raw
from mfpde.run.states import InitialState, Method
from mfpde.steppers import method_options
from mfpde.storage import reader

__all__ = ["initial_of", "limit_of", "method_of", "predict_run", "problem_of"]


def predict_run(run: reader.Run, x: ArrayLike, s: float | None) -> NDArray[np.float64]:
    """See `Run.predict`."""
    return predict_raw(*limit_of(run, snapshot_at(run, s)), run.data, x)


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
    if is_described(flow["stepper"]):
        stepper = rebuilt("stepper", flow["stepper"], name="stepper")
    given = method_options(stepper, ds=None, rtol=flow["rtol"], atol=flow["atol"])
    return Method(**given)


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
