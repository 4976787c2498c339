"""Entropy and free energy of the particles, estimated from nearest neighbours.

With noise of temperature nu, Eq. (16), what decreases in the limit of many particles is
the free energy E_s + nu int int rho ln rho dtheta dt; Eq. (17) is its minimum in rho.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.special import digamma

from mfpde.arrays import check_fields, checked, numbers, positive, whole
from mfpde.evaluation import AN_EVALUATION, Evaluation

# Fourth neighbours: half the variance of first ones, and a bias still small.
N_NEIGHBOURS = 4


@checked(theta=numbers("M", "k"), n_neighbours=whole(1))
def entropy(theta: ArrayLike, n_neighbours: int = N_NEIGHBOURS) -> float:
    """Differential entropy -int rho ln rho of a density, from independent draws.

    An estimate (Kozachenko, Leonenko 1987): psi(M) - psi(n) + ln V_k + k mean ln r_m,
    r_m the distance from draw m to its n-th neighbour, V_k the volume of the unit ball.
    Its standard error is about (Var ln rho / M)^(1/2), its bias for smooth densities of
    order (n / M)^(2 / k): large for k above about 5 unless M is huge.

    Parameters
    ----------
    theta : array_like, shape (M, k)
        Draws of equal weight.
    n_neighbours : int
        n, at least 1 and below M.

    Returns
    -------
    entropy : float
        In nats; -inf where draws coincide.
    """
    draws = np.asarray(theta)
    n_draws, k = draws.shape
    if n_neighbours >= n_draws:
        raise ValueError(
            f"`n_neighbours` must be below the number of draws, {n_draws}, got "
            f"{n_neighbours}."
        )
    n = n_neighbours
    tree: Any = KDTree(draws)
    radii = tree.query(draws, k=[n + 1])[0]
    if radii.min() == 0.0:
        return -math.inf
    log_volume = 0.5 * k * math.log(math.pi) - math.lgamma(0.5 * k + 1)
    mean_log = float(np.mean(np.log(radii)))
    return float(digamma(n_draws) - digamma(n)) + log_volume + k * mean_log


@dataclass(frozen=True)
class FreeEnergy:
    """Observer: E_s + nu int int rho ln rho dtheta dt, with `entropy` at each node.

    Frozen parameters (metric 0) are left out of the entropy: they do not diffuse.

    Parameters
    ----------
    temperature : float
        nu > 0.
    n_neighbours : int
        As for `entropy`.
    """

    temperature: float
    n_neighbours: int = N_NEIGHBOURS

    def __post_init__(self) -> None:
        check_fields(self, temperature=positive, n_neighbours=whole(1))

    @checked(evaluation=AN_EVALUATION)
    def __call__(self, evaluation: Evaluation) -> float:
        """The estimate for the particles of an evaluation."""
        weights = evaluation.ensemble.weights
        if np.ptp(weights) > 0.0:
            raise ValueError(
                "`weights` must be equal: nearest neighbours do not see them; draw the "
                "particles with method 'iid' or 'sobol'."
            )
        theta = evaluation.ensemble.theta
        moving: NDArray[np.bool_] = evaluation.problem.metric > 0
        each = [entropy(node[:, moving], self.n_neighbours) for node in theta]
        total = float(np.dot(evaluation.grid.weights, each))
        return evaluation.objective - self.temperature * total
