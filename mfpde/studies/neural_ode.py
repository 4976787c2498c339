"""Networks that stay discretised neural ODEs (theory, 5.8, rows 11 to 13)."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis import bootstrap, fit_asymptotic_power, refinement_interval
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Every
from mfpde.solver import solve
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_above, judge_all, judge_below
from mfpde.studies.limits import output, path_distance, root_mean_square
from mfpde.studies.marion import PRESETS, STARTS, Setting, layer_steps
from mfpde.studies.report import Report
from mfpde.studies.study import Variable
from mfpde.tangent import late_rate, tangent_kernel

Array = NDArray[np.float64]

SHARES = [0.0, 0.1, 0.3, 1.0]
"""Of the training time, for the distances in depth and from the limit."""
N_RECORDS = 20


def setting_of(at: Mapping[str, Any], config: Mapping[str, Any]) -> Setting:
    """Return the preset of a cell, with its activation."""
    preset = PRESETS[at.get("preset") or config["preset"]]
    activation = at.get("activation") or config.get("activation", preset.activation)
    return dataclasses.replace(preset, activation=activation)


def descend(setting: Setting, grid: DepthGrid, at: Mapping, config: Mapping, **options):
    """Gradient descent of the paper, Eq. (30), on any grid, from one of the starts."""
    start = {"clipped": "tied", "trained maps": "tied"}.get(at["start"], at["start"])
    problem = setting.problem(
        at["seed"],
        clip=config["clip"] if at["start"] == "clipped" else math.inf,
        has_trained_maps=at["start"] == "trained maps",
    )
    found = solve(
        problem,
        grid,
        setting.start(grid, start, at["seed"]),
        s_end=setting.s_end,
        stepper="euler",
        ds=setting.ds,
        **options,
    )
    if not found.converged:
        raise NotFiniteError(found.message)
    return found


class Preset(Experiment):
    """What the experiments with presets share."""

    def problems(self, config):
        """Return a sentence for everything that is wrong with the configuration."""
        found = super().problems(config)
        names = config.get("presets") or [config["preset"]]
        for name in sorted(set(names) - set(PRESETS)):
            found.append(f"`presets` must be of {', '.join(PRESETS)}, got {name!r}.")
        starts = (*STARTS, "clipped", "trained maps")
        for name in sorted(set(config.get("starts", [])) - set(starts)):
            found.append(f"`starts` must be of {', '.join(starts)}, got {name!r}.")
        return found

    def time_maps(self, config) -> list[str]:
        """Return the time map of every preset, Eq. (30)."""
        names = config.get("presets") or [config["preset"]]
        return [f"{name}: {PRESETS[name].time_map}" for name in names]

    def lines(self, table, *axes):
        """Yield labels and coordinates of all combinations of some axes."""
        for values in itertools.product(*(table.axes[axis] for axis in axes)):
            yield ", ".join(map(str, values)), dict(zip(axes, values, strict=True))


class Smoothness(Preset):
    """Largest distance of neighbouring layers, through training."""

    name = "smoothness"
    title = "Neighbouring layers stay O(1/L) apart through training"
    shows = (
        "The largest distance of the weights of neighbouring layers falls like 1/L at "
        "all s if they start tied or along smooth paths, not if layers are drawn apart."
    )
    leaves_out = "Other data, and depths beyond those of the figure."
    rows = (11,)
    defaults = {
        "presets": ["large-depth", "large-depth-script"],
        "activations": ["gelu", "tanh"],
        "starts": ["tied", "lipschitz", "clipped", "layer"],
        "depths": [8, 16, 32, 64],
        "seeds": 3,
        "first_seed": 0,
        "clip": 0.05,
        "confidence": 0.95,
        "tolerance": 0.05,
    }
    quick = {"presets": ["small"], "depths": [8, 16, 32], "seeds": 4}
    grid = {
        "preset": "presets",
        "activation": "activations",
        "start": "starts",
        "depth": "depths",
        "seed": "seeds",
    }
    measured = {
        "largest": Variable(("share",), "largest distance of neighbours"),
        "rms": Variable(("share",), "rms distance of neighbours"),
        "script": Variable(("share",), "root of the sum of squares over layers"),
    }
    positive = ("depths", "clip")

    def further_axes(self, config):
        """Return the shares of the training time."""
        return {"share": np.linspace(0.0, 1.0, N_RECORDS + 1).tolist()}

    def cost(self, at, config):
        """Return layers times the size of a layer."""
        setting = setting_of(at, config)
        return at["depth"] * setting.n_particles * setting.n_samples

    def cell(self, at, config, references):
        """Train one network and follow the distances of its neighbouring layers."""
        setting = setting_of(at, config)
        found = descend(
            setting,
            DepthGrid.euler(at["depth"]),
            at,
            config,
            record=np.linspace(0.0, setting.s_end, N_RECORDS + 1),
            observers={"steps": layer_steps},
        )
        return dict(zip(self.measured, found.observations["steps"].T, strict=True))

    def analyse(self, table, config):
        """Fit exponents in L of the distances, maximised over s and at some s."""
        depths, verdicts, panels = table.axes["depth"], [], []
        options = {"confidence": config["confidence"]}
        for label, at in self.lines(table, "preset", "activation"):
            entries, fits = {}, {}
            for start in config["starts"]:
                chosen = table.select(start=start, **at)
                largest = chosen["largest"]
                times = {"max over s": largest.max(axis=-1)}
                times["s = end/10"] = largest[..., N_RECORDS // 10]
                rms, script = chosen["rms"][..., -1], chosen["script"][..., -1]
                entries[start] = (depths, *centre(times["max over s"]))
                fits[start] = fit_asymptotic_power(
                    depths, times["max over s"], **options
                )
                if start == "layer":
                    fit = fit_asymptotic_power(depths, rms, **options)
                    verdicts += [
                        self.verdict(f"{label}: i.i.d., no decay, rms", 0.0, fit, config),
                        judge_below(
                            f"{label}: i.i.d., decay of the maximum",
                            0.25,
                            fits[start].exponent,
                            fits[start].exponent_interval,
                            row=11,
                        ),
                    ]
                    continue
                for when, values in times.items():
                    fit = fit_asymptotic_power(depths, values, **options)
                    claim = f"{label}: {start}, {when}"
                    verdicts.append(self.verdict(claim, 1.0, fit, config))
                if start == "tied":
                    fit = fit_asymptotic_power(depths, script, **options)
                    claim = f"{label}: root of the sum of squares instead"
                    verdicts.append(self.verdict(claim, 0.5, fit, config, row=None))
            panels.append(
                curves(
                    label, "L", "largest |theta[l+1] - theta[l]|", entries, fits=fits
                )
            )
        return Report(verdicts, self.time_maps(config), {self.name: panels})

    def verdict(self, claim, expected, fit, config, row=11):
        """Judge an exponent."""
        return judge(
            f"Decay exponent in L, {claim}",
            expected,
            fit.exponent,
            fit.exponent_interval,
            config["tolerance"],
            row=row,
        )


class Kink(Experiment):
    """The counter-example with ReLU: odd layers stay, even ones move."""

    name = "kink"
    title = "With ReLU neighbouring layers part, independently of L"
    shows = (
        "d = 1, 2L layers h + ReLU(w h)/(2L), w = (-1)^l/(2L) at s = 0, one datum "
        "(1, C): trained neighbours end 2 ln C apart; smooth activations keep 1/L."
    )
    leaves_out = "ReLU networks in general: this start is made for the purpose."
    rows = (11,)
    defaults = {
        "activations": ["relu", "tanh", "gelu"],
        "depths": [4, 8, 16, 32, 64],
        "target": 2.0,
        "s_end": 40.0,
        "tolerance": 0.05,
    }
    grid = {"activation": "activations", "depth": "depths"}
    measured = {"distance": "largest distance of neighbours", "loss": "loss"}
    positive = ("depths", "target", "s_end")

    def cell(self, at, config, references):
        """Train one network of 2L layers to the end."""
        n = 2 * at["depth"]
        theta = np.ones((n, 1, 2))
        theta[:, 0, 0] = (-1.0) ** np.arange(n) / n
        problem = MeanFieldProblem(
            [1.0],
            [config["target"]],
            Perceptron(1, at["activation"], bias=False),
            metric=[1.0, 0.0],
        )
        grid, s_end = DepthGrid.euler(n), config["s_end"]
        start = ParticleEnsemble(theta)
        found = solve(problem, grid, start, s_end=s_end, rtol=1e-8, atol=1e-10)
        if not found.converged:
            raise NotFiniteError(found.message)
        distance = np.abs(np.diff(found.ensemble.theta[:, 0, 0])).max()
        return {"distance": distance, "loss": found.loss[-1]}

    def analyse(self, table, config):
        """Fit exponents; the limit of the distance with ReLU is 2 ln C."""
        depths, tolerance, verdicts, entries = table.axes["depth"], config["tolerance"], [], {}
        for activation in config["activations"]:
            distance = table.select(activation=activation)["distance"]
            entries[activation] = (depths, distance)
            fit = fit_asymptotic_power(depths, distance)
            expected = 0.0 if activation == "relu" else 1.0
            verdicts.append(
                judge(
                    f"Decay exponent in L of the end distance, {activation}",
                    expected,
                    fit.exponent,
                    fit.exponent_interval,
                    tolerance,
                    row=11,
                )
            )
            if activation == "relu":
                # Richardson: the next term is 1/L.
                limits = 2.0 * distance[1:] - distance[:-1]
                interval = refinement_interval(limits[-1], limits[-2])
                exact = 2.0 * math.log(config["target"])
                claim = "ReLU: distance of neighbours as L grows, 2 ln C"
                verdicts.append(
                    judge(claim, exact, limits[-1], interval, tolerance, row=11)
                )
        panel = curves("C = 2 ln C", "L", "end distance of neighbours", entries)
        return Report(verdicts, figures={self.name: [panel]})


class Limit(Preset):
    """Weights, outputs and trained maps against the limit in depth."""

    name = "limit"
    title = "Weights and outputs tend to those of a neural ODE like 1/L"
    shows = (
        "L2(0, 1) distance of the interpolated weights, and rms distance of the "
        "outputs, from the limit in depth at the same s: slope -1 at each s."
    )
    leaves_out = "M is fixed: nothing is said of wide networks."
    rows = (12,)
    defaults = {
        "presets": ["large-depth", "large-depth-script"],
        "activation": "gelu",
        "starts": ["tied", "lipschitz", "clipped", "trained maps"],
        "depths": [8, 16, 32, 64],
        "seeds": 2,
        "first_seed": 0,
        "clip": 0.05,
        "nodes": 8,
        "confidence": 0.95,
        "tolerance": 0.05,
    }
    quick = {"presets": ["small"], "depths": [8, 16, 32], "seeds": 4}
    grid = {"preset": "presets", "start": "starts", "depth": "depths", "seed": "seeds"}
    measured = {
        "weights": Variable(("share",), "L2(0, 1) distance of the weights"),
        "output": Variable(("share",), "rms distance of the outputs"),
        "maps": Variable(("share",), "distance of embedding and readout"),
        "reference": "distance of two references with different nodes",
    }
    positive = ("depths", "clip", "nodes")

    def further_axes(self, config):
        """Return the shares of the training time."""
        return {"share": SHARES}

    def needs(self, at, config):
        """Return the limit of this start and seed."""
        return (f"{at['preset']}_{at['start'].replace(' ', '-')}_{at['seed']}",)

    def references(self, config):
        """Return every preset, start and seed."""
        axes = self.grid_axes(config) | {"depth": [0]}
        cells = (dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values()))
        return {self.needs(at, config)[0]: at for at in cells}

    def run(self, grid, at, config):
        """Train on a grid; theta, outputs and maps at the recorded s."""
        setting = setting_of(at, config)
        times = setting.s_end * np.array(SHARES)
        observers = {"output": output}
        found = descend(
            setting, grid, at, config, record=times, snapshots=times, observers=observers
        )
        maps = [m.reshape(len(times), -1) for m in found.maps.values()]
        maps = np.concatenate(maps, axis=1) if maps else np.zeros((len(times), 0))
        return {"theta": found.theta, "output": found.observations["output"], "maps": maps}

    def refer(self, name, config):
        """Solve by Gauss collocation in depth, twice: spectral, no deeper network."""
        at, n = self.references(config)[name], config["nodes"]
        grid, coarse = DepthGrid.gauss(n), DepthGrid.gauss(max(2, n - 2))
        found, other = (self.run(each, at, config) for each in (grid, coarse))
        error = root_mean_square(found["output"] - other["output"], np.full(
            found["output"].shape[1], 1.0 / found["output"].shape[1])).max()
        return found | {"error": error}

    def cell(self, at, config, references):
        """Train one network and compare it with its limit."""
        limit = references[self.needs(at, config)[0]]
        grid, ideal = DepthGrid.euler(at["depth"]), DepthGrid.gauss(config["nodes"])
        found = self.run(grid, at, config)
        difference = found["output"] - limit["output"]
        pairs = zip(found["theta"], limit["theta"], strict=True)
        return {
            "weights": [path_distance(a, grid.nodes, b, ideal.nodes) for a, b in pairs],
            "output": np.sqrt(np.mean(np.sum(difference**2, axis=2), axis=1)),
            "maps": np.sqrt(np.sum((found["maps"] - limit["maps"]) ** 2, axis=1)),
            "reference": limit["error"],
        }

    def analyse(self, table, config):
        """Fit exponents in L at each s."""
        depths, verdicts, panels = table.axes["depth"], [], []
        for label, at in self.lines(table, "preset", "start"):
            chosen, entries, fits = table.select(**at), {}, {}
            for what, (i, share) in itertools.product(
                ("weights", "output", "maps"), enumerate(SHARES)
            ):
                values = chosen[what][..., i]
                is_start = share == 0.0 and (what != "output" or "lipschitz" not in label)
                if is_start or (what == "maps" and "maps" not in label):
                    continue
                fit = fit_asymptotic_power(
                    depths, values, confidence=config["confidence"]
                )
                claim = f"Order in 1/L, {label}: {what}, s = {share:g} s_end"
                verdicts.append(
                    judge(
                        claim,
                        1.0,
                        fit.exponent,
                        fit.exponent_interval,
                        config["tolerance"],
                        row=12,
                    )
                )
                if share in (SHARES[1], 1.0):
                    entries[f"{what}, {share:g} s_end"] = (depths, *centre(values))
                    fits[f"{what}, {share:g} s_end"] = fit
            panels.append(curves(label, "L", "distance from the limit", entries, fits=fits))
        smallest = np.nanmin(table["output"][..., 1:])
        share = np.nanmax(table["reference"]) / smallest
        texts = [f"References differ by {share:.1e} of the smallest distance of outputs."]
        return Report(verdicts, self.time_maps(config) + texts, {self.name: panels})


class LongTime(Preset):
    """Zero loss at long times: the ratio D/E along s, and its lower bound."""

    name = "long-time"
    title = "The loss falls exponentially at a rate that does not depend on L"
    shows = (
        "ln E falls linearly to rounding at a rate independent of L; D/E stays above "
        "2 lambda_min of the tangent kernel along the flow, the local PL constant."
    )
    leaves_out = "Labels are small: far from the start nothing is promised."
    rows = (11, 13)
    defaults = {
        "preset": "zero-loss",
        "activations": ["gelu", "tanh"],
        "depths": [2, 4, 8, 16, 32, 64],
        "seeds": 8,
        "first_seed": 0,
        "labels": 0.1,
        "fall": 1e-8,
        "most_outputs": 100,
        "confidence": 0.95,
        "tolerance": 0.05,
    }
    quick = {"depths": [4, 8, 16], "seeds": 4, "activations": ["gelu"]}
    grid = {"activation": "activations", "depth": "depths", "seed": "seeds"}
    measured = {
        "loss": Variable(("share",), "loss"),
        "least": "least D/E along the flow",
        "rate": "rate of ln E in the second half of its fall",
        "constant": "least 2 lambda_min of the tangent kernel along the flow",
        "margin": "least (D/E) / (2 lambda_min) along the flow",
        "largest": "largest distance of neighbours along the flow",
    }
    positive = ("depths", "labels", "fall")

    def further_axes(self, config):
        """Return the shares of the training time."""
        return {"share": np.linspace(0.0, 1.0, 2 * N_RECORDS + 1).tolist()}

    def cell(self, at, config, references):
        """Train one network for long."""
        setting = setting_of(at, config)
        problem, grid = setting.problem(at["seed"], labels=config["labels"]), DepthGrid.euler(at["depth"])
        times = setting.s_end * np.array(self.further_axes(config)["share"])
        found = solve(
            problem,
            grid,
            setting.start(grid, "tied", at["seed"]),
            s_end=setting.s_end,
            stepper="auto",
            rtol=1e-6,
            atol=1e-12,
            record=times,
            snapshots=times[::N_RECORDS],
        )
        if not found.converged:
            raise NotFiniteError(found.message)
        loss, ratio = found.loss, found.dissipation / found.loss
        # Below that rounding and the tolerance of the steps are seen.
        is_seen = loss > 1e-14 * loss[0]
        n = int(is_seen.sum())
        late = slice(n // 2, n)
        row = {
            "loss": loss,
            "least": ratio[is_seen].min(),
            "rate": -np.polyfit(found.s[late], np.log(loss[late]), 1)[0],
            "largest": found.scalars["depth_roughness"].max() / at["depth"],
        }
        if problem.n_samples * problem.q <= config["most_outputs"]:
            kernels = (
                tangent_kernel(found.problem, grid, ParticleEnsemble(theta))
                for theta in found.theta
            )
            rates = np.array([late_rate(kernel) for kernel in kernels])
            row["constant"] = rates.min()
            margins = (ratio / 1.0)[::N_RECORDS] / rates
            row["margin"] = margins[is_seen[::N_RECORDS]].min()
        return row

