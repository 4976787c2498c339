"""What the tests of several ranks solve; under mpiexec, a script that solves it.

mpiexec -n P python mpi_cases.py CASE FOLDER ...
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

import mfpde
from mfpde.engine.mpi import world
from mfpde.recording import collective

GRIDS = {
    "euler": mfpde.DepthGrid.euler(3),
    "midpoint": mfpde.DepthGrid.midpoint(2),
    "rk4": mfpde.DepthGrid.rk4(1),
    "gauss": mfpde.DepthGrid.gauss(2, 2),
    "layers": mfpde.DepthGrid.layers(3, [0.5, 0.3, 0.4], outer="tanh"),
}
STEPPERS = {
    "euler": {"stepper": "euler", "ds": 0.05},
    "heun": {"stepper": "heun", "ds": 0.05},
    "rk4": {"stepper": "rk4", "ds": 0.1},
    "dopri5": {"stepper": "dopri5"},
    "rkc2": {"stepper": "rkc2", "rtol": 1e-3, "atol": 1e-5},
    "auto": {"stepper": "auto", "rtol": 1e-4},
    "langevin": {"stepper": mfpde.steppers.Langevin(0.01, 0.05, seed=3)},
}
# Every grid and every stepper; two steppers on all grids.
SOLVES = [(grid, stepper) for grid in GRIDS for stepper in ("dopri5", "langevin")]
SOLVES += [("euler", stepper) for stepper in STEPPERS if stepper not in SOLVES[0]]
RECORDS = [0.0, 0.1, 0.3]


def mpiexec() -> str:
    """The launcher beside this interpreter, or on the path."""
    import pytest  # the processes under mpiexec need not load it

    beside = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("mpiexec")
    if found is None:
        pytest.skip("no mpiexec; pip install mpich")
    pytest.importorskip("mpi4py", reason="needs the extra mpi")
    return found


def problem() -> mfpde.MeanFieldProblem:
    """Everything on: trained maps, a decaying ridge, a metric, uneven samples."""
    rng = np.random.default_rng(1)
    d, n_samples = 3, 21
    block = mfpde.blocks.Perceptron(d)
    weights = rng.uniform(0.5, 1.5, n_samples)
    return mfpde.MeanFieldProblem(
        rng.normal(size=(n_samples, 2)),
        rng.normal(size=(n_samples, 2)),
        block,
        embedding=mfpde.readouts.Linear(rng.normal(size=(d, 2)), trainable=True),
        readout=mfpde.readouts.Linear(rng.normal(size=(2, d)), trainable=True),
        regulariser=mfpde.DecayingQuadratic(0.05, 0.5),
        metric=rng.uniform(0.5, 1.5, block.k),
        sample_weights=weights / weights.sum(),
    )


def particles(grid: mfpde.DepthGrid, n_particles: int = 7) -> mfpde.ParticleEnsemble:
    """Unequal weights, and a number of particles that no number of ranks divides."""
    rng = np.random.default_rng(2)
    theta = rng.normal(size=(grid.n_nodes, n_particles, 7))
    weights = rng.uniform(0.5, 1.5, n_particles)
    return mfpde.ParticleEnsemble(theta, weights / weights.sum())


def largest_parameter(evaluation: mfpde.evaluation.Evaluation) -> np.ndarray:
    """An observer that needs all particles: how many, and the largest parameters."""
    theta = evaluation.ensemble.theta
    return np.array([theta.shape[1], *np.abs(theta).max(axis=(0, 1))])


@collective
def output_at_test(evaluation: mfpde.evaluation.Evaluation) -> np.ndarray:
    """An observer that every rank calls."""
    parts = evaluation.problem, evaluation.grid, evaluation.ensemble
    return mfpde.predict(*parts, np.ones((1, 2)))


OBSERVERS = {"largest": largest_parameter, "at_test": output_at_test}


def solution(grid: str, stepper: str, communicator=None, **options) -> mfpde.Solution:
    """One of `SOLVES`."""
    return mfpde.solve(
        problem(),
        GRIDS[grid],
        particles(GRIDS[grid]),
        **{"s_end": 0.3, "record": RECORDS} | STEPPERS[stepper] | options,
        observers=OBSERVERS,
        communicator=communicator,
    )


def arrays_of(found: mfpde.Solution) -> dict[str, np.ndarray]:
    """All numbers of a solution but the seconds."""
    maps = {name: m.matrix for name, m in found.problem.trained_maps.items()}
    counts = [found.n_steps, found.n_evaluations, found.n_rejected]
    arrays = {
        **found.scalars,
        **found.observations,
        **maps,
        "theta": found.theta,
        "last_theta": found.ensemble.theta,
        "weights": found.ensemble.weights,
        "counts": np.array(counts),
    }
    del arrays["wall_time"]
    return arrays


def case_solves(folder: Path, communicator) -> None:
    """Every solve; the numbers of every rank to a file."""
    arrays = {}
    for grid, stepper in SOLVES:
        found = arrays_of(solution(grid, stepper, communicator))
        arrays |= {f"{grid}/{stepper}/{name}": a for name, a in found.items()}
    np.savez(folder / f"rank{communicator.rank}.npz", **arrays)


def case_file(folder: Path, communicator) -> None:
    """A run to half of its horizon, with a file."""
    solution(
        "rk4", "dopri5", communicator, s_end=0.1, output=folder / "run.h5", states=[0.0]
    )


def case_resume(folder: Path, communicator) -> None:
    """To the end from wherever the file stops."""
    mfpde.resume(
        folder / "run.h5", s_end=0.3, observers=OBSERVERS, communicator=communicator
    )


def long_run(folder: Path, communicator, hook) -> mfpde.Solution:
    """A run of 10,000 steps that calls `hook` at each, on every rank."""

    @collective
    def observer(evaluation: mfpde.evaluation.Evaluation) -> float:
        hook()
        return evaluation.loss

    return mfpde.solve(
        problem(),
        GRIDS["euler"],
        particles(GRIDS["euler"]),
        s_end=100.0,
        stepper="euler",
        ds=0.01,
        record=mfpde.recording.Steps(1),
        output=folder / "run.h5",
        checkpoint_every_s=1e-3,
        observers={"hook": observer},
        communicator=communicator,
    )


def on_rank(rank: int, communicator, act, after: int = 20):
    """A hook that acts on one rank at its call of that number."""
    calls = [0]

    def hook() -> None:
        calls[0] += 1
        if calls[0] == after and communicator.rank == rank:
            act()

    return hook


def case_error(folder: Path, communicator) -> None:
    """One rank fails alone."""

    def act() -> None:
        raise OSError(5, "Input/output error", "disk of rank 1")

    long_run(folder, communicator, on_rank(1, communicator, act))


def case_kill(folder: Path, communicator) -> None:
    """One rank is killed."""
    kill = on_rank(1, communicator, lambda: os.kill(os.getpid(), signal.SIGKILL))
    long_run(folder, communicator, kill)


def case_calls(folder: Path, communicator) -> None:
    """A signal to one rank, a blow-up, wrong calls: what all ranks see, in lines."""
    stop = on_rank(1, communicator, lambda: os.kill(os.getpid(), signal.SIGTERM))
    # A handler that returns: by default the signal would end the process then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        long_run(folder, communicator, stop)
    except mfpde.errors.Interrupted as ending:
        found = ending.solution
    lines = [f"{found.status}: {found.message}"]
    grid = GRIDS["euler"]
    lines += blow_ups(communicator)
    for name, value in (("n_particles", 1), ("stepper", "eulr")):
        options = {"stepper": "euler", "ds": 0.1, "s_end": 0.2, name: value}
        ensemble = particles(grid, options.pop("n_particles", 7))
        try:
            mfpde.solve(problem(), grid, ensemble, communicator=communicator, **options)
        except ValueError as error:
            lines.append(str(error))
    found = mfpde.solve.quietly(
        problem(),
        grid,
        particles(grid),
        s_end=0.5,
        stepper="euler",
        ds=0.1,
        record=mfpde.recording.Steps(1),
        observers={"late": blows_up_late},
        communicator=communicator,
    )
    lines.append(f"{found.status}: {found.message}")
    text = "\n".join(lines)
    Path(folder / f"rank{communicator.rank}.txt").write_text(text, encoding="utf-8")


def blows_up_late(evaluation: mfpde.evaluation.Evaluation) -> float:
    """An observer, of all particles, such as a prediction that overflows."""
    if evaluation.s > 0.25:
        raise mfpde.errors.NotFiniteError("The prediction is not finite.")
    return 0.0


def blow_ups(communicator=None) -> list[str]:
    """What is told of a run that overflows, and of one that does at the start."""
    grid = mfpde.DepthGrid.euler(2)
    messages = []
    for target, v in ((1e100, 1.0), (1e150, 1e200)):
        theta = np.zeros((2, 7, 2))
        theta[1, 5, 1] = v
        flow = mfpde.MeanFieldProblem([[1.0]], [[target]], mfpde.blocks.Bilinear(1))
        options = {"s_end": 3.0, "stepper": "euler", "ds": 1.0}
        try:
            with warnings.catch_warnings():
                # The targets are as large as they are on purpose.
                warnings.simplefilter("ignore", mfpde.errors.DataWarning)
                found = mfpde.solve.quietly(
                    flow,
                    grid,
                    mfpde.ParticleEnsemble(theta),
                    communicator=communicator,
                    **options,
                )
            messages.append(f"{found.status}: {found.message}")
        except mfpde.errors.NotFiniteError as error:
            messages.append(str(error))
    return messages


if __name__ == "__main__":
    for argument in sys.argv[2:]:
        globals()[f"case_{sys.argv[1]}"](Path(argument), world())
