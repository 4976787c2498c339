"""The experiment `invariants` of the study `exact`, and particles of exact laws.

t is depth, s is training time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.blocks import Bilinear, Linear
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.papers.ends import solved
from mfpde.papers.references import output
from mfpde.problem import MeanFieldProblem
from mfpde.recording import invariant_spread
from mfpde.references import exact
from mfpde.studies.curves import centre, curves
from mfpde.studies.experiment import Experiment
from mfpde.studies.judging import judge_all
from mfpde.studies.report import Report
from mfpde.studies.study import Config
from mfpde.studies.table import Table

Array = NDArray[np.float64]

ROUNDING = 1e-10


def four_points(grid: DepthGrid, sigma: float) -> ParticleEnsemble:
    """(+-sigma, +-sigma): the law of T3 with E u^2 = E v^2 = sigma^2, E u v = 0."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    return ParticleEnsemble(np.broadcast_to(sigma * signs, (grid.n_nodes, 4, 2)))


def cross_polytope(grid: DepthGrid, covariance: Array) -> ParticleEnsemble:
    """Points +-sqrt(k) S e_j: int theta theta^T drho = S S^T the covariance (T13)."""
    k = len(covariance)
    points = np.sqrt(k) * np.linalg.cholesky(covariance).T
    points = np.concatenate([points, -points])
    return ParticleEnsemble(np.broadcast_to(points, (grid.n_nodes, 2 * k, k)))


def second_moments(theta: Array, weights: Array) -> Array:
    """int theta theta^T drho, (..., k, k), of particles (..., M, k)."""
    return np.einsum("m,...mi,...mj->...ij", weights, theta, theta)


class Invariants(Experiment):
    """T1, T3, T7, T13 on finite networks: invariants, and the exact laws."""

    name = "invariants"
    title = "Invariants and exact laws of linear networks"
    description = "Drift of what the flow conserves, against the tolerance in s."
    limitations = "Networks of a few layers; infinite width by exact particles."
    claims = (20,)
    defaults = {
        "cases": ["T1", "T3", "T7", "T13"],
        "rtols": [1e-4, 1e-6, 1e-8],
        "seeds": 12,
        "first_seed": 0,
        "layers": [3, 6],
        "s_end": 1.5,
        "factor": 30.0,
    }
    quick = {"seeds": 4}
    grid = {"case": "cases", "rtol": "rtols", "layers": "layers", "seed": "seeds"}
    measured = {
        "drift": "largest relative change in s of what is conserved",
        "spread": "spread in depth of tr Q^j (T7), relative",
        "error": "largest error of outputs against the exact law, relative",
    }
    positive = ("rtols", "s_end", "factor")
    analysis_keys = ("factor",)

    def cell(
        self, at: Mapping[str, Any], config: Config, references: Mapping[str, Any]
    ) -> Mapping[str, ArrayLike]:
        """Solve a random instance of a case, and its closed system."""
        rng = np.random.default_rng([at["layers"], at["seed"]])
        problem, start, law = _instance(at["case"], rng, DepthGrid.euler(at["layers"]))
        s = np.linspace(0.0, config["s_end"], 6)
        observers = {"output": output, "spread": invariant_spread}
        options = {"rtol": at["rtol"], "atol": 1e-3 * at["rtol"]}
        grid = DepthGrid.euler(at["layers"])
        found = solved(problem, grid, start, s, observers=observers, **options)
        expected = np.reshape(law.output(s), found.observations["output"].shape)
        error = np.abs(found.observations["output"] - expected).max()
        kept = _conserved(at["case"], found.theta, start.weights)
        drift = np.abs(kept - kept[0]).max() / max(np.abs(found.theta).max() ** 2, 1.0)
        return {
            "drift": drift,
            "spread": found.scalars["spread"].max(),
            "error": error / np.abs(problem.y).max(),
        }

    def analyse(self, table: Table, config: Config) -> Report:
        """Drifts and errors at most a multiple of the tolerance, in every instance."""
        rtols = np.array(table.axes["rtol"])
        bound = config["factor"] * rtols[:, np.newaxis, np.newaxis]
        verdicts, shown = [], {}
        for case in table.axes["case"]:
            part = table.select(case=case)
            for name, what in (("drift", "invariants"), ("error", "exact finite law")):
                claim = f"{case}: {what} to {config['factor']:g} rtol"
                verdicts.append(judge_all(claim, part[name] <= bound, row=20))
            drift = np.maximum(part["drift"].reshape(len(rtols), -1), 1e-17)
            shown[case] = (rtols, *centre(drift))
        is_flat = table["spread"] <= ROUNDING
        claim = "tr Q^j is the same in all layers, to rounding (T7)"
        verdicts.append(judge_all(claim, is_flat, row=20))
        bounds = {"rtol": (rtols, rtols)}
        panel = curves("drift of invariants", "rtol", "drift", shown, bounds=bounds)
        return Report(verdicts, [], {"invariants": [panel]})


def _instance(case: str, rng: Any, grid: DepthGrid) -> tuple[Any, Any, Any]:
    """Problem, particles and exact law of a finite network."""
    n = grid.n_nodes
    if case in ("T1", "T3"):
        x, y, size = rng.uniform(0.8, 1.4), rng.uniform(1.6, 2.2), rng.uniform(0.4, 0.8)
        if case == "T3":
            law = exact.ScalarBilinear.gaussian(x, y, size).finite_depth(n)
            return MeanFieldProblem([x], [y], Bilinear(1)), four_points(grid, size), law
        theta = size * rng.normal(size=(n, 5, 1))
        law = exact.ScalarLinear(x, y, theta.mean(axis=(1, 2)), n_layers=n)
        return MeanFieldProblem([x], [y], Linear(1)), ParticleEnsemble(theta), law
    x = rng.normal(size=(4, 2))
    y = x @ (np.eye(2) + 0.4 * rng.normal(size=(2, 2)))
    if case == "T7":
        theta = 0.5 * rng.normal(size=(n, 5, 4))
        depth = exact.DepthScheme.euler(n)
        means = theta.mean(axis=1).reshape(n, 2, 2)
        law = exact.MatrixLinear(x, y, start=means, depth=depth)
        return MeanFieldProblem(x, y, Linear(2)), ParticleEnsemble(theta), law
    factor = rng.normal(size=(4, 4))
    covariance = 0.1 * factor @ factor.T + 0.1 * np.eye(4)
    law = exact.BilinearMoments(x, y, covariance).finite_depth(n)
    return MeanFieldProblem(x, y, Bilinear(2)), cross_polytope(grid, covariance), law


def _conserved(case: str, theta: Array, weights: Array) -> Array:
    """What a case conserves, from theta (S, J, M, k): times first."""
    if case == "T3":
        # Per particle, and a^2 - r^2 of every layer.
        u, v = theta[..., 0], theta[..., 1]
        a, r = 0.5 * (u**2 + v**2).mean(axis=-1), (u * v).mean(axis=-1)
        return np.concatenate([u**2 - v**2, (a**2 - r**2)[..., np.newaxis]], axis=-1)
    if case == "T13":
        moments = second_moments(theta, weights)
        signs = np.repeat([1.0, -1.0], theta.shape[-1] // 2)
        first = signs[:, np.newaxis] * moments
        powers = [np.linalg.matrix_power(first, j) for j in range(1, len(signs) + 1)]
        return np.trace(np.array(powers), axis1=-2, axis2=-1).swapaxes(0, 1)
    # f is linear in theta: deviations from the mean of the layer stay (T6).
    return theta - theta.mean(axis=2, keepdims=True)
