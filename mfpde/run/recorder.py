"""The recorder of a run: it observes states when they are due and hands on records.

A backend keeps them: in memory, in an HDF5 file, or, on other ranks than the one that
writes the file, nowhere. The evaluation of a state may be computed when it is first
used, which is for a record only.
"""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections.abc import Mapping
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
from mfpde.kernels.threads import n_threads
from mfpde.recording import Clock, apply_observers
from mfpde.run.specification import Row, Specification
from mfpde.run.states import Checkpoint
from mfpde.storage import RunHeader, RunWriter

__all__ = ["Recorder", "Records", "checkpoint_from", "software"]

Array = NDArray[np.float64]
ARRAY_PREFIX = "memory_"


@dataclass(frozen=True)
class OutputSchedule:
    """When scalars, theta and states are recorded."""

    record: Clock
    snapshots: Clock
    states: Clock | None

    @property
    def tstops(self) -> set[float]:
        """Training times on which steps end."""
        clocks = [self.record, self.snapshots, self.states]
        return set().union(*(clock.exact for clock in clocks if clock is not None))


class Nowhere:
    """The backend of the ranks that do not write the file: it does nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def append_scalars(self, *_: Any) -> None:
        """Nothing."""

    append_snapshot = append_states = write_checkpoint = append_scalars
    finish = close = append_scalars


class Memory(Nowhere):
    """The backend of a run without a file: it keeps the snapshots."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: list[tuple[float, Array, Mapping[str, Array]]] = []

    def append_snapshot(self, *snapshot: Any) -> None:
        """Keep s, theta and the trained maps, which no later step changes."""
        self.snapshots.append(snapshot)


@dataclass
class Records:
    """Scalars and observed arrays recorded so far, and the time of the last snapshot.

    They are kept in memory with every backend: conditions that end a run look at them.
    """

    rows: list[Row] = field(default_factory=list)
    observations: list[dict[str, Array]] = field(default_factory=list)
    last_snapshot_s: float | None = None

    def columns(self) -> dict[str, Array]:
        """Scalars by name, each (R,)."""
        names = self.rows[0] if self.rows else ()
        return {name: np.array([row[name] for row in self.rows]) for name in names}

    def observed(self) -> dict[str, Array]:
        """Observed arrays by name, each (R, ...)."""
        names = self.observations[0] if self.observations else ()
        return {n: np.array([row[n] for row in self.observations]) for n in names}


class Recorder:
    """Observes the states of a run when they are due; owns the open file, if any."""

    def __init__(
        self,
        specification: Specification,
        checkpoint: Checkpoint | None = None,
        *,
        records: Records | None = None,
        earlier_s: float = 0.0,
    ) -> None:
        self.records = records or Records()
        self.backend: RunWriter | Nowhere = Memory()
        self._specification = specification
        dynamics, schedules = specification.dynamics, specification.schedules
        clocks: Any = dynamics.clocks(schedules, checkpoint)
        self.schedule = OutputSchedule(**clocks)
        self._began = self._last_checkpoint = time.monotonic()
        self._earlier_s = earlier_s
        self._is_ended = False

    @property
    def wall_time_s(self) -> float:
        """Seconds since the start, those of earlier sessions included."""
        return self._earlier_s + self.session_s

    @property
    def session_s(self) -> float:
        """Seconds since the start or the restart."""
        return time.monotonic() - self._began

    def open(self, state: Any, path: Path) -> None:
        """Start the file of this run, from its first state."""
        shard = state.ensemble.shard
        row, arrays = self._row(state)
        checkpoint = self._checkpoint(state, is_recorded=False)
        weights = shard.gather(state.ensemble.weights[np.newaxis, :, None])
        self.backend = Nowhere(path)
        if shard.rank > 0:
            return
        header = self._header(state, row, arrays, weights.ravel())
        self.backend = RunWriter.create(
            path,
            header,
            checkpoint=checkpoint,
            overwrite=self._specification.overwrite,
            swmr=self._specification.swmr,
        )

    def reopen(self, state: Any, path: Path, lengths: Mapping[str, int]) -> None:
        """Go on with the file of a run that had stopped."""
        self.backend = Nowhere(path)
        if state.ensemble.shard.rank == 0:
            swmr = self._specification.swmr
            self.backend = RunWriter.reopen(path, lengths, swmr=swmr, is_latest=True)

    def visit(self, state: Any) -> None:
        """Record what is due at this state; a checkpoint now and then."""
        due, s, step = self.schedule, state.s, state.step
        is_kept = due.snapshots.is_due(s, step)
        if due.record.is_due(s, step):
            self._record(state)
            dynamics = self._specification.dynamics
            is_kept = is_kept or dynamics.is_worth_keeping(self.records.rows)
        if is_kept:
            self._snapshot(state)
        if due.states is not None and due.states.is_due(s, step):
            evaluation = state.evaluation
            self.backend.append_states(s, evaluation.z, evaluation.p)
        if self.backend.path is None:
            return
        waited = time.monotonic() - self._last_checkpoint
        # The ranks' clocks differ: they write it together, or not at all.
        waited = state.ensemble.shard.stack([waited]).max()
        if waited > self._specification.checkpoint_every_s:
            self.checkpoint(state)

    def checkpoint(self, state: Any) -> None:
        """Write the checkpoint of this state."""
        self.backend.write_checkpoint(*self._checkpoint(state, is_recorded=True))
        self._last_checkpoint = time.monotonic()

    def end(self, state: Any, last: Any, status: str, message: str) -> None:
        """Write the last state, due or not, and how the run ended.

        The checkpoint comes first, of `state`, the last that was visited: a continued
        run drops the records that only the end called for, and so equals a run that
        never stopped. `last` is the same, or lies in the step after it. A state whose
        evaluation fails now has no record, only its particles.
        """
        if self.backend.path is not None:
            self.checkpoint(state)
        if not self.records.rows or self.records.rows[-1]["s"] != last.s:
            with contextlib.suppress(NotFiniteError):
                self._record(last)
        if self.records.last_snapshot_s != last.s:
            self._snapshot(last)
        self.backend.finish(status, message)
        self._is_ended = True

    def leave(
        self, _kind: Any, error: BaseException | None, _traceback: Any = None
    ) -> None:
        """Close the file; it says which error, if any, ended the run before its end."""
        if error is not None and not self._is_ended:
            status = "failed" if isinstance(error, Exception) else "interrupted"
            # The error itself is on its way to the caller.
            with contextlib.suppress(OSError):
                self.backend.finish(status, f"{type(error).__name__}: {error}")
        self.backend.close()

    def snapshots(self) -> list[tuple[float, Array, Mapping[str, Array]]]:
        """Time, theta and trained maps of every snapshot that memory keeps."""
        return self.backend.snapshots if isinstance(self.backend, Memory) else []

    def _row(self, state: Any) -> tuple[Row, dict[str, Array]]:
        row = {
            "s": state.s,
            "step": float(state.step),
            **self._specification.dynamics.row(state),
            "wall_time": self.wall_time_s,
        }
        observers = self._specification.observers
        numbers, arrays = apply_observers(observers, state.evaluation)
        if taken := row.keys() & observers.keys():
            raise ValueError(
                f"`observers` must not reuse the name {min(taken)!r} of a recorded "
                "scalar."
            )
        return row | numbers, arrays

    def _record(self, state: Any) -> None:
        row, arrays = self._row(state)
        if self.records.observations:
            _check_shapes(self.records.observations[0], arrays)
        self.records.rows.append(row)
        self.records.observations.append(arrays)
        self.backend.append_scalars(row, arrays)

    def _snapshot(self, state: Any) -> None:
        ensemble, maps = state.ensemble, state.problem.trained_maps
        matrices = {name: trained.matrix for name, trained in maps.items()}
        is_in_memory = self.backend.path is None
        theta = ensemble.shard.gather(ensemble.theta, everywhere=is_in_memory)
        self.records.last_snapshot_s = state.s
        self.backend.append_snapshot(state.s, theta, matrices)

    def _checkpoint(
        self, state: Any, *, is_recorded: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        arrays = {n: v for n, v in state.memory.items() if isinstance(v, np.ndarray)}
        numbers = {n: v for n, v in state.memory.items() if n not in arrays}
        attributes = {
            "is_recorded": int(is_recorded),
            "end": self._specification.dynamics.end,
            **{name: getattr(state, name) for name in COUNTS},
            "memory": json.dumps(numbers),
            "wall_time_s": self.wall_time_s,
        }
        ensemble = state.ensemble
        y = Space(ensemble.shard, ensemble.theta.shape).gather(state.y)
        return {"y": y} | {
            f"{ARRAY_PREFIX}{n}": v for n, v in arrays.items()
        }, attributes

    def _header(
        self, state: Any, row: Row, observed: Mapping[str, Array], weights: Array
    ) -> RunHeader:
        specification = self._specification
        dynamics, metadata = specification.dynamics, specification.metadata
        problem, grid = state.problem, state.grid
        dims = {
            "embedding": ("state_component", "input_component"),
            "readout": ("output_component", "state_component"),
        }
        extra: dict[str, Any] = {"metric": (problem.metric, ("param",))}
        for name in ("embedding", "readout"):
            if getattr(problem, name) is not None:
                extra[f"{name}_start"] = (getattr(problem, name).matrix, dims[name])
        trained = problem.trained_maps
        states = None
        if self.schedule.states is not None:
            states = (grid.state_depths(), problem.n_samples, problem.d)
        ranks = {"ranks": state.ensemble.shard.size}
        return RunHeader(
            kind=dynamics.kind,
            title=metadata.title or f"mfpde {dynamics.kind}",
            source=f"mfpde {__version__}",
            command=metadata.command,
            seed=metadata.seed,
            config_toml=metadata.config_toml,
            description=json.dumps(specification.describe()),
            software=json.dumps(software() | ranks),
            x=problem.x,
            y=problem.y,
            sample_weight=problem.sample_weights,
            extra_data={**extra, **dynamics.extra_data, **metadata.extra_data},
            t=grid.nodes,
            t_weight=grid.weights,
            particle_weight=weights,
            param_names=problem.block.param_names,
            theta_dtype=specification.theta_dtype,
            scalar_names=tuple(name for name in row if name != "s"),
            observation_shapes={name: array.shape for name, array in observed.items()},
            trainable={n: (m.matrix.shape, dims[n]) for n, m in trained.items()},
            states=states,
        )


COUNTS = {
    "s": float,
    "step": int,
    "step_size": float,
    "n_evaluations": int,
    "n_rejected": int,
}
"""Numbers of a checkpoint, with their types."""


def _check_shapes(first: Mapping[str, Array], now: Mapping[str, Array]) -> None:
    for name, array in now.items():
        shape = first[name].shape if name in first else ()
        if array.shape != shape:
            raise ValueError(
                f"`observers[{name!r}]` must have shape {shape}, got {array.shape}; "
                "the first record fixes it."
            )


def checkpoint_from(
    arrays: Mapping[str, Array], attributes: Mapping[str, Any]
) -> Checkpoint:
    """The checkpoint that a file holds."""
    kept = {
        name.removeprefix(ARRAY_PREFIX): np.array(array, dtype=np.float64)
        for name, array in arrays.items()
        if name.startswith(ARRAY_PREFIX)
    }
    counts: Any = {name: kind(attributes[name]) for name, kind in COUNTS.items()}
    y = np.array(arrays["y"], dtype=np.float64)
    return Checkpoint(**counts, y=y, memory=json.loads(attributes["memory"]) | kept)


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
