"""The experiment `ledger` of the study `exact`: the loss falls as Eq. (28) says.

t is depth, s is training time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import fit_asymptotic_power
from mfpde.blocks import Bilinear, Linear, Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.losses import DecayingQuadratic
from mfpde.problem import MeanFieldProblem
from mfpde.run.flow import iterate
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.report import Report
from mfpde.studies.study import Config
from mfpde.studies.table import Table

Array = NDArray[np.float64]

BLOCKS = {
    "tanh": Perceptron(2, "tanh"),
    "gelu": Perceptron(2, "gelu"),
    "softplus": Perceptron(2, "softplus"),
    "bilinear": Bilinear(2),
    "linear": Linear(2),
    "tanh, ridge": Perceptron(2, "tanh"),
}
SCHEMES = {
    "euler": DepthGrid.euler(6),
    "rk4": DepthGrid.rk4(2),
    "gauss": DepthGrid.gauss(4),
}
ORDERS = {"euler": 1, "heun": 2, "rk4": 4}
"""Of the residual of the ledger (28) in ds."""
ROUNDING = 1e-13
"""Rise of the objective, relative to its start, that no step can avoid."""


def ledger_residuals(objective: Array, descent: Array, ds: float, order: int) -> Array:
    """Residuals of Eq. (28) per step, as rates.

    Parameters
    ----------
    objective, descent : ndarray, shape (n + 1,)
        E_s and D_s - lambda' M2 at s = 0, ds, ..., n ds.
    ds : float
    order : {1, 2, 4}
        Of the rule for the integral of the descent: left ends, trapezium, or Simpson's
        over two steps.
    """
    if order == 1:
        return np.diff(objective) / ds + descent[:-1]
    if order == 2:
        return np.diff(objective) / ds + 0.5 * (descent[:-1] + descent[1:])
    simpson = (descent[:-2] + 4.0 * descent[1:-1] + descent[2:]) / 6.0
    return (objective[2:] - objective[:-2]) / (2.0 * ds) + simpson


class Ledger(Experiment):
    """The residual of the ledger over blocks, depth schemes, steppers, steps, seeds."""

    name = "ledger"
    title = "The loss falls at the rate of its dissipation"
    description = (
        "Largest residual of the ledger (28) over a run, and whether E_s ever rose."
    )
    limitations = (
        "Smooth blocks without noise. The residual tells of the integrator in s alone."
    )
    claims = (7,)
    defaults = {
        "blocks": list(BLOCKS),
        "schemes": list(SCHEMES),
        "steppers": list(ORDERS),
        "n_steps": [16, 32, 64, 128],
        "seeds": 12,
        "first_seed": 0,
        "s_end": 0.4,
        "spread": 0.7,
        "confidence": 0.99,
        "tolerance": 0.1,
    }
    quick = {"n_steps": [16, 32, 64], "seeds": 3}
    grid = {
        "block": "blocks",
        "scheme": "schemes",
        "stepper": "steppers",
        "n": "n_steps",
        "seed": "seeds",
    }
    together = ("stepper", "n", "seed")
    measured = {
        "residual": "largest residual of the ledger, as a rate",
        "rise": "largest rise of the objective in a step, relative to its start",
    }
    positive = ("n_steps", "s_end", "spread")
    least = {"n_steps": 3}
    known = {"blocks": BLOCKS, "schemes": SCHEMES, "steppers": ORDERS}

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Random data, weights and particles; fixed steps."""
        rng = np.random.default_rng(at["seed"])
        block, grid = BLOCKS[at["block"]], SCHEMES[at["scheme"]]
        x = rng.normal(size=(5, 2))
        ridge = DecayingQuadratic(0.2, 1.5) if "ridge" in at["block"] else None
        y = x + 0.7 * rng.normal(size=x.shape)
        problem = MeanFieldProblem(x, y, block, regulariser=ridge)
        theta = config["spread"] * rng.normal(size=(grid.n_nodes, 6, block.k))
        start = ParticleEnsemble(theta, rng.dirichlet(np.full(6, 3.0)))
        ds = config["s_end"] / at["n"]
        rows = [
            (state.evaluation.objective, -state.evaluation.ledger_rate)
            for state in iterate(
                problem,
                grid,
                start,
                s_end=config["s_end"],
                stepper=at["stepper"],
                ds=ds,
            )
        ]
        objective, descent = np.transpose(rows)
        residuals = ledger_residuals(objective, descent, ds, ORDERS[at["stepper"]])
        rise = np.max(np.diff(objective)) / objective[0]
        return {"residual": np.abs(residuals).max(), "rise": rise}

    def analyse(self, table: Table, config: Config) -> Report:
        """One order for each stepper, over all runs; the sign in every run."""
        n, verdicts, shown, fits = np.array(table.axes["n"], float), [], {}, {}
        # Few residuals are so small that rounding shows: a median does not see them.
        options = {"statistic": "median", "confidence": config["confidence"]}
        for stepper in table.axes["stepper"]:
            part = table.select(stepper=stepper)["residual"]
            runs = np.moveaxis(part, 2, 0).reshape(len(n), -1)
            # Runs of different size count alike.
            runs = runs / np.where(np.isfinite(runs[0]), runs[0], 1.0)
            fit = fit_asymptotic_power(n, runs, **options)
            shown[stepper], fits[stepper] = (n, *centre(runs)), fit
            verdicts.append(
                judge(
                    f"{stepper}: order in ds of the residual of the ledger",
                    ORDERS[stepper],
                    fit.exponent,
                    fit.exponent_interval,
                    config["tolerance"],
                    row=7 if stepper != "rk4" else None,
                )
            )
        claim = "the objective never rises in a step"
        verdicts.append(judge_all(claim, table["rise"] <= ROUNDING, row=7))
        panel = curves(
            "residual of the ledger (28)",
            "steps in s",
            "residual, relative to the longest step",
            shown,
            fits=fits,
            note="medians and quartiles of all runs",
        )
        return Report(verdicts, [], {"ledger": [panel]})
