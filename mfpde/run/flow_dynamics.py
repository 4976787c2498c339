"""The flow as dynamics of a run."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfpde.describe import described
from mfpde.engine.mpi import shard_of
from mfpde.problem import MeanFieldProblem
from mfpde.recording import flow_row, scalar_names
from mfpde.run.flow import Flow
from mfpde.run.solution import Solution
from mfpde.run.specification import Dynamics, Row
from mfpde.run.states import Checkpoint, InitialState, State
from mfpde.run.stopping import Reason, StopRules, locate
from mfpde.steppers import make_stepper

__all__ = ["FlowDynamics"]


@dataclass(frozen=True, kw_only=True)
class FlowDynamics(Dynamics):
    """The flow of Eq. (6); see `Dynamics`.

    Attributes
    ----------
    start : InitialState
        With the particles of this rank; of a continued run those of the checkpoint.
    s_end : float
    rules : StopRules
    initial : InitialState or None
        With all particles at s = 0.
    """

    start: InitialState
    s_end: float
    rules: StopRules
    initial: InitialState | None

    @property
    def problem(self) -> MeanFieldProblem:
        """The problem at the start."""
        return self.start.problem

    def shared(self, communicator: Any) -> FlowDynamics:
        """The same with the particles of one rank of a communicator, or of None."""
        ensemble = self.start.ensemble
        share = ensemble.share(shard_of(communicator, ensemble.n_particles))
        start = dataclasses.replace(self.start, ensemble=share)
        return dataclasses.replace(self, start=start)

    @functools.cached_property
    def flow(self) -> Flow:
        """The equations and the method."""
        return Flow.of(self.start)

    def row(self, state: State) -> Row:
        """The scalars of a state."""
        row = flow_row(state)
        return {name: row[name] for name in scalar_names(self.problem) if name in row}

    def states(
        self, tstops: set[float], checkpoint: Checkpoint | None
    ) -> Iterator[State]:
        """The flow itself."""
        return self.flow.states(self.start.ensemble, self.s_end, tstops, checkpoint)

    def limit(
        self, before: State | None, after: State, rows: Sequence[Row]
    ) -> tuple[State, Reason] | None:
        """Where a limit of the rules is crossed in the last step, and the reason.

        A method of order 1 has no state between: its steps are those of gradient
        descent, an iteration, which ends with the first one below.
        """
        at_start = rows[0]["objective"]
        options = {"s_end": self.s_end, "objective_at_start": at_start}
        reason = self.rules.reason(after, **options)
        if reason is None:
            return None
        if before is None or getattr(self.flow.stepper, "order", 1) < 2:
            return after, reason
        margin = functools.partial(self.rules.margin, **options)
        rtol = self.start.method.rtol
        found = locate(margin, self.flow.advance, before, after, rtol)
        return found, self.rules.reason(found, **options) or reason

    def describe(self) -> dict[str, Any]:
        """What `resume` needs, as plain values."""
        method = self.start.method
        return {
            "problem": self.problem.describe(),
            "grid": self.start.grid.describe(),
            "flow": {
                "s_end": self.s_end,
                "rtol": method.rtol,
                "atol": method.atol,
                "stepper": described(make_stepper(**method.options)),
                "rules": dataclasses.asdict(self.rules),
            },
        }

    def solution(self, values: dict[str, Any], state: State) -> Solution:
        """The solution of the run."""
        ensemble = state.ensemble.gather(everywhere=True)
        assert ensemble is not None
        theta = np.array(values.pop("theta")).reshape(-1, *ensemble.theta.shape)
        return Solution(**values, theta=theta, ensemble=ensemble, initial=self.initial)
