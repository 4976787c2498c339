"""What `depth-width` measures of one network: its errors against the limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis import coupled_distance, w2_integrated
from mfpde.arrays import evenly_spaced
from mfpde.depth import DepthGrid
from mfpde.errors import NotFiniteError
from mfpde.papers.references import Fields, output, root_mean_square, state, trace
from mfpde.run.solver import solve
from mfpde.studies.cases import Case

Array = NDArray[np.float64]
Config = Mapping[str, Any]

N_COMPONENTS = 12
"""Components of the outputs whose signed errors are kept."""
W2_NODES = 8
"""Depth nodes at which W2 is measured, evenly spread."""


def train_network(
    case: Case,
    grid: DepthGrid,
    at: Mapping[str, Any],
    seed: int,
    config: Config,
    limit: Mapping[str, Array],
    fields: Fields | None,
) -> tuple[dict[str, Any], tuple[Array, Array] | None]:
    """One network: its errors, and its particles at the end with their tracers."""
    start = case.law.sample(grid, int(at["width"]), coupling=at["coupling"], seed=seed)
    try:
        found = solve.quietly(
            case.problem,
            grid,
            start,
            s_end=float(config["s"][-1]),
            rtol=config["rtol"],
            atol=1e-2 * config["rtol"],
            record=config["s"],
            snapshots=None if fields is None else config["s"],
            observers={"output": output, "state": state},
        )
    except NotFiniteError:
        return _diverged(case, config, fields is not None), None
    if found.status != "finished":
        return _diverged(case, config, fields is not None), None
    row = errors_of(case, found.observations, found.loss, limit)
    row["n_evaluations"] = float(found.n_evaluations)
    if fields is None:
        return row, None
    tracers = trace(case.problem, fields, start.theta, config["s"])
    row["distance"] = np.array(
        [
            coupled_distance(theta, traced)
            for theta, traced in zip(found.theta, tracers, strict=True)
        ]
    )
    return row, (found.theta[-1], tracers[-1])


def stacked(rows: list[dict[str, Any]]) -> dict[str, Array]:
    """One array for each name, (len(rows), ...); NaN in rows that lack it."""
    blank = {n: np.full(np.shape(v), np.nan) for row in rows for n, v in row.items()}
    return {n: np.array([row.get(n, blank[n]) for row in rows]) for n in blank}


def errors_of(
    case: Case, found: Mapping[str, Array], loss: Array, limit: Mapping[str, Array]
) -> dict[str, Any]:
    """Errors of outputs (R, N, q), states (R, N, d) and losses (R,)."""
    weights = case.problem.sample_weights
    difference = found["output"] - limit["output"]
    flat = difference.reshape(len(loss), -1)
    some = evenly_spaced(flat.shape[1], N_COMPONENTS)
    deviation = np.full((len(loss), N_COMPONENTS), np.nan)
    deviation[:, : len(some)] = flat[:, some]
    return {
        "error_output": root_mean_square(difference, weights),
        "error_state": root_mean_square(found["state"] - limit["state"], weights),
        "error_loss": np.abs(loss - limit["loss"]),
        "loss": loss,
        "deviation": deviation,
    }


def _diverged(case: Case, config: Config, has_cloud: bool) -> dict[str, Any]:
    """A run that blew up has no error; inf counts it, in all that is fitted."""
    all_s = np.full(len(config["s"]), np.inf)
    row = dict.fromkeys(("error_output", "error_state", "error_loss", "loss"), all_s)
    n_components = min(case.problem.n_samples * case.problem.q, N_COMPONENTS)
    row["deviation"] = np.full((len(all_s), N_COMPONENTS), np.nan)
    row["deviation"][:, :n_components] = np.inf
    return row | ({"distance": all_s} if has_cloud else {})


def add_transport(
    rows: list[dict[str, Any]], clouds: list[tuple[Array, Array] | None]
) -> None:
    """W2 between network and tracers, and between the tracers of seeds in pairs."""
    known = [
        (row, cloud)
        for row, cloud in zip(rows, clouds, strict=True)
        if cloud is not None
    ]
    for row, (theta, tracers) in known:
        nodes = evenly_spaced(len(theta), W2_NODES)
        row["w2"] = w2_integrated(theta[nodes], tracers[nodes], method="exact")
    for (row, (_, tracers)), (_, (_, other)) in zip(
        known[::2], known[1::2], strict=False
    ):
        nodes = evenly_spaced(len(tracers), W2_NODES)
        row["w2_same_law"] = w2_integrated(tracers[nodes], other[nodes], method="exact")
