"""Networks that stay discretised neural ODEs (theory, 5.8, rows 11 to 13)."""

from __future__ import annotations

import itertools
import math

import numpy as np

from mfpde.analysis import fit_power, refinement_interval
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.papers.ends import finished
from mfpde.papers.local_pl import LongTime, Width
from mfpde.papers.marion import COMMON, Preset, layer_steps
from mfpde.papers.references import output, path_distance
from mfpde.problem import MeanFieldProblem
from mfpde.run.solver import solve
from mfpde.studies.collection import Collection
from mfpde.studies.curves import curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_below
from mfpde.studies.orders import judge_order
from mfpde.studies.report import Report
from mfpde.studies.study import Variable


class Smoothness(Preset):
    """Largest distance of neighbouring layers, through training."""

    name = "smoothness"
    title = "Neighbouring layers stay O(1/L) apart through training"
    description = (
        "The largest distance of the weights of neighbouring layers, maximised over s, "
        "falls like 1/L from tied and smooth starts, not if layers are drawn apart."
    )
    limitations = "Other data, and depths beyond those of the figure."
    claims = (11,)
    defaults = {
        "presets": ["large-depth", "large-depth-script"],
        "activations": ["gelu", "tanh"],
        "starts": ["tied", "lipschitz", "clipped", "layer"],
        "depths": [8, 16, 32, 64],
        "records": 20,
        "clip": 0.2,
        **COMMON,
    }
    quick = {"presets": ["small"], "depths": [16, 32, 64], "seeds": 24}
    grid = {"preset": "presets", "activation": "activations", "start": "starts"}
    grid |= {"depth": "depths", "seed": "seeds"}
    measured = {
        "largest": Variable(("share",), "largest distance of neighbours"),
        "rms": Variable(("share",), "rms distance of neighbours"),
        "script": Variable(("share",), "root of the sum of squares over layers"),
    }
    positive, least = ("depths", "clip", "records"), {"depths": 3}

    def further_axes(self, config):
        """Return shares of the training time."""
        return {"share": np.linspace(0.0, 1.0, config["records"] + 1).tolist()}

    def cell(self, at, config, references):
        """Train one network and follow the distances of its neighbouring layers."""
        setting, grid = self.setting(at), DepthGrid.euler(at["depth"])
        record = setting.s_end * np.array(self.further_axes(config)["share"])
        options = {"record": record, "observers": {"steps": layer_steps}}
        found = setting.train(grid, at["start"], at["seed"], config["clip"], **options)
        return dict(zip(self.measured, found.observations["steps"].T, strict=True))

    def analyse(self, table, config):
        """Fit exponents in L of the maximum over s, and at some s."""
        depths, verdicts, panels = table.axes["depth"], [], []
        for label, _, part in self.lines(table, "preset", "activation"):
            entries, fits = {}, {}
            for start, _, chosen in self.lines(part, "start"):
                largest = chosen["largest"]
                cases = {
                    "early": (1.0, largest[..., 1 + config["records"] // 10], 11),
                    "end": (1.0, largest[..., -1], 11),
                    "max over s": (1.0, largest.max(axis=-1), 11),
                }
                if start == "layer":
                    cases = {"rms, end": (0.0, chosen["rms"][..., -1], 11)}
                elif start == "tied":
                    cases["root of sum"] = (0.5, chosen["script"][..., -1], None)
                for when, (expected, values, row) in cases.items():
                    claim = f"Decay in L, {label}, {start}: {when}"
                    verdicts.append(
                        judge_order(claim, expected, depths, values, config, row=row)[0]
                    )
                most = largest.max(axis=-1)
                fit = fit_power(depths, most, confidence=config["confidence"])
                entries[start], fits[start] = (depths, fit.values), fit
            if "layer" in fits:
                fit, claim = fits["layer"], f"Decay in L, {label}, layer: max over s"
                found = (fit.exponent, fit.exponent_interval)
                verdicts.append(judge_below(claim, 0.5, *found, row=11))
            title = f"{label}: max over s"
            panels.append(
                curves(title, "L", "max |theta[l+1] - theta[l]|", entries, fits=fits)
            )
        return Report(verdicts, self.time_maps(config), {self.name: panels})


class Kink(Experiment):
    """The counter-example with ReLU: odd layers stay, even ones move."""

    name = "kink"
    title = "ReLU parts neighbouring layers"
    description = (
        "d = 1, 2L layers h + sigma(w h)/(2L), w = (-1)^l/(2L) at s = 0, one datum "
        "(1, C): with ReLU trained neighbours end 2 ln C apart, else O(1/L)."
    )
    limitations = "ReLU networks in general: this start is made for the purpose."
    claims = (11,)
    defaults = {
        "activations": ["relu", "tanh", "gelu"],
        "depths": [8, 16, 32, 64, 128],
        "target": 2.0,
        "s_end": 40.0,
        "confidence": 0.99,
        "tolerance": 0.05,
    }
    grid = {"activation": "activations", "depth": "depths"}
    measured = {"distance": "largest distance of neighbours at the end"}
    positive, least = ("depths", "target", "s_end"), {"depths": 3}

    def cell(self, at, config, references):
        """Train one network of 2L layers to the end."""
        n, activation = 2 * at["depth"], at["activation"]
        theta = np.ones((n, 1, 2))
        theta[:, 0, 0] = (-1.0) ** np.arange(n) / n
        block = Perceptron(1, activation, bias=False)
        # v = 1 is no weight of this network.
        problem = MeanFieldProblem([1.0], [config["target"]], block, metric=[1.0, 0.0])
        grid, tolerances = DepthGrid.euler(n), {"rtol": 1e-8, "atol": 1e-10}
        start = ParticleEnsemble(theta)
        found = finished(
            solve.quietly(problem, grid, start, s_end=config["s_end"], **tolerances)
        )
        return {"distance": np.abs(np.diff(found.ensemble.theta[:, 0, 0])).max()}

    def analyse(self, table, config):
        """Fit exponents; the limit of the distance with ReLU is 2 ln C."""
        depths, verdicts, entries, bounds = table.axes["depth"], [], {}, {}
        for activation in config["activations"]:
            distance = table.select(activation=activation)["distance"]
            is_kinked = activation.endswith("relu")
            claim = f"Decay in L of the end distance of neighbours, {activation}"
            expected = 0.0 if is_kinked else 1.0
            verdict, _ = judge_order(claim, expected, depths, distance, config, row=11)
            verdicts.append(verdict)
            entries[activation] = (depths, distance)
        if "relu" in config["activations"]:
            distance = table.select(activation="relu")["distance"]
            # Richardson: the first two terms in 1/L.
            limits = 2.0 * distance[1:] - distance[:-1]
            interval = refinement_interval(limits[-1], limits[-2])
            exact = 2.0 * math.log(config["target"])
            rest = (limits[-1], interval, config["tolerance"])
            claim = "ReLU: limit of that distance"
            verdicts.append(judge(claim, exact, *rest, row=11))
            bounds = {"2 ln C": (depths, np.full(len(depths), exact))}
        title = f"one datum (1, C), C = {config['target']:g}"
        panel = curves(title, "L", "end distance of neighbours", entries, bounds=bounds)
        return Report(verdicts, figures={self.name: [panel]})


class Limit(Preset):
    """Weights, outputs and trained maps against the limit in depth."""

    name = "limit"
    title = "Weights and outputs tend to those of a neural ODE like 1/L"
    description = (
        "L2 distance over depth of the weights at the layers from the interpolated "
        "limit of large depth, and rms distance of the outputs: slope -1 at each s."
    )
    limitations = "M is fixed: nothing is said of wide networks."
    claims = (12,)
    defaults = {
        "presets": ["large-depth", "large-depth-script"],
        "activations": ["gelu"],
        "starts": ["tied", "lipschitz", "clipped", "trained"],
        "depths": [8, 16, 32, 64],
        "shares": [0.0, 0.1, 0.3, 1.0],
        "clip": 0.2,
        "nodes": 32,
        **COMMON,
    }
    quick = {"presets": ["small"], "depths": [16, 32, 64], "seeds": 24}
    grid = Smoothness.grid
    measured = {
        "weights": Variable(("share",), "L2 distance over depth of the weights"),
        "outputs": Variable(("share",), "rms distance of the outputs"),
        "maps": Variable(("share",), "distance of embedding and readout"),
        "reference": "difference of two limits, in units of the distance at the end",
    }
    positive, least = ("depths", "clip", "nodes"), {"depths": 3}

    def further_axes(self, config):
        """Return shares of the training time."""
        return {"share": config["shares"]}

    def needs(self, at, config):
        """Return the name of the limit of this start and seed."""
        return ("_".join(str(at[axis]) for axis in at if axis != "depth"),)

    def references(self, config):
        """Return every limit with its coordinates."""
        axes = self.grid_axes(config) | {"depth": [0]}
        values = itertools.product(*axes.values())
        cells = [dict(zip(axes, each, strict=True)) for each in values]
        return {self.needs(at, config)[0]: at for at in cells}

    def train(self, grid, at, config):
        """Return theta, outputs and maps at the recorded s, by descent on a grid."""
        setting = self.setting(at)
        times = setting.s_end * np.array(config["shares"])
        options = {"record": times, "snapshots": times, "observers": {"output": output}}
        found = setting.train(grid, at["start"], at["seed"], config["clip"], **options)
        maps = [m.reshape(len(times), -1) for m in found.maps.values()]
        maps = np.concatenate(maps, axis=1) if maps else np.zeros((len(times), 0))
        outputs = found.observations["output"].reshape(len(times), -1)
        return {"theta": found.theta, "outputs": outputs, "maps": maps}

    def refer(self, name, config):
        """Descend on Gauss nodes in depth, twice: spectral, no deeper network."""
        at, n = self.references(config)[name], config["nodes"]
        found = self.train(DepthGrid.gauss(n), at, config)
        coarse, nodes = DepthGrid.gauss(n - n // 4), DepthGrid.gauss(n).nodes
        other = self.train(coarse, at, config)
        pair = other["theta"][-1], coarse.nodes, found["theta"][-1], nodes
        errors = [path_distance(*pair), *_rms(found["outputs"] - other["outputs"])[-1:]]
        return found | {"errors": np.array(errors)}

    def cell(self, at, config, references):
        """Train one network and compare it with its limit."""
        limit = references[self.needs(at, config)[0]]
        grid = DepthGrid.euler(at["depth"])
        nodes = DepthGrid.gauss(config["nodes"]).nodes
        found = self.train(grid, at, config)
        pairs = zip(found["theta"], limit["theta"], strict=True)
        weights = [path_distance(a, grid.nodes, b, nodes) for a, b in pairs]
        outputs = _rms(found["outputs"] - limit["outputs"])
        return {
            "weights": weights,
            "outputs": outputs,
            "maps": np.linalg.norm(found["maps"] - limit["maps"], axis=1),
            "reference": (limit["errors"] / [weights[-1], outputs[-1]]).max(),
        }

    def analyse(self, table, config):
        """Fit exponents in L at each s."""
        depths, verdicts, panels = table.axes["depth"], [], []
        for label, _, part in self.lines(table, "preset", "activation"):
            fits = {"weights": {}, "outputs": {}, "maps": {}}
            for (start, _, chosen), (i, share), what in itertools.product(
                self.lines(part, "start"), enumerate(config["shares"]), fits
            ):
                # Tied starts have the same outputs, all starts the same weights.
                if not share and (what != "outputs" or start != "lipschitz"):
                    continue
                if what == "maps" and start != "trained":
                    continue
                claim = f"Order in 1/L, {label}, {start}: {what}, s = {share:g} s_end"
                values = chosen[what][..., i]
                verdict, fit = judge_order(claim, 1.0, depths, values, config, row=12)
                verdicts.append(verdict)
                # The last s stays.
                fits[what][f"{start}, maps" if what == "maps" else start] = fit
            fits["outputs"] |= fits.pop("maps")
            for what, found in fits.items():
                entries = {start: (depths, fit.values) for start, fit in found.items()}
                title = f"{label}: {what} at the end"
                panels.append(
                    curves(title, "L", "distance from the limit", entries, fits=found)
                )
        text = (
            f"Limits from {config['nodes']} nodes and from a quarter fewer differ by "
            f"at most {np.nanmax(table['reference']):.1e} of the distance at the end."
        )
        return Report(verdicts, [*self.time_maps(config), text], {self.name: panels})


def _rms(difference):
    """Root of the mean over all outputs, (R,) for (R, n)."""
    return np.sqrt(np.mean(difference**2, axis=1))


STUDY = Collection(
    "neural-ode",
    "Residual networks that stay discretised neural ODEs",
    (Smoothness(), Kink(), Limit(), LongTime(), Width()),
    "Marion, Wu, Sander, Biau 2023 (arXiv 2309.01213); the Polyak-Lojasiewicz "
    "constant along the flow: Barboni, Peyre, Vialard (arXiv 2112.05531, 2403.12887)",
    whole="all",
)
