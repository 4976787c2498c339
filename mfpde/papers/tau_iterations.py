"""Zhang et al. 2019, Marion et al. 2023: steps of descent to a loss, against depth."""

from __future__ import annotations

import numpy as np

from mfpde.papers.powers import corrected_power
from mfpde.papers.residual import (
    MatrixExperiment,
    feature_problem,
    feed_forward,
    matrix_network,
    steps_needed,
)  # fmt: skip
from mfpde.papers.tau_training import FEW, NETWORK, Training
from mfpde.studies.curves import centre, curves
from mfpde.studies.judging import judge, judge_all, neighbours, not_measured
from mfpde.studies.report import Report

# Exponent of tau, exponents of L in the learning rates that are tried, label.
SCHEMES = {
    "sde": (-0.5, (0.0,), "L^(-1/2), rate O(1)"),
    "ode": (-1.0, (1.0,), "1/L, rate O(L)"),
    "slow": (-1.0, (0.0,), "1/L, rate O(1)"),
    "plain": (0.0, (-1.0, -0.5), "no skips"),
}
FLAT = ("sde", "ode")
CLAIMS = {"sde": 0.0, "ode": 0.0, "slow": 1.0}
"""Exponent of L in the steps."""


class Iterations(MatrixExperiment):
    """Steps to a loss by the scale, the learning rate and the depth."""

    name, title, claims = (
        "iterations",
        "Steps of descent to a loss against depth",
        (16,),
    )
    description = (
        "Steps of plain descent, Eq. (30), until the training loss is below a bound."
    )
    limitations = (
        "One data set and one learning rate, rate / tau0^2; without skips the better "
        "of two. Draws for different L are increments of one path. For tau0 = 1 more "
        "gates close, and the term L^(-1/2) beside the limit is several times larger. "
        "Schemes whose steps grow with L are run up to `slow_depth`."
    )
    defaults = {
        "schemes": list(SCHEMES), "depths": [16, 32, 64, 128, 256, 512],
        "slow_depth": 128, "most_steps": 150, "below": 0.35, "tau0": 0.5,
        **NETWORK, "rate": 2.0, "seeds": 12, "first_seed": 0,
        "confidence": 0.99, "tolerance": 0.1,
    }  # fmt: skip
    quick = {
        "depths": [16, 32, 64, 128, 256],
        "most_steps": 80,
        "below": 0.4,
        "data": dict(FEW),
    }
    grid = {"scheme": "schemes", "depth": "depths", "seed": "seeds"}
    together = ()
    measured = {"steps": "steps to the loss, the budget + 1 if it is not reached"}
    positive = (*Training.positive, "tau0")
    known, one_path = {"schemes": SCHEMES}, True

    def problems(self, config):
        """Also of `slow_depth`; see `Experiment.problems`."""
        found, least = super().problems(config), self.least_depths
        short = [n for n in config["depths"] if n <= config["slow_depth"]]
        if len(short) < least and set(config["schemes"]) - set(FLAT):
            found.append(
                f"`slow_depth` must leave {least} of the depths or more, got "
                f"{config['slow_depth']} for {config['depths']}."
            )
        return found

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

    def budget(self, scheme, depths, config):
        """The most steps that are made, for each of the depths."""
        depths = np.asarray(depths)
        longer = depths / min(config["depths"]) if scheme == "slow" else depths**0
        return np.floor(config["most_steps"] * longer).astype(int)

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        is_flat = at["scheme"] in FLAT
        if not is_flat and at["depth"] > config["slow_depth"]:
            return {"steps": np.nan}
        net, rates = self.network(at, config)
        most = int(self.budget(at["scheme"], at["depth"], config))
        return {"steps": steps_needed(net, rates, most, config["below"])}

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        depths, texts, entries = np.array(table.axes["depth"]), [], {}
        verdicts, steps, missed = [], {}, {}
        for scheme in table.axes["scheme"]:
            label, budget = SCHEMES[scheme][2], self.budget(scheme, depths, config)
            steps[scheme] = table.select(scheme=scheme)["steps"]
            missed[scheme] = steps[scheme] > budget[:, np.newaxis]
            reached = np.where(missed[scheme], np.nan, steps[scheme])
            entries[label] = (depths, *centre(reached))
            at = {"scheme": scheme, "depth": depths[0], "seed": 0}
            net, rates = self.network(at, config)
            texts.append(
                f"{label}: {net.rate_sentence(net.ds(rates[0]))}; "
                f"{missed[scheme].sum()} runs miss the loss in {budget[0]} steps"
                + (" times L / min(depths)." if scheme == "slow" else ".")
            )
        for scheme in steps:
            used = depths <= (np.inf if scheme in FLAT else config["slow_depth"])
            given = depths[used], steps[scheme][used], missed[scheme][used]
            if scheme in CLAIMS:
                verdicts.append(self._exponent(scheme, *given, config))
            else:
                verdicts.append(self._without_skips(*given, missed.get("sde"), config))
        verdicts += [
            not_measured(SCHEMES[scheme][2], 16, "It is not among `schemes`.")
            for scheme in SCHEMES
            if scheme not in steps
        ]
        panel = curves("Steps to the loss, by tau", "layers L", "steps", entries)
        return Report(verdicts, texts, {"iterations": [panel]})

    @staticmethod
    def _exponent(scheme, depths, steps, missed, config):
        """The exponent of L; undecided if a run has no steps."""
        claim = f"tau ~ {SCHEMES[scheme][2]}: exponent of L in the steps"
        if missed.any():
            note = f"{missed.sum()} of {missed.size} runs do not reach the loss."
            rule = "Not resolved unless every run reaches the loss within `most_steps`."
            expected = CLAIMS[scheme]
            return not_measured(claim, 16, note, expected=expected, rule=rule)
        # Draws approach their path, and gates their share of it, like L^(-1/2).
        found = corrected_power(depths, steps, depths**-0.5, config["confidence"])
        expected, tolerance = CLAIMS[scheme], config["tolerance"]
        rivals = neighbours(expected)
        return judge(claim, expected, *found, tolerance, rivals=rivals, row=16)

    @staticmethod
    def _without_skips(depths, steps, missed, with_skips, config):
        """Growing: more steps than if flat to the tolerance. Failing: none are enough.

        A budget that is too small for networks with skips does not decide on failing.
        """
        deep, shallow = steps[-1], steps[0]
        grows = deep > shallow * (depths[-1] / depths[0]) ** config["tolerance"]
        enough = np.zeros_like(grows)
        if with_skips is not None:
            enough = ~with_skips[len(depths) - 1]
        decided = grows | enough | ~missed[-1]
        claim = (
            f"no skips, L = {depths[-1]}: more than {config['most_steps']} steps, "
            f"enough with skips, or more than at L = {depths[0]}"
        )
        holds = (grows | missed[-1])[decided]
        return judge_all(claim, holds, row=16)
