"""Zhang et al. 2019 in training: growth and overflow, normalisation layers."""

from __future__ import annotations

import dataclasses

import numpy as np

from mfpde.analysis import bootstrap
from mfpde.evaluation import trajectories
from mfpde.papers.residual import (
    MatrixExperiment,
    descend,
    feature_problem,
    matrix_network,
    normal_problem,
    steps_needed,
)  # fmt: skip
from mfpde.references.exact import tau_relu_bounds
from mfpde.studies.curves import centre, curves
from mfpde.studies.judging import judge_above, judge_all
from mfpde.studies.orders import resolved_if_all
from mfpde.studies.report import Report

OVERFLOWING = 1000
"""Layers after which 2.4^L, the square of a state, is beyond the largest number."""
SEEDS = {"seeds": 8, "first_seed": 0}
NETWORK = {
    "data": {"source": "digits", "n_samples": 64, "pca": 16},
    "width": 32, "readout": 0.3,
}  # fmt: skip
FEW = {"source": "digits", "n_samples": 32, "pca": 16}
MARKS = {"sde": "tau = L^(-1/2)", "one": "tau = 1"}
EXPONENTS = {"sde": -0.5, "one": 0.0}


class Growth(MatrixExperiment):
    """|h_L|^2 for tau = 1."""

    name, title, claims = "growth", "Growth without a residual scale", (17,)
    description = (
        "Mean over layers of |h_(l+1)|^2 / |h_l|^2 for tau = 1, with the bounds (31)."
    )
    limitations = (
        "Single layers: `norms` has the factor of one layer at a given state, from "
        "which E|h_L|^2 >= 2^L |h_0|^2 follows. Typical runs grow more slowly than the "
        "mean."
    )
    defaults = {
        "depths": [10, 100, 1000], "width": 32, "n_samples": 8, **SEEDS, "seeds": 24,
        "confidence": 0.99,
    }  # fmt: skip
    quick = {"seeds": 12}
    grid = {"depth": "depths", "seed": "seeds"}
    measured = {"ratio": "mean over layers of |h_(l+1)|^2 / |h_l|^2"}
    positive = ("depths", "width", "n_samples")

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        problem = normal_problem(
            config["width"], config["n_samples"], at["seed"], positive=True
        )
        net = matrix_network(problem, at["depth"], 0.0, at["seed"])
        _, z = trajectories(problem, net.grid, net.ensemble, problem.x)
        # The square would overflow before the state does.
        size = np.max(np.abs(z), axis=2)
        logs = np.log(np.sum((z / size[:, :, np.newaxis]) ** 2, axis=2))
        return {"ratio": np.exp(np.diff(logs + 2.0 * np.log(size), axis=0)).mean()}

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        verdicts, depths = [], table.axes["depth"]
        for n, values in zip(depths, table["ratio"], strict=True):
            found = bootstrap(np.mean, values, confidence=config["confidence"])
            claim = f"tau = 1, L = {n}: mean factor of a layer, for E|h_L|^2 >= 2^L"
            verdict = judge_above(claim, 2.0, *found, row=17)
            verdicts.append(resolved_if_all(verdict, np.isfinite(values)))
        panel = curves(
            "tau = 1", "layers L", "factor of a layer",
            {"median, quartiles": (depths, *centre(table["ratio"]))},
            bounds={
                f"(31): {each:g}": (depths, np.full(len(depths), each))
                for each in tau_relu_bounds(1, 1.0)
            },
            yscale="linear",
        )  # fmt: skip
        return Report(verdicts, figures={"growth": [panel]})


class Training(MatrixExperiment):
    """Whether networks without normalisation train, by scale and depth."""

    name, title, claims = "training", "Training without normalisation", (17,)
    description = (
        "Runs that reach the loss, and their steps; runs that blow up are counted."
    )
    limitations = (
        "Both scales use one learning rate; fully connected layers of one width."
    )
    defaults = {
        "scales": ["sde", "one"], "depths": [10, 100, 1000], "most_steps": 150,
        "below": 0.3, **NETWORK, "rate": 2.5, **SEEDS,
    }  # fmt: skip
    quick = {"seeds": 6, "most_steps": 80, "data": dict(FEW)}
    grid = {"scale": "scales", "depth": "depths", "seed": "seeds"}
    together = ()
    measured = {"steps": "steps to the loss, most_steps + 1 if it is not reached"}
    positive = ("depths", "width", "readout", "rate", "below", "most_steps")
    known, whole = {"scales": EXPONENTS}, ("scales",)

    def cost(self, at, config):
        """See `Experiment.cost`."""
        return at["depth"]

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        problem = feature_problem(
            config["data"], config["width"], config["readout"], at["seed"]
        )
        net = matrix_network(problem, at["depth"], EXPONENTS[at["scale"]], at["seed"])
        most, below = config["most_steps"], config["below"]
        return {"steps": steps_needed(net, [config["rate"]], most, below)}

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        depths, most = np.array(table.axes["depth"]), config["most_steps"]
        sde, one = (table.select(scale=name)["steps"] for name in ("sde", "one"))
        overflow = np.isinf(one)
        texts = [
            f"tau = 1, L = {n}: {each.sum()} of {each.size} runs overflow: diverged."
            for n, each in zip(depths, overflow, strict=True)
        ]
        verdicts = [
            judge_all(f"{MARKS[name]}{claim}", holds, row=17)
            for name, claim, holds in (
                ("sde", ": the loss is reached at every L", sde <= most),
                ("one", f", L = {depths[-1]}: overflow", overflow[-1]),
            )
        ]
        if depths[-1] < OVERFLOWING and verdicts[1].verdict == "contradicted":
            note = f"Overflow is certain from about L = {OVERFLOWING} on only."
            verdicts[1] = dataclasses.replace(
                verdicts[1], verdict="not resolved", note=note
            )
        shares = {
            MARKS[name]: (depths, np.mean(steps <= most, axis=1))
            for name, steps in (("sde", sde), ("one", one))
        }
        panels = [
            curves(
                "Runs that train", "layers L", "share of the runs", shares,
                yscale="linear",
            ),
            curves(
                "Steps to the loss", "layers L", "steps",
                {MARKS["sde"]: (depths, *centre(sde))},
            ),
        ]  # fmt: skip
        return Report(verdicts, texts, {"training": panels})


class Normalised(Training):
    """The loss with a normalisation layer, by scale and depth."""

    name, title, claims = (
        "normalised",
        "With a normalisation layer: the gain by tau",
        (),
    )
    description = (
        "Loss after some steps, each tau at its best rate; psi = normalised ReLU."
    )
    limitations = (
        "The normalisation has no parameters and no batch statistics. Best is the best "
        "of the rates tried."
    )
    defaults = {
        "scales": ["sde", "one"], "rates": [0.1, 0.5, 2.5, 12.5],
        "depths": [8, 32, 128], "n_steps": 40, **NETWORK, **SEEDS,
        "confidence": 0.99,
    }  # fmt: skip
    quick = {"seeds": 5, "n_steps": 20, "data": dict(FEW)}
    grid = {"scale": "scales", "rate": "rates", "depth": "depths", "seed": "seeds"}
    together = ("rate", "seed")
    measured = {"loss": "loss after the steps"}
    positive = ("depths", "rates", "n_steps", "width", "readout")
    known, whole = {"scales": EXPONENTS}, ("scales",)

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        # The states are longer than those of the others by sqrt(width).
        readout = config["readout"] / np.sqrt(config["width"])
        problem = feature_problem(config["data"], config["width"], readout, at["seed"])
        net = matrix_network(
            problem, at["depth"], EXPONENTS[at["scale"]], at["seed"],
            outer="normalised_relu",
        )  # fmt: skip
        return {"loss": descend(net, at["rate"], config["n_steps"], None)[-1]}

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        depths, logs = np.array(table.axes["depth"]), np.log(table["loss"])
        best = logs.mean(axis=3).argmin(axis=1)
        found = np.take_along_axis(logs, best[:, None, :, None], axis=1)[:, 0]
        found = dict(zip(table.axes["scale"], found, strict=True))
        gains = found["one"] - found["sde"]
        verdicts = [
            judge_above(
                f"L = {n}: ln of the loss of tau = 1 over that of L^(-1/2)", 0.0,
                *bootstrap(np.mean, each, confidence=config["confidence"]),
            )
            for n, each in zip(depths, gains, strict=True)
        ]  # fmt: skip
        rates = np.take(config["rates"], best)
        text = "Best rates, shallow to deep: " + "; ".join(
            f"{MARKS[name]}: {', '.join(f'{each:g}' for each in row)}"
            for name, row in zip(table.axes["scale"], rates, strict=True)
        )
        entries = {
            MARKS[name]: (depths, *centre(np.exp(each))) for name, each in found.items()
        }
        panel = curves("Normalised", "layers L", "loss after the steps", entries)
        return Report(verdicts, [f"{text}."], {"normalised": [panel]})
