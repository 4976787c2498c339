"""A finite residual network, Eq. (9), as a frozen description."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import check_positive, checked, having, number, optional, whole
from mfpde.depth import MOST_LAYERS, DepthGrid
from mfpde.ensemble import AN_ENSEMBLE, ParticleEnsemble
from mfpde.evaluation import Evaluation, check_shapes
from mfpde.networks.parts import evaluate_in_parts, predict_in_parts
from mfpde.problem import A_PROBLEM, MeanFieldProblem

Array = NDArray[np.float64]
# Products tau_l w_m that differ by rounding alone are one number.
SAME = 1e-12
A_LAW = having("sample", what="a law such as mfpde.laws.Gaussian")


@dataclass(frozen=True, eq=False, repr=False)
class ResNet:
    """The network z[l+1] = psi(z[l] + tau_l sum_m w_m f(z[l], theta[l, m])), Eq. (9).

    Parameters
    ----------
    problem : MeanFieldProblem
        Data, block, embedding, readout, loss and regulariser.
    ensemble : ParticleEnsemble
        theta (L, M, k) and the weights w (M,), 1/M by default.
    residual_scale : str, callable, float or array_like, shape (L,)
        tau_l, see `DepthGrid.layers`.
    outer : str, optional
        Outer activation psi; None is the identity.

    Notes
    -----
    Its velocity is that of Eq. (10), minus the gradient divided by tau_l w_m: an O(1)
    number for all L and M. Trained embeddings and readouts move with their own `rate`
    for every ds, as in the flow: dA/ds = -rate dE/dA.
    """

    problem: MeanFieldProblem
    ensemble: ParticleEnsemble
    residual_scale: Any = "ode"
    outer: str | None = None
    grid: DepthGrid = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.ensemble, ParticleEnsemble):
            raise TypeError(
                "`ensemble` must be a ParticleEnsemble; to draw one from a law, use "
                f"ResNet.from_law(...). Got {type(self.ensemble).__name__}."
            )
        n_layers = self.ensemble.n_nodes
        grid = DepthGrid.layers(n_layers, self.residual_scale, self.outer)
        check_shapes(self.problem, grid, self.ensemble)
        object.__setattr__(self, "grid", grid)

    @classmethod
    @checked(problem=A_PROBLEM, law=A_LAW, n_layers=whole(1, MOST_LAYERS))
    def from_law(
        cls,
        problem: MeanFieldProblem,
        law: Any,
        n_layers: int,
        n_particles: int,
        *,
        coupling: str = "path",
        method: str = "iid",
        seed: int = 0,
        residual_scale: Any = "ode",
        outer: str | None = None,
    ) -> ResNet:
        """A network whose parameters are drawn from a law of rho_ini(theta, t).

        Parameters
        ----------
        problem, residual_scale, outer
            As for the class.
        law : object
            From `mfpde.laws`.
        n_layers, n_particles : int
            L and M.
        coupling : {"path", "tied", "layer"}
            One random path for each particle, one draw for all layers, or fresh draws
            in every layer (section 1.3).
        method : {"iid", "sobol", "quadrature"}
            Sampling rule in theta.
        seed : int
            Of the sampling rule.
        """
        grid = DepthGrid.layers(n_layers, residual_scale, outer)
        ensemble = law.sample(
            grid,
            n_particles,
            method=method,
            coupling=coupling,
            seed=seed,
            block=problem.block,
        )
        return cls(problem, ensemble, residual_scale, outer)

    @property
    def n_layers(self) -> int:
        """Layers L."""
        return self.ensemble.n_nodes

    @property
    def n_particles(self) -> int:
        """Particles M of a layer."""
        return self.ensemble.n_particles

    @checked(s=number())
    def evaluate(self, s: float = 0.0) -> Evaluation:
        """State, loss and velocity on all data, `mfpde.evaluate`.

        Where the states of all samples would take more than 256 MiB they are not kept,
        and sums are made part by part.
        """
        return evaluate_in_parts(self.problem, self.grid, self.ensemble, s)

    def predict(self, x: ArrayLike) -> Array:
        """Outputs (n, q) for inputs x (n, d_in)."""
        return predict_in_parts(self.problem, self.grid, self.ensemble, x)

    @checked(ensemble=AN_ENSEMBLE, problem=optional(A_PROBLEM))
    def with_parameters(
        self, ensemble: ParticleEnsemble, problem: MeanFieldProblem | None = None
    ) -> ResNet:
        """The same network with other particles and, if given, other trained maps."""
        return ResNet(
            problem or self.problem, ensemble, self.residual_scale, self.outer
        )

    @property
    def has_one_rate(self) -> bool:
        """Whether tau_l w_m is one number, so that Eq. (30) has one ds."""
        shares = self._shares()
        return bool(np.ptp(shares) <= SAME * shares.max())

    def ds(self, learning_rate: float) -> float:
        """Step in training time of theta <- theta - learning_rate dE/dtheta, Eq. (30).

        ds = learning_rate tau w, hence learning_rate / (L M) for the standard network.
        E is the loss of the problem, and eta = 1; where the metric is not 1, that
        component has the plain learning rate eta learning_rate.
        """
        check_positive("learning_rate", learning_rate)
        return float(learning_rate) * self._share()

    def learning_rate(self, ds: float) -> float:
        """The plain learning rate of a step ds in training time, Eq. (30) back."""
        check_positive("ds", ds)
        return float(ds) / self._share()

    def rate_sentence(self, ds: float) -> str:
        """The map of Eq. (30) in words, for a step ds, without a full stop."""
        size = f"on L = {self.n_layers}, M = {self.n_particles}"
        if not self.has_one_rate:
            return (
                f"ds = {ds:g} {size}; layers or particles have different tau w, so "
                "plain learning rates ds / (tau w) differ, too"
            )
        return (
            f"learning rate {self.learning_rate(ds):g} {size} is ds = {ds:g}: "
            "theta <- theta - learning rate dE/dtheta moves every particle by ds times "
            "its velocity, Eq. (30)"
        )

    def describe(self) -> dict[str, Any]:
        """Sizes; scale and psi stand in the description of the grid."""
        return {"n_layers": self.n_layers, "n_particles": self.n_particles}

    def _shares(self) -> Array:
        """tau_l w_m of every layer and particle, (L, M)."""
        return np.outer(self.grid.weights, self.ensemble.weights)

    def _share(self) -> float:
        if not self.has_one_rate:
            raise ValueError(
                "`learning_rate` has no single ds here, because layers differ in tau "
                "or particles in weight, Eq. (30). Give `ds` instead."
            )
        return float(self.grid.weights[0] * self.ensemble.weights[0])

    def __repr__(self) -> str:
        return (
            f"ResNet(L={self.n_layers}, M={self.n_particles}, {self.grid!r}, "
            f"{self.problem.block!r})"
        )
