"""Particles (theta_j, t_j) of one measure on parameters and depth, Eq. (18)."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    checked,
    choice,
    float_array,
    having,
    index_array,
    instance,
    seed_number,
    whole,
)
from mfpde.depth import DepthGrid
from mfpde.engine.sharding import WHOLE

Array = NDArray[np.float64]

DEPTHS = ("iid", "even")


@dataclass(frozen=True, eq=False, repr=False)
class JointEnsemble:
    """n particles of mass 1/n each, Eq. (18): blocks with a depth of their own.

    Parameters
    ----------
    theta : array_like, shape (n, k)
    t : array_like, shape (n,)
        Depths in [0, 1], in any order; of equal ones the first comes first.
    """

    theta: Array
    t: Array

    shard = WHOLE

    def __post_init__(self) -> None:
        theta = float_array("theta", self.theta, axes=("particle", "parameter"))
        t = float_array("t", self.t, axes=("particle",))
        if theta.ndim != 2 or t.shape != theta.shape[:1] or 0 in theta.shape:
            raise ValueError(
                "`theta` and `t` must have shapes (n_particles, n_params) and "
                f"(n_particles,), got {theta.shape} and {t.shape}."
            )
        if t.min() < 0.0 or t.max() > 1.0:
            raise ValueError(f"`t` must lie in [0, 1], got {t.min():g} to {t.max():g}.")
        object.__setattr__(self, "theta", theta)
        object.__setattr__(self, "t", t)

    @property
    def n_particles(self) -> int:
        """Number n of particles."""
        return len(self.t)

    @functools.cached_property
    def order(self) -> NDArray[np.int64]:
        """Particles (n,) in the order of their depths, the blocks of a network."""
        return np.argsort(self.t, kind="stable")

    def __repr__(self) -> str:
        return f"JointEnsemble(n_particles={self.n_particles})"


A_JOINT_ENSEMBLE = instance(JointEnsemble)


@checked(
    law=having("sample", what="a law such as mfpde.laws.Gaussian"),
    n_particles=whole(1, 10**7),
    depths=choice(*DEPTHS),
    seed=seed_number,
)
def sample_joint(
    law: Any,
    n_particles: int,
    *,
    depths: str = "iid",
    coupling: str = "layer",
    seed: int = 0,
    block: Any = None,
) -> JointEnsemble:
    """Draw particles: t uniform on [0, 1], theta from the law at that depth.

    Parameters
    ----------
    law : object
        From `mfpde.laws`.
    n_particles : int
        n.
    depths : {"iid", "even"}
        Independent depths, or (j + 1/2) / n.
    coupling : {"layer", "path", "tied"}
        Independent parameters, or those of one path: smooth in t, or constant.
    seed : int
    block : object, optional
        Needed by laws that are given by groups of parameters.
    """
    grid = DepthGrid.layers(n_particles)
    t = (np.arange(n_particles) + 0.5) / n_particles
    if depths == "iid":
        # A stream of its own: the law draws with the seed itself.
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        t = np.sort(rng.uniform(size=n_particles))
    grid = dataclasses.replace(grid, nodes=t)
    drawn = law.sample(grid, 1, coupling=coupling, seed=seed, block=block)
    return JointEnsemble(drawn.theta[:, 0], t)


def _order(name: str, value: ArrayLike) -> NDArray[np.int64]:
    """An order of particles (n,): each of 0 to n - 1 once."""
    order = index_array(name, value)
    if order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(len(order))):
        raise ValueError(
            f"`{name}` must hold each of the numbers 0 to n - 1 once, got "
            f"{np.array2string(order, threshold=10)}."
        )
    return order


def count_swaps(before: ArrayLike, after: ArrayLike) -> int:
    """Count the pairs of particles whose order differs, given two orders (n,).

    It is the least number of exchanges of neighbours from one to the other.
    """
    before, after = _order("before", before), _order("after", after)
    if before.shape != after.shape:
        raise ValueError(
            f"`before` and `after` must have one length, got {len(before)} and "
            f"{len(after)}."
        )
    if np.array_equal(before, after):
        return 0
    place = np.empty(len(after), dtype=np.int64)
    place[after] = np.arange(len(after))
    places = place[before]
    return int(np.triu(places[:, np.newaxis] > places, 1).sum())
