"""Two runs side by side: losses, outputs, and the distance of their laws."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfpde.analysis.clouds import METHODS
from mfpde.analysis.transport import common_nodes, coupled_distance, w2_depth
from mfpde.arrays import a_path, checked, choice, float_array, seed_number
from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.evaluation import predict
from mfpde.problem import MeanFieldProblem
from mfpde.run.rebuilding import limit_of
from mfpde.snapshots import Snapshots, has_snapshots, snapshots
from mfpde.storage import open_run

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """How far two runs are apart, at the training times that both recorded.

    Attributes
    ----------
    names : (str, str)
    s : ndarray, shape (R,)
        Common records.
    loss : ndarray, shape (2, R)
        The loss of both.
    snapshot_s : ndarray, shape (S,)
        Common snapshots.
    output_rms, output_max : ndarray, shape (S,)
        Root of the mean over samples of |out_b - out_a|^2, and the largest difference
        of an entry; NaN where outputs could not be rebuilt.
    t : ndarray, shape (C,)
        Common depth nodes.
    w2 : ndarray, shape (S, C)
        W2 of the laws at each common node.
    w2_integrated : ndarray, shape (S,)
        (int W2^2 dt)^(1/2) with the depth weights of the run all of whose nodes are
        common; NaN if neither has only common nodes.
    coupled : ndarray, shape (S,)
        The same with particle m of one run matched to particle m of the other, which
        means something for equal draws only; NaN if their weights differ.
    notes : tuple of str
        What was left out and why; what was assumed.
    """

    names: tuple[str, str]
    s: Array
    loss: Array
    snapshot_s: Array
    output_rms: Array
    output_max: Array
    t: Array
    w2: Array
    w2_integrated: Array
    coupled: Array
    notes: tuple[str, ...]

    @property
    def loss_difference(self) -> Array:
        """Loss of the second run minus that of the first, shape (R,)."""
        return self.loss[1] - self.loss[0]

    @property
    def w2_sup(self) -> Array:
        """Largest W2 over the common nodes, shape (S,); NaN if there is none."""
        return np.max(self.w2, axis=1) if len(self.t) else self.w2_integrated

    def __str__(self) -> str:
        lines = [f"{self.names[0]} against {self.names[1]}"]
        if len(self.s):
            worst = int(np.argmax(np.abs(self.loss_difference)))
            lines.append(
                f"loss: {len(self.s)} common records up to s = {self.s[-1]:g}, "
                f"differences at most {abs(self.loss_difference[worst]):.3g} (s = "
                f"{self.s[worst]:g}), {self.loss_difference[-1]:+.3g} at the end"
            )
        if len(self.snapshot_s):
            lines += self._table()
        return "\n".join([*lines, *self.notes])

    def _table(self) -> list[str]:
        """One row for each common snapshot, without columns that are unknown."""
        columns = {
            "s": self.snapshot_s,
            "output rms": self.output_rms,
            "output max": self.output_max,
            "W2 integrated": self.w2_integrated,
            "W2 largest": self.w2_sup,
            "coupled": self.coupled,
        }
        columns = {
            name: values
            for name, values in columns.items()
            if not np.isnan(values).all()
        }
        rows = zip(*columns.values(), strict=True)
        width = 14
        return [
            "".join(f"{name:>{width}}" for name in columns),
            *("".join(f"{value:>{width}.4g}" for value in row) for row in rows),
        ]


@checked(method=choice(*METHODS), seed=seed_number)
def compare(
    a: Any,
    b: Any,
    *,
    x: ArrayLike | None = None,
    at: str | Sequence[float] = "all",
    method: str = "auto",
    seed: int = 0,
) -> Comparison:
    """Compare two runs at the training times that both have.

    Parameters
    ----------
    a, b : path-like, Run or Solution
        Files of any kind, open or not, or what `solve` returned.
    x : array_like, shape (n, d_in), optional
        Inputs at which outputs are compared; default those of `a`.
    at : {"all", "last"} or sequence of float
        Common snapshots to use: all, the last, or those at these training times.
    method, seed
        Of the distances, as for `w2`.

    Returns
    -------
    comparison : Comparison
        Print it for a summary.

    Raises
    ------
    ValueError
        If the runs have neither a record nor a snapshot in common.

    Notes
    -----
    Outputs are computed again, on the depth grid of each run, from its particles; that
    needs built-in parts. Laws are compared at common depth nodes and only there: the
    nodes of Euler grids of L and 2 L layers agree in every second.
    """
    with contextlib.ExitStack() as stack:
        sides = [
            stack.enter_context(_opened(name, source))
            for name, source in (("a", a), ("b", b))
        ]
        notes: list[str] = []
        s, loss = _common_losses(sides, notes)
        rows = _common_snapshots(sides, at, notes)
        if len(s) == 0 and len(rows) == 0:
            spans = " and ".join(f"{side.name}: {_span(side.s)}" for side in sides)
            raise ValueError(
                f"The runs have no training time in common, {spans}. Record both at "
                "the same times (`record`, `snapshots`)."
            )
        outputs = _outputs(sides, rows, x, notes)
        t, distances, integrated, coupled = _laws(sides, rows, method, seed, notes)
        times = sides[0].clouds.s[rows[:, 0]] if len(rows) else np.empty(0)
        return Comparison(
            names=(sides[0].name, sides[1].name),
            s=s,
            loss=loss,
            snapshot_s=times,
            output_rms=outputs[:, 0],
            output_max=outputs[:, 1],
            t=t,
            w2=distances,
            w2_integrated=integrated,
            coupled=coupled,
            notes=tuple(notes),
        )


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the runs; `particles` is None if it has no snapshot."""

    source: Any
    name: str
    s: Array
    loss: Array
    particles: Snapshots | None

    @property
    def clouds(self) -> Snapshots:
        """The snapshots of a run that has some."""
        assert self.particles is not None
        return self.particles

    @property
    def x(self) -> Array:
        """Inputs (N, d_in)."""
        is_solution = hasattr(self.source, "ensemble")
        return self.source.problem.x if is_solution else self.source.data["x"]

    def limit(self, row: int) -> tuple[MeanFieldProblem, DepthGrid, ParticleEnsemble]:
        """Problem, grid and ensemble at a snapshot."""
        if not hasattr(self.source, "ensemble"):
            return limit_of(self.source, row)
        problem = self.source.problem
        if problem.trained_maps and row != len(self.clouds.s) - 1:
            raise ValueError(
                "a solution knows its trained maps at its end only; compare its file"
            )
        theta = self.clouds.particles(row)
        ensemble = ParticleEnsemble(theta, self.clouds.weights)
        return problem, self.source.grid, ensemble


@contextlib.contextmanager
def _opened(name: str, source: Any) -> Iterator[_Side]:
    """The run behind a path, or the object itself, which stays open."""
    if isinstance(source, (str, os.PathLike)):
        with open_run(a_path(name, source)) as run:
            yield _side(run)
        return
    if not hasattr(source, "s") or not hasattr(source, "loss"):
        raise TypeError(
            f"`{name}` must be a path, an open run or a solution, got "
            f"{type(source).__name__}."
        )
    yield _side(source)


def _side(source: Any) -> _Side:
    path = getattr(source, "path", None)
    return _Side(
        source=source,
        name=Path(path).name if path else "the solution",
        s=np.asarray(source.s, dtype=float),
        loss=np.asarray(source.loss, dtype=float),
        particles=snapshots(source) if has_snapshots(source) else None,
    )


def _span(s: Array) -> str:
    return f"s = {s[0]:g} to {s[-1]:g}" if len(s) else "no record"


def _common_losses(sides: list[_Side], notes: list[str]) -> tuple[Array, Array]:
    """Training times (R,) and losses (2, R) of the common records."""
    rows = common_nodes(sides[0].s, sides[1].s)
    if len(rows[0]) < min(len(side.s) for side in sides):
        counts = " and ".join(str(len(side.s)) for side in sides)
        notes.append(f"{len(rows[0])} of {counts} records have a common s.")
    loss = np.array([side.loss[r] for side, r in zip(sides, rows, strict=True)])
    return sides[0].s[rows[0]], loss


def _common_snapshots(
    sides: list[_Side], at: str | Sequence[float], notes: list[str]
) -> NDArray[np.int64]:
    """Rows (S, 2) of the snapshots that are compared."""
    missing = [side.name for side in sides if side.particles is None]
    if missing:
        notes.append(f"Outputs and laws are left out: no snapshot in {missing[0]}.")
        return np.empty((0, 2), dtype=np.int64)
    times = [side.clouds.s for side in sides]
    rows = np.stack(common_nodes(times[0], times[1]), axis=1)
    if isinstance(at, str):
        if at not in ("all", "last"):
            raise ValueError(f"`at` must be 'all', 'last' or a list of s, got {at!r}.")
        rows = rows if at == "all" else rows[-1:]
    else:
        asked = np.sort(float_array("at", at).ravel())
        chosen, wanted = common_nodes(times[0][rows[:, 0]], asked)
        if len(wanted) < len(asked):
            raise ValueError(
                f"`at` must name common snapshots, s = "
                f"{times[0][rows[:, 0]].tolist()}, got {list(asked)}."
            )
        rows = rows[chosen]
    if len(rows) == 0:
        notes.append("Outputs and laws are left out: no snapshot at a common s.")
    return rows


def _outputs(
    sides: list[_Side],
    rows: NDArray[np.int64],
    x: ArrayLike | None,
    notes: list[str],
) -> Array:
    """Root mean square and largest difference of outputs, (S, 2)."""
    found = np.full((len(rows), 2), np.nan)
    if len(rows) == 0:
        return found
    if x is None:
        x = sides[0].x
        if x.shape[1] != sides[1].x.shape[1]:
            sizes = f"{x.shape[1]} and {sides[1].x.shape[1]} components"
            notes.append(f"Outputs are left out: inputs have {sizes}.")
            return found
        if not np.array_equal(x, sides[1].x):
            notes.append(
                "The runs were trained on different inputs; outputs are compared on "
                f"those of {sides[0].name}."
            )
    reasons = []
    for i, pair in enumerate(rows):
        try:
            limits = [side.limit(int(r)) for side, r in zip(sides, pair, strict=True)]
        except (KeyError, ValueError) as error:
            reasons.append(str(error))
            continue
        try:
            first, second = (predict(*limit, x) for limit in limits)
        except (NotFiniteError, ConvergenceError) as error:
            reasons.append(str(error))
            continue
        if first.shape != second.shape:
            sizes = f"{first.shape[1]} and {second.shape[1]} components"
            reasons.append(f"they have {sizes}")
            continue
        squares = np.sum((second - first) ** 2, axis=1)
        found[i] = np.sqrt(squares.mean()), np.abs(second - first).max()
    for reason in dict.fromkeys(reasons):
        count = f"{reasons.count(reason)} of {len(rows)} snapshots"
        notes.append(f"Outputs are left out at {count}: {reason.rstrip('.')}.")
    return found


def _laws(
    sides: list[_Side],
    rows: NDArray[np.int64],
    method: str,
    seed: int,
    notes: list[str],
) -> tuple[Array, Array, Array, Array]:
    """Common nodes (C,), W2 (S, C), integrated (S,) and coupled (S,)."""
    nothing = np.full(len(rows), np.nan)
    no_laws = np.empty(0), np.empty((len(rows), 0)), nothing, nothing
    if len(rows) == 0:
        return no_laws
    a, b = (side.clouds for side in sides)
    if len(a.names) != len(b.names):
        notes.append(
            "Laws are left out: particles have "
            f"{len(a.names)} and {len(b.names)} parameters."
        )
        return no_laws
    nodes = common_nodes(a.t, b.t)
    n_common = len(nodes[0])
    notes.append(f"{n_common} of {len(a.t)} and {len(b.t)} depth nodes are common.")
    if n_common == 0:
        return no_laws
    t_weights = next((p.t_weights for p in (a, b) if len(p.t) == n_common), None)
    if t_weights is None:
        notes.append("Neither grid lies in the other: nothing is integrated over t.")
    is_matched = t_weights is not None and np.array_equal(a.weights, b.weights)
    distances = np.empty((len(rows), n_common))
    coupled = nothing.copy()
    for i, (row_a, row_b) in enumerate(rows):
        theta_a = a.particles(int(row_a))[nodes[0]]
        theta_b = b.particles(int(row_b))[nodes[1]]
        distances[i] = w2_depth(
            theta_a, theta_b, a.weights, b.weights, method=method, seed=seed
        )
        if is_matched:
            coupled[i] = coupled_distance(
                theta_a, theta_b, a.weights, t_weights=t_weights
            )
    integrated = nothing if t_weights is None else np.sqrt(distances**2 @ t_weights)
    return a.t[nodes[0]], distances, integrated, coupled
