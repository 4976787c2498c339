"""State, loss and the velocities of theta and t, for particles in (theta, t)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.evaluation import Evaluation, evaluate
from mfpde.joint.brackets import brackets
from mfpde.joint.measure import JointEnsemble
from mfpde.joint.schemes import JointScheme
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class JointEvaluation:
    """Everything known about a joint ensemble at one training time s.

    Attributes
    ----------
    network : Evaluation
        That of the network of the sorted blocks, one particle in each layer.
    order : ndarray of int, shape (n,)
        The particle of each layer.
    velocity : ndarray, shape (n, k)
        dtheta/ds of each particle, Eq. (7) on the layers.
    t_velocity : ndarray, shape (n,)
        dt/ds of each particle, by the scheme.
    dissipation, t_dissipation : float
        D_s of Eq. (14) from the motion of theta, and the mean of t_velocity^2 / rate
        over particles.
    """

    network: Evaluation
    ensemble: JointEnsemble
    scheme: JointScheme
    velocity: Array
    t_velocity: Array

    @property
    def order(self) -> NDArray[np.int64]:
        """The particle of each layer (n,)."""
        return self.ensemble.order

    @property
    def loss(self) -> float:
        """E of Eq. (3)."""
        return self.network.loss

    @property
    def objective(self) -> float:
        """E_s of Eq. (12)."""
        return self.network.objective

    @property
    def dissipation(self) -> float:
        """D_s of Eq. (14): the part of theta."""
        return self.network.dissipation

    @property
    def t_dissipation(self) -> float:
        """The same of t: the rate at which swaps lower E in the limit, Eq. (18)."""
        return float(np.mean(self.t_velocity**2)) / self.scheme.rate

    @property
    def ledger_rate(self) -> float:
        """dE_s/ds between two swaps, where it exists: gaps depend on t, too."""
        rate = self.network.ledger_rate
        if (self.scheme.weights, self.scheme.velocity) == ("gap", "autodiff"):
            rate -= self.t_dissipation
        return rate

    @property
    def output(self) -> Array:
        """Outputs (N, q)."""
        return self.network.output

    def __repr__(self) -> str:
        return f"JointEvaluation(loss={self.loss:.6g})"


def evaluate_joint(
    problem: MeanFieldProblem,
    ensemble: JointEnsemble,
    scheme: JointScheme | None = None,
    s: float = 0.0,
) -> JointEvaluation:
    """State, loss and both velocities of particles in (theta, t), Eqs. (18), (19).

    Parameters
    ----------
    problem : MeanFieldProblem
    ensemble : JointEnsemble
        theta of shape (n, k), k that of the block.
    scheme : JointScheme, optional
        Default: uniform weights, Eq. (19) with a window.
    s : float
        Training time; matters only to a decaying regulariser.

    Raises
    ------
    NotFiniteError
        If the state or a velocity is not finite.
    """
    scheme = scheme or JointScheme()
    order = ensemble.order
    t, theta = ensemble.t[order], ensemble.theta[order]
    grid = DepthGrid.layers(len(t), scheme.residual_scale(t))
    grid = dataclasses.replace(grid, nodes=t)
    layers = ParticleEnsemble.view(theta[:, np.newaxis], np.ones(1))
    network = evaluate(problem, grid, layers, s)
    velocity = np.empty_like(theta)
    velocity[order] = network.velocity[:, 0]
    t_velocity = np.zeros(len(t))
    if scheme.velocity in ("pde", "autodiff"):
        find = _mean_field if scheme.velocity == "pde" else _derivative
        t_velocity[order] = scheme.rate * find(network, scheme, t, theta)
    if not np.isfinite(t_velocity).all():
        raise NotFiniteError(
            f"The velocity of the depths is not finite at training time s = {s:g}. "
            "Reduce the scale of theta."
        )
    return JointEvaluation(network, ensemble, scheme, velocity, t_velocity)


def swap_slopes(evaluation: JointEvaluation) -> Array:
    """Return mean_i p_i . [f_b, f_a](z_i) for every pair of neighbours, (n - 1,).

    Block a comes first, b second; for steps 1/n exchanging them changes E by the
    slope / n^2 + O(1 / n^3), Eq. (20).
    """
    network = evaluation.network
    theta = network.ensemble.theta[:, 0]
    n = len(theta)
    ranges = np.stack([np.arange(1, n + 1), np.arange(2, n + 2)])
    # The last block has no successor: its range is empty.
    ranges = np.minimum(ranges, n)
    # The adjoint behind both blocks: of the last one it is used for nothing.
    behind = np.minimum(np.arange(n) + 2, n)
    z, p = network.z[:-1], network.p[behind]
    return brackets(network.problem, theta, z, p, ranges)[:-1]


def _mean_field(
    network: Evaluation, scheme: JointScheme, t: Array, theta: Array
) -> Array:
    """Velocity (n,) of Eq. (19), with the exact adjoint of each block."""
    ranges, lengths = scheme.neighbours(t)
    values = brackets(network.problem, theta, network.z[:-1], network.p[1:], ranges)
    return -values / (len(t) * lengths)


def _derivative(
    network: Evaluation, scheme: JointScheme, t: Array, theta: Array
) -> Array:
    """Minus n dE/dt_j (n,), the order held: only gaps depend on t."""
    if scheme.weights == "uniform":
        return np.zeros(len(t))
    # dE / d tau_l = mean_i p_i[l + 1] . f(z_i[l], theta_l): the step without its tau.
    steps = np.diff(network.z, axis=0) / network.grid.step_size[:, None, None]
    weights = network.problem.sample_weights
    slopes = np.einsum("i,lid,lid->l", weights, network.p[1:], steps)
    # tau_l = t_(l+1) - t_l.
    return len(t) * (slopes - np.concatenate([[0.0], slopes[:-1]]))
