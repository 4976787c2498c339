"""Laws given parameter by parameter, and point clouds."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import a_path, checked, float_array, optional, whole
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.describe import register
from mfpde.ensemble import ParticleEnsemble, particle_weights
from mfpde.laws.base import Law
from mfpde.laws.parameters import (
    Parameter,
    bounds,
    is_zero,
    mean_and_std,
    settle,
    values_at,
)
from mfpde.laws.provenance import Provenance
from mfpde.laws.sampling import checked_options, sample

_DEPTH_ZERO = np.zeros(1)
_DAMAGED = (zipfile.BadZipFile, EOFError, zlib.error, struct.error, SyntaxError)


def select(
    u: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index c with probability probabilities[c], from uniform numbers u (M,)."""
    cumulative = np.cumsum(probabilities)
    # u < 1, so the index is that of an entry with positive probability.
    return np.searchsorted(cumulative / cumulative[-1], u, side="right")


class ParameterLaw(Law):
    """A law given by numbers, one for each parameter, or functions of t.

    Its fields are those numbers, `n_params`, and whatever else it has.
    """

    __slots__ = ()

    n_params: int | None

    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor; equal numbers become one."""
        return plain_arguments(self)

    @property
    def n_random(self) -> int:
        """Random numbers per particle: one for each parameter."""
        return self.n_params

    @property
    def is_constant_in_t(self) -> bool:
        """Whether no parameter is a function of t."""
        return not any(callable(getattr(self, each.name)) for each in fields(self))


def settle_fields(law: Any, *names: str) -> None:
    """Bring the named fields of a new law to shape (k,) and set k."""
    values = {name: getattr(law, name) for name in names}
    n_params, settled = settle(law.n_params, **values)
    for name, value in (settled | {"n_params": n_params}).items():
        object.__setattr__(law, name, value)


def plain_arguments(law: Any) -> dict[str, Any]:
    """The arguments of the constructor of a law; equal numbers become one."""
    names = [each.name for each in fields(law) if each.init]
    return {name: _one_number(getattr(law, name)) for name in names}


def _one_number(value: Any) -> Any:
    is_array = isinstance(value, np.ndarray) and value.ndim == 1
    return float(value[0]) if is_array and np.ptp(value) == 0.0 else value


@register(kind="law", name="gaussian")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Gaussian(ParameterLaw):
    """Independent normal parameters, N(mean(t), std(t)^2).

    A path keeps its quantile at all depths: theta(t) = mean(t) + std(t) xi.

    Parameters
    ----------
    mean : number, array_like of shape (k,), or callable
        Mean. A callable takes the depth t and returns a number or shape (k,).
    std : number, array_like of shape (k,), or callable
        Standard deviation, not negative; zero freezes a parameter at its mean.
    n_params : int, optional
        k, needed where no shape shows it; default 1.
    """

    mean: Parameter = 0.0
    std: Parameter = 1.0
    n_params: int | None = None

    def __post_init__(self) -> None:
        settle_fields(self, "mean", "std")
        mean_and_std(self.mean, self.std, _DEPTH_ZERO, self.n_params)

    @property
    def base_variables(self) -> tuple[str, ...]:
        """All standard normal."""
        return ("normal",) * self.n_random

    @property
    def is_symmetric(self) -> bool:
        """Whether the mean is zero."""
        return is_zero(self.mean)

    def base_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.base_paths`."""
        mean, std = mean_and_std(self.mean, self.std, t, self.n_params)
        theta = mean[:, np.newaxis] + std[:, np.newaxis] * xi
        return np.broadcast_to(theta, (len(t), *xi.shape))


@register(kind="law", name="uniform")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Uniform(ParameterLaw):
    """Independent parameters, uniform on [low(t), high(t)].

    A path keeps its quantile at all depths.

    Parameters
    ----------
    low : number, array_like of shape (k,), or callable of t
        Lower bound, as for `Gaussian`.
    high : number, array_like of shape (k,), or callable of t
        Upper bound, above the lower one for every parameter.
    n_params : int, optional
        k, needed where no shape shows it; default 1.
    """

    low: Parameter = -1.0
    high: Parameter = 1.0
    n_params: int | None = None

    def __post_init__(self) -> None:
        settle_fields(self, "low", "high")
        bounds(self.low, self.high, _DEPTH_ZERO, self.n_params)

    @property
    def base_variables(self) -> tuple[str, ...]:
        """All uniform."""
        return ("uniform",) * self.n_random

    @property
    def is_symmetric(self) -> bool:
        """Whether every interval is symmetric about zero."""
        is_known = not (callable(self.low) or callable(self.high))
        return is_known and is_zero(self.low + self.high)

    def base_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.base_paths`."""
        low, high = bounds(self.low, self.high, t, self.n_params)
        theta = low[:, np.newaxis] + (high - low)[:, np.newaxis] * xi
        return np.broadcast_to(theta, (len(t), *xi.shape))


@register(kind="law", name="dirac")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dirac(ParameterLaw):
    """All mass at one theta, or on one path theta(t).

    Parameters
    ----------
    theta : number, array_like of shape (k,), or callable of t
        The one theta.
    n_params : int, optional
        k, needed where no shape shows it; default 1.
    """

    base_variables: ClassVar[tuple[str, ...]] = ()

    theta: Parameter = 0.0
    n_params: int | None = None

    def __post_init__(self) -> None:
        settle_fields(self, "theta")

    @property
    def n_random(self) -> int:
        """Random numbers per particle: none."""
        return 0

    @property
    def is_symmetric(self) -> bool:
        """Whether theta is zero."""
        return is_zero(self.theta)

    def base_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.base_paths`."""
        theta = values_at("theta", self.theta, t, self.n_params)[:, np.newaxis]
        return np.broadcast_to(theta, (len(t), len(xi), self.n_params))


@register(kind="law", name="point_cloud")
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PointCloud(Law):
    """Finitely many points with weights, constant in t.

    Parameters
    ----------
    theta : array_like, shape (n, k)
        The points.
    weights : array_like, shape (n,), optional
        Weights, positive with sum 1; default 1/n.
    """

    theta: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None

    is_constant_in_t: ClassVar[bool] = True
    n_random: ClassVar[int] = 1

    def __post_init__(self) -> None:
        theta = float_array("theta", self.theta, axes=("particle", "parameter"))
        if theta.ndim != 2 or 0 in theta.shape:
            raise ValueError(
                "`theta` must have shape (n_particles, n_params) with no empty axis, "
                f"got {theta.shape}."
            )
        object.__setattr__(self, "theta", theta)
        weights = particle_weights(self.weights, len(theta))
        object.__setattr__(self, "weights", weights)

    @property
    def n_params(self) -> int:
        """Number of parameters per particle k."""
        return self.theta.shape[1]

    @property
    def atoms(self) -> NDArray[np.float64]:
        """The points, (n, k): so many particles are the law without error."""
        return self.theta

    def paths(
        self, u: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.paths`: the number selects a point by its weight."""
        theta = self.theta[select(u[:, 0], self.weights)]
        return np.broadcast_to(theta, (len(t), *theta.shape))

    @checked(grid=A_DEPTH_GRID, n_particles=optional(whole(1)))
    def sample(
        self,
        grid: DepthGrid,
        n_particles: int | None = None,
        *,
        method: str = "iid",
        coupling: str = "path",
        seed: int = 0,
        **options: Any,
    ) -> ParticleEnsemble:
        """Return the cloud itself, or draw from it: see `mfpde.laws.sample`.

        With `n_particles` None or n, the size of the cloud, the particles are its
        points with its weights at every node, whatever the method: no sampling
        error. Any other number draws points by their weights; as a bound for
        "quadrature" it must not be below n.
        """
        n_points = len(self.theta)
        if n_particles is None:
            n_particles = n_points
        checked_options(self, grid, method, coupling, seed)
        if method == "quadrature" and n_particles < n_points:
            raise ValueError(
                f"`n_particles` must be at least {n_points}, the points of the cloud, "
                f'for `method` = "quadrature", got {n_particles}. Use "sobol".'
            )
        if n_particles == n_points or method == "quadrature":
            shape = (len(grid.nodes), *self.theta.shape)
            origin = Provenance(self, n_points, "iid", coupling, seed)
            theta = np.broadcast_to(self.theta, shape)
            return ParticleEnsemble(theta, self.weights, origin)
        options |= {"method": method, "coupling": coupling, "seed": seed}
        return sample(self, grid, n_particles, **options)


@register(kind="law", name="file")
def point_cloud_of(path: Path) -> PointCloud:
    """The points of an NPZ file, constant in t.

    Parameters
    ----------
    path : path
        NPZ file with theta (n, k) and perhaps weights (n,).
    """
    path = a_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} with the points of a law.")
    with path.open("rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (*_DAMAGED, ValueError) as error:
            raise ValueError(f"`path`: {path} is not an NPZ file.") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"`path`: {path} is not an NPZ file but a single array.")
        if "theta" not in archive.files:
            raise ValueError(f"`path`: {path} has no array theta.")
        try:
            weights = archive["weights"] if "weights" in archive.files else None
            return PointCloud(archive["theta"], weights)
        except _DAMAGED as error:
            raise ValueError(f"`path`: {path} is damaged ({error}).") from error
