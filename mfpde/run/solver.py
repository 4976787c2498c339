"""`solve` and `resume`: a flow from its start, and any run from its checkpoint."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Unpack

from mfpde.arrays import a_float, a_path, checked, optional, whole
from mfpde.depth import A_DEPTH_GRID, DepthGrid
from mfpde.engine.mpi import all_or_none
from mfpde.ensemble import AN_ENSEMBLE, ParticleEnsemble
from mfpde.evaluation import check_shapes
from mfpde.gradients import check_own_parts
from mfpde.options import accepting
from mfpde.paths import user_path
from mfpde.problem import A_PROBLEM, MeanFieldProblem
from mfpde.recording import Observer
from mfpde.run.flow import check_end, has_noise, iterate
from mfpde.run.flow_dynamics import FlowDynamics
from mfpde.run.loop import run_from_start, run_loop
from mfpde.run.options import FlowOptions, Progress, a_progress
from mfpde.run.recorder import Recorder, checkpoint_from
from mfpde.run.resumption import (
    records_of,
    resumed,
    resumed_flow,
    resumed_training,
)
from mfpde.run.solution import Solution, announcing
from mfpde.run.specification import Specification
from mfpde.run.states import InitialState, Method
from mfpde.run.stopping import StopRules
from mfpde.run.training_dynamics import refuse_ranks
from mfpde.sizes import warn_of_sizes
from mfpde.steppers import check_steps, make_stepper, method_options
from mfpde.storage import open_run, read_checkpoint

__all__ = ["Solution", "iterate", "resume", "solve"]

RULES = tuple(field.name for field in dataclasses.fields(StopRules))


@announcing
@accepting(FlowOptions)
@checked(problem=A_PROBLEM, grid=A_DEPTH_GRID, ens=AN_ENSEMBLE, s_end=a_float)
def solve(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ens: ParticleEnsemble,
    *,
    s_end: float,
    **options: Unpack[FlowOptions],
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
    **options
        stepper, rtol, atol, ds: how s is advanced. record, snapshots, states,
        observers: what is recorded, and when. output, overwrite, metadata,
        checkpoint_every_s, theta_dtype, swmr: the file. loss_below,
        gradient_norm_below, steady_state, wall_time_s: further reasons to end.
        progress. communicator: processes that share the particles. Each is described in
        `FlowOptions`.

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

    Notes
    -----
    A limit of a quantity (loss_below and the like) ends the run where it is crossed,
    within rtol s; with steps of order 1 (Euler, Langevin), whose size is part of the
    method, at the first one beyond. Records after that are left out. For how an error
    is estimated see `estimate_error`.

    References
    ----------
    Ding, Chen, Li, Wright, arXiv:2105.14417 and arXiv:2110.02926.
    """
    given: dict[str, Any] = dict(options)
    with all_or_none(given["communicator"]) as own:
        check_shapes(problem, grid, ens)
        warn_of_sizes(problem)
        check_end(s_end, 0.0)
        method = {name: given[name] for name in ("stepper", "rtol", "atol", "ds")}
        stepper = make_stepper(**method)
        check_steps(stepper, s_end)
        if given["steady_state"] is not None and has_noise(stepper):
            raise ValueError(
                "`steady_state` must be None with noise: the gradient of single "
                f"particles does not vanish, got {given['steady_state']!r}."
            )
        check_own_parts(problem, grid, ens)
        initial = InitialState(problem, grid, ens, Method(**method_options(**method)))
        dynamics = FlowDynamics(
            start=initial,
            s_end=s_end,
            rules=StopRules(**{name: given[name] for name in RULES}),
            initial=initial,
        )
        return run_from_start(Specification.of(dynamics.shared(own), given))


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
        The run file; its checkpoint stands next to it.
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
        checkpoint, planned = checkpoint_from(arrays, attributes), attributes.get("end")
        with open_run(path) as run:
            at = (run, checkpoint, planned)
            if run.kind == "network":
                _refuse(run, "s_end", s_end, "give `n_iterations`")
                _refuse(run, "stepper", stepper, "it has an optimiser")
                dynamics = resumed_training(*at, n_iterations, problem, optimiser)
                refuse_ranks(own)
            else:
                _refuse(run, "n_iterations", n_iterations, "give `s_end`")
                _refuse(run, "optimiser", optimiser, "it has a stepper")
                dynamics = resumed_flow(*at, s_end, problem, stepper).shared(own)
            specification = resumed(
                run,
                dynamics,
                observers=observers,
                is_extended=(s_end, n_iterations) != (None, None),
                progress=progress,
            )
            records = records_of(run, lengths)
        earlier_s = float(attributes["wall_time_s"])
        recorder = Recorder(
            specification, checkpoint, records=records, earlier_s=earlier_s
        )

        def start(state: Any) -> None:
            recorder.reopen(state, user_path(path), lengths)
            # A checkpoint tells whether what is due at its state had been recorded.
            if not attributes["is_recorded"]:
                recorder.visit(state)

        return run_loop(specification, recorder, start, checkpoint)


def _refuse(run: Any, name: str, value: Any, mend: str) -> None:
    """Raise for an argument that does not belong to the kind of a run."""
    if value is not None:
        kind = "a network" if run.kind == "network" else "a flow"
        raise ValueError(
            f"`{name}` must be None for {run.path}, which holds {kind}: {mend}."
        )
