"""The base class of laws: what a law must offer, and what it then gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mfpde.ensemble import ParticleEnsemble
from mfpde.laws.germs import from_uniform, germs_of
from mfpde.laws.quadrature import TensorRule
from mfpde.laws.sampling import sample

if TYPE_CHECKING:
    from mfpde.depth import DepthGrid


class Law:
    """A law rho_ini of random paths theta(t) in R^k, t in [0, 1] depth.

    A subclass offers `n_params`, `n_random` and either `paths`, or `germs` and
    `germ_paths`. The built-in laws are frozen dataclasses of their parameters; any
    class will do.

    Attributes
    ----------
    n_params : int
        Number of parameters per particle, k.
    n_random : int
        Number of independent uniform numbers that make one particle.
    is_constant_in_t : bool
        Whether every path is constant in t, which coupling "tied" needs. Without
        a word from the subclass: no.
    germs : tuple of str, or None
        Kind of each random number, "uniform" or "normal", of which theta is a smooth
        function: what quadrature needs. A law that has `paths` only, smooth in u,
        says ("uniform",) * n_random. Without a word: None.
    is_symmetric : bool
        Whether reflecting all germs, u to 1 - u and xi to -xi, turns every path
        theta into -theta. Without a word: no.
    """

    __slots__ = ()

    kind: ClassVar[str] = ""
    is_constant_in_t = False
    is_symmetric = False
    germs = None
    n_params: int
    n_random: int

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
        if not hasattr(self, "germ_paths"):
            raise NotImplementedError(
                f"{type(self).__name__} must define `paths(u, t)`."
            )
        return self.germ_paths(from_uniform(u, germs_of(self)), t)

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

    def describe(self) -> dict[str, Any]:
        """Plain JSON values from which `from_description` rebuilds the law.

        Raises
        ------
        TypeError
            If the law holds a function of t, or is not one of the built-in laws.
        """
        if not self.kind or not is_dataclass(self):
            raise TypeError(
                f"{type(self).__name__} is not a built-in law and cannot be "
                "described in JSON."
            )
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return {"kind": self.kind} | {
            name: _plain(name, value, is_parameter="n_params" in shown)
            for name, value in shown.items()
        }

    def __repr__(self) -> str:
        if not is_dataclass(self):
            return object.__repr__(self)
        parts = (
            f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if f.init
        )
        return f"{type(self).__name__}({', '.join(parts)})"


def _plain(name: str, value: Any, *, is_parameter: bool) -> Any:
    """JSON value of one field; a constant parameter vector becomes one number."""
    if isinstance(value, np.ndarray):
        is_one_number = is_parameter and np.ptp(value) == 0.0
        return float(value[0]) if is_one_number else value.tolist()
    if isinstance(value, tuple):
        return [_plain(name, each, is_parameter=False) for each in value]
    if hasattr(value, "describe"):
        return value.describe()
    if isinstance(value, str | int | float):
        return value
    raise TypeError(
        f"`{name}` is a {type(value).__name__}, which JSON cannot describe; use "
        "numbers, names or built-in laws for a law that is to be described."
    )


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.ndim == 1 and np.ptp(value) == 0.0:
        return f"{value[0]:g}"
    if value.size > 8:
        return f"<array of shape {value.shape}>"
    return repr(value.tolist())
