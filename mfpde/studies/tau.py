"""Zhang, Yu, Yi, Chen, Liu 2019: which residual scales tau are stable in depth L.

tau = L^(-1/2 + c) for h[l+1] = ReLU(h[l] + tau W[l] h[l]), W_ij ~ N(0, 2 / width):
sections 1.5 and 5.5 of the theory, T10 and Eq. (31).
"""

from __future__ import annotations

import numpy as np

from mfpde.analysis import bootstrap, fit_power
from mfpde.depth import PowerLaw
from mfpde.evaluation import trajectories
from mfpde.exact import tau_relu_bounds
from mfpde.networks.resnet import ResNet
from mfpde.panels import Image, Panel
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_above, judge_all, judge_below
from mfpde.studies.report import Report
from mfpde.studies.residual import (
    MatrixExperiment,
    corrected_power,
    matrix_network,
    normal_problem,
    power_of,
)  # fmt: skip
from mfpde.studies.study import Variable
from mfpde.studies.tau_training import Growth, Iterations, Normalised, Training

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

    name, title, rows = "norms", "Forward and backward norms against depth", (14,)
    shows = (
        "Means over draws W and -W of |h_L|^2 / |h_0|^2 and |p_0|^2 / |p_L|^2 at the "
        "start, with the upper bounds (31)."
    )
    leaves_out = (
        "The bounds are on forward norms: closed gates take from the backward ones. "
        "Draws for different L are increments of one path. "
        "Exponents are of the mean of ln |h_L|^2 / |h_0|^2, which has no heavy tail: "
        "like ln E it is proportional to tau^2 L, with a share 2 / width less (T10)."
    )
    defaults = {
        "powers": [-0.25, 0.0, 0.1, 0.25], "depths": [64, 128, 256, 512, 1024],
        "width": 64, "n_samples": 8, **SEEDS,
    }  # fmt: skip
    quick = {"depths": [64, 128, 256, 512], "width": 32}
    grid = {"depth": "depths", "seed": "seeds"}
    together = ()
    measured = {
        name: Variable(("power",), text)
        for name, text in {
            "forward": "|h_L|^2 / |h_0|^2", "backward": "|p_0|^2 / |p_L|^2",
            "forward_log": "its logarithm", "backward_log": "its logarithm",
            "moved": "|p_0 - p_L|^2 / |p_L|^2",
        }.items()
    }  # fmt: skip
    positive, one_path = ("depths", "width", "n_samples"), True

    def further_axes(self, config):
        """See `Experiment.further_axes`."""
        return {"power": config["powers"]}

    def cost(self, at, config):
        """See `Experiment.cost`."""
        return at["depth"]

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
                done = ResNet(problem, ensemble, scale, drawn.outer).evaluate()
                z, p = done.z[[0, -1]], done.p[[-1, 0]]
                ratios = growth(z), growth(p)
                moved = growth(np.stack([p[0], p[1] - p[0]]))
                pair.append([*ratios, *np.log(ratios), moved])
            found.append(np.mean(pair, axis=(0, 2)))
        return dict(zip(self.measured, np.transpose(found), strict=True))

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        depths, inside, verdicts = np.array(table.axes["depth"]), [], []
        entries, bounds = {"forward": {}, "backward": {}}, {}
        for i, c in enumerate(config["powers"]):
            tau = depths ** (-0.5 + c)
            limits = [
                tau_relu_bounds(n, each) for n, each in zip(depths, tau, strict=True)
            ]
            low, high = np.transpose(limits)
            for name, curve in entries.items():
                values = table[name][:, :, i]
                ends = [bootstrap(np.mean, v, confidence=0.999)[1] for v in values]
                ends = np.transpose(ends)
                curve[f"c = {c:g}"] = (depths, values.mean(axis=1), *ends)
                if name == "forward":
                    inside += list((ends[1] >= low) & (ends[0] <= high))
            bounds[f"(31), c = {c:g}"] = (depths, high)
            verdicts += self._verdicts(c, tau, table, i, config)
        claim = "the interval of E|h_L|^2 meets the bounds (31): all c and L"
        verdicts.insert(0, judge_all(claim, inside, row=14))
        panels = [
            curves(
                f"{name.capitalize()} norms", "layers L", "mean growth", curve,
                bounds=bounds if name == "forward" else None,
            )
            for name, curve in entries.items()
        ]  # fmt: skip
        return Report(verdicts, figures={"norms": panels})

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
                found.append(judge(claim, 0.0, *power, tolerance, row=14))
            return found
        # The kink of ReLU costs the share O(tau) of the growth.
        power = corrected_power(depths, values["forward_log"], tau, confidence)
        claim = f"forward norms, c = {c:g}: exponent of L in the logarithm"
        found = [judge(claim, 2.0 * c, *power, tolerance, row=14)]
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


class Phases(Experiment):
    """Growth of linear layers by the exponent of tau and the smoothness in depth."""

    name, title, rows = "phases", "Residual scale against smoothness in depth", (15,)
    shows = (
        "Exponent of L in the mean of ln(1 + |h_L - h_0|^2 / |h_0|^2), linear layers, "
        "variance 1 / width: below 0 identity, 0 a limit in depth, above 0 explosion."
    )
    leaves_out = "At the start only, and at these exponents of tau, none between them."
    defaults = {
        "smoothness": ["independent", "0.2", "1", "tied"],
        "exponents": [-1.25, -1.0, -0.75, -0.5, -0.25],
        "depths": [64, 128, 256, 512, 1024], "width": 16, "n_samples": 16,
        "threshold": 0.12, **SEEDS,
    }  # fmt: skip
    quick = {
        "depths": [64, 128, 256, 512],
        "smoothness": ["independent", "0.2", "tied"],
    }
    grid = {
        "smoothness": "smoothness", "exponent": "exponents", "depth": "depths",
        "seed": "seeds",
    }  # fmt: skip
    together = ("depth", "seed")
    measured = {
        "growth": "ln(1 + |h_L - h_0|^2 / |h_0|^2)",
        "variation": "sum over layers of |h_(l+1) - h_l|^2 / |h_0|^2",
    }
    positive = ("depths", "width", "n_samples", "threshold")
    analysis_keys = ("confidence", "tolerance", "threshold")
    lengths = {"independent": 0.0, "tied": np.inf}

    def problems(self, config):
        """See `Experiment.problems`."""
        found, given = super().problems(config), set(config["smoothness"])
        numbers = [each for each in given if each.replace(".", "", 1).isdigit()]
        if given - set(numbers) != set(self.lengths) or -0.5 not in config["exponents"]:
            found.append(
                "`smoothness` must hold independent, tied and any lengths in t, and "
                f"`exponents` -0.5, got {config['smoothness']}, {config['exponents']}."
            )
        return found

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        length = self.lengths.get(at["smoothness"])
        length = float(at["smoothness"]) if length is None else length
        problem = normal_problem(
            config["width"], config["n_samples"], at["seed"], positive=False
        )
        net = matrix_network(
            problem, at["depth"], at["exponent"], at["seed"],
            outer="identity", variance=1.0, length=length,
        )  # fmt: skip
        _, z = trajectories(problem, net.grid, net.ensemble, problem.x)
        start = np.sum(z[0] ** 2, axis=1)
        moved = np.sum((z[-1] - z[0]) ** 2, axis=1) / start
        steps = np.sum(np.diff(z, axis=0) ** 2, axis=(0, 2)) / start
        return {"growth": np.log1p(moved).mean(), "variation": steps.mean()}

    @staticmethod
    def expected(smoothness, exponent):
        """Independent increments add in square, others coherently: section 1.5."""
        critical, name = (-0.5, "SDE") if smoothness == "independent" else (-1.0, "ODE")
        if exponent == critical:
            return name
        return "identity" if exponent < critical else "explosion"

    @staticmethod
    def region(exponent, roughness, threshold):
        """The region by the exponent of the growth, and by that of the variation."""
        if abs(exponent) > threshold:
            return "identity" if exponent < 0.0 else "explosion"
        return "SDE" if roughness > -0.5 else "ODE"

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        depths, axes = np.array(table.axes["depth"]), table.axes
        exponents, texts, holds = np.empty(table["growth"].shape[:2]), [], []
        for i, j in np.ndindex(exponents.shape):
            smooth, exponent = axes["smoothness"][i], axes["exponent"][j]
            slopes = [
                -fit_power(depths, table[name][i, j], statistic="mean").exponent
                for name in self.measured
            ]
            exponents[i, j] = slopes[0]
            found = self.region(*slopes, config["threshold"])
            holds.append(found == self.expected(smooth, exponent))
            texts.append(f"{smooth}, tau = L^{exponent:g}: {found} ({slopes[0]:.3f})")
        claim = "regions of all cells: critical at -1/2 (independent), -1 (others)"
        verdicts = [judge_all(claim, holds, row=15)]
        entries, confidence = {}, config["confidence"]
        for smooth, expected in (("tied", 0.5), ("independent", 0.0)):
            values = table.select(smoothness=smooth, exponent=-0.5)["growth"]
            entries[smooth] = (depths, *centre(values))
            if smooth == "tied":
                # The differences are free of the constant beside c sqrt(L).
                values = np.diff(values, axis=0)
            found = power_of(depths[: len(values)], values, confidence)
            claim = f"{smooth} layers, tau = L^(-1/2): exponent of L in the logarithm"
            verdicts.append(judge(claim, expected, *found, config["tolerance"], row=15))
        image = Image(
            exponents, axes["exponent"], axes["smoothness"], "exponent of L", "linear"
        )
        panels = [
            Panel(
                "Exponent of the growth",
                "exponent of tau",
                "layers, or their length in t",
                kind="heat",
                image=image,
                xscale="linear",
                yscale="linear",
            ),
            curves("tau = L^(-1/2)", "layers L", "mean logarithm", entries),
        ]  # fmt: skip
        return Report(verdicts, ["; ".join(texts) + "."], {"phases": panels})


STUDY = Collection(
    "tau",
    "Stability of the residual scale",
    (Norms(), Phases(), Growth(), Training(), Iterations(), Normalised()),
    "Zhang, Yu, Yi, Chen, Liu 2019, arXiv:1903.07120",
)
