"""Distances of two laws rho on depth: at every node, over all of depth, coupled.

t in [0, 1] is depth. Clouds have shape (J, M, k), as `ParticleEnsemble.theta`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.clouds import METHODS, N_PROJECTIONS, exponent, w2
from mfpde.arrays import (
    a_float,
    checked,
    choice,
    float_array,
    number,
    optional,
    seed_number,
    whole,
)
from mfpde.ensemble import AXES, particle_weights, unit_sum

Array = NDArray[np.float64]

KINDS = ("split", "permutation", "sample")


def w2_depth(
    theta_a: ArrayLike,
    theta_b: ArrayLike,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    *,
    method: str = "auto",
    n_projections: int = N_PROJECTIONS,
    seed: int = 0,
) -> Array:
    """W2(rho_t, rho~_t) at every depth node.

    Parameters
    ----------
    theta_a, theta_b : array_like, shapes (J, M_a, k) and (J, M_b, k)
        Particles at the same depth nodes.
    a_weights, b_weights : array_like, shapes (M_a,) and (M_b,), optional
        Particle weights; default equal.
    method, n_projections, seed
        As for `w2`; the directions are the same at every node.

    Returns
    -------
    distances : ndarray, shape (J,)
    """
    a, b = _paths("theta_a", theta_a), _paths("theta_b", theta_b)
    if len(a) != len(b):
        raise ValueError(
            "`theta_a` and `theta_b` must have the same depth nodes, got "
            f"{len(a)} and {len(b)}; `common_nodes` finds those of two grids."
        )
    options = {"method": method, "n_projections": n_projections, "seed": seed}
    nodes = zip(a, b, strict=True)
    return np.array([w2(p, q, a_weights, b_weights, **options) for p, q in nodes])


def w2_integrated(
    theta_a: ArrayLike,
    theta_b: ArrayLike,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    *,
    t_weights: ArrayLike | None = None,
    **options: Any,
) -> float:
    """Distance (int_0^1 W2^2(rho_t, rho~_t) dt)^(1/2) of Barboni, Peyre, Vialard.

    Parameters
    ----------
    theta_a, theta_b, a_weights, b_weights
        As for `w2_depth`.
    t_weights : array_like, shape (J,), optional
        Depth weights, `grid.weights`; default 1/J.
    **options
        method, n_projections and seed of `w2_depth`.
    """
    distances = w2_depth(theta_a, theta_b, a_weights, b_weights, **options)
    return _root_mean_square(distances, _depth_weights(t_weights, len(distances)))


def w2_sup(
    theta_a: ArrayLike,
    theta_b: ArrayLike,
    a_weights: ArrayLike | None = None,
    b_weights: ArrayLike | None = None,
    **options: Any,
) -> float:
    """Distance sup_t W2(rho_t, rho~_t) of Ding et al., over the nodes.

    Arguments as for `w2_depth`.
    """
    return float(w2_depth(theta_a, theta_b, a_weights, b_weights, **options).max())


def coupled_distance(
    theta_a: ArrayLike,
    theta_b: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    t_weights: ArrayLike | None = None,
) -> float:
    """Root of sum_j W_j sum_m w_m |theta_jm - theta~_jm|^2 (theory, section 2.5).

    Particle m of one cloud is matched with particle m of the other: two runs from the
    same draws. An upper bound of `w2_integrated`, with the rate M^(-1/2) in any
    dimension.

    Parameters
    ----------
    theta_a, theta_b : array_like, shape (J, M, k)
    weights : array_like, shape (M,), optional
        Particle weights; default equal.
    t_weights : array_like, shape (J,), optional
        Depth weights; default 1/J.
    """
    a, b = _paths("theta_a", theta_a), _paths("theta_b", theta_b)
    if a.shape != b.shape:
        raise ValueError(
            "`theta_a` and `theta_b` must have one shape (J, M, k) to be matched "
            f"particle by particle, got {a.shape} and {b.shape}."
        )
    w = particle_weights(weights, a.shape[1])
    gaps = a - b
    e = exponent(gaps)
    gaps = np.ldexp(gaps, -e)
    distances = np.sqrt(np.einsum("jmk,jmk,m->j", gaps, gaps, w))
    whole = _root_mean_square(distances, _depth_weights(t_weights, len(a)))
    return math.ldexp(whole, e)


def _root_mean_square(distances: Array, weights: Array) -> float:
    """Root of the weighted mean of squares, none of which overflows or vanishes."""
    e = exponent(distances)
    return math.ldexp(math.sqrt(weights @ np.ldexp(distances, -e) ** 2), e)


def _times(name: str, values: ArrayLike) -> Array:
    """Numbers (n,), which may be none."""
    array = float_array(name, values)
    if array.ndim != 1:
        raise ValueError(f"`{name}` must have shape (n,), got {array.shape}.")
    return array


@checked(tolerance=number(least=0.0))
def common_nodes(
    t_a: ArrayLike, t_b: ArrayLike, tolerance: float = 1e-9
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where two increasing sequences have equal entries, of depth or training time.

    Parameters
    ----------
    t_a, t_b : array_like, shapes (A,) and (B,)
    tolerance : float
        Largest difference, relative for entries above 1.

    Returns
    -------
    rows_a, rows_b : ndarray of int, shape (C,)
        `t_a[rows_a]` equals `t_b[rows_b]`.
    """
    a, b = _times("t_a", t_a), _times("t_b", t_b)
    if len(a) == 0 or len(b) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    right = np.clip(np.searchsorted(b, a), 1, max(len(b) - 1, 1))
    left, right = right - 1, np.minimum(right, len(b) - 1)
    nearest = np.where(np.abs(b[left] - a) <= np.abs(b[right] - a), left, right)
    is_equal = np.abs(b[nearest] - a) <= tolerance * np.maximum(1.0, np.abs(a))
    return np.nonzero(is_equal)[0], nearest[is_equal]


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a distance shows for two clouds of one law: the floor of a comparison.

    Attributes
    ----------
    values : ndarray, shape (n,)
        The distances seen.
    sizes : (int, int)
        Particles in the two clouds.
    kind : {"split", "permutation", "sample"}
    """

    values: Array
    sizes: tuple[int, int]
    kind: str

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return float(self.values.mean())

    @checked(level=number(least=0.0, most=1.0))
    def quantile(self, level: float) -> float:
        """Quantile of the values."""
        return float(np.quantile(self.values, level))

    @checked(distance=a_float)
    def p_value(self, distance: float) -> float:
        """Share of distances at least as large under one law, the given one counted."""
        n_above = int(np.sum(self.values >= distance))
        return (1 + n_above) / (1 + len(self.values))


@checked(
    kind=optional(choice(*KINDS)),
    n_splits=whole(1, 10**6),
    method=choice(*METHODS),
    n_projections=whole(1, 10**6),
    seed=seed_number,
)
def same_law_baseline(
    theta: ArrayLike,
    other: ArrayLike | None = None,
    *,
    kind: str | None = None,
    n_splits: int = 19,
    t_weights: ArrayLike | None = None,
    method: str = "auto",
    n_projections: int = N_PROJECTIONS,
    seed: int = 0,
) -> Baseline:
    """Distances that independent clouds of the same law show at finite size.

    Two clouds of M independent draws from one law are M^(-1/2), for k > 4 only
    M^(-1/k), apart; a distance near this says nothing about the laws.

    Parameters
    ----------
    theta : array_like, shape (M, k) or (J, M, k)
        Particles of equal weight; with depth, the distance is `w2_integrated`.
    other : array_like, of the same k and J
        The second cloud, for "permutation" and "sample".
    kind : {"split", "permutation", "sample"}, optional
        "split": random halves of `theta`; clouds of M / 2, hence too large a value for
        M. "permutation": the particles of both clouds are mixed and dealt out again at
        their sizes: the law of the distance if both have the same law, see
        `Baseline.p_value`. "sample": `other` is a second independent sample of the law
        of `theta`; their distance. Default: "split" without `other`, "permutation"
        with it.
    n_splits : int
        Number of random splits; not for "sample".
    t_weights : array_like, shape (J,), optional
        Depth weights; default 1/J.
    method, n_projections, seed
        As for `w2`; the seed also of the splits. A particle keeps its path: all nodes
        are split alike.

    Returns
    -------
    baseline : Baseline
    """
    kind = kind if kind is not None else ("split" if other is None else "permutation")
    _check_kind(kind, other is not None)
    cloud = _with_depth("theta", theta)
    options = {"method": method, "n_projections": n_projections, "seed": seed}

    def distance(a: Array, b: Array) -> float:
        return w2_integrated(a, b, t_weights=t_weights, **options)

    if kind == "split":
        half = cloud.shape[1] // 2
        if half == 0:
            raise ValueError("`theta` must have at least two particles to be split.")
        sizes = (half, half)
        values = _dealt(cloud, sizes, n_splits, seed, distance)
    else:
        second = _with_depth("other", other)
        if (len(cloud), cloud.shape[2]) != (len(second), second.shape[2]):
            raise ValueError(
                "`theta` and `other` must have the same nodes and parameters, got "
                f"shapes {cloud.shape} and {second.shape}."
            )
        sizes = (cloud.shape[1], second.shape[1])
        if kind == "sample":
            values = np.array([distance(cloud, second)])
        else:
            pooled = np.concatenate([cloud, second], axis=1)
            values = _dealt(pooled, sizes, n_splits, seed, distance)
    return Baseline(values, sizes, kind)


def _check_kind(kind: str, has_other: bool) -> None:
    if (kind == "split") == has_other:
        needs = "no `other`" if has_other else "the second cloud as `other`"
        raise ValueError(f"`kind` {kind!r} needs {needs}.")


def _dealt(
    pooled: Array,
    sizes: tuple[int, int],
    n_splits: int,
    seed: int,
    distance: Callable[[Array, Array], float],
) -> Array:
    """Distances (n_splits,) between clouds dealt at random from one."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(n_splits):
        order = rng.permutation(pooled.shape[1])
        first, second = order[: sizes[0]], order[sizes[0] : sum(sizes)]
        values.append(distance(pooled[:, first], pooled[:, second]))
    return np.array(values)


def _paths(name: str, theta: ArrayLike) -> Array:
    array = float_array(name, theta, axes=AXES)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"`{name}` must have shape (n_nodes, n_particles, n_params) with no empty "
            f"axis, got {array.shape}."
        )
    return array


def _with_depth(name: str, theta: Any) -> Array:
    """The particles as (J, M, k); (M, k) is one node."""
    array = float_array(name, theta)
    return _paths(name, array[np.newaxis] if array.ndim == 2 else array)


def _depth_weights(t_weights: ArrayLike | None, n_nodes: int) -> Array:
    if t_weights is None:
        return np.full(n_nodes, 1.0 / n_nodes)
    weights = float_array("t_weights", t_weights, axes=("node",))
    if weights.shape != (n_nodes,):
        raise ValueError(
            f"`t_weights` must have shape (n_nodes,) = ({n_nodes},), got "
            f"{weights.shape}."
        )
    return unit_sum("t_weights", weights)
