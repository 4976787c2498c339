"""What a run shall do: checked, told to the file, and rebuilt from it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mfpde.arrays import mapping, shown
from mfpde.depth import DepthGrid
from mfpde.engine.mpi import shard_of
from mfpde.ensemble import ParticleEnsemble
from mfpde.flow import Flow, Restart, Setup, State, check_end, make_flow
from mfpde.problem import MeanFieldProblem
from mfpde.recording import (
    Observer,
    check_observers,
    flow_row,
    make_clocks,
    scalar_names,
    schedule_from_description,
)
from mfpde.run.crossing import locate
from mfpde.run.divergence import blown_up
from mfpde.run.limits import problem_of
from mfpde.run.observers import built_in, observers_of
from mfpde.run.recorder import Cadence, Columns, Metadata, Records, Row
from mfpde.run.solution import Solution, StopRules
from mfpde.steppers import describe_stepper, stepper_of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything `solve` was asked to do, checked."""

    problem: MeanFieldProblem
    grid: DepthGrid
    ensemble: ParticleEnsemble
    s_end: float
    stepper: Any
    tolerances: dict[str, float]
    ds: float | None
    schedules: dict[str, Any]
    rules: StopRules
    observers: dict[str, Observer]
    checkpoint_every_s: float
    setup: Setup | None
    theta_dtype: str = "f8"
    swmr: bool = True
    metadata: Metadata = field(default_factory=Metadata)

    kind = "run"

    @property
    def end(self) -> float:
        """End in training time, for the checkpoint: a restart may have moved it."""
        return self.s_end

    def shared(self, communicator: Any) -> Plan:
        """The same with the particles of one rank of a communicator, or of None."""
        shard = shard_of(communicator, self.ensemble.n_particles)
        return dataclasses.replace(self, ensemble=self.ensemble.share(shard))

    @property
    def columns(self) -> Columns:
        """The scalars that are recorded."""
        return Columns(names=scalar_names(self.problem), row=flow_row)

    def ending(
        self, state: State, rows: list[Row], waited_s: float
    ) -> tuple[str, str] | None:
        """(status, sentence) if the flow shall end at this state."""
        at_start, where = rows[0]["objective"], f"step {state.step} (s = {state.s:g})"
        ending = blown_up(self.problem, state.latest[1], at_start, where)
        if ending is None:
            ending = self.rules.reason(
                state, s_end=self.s_end, objective_at_start=at_start
            )
        if ending is None and state.s >= self.s_end:
            ending = "finished", f"Reached s_end = {self.s_end:g}."
        # A run that is at its end is finished, however long that took.
        return ending or self.rules.waited_too_long(state, waited_s)

    def completed(self, solution: Solution) -> Solution:
        """The solution with what only a plan knows: how it was started."""
        return dataclasses.replace(solution, setup=self.setup)

    def cadence(self, s_start: float = 0.0) -> Cadence:
        """When what is recorded, from s_start on."""
        clocks = make_clocks(self.schedules, self.s_end, s_start)
        return Cadence(
            scalars=clocks["record"],
            snapshots=clocks["snapshots"],
            states=clocks["states"],
            checkpoint_every_s=self.checkpoint_every_s,
        )

    def states(self, cadence: Cadence, restart: Restart | None) -> Iterator[State]:
        """The flow itself, from s = 0 or from a restart."""
        return self.flow.states(self.ensemble, self.s_end, cadence.hits, restart)

    @functools.cached_property
    def flow(self) -> Flow:
        """The equations and the method."""
        parts = self.problem, self.grid, self.ensemble, self.stepper
        return make_flow(*parts, **self.tolerances, ds=self.ds)

    def crossing(self, before: State, after: State, rows: list[Row]) -> State | None:
        """Where the last step crossed a limit of the rules, if it did.

        A method of order 1 is not asked: its steps are those of gradient descent, an
        iteration between whose values there is nothing; it ends at the first below.
        """
        if self.rules.is_void or getattr(self.flow.method, "order", 1) < 2:
            return None
        options = {"s_end": self.s_end, "objective_at_start": rows[0]["objective"]}
        if self.rules.reason(after, **options) is None:
            return None

        def margin(state: State) -> float:
            return self.rules.margin(state, **options)

        rtol = self.tolerances["rtol"]
        return locate(margin, self.flow.advance, before, after, rtol)

    def describe(self) -> dict[str, Any]:
        """What `resume` needs to go on, as plain values."""
        return {
            "problem": self.problem.describe(),
            "grid": self.grid.describe(),
            "flow": {
                "s_end": self.s_end,
                **self.tolerances,
                **describe_stepper(self.stepper, self.ds),
                "schedules": {
                    name: schedule and describe_schedule(name, schedule)
                    for name, schedule in self.schedules.items()
                },
                "rules": dataclasses.asdict(self.rules),
                "checkpoint_every_s": self.checkpoint_every_s,
                "swmr": self.swmr,
            },
            "observers": list(self.observers),
            "built_in_observers": built_in(self.observers),
        }


def plan_of(
    run: Any,
    restart: Restart,
    s_end: float | None,
    problem: MeanFieldProblem | None,
    observers: Mapping[str, Observer] | None,
    stepper: Any,
) -> Plan:
    """Rebuild the plan of a run from its file."""
    description = run.description
    flow = description["flow"]
    planned = flow["s_end"] if restart.end is None else restart.end
    end = planned if s_end is None else s_end
    check_end(end, 0.0)
    # Where a rule ended it, a run is a part of a step beyond its checkpoint.
    reached = max([restart.s, *run.s[-1:]]) if run.status == "finished" else restart.s
    if end <= reached and (s_end is not None or run.status == "finished"):
        raise ValueError(
            f"The run in {run.path} is at s = {reached:g} already ({run.message}) "
            f"Give `s_end` a later time than that{_got(s_end)}."
        )
    if run.status == "finished" and s_end is None:
        raise ValueError(
            f"The run in {run.path} is finished: {run.message} Give `s_end` to go on."
        )
    observers = observers_of(run, check_observers(observers))
    if flow["stepper"] is None and stepper is None:
        raise ValueError("`stepper` is needed: the run used a stepper of your own.")
    if flow["stepper"] is not None and stepper is not None:
        raise ValueError(
            f"`stepper` must be None: the run in {run.path} goes on with its own, "
            f"{flow['stepper']!r}."
        )
    problem = problem_for(run, problem)
    check_same_problem(problem, run)
    grid = DepthGrid.from_description(description["grid"])
    size = grid.n_nodes * len(run.weights) * problem.k
    theta = restart.y[:size].reshape(grid.n_nodes, len(run.weights), problem.k)
    rules = dict(flow["rules"])
    if flow["stepper"] is None:
        ds = flow["ds"]
    else:
        stepper, ds = stepper_of(flow)
    if s_end is not None:
        # Whoever asks for a later end does not want the rule that ended the run.
        rules = {name: None for name in rules}
    return Plan(
        problem=problem,
        grid=grid,
        ensemble=ParticleEnsemble(theta, run.weights),
        s_end=float(end),
        stepper=stepper,
        tolerances={"rtol": flow["rtol"], "atol": flow["atol"]},
        ds=ds,
        schedules={
            name: schedule_from_description(schedule)
            for name, schedule in flow["schedules"].items()
        },
        rules=StopRules(**rules),
        observers=observers,
        checkpoint_every_s=flow["checkpoint_every_s"],
        setup=_setup_of(run, problem, grid, stepper, ds),
        swmr=flow["swmr"],
    )


def describe_schedule(name: str, schedule: Any) -> dict[str, Any]:
    """Plain values of a schedule; TypeError for the user's own without `describe`."""
    if not hasattr(schedule, "describe"):
        raise TypeError(
            f"`{name}` must be a schedule with `describe()` to be written to a file, "
            f"got {schedule!r}."
        )
    return schedule.describe()


def _setup_of(
    run: Any,
    problem: MeanFieldProblem,
    grid: DepthGrid,
    stepper: Any,
    ds: float | None,
) -> Setup | None:
    """What a run was started with, if its first snapshot is the start."""
    times = run.snapshot_s
    if not len(times) or times[0] != 0.0:
        return None
    flow = run.description["flow"]
    start = ParticleEnsemble(run.theta[0], run.weights)
    return Setup(problem, grid, start, stepper, flow["rtol"], flow["atol"], ds)


def problem_for(run: Any, problem: MeanFieldProblem | None) -> MeanFieldProblem:
    """The problem of a run at its start, or the one given for it."""
    if problem is not None:
        return problem
    try:
        return problem_of(run, is_at_end=False)
    except ValueError as error:
        raise ValueError(
            f"`problem` is needed to resume {run.path}: {error}"
        ) from error


def check_same_problem(problem: Any, run: Any) -> None:
    """Raise unless a problem has the parameters and the data of a run."""
    if not isinstance(problem, MeanFieldProblem):
        raise TypeError(
            f"`problem` must be a MeanFieldProblem, got {type(problem).__name__}."
        )
    if problem.k != len(run.param_names):
        raise ValueError(
            f"`problem` must have the {len(run.param_names)} parameters per particle "
            f"of the run in {run.path}, got {problem.k}."
        )
    for name in ("x", "y"):
        if not np.array_equal(getattr(problem, name), run.data[name]):
            raise ValueError(
                f"`problem` must have the data of the run in {run.path}; its `{name}` "
                "differs."
            )


def _got(s_end: float | None) -> str:
    return "" if s_end is None else f", got {s_end:g}"


def records_of(run: Any, lengths: Mapping[str, int]) -> Records:
    """The records of a file up to its checkpoint, as they were in memory."""
    n = lengths["/scalars/s"]
    columns = {"s": run.s[:n]}
    columns |= {name: np.asarray(run.scalars[name][:n]) for name in run.scalars}
    arrays = {name: np.asarray(run.observations[name][:n]) for name in run.observations}
    last = lengths["/trajectory/s"]
    return Records(
        rows=[{name: float(c[i]) for name, c in columns.items()} for i in range(n)],
        observations=[{name: a[i] for name, a in arrays.items()} for i in range(n)],
        snapshots=[(float(s), np.empty(0), {}) for s in run.snapshot_s[:last]],
    )


def make_metadata(metadata: Metadata | Mapping[str, Any] | None) -> Metadata:
    """What a file shall say about its run, from what `solve` and `train` take."""
    if isinstance(metadata, Metadata):
        return metadata
    given = {} if metadata is None else mapping("metadata", metadata)
    try:
        return Metadata(**given)
    except TypeError as error:
        names = ", ".join(each.name for each in dataclasses.fields(Metadata))
        raise TypeError(
            f"`metadata` must be a dict with some of {names}, got {shown(metadata)}."
        ) from error
