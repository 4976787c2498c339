"""States of a flow, checkpoints, and how a flow is started: problem and method."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.evaluation import Evaluation
from mfpde.problem import MeanFieldProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """What a state needs in order to go on from it, bit for bit.

    Attributes
    ----------
    s : float
        Training time.
    step, n_evaluations, n_rejected : int
        Counts since s = 0.
    step_size : float
        Size of the last step, 0 at the start.
    y : ndarray
        The flat vector of the steppers. In a state, with the particles of this rank; in
        a checkpoint, that of a single process, whatever wrote it.
    memory : dict
        Numbers and arrays that a method carries from step to step.
    """

    s: float
    step: int
    step_size: float
    n_evaluations: int
    n_rejected: int
    y: Array
    memory: dict[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class State(Checkpoint):
    """The flow after an accepted step.

    Attributes
    ----------
    rate : ndarray
        Derivative of y in s.
    evaluation : Evaluation
        At this state; its `problem` holds the present trained maps.
    """

    rate: Array
    evaluation: Evaluation

    @property
    def ledger(self) -> float:
        """Objective at the start plus the integral of -D_s + lambda' M2, Eq. (28).

        NaN with noise, which adds to the objective what no integral of rates counts.
        """
        return float(self.y[-1])

    @property
    def energy_residual(self) -> float:
        """Residual of the ledger, Eq. (28): objective minus `ledger`."""
        return self.evaluation.objective - self.ledger

    @property
    def problem(self) -> MeanFieldProblem:
        """The problem with the present trained maps."""
        return self.evaluation.problem

    @property
    def grid(self) -> DepthGrid:
        """The grid on depth."""
        return self.evaluation.grid

    @property
    def ensemble(self) -> ParticleEnsemble:
        """The present particles."""
        return self.evaluation.ensemble

    @property
    def latest(self) -> tuple[float, float]:
        """Loss and objective, as progress shows them."""
        return self.evaluation.loss, self.evaluation.objective


@dataclass(frozen=True)
class Method:
    """Stepper in training time s and what controls its error; see `MethodOptions`."""

    stepper: Any = "dopri5"
    rtol: float = 1e-6
    atol: float = 1e-9
    ds: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of `solve` and `iterate`."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, eq=False)
class InitialState:
    """What a flow starts with at s = 0, and its method."""

    problem: MeanFieldProblem
    grid: DepthGrid
    ensemble: ParticleEnsemble
    method: Method
