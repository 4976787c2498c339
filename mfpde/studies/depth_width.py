"""Depth and width: how networks approach the limit (theory, 5.8, rows 1 to 3 and 18).

A network (L, M, seed) is trained by the gradient flow from L x M draws of the law and
compared with the mean-field limit at the same training times s. Along paths the same
seed means the same draws for every depth (common random numbers).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis import coupled_distance, w2_integrated
from mfpde.arrays import evenly_spaced
from mfpde.depth import DepthGrid
from mfpde.errors import NotFiniteError
from mfpde.solver import solve
from mfpde.studies.cases import Case, build_case, case_names, case_problems
from mfpde.studies.depth_width_analysis import analyse
from mfpde.studies.limits import (
    Fields,
    limit_of,
    output,
    root_mean_square,
    state,
    trace,
)
from mfpde.studies.report import Report
from mfpde.studies.study import Task, Variable
from mfpde.studies.table import Table

Array = NDArray[np.float64]
Config = Mapping[str, Any]

COUPLINGS = ("path", "tied", "layer")
N_COMPONENTS = 12
"""Components of the outputs whose signed errors are kept."""
RIGHT_HAND_SIDES = 45
"""Of one run, about: for the cost of a task."""
W2_NODES = 8
"""Depth nodes at which W2 is measured, evenly spread."""
AXES = ("case", "coupling", "depth", "width", "seed")

DATA = {
    "source": "curve",
    "function": "step",
    "n_samples": 64,
    "interval": [-1.5, 1.5],
    "noise": 0.0,
    "equispaced": True,
}
DEFAULTS: dict[str, Any] = {
    "depths": [4, 8, 16, 32, 64],
    "widths": [1, 16, 64, 256, 1024, 4096],
    "infinite_width": True,
    "seeds": 100,
    "most_draws": 32768,
    "seeds_per_task": 16,
    "first_seed": 0,
    "couplings": ["path", "layer"],
    "s": [0.0, 0.25, 0.5, 1.0, 2.0],
    "rtol": 1e-4,
    "limit_tol": 1e-4,
    "limit_max_particles": 40_000,
    "cloud_seeds": 16,
    "cloud_width": 256,
    "assignment_width": 256,
    "eta": [0.2, 0.1, 0.05, 0.02],
    "confidence": 0.99,
    "least_width": 16,
    "tolerance": 0.05,
    "cases": [
        {
            "name": "tanh",
            "data": DATA,
            "problem": {"block": {"kind": "perceptron", "activation": "tanh"}},
            "law": {
                "kind": "path",
                "mean": {"u": 1.0, "v": 0.5, "b": 0.0},
                "mean_beta": {"u": 0.0, "v": -0.5, "b": 0.0},
                "std_alpha": 0.5,
                "std_beta": 0.3,
            },
        },
        {
            "name": "gelu",
            "data": DATA,
            "problem": {"block": {"kind": "perceptron", "activation": "gelu"}},
            "law": {
                "kind": "path",
                "mean": {"u": 0.8, "v": 0.2, "b": 0.0},
                "mean_beta": {"u": 0.0, "v": -0.5, "b": 0.0},
                "std_alpha": 0.5,
                "std_beta": 0.3,
            },
        },
    ],
}


class DepthWidth:
    """The study; see `mfpde.studies.study.Study`."""

    name = "depth-width"
    title = "Networks of depth L and width M against the mean-field limit"
    defaults = DEFAULTS
    analysis_keys = ("eta", "confidence", "least_width", "tolerance")

    def problems(self, config: Config) -> list[str]:
        """Return a sentence for everything that is wrong with the configuration."""
        found = []
        for name in ("depths", "widths", "s", "couplings", "eta"):
            values = config[name]
            if not values or len(set(values)) < len(values):
                found.append(f"`{name}` must hold one value or more, all different.")
        for name in ("depths", "widths", "s"):
            if list(config[name]) != sorted(config[name]):
                found.append(f"`{name}` must increase, got {config[name]}.")
        if any(depth < 1 for depth in config["depths"]):
            found.append(f"`depths` must be at least 1, got {config['depths']}.")
        if any(width < 1 for width in config["widths"]):
            found.append(f"`widths` must be at least 1, got {config['widths']}.")
        if config["s"] and (config["s"][0] != 0.0 or len(config["s"]) < 2):
            found.append(f"`s` must begin with 0 and go on, got {config['s']}.")
        for coupling in set(config["couplings"]) - set(COUPLINGS):
            found.append(f"`couplings` must be of {COUPLINGS}, got {coupling!r}.")
        for name in ("seeds", "most_draws", "seeds_per_task", "limit_max_particles"):
            if config[name] < 1:
                found.append(f"`{name}` must be at least 1, got {config[name]}.")
        for name in ("rtol", "limit_tol", "confidence", "tolerance"):
            if not 0.0 < config[name] < 1.0:
                found.append(f"`{name}` must lie in (0, 1), got {config[name]}.")
        if not all(0.0 < eta < 1.0 for eta in config["eta"]):
            found.append(f"`eta` must lie in (0, 1), got {config['eta']}.")
        for name in ("first_seed", "cloud_seeds", "cloud_width", "assignment_width"):
            if config[name] < 0:
                found.append(f"`{name}` must not be negative, got {config[name]}.")
        found += case_problems(config["cases"])
        return found or _coupling_problems(config)

    def axes(self, config: Config) -> dict[str, list]:
        """Return the axes of the table."""
        first = config["first_seed"]
        return {
            "case": case_names(config),
            "coupling": list(config["couplings"]),
            "depth": list(config["depths"]),
            "width": [float(width) for width in config["widths"]]
            + [math.inf] * config["infinite_width"],
            "seed": list(range(first, first + config["seeds"])),
            "s": [float(s) for s in config["s"]],
            "component": list(range(N_COMPONENTS)),
        }

    def variables(self, config: Config) -> dict[str, Variable]:
        """Return what is measured."""
        in_s = (*AXES, "s")
        return {
            "error_output": Variable(in_s, "rms error of the outputs over samples"),
            "error_state": Variable(in_s, "rms error of z(1) over samples"),
            "error_loss": Variable(in_s, "error of the loss"),
            "loss": Variable(in_s, "loss of the network"),
            "deviation": Variable(
                (*in_s, "component"), "signed error of single outputs"
            ),
            "distance": Variable(
                in_s, "rms distance of the particles from their tracers in the limit"
            ),
            "w2": Variable(
                AXES, "W2, integrated over depth, to draws of the limit at the end"
            ),
            "w2_same_law": Variable(
                AXES, "W2 between two independent sets of draws of the limit"
            ),
            "n_evaluations": Variable(AXES, "right-hand sides"),
        }

    def references(self, config: Config) -> dict[str, dict]:
        """Return the limits of the cases."""
        return {f"limit-{name}": {"case": name} for name in case_names(config)}

    def refer(self, name: str, config: Config) -> dict[str, Array]:
        """Solve for the limit of one case."""
        return limit_of(
            build_case(config, name.removeprefix("limit-")),
            s=config["s"],
            tol=config["limit_tol"],
            depths=config["depths"],
            rtol=config["rtol"],
            max_particles=config["limit_max_particles"],
        )

    def tasks(self, config: Config) -> list[Task]:
        """Return a task for each cell and some seeds; infinite widths have one."""
        axes = self.axes(config)
        tasks = []
        for case in axes["case"]:
            n_samples = build_case(config, case).problem.n_samples
            for coupling, depth, width in itertools.product(
                axes["coupling"], axes["depth"], axes["width"]
            ):
                cell = dict(zip(AXES, (case, coupling, depth, width), strict=False))
                at_once = config["seeds_per_task"]
                size = depth * width * n_samples * RIGHT_HAND_SIDES
                if math.isinf(width):
                    at_once, size = len(axes["seed"]), 0.0
                seeds = axes["seed"][: n_seeds(config, width)]
                for i in range(0, len(seeds), at_once):
                    some = seeds[i : i + at_once]
                    tasks.append(
                        Task(
                            {**cell, "seed": some},
                            needs=(f"limit-{case}",),
                            cost=size * len(some),
                        )
                    )
        return tasks

    def measure(
        self, task: Task, config: Config, references: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Array]:
        """Train the networks of one cell and some seeds; compare with the limit."""
        at = task.coordinates
        case = build_case(config, at["case"])
        limit = references[f"limit-{case.name}"]
        if math.isinf(at["width"]):
            row = config["depths"].index(at["depth"])
            wide = {name: limit[f"wide_{name}"][row] for name in ("output", "state")}
            errors = _errors(case, wide, limit["wide_loss"][row], limit)
            n = len(at["seed"])
            return {name: np.repeat(v[None], n, axis=0) for name, v in errors.items()}
        grid = DepthGrid.euler(at["depth"])
        last_cloud = config["first_seed"] + config["cloud_seeds"]
        fields = None
        if at["width"] <= config["cloud_width"] and at["seed"][0] < last_cloud:
            fields = Fields(limit, grid.nodes)
        rows, clouds = [], []
        for seed in at["seed"]:
            has_cloud = fields is not None and seed < last_cloud
            row, cloud = _train(
                case, grid, at, seed, config, limit, fields if has_cloud else None
            )
            rows.append(row)
            clouds.append(cloud)
        if at["width"] <= config["assignment_width"]:
            _add_transport(rows, clouds)
        return _stacked(rows)

    def analyse(self, table: Table, config: Config) -> Report:
        """Return verdicts, texts and figures."""
        return analyse(table, config)


def _coupling_problems(config: Config) -> list[str]:
    """Couplings that the law of a case does not have, one particle drawn to see."""
    found = []
    for name in case_names(config):
        law = build_case(config, name).law
        for coupling in config["couplings"]:
            try:
                law.sample(DepthGrid.euler(2), 1, coupling=coupling, seed=0)
            except (ValueError, TypeError) as error:
                found.append(
                    f"`couplings` = {coupling!r} does not fit case {name}: {error}"
                )
    return found


def n_seeds(config: Config, width: float) -> int:
    """Draws of a cell: fewer for wide networks, which are dear."""
    if math.isinf(width):
        return config["seeds"]
    return min(config["seeds"], max(2, config["most_draws"] // int(width)))


def _train(
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
        found = solve(
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
    row = _errors(case, found.observations, found.loss, limit)
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


def _stacked(rows: list[dict[str, Any]]) -> dict[str, Array]:
    """One array for each name, (len(rows), ...); NaN in rows that lack it."""
    blank = {n: np.full(np.shape(v), np.nan) for row in rows for n, v in row.items()}
    return {n: np.array([row.get(n, blank[n]) for row in rows]) for n in blank}


def _errors(
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


def _add_transport(
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


STUDY = DepthWidth()
