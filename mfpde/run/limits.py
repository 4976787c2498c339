"""Problem, grid and ensemble of a run, built again from its file."""

from __future__ import annotations

from typing import Any

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.problem import MeanFieldProblem


def problem_of(run: Any, *, is_at_end: bool, snapshot: int = -1) -> MeanFieldProblem:
    """Return the problem of a run, with its trained maps at the start or later.

    Parameters
    ----------
    run : Run
        From `mfpde.open_run`.
    is_at_end : bool
        Whether trained maps are those of a snapshot, and not of the start.
    snapshot : int
        Of which snapshot; default the last.

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
        if is_at_end and name in run.trainable:
            arrays[name] = run.trainable[name][snapshot]
        elif f"{name}_start" in data:
            arrays[name] = data[f"{name}_start"]
    return MeanFieldProblem.from_description(run.description["problem"], arrays)


def limit_of(
    run: Any, snapshot: int = -1
) -> tuple[MeanFieldProblem, DepthGrid, ParticleEnsemble]:
    """Return problem, grid and ensemble at a snapshot of a run.

    Parameters
    ----------
    run : Run
        From `mfpde.open_run`.
    snapshot : int
        Its index; default the last.

    Raises
    ------
    ValueError
        If the run has no snapshot, or parts of the user's own.
    """
    if not len(run.theta):
        raise ValueError(f"{run.path} holds no snapshot of theta yet.")
    problem = problem_of(run, is_at_end=True, snapshot=snapshot)
    grid = DepthGrid.from_description(run.description["grid"])
    return problem, grid, ParticleEnsemble(run.theta[snapshot], run.weights)
