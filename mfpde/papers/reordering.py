"""Blocks that change places in training (theory, 1.4 and 5.8, row 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.analysis.resampling import bootstrap
from mfpde.figures import Panel
from mfpde.papers.block_cases import COMMON, COMMUTING, ROUNDING, CaseExperiment
from mfpde.papers.ends import finished
from mfpde.recording import Every
from mfpde.studies.cases import build_case
from mfpde.studies.curves import centre, curves, traces
from mfpde.studies.judging import judge_above, judge_below
from mfpde.studies.orders import judge_those
from mfpde.studies.report import Report, Verdict
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table
from mfpde.theory.joint import JointScheme, count_swaps, sample_joint, solve_joint

Array = NDArray[np.float64]

MOVING = ("pde", "gap")
TRAINING = COMMON | {
    "seeds": 12,
    "n_blocks": 32,
    "ds": 0.1,
    "n_records": 12,
    "window": 0.1,
    "gap_rate": 0.1,
}
CHATTER = (
    "With (19) particles gather at depths where their velocities meet, and pairs of "
    "them change places to and fro in every step, however small ds is: blocks of one "
    "depth have no order. The scheme of the paper, gap weights, stands by itself."
)
IMPROVEMENT = "Reported by the paper for its own scheme, gap; theory predicts nothing."


class _Trained(CaseExperiment):
    """Networks trained with blocks at rest, moving in depth, or shuffled."""

    claims = (10,)
    grid = {"case": "used", "arm": "arms", "seed": "seeds"}
    measured = {
        "loss": Variable(("s",), "loss"),
        "swaps": Variable(("s",), "exchanged pairs per step before s; 0 at the start"),
        "net": Variable(("s",), "the same, without pairs exchanged to and fro"),
    }
    positive = ("s_end", "ds", "n_records", "window", "gap_rate")

    def problems(self, config: Config) -> list[str]:
        """Also of arms, which are compared with each other."""
        missing = sorted(set(self.defaults["arms"]) - set(config["arms"]))
        more = f"`arms` must hold {', '.join(missing)}, too, got {config['arms']}."
        return super().problems(config) + ([more] if missing else [])

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
        found = solve_joint.quietly(
            case.problem, start, s_end=s_end, ds=config["ds"], scheme=scheme,
            stepper="euler", record=Every(s_end / config["n_records"]),
        )  # fmt: skip
        finished(found)
        parts = np.array_split(found.swaps, config["n_records"])
        orders = np.argsort(found.t, axis=1, kind="stable")
        pairs = zip(orders[:-1], orders[1:], parts, strict=True)
        net = [count_swaps(*ends) / len(part) for *ends, part in pairs]
        swaps = [np.mean(part) for part in parts]
        return {"loss": found.loss, "swaps": [0.0, *swaps], "net": [0.0, *net]}


class Reordering(_Trained):
    """Row 10: training with and without moving t, and against random shuffles."""

    name = "reordering"
    title = "Training with blocks that change places"
    description = (
        "Loss and exchanged pairs for blocks at rest (fixed), moved in t by the mean-"
        "field velocity (pde) or by the derivative of gap weights (gap), and shuffled "
        "after each step. Net: pairs whose order differs from that one record before."
    )
    limitations = (
        "That exchanges cease: a power of s is fitted to their number, for either "
        "scheme. Gaps move the sizes of steps, too. Small data; theory predicts no "
        "lower loss: losses and net exchanges stand beside the claim."
    )
    defaults = TRAINING | {
        "used": ["spirals", "digits"],
        "arms": ["fixed", "pde", "gap", "shuffle"],
        "s_end": 160.0,
    }
    quick = {"seeds": 8, "s_end": 40.0}
    analysis_keys = ("confidence",)

    def analyse(self, table: Table, config: Config) -> Report:
        """How exchanges fall, and losses at the end."""
        s, panels, verdicts = np.array(table.axes["s"]), [], []
        for name in table.axes["case"]:
            part = {arm: table.select(case=name, arm=arm) for arm in table.axes["arm"]}
            panels += [_losses(name, part, s), _exchanges(name, part, s)]
            verdicts += _falling(name, part, s, config) + _lower(name, part, config)
        return Report(verdicts, figures={self.name: panels})


class Commuting(_Trained):
    """Row 10: blocks that commute, to which their places mean nothing."""

    name = "commuting"
    title = "Training with blocks that commute"
    description = (
        "The loss for blocks at rest (fixed), moved in t by the mean-field velocity "
        "(pde), and shuffled after each step: one curve."
    )
    limitations = (
        "Blocks on the line commute as vector fields, their Euler steps do not: a "
        "shuffle (case scalar) changes the loss a little, as (20) does not see. Gap "
        "weights (gap) are left out: they change the steps, not the order alone."
    )
    defaults = TRAINING | {
        "used": COMMUTING,
        "arms": ["fixed", "pde", "shuffle"],
        "s_end": 20.0,
        "exact": ["diagonal"],
    }
    quick = {"seeds": 6}
    analysis_keys = ("confidence", "exact")

    def analyse(self, table: Table, config: Config) -> Report:
        """Curves that must be identical."""
        s, panels, verdicts = np.array(table.axes["s"]), [], []
        for name in table.axes["case"]:
            part = {arm: table.select(case=name, arm=arm) for arm in table.axes["arm"]}
            panels.append(_losses(name, part, s))
            verdicts += _same(name, part, name in config["exact"])
        return Report(verdicts, figures={self.name: panels})


def _losses(name: str, part: dict[str, Table], s: Array) -> Panel:
    """Panel of the loss of every arm."""
    shown = {arm: (s, *centre(part[arm]["loss"], 0)) for arm in part}
    return traces(name, "training time s", "loss", shown, xscale="linear")


def _same(name: str, part: dict[str, Table], is_exact: bool) -> list[Verdict]:
    """Curves that moving t, or a shuffle of steps that commute, leaves as they are."""
    still, verdicts = part["fixed"]["loss"], []
    for arm in ("pde", "shuffle") if is_exact else ("pde",):
        loss = part[arm]["loss"]
        has_value = np.isfinite(loss).all(axis=1) & np.isfinite(still).all(axis=1)
        gap = np.full(len(loss), np.nan)
        gap[has_value] = np.abs(loss - still)[has_value].max(axis=1)
        claim = f"{name}: the same curve at rest and by {arm}"
        holds = gap < ROUNDING * still[:, 0]
        verdicts.append(judge_those(claim, holds, has_value, row=10))
    return verdicts


def _falling(
    name: str, part: dict[str, Table], s: Array, config: Config
) -> list[Verdict]:
    """Exponents with which exchanges fall, in either scheme; net ones stand beside."""
    kinds = (
        ("pde", "swaps", "swaps per step", 10, CHATTER),
        ("pde", "net", "net swaps", None, ""),
        ("gap", "swaps", "swaps per step", 10, ""),
    )
    verdicts = []
    for arm, kind, text, row, note in kinds:
        values = part[arm][kind][:, 1:]
        value, ends = bootstrap(
            lambda drawn: _decay(s[1:], drawn), values, confidence=config["confidence"]
        )
        claim = f"{name}, {arm}: exponent with which {text} fall in s"
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
            verdicts.append(judge_below(claim, 0.0, value, ends, note=IMPROVEMENT))
    return verdicts


def _exchanges(name: str, part: dict[str, Table], s: Array) -> Panel:
    """Panel of exchanged pairs, those to and fro counted or not."""
    shown = {}
    for arm in MOVING:
        shown[arm] = (s[1:], *centre(part[arm]["swaps"][:, 1:], 0))
        shown[f"{arm}, net"] = (s[1:], *centre(part[arm]["net"][:, 1:], 0))
    labels = ("training time s", "exchanged pairs per step")
    return curves(f"{name}: exchanges", *labels, shown)


def _decay(s: Array, swaps: Array) -> float:
    """Exponent p of s^-p fitted to the mean over seeds of the swaps (S, R)."""
    means = np.maximum(swaps.mean(axis=0), 1e-3)
    return -float(np.polyfit(np.log(s), np.log(means), 1)[0])
