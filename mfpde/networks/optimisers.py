"""Optimisers: what becomes of parameters and gradient in one iteration.

An optimiser is any object with the methods of `Optimiser`, which is the base class of
ours and has defaults of all but `step_size` and `update`. Its memory, a dict of arrays,
is part of the checkpoint: an optimiser that keeps nothing else from iteration to
iteration is continued bit for bit.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from mfpde import kernels
from mfpde.arrays import having, number, optional, positive
from mfpde.describe import register
from mfpde.fields import check
from mfpde.networks.rates import A_SCHEDULE, Constant, over

Array = NDArray[np.float64]
Memory = dict[str, Array]
SHARE = number(least=0.0, below=1.0)


class Optimiser:
    """Base class of the optimisers: what becomes of parameters and gradient.

    `rate` is minus the gradient of Eq. (10), which is O(1) for every size of network.
    """

    def bound(self, net: Any, n_iterations: int) -> Any:
        """The optimiser ready for a network, and with the length of its schedule."""
        schedule = getattr(self, "schedule", None)
        if schedule is None:
            return self
        new = copy.copy(self)
        object.__setattr__(new, "schedule", over(schedule, n_iterations))
        return new

    def step_size(self, iteration: int) -> float:
        """Training time that an iteration counts."""
        raise NotImplementedError(f"{type(self).__name__} must define `step_size`.")

    def plain_rate(self, net: Any, iteration: int) -> float:
        """Learning rate of an iteration, NaN where there is no single one."""
        return self.step_size(iteration)

    def start(self, size: int) -> Memory:
        """Memory (arrays by name) before the first iteration, of `size` parameters."""
        return {}

    def update(
        self, y: Array, rate: Array, iteration: int, memory: Memory, out: Array
    ) -> Memory:
        """Write new parameters to out (n,); returns a new memory, the old unchanged."""
        raise NotImplementedError(f"{type(self).__name__} must define `update`.")

    def sentence(self, net: Any) -> str:
        """How it moves a network, for the run summary; empty for no sentence."""
        return ""


@register(kind="optimiser", name="sgd")
@dataclass(frozen=True)
class SGD(Optimiser):
    """Gradient descent, with momentum on demand; on mini-batches it is stochastic.

    theta moves by ds times its velocity, Eq. (10), trained maps by ds times theirs.
    With momentum mu the velocity is v <- mu v + velocity (no damping), and theta moves
    by ds v, or by ds (velocity + mu v) with Nesterov's look-ahead, as in PyTorch.

    Parameters
    ----------
    learning_rate : float, optional
        The lr of theta <- theta - lr dE/dtheta; ds = lr tau w, Eq. (30). Only where
        all layers and particles have the same tau_l w_m.
    ds : float, optional
        The step in training time; one of the two is needed.
    momentum : float
        mu in [0, 1).
    nesterov : bool
        Whether momentum looks ahead.
    schedule : object
        Factor of the learning rate by iteration, see `mfpde.networks.rates`.

    Notes
    -----
    Training time counts ds / (1 - mu): what an iteration moves in the long run.
    """

    learning_rate: Annotated[float | None, optional(positive)] = None
    ds: Annotated[float | None, optional(positive)] = None
    momentum: Annotated[float, SHARE] = 0.0
    nesterov: bool = False
    schedule: Annotated[Any, A_SCHEDULE] = field(default_factory=Constant)

    def __post_init__(self) -> None:
        if (self.learning_rate is None) == (self.ds is None):
            raise ValueError(
                "One of `learning_rate` and `ds` is needed, and not both; got "
                f"learning_rate = {self.learning_rate!r}, ds = {self.ds!r}."
            )
        check(self)
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` needs a positive `momentum`, got 0.")

    def bound(self, net: Any, n_iterations: int) -> SGD:
        """The same with ds, by Eq. (30), and with the length of its schedule."""
        ds = net.ds(self.learning_rate) if self.ds is None else float(self.ds)
        return dataclasses.replace(
            self, learning_rate=None, ds=ds, schedule=over(self.schedule, n_iterations)
        )

    def step_size(self, iteration: int) -> float:
        """Training time that an iteration counts, ds / (1 - mu)."""
        step = self.ds * self.schedule.factor(iteration)
        return step / (1.0 - self.momentum) if self.momentum else step

    def plain_rate(self, net: Any, iteration: int) -> float:
        """The plain learning rate of an iteration, NaN where there is no single one."""
        # Beyond its end a schedule may give 0.
        factor = self.schedule.factor(iteration)
        return factor * net.learning_rate(self.ds) if net.has_one_rate else math.nan

    def start(self, size: int) -> Memory:
        """Nothing, or the velocity of the momentum."""
        return {"velocity": np.zeros(size)} if self.momentum else {}

    def update(
        self, y: Array, rate: Array, iteration: int, memory: Memory, out: Array
    ) -> Memory:
        """Write the new parameters to out (n,); returns the new memory."""
        ds = self.ds * self.schedule.factor(iteration)
        if not self.momentum:
            # As the stepper "euler" of the flow, to the bit.
            kernels.vectors.combine(y, rate[np.newaxis], np.ones(1), ds, out)
            return {}
        new = np.empty_like(y)
        velocity, is_nesterov = memory["velocity"], bool(self.nesterov)
        momentum = float(self.momentum)
        kernels.descent.momentum_step(
            y, rate, velocity, momentum, is_nesterov, ds, new, out
        )
        return {"velocity": new}

    def sentence(self, net: Any) -> str:
        """How it moves a network, for the account; see `ResNet.rate_sentence`."""
        name = "gradient descent"
        if self.momentum:
            kind = "Nesterov momentum" if self.nesterov else "momentum"
            name += f" with {kind} {self.momentum:g}"
        text = f"{name}; {net.rate_sentence(self.ds)}"
        if self.momentum:
            text += f"; s counts ds / (1 - {self.momentum:g}) for an iteration"
        return text + "."


@register(kind="optimiser", name="adam")
@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam (Kingma, Ba, arXiv:1412.6980), without weight decay.

    Parameters
    ----------
    learning_rate : float
        About the distance that every parameter moves in an iteration.
    beta1 : float
        Memory of the mean, in [0, 1).
    beta2 : float
        Memory of the square, in [0, 1).
    epsilon : float
        Added to the root of the square of the velocity, Eq. (10). That is O(1) for
        every L and M; Adam on plain gradients dE/dtheta is the same with
        epsilon tau w in its place.
    schedule : object
        As for `SGD`.

    Notes
    -----
    No step of Adam is a step ds of the flow: it divides every component of the gradient
    by its own size, so that metrics and the rates of trained maps cancel (a metric of 0
    still freezes). Training time counts the learning rates.
    """

    learning_rate: Annotated[float, positive] = 1e-3
    beta1: Annotated[float, SHARE] = 0.9
    beta2: Annotated[float, SHARE] = 0.999
    epsilon: Annotated[float, positive] = 1e-8
    schedule: Annotated[Any, A_SCHEDULE] = field(default_factory=Constant)

    def __post_init__(self) -> None:
        check(self)

    def step_size(self, iteration: int) -> float:
        """Training time that an iteration counts: the learning rate."""
        return self.learning_rate * self.schedule.factor(iteration)

    def start(self, size: int) -> Memory:
        """Mean and square of the gradient."""
        return {"mean": np.zeros(size), "square": np.zeros(size)}

    def update(
        self, y: Array, rate: Array, iteration: int, memory: Memory, out: Array
    ) -> Memory:
        """Write the new parameters to out (n,); returns the new memory."""
        mean, square = np.empty_like(y), np.empty_like(y)
        kernels.descent.adam_step(
            y, rate, memory["mean"], memory["square"],
            float(self.beta1), float(self.beta2), float(self.epsilon),
            iteration + 1, self.step_size(iteration), mean, square, out,
        )  # fmt: skip
        return {"mean": mean, "square": square}

    def sentence(self, net: Any) -> str:
        """How it moves a network, for the account."""
        return (
            f"Adam, beta = {self.beta1:g}, {self.beta2:g}, epsilon = {self.epsilon:g}; "
            f"learning rate {self.learning_rate:g} is about the distance a parameter "
            "moves in an iteration, no step ds of the flow; s counts learning rates."
        )


def check_optimiser(optimiser: Any) -> None:
    """Raise TypeError unless an object is an optimiser."""
    methods = ("bound", "step_size", "start", "update", "plain_rate")
    what = "mfpde.networks.SGD(learning_rate), Adam(...) or an object like them"
    having(*methods, what=what)("optimiser", optimiser)
