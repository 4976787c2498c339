"""Identities of the flow that homogeneity brings (T12): beside the claims of papers."""

from __future__ import annotations

import numpy as np

from mfpde.analysis import fit_asymptotic_power
from mfpde.depth import DepthGrid
from mfpde.laws import standard_path
from mfpde.papers.ends import finished
from mfpde.papers.obstructions import block_of, label
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Every
from mfpde.run.solver import solve
from mfpde.studies.curves import curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.report import Report
from mfpde.theory import homogeneity, supports

ROUNDING = 1e-10
N_SAMPLES, N_LAYERS, N_PARTICLES = 3, 4, 12
TITLES = {"drift": "Moments by p . F (T12)", "balance": "|v|² - |u|² - b² (T12)"}
OBSERVERS = {
    "moments": homogeneity.group_moments,
    "rates": homogeneity.group_moment_rates,
    "predicted": homogeneity.predicted_moment_rates,
}


class Identities(Experiment):
    """T12: moments by the velocity and by p . F; balances of 1-homogeneity."""

    name = "identities"
    title = "Homogeneity identities, recorded"
    description = (
        "The identities of T12 hold to rounding at every s, and up to the error of "
        "Euler's method in time, of first order in its step, with kinks, too."
    )
    limitations = "They are no claim of the paper: its proofs rest on them."
    defaults = {
        "blocks": [
            "signed_squared_relu",
            "capped:tanh",
            "perceptron:relu",
            "perceptron:identity",
        ],
        "steps": [0.08, 0.04, 0.02, 0.01, 0.005],
        "s_end": 2.0,
        "seeds": 16,
        "first_seed": 0,
        "tolerance": 0.1,
    }
    quick = {"seeds": 8, "steps": [0.08, 0.04, 0.02, 0.01]}
    grid = {"block": "blocks", "step": "steps", "seed": "seeds"}
    positive = ("steps", "s_end")
    least = {"steps": 3}
    measured = {
        "defect": "largest error of the identity at one s, over the largest rate",
        "drift": "error of the moments that p . F predicts, over the largest moment",
        "balance": "drift of |v|^2 - |u|^2 - b^2, over the largest at the start",
    }

    def cell(self, at, config, references):
        """Train by Euler's method in s: gradient descent."""
        rng, block = np.random.default_rng(at["seed"]), block_of(at["block"], 2)
        grid = DepthGrid.euler(N_LAYERS)
        x = supports.circle(N_SAMPLES)
        y = x + 0.4 * rng.normal(size=x.shape)
        law = standard_path(block.k, 0.7, 0.3)
        start = law.sample(grid, N_PARTICLES, coupling="path", seed=at["seed"])
        is_balanced = getattr(block, "activation", "") in homogeneity.BALANCED
        more = {"balance": homogeneity.balances} if is_balanced else {}
        found = finished(
            solve.quietly(
                MeanFieldProblem(x, y, block),
                grid,
                start,
                s_end=config["s_end"],
                stepper="euler",
                ds=at["step"],
                record=Every(at["step"]),
                observers=OBSERVERS | more,
            )
        )
        moments, rates, predicted = (found.observations[name] for name in OBSERVERS)
        change = np.diff(found.s) @ predicted[:-1]
        drift = np.abs(moments[-1] - moments[0] - change)
        row = {
            "defect": np.abs(rates - predicted).max() / np.abs(rates).max(),
            "drift": drift.max() / moments.max(),
        }
        if is_balanced:
            balance = found.observations["balance"]
            moved = np.abs(balance[-1] - balance[0])
            row["balance"] = moved.max() / np.abs(balance[0]).max()
        return row

    def analyse(self, table, config):
        """Judge T12."""
        verdicts, entries, fits = [], {"drift": {}, "balance": {}}, {}
        steps = np.array(config["steps"])
        for name in config["blocks"]:
            at = table.select(block=name)
            holds = at["defect"] <= ROUNDING
            verdicts.append(judge_all(f"{name}: T12 holds at every s", holds))
            for kind, lines in entries.items():
                if np.isnan(at[kind]).all():
                    continue
                fit = fit_asymptotic_power(1.0 / steps, at[kind])
                found = fit.exponent, fit.exponent_interval, config["tolerance"]
                verdicts.append(judge(f"{name}: {kind}, order", 1.0, *found))
                lines[label(name)] = (1.0 / steps, fit.values)
                fits[label(name), kind] = fit
        panels = [
            curves(
                TITLES[kind],
                "1 / ds",
                "relative error",
                lines,
                fits={name: fits[name, kind] for name in lines},
            )
            for kind, lines in entries.items()
        ]
        return Report(verdicts, figures={self.name: panels})
