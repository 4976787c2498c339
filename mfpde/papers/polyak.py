"""The experiment `polyak` of the study `lazy`: the constant of Polyak and Lojasiewicz.

For the squared loss D / E = 2 r^T K r / r^T r with the tangent kernel K of Eq. (27):
twice its lowest eigenvalue is a local constant of that inequality, and while it stays
away from zero E falls exponentially (Barboni, Peyre, Vialard). t is depth, s is
training time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.evaluation import Evaluation
from mfpde.laws import Gaussian
from mfpde.papers.ends import solved
from mfpde.problem import MeanFieldProblem
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge_all
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table
from mfpde.theory.tangent import tangent_kernel

ROUNDING = 1e-9


def kernel_range(evaluation: Evaluation) -> NDArray[np.float64]:
    """Lowest and highest eigenvalue of the tangent kernel, Eq. (27)."""
    kernel = tangent_kernel(evaluation.problem, evaluation.grid, evaluation.ensemble)
    return np.linalg.eigvalsh(kernel)[[0, -1]]


class Polyak(Experiment):
    """Lowest eigenvalue of the tangent kernel along the flow, over widths."""

    name = "polyak"
    title = "Polyak-Lojasiewicz constant in training"
    description = (
        "D / E over twice the lowest eigenvalue of the tangent kernel, never below 1, "
        "and that eigenvalue along s: medians and quartiles over data sets."
    )
    limitations = (
        "Beside the claims. Eigenvalues are those at recorded times: between them they "
        "might be lower."
    )
    defaults = {
        "widths": [4, 16, 64],
        "seeds": 16,
        "first_seed": 0,
        "layers": 8,
        "samples": 3,
        "activation": "tanh",
        "s": [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0],
        "rtol": 1e-6,
    }
    quick = {"seeds": 6}
    grid = {"width": "widths", "seed": "seeds"}
    measured = {
        "ratio": Variable(("s",), "D / E"),
        "lowest": Variable(("s",), "lowest eigenvalue of the tangent kernel"),
        "highest": Variable(("s",), "highest eigenvalue of the tangent kernel"),
        "loss": Variable(("s",), "E"),
    }
    positive = ("widths", "layers", "samples", "rtol")
    times, least = ("s",), {"s": 2}

    def further_axes(self, config: Config) -> dict[str, list]:
        """Training times."""
        return {"s": config["s"]}

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Random data and independent layers."""
        rng = np.random.default_rng(at["seed"])
        x = rng.normal(size=(config["samples"], 2))
        y = x + 0.3 * rng.normal(size=x.shape)
        problem = MeanFieldProblem(x, y, Perceptron(2, config["activation"]))
        grid = DepthGrid.euler(config["layers"])
        law = Gaussian(0.0, 1.0, problem.k)
        start = law.sample(grid, at["width"], coupling="layer", seed=at["seed"])
        options = {"observers": {"range": kernel_range}, "rtol": config["rtol"]}
        found = solved(problem, grid, start, config["s"], **options)
        lowest, highest = found.observations["range"].T
        return {
            "ratio": found.scalars["dissipation"] / found.loss,
            "lowest": lowest,
            "highest": highest,
            "loss": found.loss,
        }

    def analyse(self, table: Table, config: Config) -> Report:
        """The inequality at every record, and the rate that follows from it."""
        s, ratio, loss = np.array(table.axes["s"]), table["ratio"], table["loss"]
        lowest, highest = table["lowest"], table["highest"]
        above = ratio >= 2.0 * lowest * (1.0 - ROUNDING)
        below = ratio <= 2.0 * highest * (1.0 + ROUNDING)
        constant = np.minimum.accumulate(lowest, axis=-1)
        bound = loss[..., :1] * np.exp(-2.0 * constant * s)
        verdicts = [
            judge_all("D / E >= 2 lambda_min(K)", above.all(axis=-1)),
            judge_all("D / E <= 2 lambda_max(K)", below.all(axis=-1)),
            judge_all(
                "E falls at least like exp(-2 lambda s), lambda the lowest met",
                (loss <= bound * (1.0 + ROUNDING)).all(axis=-1),
            ),
        ]
        quotient = _by_width(table, s, 0.5 * ratio / lowest)
        lower = _by_width(table, s, 2.0 * lowest)
        ones = {"bound": (s, np.ones(len(s)))}
        options = {"xscale": "linear"}
        panels = [
            curves(
                "D / E over its lower bound",
                "s",
                "quotient",
                quotient,
                bounds=ones,
                **options,
            ),
            curves("lower bound of D / E", "s", "2 lambda_min(K)", lower, **options),
        ]
        return Report(verdicts, [], {"polyak": panels})


def _by_width(table: Table, s: ArrayLike, values: NDArray[np.float64]) -> dict:
    """Label to a curve for every width, from values (W, S, R)."""
    widths = table.axes["width"]
    return {f"M = {m}": (s, *centre(values[i], axis=0)) for i, m in enumerate(widths)}
