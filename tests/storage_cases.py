"""A small run whose every record is known, and a process that writes it.

`python storage_cases.py FILE N` creates FILE, or resumes it from its checkpoint, and
writes records up to number N, printing the number of each one that is committed.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from mfpde.storage import RunHeader, RunWriter, read_checkpoint

J, M, K, N, D = 3, 4, 5, 6, 2
# A checkpoint after every so many records.
CADENCE = 4


def header(**changes) -> RunHeader:
    rng = np.random.default_rng(0)
    base = RunHeader(
        title="a small run",
        source="mfpde 0.1.0",
        command="mfpde run small.toml",
        seed=7,
        config_toml='[problem]\nname = "Größe"\n',
        description='{"block": {"type": "Perceptron", "d": 2}}',
        software='{"numpy": "2"}',
        x=rng.normal(size=(N, D)),
        y=rng.normal(size=(N, 1)),
        sample_weight=np.full(N, 1 / N),
        extra_data={
            "label": (np.array(list("abcdeä")), ("sample",)),
            "picture": (np.arange(2.0 * N).reshape(N, 2), ("sample", "pixel")),
            "pixel": (np.array([0.5, 1.5]), ("pixel",)),
            "is_test": (np.arange(N) > 3, ("sample",)),
        },
        t=np.linspace(0.0, 1.0, J),
        t_weight=np.full(J, 1 / J),
        particle_weight=np.full(M, 1 / M),
        param_names=["u1", "u2", "v1", "v2", "b"],
        scalar_names=("step", "loss", "objective", "wall_time"),
        observation_shapes={"confusion": (2, 3), "margin": ()},
        trainable={"readout": ((1, D), ("output", "z_component"))},
        states=(np.linspace(0.0, 1.0, J + 1), N, D),
    )
    return replace(base, **changes)


def s_of(i: int) -> float:
    return 0.1 * i


@cache
def truth(i: int) -> dict[str, np.ndarray]:
    """All arrays of record number i."""
    rng = np.random.default_rng(100 + i)
    shapes = {
        "loss": (),
        "confusion": (2, 3),
        "theta": (J, M, K),
        "readout": (1, D),
        "z": (J + 1, N, D),
        "p": (J + 1, N, D),
    }
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def state(i: int):
    """The checkpoint after the records 0, ..., i - 1."""
    arrays = {"theta": truth(i)["theta"], "velocity": np.zeros((J, 0))}
    return arrays, {"i": i, "s": s_of(i), "generator": 2**100 + i, "rule": "dopri5"}


def create(path: Path, *, n: int = 0, swmr: bool = True, **changes) -> RunWriter:
    """A writer of a new run with n records."""
    writer = RunWriter.create(path, header(**changes), checkpoint=state(0), swmr=swmr)
    for i in range(n):
        append(writer, i)
    return writer


def finished(path: Path, n: int = 5, **options) -> Path:
    with create(path, n=n, **options) as writer:
        writer.write_checkpoint(*state(n))
        writer.finish("finished", "s_end was reached.")
    return path


def append(writer: RunWriter, i: int) -> None:
    values = truth(i)
    row = {"s": s_of(i), "step": i, "loss": values["loss"], "objective": -1.0}
    writer.append_scalars(
        row | {"wall_time": 0.5 * i},
        {"confusion": values["confusion"], "margin": i},
    )
    writer.append_snapshot(s_of(i), values["theta"], {"readout": values["readout"]})
    writer.append_states(s_of(i), values["z"], values["p"])


def check(run) -> int:
    """Assert that the run holds the first n records, bit for bit; return n."""
    n = len(run.s)
    if run.status != "running":
        # A live file grows between the looks at its groups.
        assert n - 1 <= len(run.states.s) <= len(run.snapshot_s) <= n
    columns = {
        "loss": run.loss,
        "confusion": run.observations["confusion"],
        "theta": run.theta,
        "readout": run.trainable["readout"],
        "z": run.states.z,
        "p": run.states.p,
    }
    np.testing.assert_array_equal(run.s, [s_of(i) for i in range(n)])
    for name, column in columns.items():
        expected = [truth(i)[name] for i in range(len(column))]
        if expected:
            np.testing.assert_array_equal(column, np.array(expected), err_msg=name)
    return n


def open_or_resume(path: Path, *, swmr: bool = True) -> tuple[RunWriter, int]:
    if not path.exists():
        return create(path, swmr=swmr), 0
    _, attrs, lengths = read_checkpoint(path)
    return RunWriter.reopen(path, lengths, swmr=swmr), attrs["i"]


def write_until(path: Path, n: int, *, swmr: bool = True) -> None:
    """Write records up to n, as a process of its own does."""
    writer, start = open_or_resume(path, swmr=swmr)
    with writer:
        print("ready", flush=True)
        for i in range(start, n):
            append(writer, i)
            print(i, flush=True)
            if (i + 1) % CADENCE == 0:
                writer.write_checkpoint(*state(i + 1))
        writer.write_checkpoint(*state(n))
        writer.finish("finished", "s_end was reached.")


if __name__ == "__main__":
    write_until(Path(sys.argv[1]), int(sys.argv[2]), swmr=sys.argv[3:] != ["no-swmr"])
