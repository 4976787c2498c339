"""How blocks are weighted and how their depths move: options of theory, section 1.4."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import (
    check_fields,
    checked,
    choice,
    numbers,
    optional,
    positive,
    seed_number,
    whole,
)

Array = NDArray[np.float64]

WEIGHTS = ("uniform", "gap")
VELOCITIES = ("pde", "autodiff", "fixed", "shuffle")
ENDS = ("reflect", "clamp")
LEAST_GAP = 1e-12
"""Blocks at one depth, or at depth 1, count with this step weight: none may be 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointScheme:
    """Step weights of the blocks, and the velocity of their depths.

    Parameters
    ----------
    weights : {"uniform", "gap"}
        Step weight of a block: 1/n, or the distance to the next depth (to 1 for the
        last block).
    velocity : {"pde", "autodiff", "fixed", "shuffle"}
        "pde": the mean-field velocity, Eq. (19), with a local mean F. "autodiff": minus
        n times the derivative of the objective E_s of the network; it exists between
        swaps only, and is 0 for uniform weights, where E_s depends on the order alone.
        "fixed": t rests. "shuffle": all depths are permuted at random after each
        step.
    window : float
        h > 0: F at t_j is the sum of f over |t_i - t_j| < h, divided by n and by the
        length of that window within [0, 1].
    n_nodes : int, optional
        In place of the window: F is that of the particles of one of as many equal cells
        of depth.
    ends : {"reflect", "clamp"}
        What happens to a particle that would leave [0, 1]: its depth is folded back, or
        put on the end. The flow has no flux through the ends, Eq. (18): at an end, a
        velocity that points outward is 0. Both have this flow as limit for small steps
        in training time; with "reflect" a particle that is driven to an end goes to and
        fro within a step of it, and keeps its velocity.
    rate : float
        Multiplier of the velocity of t, as the metric for theta.
    seed : int
        Of the shuffles.
    """

    weights: str = "uniform"
    velocity: str = "pde"
    window: float = 0.1
    n_nodes: int | None = None
    ends: str = "reflect"
    rate: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(
            self,
            weights=choice(*WEIGHTS),
            velocity=choice(*VELOCITIES),
            ends=choice(*ENDS),
            window=positive,
            rate=positive,
            n_nodes=optional(whole(1)),
            seed=seed_number,
        )

    @checked(t=numbers("n"))
    def residual_scale(self, t: Array) -> str | Array:
        """Step weights as `DepthGrid.layers` takes them, from sorted depths (n,)."""
        if self.weights == "uniform":
            return "ode"
        return np.maximum(np.diff(t, append=1.0), LEAST_GAP)

    @checked(t=numbers("n"))
    def neighbours(self, t: Array) -> tuple[NDArray[np.int64], Array]:
        """Ranges (2, n) of the particles that make up F at each sorted depth t (n,).

        The second array (n,) holds the lengths of depth over which they lie.
        """
        if self.n_nodes is None:
            low, high = np.maximum(t - self.window, 0.0), np.minimum(t + self.window, 1)
            lengths = high - low
        else:
            cell = np.minimum(np.floor(t * self.n_nodes), self.n_nodes - 1)
            low, high = cell / self.n_nodes, (cell + 1.0) / self.n_nodes
            # A particle on the edge of two cells belongs to the upper one.
            high = np.where(cell < self.n_nodes - 1, np.nextafter(high, 0.0), high)
            lengths = np.full(len(t), 1.0 / self.n_nodes)
        first = np.searchsorted(t, low, side="left")
        last = np.searchsorted(t, high, side="right")
        return np.stack([first, last]), lengths

    @checked(t=numbers("n"))
    def inside(self, t: Array) -> tuple[Array, Array]:
        """Depths within [0, 1], and the factor (n,) of their velocities.

        A reflected depth moves the other way; one that is clamped moves on.
        """
        if self.ends == "clamp":
            return np.clip(t, 0.0, 1.0), np.ones_like(t)
        folded = np.abs(t) % 2.0
        is_turned = folded > 1.0
        sign = np.where(is_turned, -1.0, 1.0) * np.where(t < 0.0, -1.0, 1.0)
        return np.where(is_turned, 2.0 - folded, folded), sign


def without_flux(t: Array, t_velocity: Array) -> Array:
    """Velocities (n,) of depths t (n,): 0 where one points out of [0, 1] at its end."""
    is_outward = (t <= 0.0) & (t_velocity < 0.0) | (t >= 1.0) & (t_velocity > 0.0)
    return np.where(is_outward, 0.0, t_velocity)
