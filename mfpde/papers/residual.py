"""Networks of one matrix per layer, as in Zhang et al.: problems, draws, descents.

h[l+1] = psi(h[l] + tau W[l] h[l]), W_ij ~ N(0, variance / width), sections 1.5, 5.5.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde import data
from mfpde.blocks import Linear
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import NotFiniteError
from mfpde.laws import Gaussian, GaussianProcess
from mfpde.losses import Functional
from mfpde.networks import SGD
from mfpde.networks.resnet import ResNet
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Steps
from mfpde.run.training import train
from mfpde.scales import PowerLaw
from mfpde.studies.experiment import Experiment
from mfpde.studies.study import Config

Array = NDArray[np.float64]
HE = 2.0
"""Variance of the weights times the width, after He et al."""


def matrix_network(
    problem: MeanFieldProblem,
    n_layers: int,
    exponent: float,
    seed: int,
    *,
    tau0: float = 1.0,
    outer: str = "relu",
    variance: float = HE,
    length: float = 0.0,
    n_finest: int | None = None,
) -> ResNet:
    """A network with tau = tau0 L^exponent and random matrices.

    Parameters
    ----------
    problem : MeanFieldProblem
        With a `Linear` block.
    n_layers : int
    exponent : float
    seed : int
    tau0 : float
    outer : str
        psi of Eq. (9).
    variance : float
        Of the entries, times the width.
    length : float
        Correlation length in t (depth) of a Gaussian process; 0 for independent
        layers, inf for one matrix in all layers.
    n_finest : int, optional
        Draws for so many layers are added up to those of n_layers, a divisor, as
        increments of one Brownian path: the same path for every number of layers.
    """
    n_drawn = n_finest or n_layers
    if n_drawn % n_layers:
        raise ValueError(
            f"`n_layers` must divide `n_finest` = {n_drawn}, got {n_layers}."
        )
    drawn = _drawn(problem.k, n_drawn, np.sqrt(variance / problem.d), length, seed)
    parts = drawn.reshape(n_layers, -1, 1, problem.k)
    theta = parts.sum(axis=1) / np.sqrt(parts.shape[1])
    return ResNet(problem, ParticleEnsemble(theta), PowerLaw(tau0, exponent), outer)


@functools.lru_cache(maxsize=2)
def _drawn(k: int, n_layers: int, std: float, length: float, seed: int) -> Array:
    """Matrices (n_layers, 1, k); kept, since the cells of a task share their path."""
    smooth = 0.0 < length < np.inf
    law = Gaussian(0.0, std, k)
    if smooth:
        law = GaussianProcess(0.0, std, length, k)
    coupling = "path" if smooth else "tied" if length else "layer"
    grid = DepthGrid.layers(n_layers)
    return law.sample(grid, 1, coupling=coupling, seed=seed).theta


class MatrixExperiment(Experiment):
    """An experiment on `matrix_network`, with checks of its keys.

    Attributes
    ----------
    whole : tuple of str
        Keys of `known` whose names are compared with each other: all must be there.
    one_path : bool
        Whether draws are increments of one path: `depths` divide the largest.
    least_depths : int
        How many of them the fit of a power and its next term needs.
    """

    whole: ClassVar[tuple[str, ...]] = ()
    one_path: ClassVar[bool] = False
    least_depths: ClassVar[int] = 4

    def problems(self, config: Config) -> list[str]:
        """Also of names and depths; see `Experiment.problems`."""
        found = super().problems(config)
        for key in self.whole:
            if not set(self.known[key]) <= set(config[key]):
                names = ", ".join(self.known[key])
                found.append(f"`{key}` must hold {names}, got {config[key]}.")
        depths = config["depths"]
        if found:
            return found
        if self.one_path and any(max(depths) % n for n in depths):
            found.append(f"`depths` must divide the largest of them, got {depths}.")
        if self.one_path and len(depths) < self.least_depths:
            least = self.least_depths
            found.append(f"`depths` must hold {least} or more, got {depths}.")
        if not found and "data" in config:
            try:
                data.load(config["data"])
            except (OSError, TypeError, ValueError) as error:
                found.append(f"`data` cannot be loaded: {error}")
        return found


def feed_forward(net: ResNet) -> ResNet:
    """The network without its skips: h[l+1] = psi(tau W[l] h[l])."""
    skip = np.eye(net.problem.d).ravel() / net.grid.weights[:, np.newaxis, np.newaxis]
    return net.with_parameters(net.ensemble.with_theta(net.ensemble.theta - skip))


def factor_share(net: ResNet, states: ArrayLike) -> float:
    """Mean of (E[|h_(l+1)|^2 | h_l] / |h_l|^2 - 1) / tau_l^2, in [1, 2] by Eq. (31).

    The mean is over layers, samples, and the draws W and -W of each layer at the state
    that W has led to: what is odd in W cancels, and no tail is heavy.

    Parameters
    ----------
    net : ResNet
        With ReLU outside the sum.
    states : array_like, shape (n_layers + 1, N, d)
        Its states h_0, ..., h_L; h_0 >= 0.
    """
    states, d = np.asarray(states), net.problem.d
    tau = net.grid.weights[:, np.newaxis]
    weights = net.ensemble.theta.reshape(-1, d, d)
    moved = tau[:, :, np.newaxis] * np.matmul(states[:-1], weights.transpose(0, 2, 1))
    other = np.maximum(states[:-1] - moved, 0.0)
    before, after, mirrored = (
        np.sum(h**2, axis=2) for h in (states[:-1], states[1:], other)
    )
    return float(np.mean((0.5 * (after + mirrored) / before - 1.0) / tau**2))


def normal_problem(
    width: int, n_samples: int, seed: int, *, positive: bool
) -> MeanFieldProblem:
    """Normal inputs, made >= 0 on demand, and normal adjoints p(1)."""
    x, y = np.random.default_rng([seed, width]).normal(size=(2, n_samples, width))
    x = np.abs(x) if positive else x
    return MeanFieldProblem(x, y, Linear(width), loss=Functional())


def feature_problem(
    description: Mapping[str, Any], width: int, readout: float, seed: int
) -> MeanFieldProblem:
    """Least squares on h_0 = ReLU(A x / |x|) >= 0 with a fixed random readout.

    Parameters
    ----------
    description : mapping
        Of the data, as in a configuration.
    width : int
        Of the state; A_ij ~ N(0, 2 / width).
    readout : float
        Root of q times the variance of the entries of the readout, for q outputs.
    seed : int
        Of A and the readout.
    """
    samples = data.load(description)
    rng = np.random.default_rng([seed, width])
    x = samples.x / np.linalg.norm(samples.x, axis=1, keepdims=True)
    a = rng.normal(0.0, np.sqrt(HE / width), (x.shape[1], width))
    q = samples.y.shape[1]
    matrix = rng.normal(0.0, readout / np.sqrt(q), (q, width))
    return MeanFieldProblem(
        np.maximum(x @ a, 0.0), samples.y, Linear(width), readout=matrix
    )


def descend(net: ResNet, rate: float, n_steps: int, below: float | None) -> Array:
    """Losses after 0, 1, ... steps of plain descent, until one is below.

    Raises
    ------
    NotFiniteError
        If the network blows up, at the start or later.
    """
    optimiser = SGD(learning_rate=rate)
    done = train.quietly(
        net, optimiser, n_iterations=n_steps, record=Steps(1), loss_below=below
    )
    if done.status == "failed":
        raise NotFiniteError(done.message)
    return done.loss


def steps_to(losses: ArrayLike, below: float) -> float:
    """Steps, also shares of one, until ln of the loss is ln `below`; inf if never."""
    losses = np.asarray(losses, dtype=float)
    is_below = losses <= below
    if not is_below.any():
        return np.inf
    k = int(is_below.argmax())
    if k == 0:
        return 0.0
    before, after = np.log(losses[k - 1 : k + 1])
    return k - 1 + (before - np.log(below)) / (before - after)


def steps_needed(net: ResNet, rates: Sequence[float], most: int, below: float) -> float:
    """Steps to a loss at the best of some learning rates; most + 1 if none gets there.

    Raises
    ------
    NotFiniteError
        If the network blows up at every rate.
    """
    found, blown_up = [], None
    for rate in rates:
        try:
            losses = descend(net, rate, most, below)
        except NotFiniteError as error:
            blown_up = error
        else:
            found.append(min(steps_to(losses, below), most + 1.0))
    if not found:
        raise blown_up or ValueError("`rates` must hold a learning rate or more.")
    return min(found)
