"""Euler-Maruyama for the mean-field Langevin dynamics, Eq. (16)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from mfpde import kernels
from mfpde.arrays import number, positive, whole
from mfpde.describe import register
from mfpde.fields import check
from mfpde.steppers.base import (
    PLAIN,
    Array,
    Evaluate,
    Memory,
    Point,
    StateVector,
    Step,
    Stepper,
    even_step,
)


@register(kind="stepper", name="langevin")
@dataclass(frozen=True)
class Langevin(Stepper):
    """Noise of a temperature nu on every particle, Eq. (16), by Euler-Maruyama.

    theta moves by velocity ds + sqrt(2 nu eta ds) xi, xi standard normal and
    independent for every node, particle and parameter. eta is the metric of the
    problem, so that the stationary law stays that of Eq. (17); a frozen parameter gets
    no noise, nor do trained maps. With constant lambda > 0 the law of the particles
    tends to a density proportional to exp(-(dE/drho + lambda |theta|^2) / nu).

    Weak order 1, strong order 1 (the noise does not depend on the state).

    Parameters
    ----------
    temperature : float
        nu, at least 0 (dimensionless).
    ds : float
        Step in training time; shortened evenly where a record time requires it.
    seed : int
        The noise of step n is a function of (seed, n) alone, by the counter-based
        generator Philox: a continued run has the bits of one that never stopped.

    Notes
    -----
    With noise the objective is no longer minus the integrated dissipation, Eq. (14):
    the ledger's residual is NaN. What decreases, in the limit of many particles, is
    the free energy, see `mfpde.theory.entropy`. Particles of different nodes get
    independent noise, so theta(t) is rough in depth while the law of the particles is
    smooth.
    """

    has_noise = True

    temperature: Annotated[float, number(least=0.0)]
    ds: Annotated[float, positive]
    seed: Annotated[int, whole(0, 2**63 - 1)] = dataclasses.field(
        default=0, kw_only=True
    )
    vector: StateVector = dataclasses.field(
        default=PLAIN, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check(self)

    def bound(self, vector: StateVector) -> Langevin:
        """The same stepper for a state vector, of which some entries may diffuse."""
        stepper = dataclasses.replace(self)
        object.__setattr__(stepper, "vector", vector)
        return stepper

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One step of size ds, or of an even part of the way to the target."""
        h, s_new, clock = even_step(point.s, target, self.ds, memory)
        n = int(memory.get("n_steps", 0.0))
        y = np.empty_like(point.y)
        kernels.vectors.combine(point.y, point.rate[np.newaxis], np.ones(1), h, y)
        self._add_noise(y, h, n)
        return Step(evaluate(s_new, y), h, clock | {"n_steps": n + 1.0}, 1)

    def _add_noise(self, y: Array, h: float, n: int) -> None:
        """Add sqrt(2 nu eta h) xi_n to the entries of y that diffuse."""
        size, mobility = self.vector.n_diffusing, self.vector.mobility
        size = len(y) if size is None else size
        mobility = np.ones(1) if mobility is None else mobility
        # A block of the counter for each step: streams of 2^128 numbers apart.
        generator = np.random.Generator(
            np.random.Philox(key=int(self.seed), counter=[0, 0, n, 0])
        )
        noise = self.vector.space.standard_normal(generator, size)
        noise = noise.reshape(size // len(mobility), len(mobility))
        noise *= np.sqrt(2.0 * self.temperature * h * mobility)
        y[:size] += noise.ravel()
