"""Zero loss and regularisation: Ding, Chen, Li, Wright 2021 (rows 2, 4 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.figures import Panel, Series
from mfpde.losses import DecayingQuadratic
from mfpde.papers import descents
from mfpde.papers.descents import RISE, TIMES, make_problem, train
from mfpde.papers.fixed_steps import PerceptronSteps, RegularisedSteps
from mfpde.papers.flows import over_seeds
from mfpde.papers.thresholds import Networks
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves, traces
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_above, judge_all, share_interval
from mfpde.studies.orders import judge_order, resolved_if_all
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table
from mfpde.theory.tangent import late_rate, tangent_kernel

Array = NDArray[np.float64]

WINDOW = 1e-4
"""Share to which E falls in the time over which a late rate is measured."""
LATE_NOTE = (
    "A run whose residual has next to nothing of the slowest mode still decays faster "
    "when it is stopped: the median does not see it."
)
S = "training time s"


class Unobstructed(Experiment):
    """E(s) without regulariser where nothing obstructs it, and its late rate."""

    name = "unobstructed"
    title = "Zero loss for smooth blocks"
    description = (
        "The loss falls below the threshold for every data set, activation and "
        "dimension; its late rate is 2 lambda_min of the tangent kernel."
    )
    limitations = (
        "Adaptive steps that raise the loss, or leave the ledger, are refused: of "
        "descent see `steps`. Finitely many particles stand for the measure."
    )
    claims = (4,)
    defaults = descents.DATA | {
        "activations": ["tanh", "gelu"],
        "dimensions": [1, 2, 3],
        "widths": [64, 128],
        "seeds": 6,
        "first_seed": 0,
        "depth_steps": 2,
        "s_end": 10000.0,
        "atol": 1e-13,
        "end": 1e-14,
        "threshold": 1e-10,
        "confidence": 0.99,
        "tolerance": 0.01,
    }
    quick = {"dimensions": [2, 3], "widths": [32, 64], "seeds": 3}
    grid = {
        "activation": "activations",
        "dimension": "dimensions",
        "width": "widths",
        "seed": "seeds",
    }
    measured = descents.MEASURED | {
        "rates": Variable(("window",), "rate of E in the last windows"),
        "s_zero": "s at which E falls below the threshold",
    }
    positive = ("n_samples", "s_end", "end", "threshold", "atol", "rtol")
    analysis_keys = ("confidence", "tolerance")

    def further_axes(self, config: Config) -> dict[str, list]:
        """Return training times and windows of the loss."""
        return {"s": TIMES, "window": ["before", "last"]}

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        """Train until the loss is below the last window."""
        end = config["end"]
        problem = make_problem(config, at["dimension"], at["activation"], at["seed"])
        start = descents.draw(config, problem, at["width"], at["seed"])
        found = train(config, problem, *start, s_end=config["s_end"], loss_below=end)
        levels = [end / WINDOW**2, end / WINDOW, end, config["threshold"]]
        # Logarithms of the loss are nearly straight between steps.
        logs = -np.log(found.loss)
        times = np.interp(-np.log(levels), logs, found.s, right=np.nan)
        rates = -np.log(WINDOW) / np.diff(times[:3])
        return descents.summary(found) | {"rates": rates, "s_zero": times[3]}

    def analyse(self, table: Table, config: Config) -> Report:
        """Judge zero loss and late rate."""
        table, end = table.finite(), config["threshold"]
        claim = f"E falls below {end:g}"
        verdicts = [judge_all(claim, table["end"] <= end, row=4)]
        late, rates, s_zero = (table[name] for name in ("late", "rates", "s_zero"))
        ratios = (rates / late[..., np.newaxis]).reshape(-1, 2)
        has_value = np.isfinite(ratios).all(axis=1)
        ratios = ratios[has_value]
        if not len(ratios):
            return Report(verdicts, ["No run reached the end of its last window."])
        # Other modes fade: it may still be as far off as the window before.
        rate, interval = over_seeds(ratios[:, 1], config, [ratios[:, 0]])
        claim, most = "late rate of E / (2 lambda_min)", config["tolerance"]
        is_reached = ratios[:, 1] >= 1.0 - most
        found = [
            judge(f"{claim}, median", 1, rate, interval, most, row=4, note=LATE_NOTE),
            judge_all(f"{claim} at least {1 - most:g}", is_reached, row=4),
        ]
        verdicts += [resolved_if_all(each, has_value) for each in found]
        change = np.abs(s_zero[:, :, 0] / s_zero[:, :, -1] - 1.0)
        text = (
            f"With {table.axes['width'][0]} instead of {table.axes['width'][-1]} "
            "particles a node the time to the threshold changes by "
            f"{100 * np.median(change[np.isfinite(change)]):.2g} % (median)."
        )
        kinds = list(enumerate(table.axes["activation"]))
        losses = {
            f"{activation}, d = {d}": (TIMES, table["loss"][i, j, -1, 0])
            for i, activation in kinds
            for j, d in enumerate(table.axes["dimension"])
        }
        points = [
            Series(late[i].ravel(), rates[i, ..., 1].ravel(), kind) for i, kind in kinds
        ]
        ends = [np.nanmin(late), np.nanmax(late)]
        points.append(Series(ends, ends, "equal", style="line"))
        x, y = r"2 $\lambda_{min}$ of the kernel", "rate of E"
        panels = [
            traces("The loss falls to zero", S, "E", losses),
            Panel("The late rate is that of the kernel", x, y, points),
        ]
        return Report(verdicts, [text], {self.name: panels})


class Regulariser(Experiment):
    """Flow of E_s = E + lambda(s) M2 for lambda(s) = lambda0 exp(-gamma s)."""

    name = "regulariser"
    title = "A decaying quadratic regulariser"
    description = (
        "In all runs E ends below the same threshold; alone it rises where the "
        "regulariser is strong and slow."
    )
    limitations = (
        "Steps in which E_s rises are refused: see `regularised-steps`. A run ends "
        "when E does; lambda0 / gamma far above 10 shrinks the law to a point."
    )
    claims = (6,)
    defaults = (
        descents.DATA
        | descents.DECAYING
        | {
            "s_end": 10000.0,
            "atol": 1e-13,
            "end": 1e-14,
            "threshold": 1e-10,
        }
    )
    quick, grid = descents.DECAYING_QUICK, descents.DECAYING_GRID
    measured = descents.MEASURED
    positive = ("n_samples", "s_end", "gamma", "end", "threshold", "atol", "rtol")

    def further_axes(self, config: Config) -> dict[str, list]:
        """Return training times."""
        return {"s": TIMES}

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        """Train until E is far below the threshold: a saddle is as steady as that."""
        names = (config["dimension"], config["activation"], at["seed"])
        decaying = DecayingQuadratic(at["lambda0"], at["gamma"])
        problem = make_problem(config, *names, decaying)
        start = descents.draw(config, problem, config["width"], at["seed"])
        ends = {"s_end": config["s_end"], "loss_below": config["end"]}
        return descents.summary(train(config, problem, *start, **ends))

    def analyse(self, table: Table, config: Config) -> Report:
        """Judge the end of E; count where it rises."""
        orders = {name: sorted(table.axes[name]) for name in ("lambda0", "gamma")}
        strongest, slowest = orders["lambda0"][-1], orders["gamma"][0]
        table = table.select(**orders).finite()
        rises = table.select(lambda0=strongest, gamma=slowest)["rise_loss"]
        rises = rises[np.isfinite(rises)]
        n = int(np.sum(rises > RISE))
        share = n / max(len(rises), 1), share_interval(n, len(rises))
        claim = (
            f"share of runs with a rise of E, lambda0 {strongest:g}, gamma {slowest:g}"
        )
        end = config["threshold"]
        verdicts = [
            judge_all(f"E falls below {end:g}", table["end"] <= end, row=6),
            judge_above(claim, 0.0, *share),
        ]
        cases = {"strong, slow": (-1, 0, 0), "weak, fast": (0, -1, 0)}
        lines = {
            f"{label}: {symbol}": (TIMES, table[name][place])
            for label, place in cases.items()
            for symbol, name in ((r"$E_s$", "objective"), ("E", "loss"))
        }
        wild = {
            f"data set {seed}": (TIMES, table["loss"][-1, 0, i])
            for i, seed in enumerate(table.axes["seed"][:3])
        }
        panels = [
            traces(f"Strong and weak: {next(iter(wild))}", S, r"E, $E_s$", lines),
            traces("Strong, slow: E alone rises", S, "E", wild, yscale="linear"),
        ]
        return Report(verdicts, figures={self.name: panels})


class Bias(Experiment):
    """What a constant lambda leaves of the loss: of order lambda^2."""

    name = "bias"
    title = "A constant quadratic regulariser"
    description = "The loss that a constant regulariser leaves falls like its square."
    limitations = "The end is a fixed multiple of 1 / lambda, not s to infinity."
    claims = (6,)
    defaults = descents.DATA | {
        "lambdas": [1e-3, 5e-4, 2.5e-4, 1.25e-4],
        "activation": "tanh",
        "dimension": 2,
        "width": 64,
        "seeds": 12,
        "first_seed": 0,
        "depth_steps": 2,
        "horizon": 4.0,
        "atol": 1e-9,
        "confidence": 0.99,
        "tolerance": 0.05,
    }
    quick = {"width": 32}
    grid = {"lambda": "lambdas", "seed": "seeds"}
    measured = {
        "left": "loss at the end",
        "half": "loss at half the time",
        "late": "2 lambda_min of the kernel (27) at the end",
    }
    positive = ("lambdas", "horizon", "n_samples", "atol", "rtol")
    least = {"lambdas": 3}

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        """Train for a multiple of 1 / lambda, with a stabilised method."""
        names = (config["dimension"], config["activation"], at["seed"])
        problem = make_problem(config, *names, DecayingQuadratic(at["lambda"]))
        start = descents.draw(config, problem, config["width"], at["seed"])
        s_end = config["horizon"] / at["lambda"]
        times = {"s_end": s_end, "record": [0.5 * s_end, s_end]}
        found = train(config, problem, *start, stepper="rkc2", **times)
        late = late_rate(tangent_kernel(problem, found.grid, found.ensemble))
        return {"left": found.loss[-1], "half": found.loss[-2], "late": late}

    def analyse(self, table: Table, config: Config) -> Report:
        """Fit the exponent of lambda."""
        falling = sorted(table.axes["lambda"], reverse=True)
        table = table.select(**{"lambda": falling})
        n, left = 1.0 / np.array(falling), table["left"]
        claim = "exponent of the loss that a constant lambda leaves"
        options = {"statistic": "median", "row": 6}
        verdict, fit = judge_order(claim, 2.0, n, left, config, **options)
        table = table.finite()
        change = np.nanmedian(np.abs(table["half"] / table["left"] - 1.0))
        text = (
            f"In the second half of the time E changes by {100 * change:.2g} % "
            f"(median). Least 2 lambda_min of K: {np.nanmin(table['late']):.2g}."
        )
        label = "data sets: median, quartiles"
        panel = curves(
            *("Bias of a constant regulariser", r"1 / $\lambda$", "E at the end"),
            {label: (n, *centre(left))},
            fits={label: fit},
            note=f"exponent {fit.exponent:.3f}",
        )
        return Report([verdict], [text], {self.name: [panel]})


PERCEPTRONS, REGULARISED = PerceptronSteps(), RegularisedSteps()
STUDY = Collection(
    "zero-loss",
    "Zero loss and regularisation for smooth blocks",
    (Unobstructed(), PERCEPTRONS, Regulariser(), REGULARISED, Bias(), Networks()),
    "Ding, Chen, Li, Wright 2021, arXiv:2105.14417",
    whole="all",
)
