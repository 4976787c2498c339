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

from mfpde.depth import DepthGrid
from mfpde.papers.depth_width_analysis import analyse
from mfpde.papers.depth_width_networks import (
    N_COMPONENTS,
    add_transport,
    errors_of,
    stacked,
    train_network,
)
from mfpde.papers.references import Fields, limit_of
from mfpde.studies.cases import build_case, case_names, case_problems
from mfpde.studies.report import Report
from mfpde.studies.study import Task, Variable
from mfpde.studies.table import Table

Array = NDArray[np.float64]
Config = Mapping[str, Any]

COUPLINGS = ("path", "tied", "layer")
RIGHT_HAND_SIDES = 45
"""Of one run, about: for the cost of a task."""
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
    "cloud_seeds": 64,
    "cloud_width": 256,
    "assignment_width": 64,
    "eta": [0.2, 0.1, 0.05, 0.02],
    "confidence": 0.99,
    "least_width": 16,
    "loss_s": 0.5,
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


QUICK: dict[str, Any] = {
    "depths": [4, 8, 16, 32],
    "widths": [1, 16, 64, 256, 1024],
    "seeds": 128,
    "most_draws": 16384,
    "cases": DEFAULTS["cases"][:1],
}


class DepthWidth:
    """The study; see `mfpde.studies.study.Study`."""

    name = "depth-width"
    title = "Networks of depth L and width M against the mean-field limit"
    claims = (1, 2, 3, 18)
    description = (
        "Errors of trained networks of depth L and width M against the mean-field "
        "limit itself, over draws of the initial particles, with the fitted law of two "
        "terms; spread and quantiles over draws; distances of particles from tracers."
    )
    limitations = (
        "Smooth blocks and data in one dimension, training times up to those of `s`; "
        "the constants of the theorems, exponential in s, are not reached."
    )
    defaults = DEFAULTS
    quick = QUICK
    analysis_keys = ("eta", "confidence", "least_width", "loss_s", "tolerance")

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
        if config["loss_s"] not in config["s"]:
            found.append(f"`loss_s` must be one of `s`, got {config['loss_s']}.")
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
            errors = errors_of(case, wide, limit["wide_loss"][row], limit)
            errors["distance"] = limit["wide_distance"][row]
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
            row, cloud = train_network(
                case, grid, at, seed, config, limit, fields if has_cloud else None
            )
            rows.append(row)
            clouds.append(cloud)
        if at["width"] <= config["assignment_width"]:
            add_transport(rows, clouds)
        return stacked(rows)

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


STUDY = DepthWidth()
