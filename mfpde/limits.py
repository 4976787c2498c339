"""Problem, grid and ensemble of a run, built again from its file."""

from __future__ import annotations

from typing import Any

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.problem import MeanFieldProblem


def problem_of(run: Any, *, is_at_end: bool) -> MeanFieldProblem:
    """Return the problem of a run, with its trained maps at the start or the end.

    Parameters
    ----------
    run : Run
        From `mfpde.open_run`.
    is_at_end : bool
        Whether trained maps are those of the last snapshot.

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
            arrays[name] = run.trainable[name][-1]
        elif f"{name}_start" in data:
            arrays[name] = data[f"{name}_start"]
    return MeanFieldProblem.from_description(run.description["problem"], arrays)


def limit_of(run: Any) -> tuple[MeanFieldProblem, DepthGrid, ParticleEnsemble]:
    """Return problem, grid and ensemble at the last snapshot of a run.

    Parameters
    ----------
    run : Run
        From `mfpde.open_run`.

    Raises
    ------
    ValueError
        If the run has no snapshot, or parts of the user's own.
    """
    if not len(run.theta):
        raise ValueError(f"{run.path} holds no snapshot of theta yet.")
    problem = problem_of(run, is_at_end=True)
    grid = DepthGrid.from_description(run.description["grid"])
    return problem, grid, ParticleEnsemble(run.theta[-1], run.weights)
