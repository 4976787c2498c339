"""Zhang et al. 2019 and Marion et al. 2023: the scale tau against smoothness in depth.

Linear layers of variance 1 / width, tau = L^a. With D the mean of
ln(1 + |h_L - h_0|^2 / |h_0|^2), section 1.5 of the theory: independent increments add
in square, D ~ tau^2 L, those of smooth or tied layers coherently, D ~ (tau L)^2 if this
is small and tau L if it is large.
"""

from __future__ import annotations

import numpy as np

from mfpde.evaluation import trajectories
from mfpde.figures import Image, Panel
from mfpde.papers.powers import power_between
from mfpde.papers.residual import (
    MatrixExperiment,
    matrix_network,
    normal_problem,
)  # fmt: skip
from mfpde.studies.curves import centre, curves
from mfpde.studies.judging import judge
from mfpde.studies.report import Report

LENGTHS = {"independent": 0.0, "tied": np.inf}
SHOWN = -0.5
"""Exponent of tau at which independent layers alone are stable."""


def growth_exponent(exponent: float, *, coherent: bool) -> float:
    """Exponent of L in D for tau = L^exponent; 0 at the critical scale."""
    if not coherent:
        return 2.0 * exponent + 1.0
    reach = exponent + 1.0
    return 2.0 * reach if reach < 0.0 else reach


def next_exponents(exponent: float, *, coherent: bool) -> set[float]:
    """Exponents of L in what comes after the power law, as shares of it.

    Small D: D itself. Large D: the second order of ln(1 + x) in every layer, tau if
    coherent, else tau^2; and a constant beside coherent growth, 1 / (tau L).
    """
    order = growth_exponent(exponent, coherent=coherent)
    if order < 0.0:
        return {order}
    if not coherent:
        return {2.0 * exponent}
    return {exponent, -order} if order > 0.0 else {exponent}


def region(exponent: float, *, coherent: bool) -> str:
    """Name of what becomes of the layers as L grows."""
    order = growth_exponent(exponent, coherent=coherent)
    if order == 0.0:
        return "ODE" if coherent else "SDE"
    return "identity" if order < 0.0 else "explosion"


def is_length(text: str) -> bool:
    """Whether a text is a positive number."""
    try:
        return 0.0 < float(text) < np.inf
    except ValueError:
        return False


class Phases(MatrixExperiment):
    """Growth of linear layers by the exponent of tau and the smoothness in depth."""

    name, title, claims = "phases", "Residual scale against smoothness in depth", (15,)
    description = (
        "Exponent of L in the mean of ln(1 + |h_L - h_0|^2 / |h_0|^2), linear layers, "
        "variance 1 / width: below 0 identity, 0 a limit in depth, above 0 explosion."
    )
    limitations = (
        "At the start only, and at these exponents of tau, none between them. The next "
        "terms of the expansion in L are fitted beside the power, one at a time. "
        "Independent draws for different L are increments of one path."
    )
    defaults = {
        "smoothness": ["independent", "0.2", "1", "tied"],
        "exponents": [-1.25, -1.0, -0.75, -0.5, -0.25],
        "depths": [64, 128, 256, 512, 1024], "width": 16, "n_samples": 16,
        "seeds": 24, "first_seed": 0, "confidence": 0.99, "tolerance": 0.1,
    }  # fmt: skip
    quick = {"seeds": 32, "smoothness": ["independent", "1", "tied"]}
    grid = {
        "smoothness": "smoothness", "exponent": "exponents", "depth": "depths",
        "seed": "seeds",
    }  # fmt: skip
    together = ("exponent", "depth")
    measured = {
        "growth": "ln(1 + |h_L - h_0|^2 / |h_0|^2)",
        "variation": "sum over layers of |h_(l+1) - h_l|^2 / |h_0|^2",
    }
    positive, one_path = ("depths", "width", "n_samples"), True
    # One more than the fit needs: tied layers have hardly any chance in their exponent,
    # and what lies before the asymptotic range is told by leaving out a depth.
    least_depths = 5

    def problems(self, config):
        """See `Experiment.problems`."""
        found, given = super().problems(config), set(config["smoothness"])
        named = {each for each in given if not is_length(each)}
        if named != set(LENGTHS) or SHOWN not in config["exponents"]:
            found.append(
                "`smoothness` must hold independent, tied and any lengths in t, and "
                f"`exponents` {SHOWN:g}, got {config['smoothness']}, "
                f"{config['exponents']}."
            )
        return found

    def cell(self, at, config, references):
        """See `Experiment.cell`."""
        length = LENGTHS.get(at["smoothness"])
        length = float(at["smoothness"]) if length is None else length
        problem = normal_problem(
            config["width"], config["n_samples"], at["seed"], positive=False
        )
        net = matrix_network(
            problem, at["depth"], at["exponent"], at["seed"],
            outer="identity", variance=1.0, length=length,
            n_finest=None if length else max(config["depths"]),
        )  # fmt: skip
        _, z = trajectories(problem, net.grid, net.ensemble, problem.x)
        start = np.sum(z[0] ** 2, axis=1)
        moved = np.sum((z[-1] - z[0]) ** 2, axis=1) / start
        steps = np.sum(np.diff(z, axis=0) ** 2, axis=(0, 2)) / start
        return {"growth": np.log1p(moved).mean(), "variation": steps.mean()}

    def analyse(self, table, config):
        """See `Experiment.analyse`."""
        axes, verdicts = table.axes, []
        exponents = np.empty(table["growth"].shape[:2])
        # All cells together have the confidence that is asked for.
        confidence = 1.0 - (1.0 - config["confidence"]) / exponents.size
        for i, j in np.ndindex(exponents.shape):
            smooth, exponent = axes["smoothness"][i], axes["exponent"][j]
            cell = table.select(smoothness=smooth, exponent=exponent)
            found = self._verdicts(cell, smooth, exponent, confidence, config)
            exponents[i, j] = found[0].value
            verdicts += found
        entries = {
            each: (
                axes["depth"],
                *centre(table.select(smoothness=each, exponent=SHOWN)["growth"]),
            )
            for each in LENGTHS
        }
        return Report(
            verdicts, figures={"phases": self._panels(axes, exponents, entries)}
        )

    @staticmethod
    def _verdicts(cell, smooth, exponent, confidence, config):
        """The exponent of D, and at a critical scale that of the variation."""
        depths = np.array(cell.axes["depth"], dtype=float)
        kind = {"coherent": smooth != "independent"}
        expected = growth_exponent(exponent, **kind)
        # Beside its own exponent a cell may have that of a limit in depth; a critical
        # one that of layers of the other kind.
        other = growth_exponent(exponent, coherent=not kind["coherent"])
        name = f"{smooth}, tau = L^{exponent:g}, {region(exponent, **kind)}: exponent"
        cases = [("growth", "", expected, 0.0 if expected else other)]
        if expected == 0.0:
            order = -1.0 if kind["coherent"] else 0.0
            cases.append(("variation", " of the variation", order, -1.0 - order))
        orders = next_exponents(exponent, **kind)
        return [
            judge(
                f"{name}{text}", order,
                *power_between(depths, cell[key], orders, confidence),
                config["tolerance"], rivals=(rival,), row=15,
            )
            for key, text, order, rival in cases
        ]  # fmt: skip

    @staticmethod
    def _panels(axes, exponents, entries):
        image = Image(
            exponents, axes["exponent"], axes["smoothness"], "exponent of L", "linear"
        )
        return [
            Panel(
                "Exponent of the growth",
                "exponent of tau",
                "layers, or their length in t",
                kind="heat",
                image=image,
                xscale="linear",
                yscale="linear",
            ),
            curves("tau = L^(-1/2)", "layers L", "mean logarithm", entries),
        ]
