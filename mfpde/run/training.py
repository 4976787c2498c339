"""`train`: the optimisation of a network, drained into the journal of a flow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.arrays import checked, float_array, instance, optional, seed_number, whole
from mfpde.gradients import check_own_parts
from mfpde.networks.batches import Batches
from mfpde.networks.descent import Descent, TrainingState
from mfpde.networks.optimisers import check_optimiser
from mfpde.networks.resnet import ResNet
from mfpde.networks.stopping import EarlyStopping
from mfpde.paths import user_path
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Observer, Steps, check_observers, make_schedule
from mfpde.run.loop import RUN_OPTIONS, Progress, drain
from mfpde.run.recorder import Journal, Metadata
from mfpde.run.solution import announcing
from mfpde.run.specification import make_metadata
from mfpde.run.training_specification import Training, TrainingPlan
from mfpde.sizes import warn_of_sizes
from mfpde.storage import check_writable

__all__ = ["Training", "train"]

Array = NDArray[np.float64]
# Records of a training unless told otherwise.
N_RECORDS = 100


@announcing
@checked(
    net=instance(ResNet),
    n_iterations=whole(1),
    seed=seed_number,
    early_stopping=optional(instance(EarlyStopping)),
    **RUN_OPTIONS,
)
def train(
    net: ResNet,
    optimiser: Any,
    *,
    n_iterations: int,
    batch_size: int | None = None,
    seed: int = 0,
    record: Any = None,
    snapshots: Any = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool | Progress = False,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    early_stopping: EarlyStopping | None = None,
    observers: Mapping[str, Observer] | None = None,
    loss_below: float | None = None,
    wall_time_s: float | None = None,
    metadata: Metadata | Mapping[str, Any] | None = None,
    checkpoint_every_s: float = 10.0,
    theta_dtype: str = "f8",
    swmr: bool = True,
) -> Training:
    """Train a residual network, Eq. (10), by an optimiser.

    Plain gradient descent on all data, `SGD(ds=ds)` with residual scale "ode", is
    `solve(problem, DepthGrid.euler(L), ens, stepper="euler", ds=ds)`, bit for bit.

    Parameters
    ----------
    net : ResNet
        At the start.
    optimiser : SGD, Adam or object
        See `mfpde.networks`.
    n_iterations : int
        Updates of the parameters.
    batch_size : int, optional
        Most samples in a mini-batch; None takes all data in every iteration.
    seed : int
        Of the shuffles, see `mfpde.networks.Batches`.
    record, snapshots : sequence of float or schedule, optional
        When quantities on all data, and theta, are recorded: training times s, of which
        the nearest iterations are taken, or a schedule of `mfpde.recording` such as
        Steps(100). None is about 100 records, and start and end of theta.
    output, overwrite, progress, observers, metadata, checkpoint_every_s, theta_dtype, \
swmr
        As for `solve`. Progress shows the mean loss of the latest batches.
    validation : (array_like, array_like), optional
        x (n, d_in) and y (n, q), whose loss, and accuracy for classes, are recorded.
    early_stopping : EarlyStopping, optional
        End when the recorded validation loss does not improve; the best network is kept
        as a snapshot, see `Training.best`.
    loss_below : float, optional
        End when a recorded loss is below.
    wall_time_s : float, optional
        End after so many seconds; `resume` continues.

    Returns
    -------
    Training
        A blow-up ends the training with the last good state recorded, `status`
        "failed", and an `UnfinishedWarning`; `message` says why.

    Raises
    ------
    ValueError, TypeError
        For arguments that do not fit.
    GradientError
        If a derivative of a block, loss or regulariser of the user's own is wrong, by
        the first direction of `check_gradient`.
    NotFiniteError
        If the network blows up already at the start.
    Interrupted
        After a signal, as for `solve`.
    FileExistsError, FileNotFoundError, PermissionError, OSError
        If the file cannot be created or written.
    """
    check_optimiser(optimiser)
    warn_of_sizes(net.problem)
    batches = Batches(net.problem.n_samples, batch_size, seed)
    if early_stopping is not None and validation is None:
        raise ValueError("`early_stopping` needs `validation` samples, got None.")
    if record is None:
        record = Steps(max(1, n_iterations // N_RECORDS))
    check_own_parts(net.problem, net.grid, net.ensemble)
    plan = TrainingPlan(
        descent=Descent(net, optimiser.bound(net, n_iterations), batches),
        n_iterations=n_iterations,
        schedules={
            "record": make_schedule("record", record),
            "snapshots": make_schedule("snapshots", snapshots),
        },
        validation=_checked_validation(validation, net.problem),
        early_stopping=early_stopping,
        loss_below=loss_below,
        wall_time_s=wall_time_s,
        observers=check_observers(observers),
        checkpoint_every_s=checkpoint_every_s,
        theta_dtype=theta_dtype,
        swmr=swmr,
        metadata=make_metadata(metadata),
    )
    _check_names(plan)
    return _start(plan, output, overwrite, progress)


def _start(
    plan: TrainingPlan, output: Any, overwrite: bool, progress: bool | Progress
) -> Training:
    """Drain the training of a plan from its start."""
    if output is not None:
        check_writable(output, overwrite)
    cadence = plan.cadence()
    journal = Journal(cadence, plan.columns, plan.observers, end=plan.end)

    def start(state: TrainingState) -> None:
        if output is not None:
            extra = plan.extra_data() | dict(plan.metadata.extra_data)
            journal.open(
                state,
                user_path(output, "output"),
                kind=plan.kind,
                description=plan.describe(),
                metadata=dataclasses.replace(plan.metadata, extra_data=extra),
                overwrite=overwrite,
                theta_dtype=plan.theta_dtype,
                swmr=plan.swmr,
            )
        journal.visit(state)

    return drain(plan, plan.states(cadence, None), journal, progress, start)


def _checked_validation(
    validation: Any, problem: MeanFieldProblem
) -> tuple[Array, Array] | None:
    if validation is None:
        return None
    try:
        x, y = validation
    except (TypeError, ValueError):
        raise TypeError(
            "`validation` must be a pair (x, y) of inputs and targets, got "
            f"{type(validation).__name__}."
        ) from None
    arrays = []
    for name, value, like in (("x", x, problem.x), ("y", y, problem.y)):
        array = float_array(f"validation {name}", value)
        array = array[:, np.newaxis] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] != like.shape[1] or len(array) == 0:
            raise ValueError(
                f"`validation` must hold {name} of shape (n, {like.shape[1]}), got "
                f"{array.shape}."
            )
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise ValueError(
            "`validation` must hold as many inputs as targets, got "
            f"{len(arrays[0])} and {len(arrays[1])}."
        )
    if hasattr(problem.loss, "check"):
        problem.loss.check(arrays[1])
    return arrays[0], arrays[1]


def _check_names(plan: TrainingPlan) -> None:
    taken = sorted(set(plan.observers) & set(plan.columns.names))
    if taken:
        raise ValueError(
            f"`observers` must not reuse the name {taken[0]!r} of a recorded scalar."
        )
