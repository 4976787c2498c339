"""`solve` and `resume`: they drain the flow into a journal and return a `Solution`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import check_positive
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.estimation import ErrorEstimate, estimate_error
from mfpde.evaluation import check_shapes
from mfpde.flow import Restart, Setup, State, check_end, has_noise, iterate
from mfpde.journal import Cadence, Journal, Metadata, Records, restart_from
from mfpde.limits import problem_of
from mfpde.problem import MeanFieldProblem
from mfpde.progress import make_progress
from mfpde.recording import (
    Observer,
    check_observers,
    make_clocks,
    make_schedule,
    schedule_from_description,
)
from mfpde.steppers import ErrorControl, Langevin, make_stepper
from mfpde.storage import (
    RunWriter,
    check_writable,
    open_run,
    read_checkpoint,
    write_errors,
)

Array = NDArray[np.float64]
Progress = Callable[[float, float, float, int, float], None]

__all__ = ["Solution", "StopRules", "iterate", "resume", "solve"]


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """What a run found.

    Attributes
    ----------
    s, loss, objective, dissipation : ndarray, shape (R,)
        The recorded training times and, at each, E, E_s and D_s.
    scalars : dict of str to ndarray, shape (R,)
        All recorded scalars.
    observations : dict of str to ndarray, shape (R, ...)
        Arrays of the observers.
    snapshot_s : ndarray, shape (S,), and theta : ndarray, shape (S, J, M, k)
        The snapshots, kept in memory only for a run without a file; empty otherwise.
    ensemble : ParticleEnsemble
        The particles at the end.
    problem : MeanFieldProblem
        With the trained maps at the end.
    grid : DepthGrid
    status : {"finished", "interrupted", "failed"}
    message : str
        Why the run ended, in a sentence.
    n_steps, n_evaluations, n_rejected : int
        Accepted steps, evaluations of the velocity, rejected steps.
    wall_time_s : float
        Seconds, those before a restart included.
    path : Path or None
        The file.
    setup : Setup or None
        Problem, particles and stepper at s = 0, from which `estimate_error` solves
        again; None for a resumed run whose file does not hold the start.
    error : ErrorEstimate or None
        Estimated errors, if asked for.
    """

    scalars: dict[str, Array]
    observations: dict[str, Array]
    snapshot_s: Array
    theta: Array
    ensemble: ParticleEnsemble
    problem: MeanFieldProblem
    grid: DepthGrid
    status: str
    message: str
    n_steps: int
    n_evaluations: int
    n_rejected: int
    wall_time_s: float
    path: Path | None = None
    setup: Setup | None = None
    error: ErrorEstimate | None = None

    @property
    def s(self) -> Array:
        """Recorded training times (R,)."""
        return self.scalars["s"]

    @property
    def loss(self) -> Array:
        """E at every record, Eq. (3)."""
        return self.scalars["loss"]

    @property
    def objective(self) -> Array:
        """E_s at every record, Eq. (12)."""
        return self.scalars["objective"]

    @property
    def dissipation(self) -> Array:
        """D_s at every record, Eq. (14)."""
        return self.scalars["dissipation"]

    @property
    def converged(self) -> bool:
        """Whether the run ended as asked for."""
        return self.status == "finished"

    @property
    def estimated_error(self) -> float | None:
        """Estimated error of the outputs, largest over samples and compared times."""
        return None if self.error is None else self.error.output

    @property
    def n_kernel_evaluations(self) -> int:
        """Node x particle x sample x evaluation, the work of the estimate included.

        An evaluation is one sweep forward and one back; the sweeps of the fixed-point
        iteration of Gauss stages are not counted one by one.
        """
        size = self.ensemble.n_nodes * self.ensemble.n_particles
        own = size * self.problem.n_samples * self.n_evaluations
        return own + (0 if self.error is None else self.error.n_kernel_evaluations)

    def __repr__(self) -> str:
        return (
            f"Solution({self.status}, s={self.s[-1]:g}, loss={self.loss[-1]:.6g}, "
            f"n_steps={self.n_steps}, n_evaluations={self.n_evaluations})"
        )


@dataclass(frozen=True, kw_only=True)
class StopRules:
    """Conditions beside s_end that end a run; None is no condition.

    The wall time counts from the start or the restart. A state is steady if, at its
    present rate |dE_s/ds| = D_s - lambda'(s) M2, Eq. (14), the objective would change
    over the whole horizon s_end by at most `steady_state` times what it was at s = 0.
    Without metric and decay that bounds the gradient norm by
    sqrt(steady_state E_0 / s_end).
    """

    loss_below: float | None = None
    gradient_norm_below: float | None = None
    steady_state: float | None = None
    wall_time_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None:
                check_positive(name, value)

    def reason(
        self,
        state: State,
        wall_time_s: float,
        *,
        s_end: float,
        objective_at_start: float,
    ) -> tuple[str, str] | None:
        """(status, sentence) if the run shall end at this state."""
        evaluation = state.evaluation
        at = f"at s = {state.s:g}"
        if self.loss_below is not None and evaluation.loss < self.loss_below:
            return "finished", (
                f"The loss {evaluation.loss:.4g} is below {self.loss_below:g} {at}."
            )
        norm, limit = evaluation.gradient_norm, self.gradient_norm_below
        if limit is not None and norm < limit:
            return "finished", f"The gradient norm {norm:.4g} is below {limit:g} {at}."
        change = abs(evaluation.ledger_rate) * s_end
        limit = self.steady_state
        if limit is not None and change <= limit * abs(objective_at_start):
            return "finished", (
                f"Steady {at}: at the present rate the objective would change by "
                f"{change:.2g} up to s_end = {s_end:g}, at most {limit:g} of that at "
                "the start."
            )
        limit = self.wall_time_s
        if limit is not None and wall_time_s > limit:
            return "interrupted", (
                f"The wall time of {limit:g} s is over {at}; resume continues."
            )
        return None


@dataclass(frozen=True, kw_only=True)
class _Plan:
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

    def cadence(self, s_start: float = 0.0) -> Cadence:
        clocks = make_clocks(self.schedules, self.s_end, s_start)
        return Cadence(
            scalars=clocks["record"],
            snapshots=clocks["snapshots"],
            states=clocks["states"],
            checkpoint_every_s=self.checkpoint_every_s,
        )

    def states(self, cadence: Cadence, restart: Restart | None) -> Iterator[State]:
        return iterate(
            self.problem,
            self.grid,
            self.ensemble,
            s_end=self.s_end,
            stepper=self.stepper,
            **self.tolerances,
            ds=self.ds,
            hits=cadence.hits,
            restart=restart,
        )

    def describe(self) -> dict[str, Any]:
        """What `resume` needs to go on, as plain values."""
        return {
            "problem": self.problem.describe(),
            "grid": self.grid.describe(),
            "flow": {
                "s_end": self.s_end,
                **_describe_stepper(self.stepper, self.ds),
                **self.tolerances,
                "schedules": {
                    name: schedule and _describe(name, schedule)
                    for name, schedule in self.schedules.items()
                },
                "rules": dataclasses.asdict(self.rules),
                "checkpoint_every_s": self.checkpoint_every_s,
                "swmr": self.swmr,
            },
            "observers": list(self.observers),
        }


def solve(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ens: ParticleEnsemble,
    *,
    s_end: float,
    stepper: Any = "dopri5",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    ds: float | None = None,
    record: Any = None,
    snapshots: Any = None,
    states: Any = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool | Progress = False,
    loss_below: float | None = None,
    gradient_norm_below: float | None = None,
    steady_state: float | None = None,
    wall_time_s: float | None = None,
    observers: Mapping[str, Observer] | None = None,
    metadata: Metadata | Mapping[str, Any] | None = None,
    checkpoint_every_s: float = 10.0,
    theta_dtype: str = "f8",
    swmr: bool = True,
    estimate: bool = False,
) -> Solution:
    """Solve the gradient flow of Eq. (6) from s = 0 to s_end.

    Parameters
    ----------
    problem : MeanFieldProblem
    grid : DepthGrid
    ens : ParticleEnsemble
        rho at s = 0, theta of shape (J, M, k).
    s_end : float
        End in training time s (dimensionless).
    stepper : {"dopri5", "rkc2", "auto", "euler", "heun", "rk4"} or object
        The first three control their error: "dopri5" is of order 5, "rkc2" of order 2
        for stiff problems, "auto" the one or the other, whichever is cheaper. The
        others need `ds`. Objects: `Langevin(temperature, ds)`, which adds noise, or
        any other, see `mfpde.steppers`.
    rtol, atol : float
        Tolerances of an adaptive stepper for every parameter and for the ledger.
    ds : float, optional
        Step of a fixed stepper; shortened evenly where a record time requires it.
    record, snapshots, states : sequence of float or schedule, optional
        When scalars, theta, and states with adjoints are recorded: training times or a
        schedule of `mfpde.recording`. None is start and end for the first two, never
        for states. The end is always written.
    output : path, optional
        HDF5 file; None keeps everything in memory.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : bool or callable
        True writes progress to stderr; a callable gets
        (s, s_end, loss, n_steps, objective) after every step.
    loss_below, gradient_norm_below, wall_time_s : float, optional
        Further reasons to end.
    steady_state : float, optional
        End, at some s before s_end, when the objective at its present rate would
        change by at most this fraction of its initial value up to s_end; see
        `StopRules`. Records after that are left out. Not with noise.
    observers : dict of str to callable, optional
        Functions of an `Evaluation` that give a number or an array of fixed shape.
    metadata : Metadata or dict, optional
        Title, command, seed, configuration and further arrays for the file.
    checkpoint_every_s : float
        Seconds of wall time between checkpoints.
    theta_dtype : {"f8", "f4"}
        Type of the snapshots in the file; the checkpoint is always exact.
    swmr : bool
        Whether others may read the file while it grows; False on NFS.
    estimate : bool
        Whether errors are estimated at the end by solving again, coarser and finer
        (see `estimate_error`); they go to `error` and to group /errors of the file.

    Returns
    -------
    Solution
        A blow-up, an unmet tolerance, SIGINT and SIGTERM end the run with the last good
        state recorded, and are told in `status` and `message`.

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit.
    NotFiniteError
        If the ensemble blows up already at s = 0.
    FileExistsError, FileNotFoundError, PermissionError, OSError
        If the file cannot be created or written.

    References
    ----------
    Ding, Chen, Li, Wright, arXiv:2105.14417 and arXiv:2110.02926.
    """
    check_shapes(problem, grid, ens)
    check_end(s_end, 0.0)
    method = make_stepper(stepper, ds=ds, control=ErrorControl(rtol, atol))
    if steady_state is not None and has_noise(method):
        raise ValueError(
            "`steady_state` must be None with noise: the gradient of single particles "
            f"does not vanish, got {steady_state!r}."
        )
    check_positive("checkpoint_every_s", checkpoint_every_s)
    if theta_dtype not in ("f8", "f4"):
        raise ValueError(f"`theta_dtype` must be 'f8' or 'f4', got {theta_dtype!r}.")
    metadata = _metadata(metadata)
    plan = _Plan(
        problem=problem,
        grid=grid,
        ensemble=ens,
        s_end=float(s_end),
        stepper=stepper,
        tolerances={"rtol": float(rtol), "atol": float(atol)},
        ds=ds,
        schedules={
            "record": make_schedule("record", record),
            "snapshots": make_schedule("snapshots", snapshots),
            "states": None if states is None else make_schedule("states", states),
        },
        rules=StopRules(
            loss_below=loss_below,
            gradient_norm_below=gradient_norm_below,
            steady_state=steady_state,
            wall_time_s=wall_time_s,
        ),
        observers=check_observers(observers),
        checkpoint_every_s=checkpoint_every_s,
        setup=Setup(problem, grid, ens, stepper, float(rtol), float(atol), ds),
        theta_dtype=theta_dtype,
        swmr=swmr,
        metadata=metadata,
    )
    if output is not None:
        check_writable(output, overwrite)
    cadence = plan.cadence()
    journal = Journal(cadence, plan.observers)
    flow = plan.states(cadence, None)

    def start(state: State) -> None:
        if output is not None:
            journal.open(
                state,
                Path(output),
                description=plan.describe(),
                metadata=metadata,
                overwrite=overwrite,
                theta_dtype=theta_dtype,
                swmr=swmr,
            )
        journal.visit(state)

    solution = _drain(plan, flow, journal, progress, start)
    if estimate and solution.status == "finished":
        return with_error(solution, estimate_error(solution))
    return solution


def with_error(solution: Solution, error: ErrorEstimate) -> Solution:
    """Return the solution with its errors, and write them to its file, if any."""
    if solution.path is not None:
        write_errors(
            solution.path,
            error.table(),
            s=error.s,
            notes=" ".join(error.notes),
            n_kernel_evaluations=error.n_kernel_evaluations,
        )
    return dataclasses.replace(solution, error=error)


def resume(
    path: str | os.PathLike[str],
    *,
    s_end: float | None = None,
    problem: MeanFieldProblem | None = None,
    observers: Mapping[str, Observer] | None = None,
    stepper: Any = None,
    progress: bool | Progress = False,
) -> Solution:
    """Continue a run from its checkpoint, bit for bit as if it had never stopped.

    Parameters
    ----------
    path : path
        The run file; its checkpoint stands beside it.
    s_end : float, optional
        A new end in training time; needed for a run that is finished.
    problem : MeanFieldProblem, optional
        Needed only if the run has parts of the user's own (block, loss, regulariser).
    observers : dict of str to callable, optional
        The observers of the run, if it had any.
    stepper : object, optional
        The stepper of the run, if it was the user's own.
    progress : bool or callable
        As for `solve`.

    Returns
    -------
    Solution
        Of the whole run, the records before the restart included.

    Raises
    ------
    FileNotFoundError, StorageFormatError, OSError
        If the run cannot be read or is being written.
    ValueError
        If the run is finished and `s_end` is not later, or parts are missing.
    """
    arrays, attributes, lengths = read_checkpoint(path)
    restart = restart_from(arrays, attributes)
    with open_run(path) as run:
        plan = _plan_of(run, restart, s_end, problem, observers, stepper)
        records = _records_of(run, lengths)
    cadence = plan.cadence(restart.s)
    flow = plan.states(cadence, restart)
    journal = Journal(
        cadence,
        plan.observers,
        records=records,
        earlier_s=float(attributes["wall_time_s"]),
    )

    def start(state: State) -> None:
        journal.writer = RunWriter.reopen(path, lengths, swmr=plan.swmr)
        # A checkpoint tells whether what is due at its state had been recorded.
        if not attributes["is_recorded"]:
            journal.visit(state)

    return _drain(plan, flow, journal, progress, start)


def _drain(
    plan: _Plan,
    flow: Iterator[State],
    journal: Journal,
    progress: bool | Progress,
    start: Callable[[State], None],
) -> Solution:
    """Run the flow to its end: the main loop; `start` opens the journal.

    Of all states only the present one is kept: each is several times as large as theta.
    """
    state, ending = next(flow), None
    first_step = state.step
    with contextlib.ExitStack() as stack:
        stack.callback(journal.close)
        report = stack.enter_context(_reporter(progress))
        stopped = stack.enter_context(_signals())
        start(state)
        try:
            while ending is None:
                # However short the wall time, a session makes a step.
                waited = 0.0 if state.step == first_step else journal.session_s
                ending = plan.rules.reason(
                    state,
                    waited,
                    s_end=plan.s_end,
                    objective_at_start=journal.records.rows[0]["objective"],
                )
                if ending is None and stopped:
                    ending = (
                        "interrupted",
                        f"Stopped by {stopped[0]} at s = {state.s:g}.",
                    )
                if ending is None and state.s >= plan.s_end:
                    ending = "finished", f"Reached s_end = {plan.s_end:g}."
                if ending is None:
                    state = next(flow)
                    journal.visit(state)
                    report(
                        state.s,
                        plan.s_end,
                        state.evaluation.loss,
                        state.step,
                        state.evaluation.objective,
                    )
        except (NotFiniteError, ConvergenceError) as failure:
            ending = (
                "failed",
                (f"{failure} The last good state, at s = {state.s:g}, is kept."),
            )
        journal.end(state, *ending)
    return _solution(state, journal, plan.setup, *ending)


def _solution(
    state: State, journal: Journal, setup: Setup | None, status: str, message: str
) -> Solution:
    evaluation = state.evaluation
    snapshots = journal.records.snapshots if journal.writer is None else []
    shape = evaluation.ensemble.theta.shape
    return Solution(
        scalars=journal.records.columns(),
        observations=journal.records.observed(),
        snapshot_s=np.array([s for s, _ in snapshots]),
        theta=np.array([theta for _, theta in snapshots]).reshape(-1, *shape),
        ensemble=evaluation.ensemble,
        problem=evaluation.problem,
        grid=evaluation.grid,
        status=status,
        message=message,
        n_steps=state.step,
        n_evaluations=state.n_evaluations,
        n_rejected=state.n_rejected,
        wall_time_s=journal.wall_time_s,
        path=None if journal.writer is None else journal.writer.path,
        setup=setup,
    )


@contextlib.contextmanager
def _reporter(progress: bool | Progress) -> Iterator[Progress]:
    """What is called after every step: the user's, ours on stderr, or nothing."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda *_: None
        return
    reporter = make_progress()
    try:
        yield reporter
    finally:
        reporter.close()


@contextlib.contextmanager
def _signals() -> Iterator[list[str]]:
    """Collect SIGINT and SIGTERM: the run ends in order; a second one acts at once."""
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _frame: Any) -> None:
        caught.append(signal.Signals(number).name)
        restore()

    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.signal(number, note)
        before[number] = signal.SIG_DFL if handler is None else handler
    try:
        yield caught
    finally:
        restore()


def _metadata(metadata: Metadata | Mapping[str, Any] | None) -> Metadata:
    if isinstance(metadata, Metadata):
        return metadata
    try:
        return Metadata(**(metadata or {}))
    except TypeError as error:
        names = ", ".join(each.name for each in dataclasses.fields(Metadata))
        raise TypeError(
            f"`metadata` must be a dict with some of {names}, got {metadata!r}."
        ) from error


def _describe_stepper(stepper: Any, ds: float | None) -> dict[str, Any]:
    """Entries of the flow from which `_stepper_of` rebuilds it; None for the user's."""
    if isinstance(stepper, Langevin):
        return stepper.describe()
    return {"stepper": stepper if isinstance(stepper, str) else None, "ds": ds}


def _stepper_of(flow: Mapping[str, Any]) -> tuple[Any, float | None]:
    """Stepper and ds of a run from the description of its flow."""
    if flow["stepper"] == "langevin":
        noise = Langevin(flow["temperature"], flow["ds"], seed=flow["seed"])
        return noise, None
    return flow["stepper"], flow["ds"]


def _describe(name: str, schedule: Any) -> dict[str, Any]:
    if not hasattr(schedule, "describe"):
        raise TypeError(
            f"`{name}` must be a schedule with `describe()` to be written to a file, "
            f"got {schedule!r}."
        )
    return schedule.describe()


def _plan_of(
    run: Any,
    restart: Restart,
    s_end: float | None,
    problem: MeanFieldProblem | None,
    observers: Mapping[str, Observer] | None,
    stepper: Any,
) -> _Plan:
    """Rebuild the plan of a run from its file."""
    description = run.description
    flow = description["flow"]
    end = flow["s_end"] if s_end is None else s_end
    check_end(end, 0.0)
    if end <= restart.s and (s_end is not None or run.status == "finished"):
        raise ValueError(
            f"The run in {run.path} is at s = {restart.s:g} already ({run.message}) "
            f"Give `s_end` a later time than that{_got(s_end)}."
        )
    if run.status == "finished" and s_end is None:
        raise ValueError(
            f"The run in {run.path} is finished: {run.message} Give `s_end` to go on."
        )
    observers = check_observers(observers)
    missing = sorted(set(description["observers"]) ^ set(observers))
    if missing:
        raise ValueError(
            f"`observers` must be those of the run, {description['observers']}; "
            f"missing or new: {', '.join(missing)}."
        )
    if flow["stepper"] is None and stepper is None:
        raise ValueError("`stepper` is needed: the run used a stepper of your own.")
    if flow["stepper"] is not None and stepper is not None:
        raise ValueError(
            f"`stepper` must be None: the run in {run.path} goes on with its own, "
            f"{flow['stepper']!r}."
        )
    if problem is None:
        try:
            problem = problem_of(run, is_at_end=False)
        except ValueError as error:
            raise ValueError(
                f"`problem` is needed to resume {run.path}: {error}"
            ) from error
    _check_same_problem(problem, run)
    grid = DepthGrid.from_description(description["grid"])
    size = grid.n_nodes * len(run.weights) * problem.k
    theta = restart.y[:size].reshape(grid.n_nodes, len(run.weights), problem.k)
    rules = dict(flow["rules"])
    if flow["stepper"] is None:
        ds = flow["ds"]
    else:
        stepper, ds = _stepper_of(flow)
    if s_end is not None:
        # Whoever asks for a later end does not want the rule that ended the run.
        rules = {name: None for name in rules}
    return _Plan(
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


def _check_same_problem(problem: Any, run: Any) -> None:
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


def _records_of(run: Any, lengths: Mapping[str, int]) -> Records:
    """The records of a file up to its checkpoint, as they were in memory."""
    n = lengths["/scalars/s"]
    columns = {"s": run.s[:n]}
    columns |= {name: np.asarray(run.scalars[name][:n]) for name in run.scalars}
    arrays = {name: np.asarray(run.observations[name][:n]) for name in run.observations}
    last = lengths["/trajectory/s"]
    return Records(
        rows=[{name: float(c[i]) for name, c in columns.items()} for i in range(n)],
        observations=[{name: a[i] for name, a in arrays.items()} for i in range(n)],
        snapshots=[(float(s), np.empty(0)) for s in run.snapshot_s[:last]],
    )
