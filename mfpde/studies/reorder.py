"""Order of the blocks (theory, 1.4 and 5.8, rows 8 to 10; Lu et al. 2020)."""

from __future__ import annotations

import numpy as np

from mfpde.analysis import fit_asymptotic_power
from mfpde.analysis.asymptotic import refinement_interval
from mfpde.analysis.resampling import bootstrap
from mfpde.depth import DepthGrid
from mfpde.errors import NotFiniteError
from mfpde.joint import JointScheme, sample_joint, solve_joint
from mfpde.joint.lesions import block_check
from mfpde.recording import Every
from mfpde.shallow import compare_flows, scaled
from mfpde.studies.block_cases import CASES, COMMUTING, CaseExperiment
from mfpde.studies.cases import build_case
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves, traces
from mfpde.studies.judging import judge, judge_above, judge_all, judge_below
from mfpde.studies.landscape import Landscape
from mfpde.studies.report import Report
from mfpde.studies.study import Variable

ROUNDING = 1e-9
"""Losses that differ by less, relative to that at the start, are the same."""
COMMON = {"first_seed": 0, "confidence": 0.99, "cases": CASES}
CHATTER = (
    "With (19) pairs go on to change places to and fro around depths where their "
    "velocities meet; their number per step does not depend on ds."
)


def _order(claim, expected, fit, config):
    """Verdict of row 9 on an exponent."""
    ends = (fit.exponent, fit.exponent_interval, config["tolerance"])
    return judge(claim, expected, *ends, row=9)


class Commutators(CaseExperiment):
    """Row 9: blocks deleted and exchanged by hand, against Eqs. (5) and (20)."""

    name = "commutators"
    title = "Deleting and exchanging blocks of a trained network"
    shows = "How first variation and commutator tell what the loss will be, against n."
    leaves_out = "Small data; networks trained a little, with blocks cut in parts."
    rows = (9,)
    defaults = COMMON | {
        "used": ["spirals", "digits", "diagonal"],
        "blocks": [32, 64, 128, 256, 512],
        "seeds": 24,
        "s": 1.0,
        "ds": 0.1,
        "commuting": COMMUTING,
        "tolerance": 0.1,
    }
    quick = {"blocks": [32, 64, 128, 256], "seeds": 12}
    grid = {"case": "used", "n": "blocks", "seed": "seeds"}
    measured = {
        "exchange_error": "rms error of the commutator for n^2 (change of E), relative",
        "lesion_error": "rms error of the first variation, relative",
        "change": "change of E by many exchanges at once",
        "predicted": "the same by the sum of commutators, Eq. (20)",
        "shuffle": "|change of E| by a random order, relative to E",
    }
    positive = ("s", "ds")

    def problems(self, config):
        """Also of depths, which are those of one network with its blocks divided."""
        blocks = config["blocks"]
        is_right = blocks == sorted(blocks) and not any(n % blocks[0] for n in blocks)
        more = f"`blocks` must increase, all multiples of the first, got {blocks}."
        return super().problems(config) + ([] if is_right else [more])

    def cell(self, at, config, references):
        """Train a network a little, divide its blocks, delete and exchange some."""
        case, n = build_case(config, at["case"]), min(config["blocks"])
        block = case.problem.block
        start = sample_joint(case.law, n, seed=at["seed"], block=block)
        options = {"s_end": config["s"], "ds": config["ds"]}
        scheme = JointScheme(velocity="fixed")
        found = solve_joint(case.problem, start, scheme=scheme, **options)
        return block_check(case.problem, found.ensemble, at["n"] // n, seed=at["seed"])

    def analyse(self, table, config):
        """Orders in 1 / n, and the ratio of measured to predicted."""
        n, options = table.axes["n"], {"confidence": config["confidence"]}
        verdicts, fits, errors = [], {}, {}
        for name in table.axes["case"]:
            part = table.select(case=name)
            for kind, label in (("exchange", "exchanged"), ("lesion", "deleted")):
                if name in config["commuting"] and kind == "exchange":
                    continue
                values = part[f"{kind}_error"]
                fit = fit_asymptotic_power(n, values, **options)
                key = f"{name}, {label}"
                fits[key], errors[key] = fit, (n, *centre(values))
                claim = f"{key} blocks: order of the error in 1/n"
                verdicts.append(_order(claim, 1.0, fit, config))
            if name in config["commuting"]:
                holds = part["shuffle"] < ROUNDING
                claim = f"{name}: shuffling blocks that commute changes nothing"
                verdicts.append(judge_all(claim, holds, row=9))
                continue
            pairs = np.stack([part["change"][-1], part["predicted"][-1]], axis=1)
            value, ends = bootstrap(_slope, pairs, **options)
            claim = f"{name}: change of E by many exchanges at once / Eq. (20)"
            verdicts.append(judge(claim, 1.0, value, ends, config["tolerance"], row=9))
        title = "Blocks exchanged and deleted"
        panels = [curves(title, "blocks n", "relative error", errors, fits=fits)]
        return Report(verdicts, figures={self.name: panels})


def _slope(pairs):
    """Slope of the line through 0 by least squares; pairs (S, 2) are (y, x)."""
    return float(np.sum(pairs[:, 0] * pairs[:, 1]) / np.sum(pairs[:, 1] ** 2))


class ShallowEnsemble(CaseExperiment):
    """Row 9: f times eps against the two-layer network on the same particles."""

    name = "shallow"
    title = "Small blocks against the two-layer network"
    shows = "The gap of outputs during training falls like eps^2 (training time s/eps)."
    leaves_out = "The sharp constant is that of laws constant in depth."
    rows = (9,)
    defaults = COMMON | {
        "used": ["spirals", "digits"],
        "eps": [0.0125, 0.025, 0.05, 0.1],
        "seeds": 12,
        "times": [0.0, 0.5, 1.0, 2.0],
        "n_particles": 16,
        "n_nodes": 3,
        "tolerance": 0.1,
        "tolerance_constant": 0.01,
    }
    quick = {"eps": [0.025, 0.05, 0.1], "seeds": 4}
    grid = {"case": "used", "eps": "eps", "seed": "seeds"}
    analysis_keys = ("confidence", "tolerance", "tolerance_constant")
    measured = {
        "gap": Variable(("time",), "rms gap of z(1) to the two-layer flow"),
        "ratio": "rms gap at s = 0 over eps^2 times that of T8",
        "share": Variable(("time",), "largest gap over the bound (21)"),
    }
    positive = ("eps", "n_particles", "n_nodes")

    def further_axes(self, config):
        """Training times, in units of 1 / eps."""
        return {"time": config["times"]}

    def cell(self, at, config, references):
        """Train both networks from the same particles."""
        case = build_case(config, at["case"])
        problem = scaled(case.problem, at["eps"])
        grid, m = DepthGrid.gauss(config["n_nodes"]), config["n_particles"]
        start = case.law.sample(grid, m, coupling="tied", seed=at["seed"])
        found = compare_flows(
            problem, grid, start, np.array(config["times"]) / at["eps"]
        )
        gap, first = found.flow_gap, found.measures[0]
        limit = np.sqrt(np.mean(first.limit**2))
        share = [np.max(each.gap / each.bound) for each in found.measures]
        return {"gap": gap, "ratio": gap[0] / limit, "share": share}

    def analyse(self, table, config):
        """Order in eps at every time, the constant at s = 0, and the bound."""
        eps, verdicts, panels = table.axes["eps"], [], []
        options = {"confidence": config["confidence"]}
        inverse = 1.0 / np.array(eps)[::-1]
        for name in table.axes["case"]:
            part, shown, fits = table.select(case=name), {}, {}
            for i, time in enumerate(config["times"]):
                values = part["gap"][::-1, :, i]
                fit = fit_asymptotic_power(inverse, values, **options)
                label = f"s = {time:g}/eps"
                shown[label], fits[label] = (inverse, *centre(values)), fit
                claim = f"{name}: order of the gap in eps at {label}"
                verdicts.append(_order(claim, 2.0, fit, config))
            # r(eps) = 1 + c eps + ...: the line through two values of eps gives r(0).
            ratios = part["ratio"].mean(axis=1)
            ends = [np.polyfit(eps[i:][:2], ratios[i:][:2], 1)[1] for i in (0, 1)]
            claim = f"{name}: gap / (eps^2 |dF F| / 2) as eps -> 0, s = 0 (T8)"
            sure = refinement_interval(*ends), config["tolerance_constant"]
            verdicts.append(judge(claim, 1.0, float(ends[0]), *sure, row=9))
            claim = f"{name}: the gap is not above (21)"
            verdicts.append(judge_all(claim, part["share"] <= 1.0, row=9))
            panels.append(curves(name, "1 / eps", "gap", shown, fits=fits))
        return Report(verdicts, figures={self.name: panels})


class Reordering(CaseExperiment):
    """Row 10: training with and without moving t, and against random shuffles."""

    name = "reordering"
    title = "Training with blocks that change places"
    shows = "Loss and exchanged pairs: blocks at rest, moved in t, and shuffled."
    leaves_out = "Finite networks: after long training with (19) some pairs go on."
    rows = (10,)
    defaults = COMMON | {
        "used": ["spirals", "digits", *COMMUTING],
        "arms": ["fixed", "pde", "gap", "shuffle"],
        "seeds": 12,
        "n_blocks": 64,
        "s_end": 60.0,
        "ds": 0.1,
        "n_records": 12,
        "window": 0.1,
        "gap_rate": 0.1,
        "exact": ["diagonal"],
        "commuting": COMMUTING,
    }
    quick = {"seeds": 6, "s_end": 40.0}
    grid = {"case": "used", "arm": "arms", "seed": "seeds"}
    analysis_keys = ("confidence", "exact", "commuting")
    measured = {
        "loss": Variable(("s",), "loss"),
        "swaps": Variable(("s",), "exchanged pairs per step before s; 0 at the start"),
    }
    positive = ("s_end", "ds", "n_records", "window", "gap_rate")

    def further_axes(self, config):
        """Training times."""
        times = np.linspace(0.0, config["s_end"], config["n_records"] + 1)
        return {"s": times.tolist()}

    def cell(self, at, config, references):
        """Train by one scheme, explicit Euler in s: gradient descent."""
        case, n = build_case(config, at["case"]), config["n_blocks"]
        options = {"velocity": at["arm"], "window": config["window"]}
        if at["arm"] == "gap":
            rate = config["gap_rate"] / n
            options = {"weights": "gap", "velocity": "autodiff", "rate": rate}
        block = case.problem.block
        start = sample_joint(case.law, n, seed=at["seed"], block=block)
        s_end, scheme = config["s_end"], JointScheme(seed=at["seed"], **options)
        found = solve_joint(
            case.problem, start, s_end=s_end, ds=config["ds"], scheme=scheme,
            stepper="euler", record=Every(s_end / config["n_records"]),
        )  # fmt: skip
        if found.status != "finished":
            raise NotFiniteError(found.message)
        swaps = [np.mean(a) for a in np.array_split(found.swaps, config["n_records"])]
        return {"loss": found.loss, "swaps": [0.0, *swaps]}

    def analyse(self, table, config):
        """Identical curves for commuting blocks; swaps and losses of the others."""
        s, arms = np.array(table.axes["s"]), table.axes["arm"]
        options, verdicts, panels = {"confidence": config["confidence"]}, [], []
        for name in table.axes["case"]:
            part = table.select(case=name)
            losses = {arm: part.select(arm=arm)["loss"] for arm in arms}
            swaps = {arm: part.select(arm=arm)["swaps"][:, 1:] for arm in arms}
            shown = {arm: (s, *centre(losses[arm], 0)) for arm in arms}
            panels.append(traces(name, "training time s", "loss", shown))
            if name in config["commuting"]:
                others = ["pde", "shuffle"] if name in config["exact"] else ["pde"]
                for arm in others:
                    gap = np.abs(losses[arm] - losses["fixed"]) / losses["fixed"][:, :1]
                    claim = f"{name}: the same curve at rest and by {arm}"
                    verdicts.append(
                        judge_all(claim, gap.max(axis=1) < ROUNDING, row=10)
                    )
                continue
            moving = ("pde", "gap")
            shown = {arm: (s[1:], *centre(swaps[arm], 0)) for arm in moving}
            labels = ("training time s", "exchanged pairs per step")
            panels.append(curves(name, *labels, shown, xscale="linear"))
            for arm, row, note in zip(moving, (None, 10), (CHATTER, ""), strict=True):
                value, ends = bootstrap(
                    lambda v: _decay(s[1:], v), swaps[arm], **options
                )
                claim = f"{name}, {arm}: exponent with which swaps per step fall in s"
                verdicts.append(
                    judge_above(claim, 0.0, value, ends, row=row, note=note)
                )
                for other in ("fixed", "shuffle"):
                    ratio = np.log(losses[arm][:, -1] / losses[other][:, -1])
                    value, ends = bootstrap(np.mean, ratio, **options)
                    claim = f"{name}: ln of the loss at the end, {arm} over {other}"
                    verdicts.append(judge_below(claim, 0.0, value, ends))
        return Report(verdicts, figures={self.name: panels})


def _decay(s, swaps):
    """Exponent of s^-p fitted to the mean over seeds of the swaps (S, R)."""
    means = np.maximum(swaps.mean(axis=0), 1e-3)
    return -float(np.polyfit(np.log(s), np.log(means), 1)[0])


STUDY = Collection(
    "reorder",
    "Order of the blocks, shallow ensembles and the landscape",
    (Commutators(), ShallowEnsemble(), Reordering(), Landscape()),
    "Lu, Ma, Lu, Lu, Ying 2020, arXiv:2003.05508",
)
