"""Zero loss and regularisation: Ding, Chen, Li, Wright 2021 (theory, rows 4 and 6).

Smooth blocks, the perceptron with tanh or GELU. Targets are y = x + shift sin(2 Q x +
phase), Q a random rotation: for a shift below 1/2 a map with a positive Jacobian, so
that no order or orientation stands in the way of zero loss (theory, section 5.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from mfpde.analysis import bootstrap, fit_asymptotic_power, refinement_interval
from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.errors import NotFiniteError
from mfpde.laws import marginal, standard_path
from mfpde.limit_solver import solve_limit
from mfpde.objectives import DecayingQuadratic
from mfpde.panels import Panel, Series
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Steps
from mfpde.solution import Solution
from mfpde.solver import solve
from mfpde.studies.collection import Collection
from mfpde.studies.curves import centre, curves, traces
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import (
    judge,
    judge_above,
    judge_all,
    judge_at_least,
    share_interval,
)
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table
from mfpde.tangent import late_rate, tangent_kernel

Array = NDArray[np.float64]

N_DRAWS = 16
"""Of the inputs: the draw whose samples are farthest apart is taken."""
RISE = 1e-12
"""Largest rise in a step, of the objective at s = 0, that is rounding."""
WINDOW = 1e-4
"""Share to which E falls in the time over which a late rate is measured."""
LATE_NOTE = (
    "A run whose residual has next to nothing of the slowest mode decays faster still "
    "when it is stopped: the median does not see it."
)
TIMES = np.geomspace(0.1, 1e4, 51).tolist()
COMMON = {"n_samples": 4, "shift": 0.4, "std_alpha": 1.0, "std_beta": 0.5, "rtol": 1e-5}
IN_S = {name: Variable(("s",), name) for name in ("loss", "objective")}


def make_problem(
    activation: str, dimension: int, seed: int, config: Config, **options: Any
) -> MeanFieldProblem:
    """Return random data of the kind above for a perceptron; one seed, one data set."""
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(N_DRAWS, config["n_samples"], dimension))
    x = max(draws, key=lambda draw: pdist(draw).min())
    rotation, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    phase = rng.uniform(0.0, 2.0 * np.pi, dimension)
    y = x + config["shift"] * np.sin(2.0 * x @ rotation.T + phase)
    return MeanFieldProblem(x, y, Perceptron(dimension, activation), **options)


def train(
    problem: MeanFieldProblem, at: Mapping[str, Any], config: Config, **options: Any
) -> Solution:
    """Solve the flow from Sobol particles; every step is recorded unless told else.

    Raises
    ------
    NotFiniteError
        If the run does not get to its end, be it that the objective only rises.
    """
    grid = DepthGrid.rk4(config["depth_steps"])
    law = standard_path(problem.k, config["std_alpha"], config["std_beta"])
    width = at.get("width", config.get("width"))
    start = law.sample(grid, width, method="sobol", seed=at["seed"])
    options = {"record": Steps(1), "atol": config["atol"]} | options
    found = solve(problem, grid, start, rtol=config["rtol"], **options)
    if found.status != "finished":
        raise NotFiniteError(found.message)
    return found


def _at_times(found: Solution, name: str) -> Array:
    """Objective or loss at `TIMES`, by its logarithm; NaN after the end."""
    logs = np.interp(TIMES, found.s, np.log(found.scalars[name]))
    return np.where(np.array(TIMES) <= found.s[-1], np.exp(logs), np.nan)


def _rise(values: Array, size: float) -> float:
    """Largest step upwards, in units of `size`; negative if every step goes down."""
    return float(np.diff(values).max() / size)


def _summary(found: Solution) -> dict[str, Any]:
    """What every run of the flow is judged by."""
    start = found.objective[0]
    return {
        "loss": _at_times(found, "loss"),
        "objective": _at_times(found, "objective"),
        "end": found.objective[-1],
        "rise_loss": _rise(found.loss, start),
        "rise_objective": _rise(found.objective, start),
        "residual": np.abs(found.scalars["energy_residual"]).max() / start,
        "late": late_rate(tangent_kernel(found.problem, found.grid, found.ensemble)),
    }


MEASURED = IN_S | {
    "end": "E_s at the end",
    "rise_loss": "largest rise of E in a step, of E_s(0)",
    "rise_objective": "largest rise of E_s in a step, of E_s(0)",
    "residual": "largest residual of the ledger (28), of E_s(0)",
    "late": "2 lambda_min of the kernel (27) at the end",
}


class Unobstructed(Experiment):
    """E(s) down to rounding where nothing obstructs it, and its late rate."""

    name = "unobstructed"
    title = "Zero loss for smooth blocks"
    shows = (
        "The loss falls in every step, below the threshold for every data set, "
        "activation and dimension; its late rate is 2 lambda_min of the tangent kernel."
    )
    leaves_out = (
        "Adaptive steps that raise the loss are refused, so the ledger is the "
        "independent check; finitely many Sobol particles stand for the measure."
    )
    rows = (4,)
    defaults = COMMON | {
        "activations": ["tanh", "gelu"],
        "dimensions": [1, 2, 3],
        "widths": [64, 128],
        "seeds": 6,
        "first_seed": 0,
        "depth_steps": 3,
        "s_end": 10000.0,
        "atol": 1e-13,
        "threshold": 1e-10,
        "end": 1e-14,
        "tolerance": 0.01,
    }
    quick = {"dimensions": [1, 2], "widths": [32, 64], "seeds": 3, "depth_steps": 2}
    grid = {
        "activation": "activations",
        "dimension": "dimensions",
        "width": "widths",
        "seed": "seeds",
    }
    measured = MEASURED | {
        "rates": Variable(("window",), "rate of E in the last windows"),
        "s_zero": "s at which E falls below the threshold",
    }
    positive = ("n_samples", "s_end", "threshold", "end", "atol", "rtol")
    analysis_keys = ("tolerance",)

    def further_axes(self, config: Config) -> dict[str, list]:
        return {"s": TIMES, "window": ["before", "last"]}

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        problem = make_problem(at["activation"], at["dimension"], at["seed"], config)
        end = config["end"]
        found = train(problem, at, config, s_end=config["s_end"], loss_below=end)
        levels = np.array([end / WINDOW**2, end / WINDOW, end, config["threshold"]])
        # Logarithms of the loss are nearly straight between steps.
        times = np.interp(-np.log(levels), -np.log(found.loss), found.s)
        rates = -np.log(WINDOW) / np.diff(times[:3])
        return _summary(found) | {"rates": rates, "s_zero": times[3]}

    def analyse(self, table: Table, config: Config) -> Report:
        falls = table["rise_objective"] <= RISE
        ratios = (table["rates"] / table["late"][..., np.newaxis]).reshape(-1, 2)
        ratios = ratios[np.isfinite(ratios).all(axis=1)]
        rate, interval = bootstrap(lambda runs: np.median(runs[:, 1]), ratios)
        # Other modes fade: as far off as the window before may it be still.
        ends = refinement_interval(rate, float(np.median(ratios[:, 0])))
        interval = min(*interval, *ends), max(*interval, *ends)
        end, tolerance = config["threshold"], config["tolerance"]
        verdicts = [
            judge_all("E falls in every step", falls, row=4),
            judge_all(f"E falls below {end:g}", table["end"] <= end, row=4),
            judge(
                "late rate of E / (2 lambda_min), median",
                *(1.0, rate, interval, tolerance),
                row=4,
                note=LATE_NOTE,
            ),
            judge_all(
                f"late rate of E at least {1 - tolerance:g} times 2 lambda_min",
                ratios[:, 1] >= 1.0 - tolerance,
                row=4,
            ),
            _ledger(table["residual"], tolerance),
        ]
        figure = [self._losses(table), self._rates(table)]
        return Report(verdicts, [self._text(table)], {self.name: figure})

    def _losses(self, table: Table) -> Panel:
        wide = table["loss"][:, :, -1, 0]
        lines = {
            f"{activation}, d = {d}": (TIMES, wide[i, j])
            for i, activation in enumerate(table.axes["activation"])
            for j, d in enumerate(table.axes["dimension"])
        }
        return traces("The loss falls to zero", "training time s", "E", lines)

    def _rates(self, table: Table) -> Panel:
        entries = {
            activation: (table["late"][i].ravel(), table["rates"][i, ..., -1].ravel())
            for i, activation in enumerate(table.axes["activation"])
        }
        points = [Series(x, y, label) for label, (x, y) in entries.items()]
        ends = [np.nanmin(table["late"]), np.nanmax(table["late"])]
        points.append(Series(ends, ends, "equal", style="line"))
        title = "The late rate is that of the kernel"
        return Panel(title, r"2 $\lambda_{min}$", "measured rate of E", points)

    def _text(self, table: Table) -> str:
        widths, s_zero = table.axes["width"], table["s_zero"]
        change = np.abs(s_zero[:, :, 0] / s_zero[:, :, -1] - 1.0)
        return (
            f"Time to the threshold with {widths[0]} instead of {widths[-1]} particles "
            f"per node: changes by {100 * np.nanmedian(change):.2g} % (median)."
        )


class Regulariser(Experiment):
    """Flow of E_s = E + lambda(s) M2 for lambda(s) = lambda0 exp(-gamma s)."""

    name = "regulariser"
    title = "A decaying quadratic regulariser"
    shows = (
        "E_s falls in every run, E alone rises where the regulariser is strong and "
        "slow, and every run ends below the same threshold."
    )
    leaves_out = "A constant regulariser is another experiment; one dimension of data."
    rows = (6,)
    defaults = COMMON | {
        "lambda0": [0.0, 0.01, 0.1, 1.0],
        "gamma": [0.1, 1.0, 10.0],
        "activation": "tanh",
        "dimension": 2,
        "width": 64,
        "seeds": 4,
        "first_seed": 0,
        "depth_steps": 2,
        "s_end": 10000.0,
        "atol": 1e-12,
        "threshold": 1e-10,
        "tolerance": 0.01,
    }
    quick = {"lambda0": [0.1, 1.0], "gamma": [0.1, 1.0], "width": 32, "seeds": 2}
    grid = {"lambda0": "lambda0", "gamma": "gamma", "seed": "seeds"}
    measured = MEASURED
    positive = ("n_samples", "s_end", "threshold", "gamma", "atol", "rtol")
    analysis_keys = ("tolerance",)

    def further_axes(self, config: Config) -> dict[str, list]:
        return {"s": TIMES}

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        regulariser = DecayingQuadratic(at["lambda0"], at["gamma"])
        names = (config["activation"], config["dimension"], at["seed"])
        problem = make_problem(*names, config, regulariser=regulariser)
        below = 0.1 * config["threshold"]
        return _summary(
            train(problem, at, config, s_end=config["s_end"], loss_below=below)
        )

    def analyse(self, table: Table, config: Config) -> Report:
        end = config["threshold"]
        falls = table["rise_objective"] <= RISE
        # The strongest and slowest regulariser.
        rises = np.isfinite(table["rise_loss"][-1, 0]) & (
            table["rise_loss"][-1, 0] > RISE
        )
        n_rising, share = int(rises.sum()), share_interval(int(rises.sum()), rises.size)
        name = f"lambda0 = {config['lambda0'][-1]:g}, gamma = {config['gamma'][0]:g}"
        verdicts = [
            judge_all("E_s falls in every step", falls, row=6),
            judge_all(
                f"E_s, hence E from then on, falls below {end:g}",
                table["end"] <= end,
                row=6,
            ),
            judge_above(
                f"share of runs in which E alone rises, {name}",
                *(0.0, n_rising / rises.size, share),
            ),
            _ledger(table["residual"], config["tolerance"]),
        ]
        lines = {
            f"{label}, {key}": (TIMES, table[key][(*place, 0)])
            for label, place in (("strong, slow", (-1, 0)), ("weak, fast", (0, -1)))
            for key in ("objective", "loss")
        }
        panels = [
            traces("Strong and weak regularisers", "training time s", "E", lines),
        ]
        return Report(verdicts, [], {self.name: panels})


class Bias(Experiment):
    """What a constant lambda leaves of the loss: of order lambda^2."""

    name = "bias"
    title = "A constant quadratic regulariser"
    shows = "The loss that a constant regulariser leaves falls like lambda squared."
    leaves_out = (
        "The end, a fixed multiple of 1/lambda, is not yet the limit s to infinity; "
        "the loss at half the time shows how near it is."
    )
    rows = (6,)
    defaults = COMMON | {
        "lambdas": [1e-3, 5e-4, 2.5e-4, 1.25e-4],
        "activation": "tanh",
        "dimension": 2,
        "width": 64,
        "seeds": 8,
        "first_seed": 0,
        "depth_steps": 2,
        "horizon": 4.0,
        "atol": 1e-9,
        "confidence": 0.95,
        "tolerance": 0.05,
    }
    quick = {"width": 32, "seeds": 4}
    grid = {"lambda": "lambdas", "seed": "seeds"}
    measured = {
        "left": "loss at the end",
        "half": "loss at half the time",
        "late": "2 lambda_min of the kernel (27) at the end",
    }
    positive = ("lambdas", "horizon", "n_samples", "atol", "rtol")

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        names = (config["activation"], config["dimension"], at["seed"])
        regulariser = DecayingQuadratic(at["lambda"])
        problem = make_problem(*names, config, regulariser=regulariser)
        s_end = config["horizon"] / at["lambda"]
        # Small steps in s are of no use near rest: a stabilised method.
        options = {"stepper": "rkc2", "record": [0.5 * s_end, s_end]}
        found = train(problem, at, config, s_end=s_end, **options)
        kernel = tangent_kernel(problem, found.grid, found.ensemble)
        return {
            "left": found.loss[-1],
            "half": found.loss[-2],
            "late": late_rate(kernel),
        }

    def analyse(self, table: Table, config: Config) -> Report:
        lambdas = np.array(table.axes["lambda"])
        left = table["left"]
        fit = fit_asymptotic_power(
            1.0 / lambdas, left, statistic="median", confidence=config["confidence"]
        )
        change = np.abs(table["half"] / left - 1.0)
        verdict = judge(
            "exponent of the loss that a constant lambda leaves",
            *(2.0, fit.exponent, fit.exponent_interval, config["tolerance"]),
            row=6,
        )
        panel = curves(
            "Bias of a constant regulariser",
            r"1/$\lambda$",
            "E at the end",
            {"data sets: median, quartiles": (1.0 / lambdas, *centre(left))},
            fits={"data sets: median, quartiles": fit},
            note=f"exponent {fit.exponent:.3f}",
        )
        text = (
            f"In the second half of the time E changes by {np.nanmedian(change):.2g} "
            f"(median, relative); least 2 lambda_min of K {np.nanmin(table['late']):.2g}."
        )
        return Report([verdict], [text], {self.name: [panel]})


class Networks(Experiment):
    """Networks of L ~ 1 / eps and M ~ 1 / eps^2 against the limit and a threshold."""

    name = "networks"
    title = "Finite networks reach a threshold"
    shows = (
        "Along L ~ 1/eps, M ~ 1/eps^2 the error of the loss that a share eta of the "
        "draws exceeds falls like eps, at every time; wide and deep networks are below "
        "twice the loss of the limit."
    )
    leaves_out = "One data set in d = 1; the constants of the theorem are not compared."
    defaults = COMMON | {
        "depths": [4, 8, 16, 32],
        "width_of_first": 16,
        "activation": "tanh",
        "dimension": 1,
        "data_seed": 0,
        "seeds": 100,
        "first_seed": 0,
        "s": [1.0, 4.0, 16.0],
        "eta": 0.1,
        "atol": 1e-7,
        "limit_tol": 1e-4,
        "confidence": 0.95,
        "tolerance": 0.1,
    }
    quick = {"depths": [4, 8, 16], "seeds": 50}
    grid = {"depth": "depths", "seed": "seeds"}
    measured = {
        "error": Variable(("s",), "error of the loss"),
        "ratio": Variable(("s",), "loss, of twice that of the limit"),
    }
    positive = ("depths", "width_of_first", "limit_tol", "atol", "rtol")
    analysis_keys = ("eta", "confidence", "tolerance")

    def further_axes(self, config: Config) -> dict[str, list]:
        return {"s": config["s"]}

    def needs(self, at: Mapping[str, Any], config: Config) -> tuple[str, ...]:
        return ("limit",)

    def references(self, config: Config) -> dict[str, dict]:
        return {"limit": {}}

    def _setting(self, config: Config) -> tuple[MeanFieldProblem, Any]:
        names = (config["activation"], config["dimension"], config["data_seed"])
        problem = make_problem(*names, config)
        law = standard_path(problem.k, config["std_alpha"], config["std_beta"])
        return problem, law

    def refer(self, name: str, config: Config) -> dict[str, Array]:
        problem, law = self._setting(config)
        s, tol = config["s"], config["limit_tol"]
        found = solve_limit(problem, marginal(law), s_end=s[-1], tol=tol, record=s)
        return {"loss": found.loss[-len(s) :]}

    def cell(self, at: Mapping[str, Any], config: Config, references: Any) -> Any:
        problem, law = self._setting(config)
        times = {"s_end": config["s"][-1], "record": config["s"]}
        grid, limit = DepthGrid.euler(at["depth"]), references["limit"]["loss"]
        start = law.sample(grid, _width(at["depth"], config), seed=at["seed"])
        found = solve(
            problem, grid, start, rtol=config["rtol"], atol=config["atol"], **times
        )
        if found.status != "finished":
            raise NotFiniteError(found.message)
        loss = found.loss[-len(limit) :]
        return {"error": np.abs(loss - limit), "ratio": loss / (2.0 * limit)}

    def analyse(self, table: Table, config: Config) -> Report:
        eta, depths = config["eta"], table.axes["depth"]
        verdicts, entries, fits = [], {}, {}
        for place, s in enumerate(config["s"]):
            errors, label = table["error"][..., place], f"s = {s:g}"
            options = {"statistic": 1.0 - eta, "confidence": config["confidence"]}
            fits[label] = fit = fit_asymptotic_power(depths, errors, **options)
            entries[label] = (depths, fit.values)
            claim = f"{label}: exponent of the {1 - eta:g}-quantile of the error in L"
            interval = fit.exponent_interval
            verdicts.append(
                judge_at_least(claim, 1.0, fit.exponent, interval, config["tolerance"])
            )
        below = table["ratio"] <= 1.0
        shares = {
            f"s = {s:g}": (depths, below[..., place].mean(axis=1))
            for place, s in enumerate(config["s"])
        }
        least = below[-1].sum(axis=0).min()
        n = below.shape[1]
        claim = "share of the largest networks below twice the loss of the limit"
        verdicts.append(
            judge_above(claim, 1.0 - eta, least / n, share_interval(int(least), n))
        )
        panels = [
            curves(
                "Error exceeded by few draws",
                "L, with M ~ L²",
                "error of E",
                entries,
                fits=fits,
            ),
            curves(
                "Below twice the loss of the limit",
                "L, with M ~ L²",
                "share of networks",
                shares,
                yscale="linear",
            ),
        ]
        return Report(verdicts, [], {self.name: panels})


def _width(depth: int, config: Config) -> int:
    """M ~ L^2, as the theorem couples them: L ~ 1 / eps and M ~ 1 / eps^2."""
    return round(config["width_of_first"] * (depth / config["depths"][0]) ** 2)


def _ledger(residual: Array, tolerance: float) -> Any:
    claim = f"the ledger (28) closes to {tolerance:g} of the start"
    return judge_all(claim, residual <= tolerance)


STUDY = Collection(
    "zero-loss",
    "Zero loss and regularisation for smooth blocks",
    (Unobstructed(), Regulariser(), Bias(), Networks()),
    "Ding, Chen, Li, Wright 2021, arXiv:2105.14417",
)
