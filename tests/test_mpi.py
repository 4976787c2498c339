"""One solve on several ranks: the same numbers, files, endings and sentences.

Most of it runs on ranks that are threads here, which add in an order of their own; a
few runs go through mpiexec.
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import h5py
import mpi_cases
import numpy as np
import pytest

import mfpde
from mfpde import cli
from mfpde.depth import DepthGrid
from mfpde.engine.distributed import _Iteration
from mfpde.engine.mpi import all_or_none, shard_of, world
from mfpde.engine.sharding import WHOLE, Space, balanced_bounds
from mfpde.environment import launched
from mfpde.errors import ConfigurationError
from mfpde.kernels.threads import n_threads
from mfpde.steppers import DormandPrince, StateVector

CASES = Path(__file__).with_name("mpi_cases.py")


def launch(n_ranks: int, *arguments: object, program: Path = CASES):
    """Run a program under mpiexec; at most a minute."""
    environment = {name: v for name, v in os.environ.items() if name[:3] != "PMI"}
    environment |= {
        "MFPDE_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    return subprocess.run(
        [mpi_cases.mpiexec(), "-n", str(n_ranks), sys.executable, str(program)]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


class ThreadShard:
    """Ranks that are threads. Each adds in an order of its own, as MPI may."""

    def __init__(self, rank: int, size: int, n_particles: int, meeting) -> None:
        self.rank, self.size = rank, size
        self.n_particles = n_particles
        self.barrier, self.table = meeting
        self.n_sums = self.n_bytes = 0

    def bounds(self, rank):
        return balanced_bounds(self.n_particles, self.size, rank)

    def exchange(self, value):
        self.table[self.rank] = value
        self.barrier.wait(30)
        values = list(self.table)
        self.barrier.wait(30)
        return values

    def sum_(self, array):
        parts = self.exchange(array.copy())
        array[...] = parts[self.rank]
        for step in range(1, self.size):
            array += parts[(self.rank + step) % self.size]
        self.n_sums += 1
        self.n_bytes += array.nbytes

    def agree_(self, array):
        array[...] = self.exchange(array.copy())[0]

    def stack(self, values):
        return np.array(self.exchange(np.array(values, dtype=float)))

    def gather(self, array, *, everywhere=False):
        whole = np.concatenate(self.exchange(array.copy()), axis=1)
        return whole if everywhere or self.rank == 0 else None

    def tell(self, value):
        return self.exchange(value)[0]


def on_ranks(size: int, n_particles: int, work):
    """work(shard) on every rank; what it returns, in their order."""
    meeting = threading.Barrier(size), [None] * size
    shards = [ThreadShard(rank, size, n_particles, meeting) for rank in range(size)]

    def guarded(shard):
        try:
            return work(shard)
        except BaseException:
            meeting[0].abort()
            raise

    with concurrent.futures.ThreadPoolExecutor(size) as pool:
        return [f.result() for f in [pool.submit(guarded, each) for each in shards]]


def assert_close(found, reference, tolerance=1e-12):
    """Equal but for rounding, each array relative to its size.

    The residual of the ledger is a difference of objectives. What the error control
    makes of rounding, its next step, is larger than rounding.
    """
    assert set(found) == set(reference)
    for name, array in reference.items():
        size = np.abs(array[np.isfinite(array)]).max(initial=1e-300)
        if name.endswith("energy_residual"):
            size = np.abs(reference[name.replace("energy_residual", "objective")]).max()
        limit = 1e-5 if name.endswith("step_size") else tolerance
        np.testing.assert_allclose(
            found[name], array, rtol=0, atol=limit * size, err_msg=name
        )


# Ranks as threads


@pytest.mark.parametrize("grid", mpi_cases.GRIDS)
@pytest.mark.parametrize("size", [2, 3, 7])
def test_evaluation_on_ranks(grid, size):
    problem, grid = mpi_cases.problem(), mpi_cases.GRIDS[grid]
    ensemble = mpi_cases.particles(grid)
    x = np.ones((3, 2))
    states = np.ones((2, 3))
    whole = mfpde.evaluate(problem, grid, ensemble, 0.2)
    output = mfpde.predict(problem, grid, ensemble, x)
    field = mfpde.evaluation.field(problem, grid, ensemble, states)

    def work(shard):
        share = ensemble.share(shard)
        ev = mfpde.evaluate(problem, grid, share, 0.2)
        np.testing.assert_allclose(ev.z, whole.z, atol=1e-13)
        np.testing.assert_allclose(ev.p, whole.p, atol=1e-13)
        here = slice(*shard.bounds(shard.rank))
        np.testing.assert_allclose(ev.velocity, whole.velocity[:, here], atol=1e-13)
        np.testing.assert_allclose(mfpde.predict(problem, grid, share, x), output)
        np.testing.assert_allclose(
            mfpde.evaluation.field(problem, grid, share, states), field
        )
        row = mfpde.recording.observe(ev)
        return row | {name: v.tobytes() for name, v in ev.map_velocities.items()}

    rows = on_ranks(size, 7, work)
    expected = mfpde.recording.observe(whole)
    names = ("dissipation", "gradient_norm", "second_moment", "loss", "objective")
    for row in rows:
        # What is decided by has the same bits on all ranks.
        assert all(
            row[name] == rows[0][name] for name in (*names, *whole.map_velocities)
        )
        numbers = {name: row[name] for name in expected}
        np.testing.assert_allclose(
            list(numbers.values()), list(expected.values()), rtol=1e-12
        )


@pytest.mark.parametrize(
    ("grid", "n_messages"),
    [(DepthGrid.euler(3), 6), (DepthGrid.midpoint(3), 12), (DepthGrid.rk4(2), 16)],
    ids=["euler", "midpoint", "rk4"],
)
def test_one_message_for_every_stage_and_direction(grid, n_messages):
    problem = mpi_cases.problem()
    ensemble = mpi_cases.particles(grid)

    def work(shard):
        mfpde.evaluate(problem, grid, ensemble.share(shard))
        return shard.n_sums, shard.n_bytes

    # Blocks of 16 and 8 lanes, of rows of 136.
    assert on_ranks(2, 7, work) == [(n_messages, n_messages * 2 * 3 * 136 * 8)] * 2


def test_threads_inside_a_rank_change_no_bit(monkeypatch):
    rng = np.random.default_rng(0)
    grid = mpi_cases.GRIDS["midpoint"]
    problem = mfpde.MeanFieldProblem(
        rng.normal(size=(300, 3)), rng.normal(size=(300, 3)), mfpde.blocks.Perceptron(3)
    )
    ensemble = mfpde.ParticleEnsemble(rng.normal(size=(2, 300, 7)))

    def work(shard):
        ev = mfpde.evaluate(problem, grid, ensemble.share(shard))
        return ev.loss, ev.velocity.tobytes(), ev.p.tobytes()

    found = []
    for n in ("1", "2", "3"):
        monkeypatch.setenv("MFPDE_NUM_THREADS", n)
        found.append(on_ranks(2, 300, work))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("stepper", mpi_cases.STEPPERS)
def test_flow_on_ranks_that_add_in_different_orders(stepper):
    """No rank goes another way than the others, nor than a single process."""
    grid = mpi_cases.GRIDS["euler"]
    problem, ensemble = mpi_cases.problem(), mpi_cases.particles(grid)
    options = {"s_end": 0.2} | mpi_cases.STEPPERS[stepper]

    def last(share):
        *_, state = mfpde.iterate(problem, grid, share, **options)
        return state

    def work(shard):
        state = last(ensemble.share(shard))
        counts = state.step, state.n_evaluations, state.n_rejected, state.memory
        theta = shard.gather(state.evaluation.ensemble.theta, everywhere=True)
        return counts, state.s, state.y[-13:], theta

    found = on_ranks(3, 7, work)
    alone = last(ensemble)
    for counts, s, maps, theta in found:
        assert (counts, s) == found[0][:2]
        assert maps.tobytes() == found[0][2].tobytes()
        assert counts[:3] == (alone.step, alone.n_evaluations, alone.n_rejected)
        np.testing.assert_allclose(maps, alone.y[-13:], rtol=1e-12)
        np.testing.assert_allclose(theta, alone.evaluation.ensemble.theta, atol=1e-12)


def test_gauss_stages_that_do_not_converge_fail_on_all_ranks():
    grid = DepthGrid.gauss(3)
    problem = mpi_cases.problem()
    theta = 20.0 * mpi_cases.particles(grid).theta
    ensemble = mfpde.ParticleEnsemble(theta)

    def work(shard):
        with pytest.raises(
            mfpde.errors.ConvergenceError, match="did not converge"
        ) as caught:
            mfpde.evaluate(problem, grid, ensemble.share(shard))
        return str(caught.value)

    with pytest.raises(mfpde.errors.ConvergenceError) as alone:
        mfpde.evaluate(problem, grid, ensemble)
    assert on_ranks(3, 7, work) == [str(alone.value)] * 3


def test_rank_0_decides_when_stages_stand_still():
    def work(shard):
        iteration = _Iteration(shard, 2, 1e-14, True)
        n_passes = 0
        for _ in iteration:
            n_passes += 1
            # Rank 0 settles at the fourth pass, the others never.
            iteration.changes[:] = 1.0 if shard.rank or n_passes < 4 else 0.0
        return n_passes, iteration.is_settled

    assert on_ranks(3, 7, work) == [(4, True)] * 3


def test_the_worst_entry_is_found_on_any_rank():
    """Error control names node, particle and parameter as one process numbers them."""
    shape, rest = (2, 7, 3), 4
    rng = np.random.default_rng(0)
    y = rng.normal(size=2 * 7 * 3 + rest)
    error = 1e-6 * rng.normal(size=y.size)
    for entry in (5, 40, 43):
        error_here = error.copy()
        error_here[entry] = 1.0
        parts = ((0, 42), (42, 46))
        alone = DormandPrince().bound(StateVector(parts))
        expected, index = alone.measure(y, y, error_here[None], np.ones(1), 0.1)
        place = Space(WHOLE, shape).place(index, 46)

        def work(shard, error_here=error_here, expected=expected, place=place):
            first, last = shard.bounds(shard.rank)
            space = Space(shard, (2, last - first, 3))
            n_own = space.n_own
            parts = (0, n_own), (n_own, n_own + rest)
            stepper = DormandPrince().bound(StateVector(parts, space=space))
            arguments = (space.share(y), space.share(y), space.share(error_here)[None])
            found, index = stepper.measure(*arguments, np.ones(1), 0.1)
            assert found == pytest.approx(expected, rel=1e-13)
            assert space.place(index, n_own + rest) == place
            whole = space.gather(space.share(y))
            assert (whole is None) == (shard.rank > 0)
            assert whole is None or np.array_equal(whole, y)
            return space.norm(space.share(y)), space.root_mean_square(space.share(y))

        for norm, mean in on_ranks(3, 7, work):
            assert norm == pytest.approx(np.linalg.norm(y), rel=1e-14)
            assert mean == pytest.approx(np.sqrt(np.mean(y**2)), rel=1e-14)


def test_normal_numbers_do_not_depend_on_ranks():
    whole = Space(WHOLE, (2, 7, 3)).standard_normal(np.random.default_rng(5), 46)

    def work(shard):
        first, last = shard.bounds(shard.rank)
        space = Space(shard, (2, last - first, 3))
        n = space.n_own + 4
        drawn = space.standard_normal(np.random.default_rng(5), n)
        np.testing.assert_array_equal(drawn, space.share(whole))
        return True

    assert on_ranks(3, 7, work) == [True] * 3


@pytest.mark.parametrize(("n", "size"), [(7, 3), (6, 3), (3, 3), (1, 1)])
def test_bounds_are_balanced(n, size):
    bounds = [balanced_bounds(n, size, rank) for rank in range(size)]
    assert [first for first, _ in bounds] == [0, *[last for _, last in bounds[:-1]]]
    assert bounds[-1][1] == n
    lengths = [last - first for first, last in bounds]
    assert max(lengths) - min(lengths) <= 1
    assert lengths[0] == max(lengths)


# Ranks of MPI


@pytest.fixture(scope="module")
def alone():
    """All solves by this process."""
    return {
        f"{grid}/{stepper}/{name}": array
        for grid, stepper in mpi_cases.SOLVES
        for name, array in mpi_cases.arrays_of(
            mpi_cases.solution(grid, stepper)
        ).items()
    }


def test_ranks_reproduce_one_process(alone, tmp_path):
    """Two ranks: see the files below."""
    n_ranks = 3
    done = launch(n_ranks, "solves", tmp_path)
    assert done.returncode == 0, done.stderr
    found = [dict(np.load(tmp_path / f"rank{r}.npz")) for r in range(n_ranks)]
    assert_close(found[0], alone)
    for other in found[1:]:
        for name, array in found[0].items():
            # Maxima over states are taken of what each rank has.
            tolerance = 0 if "max_abs" not in name else 1e-14
            np.testing.assert_allclose(other[name], array, tolerance, err_msg=name)


PROCESS = ("wall_time", "pid", "inode")


def contents(path: Path) -> dict[str, np.ndarray]:
    """All arrays of numbers in a file but those of time and process."""
    arrays = {}

    def visit(name, item):
        is_number = isinstance(item, h5py.Dataset) and item.dtype.kind in "fi"
        if is_number and name.rsplit("/", 1)[-1] not in PROCESS:
            arrays[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return {name: a for name, a in arrays.items() if "unix" not in name}


def test_files_and_resume_with_other_ranks(tmp_path):
    """2 ranks, then 3; one process, then 3: each as one process all the way."""
    folders = {name: tmp_path / name for name in ("alone", "ranks", "mixed")}
    for folder in folders.values():
        folder.mkdir()
    mpi_cases.case_file(folders["alone"], None)
    mpi_cases.case_file(folders["mixed"], None)
    assert launch(2, "file", folders["ranks"]).returncode == 0
    halves = [contents(folders[name] / "run.h5") for name in ("alone", "ranks")]
    assert len(halves[0]) > 30
    assert_close(halves[1], halves[0])
    checkpoints = [
        contents(folders[name] / "run.ckpt.h5") for name in ("alone", "ranks")
    ]
    assert_close(checkpoints[1], checkpoints[0])
    mpi_cases.case_resume(folders["alone"], None)
    done = launch(3, "resume", folders["ranks"], folders["mixed"])
    assert done.returncode == 0, done.stderr
    for name in ("ranks", "mixed"):
        assert_close(
            contents(folders[name] / "run.h5"), contents(folders["alone"] / "run.h5")
        )


@pytest.mark.parametrize("case", ["error", "kill"])
def test_all_ranks_end_with_one_and_the_file_goes_on(case, tmp_path):
    done = launch(2, case, tmp_path)
    assert done.returncode != 0
    if case == "error":
        sentence = "rank 1 of 2 failed, so all are ended: Input/output error (disk of"
        assert done.stderr.count(sentence) == 1
        assert "Traceback" not in done.stderr
    run = mfpde.open_run(tmp_path / "run.h5")
    with run:
        assert 10 < len(run.s) < 25
    mfpde.recover(tmp_path / "run.h5")
    found = mfpde.resume(
        tmp_path / "run.h5", s_end=0.5, observers={"hook": lambda ev: ev.loss}
    )
    assert found.status == "finished"
    assert len(found.s) == 51


def test_what_all_ranks_see_alike(tmp_path):
    """A signal to one of them, a blow-up, and wrong calls."""
    done = launch(2, "calls", tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"rank{r}.txt").read_text() for r in range(2))
    assert first == second
    lines = first.splitlines()
    assert re.match(r"interrupted: Stopped by SIGTERM at s = 0\.1[89]", lines[0])
    assert lines[1:3] == mpi_cases.blow_ups()
    assert lines[1].startswith("failed: The ")
    assert "at node 1 (t = 0.5), particle 5" in lines[2]
    assert lines[3] == (
        "There are 2 ranks for 1 particles at each node: start at most 1 processes "
        "(mpiexec -n)."
    )
    assert "Did you mean 'euler'?" in lines[4]
    assert lines[5].startswith("failed: The prediction is not finite. The last good")


# The command line

CONFIG = """
[data]
source = "spirals"
n_samples = 20
[grid]
scheme = "euler"
n = 3
[law]
kind = "gaussian"
std = 1.0
[ensemble]
n_particles = 5
[flow]
s_end = 0.2
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    text = "import sys\nfrom mfpde.cli import main\nsys.exit(main())\n"
    path.write_text(text, encoding="utf-8")
    return path


def test_mpiexec_runs_one_configuration(config, program, tmp_path):
    out = tmp_path / "small.h5"
    done = launch(2, "run", config, "--out", out, "--no-plot", program=program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Reached s_end = 0.2.") == 1
    assert done.stderr.count("preparing kernels") == 1
    assert (
        cli.main(["run", str(config), "--out", f"{out}.1", "--no-plot", "--quiet"]) == 0
    )
    assert_close(contents(out), contents(Path(f"{out}.1")))


def test_wrong_calls_are_told_once(config, program, tmp_path):
    arguments = ("run", config, "--out", tmp_path / "a.h5", "--set", "grid.scheme=eulr")
    done = launch(2, *arguments, program=program)
    assert done.returncode == 2
    assert done.stderr.count("eulr") == 1
    assert done.stdout == ""


def as_launched(monkeypatch, rank: int, size: int) -> None:
    monkeypatch.setenv("PMI_SIZE", str(size))
    monkeypatch.setenv("PMI_RANK", str(rank))


@pytest.mark.parametrize("rank", [0, 1])
def test_without_mpi4py_nothing_runs(rank, config, monkeypatch, capsys, tmp_path):
    as_launched(monkeypatch, rank, 2)
    monkeypatch.setenv("MFPDE_NUM_THREADS", "1")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", str(config)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("pip install 'mfpde[mpi]'") == (rank == 0)
    assert not list(tmp_path.glob("*.h5"))


def test_another_mpi_than_that_of_the_launcher(monkeypatch):
    as_launched(monkeypatch, 0, 4)
    fake = types.SimpleNamespace(
        COMM_WORLD=types.SimpleNamespace(size=1),
        Get_library_version=lambda: "Open MPI v5\nmore",
    )
    monkeypatch.setitem(sys.modules, "mpi4py", types.SimpleNamespace(MPI=fake))
    with pytest.raises(
        ConfigurationError, match=r"4 processes, but mpi4py sees 1: .*v5"
    ):
        world()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1)),
        ({"PMI_SIZE": "3", "PMI_RANK": "2"}, (2, 3)),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, (1, 2)),
        ({"SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "7"}, (7, 8)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "7"}, (0, 1)),
    ],
)
def test_launchers_are_known(variables, expected, monkeypatch):
    for name in ("PMI_SIZE", "PMI_RANK", "MFPDE_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected
    assert expected == (0, 1) or n_threads() == 1


def test_other_commands_are_one_ranks_work(monkeypatch, capsys):
    as_launched(monkeypatch, 1, 2)
    monkeypatch.setenv("MFPDE_NUM_THREADS", "1")
    assert cli.main(["init"]) == 0
    assert capsys.readouterr().out == ""


def test_no_communicator_and_no_mpi4py():
    code = (
        "import sys, mfpde.run.solver, mfpde.engine.mpi\n"
        "assert mfpde.engine.mpi.world() is None\n"
        "assert 'mpi4py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with all_or_none(None) as communicator:
        assert shard_of(communicator, 3) is WHOLE
    with (
        pytest.raises(TypeError, match="`communicator` must be one of mpi4py"),
        all_or_none("world"),
    ):
        pass
