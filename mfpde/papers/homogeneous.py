"""Homogeneous blocks (Ding, Chen, Li, Wright 2021b): theory, 5.8, rows 4 and 5."""

from __future__ import annotations

import numpy as np

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.papers import obstructions
from mfpde.papers.flows import OverTime, late_rates, over_seeds
from mfpde.papers.identities import Identities
from mfpde.papers.infima import judge_for_ever, judge_infimum
from mfpde.papers.polygons import POLYGON, PolygonSteps, block_lists, polygon
from mfpde.papers.separating import separating_support, support_problem
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Steps
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves, traces
from mfpde.studies.judging import judge, judge_all
from mfpde.studies.orders import resolved_if_all
from mfpde.studies.report import Report
from mfpde.studies.study import Variable

GOAL = 1e-8
"""The loss that counts as zero, row 4."""
SEEDS = {"seeds": 16, "first_seed": 0, "confidence": 0.99}
IN_S = ("s",)
LOSS = ("Loss (median, quartiles)", "training time s", "E")
HELD = "the last value is drawn on after the end of a run"


class ZeroLoss(OverTime):
    """Row 4: zero loss and the late rate, for (H2) and (H1)."""

    name, claims = "zero-loss", (4,)
    title = "Zero loss with homogeneous blocks"
    description = (
        "The loss falls to zero from draws of a wide law, at the end at the rate "
        "2 lambda_min of the tangent kernel, Eq. (27)."
    )
    limitations = (
        "That the flow converges is seen, not proved. Steps in which E rises are "
        "refused: of descent see `steps`."
    )
    defaults = POLYGON | {
        "s_end": 1024.0,
        "rtol": 1e-9,
        # Steps to rtol spoil the late rate by about rtol / sqrt(E).
        "below": 1e-12,
        "tolerance": 0.01,
        **SEEDS,
    }
    quick = {"seeds": 8}
    grid = {"block": "blocks", "seed": "seeds"}
    checks = {"blocks": obstructions.block_problem}
    measured = {
        "loss": Variable(IN_S, "loss"),
        "end": "loss at the end",
        "rate": "late rate of the slowest mode of the loss, over 2 lambda_min",
        "wide": "the same, from a longer time before the end",
        "whole": "late rate of the loss itself, over 2 lambda_min",
    }

    def problems(self, config):
        """As every experiment; radii and stds belong to the blocks."""
        return super().problems(config) + block_lists(config)

    def cell(self, at, config, references):
        """Train on the corners of a polygon until the loss is far below the goal."""
        found = self.flow(
            *polygon(at, config),
            config,
            record=Steps(1),
            loss_below=config["below"],
            observers={"residual": lambda ev: (ev.output - ev.problem.y).ravel()},
        )
        return late_rates(found, found.observations["residual"]) | {
            "loss": self.held(config, found, "loss"),
            "end": found.loss[-1],
        }

    def analyse(self, table, config):
        """Judge row 4."""
        table, verdicts = table.finite(), []
        for name in config["blocks"]:
            at = table.select(block=name)
            claim = f"{name}: late rate of the slowest mode of E, over 2 lambda_min"
            rate = over_seeds(at["rate"], config, [at["wide"]])
            late = judge(claim, 1.0, *rate, config["tolerance"], row=4)
            verdicts += [
                judge_all(f"{name}: E <= {GOAL:g}", at["end"] <= GOAL, row=4),
                resolved_if_all(late, np.isfinite(at["rate"])),
            ]
        ranks = np.arange(1.0, 1.0 + len(table.axes["seed"]))
        by_rank = {
            obstructions.label(n): (ranks, np.sort(table.select(block=n)["whole"]))
            for n in config["blocks"]
        }
        labels = ("Late rate of E", "rank of the draw", r"rate / (2 $\lambda_{min}$)")
        options = {"bounds": {"limit": (ranks, np.ones_like(ranks))}}
        options |= {"xscale": "linear", "yscale": "linear"}
        options |= {"note": "faster modes, too; the verdicts are on the slowest"}
        rates = curves(*labels, by_rank, **options)
        medians = self.medians(table, "loss", "block", obstructions.label)
        loss = traces(*LOSS, medians, note=HELD)
        return Report(verdicts, figures={self.name: [loss, rates]})


class Separation(OverTime):
    """Row 5: a support that separates does so for ever, and the loss gets to zero."""

    name, claims = "separation", (5,)
    title = "Separation of the support along the flow"
    description = (
        "Curves and sheets of particles keep their winding numbers while E falls to "
        "zero; angles between neighbours say how far they were stretched."
    )
    limitations = (
        "d = 1 only, where curves and sheets of particles can be counted; a sheet is a "
        "piece of an infinite one."
    )
    defaults = {
        "supports": ["circle", "joined circles", "sheet"],
        "points": 16,
        "depth": 6,
        "s_end": 256.0,
        "rtol": 1e-6,
        **SEEDS,
    }
    quick = {"seeds": 8}
    grid = {"support": "supports", "seed": "seeds"}
    checks = {"supports": support_problem}
    measured = {
        "loss": Variable(IN_S, "loss"),
        "kept": Variable(IN_S, "share of winding numbers that are one"),
        "gap": Variable(IN_S, "largest angle between neighbours", "radians"),
    }

    def cell(self, at, config, references):
        """Train on two samples whose order is kept."""
        rng, grid = np.random.default_rng(at["seed"]), DepthGrid.euler(config["depth"])
        kind = at["support"]
        block, theta, track = separating_support(kind, config["points"], grid.nodes)
        scale = 4.0 if kind == "sheet" else 1.0
        x = scale * (np.array([[-0.5], [0.5]]) + 0.1 * rng.normal(size=(2, 1)))
        y = x + scale * rng.uniform(0.1, 0.4, size=(2, 1))
        observers = {
            "kept": lambda ev: np.mean(track(ev.ensemble.theta)[0] == 1),
            "gap": lambda ev: np.max(track(ev.ensemble.theta)[1]),
        }
        options = {"observers": observers, "loss_below": 1e-2 * GOAL}
        problem, start = MeanFieldProblem(x, y, block), ParticleEnsemble(theta)
        found = self.flow(problem, grid, start, config, **options)
        return {name: self.held(config, found, name) for name in self.measured}

    def analyse(self, table, config):
        """Judge what row 5 says of supports that separate."""
        table, verdicts = table.finite(), []
        for kind in config["supports"]:
            at = table.select(support=kind)
            kept = np.all((at["kept"] == 1.0) & (at["gap"] < np.pi), axis=1)
            zero = at["loss"][:, -1] <= GOAL
            verdicts += [
                judge_all(f"{kind}: the support separates at all s", kept, row=5),
                judge_all(f"{kind}: E <= {GOAL:g}", zero, row=5),
            ]
        loss = traces(*LOSS, self.medians(table, "loss", "support"), note=HELD)
        labels = ("Largest angle between neighbours", "training time s", "radians")
        gaps = traces(*labels, self.medians(table, "gap", "support"), yscale="linear")
        return Report(verdicts, figures={self.name: [loss, gaps]})


class Obstructions(OverTime):
    """Row 5: infima that are not zero, and what takes the obstruction away."""

    name, claims = "obstructions", (5,)
    title = "Where zero loss cannot be reached"
    description = (
        "The loss against the infimum of section 5.7: stalled at it, or falling to it "
        "for ever while M2 grows; and zero loss where nothing is in the way."
    )
    limitations = (
        "Limits for s to infinity are extrapolated from finite s. An M2 that tends to "
        "a limit more slowly than s^(-1/4) would pass for one that grows."
    )
    defaults = {
        "cases": list(obstructions.CASES),
        "s_end": 512.0,
        "rtol": 1e-7,
        "tolerance": 0.01,
        **SEEDS,
    }
    quick = {"seeds": 8, "s_end": 256.0}
    grid = {"case": "cases", "seed": "seeds"}
    checks = {"cases": obstructions.case_problem}
    measured = {
        "loss": Variable(IN_S, "loss"),
        "second_moment": Variable(IN_S, "M2 of Eq. (12)"),
        "reach": Variable(IN_S, "what goes to zero with the loss minus its infimum"),
        "infimum": "infimum of the loss",
    }

    def cell(self, at, config, references):
        """Train a case; one that nothing obstructs until its loss counts as zero."""
        case = obstructions.obstruction(at["case"], at["seed"])
        options = {"observers": {"reach": lambda ev: case.reach(ev.z_end)}}
        if not case.infimum:
            options["loss_below"] = 1e-2 * GOAL
        found = self.flow(case.problem, case.grid, case.start, config, **options)
        names = [name for name in self.measured if name != "infimum"]
        held = {name: self.held(config, found, name) for name in names}
        return held | {"infimum": case.infimum}

    def analyse(self, table, config):
        """Judge what row 5 says of section 5.7."""
        table, verdicts, s = table.finite(), [], np.array(table.axes["s"])
        excess, moments, stalled, free = {}, {}, {}, {}
        for case in config["cases"]:
            at, kind = table.select(case=case), case.split()[0]
            name, loss = obstructions.label(case), at["loss"][:, 1:]
            if kind in obstructions.FREE:
                zero = loss[:, -1] <= GOAL
                verdicts.append(judge_all(f"{case}: E <= {GOAL:g}", zero, row=5))
                free[name] = (s[1:], *centre(loss.T))
                continue
            ratio = loss / at["infimum"][:, np.newaxis]
            verdicts += judge_infimum(case, ratio, config)
            if kind in obstructions.UNATTAINED:
                verdicts += judge_for_ever(case, s, at, config)
                excess[name] = (s[1:], *centre((ratio - 1.0).T))
                moments[name] = (s[1:], *centre(at["second_moment"][:, 1:].T))
            else:
                stalled[name] = (s[1:], *centre(ratio.T))
        time, linear = "training time s", {"yscale": "linear"}
        falling = traces("Not attained", time, "E / infimum - 1", excess)
        growing = traces("Not attained: M2", time, "M2", moments, **linear)
        note = "laws of one atom and dead ones lie on 1"
        stalls = traces("Stalled", time, "E / infimum", stalled, note=note, **linear)
        zero = traces("Nothing in the way", time, "E", free, note=HELD)
        pages = {self.name: [falling, growing], "stalled": [stalls, zero]}
        pages = {name: [p for p in pages[name] if p.series] for name in pages}
        return Report(verdicts, figures={name: p for name, p in pages.items() if p})


STUDY = Collection(
    "homogeneous",
    "Homogeneous blocks: zero loss, and where its hypotheses fail",
    (ZeroLoss(), PolygonSteps(), Separation(), Obstructions(), Identities()),
    paper="Ding, Chen, Li, Wright 2021, arXiv 2110.02926",
    whole="all",
)
