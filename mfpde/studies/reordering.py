"""Blocks that change places in training (theory, 1.4 and 5.8, row 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis.resampling import bootstrap
from mfpde.errors import NotFiniteError
from mfpde.joint import JointScheme, count_swaps, sample_joint, solve_joint
from mfpde.panels import Panel
from mfpde.recording import Every
from mfpde.studies.block_cases import COMMON, COMMUTING, ROUNDING, CaseExperiment
from mfpde.studies.cases import build_case
from mfpde.studies.curves import centre, curves, traces
from mfpde.studies.judging import judge_above, judge_all, judge_below
from mfpde.studies.report import Report, Verdict
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table

Array = NDArray[np.float64]

MOVING = ("pde", "gap")
CHATTER = (
    "With (19) particles gather at depths where their velocities meet, and pairs of "
    "them change places to and fro in every step, however small ds is. The row asks "
    "for the scheme of the paper: gap weights."
)


class Reordering(CaseExperiment):
    """Row 10: training with and without moving t, and against random shuffles."""

    name = "reordering"
    title = "Training with blocks that change places"
    shows = (
        "Loss and exchanged pairs for blocks at rest (fixed), moved in t by the mean-"
        "field velocity (pde) or by the derivative of gap weights (gap), and shuffled "
        "after each step. Net: pairs whose order differs from that one record before."
    )
    leaves_out = (
        "That exchanges cease: a power of s is fitted to their number in the second "
        "half of training. Gap weights move step sizes, too, hence another curve also "
        "where blocks commute. Small data; a lower loss is not predicted."
    )
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
    quick = {"seeds": 8, "n_blocks": 48, "s_end": 40.0}
    grid = {"case": "used", "arm": "arms", "seed": "seeds"}
    analysis_keys = ("confidence", "exact", "commuting")
    measured = {
        "loss": Variable(("s",), "loss"),
        "swaps": Variable(("s",), "exchanged pairs per step before s; 0 at the start"),
        "net": Variable(("s",), "the same, without pairs exchanged to and fro"),
    }
    positive = ("s_end", "ds", "n_records", "window", "gap_rate")

    def problems(self, config: Config) -> list[str]:
        """Also of records, half of which make the exponent."""
        least = 6
        more = f"`n_records` must be at least {least}, got {config['n_records']}."
        is_right = config["n_records"] >= least
        return super().problems(config) + ([] if is_right else [more])

    def further_axes(self, config: Config) -> dict[str, list[float]]:
        """Training times."""
        times = np.linspace(0.0, config["s_end"], config["n_records"] + 1)
        return {"s": times.tolist()}

    def cell(self, at: Any, config: Config, references: Any) -> dict[str, Any]:
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
        parts = np.array_split(found.swaps, config["n_records"])
        orders = np.argsort(found.t, axis=1, kind="stable")
        pairs = zip(orders[:-1], orders[1:], parts, strict=True)
        net = [count_swaps(*ends) / len(part) for *ends, part in pairs]
        swaps = [np.mean(part) for part in parts]
        return {"loss": found.loss, "swaps": [0.0, *swaps], "net": [0.0, *net]}

    def analyse(self, table: Table, config: Config) -> Report:
        """Identical curves for commuting blocks; swaps and losses of the others."""
        s, losses, exchanges, verdicts = np.array(table.axes["s"]), [], [], []
        for name in table.axes["case"]:
            part = {arm: table.select(case=name, arm=arm) for arm in table.axes["arm"]}
            shown = {arm: (s, *centre(part[arm]["loss"], 0)) for arm in part}
            losses.append(traces(name, "training time s", "loss", shown))
            if name in config["commuting"]:
                verdicts += _same(name, part, name in config["exact"])
                continue
            verdicts += _falling(name, part, s, config)
            verdicts += _lower(name, part, config)
            exchanges.append(_exchanges(name, part, s))
        return Report(verdicts, figures={self.name: losses + exchanges})


def _same(name: str, part: dict[str, Table], is_exact: bool) -> list[Verdict]:
    """Curves that moving t, or a shuffle of steps that commute, leaves as they are."""
    still, verdicts = part["fixed"]["loss"], []
    for arm in ("pde", "shuffle") if is_exact else ("pde",):
        gap = np.abs(part[arm]["loss"] - still) / still[:, :1]
        claim = f"{name}: the same curve at rest and by {arm}"
        verdicts.append(judge_all(claim, gap.max(axis=1) < ROUNDING, row=10))
    return verdicts


def _falling(
    name: str, part: dict[str, Table], s: Array, config: Config
) -> list[Verdict]:
    """Exponents of exchanges in s, from half of s_end on: behind the plateau of E."""
    is_late, verdicts = s >= 0.5 * s[-1], []
    for arm in MOVING:
        for kind, text in (("swaps", "swaps per step"), ("net", "net swaps")):
            value, ends = bootstrap(
                lambda values: _decay(s[is_late], values),
                part[arm][kind][:, is_late],
                confidence=config["confidence"],
            )
            is_claim = arm == "gap" and kind == "swaps"
            note = CHATTER if arm == "pde" and kind == "swaps" else ""
            claim = f"{name}, {arm}: exponent with which {text} fall in s, second half"
            row = 10 if is_claim else None
            verdicts.append(judge_above(claim, 0.0, value, ends, row=row, note=note))
    return verdicts


def _lower(name: str, part: dict[str, Table], config: Config) -> list[Verdict]:
    """Loss at the end with moving t against blocks at rest, and shuffled."""
    verdicts = []
    for arm in MOVING:
        for other in ("fixed", "shuffle"):
            ratio = np.log(part[arm]["loss"][:, -1] / part[other]["loss"][:, -1])
            value, ends = bootstrap(np.mean, ratio, confidence=config["confidence"])
            claim = f"{name}: ln of the loss at the end, {arm} over {other}"
            verdicts.append(judge_below(claim, 0.0, value, ends))
    return verdicts


def _exchanges(name: str, part: dict[str, Table], s: Array) -> Panel:
    """Panel of exchanged pairs, those to and fro counted or not."""
    shown = {}
    for arm in MOVING:
        shown[arm] = (s[1:], *centre(part[arm]["swaps"][:, 1:], 0))
        shown[f"{arm}, net"] = (s[1:], *centre(part[arm]["net"][:, 1:], 0))
    labels = ("training time s", "exchanged pairs per step")
    return curves(f"{name}: exchanges", *labels, shown, xscale="linear")


def _decay(s: Array, swaps: Array) -> float:
    """Exponent p of s^-p fitted to the mean over seeds of the swaps (S, R)."""
    means = np.maximum(swaps.mean(axis=0), 1e-3)
    return -float(np.polyfit(np.log(s), np.log(means), 1)[0])
