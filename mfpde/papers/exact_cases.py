"""The study `exact`: what the exact solutions of linear blocks say, measured.

Expected values are those of `mfpde.references.exact`; what is measured is solved
with particles, so that an error of the solver shows. t is depth, s is training time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import refinement_interval
from mfpde.blocks import Bilinear
from mfpde.evaluation import Evaluation
from mfpde.papers.ends import solved
from mfpde.papers.horizons import LIMIT, TIGHT, Coefficient, Horizon
from mfpde.papers.invariants import (
    ROUNDING,
    Invariants,
    cross_polytope,
    four_points,
    second_moments,
)
from mfpde.papers.ledger import Ledger
from mfpde.problem import MeanFieldProblem
from mfpde.references import exact
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table

Array = NDArray[np.float64]


def linear_bounds(evaluation: Evaluation) -> Array:
    """int |Q_t|^2 dt and sup_t |A_t| of Eqs. (32) and (33), on Gauss nodes."""
    d, ensemble = evaluation.problem.d, evaluation.ensemble
    z, p, c = evaluation.z[1:-1], evaluation.p[1:-1], evaluation.problem.sample_weights
    q = np.einsum("i,jia,jib->jab", c, p, z)
    a = second_moments(ensemble.theta, ensemble.weights)[:, d:, :d]
    square = evaluation.grid.weights @ np.sum(q**2, axis=(1, 2))
    return np.array([square, np.linalg.norm(a, 2, axis=(1, 2)).max()])


class Certified(Experiment):
    """T13: the rate of E - E* against the certified one, Eq. (33)."""

    name = "certified"
    title = "Rate of linear networks (T13)"
    description = (
        "Measured rate of E - E* over the certified rate (33), random instances."
    )
    limitations = "White starts, f = v (u.z); the bound is not claimed to be sharp."
    claims = (20,)
    defaults = {
        "dimensions": [2, 3],
        "seeds": 24,
        "first_seed": 0,
        "s": [0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0],
    }
    quick = {"seeds": 8}
    grid = {"d": "dimensions", "seed": "seeds"}
    measured = {
        "rate": Variable(("s",), "rate of E - E* up to the next s"),
        "certified": Variable(("s",), "certified rate"),
        "dissipation": Variable(("s",), "D / (2 sigma^2 int |Q|^2 dt)"),
        "defect": Variable(("s",), "loss minus that of the closed moments"),
    }
    positive, least, times = ("dimensions",), {"s": 3}, ("s",)

    def further_axes(self, config: Config) -> dict[str, list]:
        """Training times."""
        return {"s": config["s"]}

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Random data and sigma; the cross-polytope is the limit exactly."""
        rng, d = np.random.default_rng([at["d"], at["seed"]]), at["d"]
        x = rng.normal(size=(2 * d, d))
        y = x @ (np.eye(d) + 0.4 * rng.normal(size=(d, d))) + 0.3 * rng.normal(
            size=x.shape
        )
        sigma, s = rng.uniform(0.5, 0.9), np.array(config["s"])
        least = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        start = cross_polytope(LIMIT, sigma**2 * np.eye(2 * d))
        problem = MeanFieldProblem(x, y, Bilinear(d))
        options = {"observers": {"bounds": linear_bounds}, **TIGHT}
        found = solved(problem, LIMIT, start, s, **options)
        squares, largest = found.observations["bounds"].T
        excess = found.loss - 0.5 * np.mean(np.sum(least**2, axis=1))
        kappa = np.linalg.eigvalsh(x.T @ x / len(x)).min()
        ends = np.maximum(largest, np.append(largest[1:], largest[-1]))
        rate = np.append(-np.diff(np.log(excess)) / np.diff(s), np.nan)
        moments = exact.BilinearMoments(x, y, sigma**2 * np.eye(2 * d))
        return {
            "rate": rate,
            "certified": [exact.certified_rate(sigma, kappa, b) for b in ends],
            "dissipation": found.scalars["dissipation"] / (2 * sigma**2 * squares),
            "defect": found.loss - moments.loss(s),
        }

    def analyse(self, table: Table, config: Config) -> Report:
        """Bounds in every instance; equality at s = 0; the closed moments."""
        quotient = (table["rate"] / table["certified"])[..., :-1]
        share = table["dissipation"]
        first = share[..., 0]
        ends = float(first.min()) - ROUNDING, float(first.max()) + ROUNDING
        claim = "D over its bound 2 sigma^2 int |Q|^2 dt at s = 0"
        is_near = np.abs(table["defect"]).max(axis=-1) < 1e-7
        verdicts = [
            judge_all(
                "rate of E - E* is at least the certified one",
                quotient.min(axis=-1) >= 1.0,
                row=20,
            ),
            judge_all(
                "D >= 2 sigma^2 int |Q|^2 dt at every s",
                share.min(axis=-1) >= 1.0 - ROUNDING,
                row=20,
            ),
            judge(claim, 1.0, float(first.mean()), ends, 1e-8, row=20),
            judge_all("loss is that of the closed moments to 1e-7", is_near, row=20),
        ]
        s = np.array(table.axes["s"])
        shown = {
            f"d = {d}": (s[:-1], *centre(quotient[i], axis=0))
            for i, d in enumerate(table.axes["d"])
        }
        ones = {"bound": (s[:-1], np.ones(len(s) - 1))}
        panels = [
            curves(
                "rate over certified rate",
                "s",
                "quotient",
                shown,
                bounds=ones,
                xscale="linear",
            ),
        ]
        return Report(verdicts, [], {"certified": panels})


EARLIEST = 10.0
"""Folds of the rate after which the slowest mode has outlived the others."""


class Late(Experiment):
    """T3: the late rate of E, from four exact particles."""

    name = "late"
    title = "Late rate of the scalar bilinear flow (T3)"
    description = "D / E of random instances against the exact late rate."
    limitations = "One sample in d = 1, y / x > 1."
    claims = (20,)
    defaults = {"seeds": 24, "first_seed": 0, "folds": [18.0, 24.0], "tolerance": 0.01}
    quick = {"seeds": 8}
    grid = {"seed": "seeds"}
    measured = {
        "ratio": Variable(("fold",), "D / E over the exact rate, after so many folds"),
        "rate": "exact late rate",
    }

    def problems(self, config: Config) -> list[str]:
        """Also of the folds, which must be late."""
        found, folds = super().problems(config), config["folds"]
        if len(folds) < 2 or np.any(np.diff(folds) <= 0) or folds[0] < EARLIEST:
            found.append(
                f"`folds` must hold two or more that increase, from {EARLIEST:g} on, "
                f"got {folds}."
            )
        return found

    def further_axes(self, config: Config) -> dict[str, list]:
        """Late times, in units of 1 / rate."""
        return {"fold": config["folds"]}

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """One instance."""
        rng = np.random.default_rng(at["seed"])
        x, ratio, sigma = rng.uniform([0.8, 1.2, 0.4], [1.4, 1.8, 0.9])
        case = exact.ScalarBilinear.gaussian(x, ratio * x, sigma)
        s = np.array([0.0, *config["folds"]]) / case.late_rate()
        problem = MeanFieldProblem([x], [ratio * x], Bilinear(1))
        found = solved(problem, LIMIT, four_points(LIMIT, sigma), s, **TIGHT)
        rate = found.scalars["dissipation"][1:] / found.loss[1:]
        return {"ratio": rate / case.late_rate(), "rate": case.late_rate()}

    def analyse(self, table: Table, config: Config) -> Report:
        """The mean ratio, at two late times."""
        coarse, fine = table["ratio"].mean(axis=0)[[-2, -1]]
        verdict = judge(
            "T3: late rate of E over 4 y^2 sqrt(sigma^4 + ln^2(y/x))",
            1.0,
            float(fine),
            refinement_interval(fine, coarse),
            config["tolerance"],
            row=20,
        )
        order = np.argsort(table["rate"])
        rates = table["rate"][order]
        measured = rates * table["ratio"][order, -1]
        bounds = {"equal": (rates, rates)}
        shown = {"instances": (rates, measured)}
        title = "late rate of E, random instances"
        panel = curves(title, "exact rate", "D / E, late", shown, bounds=bounds)
        return Report([verdict], [], {"late": [panel]})


STUDY = Collection(
    "exact",
    "Exact cases and the ledger",
    (Coefficient(), Horizon(), Ledger(), Certified(), Invariants(), Late()),
    paper="Theory, section 6; Ding et al. 2021, 2021b; Zhang and Peyre 2026",
    whole="all",
)
