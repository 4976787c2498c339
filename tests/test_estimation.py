"""Error estimates against exact solutions: each part dominating once, and the rest.

T1, T3 and T5 of the theory are closed, so that the true error is known.
"""

from __future__ import annotations

import dataclasses
import errno
import math
import os

import numpy as np
import pytest
from exact import integrate

import mfpde
from mfpde.cli import main
from mfpde.report.summary import account
from mfpde.run.error_estimate import ErrorEstimate
from mfpde.storage.hdf5 import addition

X, Y = 1.3, 2.0


def scalar(block, y=Y):
    return mfpde.MeanFieldProblem([X], [y], block)


def exact_linear(s, a=-0.4):
    """z(1) of T1: u' = -u^2 (u - y)."""
    found = integrate(lambda _, u: -(u**2) * (u - Y), X * math.exp(a), s)
    return found[-1, 0]


def error_of(solution, exact):
    output = mfpde.predict(solution.problem, solution.grid, solution.ensemble, [[X]])
    return abs(float(output[0, 0]) - exact)


def dirac(value=-0.4):
    return mfpde.laws.Dirac(value, 1)


@pytest.mark.parametrize("n", [8, 32])
def test_depth_is_found_where_it_dominates(n):
    grid = mfpde.DepthGrid.euler(n)
    problem = scalar(mfpde.blocks.Linear(1))
    solution = mfpde.solve(problem, grid, dirac().sample(grid, 1), s_end=1.5, rtol=1e-9)
    error = mfpde.estimate_error(solution)
    true = error_of(solution, exact_linear(1.5))
    # Largest at s = 0, where it is about x e^a a^2 / (2 n).
    at_start = X * (math.exp(-0.4) - (1.0 - 0.4 / n) ** n)
    assert error.parts["output"]["depth"] == pytest.approx(at_start, rel=0.02)
    assert error.output > true
    assert error.parts["output"]["time"] < 1e-8
    assert error.parts["output"]["particles"] == 0.0
    assert error.is_complete


@pytest.mark.parametrize("scheme", ["rk4", "midpoint", "gauss"])
def test_depth_of_higher_orders(scheme):
    grid = getattr(mfpde.DepthGrid, scheme)(1)
    problem = scalar(mfpde.blocks.Linear(1))
    solution = mfpde.solve(problem, grid, dirac(1.0).sample(grid, 1), s_end=0.0)
    error = mfpde.estimate_error(solution)
    # One step is coarse, and Richardson's factor asymptotic.
    true = error_of(solution, X * math.e)
    assert error.output == pytest.approx(true, rel=0.25)


@pytest.mark.parametrize("options", [{"rtol": 1e-4, "atol": 1e-5}, {"ds": 0.02}])
def test_time_is_found_where_it_dominates(options):
    grid = mfpde.DepthGrid.gauss(6)
    problem = scalar(mfpde.blocks.Linear(1))
    stepper = "euler" if "ds" in options else "dopri5"
    start = dirac().sample(grid, 1)
    solution = mfpde.solve(
        problem, grid, start, s_end=1.5, stepper=stepper, record=[0.75], **options
    )
    error = mfpde.estimate_error(solution)
    states = mfpde.iterate(
        problem, grid, start, s_end=1.5, stepper=stepper, tstops=[0.75], **options
    )
    outputs = {state.s: state.evaluation.output[0, 0] for state in states}
    true = max(abs(outputs[s] - exact_linear(s)) for s in (0.75, 1.5))
    # Euler keeps terms of order ds after Richardson, here 3 %; the other has twice.
    allowance = 1.0 if "ds" in options else 2.0
    assert error.output == pytest.approx(allowance * true, rel=0.1)
    assert error.parts["output"]["depth"] < 0.01 * true


def test_time_of_the_bias_block_is_that_of_the_exponential():
    grid = mfpde.DepthGrid.euler(2)
    problem = scalar(mfpde.blocks.Bias(1))
    start = dirac().sample(grid, 1)
    solution = mfpde.solve(problem, grid, start, s_end=1.0, stepper="rk4", ds=0.25)
    error = mfpde.estimate_error(solution)
    exact = Y + (X - 0.4 - Y) * math.exp(-1.0)
    # rk4 against half the step: 15 / 16 of the error.
    assert error.output == pytest.approx(error_of(solution, exact), rel=0.1)
    assert error.parts["output"]["depth"] < 1e-14


METHODS = {
    "iid": {"method": "iid", "n_particles": 128},
    "sobol": {"method": "sobol", "n_particles": 128},
    "tensor": {"method": "quadrature", "nodes": (6, 4)},
    "mixed": {"method": "quadrature", "nodes": (0, 3), "n_particles": 96},
    "unknown law": {"method": "iid", "n_particles": 128},
}
S_PARTICLES = (0.0, 0.4)


def outputs_of(problem, grid, start):
    states = mfpde.iterate(problem, grid, start, s_end=S_PARTICLES[-1], rtol=1e-8)
    return [e.evaluation.output for e in states if e.s in S_PARTICLES]


@pytest.mark.parametrize("kind", METHODS)
def test_particles_are_found_where_they_dominate(kind):
    """Draw by draw: the estimate bounds three in four and is never far off."""
    grid = mfpde.DepthGrid.gauss(3)
    block = mfpde.blocks.Perceptron(1, bias=False)
    problem = mfpde.MeanFieldProblem([-0.5, X], [1.0, Y], block)
    law = mfpde.laws.Gaussian(0.3, 1.0, 2)
    finest = law.sample(grid, method="quadrature", nodes=(40, 12))
    exact = outputs_of(problem, grid, finest)
    ratios = []
    for seed in range(1 if kind == "tensor" else 8):
        start = law.sample(grid, seed=seed, **METHODS[kind])
        if kind == "unknown law":
            start = mfpde.ParticleEnsemble(start.theta)
        solution = mfpde.solve(problem, grid, start, s_end=S_PARTICLES[-1], rtol=1e-7)
        error = mfpde.estimate_error(solution)
        assert error.parts["output"]["particles"] > 0.9 * error.output
        found = outputs_of(problem, grid, start)
        ratios.append(error.output / np.abs(np.subtract(found, exact)).max())
    assert np.mean(np.array(ratios) > 1.0) >= 0.75
    assert min(ratios) > 1.0 / 3.0
    assert np.median(ratios) < 10.0


def test_observables_and_loss_have_estimates_of_their_own():
    grid = mfpde.DepthGrid.euler(16)
    problem = scalar(mfpde.blocks.Linear(1))
    solution = mfpde.solve(problem, grid, dirac().sample(grid, 1), s_end=1.5)
    error = mfpde.estimate_error(
        solution, observables={"twice": lambda evaluation: 2.0 * evaluation.output}
    )
    assert error.total("twice") == pytest.approx(2.0 * error.output)
    # At s = 0, where the error is largest: |dE| = |u - y| |du|.
    slope = Y - X * math.exp(-0.4)
    assert error.loss == pytest.approx(slope * error.output, rel=0.01)
    assert error.n_kernel_evaluations > 0
    assert "twice" in repr(error)


def test_what_cannot_be_estimated_is_told():
    grid = mfpde.DepthGrid.euler(4)
    problem = scalar(mfpde.blocks.Bilinear(1))
    theta = np.ones((4, 3, 2))

    def notes(ensemble, **options):
        error = mfpde.estimate_error(
            mfpde.solve(problem, grid, ensemble, s_end=0.1, **options)
        )
        assert not error.is_complete
        assert error.output > 0.0
        return " ".join(error.notes)

    assert "fewer than 8" in notes(mfpde.ParticleEnsemble(theta))
    # One node to an element has nothing to interpolate between.
    single = mfpde.DepthGrid.gauss(1, 4)
    known = mfpde.solve(problem, single, mfpde.ParticleEnsemble(theta), s_end=0.1)
    assert mfpde.estimate_error(known).parts["output"]["depth"] > 0.0
    uneven = mfpde.ParticleEnsemble(theta, [0.5, 0.25, 0.25])
    assert "law and rule are not known" in notes(uneven)

    class Own(mfpde.steppers.Euler):
        """A subclass of a built-in stepper is none."""

    own = Own(0.05)
    assert "stepper is the user's own" in notes(uneven, stepper=own)
    layers = mfpde.laws.Gaussian(0.0, 1.0, 2).sample(grid, 64, coupling="layer")
    assert "different nodes are independent" in notes(layers)


def test_a_budget_leaves_parts_out():
    grid = mfpde.DepthGrid.euler(4)
    problem = scalar(mfpde.blocks.Bilinear(1))
    start = mfpde.laws.Gaussian(0.0, 1.0, 2).sample(grid, 1024)
    solution = mfpde.solve(problem, grid, start, s_end=0.5)
    error = mfpde.estimate_error(solution, max_cost=4e5)
    assert math.isnan(error.parts["output"]["particles"])
    assert error.parts["output"]["time"] > 0.0
    assert "would pass `max_cost`" in error.notes[0]
    assert error.n_kernel_evaluations < 4e5


def test_a_solution_without_start_or_end_is_refused():
    grid = mfpde.DepthGrid.euler(2)
    problem = scalar(mfpde.blocks.Linear(1))
    solution = mfpde.solve(problem, grid, dirac().sample(grid, 1), s_end=0.1)
    with pytest.raises(ValueError, match="must hold its start"):
        mfpde.estimate_error(dataclasses.replace(solution, initial=None))
    with pytest.raises(ValueError, match="got a failed run"):
        mfpde.estimate_error(dataclasses.replace(solution, status="failed"))
    with pytest.raises(ValueError, match="`max_cost`"):
        mfpde.estimate_error(solution, max_cost=-1.0)


def test_totals_add_known_parts_above_rounding():
    error = ErrorEstimate(
        parts={"output": {"depth": 1e-3, "particles": math.nan, "time": 2e-3}},
        s=np.zeros(1),
        rounding={"output": 1e-15},
    )
    assert error.output == 3e-3
    assert dataclasses.replace(error, rounding={"output": 1.0}).output == 1.0


def test_the_file_keeps_the_errors_until_the_run_goes_on(tmp_path):
    path = tmp_path / "run.h5"
    grid = mfpde.DepthGrid.euler(8)
    problem = scalar(mfpde.blocks.Bilinear(1))
    start = mfpde.laws.Gaussian(0.0, 0.7, 2).sample(grid, 64)
    solution = mfpde.solve(problem, grid, start, s_end=0.5, output=path, record=[0.25])
    error = mfpde.estimate_error(solution)
    assert error.n_kernel_evaluations > 0
    with mfpde.open_run(path) as run:
        assert run.errors == error.table()
        assert run.status == "finished"
        np.testing.assert_array_equal(run.s, solution.s)
        text = " ".join(account(run).split())
        assert f"output {error.output:.1e} (depth" in text
        assert "2 standard deviations over 4 fresh draws" in text
        table = run.to_xarray("errors")
        assert table["estimate"].dims == ("quantity", "part")
    again = mfpde.resume(path, s_end=1.0)
    with mfpde.open_run(path) as run:
        assert run.errors == {}
        assert run.error_notes == ""
    # The particles at s = 0 come from the file: groups of them are compared.
    later = mfpde.estimate_error(again)
    assert later.is_complete
    assert 0.1 < later.output / error.output < 10.0
    # From the path alone, the same to the bit.
    by_path = mfpde.estimate_error(path)
    assert by_path.table() == later.table()
    with mfpde.open_run(path) as run:
        assert run.errors == later.table()


class Killed(BaseException):
    """In place of a signal that cannot be caught."""


@pytest.fixture
def finished_run(tmp_path):
    problem, grid = scalar(mfpde.blocks.Bias(1)), mfpde.DepthGrid.euler(2)
    start = mfpde.laws.Gaussian(0.0, 0.7, 1).sample(grid, 16)
    path = tmp_path / "run.h5"
    mfpde.solve(problem, grid, start, s_end=0.3, output=path, states=[0.1])
    return path


def content(path):
    with mfpde.open_run(path) as run:
        groups = [name for name in run.groups if name != "errors"]
        arrays = {n: {k: np.array(v) for k, v in run.arrays(n).items()} for n in groups}
        return arrays, run.errors


@pytest.mark.parametrize("n_written", range(4))
@pytest.mark.parametrize("part", [0, 0.5])
def test_a_kill_while_errors_are_written_leaves_the_file_as_it_was(
    finished_run, monkeypatch, n_written, part
):
    """Between any two writes, and in the middle of the first, which is the long one."""
    before, _ = content(finished_run)
    inode, calls = finished_run.stat().st_ino, []
    write = addition._write

    def killed(descriptor, piece, place):
        if len(calls) == n_written:
            if n_written == 0:
                write(descriptor, piece[: int(part * len(piece))], place)
            raise Killed
        calls.append(place)
        write(descriptor, piece, place)

    with monkeypatch.context() as patch:
        patch.setattr(addition, "_write", killed)
        with pytest.raises(Killed):
            mfpde.estimate_error(finished_run)
    after, errors = content(finished_run)
    np.testing.assert_equal(after, before)
    assert errors == {}
    # It is still a file to which the errors can be written, and which can go on.
    error = mfpde.estimate_error(finished_run)
    after, errors = content(finished_run)
    np.testing.assert_equal(after, before)
    assert errors == error.table()
    if n_written < 2:
        assert finished_run.stat().st_ino == inode
    assert mfpde.resume(finished_run, s_end=0.5).converged


def test_a_full_disk_while_errors_are_written_is_a_sentence(finished_run, monkeypatch):
    before, size = content(finished_run), finished_run.stat().st_size

    def full(descriptor, piece, place):
        os.pwrite(descriptor, piece[:100], place)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(addition, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        mfpde.estimate_error(finished_run)
    assert finished_run.stat().st_size == size
    np.testing.assert_equal(content(finished_run), before)


def test_the_start_goes_with_a_copy_of_an_ensemble():
    import pickle

    grid = mfpde.DepthGrid.euler(2)
    start = mfpde.laws.Gaussian(0.0, 1.0, 2).sample(grid, 8, method="sobol", seed=3)
    copy = pickle.loads(pickle.dumps(start))
    again = copy.provenance.ensemble(grid)
    np.testing.assert_array_equal(again.theta, start.theta)
    assert start.with_theta(start.theta).provenance is None


CONFIGURATION = """
[data]
source = "curve"
n_samples = 8

[problem.block]
kind = "bias"

[grid]
scheme = "gauss"
n_nodes = 2

[ensemble]
n_particles = 16

[flow]
s_end = 0.5
"""


def test_the_command_line_estimates_errors(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.toml").write_text(CONFIGURATION, encoding="utf-8")
    assert main(["run", "short.toml", "--no-plot", "--estimate"]) == 0
    text = capsys.readouterr().out
    assert "errors     output" in text
    assert "half the difference between two halves" not in text
    assert main(["info", "short.h5"]) == 0
    assert "fresh draws" in capsys.readouterr().out


def test_the_bar_of_the_loss_is_that_of_its_spread():
    """Eight seeds against the limit: a bar is about two standard deviations."""
    x = np.linspace(-1.0, 1.0, 12)
    problem = mfpde.MeanFieldProblem(x, np.sin(2.5 * x), mfpde.blocks.Perceptron(1))
    law, grid = mfpde.laws.Gaussian(0.0, 1.0, 3), mfpde.DepthGrid.rk4(1)
    options = {"s_end": 3.0, "rtol": 1e-4, "atol": 1e-5}
    limit = mfpde.solve(
        problem, grid, law.sample(grid, 4096, method="sobol"), **options
    )
    found = [
        mfpde.solve(problem, grid, law.sample(grid, 64, seed=seed), **options)
        for seed in range(8)
    ]
    misses = np.array([abs(each.loss[-1] - limit.loss[-1]) for each in found])
    bars = np.array([mfpde.estimate_error(each).loss_at_end for each in found])
    assert (misses < bars).sum() >= 7
    # 2, with the width of deviations estimated from four and from eight draws.
    assert 0.7 < np.median(bars) / np.sqrt(np.mean(misses**2)) < 6.0
