"""The study `lazy`: large residual scales and the linearised flow (Chizat 2025).

Networks with f = alpha phi(z, theta), velocity multiplier 1 / alpha^2 and draws that
are independent in every layer, against the lazy limit of `mfpde.lazy`; and what
the tangent kernel says of a flow's rate (Barboni, Peyre, Vialard). t is depth, s is
training time.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import (
    ValleyFit,
    bootstrap,
    fit_asymptotic,
    fit_asymptotic_power,
    fit_valley,
)
from mfpde.analysis.rates import Interval
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.lazy import ODD, lazy_law, lazy_order, lazy_problem, linearised
from mfpde.panels import Panel
from mfpde.problem import MeanFieldProblem
from mfpde.studies.collection import Collection
from mfpde.studies.curves import curves
from mfpde.studies.ends import evaluation_at
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.polyak import Polyak
from mfpde.studies.report import Report
from mfpde.studies.study import Config
from mfpde.studies.table import Table

Array = NDArray[np.float64]

INFINITE = float("inf")
LIMIT = DepthGrid.gauss(6)
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
    shows = (
        "Distance of the outputs of networks with residual scale alpha to the flow of "
        "the blocks linearised in their parameters, and the best alpha against L M."
    )
    leaves_out = (
        "One data set in d = 1 at one training time, and a law whose field vanishes. "
        "The term 1/L is far below the others. The bound 1/alpha is sharp only if v "
        "has a third moment and the activation is not odd: see `symmetric`."
    )
    rows = (19,)
    falling = 1
    defaults = {
        "sizes": [256, 1024, 4096, 16384],
        "widths": [2, 8],
        "alphas": [0.5, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0, 32.0],
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
    }
    grid = {"size": "sizes", "width": "widths", "alpha": "alphas", "seed": "seeds"}
    measured = {"error": "rms over samples of the outputs minus those of the limit"}
    positive = ("sizes", "widths", "alphas", "size", "spread", "s_end", "rtol")
    analysis_keys = ("confidence", "tolerance", "least_alpha", "largest_noise")

    def problems(self, config: Config) -> list[str]:
        """See `Experiment.problems`."""
        found = super().problems(config) + data_problems(config)
        if lazy_order(config["activation"], config["share"]) != self.falling:
            found.append(
                "`share` and `activation` must give errors of order "
                f"alpha^-{self.falling}: the order is 2 if `share` is 0.5 or "
                f"`activation` one of {', '.join(ODD)}, and else 1."
            )
        return found

    def grid_axes(self, config: Config) -> dict[str, list]:
        """The sizes, and infinite L M."""
        axes = super().grid_axes(config)
        return axes | {"size": [*map(float, axes["size"]), INFINITE]}

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
        end = evaluation_at(problem, LIMIT, start, config["s_end"], rtol=1e-8)
        return {"output": end.output}

    def cost(self, at: Mapping[str, Any], config: Config) -> float:
        """Particles."""
        return min(at["size"], 6.0 * N_QUADRATURE) if at["seed"] else 1.0

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Train one network; without draws, L M = inf, one for all."""
        grid, width = LIMIT, INFINITE
        if at["size"] < INFINITE:
            width = at["width"]
            grid = DepthGrid.euler(max(1, round(at["size"] / width)))
        elif (at["width"], at["seed"]) != (config["widths"][0], config["first_seed"]):
            return {}
        start = draw(config, grid, width, at["seed"])
        problem = lazy_problem(unscaled(config), at["alpha"])
        end = evaluation_at(problem, grid, start, config["s_end"], rtol=config["rtol"])
        return {
            "error": np.sqrt(np.mean((end.output - references["lazy"]["output"]) ** 2))
        }

    def analyse(self, table: Table, config: Config) -> Report:
        """Judge both branches, the valley between, and where it is."""
        sizes, alphas = (np.array(table.axes[name]) for name in ("size", "alpha"))
        is_finite, is_far = sizes < INFINITE, alphas >= config["least_alpha"]
        options = {"confidence": config["confidence"]}
        by_width = table["error"][is_finite]
        errors = np.sqrt(np.mean(by_width**2, axis=1))
        pure = table["error"][~is_finite, 0, :, 0][0]
        sizes, far = sizes[is_finite], (alphas[is_far], errors[:, is_far])
        near = {"falling": self.falling, "reach": REACH}
        valley = fit_valley(sizes, alphas, errors, **near, **options)
        limit = fit_asymptotic_power(alphas[is_far], pure[is_far])
        rising = _rising(valley, *far, pure[is_far], config["largest_noise"], options)
        rms = np.sqrt(np.mean(errors**2, axis=2))
        is_higher = rms[:, [0, -1]] > 1.5 * valley.least[:, np.newaxis]
        p, row = self.falling, self.rows[0] if self.rows else None
        power, tolerance = 0.5 / (1.0 + p), config["tolerance"] * max(1.0, p)
        low, high = valley.least_interval
        falling = limit.exponent, limit.exponent_interval
        best = valley.exponent, valley.exponent_interval
        least = -valley.least_exponent, (-high, -low)
        equal = functools.partial(judge, tolerance=tolerance, row=row)
        verdicts = [
            judge_all("error: a valley in alpha, both ends higher", is_higher, row=row),
            equal("falling, L M = inf: order in 1/alpha", p, *falling),
            equal("rising: power of alpha^2/(L M)", 0.5, *rising),
            equal("best alpha: power of L M", power, *best),
            equal("least error: power of 1/(L M)", p * power, *least, row=None),
        ]
        if by_width.shape[1] > 1:
            claim = "same L M: error of the first M over that of the last"
            verdicts.append(equal(claim, 1.0, *_ratio(by_width, **options), row=None))
        text = f"diverged runs: {int(np.isinf(errors).sum())} of {errors.size}"
        panels = _panels(valley, alphas, rms, pure, power)
        return Report(verdicts, [text], {self.name: panels})


class Symmetric(Valley):
    """The same for symmetric v, whose second order vanishes."""

    name = "symmetric"
    title = "The same with a symmetric law"
    shows = "With symmetric v the first branch falls like 1/alpha^2."
    leaves_out = "Beside the claims: the theorem gives the upper bound 1/alpha only."
    rows = ()
    falling = 2
    defaults = {**Valley.defaults, "share": 0.5, "widths": [8], "seeds": 40}
    quick = {"sizes": [512, 2048, 8192], "alphas": Valley.quick["alphas"], "seeds": 32}


def _rising(
    valley: ValleyFit,
    alphas: Array,
    errors: Array,
    pure: Array,
    largest_noise: float,
    options: Mapping[str, Any],
) -> tuple[float, Interval]:
    """Power q of A alpha^-p + C (alpha^-2 L M)^-q, squares added, beyond the valley.

    A alpha^-p is that of L M = inf. Before the valley the other term is the smaller
    one, and what is of higher order, such as alpha / (L M), is not below it.
    """
    sizes = np.append(valley.sizes, INFINITE)
    limit = np.broadcast_to(pure[:, np.newaxis], errors.shape[1:])
    cells = np.swapaxes(np.concatenate([errors, limit[np.newaxis]]), 0, 1)
    scales = alphas[:, np.newaxis]
    is_beyond = scales > np.append(valley.best, 0.0)
    window = is_beyond & (scales / np.sqrt(sizes) <= largest_noise)
    found = fit_asymptotic(alphas, sizes, cells, a=-2.0, window=window, **options)
    return found.fit.q, found.q_interval


def _ratio(errors: Array, confidence: float) -> tuple[float, Interval]:
    """Mean ratio of rms, first width over last, of errors (C, W, X, S)."""

    def ratio(runs: Array) -> float:
        mean = np.log(np.mean(np.square(runs), axis=0))
        return float(np.exp(0.5 * np.mean(mean[:, 0] - mean[:, -1])))

    is_kept = np.isfinite(errors).all(axis=(1, 3))
    runs = np.moveaxis(errors, 2, 1)[is_kept]
    return bootstrap(ratio, np.moveaxis(runs, -1, 0), confidence=confidence)


def _panels(
    valley: ValleyFit, alphas: Array, rms: Array, pure: Array, power: float
) -> list[Panel]:
    """The valleys, and their places."""
    shown = {
        f"LM = {size:g}": (alphas, values)
        for size, values in zip(valley.sizes, rms, strict=True)
    }
    line = valley.best[-1] * (valley.sizes / valley.sizes[-1]) ** power
    return [
        curves(
            "distance to the linearised flow",
            "alpha",
            "rms error of outputs",
            shown,
            bounds={"LM = inf": (alphas, pure)},
        ),
        curves(
            "best alpha",
            "L M",
            "alpha",
            {"minimum of the fit": (valley.sizes, valley.best)},
            bounds={f"power {power:.3g} (theory)": (valley.sizes, line)},
            note=f"fitted power {valley.exponent:.3f}; theory through the last size",
        ),
    ]


STUDY = Collection(
    "lazy",
    "The lazy scale of independent layers",
    (Valley(), Symmetric(), Polyak()),
    paper="Chizat 2025 (arXiv 2509.10167)",
)
