"""The specification of a run, rebuilt from its file, in order to continue it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mfpde.arrays import integer
from mfpde.depth import DepthGrid
from mfpde.describe import is_described, phrase, rebuilt
from mfpde.ensemble import ParticleEnsemble
from mfpde.networks.batches import Batches
from mfpde.networks.resnet import ResNet
from mfpde.networks.stopping import EarlyStopping
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Observer, check_observers
from mfpde.run.descent import Descent
from mfpde.run.flow import check_end
from mfpde.run.flow_dynamics import FlowDynamics
from mfpde.run.observers import observers_of
from mfpde.run.options import Progress
from mfpde.run.rebuilding import initial_of, method_of, problem_of
from mfpde.run.recorder import Records
from mfpde.run.specification import Dynamics, Specification
from mfpde.run.states import Checkpoint, InitialState
from mfpde.run.stopping import StopRules
from mfpde.run.training_dynamics import VALIDATION, TrainingDynamics

__all__ = ["records_of", "resumed", "resumed_flow", "resumed_training"]


def resumed(
    run: Any,
    dynamics: Dynamics,
    *,
    observers: Mapping[str, Observer] | None,
    is_extended: bool,
    progress: bool | Progress,
) -> Specification:
    """The specification of a run whose dynamics are known.

    With a later end the conditions that ended the run do not hold any more.
    """
    recording = run.description["recording"]
    return Specification(
        dynamics=dynamics,
        schedules={
            name: rebuilt("output schedule", schedule)
            for name, schedule in recording["schedules"].items()
        },
        observers=observers_of(run, check_observers(observers)),
        wall_time_s=None if is_extended else recording["wall_time_s"],
        checkpoint_every_s=recording["checkpoint_every_s"],
        swmr=recording["swmr"],
        output=run.path,
        progress=progress,
    )


def resumed_flow(
    run: Any,
    checkpoint: Checkpoint,
    planned: Any,
    s_end: float | None,
    problem: MeanFieldProblem | None,
    stepper: Any,
) -> FlowDynamics:
    """The flow of a run; `planned` is the end that its checkpoint names."""
    flow = run.description["flow"]
    planned = flow["s_end"] if planned is None else planned
    end = planned if s_end is None else s_end
    _check_end(run, checkpoint, end, s_end)
    is_known = is_described(flow["stepper"])
    if not is_known and stepper is None:
        raise ValueError("`stepper` is needed: the run used a stepper of your own.")
    if is_known and stepper is not None:
        raise ValueError(
            f"`stepper` must be None: the run in {run.path} goes on with its own, "
            f"{phrase(flow['stepper'])}."
        )
    problem = problem_for(run, problem)
    ensemble = _ensemble_at(run, checkpoint, problem)
    grid = DepthGrid.from_description(run.description["grid"])
    method = method_of(flow, stepper)
    return FlowDynamics(
        start=InitialState(problem, grid, ensemble, method),
        s_end=float(end),
        rules=StopRules() if s_end is not None else StopRules(**flow["rules"]),
        initial=initial_of(run, problem, stepper),
    )


def _check_end(
    run: Any, checkpoint: Checkpoint, end: float, s_end: float | None
) -> None:
    """Raise if a flow is at its end already."""
    check_end(end, 0.0)
    is_finished = run.status == "finished"
    # Where a limit ended it, a run is a part of a step beyond its checkpoint.
    reached = max([checkpoint.s, *run.s[-1:]]) if is_finished else checkpoint.s
    if end <= reached and (s_end is not None or is_finished):
        got = "" if s_end is None else f", got {s_end:g}"
        raise ValueError(
            f"The run in {run.path} is at s = {reached:g} already ({run.message}) "
            f"Give `s_end` a later time than that{got}."
        )
    if is_finished and s_end is None:
        raise ValueError(
            f"The run in {run.path} is finished: {run.message} Give `s_end` to go on."
        )


def resumed_training(
    run: Any,
    checkpoint: Checkpoint,
    planned: Any,
    n_iterations: int | None,
    problem: MeanFieldProblem | None,
    optimiser: Any,
) -> TrainingDynamics:
    """The training of a run; `planned` is the end that its checkpoint names."""
    training = run.description["training"]
    if planned is None:
        planned = training["n_iterations"]
    n_end = _iterations(run, checkpoint, int(planned), n_iterations)
    problem = problem_for(run, problem)
    optimiser = _optimiser_of(run, optimiser)
    grid = run.description["grid"]
    ensemble = _ensemble_at(run, checkpoint, problem)
    net = ResNet(problem, ensemble, grid["residual_scale"], grid["outer"])
    rules = dict.fromkeys(("loss_below", "early_stopping"))
    if n_iterations is None:
        rules = {name: training[name] for name in rules}
    stopping = rules["early_stopping"]
    has_validation = VALIDATION[0] in run.data
    batches = Batches(problem.n_samples, training["batch_size"], training["seed"])
    return TrainingDynamics(
        descent=Descent(net, optimiser.bound(net, training["n_iterations"]), batches),
        n_iterations=n_end,
        validation=tuple(run.data[n] for n in VALIDATION) if has_validation else None,
        early_stopping=stopping and EarlyStopping(**stopping),
        loss_below=rules["loss_below"],
    )


def _iterations(
    run: Any, checkpoint: Checkpoint, planned: int, n_iterations: int | None
) -> int:
    """Iterations of a continued training."""
    if n_iterations is None:
        if run.status == "finished":
            raise ValueError(
                f"The run in {run.path} is finished: {run.message} Give "
                "`n_iterations` to go on."
            )
        return planned
    if integer("n_iterations", n_iterations, 1) <= checkpoint.step:
        raise ValueError(
            f"`n_iterations` must be more than the {checkpoint.step} that the run in "
            f"{run.path} has made, got {n_iterations}."
        )
    return n_iterations


def _optimiser_of(run: Any, optimiser: Any) -> Any:
    """The optimiser of a run, or the one given for it."""
    description = run.description["training"]["optimiser"]
    is_known = is_described(description)
    if is_known == (optimiser is not None):
        raise ValueError(
            "`optimiser` is needed for a run with an optimiser of your own, and must "
            f"be None for any other; the run in {run.path} used "
            f"{phrase(description)}."
        )
    return rebuilt("optimiser", description) if is_known else optimiser


def _ensemble_at(
    run: Any, checkpoint: Checkpoint, problem: MeanFieldProblem
) -> ParticleEnsemble:
    """The particles of a checkpoint."""
    shape = (len(run.t), len(run.weights), problem.k)
    theta = checkpoint.y[: int(np.prod(shape))].reshape(shape)
    return ParticleEnsemble(theta, run.weights)


def problem_for(run: Any, problem: MeanFieldProblem | None) -> MeanFieldProblem:
    """The problem of a run at its start, or the one given for it, which is checked."""
    if problem is None:
        try:
            return problem_of(run, None)
        except ValueError as error:
            raise ValueError(
                f"`problem` is needed to resume {run.path}: {error}"
            ) from error
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
    return problem


def records_of(run: Any, lengths: Mapping[str, int]) -> Records:
    """The records of a file up to its checkpoint, as they were in memory."""
    n = lengths["/scalars/s"]
    columns = {"s": run.s[:n]}
    columns |= {name: np.asarray(run.scalars[name][:n]) for name in run.scalars}
    arrays = {name: np.asarray(run.observations[name][:n]) for name in run.observations}
    times = run.snapshot_s[: lengths["/trajectory/s"]]
    return Records(
        rows=[{name: float(c[i]) for name, c in columns.items()} for i in range(n)],
        observations=[{name: a[i] for name, a in arrays.items()} for i in range(n)],
        last_snapshot_s=float(times[-1]) if len(times) else None,
    )
