"""Euler-Maruyama for the mean-field Langevin dynamics, Eq. (16)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfpde.arrays import check_fields, number, positive, whole
from mfpde.engine.sharding import ALL, Space
from mfpde.kernels.vectors import combine
from mfpde.steppers.base import Array, Evaluate, Memory, Point, Step, even_step


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Which entries of the state diffuse: the first `size`, with factors in a cycle.

    Attributes
    ----------
    size : int
        Number of entries, a multiple of k.
    mobility : ndarray, shape (k,)
        Entry i has the diffusion constant temperature times mobility[i mod k].
    space : Space
        Of the entries that diffuse, if ranks share them.
    """

    size: int
    mobility: Array
    space: Space = ALL


@dataclass(frozen=True)
class Langevin:
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

    temperature: float
    ds: float
    seed: int = dataclasses.field(default=0, kw_only=True)
    diffusion: Diffusion | None = dataclasses.field(
        default=None, kw_only=True, repr=False, compare=False
    )

    order = 1
    has_noise = True

    def __post_init__(self) -> None:
        check_fields(
            self,
            temperature=number(least=0.0),
            ds=positive,
            seed=whole(0, 2**63 - 1),
        )

    def diffusing(self, diffusion: Diffusion) -> Langevin:
        """The same stepper for a state of which only some entries diffuse."""
        return dataclasses.replace(self, diffusion=diffusion)

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory
    ) -> Step:
        """One step of size ds, or of an even part of the way to the target."""
        h, s_new, clock = even_step(point.s, target, self.ds, memory)
        n = int(memory.get("n_steps", 0.0))
        y = np.empty_like(point.y)
        combine(point.y, point.rate[np.newaxis], np.ones(1), h, y)
        self._add_noise(y, h, n)
        return Step(evaluate(s_new, y), h, clock | {"n_steps": n + 1.0}, 1)

    def describe(self) -> dict[str, Any]:
        """Plain values from which it is rebuilt."""
        return {
            "stepper": "langevin",
            "temperature": float(self.temperature),
            "ds": float(self.ds),
            "seed": int(self.seed),
        }

    def _add_noise(self, y: Array, h: float, n: int) -> None:
        """Add sqrt(2 nu eta h) xi_n to the entries of y that diffuse."""
        diffusion = self.diffusion or Diffusion(len(y), np.ones(1))
        # A block of the counter for each step: streams of 2^128 numbers apart.
        generator = np.random.Generator(
            np.random.Philox(key=int(self.seed), counter=[0, 0, n, 0])
        )
        n_cycles = diffusion.size // len(diffusion.mobility)
        noise = diffusion.space.standard_normal(generator, diffusion.size)
        noise = noise.reshape(n_cycles, len(diffusion.mobility))
        noise *= np.sqrt(2.0 * self.temperature * h * diffusion.mobility)
        y[: diffusion.size] += noise.ravel()
