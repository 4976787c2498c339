"""`train`: the optimisation of a network."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import checked, float_array, instance, whole
from mfpde.gradients import check_own_parts
from mfpde.networks.batches import Batches
from mfpde.networks.optimisers import check_optimiser
from mfpde.networks.resnet import ResNet
from mfpde.options import accepting
from mfpde.problem import MeanFieldProblem
from mfpde.recording import Steps
from mfpde.run.descent import Descent
from mfpde.run.loop import run_from_start
from mfpde.run.options import TrainingOptions
from mfpde.run.solution import announcing
from mfpde.run.specification import Specification
from mfpde.run.training_dynamics import Training, TrainingDynamics
from mfpde.sizes import warn_of_sizes

__all__ = ["Training", "train"]

Array = NDArray[np.float64]
# Records of a training without a schedule.
N_RECORDS = 100


@announcing
@accepting(TrainingOptions)
@checked(net=instance(ResNet), n_iterations=whole(1))
def train(
    net: ResNet,
    optimiser: Any,
    *,
    n_iterations: int,
    **options: Unpack[TrainingOptions],
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
    **options
        batch_size, seed, validation, early_stopping, and as for `solve` record,
        snapshots, output, overwrite, progress, observers, loss_below, wall_time_s,
        metadata, checkpoint_every_s, theta_dtype, swmr; each is described in
        `TrainingOptions`. What is recorded is of all data; of training times s the
        nearest iterations are taken. Progress shows the mean loss of the latest
        batches.

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
    given: dict[str, Any] = dict(options)
    check_optimiser(optimiser)
    warn_of_sizes(net.problem)
    batches = Batches(net.problem.n_samples, given["batch_size"], given["seed"])
    if given["early_stopping"] is not None and given["validation"] is None:
        raise ValueError("`early_stopping` needs `validation` samples, got None.")
    if given["record"] is None:
        given["record"] = Steps(max(1, n_iterations // N_RECORDS))
    check_own_parts(net.problem, net.grid, net.ensemble)
    dynamics = TrainingDynamics(
        descent=Descent(net, optimiser.bound(net, n_iterations), batches),
        n_iterations=n_iterations,
        validation=_checked_validation(given["validation"], net.problem),
        early_stopping=given["early_stopping"],
        loss_below=given["loss_below"],
    )
    return run_from_start(Specification.of(dynamics, given))


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
