"""Laws given parameter by parameter, and point clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, float_array, optional, whole
from mfpde.ensemble import ParticleEnsemble, particle_weights
from mfpde.laws.base import Law
from mfpde.laws.origin import Sampling
from mfpde.laws.parameters import (
    A_GRID,
    Parameter,
    bounds,
    is_zero,
    mean_and_std,
    settle,
    values_at,
)
from mfpde.laws.sampling import checked_options, sample

if TYPE_CHECKING:
    from mfpde.depth import DepthGrid

_DEPTH_ZERO = np.zeros(1)


def select(
    u: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Index c with probability probabilities[c], from uniform numbers u (M,)."""
    cumulative = np.cumsum(probabilities)
    # u < 1, so the index is that of an entry with positive probability.
    return np.searchsorted(cumulative / cumulative[-1], u, side="right")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Gaussian(Law):
    """Independent normal parameters, N(mean(t), std(t)^2).

    A path keeps its quantile at all depths: theta(t) = mean(t) + std(t) xi.

    Parameters
    ----------
    mean, std : number, array_like of shape (k,), or callable
        A callable takes the depth t and returns a number or shape (k,). `std`
        must not be negative; zero freezes a parameter at its mean.
    n_params : int, optional
        k, needed where no shape tells it; default 1.
    """

    kind: ClassVar[str] = "gaussian"

    mean: Parameter
    std: Parameter
    n_params: int | None = None

    def __post_init__(self) -> None:
        _settle(self, "mean", "std")
        mean_and_std(self.mean, self.std, _DEPTH_ZERO, self.n_params)

    @property
    def n_random(self) -> int:
        """Random numbers per particle: one for each parameter."""
        return self.n_params

    @property
    def is_constant_in_t(self) -> bool:
        """Whether neither mean nor std is a function of t."""
        return not (callable(self.mean) or callable(self.std))

    @property
    def germs(self) -> tuple[str, ...]:
        """All standard normal."""
        return ("normal",) * self.n_random

    @property
    def is_symmetric(self) -> bool:
        """Whether the mean is zero."""
        return is_zero(self.mean)

    def germ_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.germ_paths`."""
        mean, std = mean_and_std(self.mean, self.std, t, self.n_params)
        theta = mean[:, np.newaxis] + std[:, np.newaxis] * xi
        return np.broadcast_to(theta, (len(t), *xi.shape))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Uniform(Law):
    """Independent parameters, uniform on [low(t), high(t)].

    A path keeps its quantile at all depths.

    Parameters
    ----------
    low, high : number, array_like of shape (k,), or callable of t
        As for `Gaussian`, with low < high for every parameter.
    n_params : int, optional
        k, needed where no shape tells it; default 1.
    """

    kind: ClassVar[str] = "uniform"

    low: Parameter
    high: Parameter
    n_params: int | None = None

    def __post_init__(self) -> None:
        _settle(self, "low", "high")
        bounds(self.low, self.high, _DEPTH_ZERO, self.n_params)

    @property
    def n_random(self) -> int:
        """Random numbers per particle: one for each parameter."""
        return self.n_params

    @property
    def is_constant_in_t(self) -> bool:
        """Whether neither bound is a function of t."""
        return not (callable(self.low) or callable(self.high))

    @property
    def germs(self) -> tuple[str, ...]:
        """All uniform."""
        return ("uniform",) * self.n_random

    @property
    def is_symmetric(self) -> bool:
        """Whether every interval is symmetric about zero."""
        is_known = not (callable(self.low) or callable(self.high))
        return is_known and is_zero(self.low + self.high)

    def germ_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.germ_paths`."""
        low, high = bounds(self.low, self.high, t, self.n_params)
        theta = low[:, np.newaxis] + (high - low)[:, np.newaxis] * xi
        return np.broadcast_to(theta, (len(t), *xi.shape))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dirac(Law):
    """All mass at one theta, or on one path theta(t).

    Parameters
    ----------
    theta : number, array_like of shape (k,), or callable of t
    n_params : int, optional
        k, needed where no shape tells it; default 1.
    """

    kind: ClassVar[str] = "dirac"
    germs: ClassVar[tuple[str, ...]] = ()

    theta: Parameter
    n_params: int | None = None

    def __post_init__(self) -> None:
        _settle(self, "theta")

    @property
    def n_random(self) -> int:
        """Random numbers per particle: none."""
        return 0

    @property
    def is_constant_in_t(self) -> bool:
        """Whether theta is not a function of t."""
        return not callable(self.theta)

    @property
    def is_symmetric(self) -> bool:
        """Whether theta is zero."""
        return is_zero(self.theta)

    def germ_paths(
        self, xi: NDArray[np.float64], t: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """See `Law.germ_paths`."""
        theta = values_at("theta", self.theta, t, self.n_params)[:, np.newaxis]
        return np.broadcast_to(theta, (len(t), len(xi), self.n_params))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PointCloud(Law):
    """Finitely many points with weights, constant in t.

    Parameters
    ----------
    theta : array_like, shape (n, k)
    weights : array_like, shape (n,), optional
        Positive with sum 1; default 1/n.
    """

    kind: ClassVar[str] = "point_cloud"

    theta: ArrayLike
    weights: ArrayLike | None = None

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

    @checked(grid=A_GRID, n_particles=optional(whole(1)))
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
            origin = Sampling(self, n_points, "iid", coupling, seed)
            theta = np.broadcast_to(self.theta, shape)
            return ParticleEnsemble(theta, self.weights, origin)
        options |= {"method": method, "coupling": coupling, "seed": seed}
        return sample(self, grid, n_particles, **options)


def _settle(law: Law, *names: str) -> None:
    """Bring the named parameters of a new law to shape (k,) and set k."""
    values = {name: getattr(law, name) for name in names}
    n_params, settled = settle(law.n_params, **values)
    for name, value in (settled | {"n_params": n_params}).items():
        object.__setattr__(law, name, value)
