"""Training problems that cannot reach zero loss, with their infimum: theory, 5.7.

Each maker takes a block by name and a seed, which draws data and particles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.describe import make
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import did_you_mean
from mfpde.evaluation import evaluate
from mfpde.laws import standard_path
from mfpde.problem import MeanFieldProblem
from mfpde.references.exact import order_reversal_infimum, orientation_infimum

Array = NDArray[np.float64]

UNIVERSAL = ("signed_squared_relu", "capped:regularised_relu", "perceptron:tanh")
WIDTH = 24
STD_BETA = 0.3


@dataclass(frozen=True, eq=False)
class Obstructed:
    """A training flow and what stands in its way.

    Attributes
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid
    start : ParticleEnsemble
    infimum : float
        Of E, over all laws or over those that the start can reach.
    reach : callable
        From z(1), shape (N, d), to a number. Where the infimum is approached and not
        attained it is positive and falls to zero; elsewhere it is zero.
    """

    problem: MeanFieldProblem
    grid: DepthGrid
    start: ParticleEnsemble
    infimum: float
    reach: Callable[[Array], float] = lambda z: 0.0


LABELS = {
    "squared_relu": "ReLU²",
    "signed_squared_relu": "±ReLU²",
    "capped:regularised_relu": "capped ReLU",
    "capped:tanh": "capped tanh",
    "perceptron:tanh": "tanh",
    "perceptron:relu": "ReLU",
    "perceptron:identity": "identity",
    "linear": "",
    "plane-reversal": "plane",
}


def label(case: str) -> str:
    """Return a short form of a case, or of a block's name, for legends."""
    kind, _, name = case.rpartition(" ")
    return f"{LABELS.get(kind, kind)} {LABELS.get(name, name)}".strip()


def block_of(name: str, d: int) -> Any:
    """Block from its kind, with the activation behind a colon where it has one."""
    kind, _, activation = name.partition(":")
    options = {"activation": activation} if activation else {}
    return make("block", kind, d=d, **options)


def order_reversal(name: str, seed: int, *, d: int = 1) -> Obstructed:
    """Two samples whose order is to be changed; in the plane nothing is in the way.

    x = -+delta / 2 and y = +-delta / 2 about a centre, delta in (1.6, 2.2). Runge-Kutta
    steps in depth: those of Euler cross where they contract too fast.
    """
    rng = np.random.default_rng(seed)
    delta, centre = rng.uniform(1.6, 2.2), rng.uniform(-0.1, 0.1)
    x = np.zeros((2, d))
    x[:, 0] = centre + np.array([-0.5, 0.5]) * delta
    block = block_of(name, d)
    return Obstructed(
        *_drawn(block, x, x[::-1], DepthGrid.rk4(12), seed),
        infimum=order_reversal_infimum(delta) if d == 1 else 0.0,
        reach=lambda z: float(z[1, 0] - z[0, 0]) if d == 1 else 0.0,
    )


def orientation(name: str, seed: int, *, d: int = 1) -> Obstructed:
    """Whitened data and a linear target with one negative eigenvalue, det Y < 0.

    x = sqrt(d) e_i, so that z(1) holds the columns of the end-to-end map times sqrt(d);
    `reach` is its smallest singular value times that of Y: 1 / s at late times (T16).
    """
    rng = np.random.default_rng(seed)
    values = rng.uniform(1.2, 1.8, size=d)
    values[0] = -rng.uniform(0.6, 1.0)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    target = basis @ np.diag(values) @ basis.T
    x = np.sqrt(d) * np.eye(d)
    smallest = np.linalg.norm(target, -2)
    # Small laws about zero: the end-to-end map starts near the identity.
    drawn = _drawn(block_of(name, d), x, x @ target.T, DepthGrid.rk4(24), seed, 0.2)
    return Obstructed(
        *drawn,
        infimum=orientation_infimum(target),
        reach=lambda z: float(smallest * np.linalg.norm(z / np.sqrt(d), -2)),
    )


def positivity(name: str, seed: int) -> Obstructed:
    """Targets below the inputs, and f >= 0: E >= mean (x - y)^2 / 2."""
    x, y = _below(seed)
    drawn = _drawn(block_of(name, 1), x, y, DepthGrid.euler(8), seed)
    return Obstructed(*drawn, _cost(x, y))


def one_sided(name: str, seed: int) -> Obstructed:
    """As `positivity`, for a block with a sign whose second half starts at zero.

    There it stays, since the block is 2-homogeneous: this law does not separate.
    """
    found = positivity(name, seed)
    theta = found.start.theta.copy()
    theta[:, :, found.problem.k // 2 :] = 0.0
    return _from(found, theta)


def dirac(name: str, seed: int) -> Obstructed:
    """All mass at theta = 0, a stationary point (T3 with sigma = 0): E stays."""
    found = positivity(name, seed)
    return _from(found, np.zeros_like(found.start.theta))


def dead(name: str, seed: int) -> Obstructed:
    """No particle is active on any state: f = 0 and its gradient, too."""
    found = positivity(name, seed)
    theta, groups = found.start.theta.copy(), found.problem.block.param_groups
    bound = 1.0 + np.abs(found.problem.x).max()
    for group, part in groups.items():
        if group.startswith("b"):
            slopes = np.abs(theta[:, :, groups["W" + group[1:]]]).sum(axis=2)
            theta[:, :, part] = -bound * (1.0 + slopes)[:, :, np.newaxis]
    return _from(found, theta)


def separating(name: str, seed: int) -> Obstructed:
    """The data of `positivity` from a law whose support separates: infimum zero."""
    found = positivity(name, seed)
    return Obstructed(found.problem, found.grid, found.start, 0.0)


def _below(seed: int) -> tuple[Array, Array]:
    """Two inputs (2, 1) and targets below them."""
    rng = np.random.default_rng(seed)
    x = np.array([[-0.4], [0.4]]) + 0.1 * rng.normal(size=(2, 1))
    return x, x - rng.uniform(0.2, 0.5, size=(2, 1))


def _cost(x: Array, y: Array) -> float:
    """E where no state moves, Eq. (3)."""
    return 0.5 * float(np.mean(np.sum((x - y) ** 2, axis=1)))


def _from(found: Obstructed, theta: Array) -> Obstructed:
    """The same problem from particles that leave all states where they are at best."""
    stays = _cost(found.problem.x, found.problem.y)
    return Obstructed(found.problem, found.grid, ParticleEnsemble(theta), stays)


def _drawn(
    block: Any, x: Array, y: Array, grid: DepthGrid, seed: int, std: float = 1.0
) -> tuple[MeanFieldProblem, DepthGrid, ParticleEnsemble]:
    """Problem, grid and particles of the standard family of paths."""
    law = standard_path(block.k, std, STD_BETA * std)
    start = law.sample(grid, WIDTH, coupling="path", seed=seed)
    return MeanFieldProblem(x, y, block), grid, start


OBSTRUCTIONS: dict[str, Callable[..., Obstructed]] = {
    "reversal": order_reversal,
    "plane-reversal": lambda name, seed: order_reversal(name, seed, d=2),
    "orientation": orientation,
    "plane-orientation": lambda name, seed: orientation(name, seed, d=2),
    "positivity": positivity,
    "one-sided": one_sided,
    "dirac": dirac,
    "dead": dead,
    "separating": separating,
}
"""By the name that a study takes."""
UNATTAINED = ("reversal", "orientation", "plane-orientation")
"""Those whose infimum is approached for ever."""
FREE = ("plane-reversal", "separating")
"""Those with nothing in the way: the infimum is zero."""
CASES = (
    *(f"reversal {name}" for name in UNIVERSAL),
    *(f"plane-reversal {name}" for name in UNIVERSAL),
    "orientation linear",
    "plane-orientation linear",
    "positivity squared_relu",
    "one-sided signed_squared_relu",
    "dirac signed_squared_relu",
    "dirac capped:tanh",
    "dirac bilinear",
    "dead signed_squared_relu",
    "separating signed_squared_relu",
)
"""Kinds with the blocks that they are about."""


ONLY = {
    "orientation": ("linear",),
    "plane-orientation": ("linear",),
    "positivity": ("squared_relu",),
    "one-sided": ("signed_squared_relu",),
    "dead": ("squared_relu", "signed_squared_relu"),
}
"""Blocks for which the infimum of a kind is what it says; other kinds take any."""


def obstruction(case: str, seed: int) -> Obstructed:
    """Make a case from its kind and the name of a block, separated by a space."""
    kind, _, name = case.partition(" ")
    return OBSTRUCTIONS[kind](name, seed)


def block_problem(name: str) -> str | None:
    """Return what is wrong with the name of a block, or None."""
    try:
        block_of(name, 1)
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def case_problem(case: str) -> str | None:
    """Return what is wrong with a case, or None."""
    kind, _, name = case.partition(" ")
    if kind not in OBSTRUCTIONS:
        known = ", ".join(OBSTRUCTIONS)
        return (
            f"a case must be one of {known}, a space and a block, got {case!r}."
            f"{did_you_mean(kind, OBSTRUCTIONS)}"
        )
    problem = block_problem(name)
    if problem is None and name not in ONLY.get(kind, (name,)):
        blocks = " or ".join(ONLY[kind])
        problem = f"the block of a case {kind!r} must be {blocks}, got {name!r}."
    if problem is None and kind == "dirac" and _moves(dirac(name, 0)):
        problem = (
            "the block of a case 'dirac' must have theta = 0 as a stationary point, "
            f"which {name!r} has not: sigma(0) must be 0."
        )
    return problem


def _moves(found: Obstructed) -> bool:
    """Whether the start is not stationary."""
    return bool(evaluate(found.problem, found.grid, found.start).velocity.any())
