"""Blocks of a network deleted or exchanged, and what first-order theory says of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

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


def divided(ensemble: JointEnsemble, n_parts: int) -> JointEnsemble:
    """Return each block in so many parts that follow each other: finer steps."""
    n = ensemble.n_particles * n_parts
    theta = np.repeat(ensemble.theta[ensemble.order], n_parts, axis=0)
    return JointEnsemble(theta, (np.arange(n) + 0.5) / n)


def block_check(
    problem: MeanFieldProblem,
    ensemble: JointEnsemble,
    n_parts: int = 1,
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Delete and exchange blocks; compare the change of E with Eqs. (5) and (20).

    Parameters
    ----------
    problem : MeanFieldProblem
    ensemble : JointEnsemble
    n_parts : int
        Into which each block is divided first, n in all, of step 1/n: what is deleted
        is one part, what is exchanged the parts on both sides of a border.
    seed : int
        Of the borders whose parts are exchanged together, and of a random order.

    Returns
    -------
    found : dict
        "exchange_error", the rms over borders of n^2 dE - mean p.[f_b, f_a], relative
        to that of the latter; "lesion_error", likewise of n dE + mean p.f; "change" of
        E by exchanging at about half of every other border at once, and what the sum
        of (20) has "predicted"; "shuffle", |dE| / E of a random order.
    """
    still = JointScheme(velocity="fixed")

    def evaluated(other: JointEnsemble) -> JointEvaluation:
        return evaluate_joint(problem, other, still)

    fine = divided(ensemble, n_parts)
    found, n = evaluated(fine), fine.n_particles
    borders = np.arange(n_parts - 1, n - 1, n_parts)
    slopes, variations = swap_slopes(found)[borders], lesion_slopes(found)[borders]
    exchanges = [evaluated(exchanged(fine, [b])).loss - found.loss for b in borders]
    lesions = lesion_losses(found, borders) - found.loss
    rng = np.random.default_rng(seed)
    is_chosen = (rng.random(len(borders)) < 0.5) & (np.arange(len(borders)) % 2 == 0)
    together = evaluated(exchanged(fine, borders[is_chosen])).loss - found.loss
    mixed = evaluated(reordered(fine, rng.permutation(n))).loss
    size = _rms(slopes)
    errors = n**2 * np.array(exchanges) - slopes
    return {
        # Nothing to compare with where blocks commute.
        "exchange_error": _rms(errors) / size if size > 0.0 else 0.0,
        "lesion_error": _rms(n * lesions + variations) / _rms(variations),
        "change": together,
        "predicted": float(slopes[is_chosen].sum()) / n**2,
        "shuffle": abs(mixed - found.loss) / found.loss,
    }


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
