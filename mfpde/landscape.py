"""The landscape of E over measures: ways down from where the flow rests.

A direction is a signed measure nu on parameters at one depth t0 with int dnu = 0; E
falls along it if int dE/drho(., t0) dnu < 0. For a universal block there is one at
every t0 as long as E > 0 (Lu et al. 2020), though no particle moves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import Evaluation, first_variation

Array = NDArray[np.float64]


def descent_slopes(evaluation: Evaluation, candidates: Array) -> Array:
    """Return int dE/drho(., t_j) dnu for the best nu = delta_theta - rho_t, (J,).

    Parameters
    ----------
    evaluation : Evaluation
        On a grid with one stage in each step, `DepthGrid.euler` or `layers`.
    candidates : ndarray, shape (C, k)
        Values of theta, of which the best at each depth is taken.

    Returns
    -------
    slopes : ndarray, shape (J,)
        Negative where a way down was found.
    """
    problem, theta = evaluation.problem, evaluation.ensemble.theta
    if evaluation.grid.n_stages != 1 or evaluation.grid.is_implicit:
        raise ValueError(
            f"`evaluation` must be on DepthGrid.euler or layers, got "
            f"{evaluation.grid!r}: its states belong to the nodes."
        )
    z, p = evaluation.z[:-1], evaluation.p[1:]
    everywhere = np.broadcast_to(candidates, (len(theta), *candidates.shape))
    values = first_variation(problem, everywhere, z, p)
    present = first_variation(problem, theta, z, p) @ evaluation.ensemble.weights
    return values.min(axis=1) - present


def perturbed(
    ensemble: ParticleEnsemble, cloud: Array, mass: float
) -> ParticleEnsemble:
    """Return (1 - mass) rho + mass times a cloud of particles, at every depth.

    Parameters
    ----------
    ensemble : ParticleEnsemble
    cloud : ndarray, shape (C, k)
        Values of theta, of equal mass.
    mass : float
        In (0, 1).
    """
    if not 0.0 < mass < 1.0:
        raise ValueError(f"`mass` must lie in (0, 1), got {mass!r}.")
    n_nodes = ensemble.n_nodes
    added = np.broadcast_to(cloud, (n_nodes, *cloud.shape))
    weights = [(1.0 - mass) * ensemble.weights, np.full(len(cloud), mass / len(cloud))]
    return ParticleEnsemble(
        np.concatenate([ensemble.theta, added], axis=1), np.concatenate(weights)
    )
