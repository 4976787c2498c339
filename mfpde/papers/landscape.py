"""Points of rest of the flow, and ways down from them (theory, 5.8, row 8)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis.asymptotic import refinement_interval
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import evaluate
from mfpde.papers.ends import finished
from mfpde.problem import MeanFieldProblem
from mfpde.run.solver import solve
from mfpde.studies.curves import scatter
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.report import Report, Verdict
from mfpde.studies.study import Variable
from mfpde.studies.table import Table
from mfpde.theory.landscape import escape

Array = NDArray[Any]


class Landscape(Experiment):
    """Row 8: from points of rest with E > eps there is a way down, and E takes it."""

    name = "landscape"
    title = "Ways down from points of rest"
    description = (
        "What E changes by when a little mass moves along the best direction found at "
        "a depth, over its slope by the first variation (5); and E after the flow went "
        "on from a point of rest perturbed along them, relative to E there."
    )
    limitations = (
        "Points of rest: all mass at theta = 0, and one particle a layer trained until "
        "it is steady. Others, and the time until E is zero, are not tried."
    )
    claims = (8,)
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
        "masses": [1e-5, 5e-6],
        "tolerance": 0.01,
        "mass": 0.1,
        "s_end": 100.0,
        "eps": 1e-2,
        "least_fall": 0.01,
    }
    quick = {"sizes": [2, 3], "seeds": 2, "s_end": 50.0}
    grid = {"start": "starts", "d": "sizes", "n": "n_samples", "seed": "seeds"}
    analysis_keys = ("eps", "least_fall", "tolerance")
    known = {"starts": ("dirac", "narrow")}
    measured = {
        "slope": Variable(("node",), "int dE/drho(., t0) dnu of the best direction"),
        "change": Variable(
            ("node", "mass"), "change of E along it, over the mass and the step"
        ),
        "rest": "E at the point of rest",
        "control": "E when the flow has gone on from there",
        "started": "E of the perturbed law",
        "moved": "E when the flow has gone on from there",
    }
    positive = (
        "n_nodes",
        "narrow_s",
        "steady",
        "cloud",
        "masses",
        "mass",
        "s_end",
        "eps",
    )

    def problems(self, config: Any) -> list[str]:
        """Also of the starts."""
        found, masses = super().problems(config), config["masses"]
        is_right = not found
        if len(masses) != 2 or not 1.0 > masses[0] > masses[1]:
            found.append(f"`masses` must be two, below 1 and falling, got {masses}.")
        if is_right and "dirac" in config["starts"] and self._moves(config):
            found.append(
                "`starts` must not hold dirac for an activation with sigma(0) != 0, "
                f"got {config['activation']!r}: all mass at 0 is no point of rest."
            )
        return found

    @staticmethod
    def _moves(config: Any) -> bool:
        """Whether particles at theta = 0 move for some data."""
        problem = MeanFieldProblem(
            [[1.0]], [[2.0]], Perceptron(1, config["activation"])
        )
        start = ParticleEnsemble(np.zeros((1, 1, problem.k)))
        return bool(evaluate(problem, DepthGrid.euler(1), start).velocity.any())

    def further_axes(self, config: Any) -> dict[str, list]:
        """Depth nodes t0, and masses moved there."""
        return {"node": list(range(config["n_nodes"])), "mass": config["masses"]}

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
            found = solve.quietly(
                problem, grid, start, s_end=s_end, rtol=1e-4, **options
            )
            finished(found)
            start = found.ensemble
        cloud = rng.normal(size=(config["cloud"], problem.k))
        options = {name: config[name] for name in ("mass", "masses", "s_end")}
        found = escape(problem, grid, start, cloud, **options)
        names = ("rest", "control", "started", "moved")
        measured = {"slope": found.slopes, "change": found.changes}
        return measured | {name: getattr(found, name) for name in names}

    def analyse(self, table: Any, config: Any) -> Report:
        """Whether each point of rest has its way down, and whether E takes it."""
        table = table.finite()
        verdicts, shown, ratios = [], {}, {}
        for start in table.axes["start"]:
            part = table.select(start=start)
            rest = part["rest"]
            # What goes on falling by itself is no point of rest.
            falls = rest - part["control"] > config["least_fall"] * rest
            above = (rest > config["eps"]) & ~falls
            found = _judged(start, part, above, config)
            n_lost = int((np.isnan(rest) | falls).sum())
            if n_lost:
                note = f"{n_lost} of {rest.size} runs diverged or had no rest."
                changes = {"verdict": "not resolved", "note": note}
                found = [dataclasses.replace(each, **changes) for each in found]
            verdicts += found
            distant = np.abs(_shares(part)[above][..., -1] - 1.0).max(axis=-1)
            shown[start] = (rest[above], distant)
            for name, key in (("perturbed", "moved"), ("not perturbed", "control")):
                values = (part[key] / rest)[above]
                ratios[f"{start}, {name}"] = (rest[above], values)
        log, label = {"xscale": "log"}, "E at rest"
        title = f"Mass {config['masses'][-1]:g} moved at one depth"
        ylabel = "|change of E / slope - 1|, farthest"
        slopes = scatter(title, label, ylabel, shown, **log, yscale="log")
        title = f"After the flow went on for s = {config['s_end']:g}"
        ends = scatter(title, label, "E / E at rest", ratios, **log)
        n_left = int((table["rest"] <= config["eps"]).sum())
        text = f"Points of rest with E <= {config['eps']:g}, left out: {n_left}."
        return Report(verdicts, [text], {self.name: [slopes, ends]})


def _shares(part: Table) -> Array:
    """Change of E over its first order (d, n, seed, node, mass)."""
    return part["change"] / part["slope"][..., np.newaxis]


def _judged(start: str, part: Table, above: Array, config: Any) -> list[Verdict]:
    """E along the best directions, the same by its first order, and by the flow."""
    holds = (part["change"][above][..., -1] < 0.0).all(axis=-1)
    claim = f"{start}: a little mass moved lowers E at every depth t0"
    verdicts = [judge_all(claim, holds, row=8)]
    coarse, fine = _shares(part)[above].reshape(-1, 2).T
    if len(fine):
        first, second = config["masses"]
        limits = (first * fine - second * coarse) / (first - second)
        worst = np.argmax(np.abs(limits - 1.0))
        # E is smooth in m: the line through both masses errs at second order.
        ends = refinement_interval(float(fine[worst]), float(coarse[worst]))
        claim = f"{start}: change of E / (5) as the mass -> 0, farthest from 1"
        value, tolerance = float(limits[worst]), config["tolerance"]
        verdicts.append(judge(claim, 1.0, value, ends, tolerance, row=8))
    rest, control = part["rest"][above], part["control"][above]
    # What the perturbation itself changes is no fall, and no rise to fall from.
    fall = np.minimum(rest, part["started"][above]) - part["moved"][above]
    holds = fall - (rest - control) >= config["least_fall"] * rest
    claim = f"{start}: perturbed, E falls by {config['least_fall']:.0%} more"
    return [*verdicts, judge_all(claim, holds, row=8)]
