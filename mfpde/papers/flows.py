"""Experiments that follow the flow through training times and draws of a law."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis import bootstrap, refinement_interval
from mfpde.analysis.rates import Interval
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.papers.ends import finished
from mfpde.problem import MeanFieldProblem
from mfpde.run.solution import Solution
from mfpde.run.solver import solve
from mfpde.studies.curves import centre
from mfpde.studies.experiment import Experiment
from mfpde.studies.study import Config
from mfpde.studies.table import Table
from mfpde.theory.tangent import tangent_kernel

Array = NDArray[np.float64]

WINDOW = 100.0
"""Late: the loss is within this factor of the last one, or within its square."""


def over_seeds(
    values: ArrayLike, config: Config, others: Iterable[ArrayLike] = ()
) -> tuple[float, Interval]:
    """Return the median over seeds and its interval, by the bootstrap.

    The interval also holds what `refinement_interval` gives for the medians of coarser
    measurements, `others`: chance and what is neglected in every measurement alike.
    Runs that diverged, NaN, are left out; NaN if all did.
    """
    values = np.ravel(values)
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, (math.nan, math.nan)
    value, interval = bootstrap(np.median, values, confidence=config["confidence"])
    ends = [interval]
    ends += [refinement_interval(value, float(np.nanmedian(each))) for each in others]
    return value, (min(low for low, _ in ends), max(high for _, high in ends))


def late_rates(found: Solution, residuals: Array) -> dict[str, float]:
    """Late rates over that of Eq. (27), 2 lambda_min of the kernel at the end.

    Parameters
    ----------
    found : Solution
        Of a flow to zero loss (squared, equal weights), recorded at its steps.
    residuals : ndarray, shape (R, N q)
        Outputs minus targets at every record.

    Returns
    -------
    rates : dict
        "rate" and "wide" of the slowest mode of the loss, (v.r)^2 with v the lowest
        eigenvector, in a shorter and a longer time before the end; "whole" of the loss
        itself, which also holds faster modes, so that it comes from above.
    """
    kernel = tangent_kernel(found.problem, found.grid, found.ensemble)
    values, modes = np.linalg.eigh(kernel)
    slowest = (residuals @ modes[:, 0]) ** 2

    def rate(falling: Array, window: float) -> float:
        late = found.loss <= window * found.loss[-1]
        if late.sum() < 3:
            return float("nan")
        slope = np.polyfit(found.s[late], np.log(falling[late]), 1)[0]
        return float(-slope / (2.0 * values[0]))

    return {
        "rate": rate(slowest, WINDOW),
        "wide": rate(slowest, WINDOW**2),
        "whole": rate(found.loss, WINDOW),
    }


class OverTime(Experiment):
    """The flow up to `s_end` to `rtol`; the table has its records as axis s.

    Attributes
    ----------
    checks : dict of str to callable
        Key that holds names, to what says what is wrong with one, or None.
    """

    checks: ClassVar[dict[str, Callable[[str], str | None]]] = {}
    positive = ("s_end", "rtol")

    def problems(self, config: Config) -> list[str]:
        """As every experiment, and the names are those of something."""
        found = super().problems(config)
        for key, check in self.checks.items():
            wrong = [check(name) for name in config[key]]
            found += [f"`{key}`: {problem}" for problem in wrong if problem]
        return found

    def further_axes(self, config: Config) -> dict[str, list]:
        """Return s: 0, and `s_end` divided by powers of two."""
        halved = float(config["s_end"]) * 0.5 ** np.arange(12.0, -1.0, -1.0)
        return {"s": [0.0, *halved.tolist()]}

    def flow(
        self,
        problem: MeanFieldProblem,
        grid: DepthGrid,
        start: ParticleEnsemble,
        config: Config,
        **options: Any,
    ) -> Solution:
        """Solve with the records of the table, or those of `options`.

        Raises
        ------
        NotFiniteError
            If the run does not get to its end.
        """
        options = {"record": self.further_axes(config)["s"]} | options
        tolerances = {"rtol": config["rtol"], "atol": 1e-3 * config["rtol"]}
        options = options | {"s_end": float(config["s_end"])}
        return finished(solve.quietly(problem, grid, start, **tolerances, **options))

    def held(self, config: Config, found: Solution, name: str) -> Array:
        """A scalar at the records of the table; after an early end the last value."""
        axis = self.further_axes(config)["s"]
        last = np.searchsorted(found.s, axis)
        return found.scalars[name][np.minimum(last, len(found.s) - 1)]

    def medians(
        self, table: Table, name: str, axis: str, label: Callable[[str], str] = str
    ) -> dict[str, tuple]:
        """Median and quartiles over seeds against s > 0, for every value of an axis."""
        return {
            label(each): (
                table.axes["s"][1:],
                *(v[1:] for v in centre(table.select(**{axis: each})[name].T)),
            )
            for each in table.axes[axis]
        }
