"""Blocks of a network deleted or exchanged, and what first-order theory says of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import evenly_spaced
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import evaluate, first_variation
from mfpde.joint.evaluation import JointEvaluation, evaluate_joint, swap_slopes
from mfpde.joint.measure import JointEnsemble
from mfpde.joint.schemes import JointScheme
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]


def exchanged(ensemble: JointEnsemble, layers: NDArray[np.int64]) -> JointEnsemble:
    """Return the blocks with those at layers l and l + 1 exchanged, for each l given.

    Raises
    ------
    ValueError
        If a layer is in two of the pairs.
    """
    layers = np.asarray(layers)
    if np.any(np.diff(np.sort(layers)) < 2):
        raise ValueError(
            "`layers` must be at least two apart, so that no block is in two pairs."
        )
    order = ensemble.order.copy()
    order[layers], order[layers + 1] = order[layers + 1], order[layers]
    return reordered(ensemble, order)


def reordered(ensemble: JointEnsemble, order: NDArray[np.int64]) -> JointEnsemble:
    """Return the same blocks in another order (n,), at the same depths."""
    t = np.empty_like(ensemble.t)
    t[order] = np.sort(ensemble.t)
    return dataclasses.replace(ensemble, t=t)


def lesion_losses(evaluation: JointEvaluation, layers: NDArray[np.int64]) -> Array:
    """Loss E of the network without the block at each of some layers (n_layers,)."""
    network = evaluation.network
    losses = []
    for layer in layers:
        theta = np.delete(network.ensemble.theta, layer, axis=0)
        # The other steps stay as they are: nothing takes the place of the block.
        steps = np.delete(network.grid.step_size, layer)
        grid = DepthGrid.layers(len(steps), steps)
        layered = ParticleEnsemble.view(theta, np.ones(1))
        losses.append(evaluate(network.problem, grid, layered, network.s).loss)
    return np.array(losses)


def lesion_slopes(evaluation: JointEvaluation) -> Array:
    """First variation of each block in its place (n,), Eq. (5).

    Deleting a block of step tau changes E by -tau times its slope + O(tau^2).
    """
    network = evaluation.network
    theta = network.ensemble.theta
    return first_variation(network.problem, theta, network.z[:-1], network.p[1:])[:, 0]


def commutator_check(
    problem: MeanFieldProblem,
    ensemble: JointEnsemble,
    *,
    seed: int = 0,
    n_places: int = 32,
) -> dict[str, float]:
    """Delete and exchange blocks; compare the change of E with Eqs. (5) and (20).

    Parameters
    ----------
    problem : MeanFieldProblem
    ensemble : JointEnsemble
        n blocks, of step 1/n.
    seed : int
        Of the pairs that are exchanged together, and of a random order.
    n_places : int
        Places, evenly spread, at which one block or one pair is chosen.

    Returns
    -------
    found : dict
        "exchange_error", the rms over places of n^2 dE - mean p.[f_b, f_a] over the rms
        of the latter; "lesion_error", that of n dE + mean p.f likewise; "change" of E by exchanging about half
        of all pairs at once, and what the sum of (20) has "predicted"; "shuffle",
        |dE| / E of a random order.
    """
    still = JointScheme(velocity="fixed")

    def evaluated(other: JointEnsemble) -> JointEvaluation:
        return evaluate_joint(problem, other, still)

    found, n = evaluated(ensemble), ensemble.n_particles
    places = evenly_spaced(n - 1, n_places)
    slopes = swap_slopes(found)
    changes = [evaluated(exchanged(ensemble, [p])).loss - found.loss for p in places]
    lesions = lesion_losses(found, places) - found.loss
    rng = np.random.default_rng(seed)
    pairs = np.arange(0, n - 1, 2)
    pairs = pairs[rng.random(len(pairs)) < 0.5]
    together = evaluated(exchanged(ensemble, pairs)).loss - found.loss
    mixed = evaluated(reordered(ensemble, rng.permutation(n))).loss
    variations = lesion_slopes(found)[places]
    errors = n**2 * np.array(changes) - slopes[places]
    size = _rms(slopes[places])
    return {
        # Nothing to compare with where blocks commute.
        "exchange_error": _rms(errors) / size if size > 0.0 else 0.0,
        "lesion_error": _rms(n * lesions + variations) / _rms(variations),
        "change": together,
        "predicted": float(slopes[pairs].sum()) / n**2,
        "shuffle": abs(mixed - found.loss) / found.loss,
    }


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
