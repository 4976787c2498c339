"""The particles of a run or a solution at its recorded training times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfpde.arrays import shown

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Snapshots:
    """The particles at some training times, with the grid they live on.

    Attributes
    ----------
    s : ndarray, shape (S,)
        Training times.
    theta : sequence
        theta[i] has shape (J, M, k); read when asked for.
    t, t_weights : ndarray, shape (J,)
        Depth nodes and their weights.
    weights : ndarray, shape (M,)
    names : list of str
        The k parameter names.
    """

    s: Array
    theta: Any
    t: Array
    t_weights: Array
    weights: Array
    names: list[str]

    def at(self, s: float) -> int:
        """Index of the snapshot nearest to training time `s`."""
        return int(np.argmin(np.abs(self.s - s)))

    def node(self, t: float) -> int:
        """Index of the depth node nearest to `t`."""
        return int(np.argmin(np.abs(self.t - t)))

    def first_and_last(self) -> list[int]:
        """Return the indices of the first and the last snapshot, once if they agree."""
        return [0] if len(self.s) == 1 else [0, len(self.s) - 1]

    def particles(self, index: int) -> Array:
        """Return the particles (J, M, k) of snapshot `index`."""
        return np.asarray(self.theta[index], dtype=float)


def has_snapshots(source: Any) -> bool:
    """Whether `snapshots` finds particles in `source`."""
    if isinstance(source, type):
        return False
    return _has_ensemble(source) or len(getattr(source, "snapshot_s", ())) > 0


def _has_ensemble(source: Any) -> bool:
    parts = ("problem", "grid", "ensemble", "s")
    return all(hasattr(source, name) for name in parts)


def snapshots(source: Any) -> Snapshots:
    """Particles of a run or a solution (all snapshots), or of an evaluation (one).

    Parameters
    ----------
    source : Run, Solution or Evaluation
        Of a solution whose snapshots went to a file, the particles at its end.

    Raises
    ------
    TypeError, ValueError
        If there is no snapshot.
    """
    if not has_snapshots(source):
        kind = ValueError if hasattr(source, "snapshot_s") else TypeError
        raise kind(
            "`run` must hold particles, as a run with snapshots of theta, a solution "
            f"or an evaluation does, but there are none in {shown(source)}."
        )
    return _of_ensemble(source) if _has_ensemble(source) else _of_run(source)


def _of_run(run: Any) -> Snapshots:
    return Snapshots(
        s=np.asarray(run.snapshot_s, dtype=float),
        theta=run.theta,
        t=np.asarray(run.t, dtype=float),
        t_weights=np.asarray(run.t_weights, dtype=float),
        weights=np.asarray(run.weights, dtype=float),
        names=[str(name) for name in run.param_names],
    )


def _of_ensemble(source: Any) -> Snapshots:
    s, theta = getattr(source, "snapshot_s", ()), getattr(source, "theta", ())
    if len(s) == 0:
        s, theta = np.atleast_1d(source.s)[-1:], source.ensemble.theta[np.newaxis]
    return Snapshots(
        s=np.asarray(s, dtype=float),
        theta=theta,
        t=source.grid.nodes,
        t_weights=source.grid.weights,
        weights=source.ensemble.weights,
        names=list(source.problem.block.param_names),
    )
