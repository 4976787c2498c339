"""Zhang, Yu, Yi, Chen, Liu 2019: which residual scales tau are stable in depth L.

tau = L^(-1/2 + c) for h[l+1] = ReLU(h[l] + tau W[l] h[l]), W_ij ~ N(0, 2 / width):
sections 1.5 and 5.5 of the theory, T10 and Eq. (31).
"""

from __future__ import annotations

import numpy as np

from mfpde.analysis import bootstrap
from mfpde.networks.resnet import ResNet
from mfpde.papers.powers import corrected_power, power_of
from mfpde.papers.residual import (
    MatrixExperiment,
    factor_share,
    matrix_network,
    normal_problem,
)  # fmt: skip
from mfpde.papers.tau_iterations import Iterations
from mfpde.papers.tau_phases import Phases
from mfpde.papers.tau_training import Growth, Normalised, Training
from mfpde.references.exact import tau_relu_bounds
from mfpde.scales import PowerLaw
from mfpde.studies.collection import Collection
from mfpde.studies.curves import curves
from mfpde.studies.judging import (
    judge,
    judge_above,
    judge_below,
    judge_between,
    neighbours,
    not_measured,
)
from mfpde.studies.orders import resolved_if_all
from mfpde.studies.report import Report
from mfpde.studies.study import Variable

SLACK = 0.05
"""Of the bounds 1 and 2 of the factor: an interval about a mean that attains one."""
SEEDS = {"seeds": 24, "first_seed": 0, "confidence": 0.99, "tolerance": 0.1}


def slope(sizes, values):
    """p of value = c L^p by least squares."""
    return np.polyfit(np.log(sizes), np.log(values), 1)[0]


def growth(values):
    """|v_1|^2 / |v_0|^2 of every sample, for values (2, N, d)."""
    first, last = np.sum(values**2, axis=-1)
    return last / first


class Norms(MatrixExperiment):
    """E|h_L|^2 and the norms of the adjoint at the start, Eq. (31)."""

    name, title, claims = "norms", "Forward and backward norms against depth", (14,)
    description = (
        "Means over draws W and -W of |h_L|^2 / |h_0|^2 and |p_0|^2 / |p_L|^2 at the "
        "start, with the upper bounds (31)."
    )
    limitations = (
        "The bounds are on forward norms: closed gates take from the backward ones. "
        "They follow from those of the mean factor of a layer at any state, which are "
        "tested at the states that are met: means of |h_L|^2 have heavy tails. "
        "Draws for different L are increments of one path. "
        "Exponents are of the mean of ln |h_L|^2 / |h_0|^2, which has no heavy tail: "
        "like ln E it is proportional to tau^2 L, with a share 2 / width less (T10)."
    )
    defaults = {
        "powers": [-0.25, 0.0, 0.1, 0.25], "depths": [64, 128, 256, 512, 1024],
        "width": 64, "n_samples": 8, **SEEDS,
    }  # fmt: skip
    quick = {"depths": [32, 64, 128, 256, 512], "width": 32}
    grid = {"depth": "depths", "seed": "seeds"}
    together = ("depth",)
    measured = {
        name: Variable(("power",), text)
        for name, text in {
            "forward": "|h_L|^2 / |h_0|^2", "backward": "|p_0|^2 / |p_L|^2",
            "forward_log": "its logarithm", "backward_log": "its logarithm",
            "moved": "|p_0 - p_L|^2 / |p_L|^2",
            "factor": "(mean of |h_(l+1)|^2 / |h_l|^2 - 1) / tau^2",
        }.items()
    }  # fmt: skip
    positive, one_path = ("depths", "width", "n_samples"), True

    def further_axes(self, config):
        """See `Experiment.further_axes`."""
        return {"power": config["powers"]}

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        seed, found = at["seed"], []
        problem = normal_problem(
            config["width"], config["n_samples"], seed, positive=True
        )
        drawn = matrix_network(
            problem, at["depth"], -0.5, seed, n_finest=max(config["depths"])
        )
        ensembles = [
            drawn.ensemble.with_theta(sign * drawn.ensemble.theta) for sign in (1, -1)
        ]
        for c in config["powers"]:
            scale, pair = PowerLaw(1.0, -0.5 + c), []
            for ensemble in ensembles:
                net = ResNet(problem, ensemble, scale, drawn.outer)
                done = net.evaluate()
                z, p = done.z[[0, -1]], done.p[[-1, 0]]
                ratios = growth(z), growth(p)
                moved = growth(np.stack([p[0], p[1] - p[0]]))
                values = np.mean([*ratios, *np.log(ratios), moved], axis=1)
                pair.append([*values, factor_share(net, done.z)])
            found.append(np.mean(pair, axis=0))
        return dict(zip(self.measured, np.transpose(found), strict=True))

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        depths, verdicts = np.array(table.axes["depth"]), []
        entries, bounds = {"forward": {}, "backward": {}}, {}
        for i, c in enumerate(config["powers"]):
            tau = depths ** (-0.5 + c)
            for name, curve in entries.items():
                values = table[name][:, :, i]
                ends = [bootstrap(np.mean, v, confidence=0.999)[1] for v in values]
                ends = np.transpose(ends)
                curve[f"c = {c:g}"] = (depths, values.mean(axis=1), *ends)
            high = [tau_relu_bounds(*each)[1] for each in zip(depths, tau, strict=True)]
            bounds[f"(31), c = {c:g}"] = (depths, high)
            found = [self._factor_verdict(c, table, i, config)]
            found += self._verdicts(c, tau, table, i, config)
            has_value = np.isfinite(table["factor"][:, :, i])
            verdicts += [resolved_if_all(each, has_value) for each in found]
        for sign, text in ((-1.0, "below"), (0.0, "equal to"), (1.0, "above")):
            if sign not in np.sign(config["powers"]):
                note = "None is among `powers`."
                verdicts.append(not_measured(f"c {text} 0", 14, note))
        panels = [
            curves(
                f"{name.capitalize()} norms", "layers L", "mean growth", curve,
                bounds=bounds if name == "forward" else None,
            )
            for name, curve in entries.items()
        ]  # fmt: skip
        return Report(verdicts, figures={"norms": panels})

    @staticmethod
    def _factor_verdict(c, table, i, config):
        """The bounds (31) for one layer, at the L whose interval reaches farthest."""
        found = [
            bootstrap(np.mean, each, confidence=config["confidence"])
            for each in table["factor"][:, :, i]
        ]
        reach = [max(1.5 - low, high - 1.5) for _, (low, high) in found]
        worst = int(np.argmax(reach))
        claim = (
            f"c = {c:g}: mean factor of a layer within (31), as (factor - 1) / tau^2, "
            f"L = {table.axes['depth'][worst]} of all"
        )
        return judge_between(claim, (1.0, 2.0), *found[worst], SLACK, row=14)

    def _verdicts(self, c, tau, table, i, config):
        """Exponents of the norms for c = 0, else of the logarithm of the growth."""
        depths, tolerance = np.array(table.axes["depth"]), config["tolerance"]
        values = {name: table[name][:, :, i] for name in self.measured}
        confidence = config["confidence"]
        if c == 0.0:
            found = []
            for name in ("forward", "backward"):
                typical = np.exp(values[f"{name}_log"])
                power = corrected_power(depths, typical, tau, confidence)
                claim = f"{name} norms, c = 0: exponent of L"
                found.append(_equal(claim, 0.0, power, tolerance))
            return found
        # The kink of ReLU costs the share O(tau) of the growth.
        power = corrected_power(depths, values["forward_log"], tau, confidence)
        claim = f"forward norms, c = {c:g}: exponent of L in the logarithm"
        found = [_equal(claim, 2.0 * c, power, tolerance)]
        if c < 0.0:
            claim = (
                f"c = {c:g}, backward map to the identity: exponent of L in the rest"
            )
            power = power_of(depths, values["moved"], confidence)
            return [*found, judge_below(claim, 0.0, *power, row=14)]
        power = bootstrap(
            lambda v: slope(depths, np.exp(v.mean(axis=0))),
            values["backward_log"].T, confidence=confidence,
        )  # fmt: skip
        claim = f"c = {c:g}, backward norms without bound: exponent of L in them"
        return [*found, judge_above(claim, tolerance, *power, row=14)]


def _equal(claim, expected, power, tolerance):
    """Judge an exponent, whose interval must exclude those of other regimes."""
    rivals = {*neighbours(expected), 0.0} - {expected}
    return judge(claim, expected, *power, tolerance, rivals=sorted(rivals), row=14)


STUDY = Collection(
    "tau",
    "Stability of the residual scale",
    (Norms(), Phases(), Growth(), Training(), Iterations(), Normalised()),
    "Zhang, Yu, Yi, Chen, Liu 2019, arXiv:1903.07120",
    whole="all",
)
