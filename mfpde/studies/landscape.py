"""Points of rest of the flow, and ways down from them (theory, 5.8, row 8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.landscape import escape
from mfpde.problem import MeanFieldProblem
from mfpde.solver import solve
from mfpde.studies.curves import scatter
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge_all
from mfpde.studies.report import Report
from mfpde.studies.study import Variable


class Landscape(Experiment):
    """Row 8: from points of rest with E > eps there is a way down, and E takes it."""

    name = "landscape"
    title = "Ways down from points of rest"
    shows = (
        "The slope of E along the best direction found at each depth, and E after the "
        "flow went on from the perturbed point of rest, relative to E there."
    )
    leaves_out = (
        "Points of rest: all mass at theta = 0, and one particle a layer trained until "
        "it is steady. Others, and the time until E is zero, are not tried."
    )
    rows = (8,)
    defaults = {
        "starts": ["dirac", "narrow"],
        "sizes": [2, 3, 4],
        "n_samples": [24, 48],
        "seeds": 5,
        "first_seed": 0,
        "activation": "tanh",
        "n_nodes": 2,
        "narrow_s": 1000.0,
        "steady": 1e-3,
        "cloud": 32,
        "reaches": [1.0, 10.0, 100.0],
        "mass": 0.1,
        "s_end": 100.0,
        "eps": 1e-2,
        "least_fall": 0.01,
    }
    quick = {"sizes": [2, 3], "seeds": 2, "s_end": 50.0}
    grid = {"start": "starts", "d": "sizes", "n": "n_samples", "seed": "seeds"}
    analysis_keys = ("eps", "least_fall")
    measured = {
        "slope": Variable(("node",), "int dE/drho(., t0) dnu of the best direction"),
        "rest": "E at the point of rest",
        "control": "E when the flow has gone on from there",
        "moved": "E when it has gone on from the perturbed law",
    }
    positive = (
        "n_nodes",
        "narrow_s",
        "steady",
        "cloud",
        "reaches",
        "mass",
        "s_end",
        "eps",
    )

    def problems(self, config: Any) -> list[str]:
        """Also of the starts."""
        unknown = [s for s in config["starts"] if s not in ("dirac", "narrow")]
        more = [f"`starts` must be of dirac, narrow, got {unknown}."] if unknown else []
        return super().problems(config) + more

    def further_axes(self, config: Any) -> dict[str, list]:
        """Depth nodes t0."""
        return {"node": list(range(config["n_nodes"]))}

    def cell(self, at: Any, config: Any, references: Any) -> dict[str, Any]:
        """Normal inputs and targets, a point of rest, a cloud of normal particles."""
        rng = np.random.default_rng([at["seed"], at["d"], at["n"]])
        x, y = rng.normal(size=(2, at["n"], at["d"]))
        problem = MeanFieldProblem(x, y, Perceptron(at["d"], config["activation"]))
        grid = DepthGrid.euler(config["n_nodes"])
        theta = np.zeros((grid.n_nodes, 1, problem.k))
        start = ParticleEnsemble(theta)
        if at["start"] == "narrow":
            start = ParticleEnsemble(0.5 * rng.normal(size=theta.shape))
            options = {"stepper": "auto", "steady_state": config["steady"]}
            s_end = config["narrow_s"]
            found = solve(problem, grid, start, s_end=s_end, rtol=1e-4, **options)
            if found.status != "finished":
                raise NotFiniteError(found.message)
            start = found.ensemble
        cloud = rng.normal(size=(config["cloud"], problem.k))
        # Large v, too: dE/drho is linear in it.
        v = np.zeros(problem.k)
        v[problem.block.param_groups["v"]] = 1.0
        spread = [cloud * (1.0 - v + reach * v) for reach in config["reaches"]]
        options = {"mass": config["mass"], "s_end": config["s_end"]}
        found = escape(
            problem, grid, start, cloud, spread=np.concatenate(spread), **options
        )
        names = ("rest", "control", "moved")
        return {"slope": found.slopes} | {name: getattr(found, name) for name in names}

    def analyse(self, table: Any, config: Any) -> Report:
        """Whether each point of rest has its way down, and whether E takes it."""
        rest, moved, control = table["rest"], table["moved"], table["control"]
        verdicts, shown, ratios = [], {}, {}
        for i, start in enumerate(table.axes["start"]):
            above = rest[i] > config["eps"]
            holds = (table["slope"][i] < 0.0).all(axis=-1)[above]
            claim = f"{start}: a way down at every depth t0"
            verdicts.append(judge_all(claim, holds, row=8))
            fall = (control[i] - moved[i]) / rest[i]
            claim = f"{start}: perturbed, E falls by {config['least_fall']:.0%} more"
            verdicts.append(
                judge_all(claim, fall[above] >= config["least_fall"], row=8)
            )
            steepest = table["slope"][i].max(axis=-1)[above]
            shown[start] = (rest[i][above], -steepest)
            for name, values in (("perturbed", moved), ("not perturbed", control)):
                ratios[f"{start}, {name}"] = (
                    rest[i][above],
                    (values[i] / rest[i])[above],
                )
        log, label = {"xscale": "log"}, "E at rest"
        title = "Flattest of the best directions"
        slopes = scatter(title, label, "minus the slope", shown, **log, yscale="log")
        title = f"After the flow went on for s = {config['s_end']:g}"
        ends = scatter(title, label, "E / E at rest", ratios, **log)
        n_left = int((rest <= config["eps"]).sum())
        text = f"Points of rest with E <= {config['eps']:g}, left out: {n_left}."
        return Report(verdicts, [text], {self.name: [slopes, ends]})
