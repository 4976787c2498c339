"""Networks at thresholds of the loss, along a curve of depth and width (row 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis import fit_asymptotic_power
from mfpde.depth import DepthGrid
from mfpde.laws import marginal
from mfpde.limit.solver import solve_limit
from mfpde.papers import descents
from mfpde.papers.ends import finished
from mfpde.studies.curves import curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge_above, judge_at_least, share_interval
from mfpde.studies.orders import resolved_if_all
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table

Array = NDArray[np.float64]


class Networks(Experiment):
    """Networks of depth L ~ 1 / eps and width M ~ 1 / eps^2, at thresholds eps."""

    name = "networks"
    title = "Finite networks reach a threshold"
    claims = (2,)
    description = (
        "Along L ~ 1/eps, M ~ 1/eps^2 the error of the loss that a share eta of the "
        "draws exceeds falls like eps; large networks are below 1.5 times the limit."
    )
    limitations = (
        "One data set in d = 1 and one eta; the constants of the theorem are not "
        "compared. A run that diverged is no network below."
    )
    defaults = descents.DATA | {
        "rtol": 1e-4,
        "depths": [8, 11, 16, 22, 32],
        "width_of_first": 64,
        "activation": "tanh",
        "dimension": 1,
        "data_seed": 0,
        "seeds": 1600,
        "first_seed": 0,
        "s": [1.0, 4.0, 16.0],
        "atol": 1e-7,
        "limit_tol": 3e-4,
        "margin": 1.5,
        "eta": 0.1,
        "confidence": 0.99,
        "tolerance": 0.15,
    }
    quick = {
        "depths": [5, 7, 10, 14, 20],
        "width_of_first": 25,
        "s": [1.0, 4.0],
    }
    grid = {"depth": "depths", "seed": "seeds"}
    measured = {
        "error": Variable(("s",), "error of the loss"),
        "ratio": Variable(("s",), "loss, of that of the limit"),
        "limit": Variable(("s",), "loss of the limit"),
    }
    positive = ("depths", "width_of_first", "n_samples", "s", "atol", "rtol", "margin")
    least = {"depths": 3}
    analysis_keys = ("eta", "margin", "confidence", "tolerance")

    def further_axes(self, config: Config) -> dict[str, list]:
        """Return training times."""
        return {"s": config["s"]}

    def needs(self, at: Mapping[str, Any], config: Config) -> tuple[str, ...]:
        """Return the name of the limit."""
        return ("limit",)

    def references(self, config: Config) -> dict[str, dict]:
        """Return the one limit."""
        return {"limit": {}}

    def refer(self, name: str, config: Config) -> Mapping[str, Array]:
        """Solve for the limit, with the law at each depth."""
        problem = self._problem(config)
        law = marginal(descents.make_law(config, problem))
        s, tol = config["s"], config["limit_tol"]
        found = finished(
            solve_limit.quietly(problem, law, s_end=s[-1], tol=tol, record=s)
        )
        return {"loss": found.loss[-len(s) :]}

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, Array]:
        """Train one network from draws of paths, M ~ L^2, and compare the loss."""
        problem, s, depth = self._problem(config), config["s"], at["depth"]
        grid = DepthGrid.euler(depth)
        width = round(config["width_of_first"] * (depth / min(config["depths"])) ** 2)
        law = descents.make_law(config, problem)
        start = law.sample(grid, width, coupling="path", seed=at["seed"])
        found = descents.train(config, problem, grid, start, s_end=s[-1], record=s)
        loss, limit = found.loss[-len(s) :], references["limit"]["loss"]
        return {"error": np.abs(loss - limit), "ratio": loss / limit, "limit": limit}

    def analyse(self, table: Table, config: Config) -> Report:
        """Fit the quantiles; count the networks below a multiple of the limit."""
        depths, eta = sorted(table.axes["depth"]), config["eta"]
        table = table.select(depth=depths)
        options = {"statistic": 1.0 - eta, "confidence": config["confidence"]}
        fits, entries, shares, verdicts = {}, {}, {}, []
        is_below = table["ratio"] <= config["margin"]
        for i, s in enumerate(config["s"]):
            label = f"s = {s:g}"
            fit = fit_asymptotic_power(depths, table["error"][..., i], **options)
            fits[label], entries[label] = fit, (depths, fit.values)
            shares[label] = depths, is_below[..., i].mean(axis=1)
            claim = f"{label}: exponent in L of the {1 - eta:g}-quantile of the error"
            found = (fit.exponent, fit.exponent_interval, config["tolerance"])
            verdict = judge_at_least(claim, 1.0, *found, row=2)
            has_value = np.isfinite(table["error"][..., i])
            verdicts.append(resolved_if_all(verdict, has_value))
        n_runs, n_below = is_below.shape[1], int(is_below[-1].sum(axis=0).min())
        claim = f"share of the largest networks below {config['margin']:g} E, every s"
        share = n_below / n_runs, share_interval(n_below, n_runs)
        verdicts.append(judge_above(claim, 1.0 - eta, *share, row=2))
        ends = config["margin"] * np.nanmax(table.finite()["limit"], axis=(0, 1))
        told = zip(ends, config["s"], strict=True)
        told = ", ".join(f"{end:.2g} at s = {s:g}" for end, s in told)
        text = f"The thresholds, {config['margin']:g} times the limit, are {told}."
        xlabel, title = "L, with M ~ L²", f"Error of E: {1 - eta:g}-quantile"
        shown = (f"Below {config['margin']:g} E of the limit", xlabel)
        panels = [
            curves(title, xlabel, "error of E", entries, fits=fits),
            curves(*shown, "share of networks", shares, yscale="linear"),
        ]
        return Report(verdicts, [text], {self.name: panels})

    def _problem(self, config: Config) -> Any:
        names = (config["dimension"], config["activation"], config["data_seed"])
        return descents.make_problem(config, *names)
