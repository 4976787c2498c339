"""The options of runs, each declared here once: of `solve`, of `train`, of their files.

Nothing heavy is imported: a configuration and its template read them, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypedDict

from mfpde.arrays import (
    a_path,
    choice,
    flag,
    having,
    is_function,
    positive,
    seed_number,
    whole,
)
from mfpde.options import Option

__all__ = [
    "FlowOptions",
    "MethodOptions",
    "OutputOptions",
    "RunOptions",
    "TrainingOptions",
]

Progress = Callable[[float, float, float, int, float], None]
AN_EARLY_STOPPING = having(
    "patience", "is_best", "ending", what="an EarlyStopping of mfpde.networks"
)


def a_progress(name: str, value: Any) -> Any:
    """True, False, or a function that is called after every step."""
    return value if is_function(value) else flag(name, value)


class MethodOptions(TypedDict, total=False):
    """Options of the method that advances a flow in training time s.

    Attributes
    ----------
    stepper : {"dopri5", "rkc2", "auto", "euler", "heun", "rk4"} or object
        The first three control their error: "dopri5" is of order 5, "rkc2" of order 2
        for stiff problems, "auto" the one or the other, whichever is cheaper. The
        others need `ds`. Objects: `Langevin(temperature, ds)`, which adds noise, or
        any other, see `mfpde.steppers`.
    rtol : float
        Relative tolerance of an adaptive stepper, for every parameter and the ledger.
    atol : float
        Absolute tolerance likewise.
    ds : float, optional
        Step of a fixed stepper; shortened evenly where a record time requires it.
    """

    stepper: Annotated[Any, Option("dopri5")]
    rtol: Annotated[float, Option(1e-6, positive)]
    atol: Annotated[float, Option(1e-9, positive)]
    ds: Annotated[float | None, Option(None, positive)]


class OutputOptions(TypedDict, total=False):
    """Options of what a run writes: to a file, and to the terminal.

    Attributes
    ----------
    snapshots : sequence of float or schedule, optional
        When theta is recorded: training times, or a schedule of `mfpde.recording`. None
        is start and end. The end is always recorded.
    output : path, optional
        HDF5 file; None keeps everything in memory.
    overwrite : bool
        Whether an existing file may be replaced.
    progress : bool or callable
        True writes progress to stderr; a callable gets
        (s, s_end, loss, n_steps, objective) after every step.
    metadata : Metadata or dict, optional
        Title, command, seed, configuration and further arrays for the file.
    checkpoint_every_s : float
        Seconds of wall time between checkpoints.
    theta_dtype : {"f8", "f4"}
        Type of the snapshots in the file; the checkpoint is always exact.
    swmr : bool
        Whether others may read the file while it grows; False on NFS.
    """

    snapshots: Annotated[Any, Option(None)]
    output: Annotated[str | os.PathLike[str] | None, Option(None, a_path)]
    overwrite: Annotated[bool, Option(False, flag)]
    progress: Annotated[bool | Progress, Option(False, a_progress)]
    metadata: Annotated[Any, Option(None)]
    checkpoint_every_s: Annotated[float, Option(10.0, positive)]
    theta_dtype: Annotated[str, Option("f8", choice("f8", "f4"))]
    swmr: Annotated[bool, Option(True, flag)]


class RunOptions(OutputOptions, total=False):
    """Options that `solve` and `train` share.

    Attributes
    ----------
    record : sequence of float or schedule, optional
        When scalars are recorded, as for `snapshots`; None is start and end, and for a
        network about 100 records.
    observers : dict of str to callable, optional
        Functions of an `Evaluation` that give a number or an array of fixed shape.
    loss_below : float, optional
        End where the loss falls below this; a network, with such a record.
    wall_time_s : float, optional
        End after so many seconds; `resume` continues.
    """

    record: Annotated[Any, Option(None)]
    observers: Annotated[Mapping[str, Callable[..., Any]] | None, Option(None)]
    loss_below: Annotated[float | None, Option(None, positive)]
    wall_time_s: Annotated[float | None, Option(None, positive)]


class FlowOptions(RunOptions, MethodOptions, total=False):
    """Options of `solve`.

    Attributes
    ----------
    states : sequence of float or schedule, optional
        When states and adjoints are recorded; None is never.
    gradient_norm_below : float, optional
        End where the gradient norm falls below this.
    steady_state : float, optional
        End, before s_end, when the objective at its present rate would change by at
        most this fraction of its initial value up to s_end. Not with noise.
    communicator : mpi4py.MPI.Comm, optional
        Its ranks, which all make this call with the same arguments, share the
        particles; file and progress are rank 0's. All return the same solution.
    """

    states: Annotated[Any, Option(None)]
    gradient_norm_below: Annotated[float | None, Option(None, positive)]
    steady_state: Annotated[float | None, Option(None, positive)]
    communicator: Annotated[Any, Option(None)]


class TrainingOptions(RunOptions, total=False):
    """Options of `train`.

    Attributes
    ----------
    batch_size : int, optional
        Most samples in a mini-batch; None takes all data in every iteration.
    seed : int
        Of the shuffles, see `mfpde.networks.Batches`.
    validation : (array_like, array_like), optional
        x (n, d_in) and y (n, q), whose loss, and accuracy for classes, are recorded.
    early_stopping : EarlyStopping, optional
        End when the recorded validation loss does not improve; the best network is kept
        as a snapshot, see `Training.best`.
    """

    batch_size: Annotated[int | None, Option(None, whole(1))]
    seed: Annotated[int, Option(0, seed_number)]
    validation: Annotated[tuple[Any, Any] | None, Option(None)]
    early_stopping: Annotated[Any, Option(None, AN_EARLY_STOPPING)]
