"""The study `lazy`: large residual scales and the linearised flow (Chizat 2025).

Networks with f = alpha phi(z, theta), velocity multiplier 1 / alpha^2 and draws that
are independent in every layer, against the lazy limit of `mfpde.linearised`; and what
the tangent kernel says of a flow's rate (Barboni, Peyre, Vialard). t is depth, s is
training time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import bootstrap, fit_asymptotic, fit_asymptotic_power, fit_valley
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.lazy import lazy_law, lazy_problem, linearised
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
        "The bound 1/alpha is sharp only if v has a third moment: see `symmetric`."
    )
    rows = (19,)
    falling = 1.0
    defaults = {
        "sizes": [256, 1024, 4096, 16384],
        "widths": [2, 8],
        "alphas": [0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0, 5.66, 8.0, 11.3, 16.0, 32.0],
        "seeds": 80,
        "first_seed": 0,
        **DATA,
        **LAW,
        "s_end": 1.0,
        "rtol": 1e-3,
        "least_alpha": 1.4,
        "largest_noise": 0.35,
        "confidence": 0.99,
        "tolerance": 0.05,
    }
    quick = {"sizes": [256, 512, 1024, 2048, 4096], "widths": [8]}
    grid = {"size": "sizes", "width": "widths", "alpha": "alphas", "seed": "seeds"}
    measured = {"error": "rms over samples of the outputs minus those of the limit"}
    positive = ("sizes", "widths", "alphas", "size", "spread", "s_end", "rtol")
    analysis_keys = ("confidence", "tolerance", "least_alpha", "largest_noise")

    def problems(self, config: Config) -> list[str]:
        """See `Experiment.problems`."""
        return super().problems(config) + data_problems(config)

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
        confidence, tolerance = config["confidence"], config["tolerance"]
        is_finite, is_far = sizes < INFINITE, alphas >= config["least_alpha"]
        by_width = table["error"][is_finite]
        errors = np.sqrt(np.mean(by_width**2, axis=1))
        pure = table["error"][~is_finite, 0, :, 0][0]
        power = 0.5 / (1.0 + self.falling)
        valley = fit_valley(
            sizes[is_finite],
            alphas,
            errors,
            falling=self.falling,
            confidence=confidence,
        )
        joint = _branches(sizes, alphas, errors, pure, is_far, config)
        limit = fit_asymptotic_power(alphas[is_far], pure[is_far])
        ends = valley.values[:, [0, -1]] > 1.5 * valley.least[:, np.newaxis]
        p, row = self.falling, self.rows[0] if self.rows else None

        def equal(claim: str, expected: float, *found: Any, row: int | None) -> Any:
            return judge(claim, expected, *found, tolerance * max(1.0, p), row=row)

        low, high = valley.exponent_interval
        verdicts = [
            judge_all("error: a valley in alpha, both ends higher", ends, row=row),
            equal(
                "falling: order in 1/alpha", p, joint.fit.p, joint.p_interval, row=row
            ),
            equal(
                "rising: power of alpha^2/(L M)",
                0.5,
                joint.fit.q,
                joint.q_interval,
                row=row,
            ),
            equal(
                "best alpha: power of L M", power, valley.exponent, (low, high), row=row
            ),
            equal(
                "least error: power of 1/(L M)",
                p * power,
                -valley.least_exponent,
                tuple(-end for end in valley.least_interval[::-1]),
                row=None,
            ),
            equal(
                "L M = inf: order in 1/alpha",
                p,
                limit.exponent,
                limit.exponent_interval,
                row=None,
            ),
        ]
        if by_width.shape[1] > 1:
            ratio = _ratio(by_width, confidence)
            claim = "same L M: error of the first M over that of the last"
            verdicts.append(equal(claim, 1.0, *ratio, row=None))
        text = f"diverged runs: {int(np.isinf(errors).sum())} of {errors.size}"
        return Report(
            verdicts, [text], {self.name: _panels(valley, alphas, pure, power)}
        )


class Symmetric(Valley):
    """The same for symmetric v, whose second order vanishes."""

    name = "symmetric"
    title = "The same with a symmetric law"
    shows = "With symmetric v the first branch falls like 1/alpha^2."
    leaves_out = "Beside the claims: the theorem gives the upper bound 1/alpha only."
    rows = ()
    falling = 2.0
    defaults = {**Valley.defaults, "share": 0.5, "widths": [8], "seeds": 40}
    quick = {"sizes": [256, 1024, 4096], "seeds": 24}


def _branches(
    sizes: Array,
    alphas: Array,
    errors: Array,
    pure: Array,
    is_far: NDArray[np.bool_],
    config: Config,
) -> Any:
    """A alpha^-p and C (alpha^-2 L M)^-q, their squares added, as in Eq. (29)."""
    limit = np.broadcast_to(pure[:, np.newaxis], errors.shape[1:])
    cells = np.swapaxes(np.concatenate([errors, limit[np.newaxis]]), 0, 1)[is_far]
    alphas = alphas[is_far]
    noise = alphas[:, np.newaxis] / np.sqrt(sizes)
    return fit_asymptotic(
        alphas,
        sizes,
        cells,
        a=-2.0,
        window=noise <= config["largest_noise"],
        confidence=config["confidence"],
    )


def _ratio(errors: Array, confidence: float) -> tuple[float, tuple[float, float]]:
    """Mean ratio of rms, first width over last, of errors (C, W, X, S)."""

    def ratio(runs: Array) -> float:
        mean = np.log(np.mean(np.square(runs), axis=0))
        return float(np.exp(0.5 * np.mean(mean[:, 0] - mean[:, -1])))

    is_kept = np.isfinite(errors).all(axis=(1, 3))
    runs = np.moveaxis(errors, 2, 1)[is_kept]
    return bootstrap(ratio, np.moveaxis(runs, -1, 0), confidence=confidence)


def _panels(valley: Any, alphas: Array, pure: Array, power: float) -> list[Any]:
    """The valleys, and their places."""
    shown = {
        f"LM = {size:g}": (alphas, values)
        for size, values in zip(valley.sizes, valley.values, strict=True)
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
            note=f"fitted power {valley.exponent:.3f}",
        ),
    ]


STUDY = Collection(
    "lazy",
    "The lazy scale of independent layers",
    (Valley(), Symmetric(), Polyak()),
    paper="Chizat 2025 (arXiv 2509.10167)",
)
