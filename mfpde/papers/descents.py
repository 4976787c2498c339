"""Flows on random data that nothing obstructs: data, run, and what it is judged by.

Targets are y = x + shift sin(2 Q x + phase), Q a random rotation: for a shift below 1/2
a map whose Jacobian is positive, so that neither order nor orientation stands in the
way of zero loss (theory, section 5.7). t is depth, s training time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from mfpde.blocks import Perceptron
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.laws import Path, standard_path
from mfpde.papers.ends import finished
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Steps
from mfpde.run.solution import Solution
from mfpde.run.solver import solve
from mfpde.studies.study import Config, Variable
from mfpde.theory.tangent import late_rate, tangent_kernel

Array = NDArray[np.float64]

DATA = {"n_samples": 4, "shift": 0.4, "std_alpha": 1.0, "std_beta": 0.5, "rtol": 1e-5}
"""Keys that all adaptive experiments have, with their defaults."""
FIXED = {key: value for key, value in DATA.items() if key != "rtol"}
"""Those of experiments in steps of one size."""
DECAYING: dict[str, Any] = {
    "lambda0": [0.0, 0.01, 0.1, 1.0],
    "gamma": [0.1, 1.0, 10.0],
    "activation": "tanh",
    "dimension": 2,
    "width": 64,
    "seeds": 6,
    "first_seed": 0,
    "depth_steps": 2,
}
"""Those of experiments with lambda(s) = lambda0 exp(-gamma s)."""
DECAYING_QUICK: dict[str, Any] = {
    "lambda0": [0.1, 1.0],
    "gamma": [0.1, 1.0],
    "width": 32,
    "seeds": 2,
}
DECAYING_GRID = {"lambda0": "lambda0", "gamma": "gamma", "seed": "seeds"}
N_DRAWS = 16
"""Of the inputs: the draw whose samples are farthest apart is taken."""
RISE = 1e-12
"""Largest rise in a step, of the objective at s = 0, that is rounding."""
TIMES = np.geomspace(0.1, 1e4, 51).tolist()
MEASURED: dict[str, str | Variable] = {
    "loss": Variable(("s",), "loss"),
    "objective": Variable(("s",), "objective"),
    "end": "loss at the end",
    "rise_loss": "largest rise of E in a step, of E_s(0)",
    "late": "2 lambda_min of the kernel (27) at the end",
}
"""What `summary` gives; the axis s is `TIMES`."""


def make_problem(
    config: Config, dimension: int, activation: str, seed: int, regulariser: Any = None
) -> MeanFieldProblem:
    """Return random data of the kind above for a perceptron, one data set per seed."""
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(N_DRAWS, config["n_samples"], dimension))
    x = max(draws, key=lambda draw: pdist(draw).min(initial=np.inf))
    rotation, _ = np.linalg.qr(rng.normal(size=(dimension, dimension)))
    phase = rng.uniform(0.0, 2.0 * np.pi, dimension)
    y = x + config["shift"] * np.sin(2.0 * x @ rotation.T + phase)
    block = Perceptron(dimension, activation)
    return MeanFieldProblem(x, y, block, regulariser=regulariser)


def make_law(config: Config, problem: MeanFieldProblem) -> Path:
    """Return the standard paths alpha + beta cos(pi t), normal."""
    return standard_path(problem.k, config["std_alpha"], config["std_beta"])


def draw(
    config: Config, problem: MeanFieldProblem, width: int, seed: int
) -> tuple[DepthGrid, ParticleEnsemble]:
    """Return a grid of `depth_steps` Runge-Kutta steps and Sobol particles on it."""
    grid = DepthGrid.rk4(config["depth_steps"])
    law = make_law(config, problem)
    return grid, law.sample(grid, width, method="sobol", seed=seed)


def train(
    config: Config,
    problem: MeanFieldProblem,
    grid: DepthGrid,
    start: ParticleEnsemble,
    **options: Any,
) -> Solution:
    """Solve the flow, with a record of every step unless `options` say else.

    Raises
    ------
    NotFiniteError
        If the run does not get to its end.
    """
    options = {"record": Steps(1)} | options
    tolerances = {name: config[name] for name in ("rtol", "atol")}
    return finished(solve.quietly(problem, grid, start, **tolerances, **options))


def summary(found: Solution) -> dict[str, Any]:
    """Return what a run, recorded in every step, is judged by."""
    return {
        "loss": at_times(found.s, found.loss),
        "objective": at_times(found.s, found.objective),
        "end": found.loss[-1],
        "rise_loss": np.diff(found.loss).max() / found.objective[0],
        "late": late_rate(tangent_kernel(found.problem, found.grid, found.ensemble)),
    }


def at_times(s: Array, values: Array) -> Array:
    """Values (R,) > 0 at `TIMES`, by their logarithms; NaN after the end."""
    after = np.array(TIMES) > s[-1]
    return np.where(after, np.nan, np.exp(np.interp(TIMES, s, np.log(values))))
