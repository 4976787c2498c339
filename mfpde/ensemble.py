"""Weighted particles that carry rho(theta, t): Eq. (8) of the theory.

t is depth. Arrays are checked here once and are read-only afterwards; the
functions below the public interface trust them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import (
    Numbers,
    check_size,
    checked,
    float_array,
    index_array,
    instance,
    whole,
)
from mfpde.engine.sharding import WHOLE, Shard

SUM_TOLERANCE = 1e-12  # rounding of a sum of 1e8 terms stays below this
AXES = ("node", "particle", "parameter")


def unit_sum(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `values` unchanged if they sum to one, else raise ValueError."""
    total = float(values.sum())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise ValueError(
            f"`{name}` must sum to 1, got a sum of {total:.15g}; divide by it."
        )
    return values


def particle_weights(
    weights: ArrayLike | None, n_particles: int, name: str = "weights"
) -> NDArray[np.float64]:
    """Check particle weights w_m: positive with sum one; None is 1/M.

    Parameters
    ----------
    weights : array_like, shape (M,), or None
    n_particles : int
        M.
    name : str
        Of the argument, for messages.

    Returns
    -------
    weights : ndarray, shape (M,), read-only
    """
    if weights is None:
        return float_array(name, np.full(n_particles, 1.0 / n_particles))
    array = float_array(name, weights, axes=("particle",))
    if array.shape != (n_particles,):
        raise ValueError(
            f"`{name}` must have shape (n_particles,) = ({n_particles},), got "
            f"{array.shape}."
        )
    if array.min() <= 0.0:
        worst = int(array.argmin())
        raise ValueError(
            f"`{name}` must be positive, got {array[worst]:g} at particle {worst}."
        )
    return unit_sum(name, array)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ParticleEnsemble:
    """Atoms of rho at the nodes of a depth grid, Eq. (8).

    Parameters
    ----------
    theta : array_like, shape (J, M, k)
        Parameters of particle m at depth node j. Stored as a read-only copy.
    weights : array_like, shape (M,), optional
        Positive masses w_m with sum 1, the same at every depth; default 1/M.
    provenance : mfpde.laws.provenance.Provenance, optional
        How the particles were drawn from a law; error estimates draw again.

    Attributes
    ----------
    shard : Shard
        Which of the particles these are where several ranks share them (see
        `mfpde.engine.sharding`); weights then sum to one over all ranks.

    Raises
    ------
    TypeError
        If an array does not hold real numbers.
    ValueError
        If a shape is wrong, an entry is not finite, or the weights are not
        positive with sum 1 (to 1e-12).
    """

    theta: Numbers
    weights: Numbers = None
    provenance: Any = None
    shard: Shard = field(default=WHOLE, init=False)

    def __post_init__(self) -> None:
        theta = float_array("theta", self.theta, axes=AXES)
        if theta.ndim != 3 or 0 in theta.shape:
            raise ValueError(
                "`theta` must have shape (n_nodes, n_particles, n_params) with no "
                f"empty axis, got {theta.shape}."
            )
        weights = particle_weights(self.weights, theta.shape[1])
        object.__setattr__(self, "theta", theta)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def view(
        cls,
        theta: NDArray[np.float64],
        weights: NDArray[np.float64],
        shard: Shard = WHOLE,
    ) -> ParticleEnsemble:
        """Return an ensemble on arrays known to be valid, without check or copy.

        For the inside of the solver, whose states must be able to hold a blow-up until
        it is reported.
        """
        ensemble = object.__new__(cls)
        theta = theta.view()
        theta.setflags(write=False)
        object.__setattr__(ensemble, "theta", theta)
        object.__setattr__(ensemble, "weights", weights)
        object.__setattr__(ensemble, "provenance", None)
        object.__setattr__(ensemble, "shard", shard)
        return ensemble

    def share(self, shard: Shard) -> ParticleEnsemble:
        """Return the particles of one rank, or this ensemble if there is but one."""
        if shard.size == 1:
            return self
        here = slice(*shard.bounds(shard.rank))
        theta = np.ascontiguousarray(self.theta[:, here])
        return ParticleEnsemble.view(theta, self.weights[here], shard)

    def gather(self, *, everywhere: bool = False) -> ParticleEnsemble | None:
        """Return the particles of all ranks, on rank 0 or everywhere; else None."""
        if self.shard.size == 1:
            return self
        theta = self.shard.gather(self.theta, everywhere=everywhere)
        weights = self.shard.gather(
            self.weights[np.newaxis, :, np.newaxis], everywhere=everywhere
        )
        if theta is None:
            return None
        return ParticleEnsemble.view(theta, np.ascontiguousarray(weights[0, :, 0]))

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor: arrays come back from a pickle writeable.
        return type(self), (self.theta, self.weights, self.provenance)

    def __repr__(self) -> str:
        kind = "equal" if np.ptp(self.weights) == 0.0 else "unequal"
        return (
            f"ParticleEnsemble(n_nodes={self.n_nodes}, "
            f"n_particles={self.n_particles}, n_params={self.n_params}, "
            f"{kind} weights)"
        )

    @property
    def n_nodes(self) -> int:
        """Number of depth nodes J."""
        return self.theta.shape[0]

    @property
    def n_particles(self) -> int:
        """Number of particles per node M."""
        return self.theta.shape[1]

    @property
    def n_params(self) -> int:
        """Number of parameters per particle k."""
        return self.theta.shape[2]

    def with_theta(self, theta: ArrayLike) -> ParticleEnsemble:
        """Return an ensemble with the same weights and other parameters.

        Parameters
        ----------
        theta : array_like, shape (J, M, k)
            The shape must be that of the present `theta`.
        """
        theta = float_array("theta", theta, axes=AXES)
        if theta.shape != self.theta.shape:
            raise ValueError(
                "`theta` must have shape (n_nodes, n_particles, n_params) = "
                f"{self.theta.shape}, got {theta.shape}."
            )
        return ParticleEnsemble(theta, self.weights)

    @checked(n_copies=whole(1))
    def duplicated(self, n_copies: int) -> ParticleEnsemble:
        """Return the same measure with every particle `n_copies` times."""
        check_size("n_copies", n_copies, self.theta.size)
        return ParticleEnsemble(
            np.repeat(self.theta, n_copies, axis=1),
            np.repeat(self.weights, n_copies) / n_copies,
        )

    def permuted(self, order: ArrayLike) -> ParticleEnsemble:
        """Return the same measure with its particles renumbered at all nodes.

        Parameters
        ----------
        order : array_like of int, shape (M,)
            A permutation of 0, ..., M - 1.
        """
        order = index_array("order", order)
        if not np.array_equal(np.sort(order, axis=None), np.arange(self.n_particles)):
            raise ValueError(
                "`order` must be a permutation of 0, ..., n_particles - 1 = "
                f"{self.n_particles - 1}."
            )
        return ParticleEnsemble(self.theta[:, order], self.weights[order])

    def second_moment(self, t_weights: ArrayLike) -> float:
        """Second moment M2 = sum_j W_j sum_m w_m |theta_jm|^2, Eq. (12).

        Parameters
        ----------
        t_weights : array_like, shape (J,)
            Depth weights W_j, `grid.weights`.
        """
        t_weights = float_array("t_weights", t_weights)
        squares = np.einsum("jmk,jmk,m->j", self.theta, self.theta, self.weights)
        if np.shape(t_weights) != squares.shape:
            raise ValueError(
                f"`t_weights` must have shape (n_nodes,) = {squares.shape}, got "
                f"{np.shape(t_weights)}."
            )
        return float(np.dot(t_weights, squares))


AN_ENSEMBLE = instance(ParticleEnsemble)
