"""`solve` and `resume`: they drain the flow into a journal and return a `Solution`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mfpde.arrays import a_float, a_path, checked, flag, optional, positive, whole
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.engine.mpi import all_or_none
from mfpde.ensemble import AN_ENSEMBLE, ParticleEnsemble
from mfpde.errors import ConfigurationError, Interrupted
from mfpde.evaluation import check_shapes
from mfpde.flow import Setup, State, check_end, has_noise, iterate
from mfpde.gradients import check_own_parts
from mfpde.limit import estimate_error
from mfpde.paths import user_path
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.recording import Observer, check_observers, make_schedule
from mfpde.run.loop import RUN_OPTIONS, Progress, a_progress, drain
from mfpde.run.recorder import Journal, Metadata, restart_from
from mfpde.run.solution import Solution, StopRules, announcing, with_error
from mfpde.run.specification import Plan, make_metadata, plan_of, records_of
from mfpde.run.training_specification import training_plan_of
from mfpde.sizes import warn_of_sizes
from mfpde.steppers import ErrorControl, check_steps, make_stepper, named
from mfpde.storage import check_writable, open_run, read_checkpoint

__all__ = ["Solution", "StopRules", "iterate", "resume", "solve"]


@announcing
@checked(
    problem=A_PROBLEM,
    grid=A_DEPTH_GRID,
    ens=AN_ENSEMBLE,
    s_end=a_float,
    rtol=positive,
    atol=positive,
    ds=optional(positive),
    gradient_norm_below=optional(positive),
    steady_state=optional(positive),
    estimate=flag,
    **RUN_OPTIONS,
)
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
    communicator: Any = None,
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
        Further reasons to end. A limit of a quantity ends the run where it is crossed,
        within rtol s; with steps of order 1 (Euler, Langevin), whose size is part of
        the method, at the first one beyond.
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
    communicator : mpi4py.MPI.Comm, optional
        Its ranks, which all make this call with the same arguments, share the
        particles; file and progress are rank 0's. All return the same solution.

    Returns
    -------
    Solution
        A blow-up and an unmet tolerance end the run with the last good state recorded,
        `status` "failed", and an `UnfinishedWarning`; `message` says why.

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit.
    GradientError
        If a derivative of a block, loss or regulariser of the user's own is wrong, by
        the first direction of `check_gradient`.
    NotFiniteError
        If the ensemble blows up already at s = 0.
    Interrupted
        After SIGINT (a KeyboardInterrupt), with what was found in `solution`; the
        record is closed. SIGTERM and SIGHUP are delivered again then: they end the
        process, unless a handler of your own returns.
    FileExistsError, FileNotFoundError, PermissionError, OSError
        If the file cannot be created or written.

    References
    ----------
    Ding, Chen, Li, Wright, arXiv:2105.14417 and arXiv:2110.02926.
    """
    with all_or_none(communicator) as own:
        check_shapes(problem, grid, ens)
        warn_of_sizes(problem)
        check_end(s_end, 0.0)
        method = make_stepper(stepper, ds=ds, control=ErrorControl(rtol, atol))
        check_steps(method, s_end)
        stepper, ds = named(stepper, ds)
        if steady_state is not None and has_noise(method):
            raise ValueError(
                "`steady_state` must be None with noise: the gradient of single "
                f"particles does not vanish, got {steady_state!r}."
            )
        check_own_parts(problem, grid, ens)
        metadata = make_metadata(metadata)
        plan = Plan(
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
        return _run(plan.shared(own), output, overwrite, progress, estimate)


@announcing
@checked(
    path=a_path,
    s_end=optional(a_float),
    problem=optional(A_PROBLEM),
    n_iterations=optional(whole(1)),
    progress=a_progress,
)
def resume(
    path: str | os.PathLike[str],
    *,
    s_end: float | None = None,
    problem: MeanFieldProblem | None = None,
    observers: Mapping[str, Observer] | None = None,
    stepper: Any = None,
    n_iterations: int | None = None,
    optimiser: Any = None,
    progress: bool | Progress = False,
    communicator: Any = None,
) -> Solution:
    """Continue a run from its checkpoint, bit for bit as if it had never stopped.

    Parameters
    ----------
    path : path
        The run file; its checkpoint stands beside it.
    s_end : float, optional
        A new end in training time; needed for a flow that is finished.
    problem : MeanFieldProblem, optional
        Needed only if the run has parts of the user's own (block, loss, regulariser).
    observers : dict of str to callable, optional
        The observers of the run, if it had any.
    stepper : object, optional
        The stepper of the run, if it was the user's own.
    n_iterations : int, optional
        In place of `s_end` for a network: a new number of iterations, those made
        included.
    optimiser : object, optional
        The optimiser of the run, if it was the user's own.
    progress : bool or callable
        As for `solve`.
    communicator : mpi4py.MPI.Comm, optional
        As for `solve`; it may have another number of ranks than wrote the file.

    Returns
    -------
    Solution
        Of the whole run, the records before the restart included; a `Training` for a
        network.

    Raises
    ------
    FileNotFoundError, StorageFormatError, OSError
        If the run cannot be read or is being written.
    ValueError
        If the run is finished and `s_end` is not later, or parts are missing.
    Interrupted
        As for `solve`.
    """
    with all_or_none(communicator) as own:
        arrays, attributes, lengths = read_checkpoint(path)
        restart = restart_from(arrays, attributes)
        with open_run(path) as run:
            parts = (problem, observers)
            if run.kind == "network":
                _refuse(run, "s_end", s_end, "give `n_iterations`")
                _refuse(run, "stepper", stepper, "it has an optimiser")
                plan = training_plan_of(run, restart, n_iterations, *parts, optimiser)
                plan, start_at = plan.shared(own), restart.step
            else:
                _refuse(run, "n_iterations", n_iterations, "give `s_end`")
                _refuse(run, "optimiser", optimiser, "it has a stepper")
                plan = plan_of(run, restart, s_end, *parts, stepper).shared(own)
                start_at = restart.s
            records = records_of(run, lengths)
        cadence = plan.cadence(start_at)
        flow = plan.states(cadence, restart)
        journal = Journal(
            cadence,
            plan.columns,
            plan.observers,
            end=plan.end,
            records=records,
            earlier_s=float(attributes["wall_time_s"]),
        )

        def start(state: State) -> None:
            journal.reopen(state, user_path(path), lengths, swmr=plan.swmr)
            # A checkpoint tells whether what is due at its state had been recorded.
            if not attributes["is_recorded"]:
                journal.visit(state)

        return drain(plan, flow, journal, progress, start)


def _run(
    plan: Plan,
    output: str | os.PathLike[str] | None,
    overwrite: bool,
    progress: bool | Progress,
    estimate: bool,
) -> Solution:
    """Drain the flow of a plan from s = 0."""
    if estimate and plan.ensemble.shard.size > 1:
        raise ConfigurationError(
            [
                "`estimate` must be False with several ranks: the solves that it "
                "compares with are those of one process."
            ]
        )
    if output is not None:
        check_writable(output, overwrite)
    cadence = plan.cadence()
    journal = Journal(cadence, plan.columns, plan.observers, end=plan.end)
    flow = plan.states(cadence, None)

    def start(state: State) -> None:
        if output is not None:
            journal.open(
                state,
                user_path(output, "output"),
                kind=plan.kind,
                description=plan.describe(),
                metadata=plan.metadata,
                overwrite=overwrite,
                theta_dtype=plan.theta_dtype,
                swmr=plan.swmr,
            )
        journal.visit(state)

    solution = drain(plan, flow, journal, progress, start)
    if estimate and solution.status == "finished":
        try:
            return with_error(solution, estimate_error(solution))
        except KeyboardInterrupt as error:
            text = "Interrupted while errors were estimated; the run is finished."
            raise Interrupted(text, solution) from error
    return solution


def _refuse(run: Any, name: str, value: Any, mend: str) -> None:
    """Raise for an argument that does not belong to the kind of a run."""
    if value is not None:
        kind = "a network" if run.kind == "network" else "a flow"
        raise ValueError(
            f"`{name}` must be None for {run.path}, which holds {kind}: {mend}."
        )
