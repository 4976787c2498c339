"""What a run found."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde import data as preparation
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError, UnfinishedWarning
from mfpde.networks.parts import predict_in_parts
from mfpde.problem import MeanFieldProblem
from mfpde.run.error_estimate import ErrorEstimate
from mfpde.run.states import InitialState

__all__ = ["Solution", "finished", "quietly"]

Array = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., Any])


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
    maps : dict of str to ndarray, shape (S, ...)
        The trained maps at the snapshots, kept likewise.
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
    data : dict of str to ndarray
        Further arrays of the run: test samples, how raw samples were prepared.
    initial : InitialState or None
        Problem, particles and method at s = 0, from which `estimate_error` solves
        again; None for a network, and for a resumed run whose file does not hold the
        start.
    error : ErrorEstimate or None
        Estimated errors: those of `solve_limit`.
    failure : type or None
        Why a failed run failed: `NotFiniteError` where the state or the velocity was
        not finite, be it in steps however small, and else `ConvergenceError`.
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
    maps: dict[str, Array] = dataclasses.field(default_factory=dict)
    path: Path | None = None
    data: dict[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    initial: InitialState | None = None
    error: ErrorEstimate | None = None
    failure: type[NotFiniteError | ConvergenceError] | None = None

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
        """Whether the run reached its end."""
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

    def predict(self, x: ArrayLike) -> Array:
        """Outputs for raw inputs, in the units of the raw targets.

        Where the data of the run say how raw samples were prepared, as those of a
        configuration do, inputs are prepared alike (standardisation, principal
        components, missing values), and a standardisation of the targets is undone.
        Otherwise inputs and outputs are those of the problem.

        Parameters
        ----------
        x : array_like, shape (n, d_raw)

        Returns
        -------
        output : ndarray, shape (n, q)
            For classes, one column for each (or one, above 0 for the second class).
        """
        return predict_raw(self.problem, self.grid, self.ensemble, self.data, x)

    def __repr__(self) -> str:
        return (
            f"Solution({self.status}, s={self.s[-1]:g}, loss={self.loss[-1]:.6g}, "
            f"n_steps={self.n_steps}, n_evaluations={self.n_evaluations})"
        )


def predict_raw(
    problem: MeanFieldProblem,
    grid: DepthGrid,
    ensemble: ParticleEnsemble,
    data: Mapping[str, NDArray[Any]],
    x: ArrayLike,
) -> Array:
    """See `Solution.predict`; `data` as in the /data group of a file."""
    if "n_padding" in data:
        x = preparation.transform(data, x)
    output = predict_in_parts(problem, grid, ensemble, x)
    return preparation.inverse_transform_targets(data, output)


def announcing(function: Function) -> Function:
    """Make a function warn, once, if the run that it returns has failed.

    Callers that look at the status anyway call `quietly(function)`.
    """

    @functools.wraps(function)
    def announced(*args: Any, **keywords: Any) -> Any:
        found = function(*args, **keywords)
        if found.status == "failed":
            warnings.warn(
                f"The run ended early, at s = {found.s[-1]:g}. {found.message}",
                UnfinishedWarning,
                stacklevel=2,
            )
        return found

    cast(Any, announced).quietly = function
    return cast("Function", announced)


def quietly(function: Function) -> Function:
    """A function that warns of failed runs, without the warning."""
    return cast(Any, function).quietly


def finished(found: Solution) -> Solution:
    """Return a solution that reached its end.

    Raises
    ------
    NotFiniteError
        If it blew up.
    ConvergenceError
        If it did not meet a tolerance, or was interrupted.
    """
    if found.converged:
        return found
    raise (found.failure or ConvergenceError)(found.message)
