"""Training flows in the plane that nothing obstructs, for homogeneous blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mfpde.depth import DepthGrid
from mfpde.laws import standard_path
from mfpde.papers import obstructions
from mfpde.papers.fixed_steps import KEYS, FixedSteps, Start
from mfpde.problem import MeanFieldProblem
from mfpde.studies.study import Config
from mfpde.theory import supports

POLYGON = {
    "blocks": ["signed_squared_relu", "capped:regularised_relu", "capped:tanh"],
    "radii": [0.8, 3.0, 3.0],
    "stds": [0.9, 1.5, 1.5],
    "shift": 0.4,
    "samples": 3,
    "depth": 6,
    "width": 32,
}
"""Keys of `polygon`, with their defaults."""


def polygon(at: Mapping[str, Any], config: Config) -> Start:
    """Return problem, grid and particles: the inputs are the corners of a polygon."""
    i, n = config["blocks"].index(at["block"]), config["samples"]
    x = config["radii"][i] * supports.circle(n)
    noise = np.random.default_rng(at["seed"]).normal(size=(n, 2))
    block = obstructions.block_of(at["block"], 2)
    grid = DepthGrid.euler(config["depth"])
    law = standard_path(block.k, config["stds"][i], 0.3)
    start = law.sample(grid, config["width"], coupling="path", seed=at["seed"])
    return MeanFieldProblem(x, x + config["shift"] * noise, block), grid, start


def block_lists(config: Config) -> list[str]:
    """Return what is wrong with radii and stds: there is one for each block."""
    return [
        f"`{key}` must have one number for each of `blocks`."
        for key in ("radii", "stds")
        if len(config[key]) != len(config["blocks"])
    ]


class PolygonSteps(FixedSteps):
    """Row 4: the starts of homogeneous blocks in steps that nothing refuses."""

    name, claims = "steps", (4,)
    title = "Descent with homogeneous blocks"
    defaults = POLYGON | KEYS | {"seeds": 16, "first_seed": 0}
    quick = {"seeds": 8}
    grid = {"block": "blocks", "seed": "seeds"}

    def problems(self, config: Config) -> list[str]:
        """As every experiment; the blocks exist, with radii and stds for each."""
        wrong = [obstructions.block_problem(name) for name in config["blocks"]]
        found = [f"`blocks`: {problem}" for problem in wrong if problem]
        return super().problems(config) + found + block_lists(config)

    def start(self, at: Mapping[str, Any], config: Config) -> Start:
        """Draw as the flow to zero loss does."""
        return polygon(at, config)

    def label(self, *case: Any) -> str:
        """Return the short name of the block."""
        return obstructions.label(*case)
