"""The study `lazy`: large residual scales and the linearised flow (Chizat 2025).

Networks with f = alpha phi(z, theta), velocity multiplier 1 / alpha^2 and draws that
are independent in every layer, against the lazy limit of `mfpde.theory.lazy`; and what
the tangent kernel says of a flow's rate (Barboni, Peyre, Vialard). t is depth, s is
training time.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mfpde.analysis import fit_valley
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.papers.ends import evaluation_at
from mfpde.papers.lazy_analysis import rising_power, valley_panels, width_ratio
from mfpde.papers.polyak import Polyak
from mfpde.problem import MeanFieldProblem
from mfpde.studies.collection import Collection
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.orders import judge_order, resolved_if_all
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Task
from mfpde.studies.table import Table
from mfpde.theory.lazy import (
    ODD,
    SECOND_DERIVATIVES,
    lazy_law,
    lazy_order,
    lazy_problem,
    linearised,
)

INFINITE = float("inf")
LIMIT = DepthGrid.gauss(6)
LIMIT_RTOL = 1e-8
"""Of the lazy limit and of L M = inf: their distance falls like 1 / alpha."""
REACH = 3.0
"""Factor within which errors at other alphas tell where the best one is."""
N_QUADRATURE = 400
"""Particles at a node of the limit; its error is far below the others."""
DATA = {"x": [-1.2, -0.3, 0.5, 1.4], "y": [0.4, -0.1, 1.7, 1.6], "activation": "gelu"}
LAW = {"share": 0.2, "size": 1.5, "spread": 0.5}


def unscaled(config: Config) -> MeanFieldProblem:
    """The problem with phi itself."""
    block = Perceptron(1, config["activation"])
    return MeanFieldProblem(config["x"], config["y"], block)


def draw(config: Config, grid: DepthGrid, width: float, seed: int) -> ParticleEnsemble:
    """Independent draws, dealt out to layers; the law's quadrature for infinite width.

    The law is constant in t: the same draws serve every split of L M.
    """
    law = lazy_law(1, **{key: config[key] for key in LAW})
    if width == INFINITE:
        return law.sample(grid, N_QUADRATURE, method="quadrature")
    drawn = law.sample(DepthGrid.euler(1), grid.n_nodes * width, seed=seed)
    return ParticleEnsemble(drawn.theta.reshape(grid.n_nodes, width, -1))


def data_problems(config: Config) -> list[str]:
    """Sentences on the data and the law."""
    found = []
    if not 0.0 < config["share"] < 1.0:
        found.append(f"`share` must lie in (0, 1), got {config['share']}.")
    if np.shape(config["x"]) != np.shape(config["y"]) or np.ndim(config["x"]) != 1:
        found.append("`x` and `y` must be lists of numbers of the same length.")
    return found


class Valley(Experiment):
    """Error against the lazy limit over alpha, L M, and the split of L M."""

    name = "valley"
    title = "Error of scaled networks against the linearised flow"
    description = (
        "Distance of the outputs of networks with residual scale alpha to the flow of "
        "the blocks linearised in their parameters, and the best alpha against L M."
    )
    limitations = (
        "One data set in d = 1 at one training time, and a law whose field vanishes. "
        "The term 1/L is far below the others. The bound 1/alpha is sharp only if v "
        "has a third moment and the activation is not odd: see `symmetric`."
    )
    claims = (19,)
    falling = 1
    defaults = {
        "sizes": [256, 1024, 4096, 16384],
        "widths": [2, 8],
        "alphas": [0.5, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0, 32.0],
        "limit_alphas": [64.0, 128.0, 256.0, 512.0],
        "seeds": 80,
        "first_seed": 0,
        **DATA,
        **LAW,
        "s_end": 1.0,
        "rtol": 1e-3,
        "least_alpha": 1.4,
        "largest_noise": 1.0,
        "confidence": 0.99,
        "tolerance": 0.05,
    }
    quick = {
        "sizes": [128, 512, 2048, 8192],
        "widths": [8],
        "alphas": [0.5, 1.0, 1.7, 2.8, 4.5, 7.5, 12.5, 21.0],
        "seeds": 112,
    }
    grid = {"size": "sizes", "width": "widths", "alpha": "alphas", "seed": "seeds"}
    measured = {"error": "rms over samples of the outputs minus those of the limit"}
    positive = (
        *("sizes", "widths", "alphas", "limit_alphas", "size", "spread"),
        *("s_end", "rtol"),
    )
    analysis_keys = ("confidence", "tolerance", "least_alpha", "largest_noise")

    def problems(self, config: Config) -> list[str]:
        """See `Experiment.problems`."""
        found = super().problems(config) + data_problems(config)
        activation, share = config["activation"], config["share"]
        if activation not in SECOND_DERIVATIVES:
            found.append(
                f"`activation` must be one of {', '.join(SECOND_DERIVATIVES)}, got "
                f"{activation!r}."
            )
        elif 0.0 < share < 1.0 and lazy_order(activation, share) != self.falling:
            found.append(
                "`share` and `activation` must give errors of order "
                f"alpha^-{self.falling}: the order is 2 if `share` is 0.5 or "
                f"`activation` one of {', '.join(ODD)}, and else 1."
            )
        if len(set(config["limit_alphas"])) < 3:
            found.append(
                "`limit_alphas` must hold three different values or more, got "
                f"{config['limit_alphas']}."
            )
        return found

    def grid_axes(self, config: Config) -> dict[str, list]:
        """The sizes and infinite L M; all alpha."""
        axes = super().grid_axes(config)
        return axes | {
            "size": [*map(float, axes["size"]), INFINITE],
            "alpha": sorted({*axes["alpha"], *config["limit_alphas"]}),
        }

    def tasks(self, config: Config) -> list[Task]:
        """Those that measure something."""
        return [task for task in super().tasks(config) if task.cost > 0.0]

    def references(self, config: Config) -> dict[str, dict]:
        """The lazy limit."""
        return {"lazy": {key: config[key] for key in (*DATA, *LAW, "s_end")}}

    def needs(self, at: Mapping[str, Any], config: Config) -> tuple[str, ...]:
        """All cells are measured against it."""
        return ("lazy",)

    def refer(self, name: str, config: Config) -> Mapping[str, ArrayLike]:
        """Outputs of the lazy limit, of infinite depth and width."""
        start = draw(config, LIMIT, INFINITE, 0)
        problem, start = linearised(unscaled(config), start)
        end = evaluation_at(problem, LIMIT, start, config["s_end"], rtol=LIMIT_RTOL)
        return {"output": end.output}

    def cost(self, at: Mapping[str, Any], config: Config) -> float:
        """Particles; without draws, L M = inf, one run for all, and at more alpha."""
        if at["size"] < INFINITE:
            return at["size"] if at["alpha"] in config["alphas"] else 0.0
        first = config["widths"][0], config["first_seed"]
        is_first = (at["width"], at["seed"]) == first
        return float(LIMIT.n_nodes * N_QUADRATURE) if is_first else 0.0

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Train one network."""
        if not self.cost(at, config):
            return {}
        grid, width, rtol = LIMIT, INFINITE, LIMIT_RTOL
        if at["size"] < INFINITE:
            width, rtol = at["width"], config["rtol"]
            grid = DepthGrid.euler(max(1, round(at["size"] / width)))
        start = draw(config, grid, width, at["seed"])
        problem = lazy_problem(unscaled(config), at["alpha"])
        end = evaluation_at(problem, grid, start, config["s_end"], rtol=rtol)
        return {
            "error": np.sqrt(np.mean((end.output - references["lazy"]["output"]) ** 2))
        }

    def analyse(self, table: Table, config: Config) -> Report:
        """Judge both branches, the valley between, and where it is."""
        sizes, limits = (np.array(table.axes[name]) for name in ("size", "alpha"))
        is_finite, is_shared = sizes < INFINITE, np.isin(limits, config["alphas"])
        sizes, alphas = sizes[is_finite], limits[is_shared]
        by_width = table["error"][is_finite][:, :, is_shared]
        pure = table["error"][~is_finite, 0, :, 0][0]
        errors = np.sqrt(np.mean(by_width**2, axis=1))
        p, options = self.falling, {"confidence": config["confidence"]}
        valley = fit_valley(sizes, alphas, errors, falling=p, reach=REACH, **options)
        rms = np.sqrt(np.mean(errors**2, axis=2))
        ends = rms[:, [0, -1]]
        is_higher = np.isfinite(ends) & (ends > 1.5 * valley.least[:, np.newaxis])
        is_far = alphas >= config["least_alpha"]
        far = (alphas[is_far], errors[:, is_far], pure[is_shared][is_far])
        rising = rising_power(valley, *far, config["largest_noise"], options)
        row, power = (self.claims or (None,))[0], 0.5 / (1.0 + p)
        config = {**config, "tolerance": config["tolerance"] * p}
        is_last = np.isin(limits, config["limit_alphas"])
        claim = "falling, L M = inf: order in 1/alpha"
        last = limits[is_last], pure[is_last]
        falling, _ = judge_order(claim, p, *last, config, row=row)
        best = valley.exponent, valley.exponent_interval
        low, high = valley.least_interval
        least = -valley.least_exponent, (-high, -low)
        equal = functools.partial(judge, tolerance=config["tolerance"], row=row)
        verdicts = [
            judge_all("error: a valley in alpha, both ends higher", is_higher, row=row),
            falling,
            equal("rising: power of alpha^2/(L M)", 0.5, *rising, rivals=(0.0, 1.0)),
            equal("best alpha: power of L M", power, *best, rivals=(0.0, 2.0 * power)),
            equal("least error: power of 1/(L M)", p * power, *least, row=None),
        ]
        if by_width.shape[1] > 1:
            claim = "same L M: error of the first M over that of the last"
            found = width_ratio(by_width, **options)
            verdicts.append(equal(claim, 1.0, *found, row=None))
        has_value = ~np.isinf(by_width)
        verdicts = [resolved_if_all(each, has_value) for each in verdicts]
        text = f"diverged runs: {int(np.isinf(errors).sum())} of {errors.size}"
        panels = valley_panels(valley, rms, alphas, (limits, pure), power)
        return Report(verdicts, [text], {self.name: panels})


class Symmetric(Valley):
    """The same for symmetric v, whose second order vanishes."""

    name = "symmetric"
    title = "The same with a symmetric law"
    description = "With symmetric v the first branch falls like 1/alpha^2."
    limitations = "Beside the claims: the theorem gives the upper bound 1/alpha only."
    claims = ()
    falling = 2
    defaults = {**Valley.defaults, "share": 0.5, "widths": [8], "seeds": 40}
    quick = {
        "sizes": [128, 512, 2048],
        "alphas": Valley.quick["alphas"][:-1],
        "seeds": 20,
    }


STUDY = Collection(
    "lazy",
    "The lazy scale of independent layers",
    (Valley(), Symmetric(), Polyak()),
    paper="Chizat 2025 (arXiv 2509.10167)",
    whole="all",
)
