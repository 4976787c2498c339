"""State, loss and the velocities of theta and t, for particles in (theta, t)."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, instance, number, numbers
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.evaluation import Evaluation, evaluate, first_variation
from mfpde.problem import MeanFieldProblem
from mfpde.theory.joint.brackets import brackets
from mfpde.theory.joint.measure import JointEnsemble
from mfpde.theory.joint.schemes import JointScheme, without_flux

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
        dt/ds of each particle, by the scheme; none leaves [0, 1].
    t_gradient : ndarray, shape (n,)
        dE_s/dt of each particle between two swaps: 0 with uniform weights. With gaps
        g_(l-1) - g_l for the block of layer l, g = dE_s/dtau = dE/drho + lambda
        |theta|^2, because tau_l = t_(l+1) - t_l.
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
        return self.network.ledger_rate + self.change_along(self.t_velocity)

    @functools.cached_property
    def t_gradient(self) -> Array:
        """dE_s/dt of each particle (n,) between two swaps."""
        gradient = np.zeros(len(self.order))
        if self.scheme.weights == "gap":
            gradient[self.order] = _gap_gradient(self.network)
        return gradient

    def change_along(self, t_change: Array) -> float:
        """First-order change of E_s where depths change so (n,), the order held."""
        t_change = numbers(len(self.order))("t_change", t_change)
        return float(self.t_gradient @ t_change) if t_change.any() else 0.0

    @property
    def output(self) -> Array:
        """Outputs (N, q)."""
        return self.network.output

    def gather(self) -> JointEvaluation:
        """Itself: one process has all particles."""
        return self

    def __repr__(self) -> str:
        return f"JointEvaluation(loss={self.loss:.6g})"


@checked(s=number())
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
    TypeError, ValueError
        If the particles do not fit the block.
    NotFiniteError
        If the state or a velocity is not finite.
    """
    scheme = JointScheme() if scheme is None else scheme
    check_joint(problem, ensemble, scheme)
    order = ensemble.order
    t, theta = ensemble.t[order], ensemble.theta[order]
    grid = DepthGrid.layers(len(t), scheme.residual_scale(t))
    grid = dataclasses.replace(grid, nodes=t)
    layers = ParticleEnsemble.view(theta[:, np.newaxis], np.ones(1))
    network = evaluate(problem, grid, layers, s)
    velocity = np.empty_like(theta)
    velocity[order] = network.velocity[:, 0]
    found = JointEvaluation(network, ensemble, scheme, velocity, np.zeros(len(t)))
    found.t_velocity[:] = without_flux(ensemble.t, _t_velocity(found))
    if not np.isfinite(found.t_velocity).all():
        raise NotFiniteError(
            f"The velocity of the depths is not finite at training time s = {s:g}. "
            "Reduce the scale of theta."
        )
    return found


A_JOINT_EVALUATION = instance(JointEvaluation)


def check_joint(problem: Any, ensemble: Any, scheme: Any) -> None:
    """Raise TypeError or ValueError unless these are a problem with its particles."""
    for name, value, kind in (
        ("problem", problem, MeanFieldProblem),
        ("ensemble", ensemble, JointEnsemble),
        ("scheme", scheme, JointScheme),
    ):
        if not isinstance(value, kind):
            raise TypeError(
                f"`{name}` must be a {kind.__name__}, got {type(value).__name__}."
            )
    if ensemble.theta.shape[1] != problem.k:
        raise ValueError(
            f"`ensemble` must have theta of shape (n_particles, {problem.k}) for "
            f"{problem.block!r}, got {ensemble.theta.shape}."
        )


def layer_variations(network: Evaluation) -> Array:
    """First variation dE/drho (n,) of the block of each layer in its place, Eq. (5).

    mean_i p_i[l + 1] . f(z_i[l], theta_l), the derivative of E in the step tau_l.
    """
    theta = network.ensemble.theta
    return first_variation(network.problem, theta, network.z[:-1], network.p[1:])[:, 0]


@checked(evaluation=A_JOINT_EVALUATION)
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


def _t_velocity(found: JointEvaluation) -> Array:
    """Velocity (n,) of the depths by the scheme, as if there were no ends."""
    scheme, n = found.scheme, len(found.order)
    velocity = np.zeros(n)
    if scheme.velocity == "pde":
        t = found.ensemble.t[found.order]
        velocity[found.order] = _mean_field(found.network, scheme, t)
    elif scheme.velocity == "autodiff":
        velocity = -n * found.t_gradient
    return scheme.rate * velocity


def _mean_field(network: Evaluation, scheme: JointScheme, t: Array) -> Array:
    """Velocity (n,) of Eq. (19) at sorted depths, with the adjoint of each block."""
    ranges, lengths = scheme.neighbours(t)
    theta = network.ensemble.theta[:, 0]
    values = brackets(network.problem, theta, network.z[:-1], network.p[1:], ranges)
    return -values / (len(t) * lengths)


def _gap_gradient(network: Evaluation) -> Array:
    """dE_s/dt (n,) of the block of each layer, in this order: gaps depend on t."""
    slopes = layer_variations(network)
    regulariser = network.problem.regulariser
    if regulariser:
        # M2 is the sum of tau_l |theta_l|^2.
        squares = np.sum(network.ensemble.theta[:, 0] ** 2, axis=1)
        slopes = slopes + regulariser.strength(network.s) * squares
    return np.concatenate([[0.0], slopes[:-1]]) - slopes
