"""The base class of laws: what a law must offer, and what it then gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.laws.quadrature import TensorRule
from mfpde.laws.sampling import sample
from mfpde.laws.variables import base_variables_of, from_uniform


class Law:
    """A law rho_ini of random paths theta(t) in R^k, t in [0, 1] depth.

    A law is a transport map from independent base random variables to paths. A subclass
    has `n_params`, `n_random` and either `paths`, or `base_variables` and `base_paths`.
    The built-in laws are frozen dataclasses of their parameters; any class will do.

    Attributes
    ----------
    n_params : int
        Number of parameters per particle, k.
    n_random : int
        Number of independent uniform numbers that make one particle.
    is_constant_in_t : bool
        Whether every path is constant in t, as coupling "tied" requires. Default no.
    base_variables : tuple of str, or None
        Kind of each random number, "uniform" or "normal", of which theta is a smooth
        function, as quadrature requires. A law that has `paths` only, smooth in u, has
        ("uniform",) * n_random. Default None.
    is_symmetric : bool
        Whether reflecting all base variables, u to 1 - u and xi to -xi, turns every
        path theta into -theta. Default no.
    """

    __slots__ = ()

    is_constant_in_t = False
    is_symmetric = False
    base_variables = None
    n_params: Any
    n_random: Any

    def paths(
        self, u: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Transport uniform numbers to paths, evaluated at the depths t.

        The value at one depth must not depend on the other entries of `t`.

        Parameters
        ----------
        u : ndarray, shape (M, n_random)
            Numbers in the open interval (0, 1), one row for each particle.
        t : ndarray, shape (n,)
            Depths in [0, 1].

        Returns
        -------
        theta : ndarray, shape (n, M, k)
        """
        if not hasattr(self, "base_paths"):
            raise NotImplementedError(
                f"{type(self).__name__} must define `paths(u, t)`."
            )
        return self.base_paths(from_uniform(u, base_variables_of(self)), t)

    def sample(
        self,
        grid: DepthGrid,
        n_particles: int | None = None,
        *,
        method: str = "iid",
        coupling: str = "path",
        seed: int = 0,
        nodes: Sequence[int | str] | TensorRule | None = None,
        block: Any = None,
    ) -> ParticleEnsemble:
        """Draw particles at the nodes of a depth grid: see `mfpde.laws.sample`."""
        return sample(
            self,
            grid,
            n_particles,
            method=method,
            coupling=coupling,
            seed=seed,
            nodes=nodes,
            block=block,
        )

    def __repr__(self) -> str:
        if not is_dataclass(self):
            return object.__repr__(self)
        parts = (
            f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if f.init
        )
        return f"{type(self).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.ndim == 1 and np.ptp(value) == 0.0:
        return f"{value[0]:g}"
    if value.size > 8:
        return f"<array of shape {value.shape}>"
    return repr(value.tolist())
