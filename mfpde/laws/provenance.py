"""Provenance of a sample: how it was drawn from a law, to draw it again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfpde.depth import DepthGrid
    from mfpde.ensemble import ParticleEnsemble
    from mfpde.laws.quadrature import TensorRule


@dataclass(frozen=True)
class Provenance:
    """The arguments of `law.sample`, the grid excepted; two are equal for one law.

    Attributes
    ----------
    law : Law
    n_particles : int or None
        M; None where a rule determines it.
    method, coupling, seed
        As for `mfpde.laws.sample`.
    rule : TensorRule, optional
        For "quadrature".
    """

    law: Any
    n_particles: int | None = None
    method: str = "iid"
    coupling: str = "path"
    seed: int = 0
    rule: TensorRule | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the particles are the law itself: a single path, a whole cloud."""
        atoms = getattr(self.law, "atoms", None)
        return self.law.n_random == 0 or (
            atoms is not None and self.n_particles in (None, len(atoms))
        )

    @property
    def is_tensor(self) -> bool:
        """Whether the particles are a tensor rule, without random numbers."""
        return self.rule is not None and not self.rule.is_mixed

    @property
    def size(self) -> int:
        """Number of particles M."""
        return self.n_particles if self.rule is None else self.rule.n_particles

    def replaced(self, **changes: Any) -> Provenance:
        """Return the same with other arguments."""
        return replace(self, **changes)

    def with_counts(self, counts: tuple[int, ...]) -> Provenance:
        """Return the tensor rule with other numbers of nodes."""
        return replace(self, rule=replace(self.rule, counts=tuple(counts)))

    def with_draws(self, n: int) -> Provenance:
        """Return the same with n random particles, or Sobol points of a mixed rule."""
        if self.rule is None:
            return replace(self, n_particles=n)
        return replace(self, rule=replace(self.rule, n_sobol=n))

    @property
    def n_draws(self) -> int:
        """Number of random points: all particles, or the Sobol set of a mixed rule."""
        return self.n_particles if self.rule is None else self.rule.n_sobol

    def ensemble(self, grid: DepthGrid) -> ParticleEnsemble:
        """Draw the particles at the nodes of a depth grid."""
        options = {} if self.rule is None else {"nodes": self.rule}
        return self.law.sample(
            grid,
            self.n_particles,
            method=self.method,
            coupling=self.coupling,
            seed=self.seed,
            **options,
        )
