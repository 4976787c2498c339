"""Blocks in random order, when they are small (theory, 5.8, row 9, Eq. (20))."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfpde.blocks import Perceptron
from mfpde.papers.block_cases import COMMON, COMMUTING, CaseExperiment
from mfpde.papers.ends import finished
from mfpde.studies.cases import build_case
from mfpde.studies.curves import centre, curves, scatter
from mfpde.studies.orders import judge_order
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table
from mfpde.theory.joint import (
    JointScheme,
    evaluate_joint,
    reordered,
    sample_joint,
    shuffle_slopes,
    solve_joint,
)
from mfpde.theory.shallow import scaled

STILL = JointScheme(velocity="fixed")


class Shuffles(CaseExperiment):
    """Row 9: all blocks of a trained network in random order, times eps."""

    name = "shuffles"
    title = "Shuffling small blocks of a trained network"
    description = (
        "How well the sum of the commutators (20), over all pairs of blocks that pass "
        "each other, tells what a random order of all blocks changes, if the blocks "
        "are small: eps f. The error falls like eps."
    )
    limitations = (
        "Blocks of full size, eps = 1: a random order turns n(n - 1) / 4 pairs round, "
        "each changing E by 1/n^2, and is no small change for any n. One network is "
        "trained up to s and multiplied by eps afterwards."
    )
    claims = (9,)
    defaults = COMMON | {
        "used": ["spirals", "digits"],
        "eps": [0.0125, 0.025, 0.05, 0.1],
        "seeds": 24,
        "n_blocks": 32,
        "n_orders": 8,
        "s": 1.0,
        "ds": 0.1,
        "tolerance": 0.1,
    }
    quick = {"eps": [0.0125, 0.025, 0.05]}
    grid = {"case": "used", "eps": "eps", "seed": "seeds"}
    analysis_keys = ("confidence", "tolerance")
    measured = {
        "change": Variable(("order",), "change of E by a random order of all blocks"),
        "predicted": Variable(("order",), "the same by the sum of commutators (20)"),
    }
    positive = ("eps", "n_blocks", "n_orders", "s", "ds")
    least = {"eps": 3}

    def problems(self, config: Config) -> list[str]:
        """Also of blocks, which must have a scale."""
        found = super().problems(config)
        for name in config["used"] if not found else ():
            if name in COMMUTING:
                found.append(f"`used` must name cases that do not commute, got {name}.")
            block = build_case(config, name).problem.block
            if not isinstance(block, Perceptron):
                found.append(
                    f"`used` must name cases whose block is a perceptron, got {name!r} "
                    f"with {block!r}."
                )
        return found

    def further_axes(self, config: Config) -> dict[str, list[int]]:
        """Random orders."""
        return {"order": list(range(config["n_orders"]))}

    def cell(self, at: Any, config: Config, references: Any) -> dict[str, Any]:
        """Train a network a little, make its blocks small, and shuffle them."""
        case, n = build_case(config, at["case"]), config["n_blocks"]
        start = sample_joint(case.law, n, seed=at["seed"], block=case.problem.block)
        options = {"s_end": config["s"], "ds": config["ds"]}
        found = solve_joint.quietly(case.problem, start, scheme=STILL, **options)
        trained = finished(found).ensemble
        problem = scaled(case.problem, at["eps"])
        found = evaluate_joint(problem, trained, STILL)
        rng = np.random.default_rng([at["seed"], n])
        orders = np.array([rng.permutation(n) for _ in range(config["n_orders"])])
        mixed = [reordered(trained, trained.order[order]) for order in orders]
        losses = [evaluate_joint(problem, each, STILL).loss for each in mixed]
        change = np.array(losses) - found.loss
        return {"change": change, "predicted": shuffle_slopes(found, orders) / n**2}

    def analyse(self, table: Table, config: Config) -> Report:
        """Order in eps of the error, relative to the sum of commutators."""
        inverse = 1.0 / np.array(table.axes["eps"])[::-1]
        verdicts, shown, fits, changes = [], {}, {}, {}
        for name in table.axes["case"]:
            part = table.select(case=name).finite()
            change, predicted = part["change"], part["predicted"]
            # One size for all seeds: that of a single one may be small by chance.
            size = np.sqrt(np.nanmean(predicted**2, axis=(1, 2)))[:, np.newaxis]
            error = np.sqrt(np.mean((change - predicted) ** 2, axis=2)) / size
            error = np.where(np.isnan(error), np.inf, error)[::-1]
            claim = f"{name}, all blocks shuffled: order of the error of (20) in eps"
            verdict, fits[name] = judge_order(claim, 1.0, inverse, error, config, row=9)
            verdicts.append(verdict)
            shown[name] = (inverse, *centre(error))
            changes[name] = (1e6 * predicted[0].ravel(), 1e6 * change[0].ravel())
        title = "All blocks in random order"
        errors = curves(title, "1 / eps", "relative error", shown, fits=fits)
        title = f"The same, each order at eps = {table.axes['eps'][0]:g}"
        labels = ("10^6 times the sum of (20)", "10^6 times change of E")
        ends = np.concatenate([x for x, _ in changes.values()])
        ends = np.array([ends.min(), ends.max()])
        points = scatter(title, *labels, changes, bounds={"equal": (ends, ends)})
        return Report(verdicts, figures={self.name: [errors, points]})
