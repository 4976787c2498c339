"""Blocks of a network deleted or exchanged, and what first-order theory says of it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, index_array, seed_number, shown, whole
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import evaluate
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.theory.joint.evaluation import (
    A_JOINT_EVALUATION,
    JointEvaluation,
    evaluate_joint,
    layer_variations,
    swap_slopes,
)
from mfpde.theory.joint.measure import A_JOINT_ENSEMBLE, JointEnsemble
from mfpde.theory.joint.schemes import JointScheme

Array = NDArray[np.float64]


@checked(ensemble=A_JOINT_ENSEMBLE)
def exchanged(ensemble: JointEnsemble, layers: ArrayLike) -> JointEnsemble:
    """Return the blocks with those at layers l and l + 1 exchanged, for each l given.

    Parameters
    ----------
    ensemble : JointEnsemble
        n particles.
    layers : array_like of int, shape (n_pairs,)
        Each l from 0 to n - 2.

    Raises
    ------
    TypeError, ValueError
        If a layer has none behind it, or is in two of the pairs.
    """
    n = _at_least_two(ensemble, "there is no pair to exchange")
    layers = _checked_layers(layers, n - 1)
    if np.any(np.diff(np.sort(layers)) < 2):
        raise ValueError(
            "`layers` must be at least two apart, so that no block is in two pairs, "
            f"got {layers.tolist()}."
        )
    order = np.arange(n)
    order[layers], order[layers + 1] = layers + 1, layers
    return reordered(ensemble, ensemble.order[order])


@checked(ensemble=A_JOINT_ENSEMBLE)
def reordered(ensemble: JointEnsemble, order: ArrayLike) -> JointEnsemble:
    """Return the same blocks in another order (n,), at the same depths.

    Layer l has the theta of particle order[l] then: parameters move between the
    particles while each keeps its depth, so that blocks at equal depths change places,
    too.

    Raises
    ------
    ValueError
        If the order does not hold every particle once.
    """
    order = checked_order(order, ensemble.n_particles)
    theta = np.empty_like(ensemble.theta)
    theta[ensemble.order] = ensemble.theta[order]
    return dataclasses.replace(ensemble, theta=theta)


def checked_order(order: ArrayLike, n: int, name: str = "order") -> NDArray[np.int64]:
    """An order (n,) of integers; raise ValueError unless it holds 0 to n - 1 once."""
    order = index_array(name, order)
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(
            f"`{name}` must hold each of the particles 0 to {n - 1} once, got "
            f"{np.array2string(order, threshold=10)}."
        )
    return order


@checked(evaluation=A_JOINT_EVALUATION)
def lesion_losses(evaluation: JointEvaluation, layers: ArrayLike) -> Array:
    """Loss E of the network without the block at each of some layers (n_layers,).

    Raises
    ------
    TypeError, ValueError
        If there is no such layer, or if it is the only one.
    """
    n = _at_least_two(evaluation.ensemble, "without it nothing is left of the network")
    layers = _checked_layers(layers, n)
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


@checked(evaluation=A_JOINT_EVALUATION)
def lesion_slopes(evaluation: JointEvaluation) -> Array:
    """First variation of each block in its place (n,), Eq. (5).

    Deleting a block of step tau changes E by -tau times its slope + O(tau^2).
    """
    return layer_variations(evaluation.network)


@checked(ensemble=A_JOINT_ENSEMBLE, n_parts=whole(1, 10**6))
def divided(ensemble: JointEnsemble, n_parts: int) -> JointEnsemble:
    """Return each block in so many parts that follow each other: finer steps."""
    n = ensemble.n_particles * n_parts
    theta = np.repeat(ensemble.theta[ensemble.order], n_parts, axis=0)
    return JointEnsemble(theta, (np.arange(n) + 0.5) / n)


@checked(
    problem=A_PROBLEM,
    ensemble=A_JOINT_ENSEMBLE,
    n_parts=whole(1, 10**6),
    seed=seed_number,
)
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
        Two blocks or more, so that there are borders between them.
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
        of (20) has "predicted"; "shuffle", |dE| / E of a random order. What is relative
        to 0 is 0: there is nothing to compare with.

    Raises
    ------
    TypeError, ValueError
        If there is one block only, or an argument does not fit.
    """
    _at_least_two(ensemble, "there is no border to exchange blocks at")
    rng = np.random.default_rng(seed)
    still = JointScheme(velocity="fixed")

    def evaluated(other: JointEnsemble) -> JointEvaluation:
        return evaluate_joint(problem, other, still)

    fine = divided(ensemble, n_parts)
    found, n = evaluated(fine), fine.n_particles
    borders = np.arange(n_parts - 1, n - 1, n_parts)
    slopes, variations = swap_slopes(found)[borders], lesion_slopes(found)[borders]
    exchanges = [evaluated(exchanged(fine, [b])).loss - found.loss for b in borders]
    lesions = lesion_losses(found, borders) - found.loss
    is_chosen = (rng.random(len(borders)) < 0.5) & (np.arange(len(borders)) % 2 == 0)
    together = evaluated(exchanged(fine, borders[is_chosen])).loss - found.loss
    mixed = evaluated(reordered(fine, rng.permutation(n))).loss
    errors = n**2 * np.array(exchanges) - slopes
    return {
        "exchange_error": _relative(_rms(errors), _rms(slopes)),
        "lesion_error": _relative(_rms(n * lesions + variations), _rms(variations)),
        "change": together,
        "predicted": float(slopes[is_chosen].sum()) / n**2,
        "shuffle": _relative(abs(mixed - found.loss), found.loss),
    }


def _at_least_two(ensemble: JointEnsemble, otherwise: str) -> int:
    """The number of particles; raise if there is one only."""
    n = ensemble.n_particles
    if n < 2:
        raise ValueError(
            f"`ensemble` must have two particles or more, got {n}: {otherwise}."
        )
    return n


def _checked_layers(layers: ArrayLike, n: int) -> NDArray[np.int64]:
    """Layers (n_layers,) as integers; raise unless each is from 0 to n - 1."""
    given = index_array("layers", layers)
    if given.ndim != 1:
        raise TypeError(
            f"`layers` must be a sequence of integers, got {shown(layers)}."
        )
    outside = given[(given < 0) | (given >= n)]
    if outside.size > 0:
        raise ValueError(f"`layers` must lie from 0 to {n - 1}, got {outside[0]}.")
    return given


def _relative(value: float, size: float) -> float:
    return value / size if size > 0.0 else 0.0


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
