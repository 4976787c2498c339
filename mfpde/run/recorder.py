"""The journal of a run: what is recorded, in memory and, if asked for, in a file.

It keeps flows and trainings of networks alike. A state has `s`, `step`, `problem`,
`grid`, `ensemble`, `evaluation`, and what a checkpoint needs: `y`, `step_size`,
`n_evaluations`, `n_rejected` and `memory`, a dict of numbers and arrays. The evaluation
may be computed when it is first asked for; it is, for a record only.
"""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numba
import numpy as np
import scipy
from numpy.typing import NDArray

from mfpde import __version__
from mfpde.engine.sharding import Space
from mfpde.errors import NotFiniteError
from mfpde.flow import Restart
from mfpde.kernels.threads import n_threads
from mfpde.recording import Clock, Observer, apply_observers
from mfpde.storage import RunHeader, RunWriter

Array = NDArray[np.float64]
Row = dict[str, float]
ARRAY_PREFIX = "memory_"


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its run beside the numbers.

    Attributes
    ----------
    title, command : str
    seed : int, optional
    config_toml : str
        The configuration the run was made from, if any.
    extra_data : dict
        Name to (array, names of its dimensions), stored in /data.
    """

    title: str = ""
    command: str = ""
    seed: int | None = None
    config_toml: str = ""
    extra_data: Mapping[str, tuple[Any, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which scalars are recorded, in the order of the file, and what gives them.

    `row` gives those of a state but `s`, `step` and `wall_time`.
    """

    names: tuple[str, ...]
    row: Callable[[Any], Row]


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """When scalars, theta and states are recorded, and checkpoints written.

    `is_worth_keeping` tells from the rows so far whether theta is recorded with the
    last of them, too.
    """

    scalars: Clock
    snapshots: Clock
    states: Clock | None
    checkpoint_every_s: float
    is_worth_keeping: Callable[[list[Row]], bool] = lambda rows: False

    @property
    def hits(self) -> set[float]:
        """Training times on which steps end."""
        clocks = [self.scalars, self.snapshots, self.states]
        return set().union(*(clock.exact for clock in clocks if clock is not None))


@dataclass
class Records:
    """Rows recorded so far, in memory."""

    rows: list[dict[str, float]] = field(default_factory=list)
    observations: list[dict[str, Array]] = field(default_factory=list)
    snapshots: list[tuple[float, Array, dict[str, Array]]] = field(default_factory=list)

    def columns(self) -> dict[str, Array]:
        """Scalars by name, each (R,)."""
        names = self.rows[0] if self.rows else ()
        return {name: np.array([row[name] for row in self.rows]) for name in names}

    def observed(self) -> dict[str, Array]:
        """Observed arrays by name, each (R, ...)."""
        names = self.observations[0] if self.observations else ()
        return {n: np.array([row[n] for row in self.observations]) for n in names}


@dataclass(frozen=True)
class Onlooker:
    """What other ranks have in place of the file, which rank 0 writes: nothing."""

    path: Path

    def write_checkpoint(self, *_: Any) -> None:
        """Nothing."""

    append_scalars = append_snapshot = append_states = finish = write_checkpoint
    close = write_checkpoint


class Journal:
    """Observes the states of a run when they are due; owns the open file, if any."""

    def __init__(
        self,
        cadence: Cadence,
        columns: Columns,
        observers: Mapping[str, Observer],
        *,
        end: float,
        records: Records | None = None,
        earlier_s: float = 0.0,
    ) -> None:
        self.records = records or Records()
        self.writer: RunWriter | Onlooker | None = None
        self._end = end
        self._cadence = cadence
        self._columns = columns
        self._observers = observers
        self._began = time.monotonic()
        self._earlier_s = earlier_s
        self._last_checkpoint = time.monotonic()
        self._is_ended = False

    @property
    def wall_time_s(self) -> float:
        """Seconds since the start, those before a restart included."""
        return self._earlier_s + self.session_s

    @property
    def session_s(self) -> float:
        """Seconds since the start or the restart."""
        return time.monotonic() - self._began

    def open(
        self,
        state: Any,
        path: Path,
        *,
        kind: str,
        description: Mapping[str, Any],
        metadata: Metadata,
        overwrite: bool,
        theta_dtype: str,
        swmr: bool,
    ) -> None:
        """Start the file of this run, from its first state."""
        shard = state.ensemble.shard
        row, arrays = self._row(state)
        checkpoint = self._checkpoint(state, is_recorded=False)
        weights = shard.gather(state.ensemble.weights[np.newaxis, :, None])
        if shard.rank > 0:
            self.writer = Onlooker(path)
            return
        header = _header(
            state, row, arrays, weights.ravel(), kind, description, metadata,
            theta_dtype,
            self._cadence.states is not None,
        )  # fmt: skip
        self.writer = RunWriter.create(
            path, header, checkpoint=checkpoint, overwrite=overwrite, swmr=swmr
        )

    def reopen(
        self, state: Any, path: Path, lengths: Mapping[str, int], *, swmr: bool
    ) -> None:
        """Go on with the file of a run that had stopped."""
        if state.ensemble.shard.rank > 0:
            self.writer = Onlooker(path)
            return
        self.writer = RunWriter.reopen(path, lengths, swmr=swmr, is_latest=True)

    def visit(self, state: Any) -> None:
        """Record what is due at this state; a checkpoint now and then."""
        cadence = self._cadence
        is_kept = cadence.snapshots.is_due(state.s, state.step)
        if cadence.scalars.is_due(state.s, state.step):
            self._record(state)
            is_kept = is_kept or cadence.is_worth_keeping(self.records.rows)
        if is_kept:
            self._snapshot(state)
        if cadence.states is not None and cadence.states.is_due(state.s, state.step):
            self._states(state)
        if self.writer is None:
            return
        waited = time.monotonic() - self._last_checkpoint
        # The ranks' clocks differ: they write it together, or not at all.
        waited = state.ensemble.shard.stack([waited]).max()
        if waited > cadence.checkpoint_every_s:
            self.checkpoint(state)

    def checkpoint(self, state: Any) -> None:
        """Write the checkpoint of this state."""
        self.writer.write_checkpoint(*self._checkpoint(state, is_recorded=True))
        self._last_checkpoint = time.monotonic()

    def end(self, state: Any, last: Any, status: str, message: str) -> None:
        """Write the last state, due or not, and how the run ended.

        The checkpoint comes first, of `state`, the last that was visited: a continued
        run drops the records that only the end called for, and so equals a run that
        never stopped. `last` is the same, or lies in the step after it. A state whose
        evaluation fails now has no record, only its particles.
        """
        if self.writer is not None:
            self.checkpoint(state)
        if not self.records.rows or self.records.rows[-1]["s"] != last.s:
            with contextlib.suppress(NotFiniteError):
                self._record(last)
        if not self.records.snapshots or self.records.snapshots[-1][0] != last.s:
            self._snapshot(last)
        if self.writer is not None:
            self.writer.finish(status, message)
        self._is_ended = True

    def leave(
        self, _kind: Any, error: BaseException | None, _traceback: Any = None
    ) -> None:
        """Close the file; it says which error, if any, ended the run before its end."""
        if self.writer is None:
            return
        if error is not None and not self._is_ended:
            status = "failed" if isinstance(error, Exception) else "interrupted"
            # The error itself is on its way to the caller.
            with contextlib.suppress(OSError):
                self.writer.finish(status, f"{type(error).__name__}: {error}")
        self.writer.close()

    def _row(self, state: Any) -> tuple[Row, dict[str, Array]]:
        row = {
            "s": state.s,
            "step": float(state.step),
            "wall_time": self.wall_time_s,
            **self._columns.row(state),
        }
        numbers, arrays = apply_observers(self._observers, state.evaluation)
        names = ("s", *self._columns.names)
        return {name: row[name] for name in names} | numbers, arrays

    def _record(self, state: Any) -> None:
        row, arrays = self._row(state)
        if self.records.observations:
            _check_shapes(self.records.observations[0], arrays)
        self.records.rows.append(row)
        self.records.observations.append(arrays)
        if self.writer is not None:
            self.writer.append_scalars(row, arrays)

    def _snapshot(self, state: Any) -> None:
        ensemble = state.ensemble
        maps = state.problem.trained_maps
        matrices = {name: trained.matrix for name, trained in maps.items()}
        # A file holds the snapshots; memory then keeps only the time of the last.
        kept = (ensemble.theta, matrices) if self.writer is None else (np.empty(0), {})
        self.records.snapshots.append((state.s, *kept))
        if self.writer is not None:
            theta = ensemble.shard.gather(ensemble.theta)
            self.writer.append_snapshot(state.s, theta, matrices)

    def _states(self, state: Any) -> None:
        if self.writer is not None:
            evaluation = state.evaluation
            self.writer.append_states(state.s, evaluation.z, evaluation.p)

    def _checkpoint(
        self, state: Any, *, is_recorded: bool
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        attributes = {
            "is_recorded": int(is_recorded),
            "end": self._end,
            "s": state.s,
            "step": state.step,
            "step_size": state.step_size,
            "n_evaluations": state.n_evaluations,
            "n_rejected": state.n_rejected,
            "memory": json.dumps(
                {n: v for n, v in state.memory.items() if not isinstance(v, np.ndarray)}
            ),
            "wall_time_s": self.wall_time_s,
        }
        arrays = {
            f"{ARRAY_PREFIX}{name}": value
            for name, value in state.memory.items()
            if isinstance(value, np.ndarray)
        }
        ensemble = state.ensemble
        y = Space(ensemble.shard, ensemble.theta.shape).gather(state.y)
        return {"y": y} | arrays, attributes


def _check_shapes(first: Mapping[str, Array], now: Mapping[str, Array]) -> None:
    for name, array in now.items():
        shape = first[name].shape if name in first else ()
        if array.shape != shape:
            raise ValueError(
                f"`observers[{name!r}]` must have shape {shape}, got {array.shape}; "
                "the first record fixes it."
            )


def restart_from(arrays: Mapping[str, Array], attributes: Mapping[str, Any]) -> Restart:
    """The restart that a checkpoint holds."""
    kept = {
        name.removeprefix(ARRAY_PREFIX): np.array(array, dtype=np.float64)
        for name, array in arrays.items()
        if name.startswith(ARRAY_PREFIX)
    }
    return Restart(
        s=float(attributes["s"]),
        step=int(attributes["step"]),
        step_size=float(attributes["step_size"]),
        n_evaluations=int(attributes["n_evaluations"]),
        n_rejected=int(attributes["n_rejected"]),
        y=np.array(arrays["y"], dtype=np.float64),
        memory=json.loads(attributes["memory"]) | kept,
        end=attributes.get("end"),
    )


def software() -> dict[str, Any]:
    """Versions and threads, for the file."""
    return {
        "mfpde": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
        "h5py": h5py.__version__,
        "threads": n_threads(),
        "threading_layer": "python threads, kernels without the GIL",
    }


def _header(
    state, row, observed, weights, kind, description, metadata, theta_dtype, has_states
) -> RunHeader:
    problem, grid = state.problem, state.grid
    dims = {
        "embedding": ("state_component", "input_component"),
        "readout": ("output_component", "state_component"),
    }
    extra = {"metric": (problem.metric, ("param",))}
    for name in ("embedding", "readout"):
        if getattr(problem, name) is not None:
            extra[f"{name}_start"] = (getattr(problem, name).matrix, dims[name])
    trained = problem.trained_maps
    states = None
    if has_states:
        states = (grid.state_depths(), problem.n_samples, problem.d)
    return RunHeader(
        kind=kind,
        title=metadata.title or f"mfpde {kind}",
        source=f"mfpde {__version__}",
        command=metadata.command,
        seed=metadata.seed,
        config_toml=metadata.config_toml,
        description=json.dumps(description),
        software=json.dumps(software() | {"ranks": state.ensemble.shard.size}),
        x=problem.x,
        y=problem.y,
        sample_weight=problem.sample_weights,
        extra_data=extra | dict(metadata.extra_data),
        t=grid.nodes,
        t_weight=grid.weights,
        particle_weight=weights,
        param_names=problem.block.param_names,
        theta_dtype=theta_dtype,
        scalar_names=tuple(name for name in row if name != "s"),
        observation_shapes={name: array.shape for name, array in observed.items()},
        trainable={n: (m.matrix.shape, dims[n]) for n, m in trained.items()},
        states=states,
    )
