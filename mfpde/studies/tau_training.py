"""Zhang et al. 2019 in training: steps to a loss, overflow, normalisation layers."""

from __future__ import annotations

import numpy as np

from mfpde.analysis import bootstrap
from mfpde.evaluation import trajectories
from mfpde.exact import tau_relu_bounds
from mfpde.studies.curves import centre, curves
from mfpde.studies.judging import judge, judge_above, judge_all
from mfpde.studies.report import Report
from mfpde.studies.residual import (
    MatrixExperiment,
    corrected_power,
    descend,
    feature_problem,
    feed_forward,
    matrix_network,
    normal_problem,
    steps_to,
)  # fmt: skip

SEEDS = {"seeds": 8, "first_seed": 0, "confidence": 0.99, "tolerance": 0.1}
NETWORK = {
    "data": {"source": "digits", "n_samples": 64, "pca": 16},
    "width": 32, "readout": 0.3, "rate": 2.5,
}  # fmt: skip
FEW = {"data": {"source": "digits", "n_samples": 32, "pca": 16}}
MARKS = {"sde": "tau = L^(-1/2)", "one": "tau = 1"}
EXPONENTS = {"sde": -0.5, "one": 0.0}
# Exponent of tau, exponents of L in the learning rates that are tried, label.
SCHEMES = {
    "sde": (-0.5, (0.0,), "L^(-1/2), rate O(1)"),
    "ode": (-1.0, (1.0,), "1/L, rate O(L)"),
    "slow": (-1.0, (0.0,), "1/L, rate O(1)"),
    "plain": (0.0, (-1.0, -0.5), "no skips"),
}


class Growth(MatrixExperiment):
    """|h_L|^2 for tau = 1."""

    name, title, rows = "growth", "Growth without a residual scale", (17,)
    shows = (
        "Mean over layers of |h_(l+1)|^2 / |h_l|^2 for tau = 1, with the bounds (31)."
    )
    leaves_out = (
        "That E|h_L|^2 >= 2^L |h_0|^2 follows from a factor of two in every layer, in "
        "the mean over its draws. Typical runs grow more slowly than the mean."
    )
    defaults = {
        "depths": [10, 100, 1000], "width": 32, "n_samples": 8, **SEEDS, "seeds": 24,
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
            claim = f"tau = 1, L = {n}: E|h_L|^2 >= 2^L |h_0|^2, mean factor of a layer"
            verdicts.append(judge_above(claim, 2.0, *found, row=17))
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

    name, title, rows = "training", "Training without normalisation", (17,)
    shows = "Runs that reach the loss, and their steps; runs that blow up are counted."
    leaves_out = (
        "Both scales use one learning rate; fully connected layers of one width."
    )
    defaults = {
        "scales": ["sde", "one"], "depths": [10, 100, 1000], "most_steps": 150,
        "below": 0.3, **NETWORK, **SEEDS, "seeds": 8,
    }  # fmt: skip
    quick = {"seeds": 6, "most_steps": 80, **FEW}
    grid = {"scale": "scales", "depth": "depths", "seed": "seeds"}
    together = ()
    measured = {"steps": "steps to the loss"}
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
        losses = descend(net, config["rate"], config["most_steps"], config["below"])
        return {"steps": np.minimum(steps_to(losses, config["below"]), 1e9)}

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


class Iterations(MatrixExperiment):
    """Steps to a loss by the scale, the learning rate and the depth."""

    name, title, rows = "iterations", "Steps of descent to a loss against depth", (16,)
    shows = (
        "Steps of plain descent, Eq. (30), until the training loss is below a bound."
    )
    leaves_out = (
        "One data set and one learning rate, rate / tau0^2; without skips the better "
        "of two. Draws for different L are increments of one path. For tau0 = 1 more "
        "gates close, and the term L^(-1/2) beside the limit is several times larger. "
        "Schemes whose steps grow with L are run up to `slow_depth`."
    )
    defaults = {
        "schemes": list(SCHEMES), "depths": [16, 32, 64, 128, 256, 512],
        "slow_depth": 128, "most_steps": 150, "below": 0.35, "tau0": 0.5,
        **NETWORK, "rate": 2.0, **SEEDS, "seeds": 12,
    }  # fmt: skip
    quick = {"depths": [16, 32, 64, 128, 256], "most_steps": 80, "seeds": 8, **FEW}
    grid = {"scheme": "schemes", "depth": "depths", "seed": "seeds"}
    together = ()
    measured = {"steps": "steps to the loss"}
    positive = (*Training.positive, "tau0")
    known, one_path = {"schemes": SCHEMES}, True

    def network(self, at, config):
        """The network of a cell and the learning rates that are tried."""
        problem = feature_problem(
            config["data"], config["width"], config["readout"], at["seed"]
        )
        exponent, powers, _ = SCHEMES[at["scheme"]]
        is_plain = at["scheme"] == "plain"
        tau0 = 1.0 if is_plain else config["tau0"]
        net = matrix_network(
            problem, at["depth"], exponent, at["seed"],
            tau0=tau0, n_finest=max(config["depths"]),
        )  # fmt: skip
        # The kernel is of size sum of tau^2, section 1.5.
        rate, depth = config["rate"] / tau0**2, float(at["depth"])
        # At the least depth both rates of tau ~ 1/L are the same.
        rate *= min(config["depths"]) if at["scheme"] == "slow" else 1
        net = feed_forward(net) if is_plain else net
        return net, [rate * depth**power for power in powers]

    def cost(self, at, config):
        """See `Experiment.cost`."""
        return at["depth"] ** (2 if at["scheme"] == "slow" else 1)

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        is_flat = at["scheme"] in ("sde", "ode")
        if not is_flat and at["depth"] > config["slow_depth"]:
            return {"steps": np.nan}
        net, rates = self.network(at, config)
        longer = at["depth"] / min(config["depths"]) if at["scheme"] == "slow" else 1
        most = int(config["most_steps"] * longer)
        losses = [descend(net, rate, most, config["below"]) for rate in rates]
        return {"steps": min(steps_to(each, config["below"]) for each in losses)}

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        depths, texts, entries = np.array(table.axes["depth"]), [], {}
        verdicts, slow = [], depths <= config["slow_depth"]
        claims = {"sde": 0.0, "ode": 0.0, "slow": 1.0, "plain": None}
        for scheme in table.axes["scheme"]:
            expected = claims[scheme]
            steps, label = table.select(scheme=scheme)["steps"], SCHEMES[scheme][2]
            used = depths > 0 if expected == 0.0 else slow
            entries[label] = (depths, *centre(steps))
            at = {"scheme": scheme, "depth": depths[0], "seed": 0}
            net, rates = self.network(at, config)
            texts.append(f"{label}: {net.rate_sentence(net.ds(rates[0]))}.")
            if expected is None:
                failing = ~np.isfinite(steps[slow][-1])
                claim = f"{label}, L = {depths[slow][-1]}: the loss is not reached"
                verdicts.append(judge_all(claim, failing, row=16))
                continue
            # Draws approach their path, and gates their share of it, like L^(-1/2).
            sizes = depths[used]
            found = corrected_power(
                sizes, steps[used], sizes**-0.5, config["confidence"]
            )
            claim = f"tau ~ {label}: exponent of L in the steps"
            verdicts.append(judge(claim, expected, *found, config["tolerance"], row=16))
        panel = curves("Steps to the loss, by tau", "layers L", "steps", entries)
        return Report(verdicts, texts, {"iterations": [panel]})


class Normalised(Training):
    """The loss with a normalisation layer, by scale and depth."""

    name, title, rows = "normalised", "With a normalisation layer: the gain by tau", ()
    shows = "Loss after some steps, each tau at its best rate; psi = normalised ReLU."
    leaves_out = (
        "The normalisation has no parameters and no batch statistics. Best is the best "
        "of the rates tried."
    )
    defaults = {
        "scales": ["sde", "one"], "rates": [0.1, 0.5, 2.5, 12.5],
        "depths": [8, 32, 128], "n_steps": 40, **NETWORK, **SEEDS, "seeds": 8,
    }  # fmt: skip
    quick = {"seeds": 5, "n_steps": 20, **FEW}
    grid = {"scale": "scales", "rate": "rates", "depth": "depths", "seed": "seeds"}
    together = ("rate", "seed")
    measured = {"loss": "loss after the steps"}
    positive = ("depths", "rates", "n_steps", "width", "readout")

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
