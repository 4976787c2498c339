"""Experiments of the study `exact` on the horizon: errors of networks along s.

t is depth, s is training time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import bootstrap, refinement_interval
from mfpde.blocks import Linear, Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.laws import Gaussian
from mfpde.papers.ends import solved
from mfpde.papers.references import output
from mfpde.problem import MeanFieldProblem
from mfpde.references import exact
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge, judge_above, judge_all, judge_below
from mfpde.studies.report import Report
from mfpde.studies.study import Config, Variable
from mfpde.studies.table import Table

Array = NDArray[np.float64]

LIMIT = DepthGrid.gauss(6, 2)
TIGHT = {"rtol": 1e-9, "atol": 1e-13}


KINKED = ("relu", "leaky_relu")


class Coefficient(Experiment):
    """T1: L (u_L - u) along s, against the exact equation for its limit delta."""

    name = "coefficient"
    title = "Coefficient of 1/L along training (T1)"
    description = (
        "L (u_L - u) of trained networks, f = theta z, and the exact coefficient."
    )
    limitations = "Linear blocks in d = 1; starts whose mean is near zero."
    claims = (3,)
    defaults = {
        "depths": [16, 32, 64, 128],
        "seeds": 20,
        "first_seed": 0,
        "s": [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0, 4.0],
        "tolerance": 0.01,
    }
    quick = {"depths": [16, 32, 64], "seeds": 8}
    grid = {"depth": "depths", "seed": "seeds"}
    measured = {
        "scaled": Variable(("s",), "L (u_L - u)"),
        "delta": Variable(("s",), "its exact limit for infinite L"),
    }
    positive = ("depths",)
    least, times = {"depths": 3, "s": 5}, ("s",)

    def further_axes(self, config: Config) -> dict[str, list]:
        """Training times."""
        return {"s": config["s"]}

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Both the network and the limit are solved with the same particles."""
        rng = np.random.default_rng(at["seed"])
        x, ratio = rng.uniform(0.8, 1.4), rng.uniform(1.3, 1.9)
        start, y, theta = rng.uniform(-0.2, 0.2), ratio * x, rng.normal(size=4)
        theta += start - theta.mean()
        problem = MeanFieldProblem([x], [y], Linear(1))
        ends = []
        for grid in (LIMIT, DepthGrid.euler(at["depth"])):
            shape = (grid.n_nodes, 4, 1)
            ensemble = ParticleEnsemble(np.broadcast_to(theta[:, np.newaxis], shape))
            options = {"observers": {"output": output}, **TIGHT}
            found = solved(problem, grid, ensemble, config["s"], **options)
            ends.append(found.observations["output"][:, 0, 0])
        delta = exact.ScalarLinear(x, y, start).depth_coefficient(config["s"])
        return {"scaled": at["depth"] * (ends[1] - ends[0]), "delta": delta}

    def analyse(self, table: Table, config: Config) -> Report:
        """Extrapolate from two depths each, and compare with delta."""
        scaled, delta, s = table["scaled"], table["delta"][0], np.array(table.axes["s"])
        fine, coarse = (2 * scaled[i] - scaled[i - 1] for i in (-1, -2))
        factors = [
            float(np.mean(np.sum(c * delta, -1) / np.sum(delta**2, -1)))
            for c in (fine, coarse)
        ]
        size = np.abs(delta).max(axis=1)
        is_near = np.abs(fine - delta).max(axis=1) <= config["tolerance"] * size
        errors = np.abs(scaled[-1])
        peak = errors.max(axis=1)
        is_humped = np.maximum(errors[:, 0], errors[:, -1]) < 0.5 * peak
        late = np.diff(np.log(errors[:, -2:]), axis=1)[:, 0] / (s[-1] - s[-2])
        verdicts = [
            judge(
                "L (u_L - u), extrapolated in L, over the exact coefficient",
                1.0,
                factors[0],
                refinement_interval(*factors),
                config["tolerance"],
                row=3,
            ),
            judge_all("it follows the exact coefficient along s", is_near, row=3),
            judge_all("the error grows from small, and decays", is_humped, row=3),
            judge_below(
                "growth rate of the error at the end (of the bound: positive)",
                0.0,
                float(late.mean()),
                (float(late.min()), float(late.max())),
                row=3,
            ),
        ]
        first = {
            f"L = {depth}": (s, scaled[i, 0])
            for i, depth in enumerate(table.axes["depth"])
        }
        panel = curves(
            "scalar linear block, first instance",
            "s",
            "L (u_L - u)",
            first,
            bounds={"exact, L = inf": (s, delta[0])},
            xscale="linear",
            yscale="linear",
        )
        return Report(verdicts, [], {"coefficient": [panel]})


class Horizon(Experiment):
    """Error of finite networks against the limit along s, tanh perceptron."""

    name = "horizon"
    title = "Error of networks along training"
    description = (
        "Error of the outputs against the limit: it grows, has a peak and decays."
    )
    limitations = (
        "Draws come in pairs with opposite v: all networks begin with the outputs of "
        "the limit, so that training makes the error. Two samples, fitted by s = 16: "
        "while a flow has not fitted its data the error goes on growing."
    )
    claims = (3,)
    defaults = {
        "depths": [8, 16],
        "widths": [32, 128],
        "seeds": 32,
        "first_seed": 0,
        "samples": 2,
        "data_seeds": [0, 1, 2],
        "activation": "tanh",
        "spread": 1.0,
        "s": [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0],
        "rtol": 1e-5,
        "confidence": 0.99,
    }
    quick = {"depths": [8], "widths": [32], "seeds": 16}
    grid = {
        "data": "data_seeds",
        "depth": "depths",
        "width": "widths",
        "seed": "seeds",
    }
    measured = {"error": Variable(("s",), "rms error of the outputs")}
    positive = ("depths", "widths", "samples", "spread", "rtol")
    least, times = {"s": 5}, ("s",)

    def further_axes(self, config: Config) -> dict[str, list]:
        """Training times."""
        return {"s": config["s"]}

    def problems(self, config: Config) -> list[str]:
        """Also of kinks: the quadrature of the limit takes a smooth activation."""
        found = super().problems(config)
        if config["activation"] in KINKED:
            found.append(
                f"`activation` must be smooth, such as tanh or gelu, got "
                f"{config['activation']!r}."
            )
        return found

    def needs(self, at: Mapping[str, Any], config: Config) -> tuple[str, ...]:
        """The limit on the same data."""
        return (f"limit-{at['data']}",)

    def references(self, config: Config) -> dict[str, dict]:
        """The limit on every data set."""
        keys = ("samples", "activation", "spread", "s", "rtol")
        settings = {key: config[key] for key in keys}
        return {f"limit-{each}": settings for each in config["data_seeds"]}

    def refer(self, name: str, config: Config) -> Mapping[str, ArrayLike]:
        """Outputs of the limit: Gauss nodes, pairs of Sobol's points."""
        data, grid = int(name.removeprefix("limit-")), DepthGrid.gauss(5)
        return {"output": _outputs(config, data, grid, 2048, "sobol", 0)}

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Train one network."""
        grid = DepthGrid.euler(at["depth"])
        found = _outputs(config, at["data"], grid, at["width"], "iid", at["seed"])
        limit = references[f"limit-{at['data']}"]["output"]
        squares = np.square(found - limit).sum(axis=-1)
        return {"error": np.sqrt(squares.mean(axis=-1))}

    def analyse(self, table: Table, config: Config) -> Report:
        """Rates of ln error over the second and the last interval of s."""
        errors, s = table["error"], np.array(table.axes["s"])
        runs = np.moveaxis(errors, 3, 0)[..., 1:]
        runs = runs[np.isfinite(runs).all(axis=(1, 2, 3, 4))]
        options = {"confidence": config["confidence"]}

        def growth(place: int) -> Any:
            """d ln error / ds between neighbouring times after the first."""

            def rate(some: Array) -> float:
                logs = 0.5 * np.log(np.mean(some**2, axis=0))
                step = np.diff(logs, axis=-1)[..., place] / np.diff(s[1:])[place]
                return float(np.mean(step))

            return bootstrap(rate, runs, **options)

        verdicts = [
            judge_above("error grows early: d ln error / ds", 0.0, *growth(0), row=3),
            judge_below("error decays late: d ln error / ds", 0.0, *growth(-1), row=3),
        ]
        shown = {
            f"L = {depth}, M = {width}": (
                s[1:],
                *centre(errors[0, i, j, :, 1:], axis=0),
            )
            for i, depth in enumerate(table.axes["depth"])
            for j, width in enumerate(table.axes["width"])
        }
        panel = curves("error against the limit, first data", "s", "rms error", shown)
        return Report(verdicts, [], {"horizon": [panel]})


def _outputs(
    config: Config, data: int, grid: DepthGrid, width: int, method: str, seed: int
) -> Array:
    """Outputs (S, N, 2) from pairs of particles with opposite v."""
    rng = np.random.default_rng(data)
    x = rng.normal(size=(config["samples"], 2))
    y = x + 0.5 * rng.normal(size=x.shape)
    problem = MeanFieldProblem(x, y, Perceptron(2, config["activation"]))
    law = Gaussian(0.0, config["spread"], problem.k)
    half = law.sample(grid, max(1, width // 2), method=method, seed=seed).theta
    mirrored = half * np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    start = ParticleEnsemble(np.concatenate([half, mirrored], axis=1))
    rtol, observers = config["rtol"], {"output": output}
    options = {"rtol": rtol, "atol": 1e-3 * rtol, "observers": observers}
    return solved(problem, grid, start, config["s"], **options).observations["output"]
