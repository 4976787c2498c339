"""Eqs. (6) and (16) on a mesh: states, adjoint, fluxes, and what is recorded."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mfpde.problem import MeanFieldProblem
from mfpde.references.density import fluxes
from mfpde.references.density.collocation import (
    Collocation,
    solve_adjoint,
    solve_states,
)
from mfpde.references.density.mesh import Mesh, second_difference

Array = NDArray[np.float64]

POINTS_AT_ONCE = 2**18
"""Values of f in memory at once, so that they stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """Solutions of Eqs. (1) and (4) at the depth nodes: z and p, shape (J, N, d)."""

    z: Array
    p: Array


@dataclass(frozen=True, slots=True, eq=False)
class Scalars:
    """What is recorded at one s; see `DensitySolution`."""

    output: Array
    loss: float
    objective: float
    second_moment: float
    free_energy: float


@dataclass(frozen=True, slots=True, eq=False)
class GridFlow:
    """Problem, mesh and depth nodes: all that the velocity of rho needs.

    Attributes
    ----------
    problem : MeanFieldProblem
    formula : object
        See `mfpde.references.density.formulas`.
    mesh : Mesh
    depth : Collocation
    temperature : float
        nu of Eq. (16).
    """

    problem: MeanFieldProblem
    formula: Any
    mesh: Mesh
    depth: Collocation
    temperature: float

    def start(self, averages: Array) -> Array:
        """The numbers on the mesh for cell averages (J, *cells) of a density.

        Without noise the averages themselves, with noise values at the centres, to
        fourth order where that leaves them non-negative.
        """
        if self.temperature == 0.0:
            return averages
        unit = (1.0,) * self.mesh.k
        gain = [np.diff(averages, axis=c + 1) / 24.0 for c in range(self.mesh.k)]
        limited = fluxes.limit(averages, gain, unit, 1.0)
        return averages - fluxes.divergence(limited, averages, unit)

    def masses(self, density: Array) -> Array:
        """Weights (J, *cells) of the centres in integrals over theta.

        Without noise rho at the centres, from averages to fourth order, times volume;
        the sum stays. Weights near a jump may be slightly negative.
        """
        if self.temperature == 0.0:
            for c in range(self.mesh.k):
                density = density - second_difference(density, c + 1) / 24.0
        return density * self.mesh.volume

    def states(self, density: Array, guess: States | None) -> States:
        """Solve Eqs. (1) and (4), starting from the states of a nearby density."""
        masses = self.masses(density)
        z, slopes = solve_states(
            self.depth,
            lambda z: self._field(masses, z),
            self.problem.z0,
            None if guess is None else guess.z,
        )
        problem = self.problem
        gradients = problem.loss.gradients(problem.read(z[-1]), problem.y)
        if problem.readout is not None:
            gradients = problem.readout.transposed(gradients)
        return States(z, solve_adjoint(self.depth, slopes, gradients))

    def fluxes(self, density: Array, states: States, s: float) -> fluxes.Fluxes:
        """Fluxes of the density at training time s."""
        widths = self.mesh.widths
        if self.temperature > 0.0:
            potential = self.potential(states, s)
            return fluxes.noise_fluxes(density, widths, potential, self.temperature)
        velocities = [self._velocity(states, s, c) for c in range(self.mesh.k)]
        return fluxes.drift_fluxes(density, widths, velocities)

    def potential(self, states: States, s: float) -> Array:
        """dE/drho + lambda(s) |theta|^2 at the centres, Eqs. (5) and (12)."""
        theta = self.mesh.at_centres
        found = np.empty((len(states.z), *self.mesh.shape))
        for part in self._parts(len(states.z)):
            z, p = self._columns(states.z[part]), self._columns(states.p[part])
            values = self.formula.value(z, theta)
            products = (p[a] * value for a, value in enumerate(values))
            found[part] = self._mean(functools.reduce(np.add, products))
        return found + self._strength(s) * sum(each**2 for each in theta)

    def scalars(self, density: Array, states: States, s: float) -> Scalars:
        """Loss and moments, Eqs. (3) and (12), and the free energy."""
        problem, masses = self.problem, self.masses(density)
        output = problem.read(states.z[-1])
        losses = problem.loss.values(output, problem.y)
        loss = float(np.dot(problem.sample_weights, losses))
        squares = sum(each**2 for each in self.mesh.at_centres)
        # Over a cell the square is that of the centre and a twelfth of the width^2;
        # the weights of `masses` leave this out, consistently to fourth order.
        moments = (masses * squares).reshape(len(masses), -1).sum(axis=1)
        second_moment = float(np.dot(self.depth.weights, moments))
        objective = loss + self._strength(s) * second_moment
        free_energy = objective
        if self.temperature > 0.0:
            entropies = self.mesh.total(special.xlogy(density, density))
            mean = float(np.dot(self.depth.weights, entropies))
            free_energy += self.temperature * mean
        return Scalars(output, loss, objective, second_moment, free_energy)

    def _field(self, masses: Array, z: Array) -> tuple[Array, Array]:
        """F (J, N, d) and d_z F (J, N, d, d) at states z (J, N, d)."""
        theta = self.mesh.at_centres
        n_nodes, n_samples, d = z.shape
        value = np.empty((n_nodes, n_samples, d))
        slopes = np.empty((n_nodes, n_samples, d, d))
        for part in self._parts(n_nodes):
            columns = self._columns(z[part])
            weights = masses[part].reshape(-1, masses[0].size, 1)
            rows = self.formula.jacobian(columns, theta)
            for a, each in enumerate(self.formula.value(columns, theta)):
                value[part, :, a] = self._integral(each, weights, n_samples)
                for b in range(d):
                    slopes[part, :, a, b] = self._integral(
                        rows[a][b], weights, n_samples
                    )
        return value, slopes

    def _integral(self, values: Array, weights: Array, n_samples: int) -> Array:
        """Sums (n, N) over the cells of values that broadcast to (n, N, *cells)."""
        shape = (len(weights), n_samples, *self.mesh.shape)
        wide = np.broadcast_to(values, shape).reshape(*shape[:2], -1)
        return (wide @ weights)[..., 0]

    def _velocity(self, states: States, s: float, c: int) -> Array:
        """-eta_c pi(d/dtheta_c (dE/drho + lambda |theta|^2)) at faces across axis c."""
        theta = self.mesh.at_faces(c)
        shape = np.broadcast_shapes(*(each.shape for each in theta))
        slope = np.empty((len(states.z), *shape))
        for part in self._parts(len(states.z)):
            z, p = self._columns(states.z[part]), self._columns(states.p[part])
            slope[part] = self._mean(self.formula.gradient(z, p, theta, c))
        slope += 2.0 * self._strength(s) * theta[c]
        clipping = self.problem.clipping
        step = slope if clipping is None else clipping(slope)
        return -self.problem.metric[c] * step

    def _mean(self, values: Array) -> Array:
        """Weighted mean over the samples, axis 1, of values (n, N, ...)."""
        return np.tensordot(self.problem.sample_weights, values, axes=(0, 1))

    def _columns(self, z: Array) -> tuple[Array, ...]:
        """The d components of states (n, N, d), shaped to broadcast over the cells."""
        cells = (1,) * self.mesh.k
        return tuple(z[..., a].reshape(*z.shape[:2], *cells) for a in range(z.shape[2]))

    def _parts(self, n_nodes: int) -> Iterator[slice]:
        """Depth nodes in groups that keep the work small."""
        points = self.problem.n_samples * int(np.prod(self.mesh.shape))
        group = max(1, POINTS_AT_ONCE // points)
        for first in range(0, n_nodes, group):
            yield slice(first, first + group)

    def _strength(self, s: float) -> float:
        regulariser = self.problem.regulariser
        return 0.0 if regulariser is None else regulariser.strength(s)
