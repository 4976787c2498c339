"""What can be supplied in place of a built-in part, as types.

An object with the methods of one of these can be passed wherever mfpde takes such a
part; nothing has to be subclassed. Each protocol lists what is required, and says what
a checkpoint keeps of the object, so that a run that was killed continues bit for bit.
By `mfpde.register` its class gets a name for configurations and files.

Two protocols stand where they are used: `Executor` (`mfpde.executors`) and `Study`
(`mfpde.studies`). t in [0, 1] is depth, s >= 0 is training time.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mfpde.evaluation import Evaluation
from mfpde.executors.base import Executor
from mfpde.kernels.build import Kernels
from mfpde.steppers.base import Evaluate, Memory, Point, Step
from mfpde.studies.study import Study

__all__ = [
    "Block",
    "Executor",
    "Law",
    "Loss",
    "Observer",
    "Optimiser",
    "RecordSchedule",
    "Regulariser",
    "Schedule",
    "Stepper",
    "Study",
]

Array = NDArray[np.float64]


class Block(Protocol):
    """The map f(z, theta) of a residual layer, Eq. (1); the classes of `mfpde.blocks`.

    Most blocks of one's own are a `mfpde.blocks.Custom`, which is made of three
    functions. A block is immutable; a file keeps its constructor's arguments.
    """

    @property
    def d(self) -> int:
        """State size."""
        ...

    @property
    def k(self) -> int:
        """Parameters per particle."""
        ...

    @property
    def param_names(self) -> list[str]:
        """Names of the k parameters."""
        ...

    def kernels(self, dtype: str = ...) -> Kernels:
        """The compiled kernels for numbers of type "float64" or "float32"."""
        ...


class Loss(Protocol):
    """The loss of every sample, Eq. (3); also `has_classes = True` for classes.

    A loss is immutable; a file keeps its constructor's arguments.
    """

    def values(self, output: Array, y: Array) -> Array:
        """Losses (N,) of outputs and targets (N, q)."""
        ...

    def gradients(self, output: Array, y: Array) -> Array:
        """Their gradients in the output, (N, q)."""
        ...


class Regulariser(Protocol):
    """lambda(s) int int |theta|^2 drho dt, Eq. (12).

    A regulariser is immutable; a file keeps its constructor's arguments.
    """

    def strength(self, s: float) -> float:
        """lambda(s)."""
        ...

    def rate(self, s: float) -> float:
        """The derivative lambda'(s), for the ledger of Eq. (14)."""
        ...


class Law(Protocol):
    """The law rho_ini of random paths theta(t); the classes of `mfpde.laws`.

    `mfpde.laws.Law` is a base class with `sample` and defaults of what quadrature
    needs. A law is immutable; particles are drawn once, at the start of a run.
    """

    @property
    def n_params(self) -> Any:
        """Parameters per particle, k: an int."""
        ...

    @property
    def n_random(self) -> int:
        """Independent uniform numbers that make one particle."""
        ...

    def paths(self, u: Array, t: Array) -> Array:
        """theta (n, M, k) at depths t (n,) from numbers u (M, n_random) in (0, 1)."""
        ...


class Stepper(Protocol):
    """One accepted step in training time; the classes of `mfpde.steppers`.

    What a stepper carries from step to step is the dict `memory` of floats, which
    belongs to the checkpoint. The object itself keeps nothing between steps.
    """

    def step(
        self, evaluate: Evaluate, point: Point, target: float, memory: Memory, /
    ) -> Step:
        """The step from `point` that does not pass s = `target`.

        It ends on `target` exactly when it reaches it. `evaluate(s, y)` returns the
        `Point` at (s, y), or raises `NotFiniteError`.
        """
        ...


class Schedule(Protocol):
    """Factor of the learning rate; the classes of `mfpde.networks`.

    A schedule is a function of the iteration: a checkpoint keeps nothing of it.
    """

    def factor(self, iteration: int) -> float:
        """Factor in an iteration, from 0; positive."""
        ...


class Optimiser(Protocol):
    """Parameters and gradient in one iteration; the classes of `mfpde.networks`.

    What an optimiser carries from iteration to iteration is its memory, a dict of
    arrays, which belongs to the checkpoint. It is never changed in place.
    """

    def bound(self, net: Any, n_iterations: int, /) -> Any:
        """The optimiser ready for a network and a number of iterations."""
        ...

    def step_size(self, iteration: int) -> float:
        """Training time s that an iteration counts."""
        ...

    def plain_rate(self, net: Any, iteration: int) -> float:
        """Learning rate of an iteration; NaN where there is no single one."""
        ...

    def start(self, size: int) -> dict[str, Array]:
        """The memory before the first iteration, for so many parameters."""
        ...

    def update(
        self,
        y: Array,
        rate: Array,
        iteration: int,
        memory: dict[str, Array],
        out: Array,
    ) -> dict[str, Array]:
        """Write the new parameters to out (n,); returns the new memory.

        `rate` (n,) is minus the gradient of Eq. (10) at the parameters y (n,).
        """
        ...


class RecordSchedule(Protocol):
    """When a run records; the classes of `mfpde.recording`.

    A schedule is a function of s and of the step: a checkpoint keeps nothing of it.
    """

    def times(self, s_end: float) -> Array:
        """Training times in [0, s_end] on which steps end, to be recorded."""
        ...

    def is_due(self, step: int) -> bool:
        """Whether to record after this step, whatever s."""
        ...


class Observer(Protocol):
    """What is recorded besides the scalars of every run: any such function.

    An observer is a function of the evaluation: a checkpoint keeps nothing of it.
    """

    def __call__(self, evaluation: Evaluation, /) -> Any:
        """A number, or an array of one shape."""
        ...
