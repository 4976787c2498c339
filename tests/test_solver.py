"""solve, iterate, resume: records, stop rules, ledger, restarts, signals, failures."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest

import mfpde
from mfpde import (
    DecayingQuadratic,
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    evaluate,
    iterate,
    open_run,
    resume,
    solve,
)
from mfpde.blocks import Bias, Linear, Perceptron
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.readouts import Linear as LinearMap
from mfpde.recording import Every, Logarithmic, Steps
from mfpde.run.solution import finished as finished_solution
from mfpde.run.solution import quietly
from mfpde.run.stopping import StopRules
from mfpde.steppers import Euler, Step

BLOCK = Perceptron(2)
EULER = DepthGrid.euler(3)


def ensemble_on(grid, block, rng, size=0.6, n_particles=6):
    theta = size * rng.normal(size=(grid.n_nodes, n_particles, block.k))
    return ParticleEnsemble(theta, rng.dirichlet(np.full(n_particles, 2.0)))


@pytest.fixture
def case():
    """Problem, grid, ensemble: a small regression."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(9, 2))
    problem = MeanFieldProblem(x, x + 0.5 * rng.normal(size=(9, 2)), BLOCK)
    return problem, EULER, ensemble_on(EULER, BLOCK, rng)


def trained_problem(rng, n_samples=9):
    """Both maps trained, a ridge and a metric: everything that a restart must keep."""
    return MeanFieldProblem(
        rng.normal(size=(n_samples, 3)),
        rng.choice([-1.0, 1.0], size=(n_samples, 1)),
        BLOCK,
        embedding=LinearMap(rng.normal(size=(2, 3)), trainable=True, rate=0.5),
        readout=LinearMap(rng.normal(size=(1, 2)), trainable=True),
        loss="logistic",
        regulariser=DecayingQuadratic(0.1, 0.7),
        metric=[1.0, 1.0, 0.5, 0.5, 2.0],
    )


def ledger_cases():
    """Problems of every kind: name to (problem, grid, ensemble)."""
    rng = np.random.default_rng(11)
    x2, x3 = rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    rk4, gauss, midpoint = DepthGrid.rk4(2), DepthGrid.gauss(3), DepthGrid.midpoint(3)
    classes = MeanFieldProblem(
        x3,
        np.eye(3)[rng.integers(3, size=9)],
        BLOCK,
        embedding=rng.normal(size=(2, 3)),
        readout=rng.normal(size=(3, 2)),
        loss="cross_entropy",
        metric=[1, 1, 2, 2, 0],
        sample_weights=rng.dirichlet(np.ones(9)),
    )
    ridge = MeanFieldProblem(
        x3, x3 + x3[::-1], Linear(3), regulariser=DecayingQuadratic(0.3, 0.7)
    )
    kinked = Perceptron(1, "squared_relu", bias=False)
    kink = MeanFieldProblem([-1, 0.5, 1, 2], [-1, 1, 1, 3], kinked)
    regression = MeanFieldProblem(x2, x2 + 0.5 * rng.normal(size=(9, 2)), BLOCK)
    return {
        "regression": (regression, EULER, ensemble_on(EULER, BLOCK, rng)),
        "trained maps": (trained_problem(rng), rk4, ensemble_on(rk4, BLOCK, rng)),
        "classes": (classes, gauss, ensemble_on(gauss, BLOCK, rng)),
        "ridge": (ridge, midpoint, ensemble_on(midpoint, Linear(3), rng, 0.3)),
        "kink": (kink, EULER, ensemble_on(EULER, kinked, rng)),
    }


LEDGER_CASES = ledger_cases()

# ---- records and snapshots


def test_records_are_hit_exactly(case):
    wanted = [0.0, 0.05, 1 / 3, 0.5, 1.0]
    for options in ({}, {"stepper": "heun", "ds": 0.07}):
        solution = solve(*case, s_end=1.0, record=wanted, **options)
        np.testing.assert_array_equal(solution.s, wanted)
        assert solution.status == "finished"
        assert solution.converged
        assert solution.message == "Reached s_end = 1."


def test_records_hold_what_the_evaluation_says(case):
    problem, grid, ensemble = case
    solution = solve(*case, s_end=1.0, snapshots=[0.5], record=[0.5])
    np.testing.assert_array_equal(solution.snapshot_s, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(solution.s, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(solution.theta[0], ensemble.theta)
    np.testing.assert_array_equal(solution.theta[-1], solution.ensemble.theta)
    for i, theta in enumerate(solution.theta):
        found = evaluate(problem, grid, ensemble.with_theta(theta), solution.s[i])
        assert solution.loss[i] == found.loss
        assert solution.objective[i] == found.objective
        assert solution.dissipation[i] == found.dissipation
        assert solution.scalars["gradient_norm"][i] == found.gradient_norm


def test_states_and_adjoints_are_those_of_the_snapshots(case, tmp_path):
    problem, grid, ensemble = case
    options = {"snapshots": [0.3], "states": [0.3], "output": tmp_path / "a.h5"}
    solve(*case, s_end=0.5, **options)
    with open_run(tmp_path / "a.h5") as run:
        (at,) = np.flatnonzero(run.snapshot_s == 0.3)
        (here,) = np.flatnonzero(run.states.s == 0.3)
        found = evaluate(problem, grid, ensemble.with_theta(run.theta[at]), 0.3)
        np.testing.assert_array_equal(run.states.z[here], found.z)
        np.testing.assert_array_equal(run.states.p[here], found.p)


def test_start_and_end_by_default(case):
    solution = solve(*case, s_end=0.7)
    np.testing.assert_array_equal(solution.s, [0.0, 0.7])
    np.testing.assert_array_equal(solution.snapshot_s, [0.0, 0.7])
    assert repr(solution).startswith("Solution(finished, s=0.7, loss=")
    assert solution.path is None


def test_cadences_do_not_depend_on_each_other(case):
    solution = solve(*case, s_end=1.0, record=Every(0.25), snapshots=Every(0.4))
    np.testing.assert_array_equal(solution.s, [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(solution.snapshot_s, [0.0, 0.4, 0.8, 1.0])


def test_cadences_that_meet_up_to_rounding(case):
    """3 * 0.1 and 0.3 differ in the last bit, and no step lies between them."""
    solution = solve(*case, s_end=0.6, record=Every(0.1), snapshots=Every(0.3))
    assert solution.status == "finished", solution.message
    assert len(solution.s) == 7
    assert len(solution.snapshot_s) == 3
    assert set(solution.snapshot_s) <= set(solution.s)


def test_records_of_steps_do_not_change_the_steps(case):
    free = solve(*case, s_end=1.0)
    recorded = solve(*case, s_end=1.0, record=Steps(2))
    np.testing.assert_array_equal(free.ensemble.theta, recorded.ensemble.theta)
    steps = recorded.scalars["step"]
    np.testing.assert_array_equal(steps[:-1], np.arange(0, len(steps) * 2 - 2, 2))
    assert steps[-1] == recorded.n_steps == free.n_steps


def test_counts(case):
    solution = solve(*case, s_end=1.0, stepper="rk4", ds=0.25, record=Steps(1))
    assert (solution.n_steps, solution.n_evaluations) == (4, 17)
    np.testing.assert_array_equal(solution.scalars["step"], range(5))
    np.testing.assert_array_equal(solution.scalars["n_evaluations"], range(1, 18, 4))
    np.testing.assert_array_equal(solution.scalars["step_size"], [0] + [0.25] * 4)
    assert (np.diff(solution.scalars["wall_time"]) > 0).all()
    assert solution.n_rejected == 0
    assert solution.wall_time_s >= solution.scalars["wall_time"][-1]


def test_rejected_steps_are_counted():
    """A kink in the velocity: the start, the probe for the first step, six stages."""
    solution = solve(*LEDGER_CASES["kink"], s_end=4.0, rtol=1e-6, atol=1e-8)
    n_trials = solution.n_steps + solution.n_rejected
    assert solution.n_rejected > 0
    assert solution.n_evaluations == 2 + 6 * n_trials


def test_a_run_of_no_length(case):
    solution = solve(*case, s_end=0.0)
    np.testing.assert_array_equal(solution.s, [0.0])
    np.testing.assert_array_equal(solution.ensemble.theta, case[2].theta)
    assert solution.status == "finished"


def test_observers_are_recorded(case):
    solution = solve(
        *case,
        s_end=1.0,
        record=Every(0.5),
        observers={"end": lambda e: e.z_end, "twice": lambda e: 2 * e.loss},
    )
    assert solution.observations["end"].shape == (3, 9, 2)
    np.testing.assert_array_equal(solution.scalars["twice"], 2 * solution.loss)


def test_explicit_euler_is_gradient_descent(case):
    problem, grid, ensemble = case
    solution = solve(*case, s_end=0.5, stepper="euler", ds=0.1)
    theta = ensemble.theta
    for _ in range(5):
        theta = (
            theta
            + 0.1
            * evaluate(
                problem, grid, ParticleEnsemble(theta, ensemble.weights)
            ).velocity
        )
    # Another order of additions and FMA in each of five steps.
    np.testing.assert_allclose(solution.ensemble.theta, theta, rtol=1e-14, atol=1e-15)


def test_progress_is_reported_after_every_step():
    calls, case = [], LEDGER_CASES["ridge"]
    solution = solve(*case, s_end=1.0, progress=lambda *values: calls.append(values))
    assert [values[3] for values in calls] == list(range(1, solution.n_steps + 1))
    s, s_end, loss, _, objective = calls[-1]
    assert (s, s_end) == (1.0, 1.0)
    assert (loss, objective) == (solution.loss[-1], solution.objective[-1])
    assert loss < objective


def test_progress_on_the_error_stream(case, capsys):
    solve(*case, s_end=0.1, progress=True)
    assert capsys.readouterr().out == ""


# ---- ledger


@pytest.mark.parametrize("name", LEDGER_CASES)
def test_ledger_closes_and_the_objective_falls(name):
    problem, grid, ensemble = LEDGER_CASES[name]
    for rtol in (1e-4, 1e-6, 1e-8):
        solution = solve(
            problem, grid, ensemble, s_end=4.0, rtol=rtol, atol=rtol, record=Steps(1)
        )
        assert solution.status == "finished"
        residual = np.abs(solution.scalars["energy_residual"]).max()
        # Twice the tolerance of one step: the errors of most steps are far below it,
        # and kinks let a few be underestimated.
        assert residual <= 2 * rtol * (1 + solution.objective[0]), (rtol, residual)
        # Strictly: by rounding it could rise near a minimum only.
        assert (np.diff(solution.objective) < 0).all()
    if problem.regulariser is not None:
        assert solution.objective[0] > solution.loss[0]


def test_ledger_is_objective_plus_integrated_dissipation(case):
    """By another rule: Simpson's in s, on many equal steps of RK4."""
    solution = solve(*case, s_end=1.0, stepper="rk4", ds=0.01, record=Steps(1))
    simpson = np.array([1.0, *[4.0, 2.0] * 49, 4.0, 1.0]) / 300
    fall = solution.objective[0] - solution.objective[-1]
    assert simpson @ solution.dissipation == pytest.approx(fall, rel=1e-8)
    assert abs(solution.scalars["energy_residual"][-1]) < 1e-9


def test_a_loss_whose_gradient_has_the_wrong_sign(case):
    """The objective rises along the flow: that must end, not crawl."""

    class Wrong:
        def values(self, output, y):
            return 0.5 * ((output - y) ** 2).sum(axis=1)

        def gradients(self, output, y):
            return y - output

    problem, grid, ensemble = case
    wrong = MeanFieldProblem(problem.x, problem.y, problem.block, loss=Wrong())
    states = iterate(wrong, grid, ensemble, s_end=1.0)
    with pytest.raises(ConvergenceError, match=r"tolerance|objective"):
        for _ in itertools.islice(states, 100):
            pass


# ---- stop rules


@pytest.fixture
def relaxing():
    """T5: thetabar tends to e* at rate 1, E - E* = |thetabar - e*|^2 / 2."""
    problem = MeanFieldProblem([0.0, 1.0], [1.5, 1.5], Bias(1))
    return problem, DepthGrid.euler(1), ParticleEnsemble(np.zeros((1, 1, 1)))


def test_stop_when_the_loss_is_low(case):
    free = solve(*case, s_end=50.0, record=Steps(1))
    limit = float(free.loss[len(free.loss) // 2]) * 1.0001
    solution = solve(*case, s_end=50.0, loss_below=limit, record=Steps(1))
    assert solution.status == "finished"
    at = f"at s = {solution.s[-1]:g}."
    assert solution.message == f"The loss is below {limit:g} {at}"
    assert solution.loss[-1] < limit <= solution.loss[-2]
    assert solution.s[-1] < 50.0


def test_stop_when_the_gradient_is_small(case):
    solution = solve(*case, s_end=500.0, gradient_norm_below=0.05, record=Steps(1))
    assert solution.status == "finished"
    at = f"at s = {solution.s[-1]:g}."
    assert solution.message == f"The gradient norm is below 0.05 {at}"
    norms = solution.scalars["gradient_norm"]
    assert norms[-1] < 0.05 <= norms[-2]


@pytest.mark.parametrize("name", ["loss_below", "gradient_norm_below"])
@pytest.mark.parametrize(
    "stepper",
    [
        {},
        # Of order 2: looser, or it takes thousands of steps.
        {"stepper": "rkc2", "rtol": 1e-4, "atol": 1e-6},
        {"stepper": "auto"},
        {"stepper": "rk4", "ds": 0.3},
    ],
    ids=["dopri5", "rkc2", "auto", "rk4"],
)
def test_a_limit_ends_a_run_on_its_crossing(relaxing, name, stepper, tmp_path):
    """E = (1 + 4 exp(-2 s)) / 8 and |grad E| = exp(-s): not the first step beyond."""
    limit, expected = (0.25, 0.5 * np.log(4.0)), (0.1, np.log(10.0))
    limit, expected = limit if name == "loss_below" else expected
    path, options = tmp_path / "a.h5", {"rtol": 1e-8, "atol": 1e-11, **stepper}
    options |= {"record": Steps(1), "s_end": 6.0}
    found = solve(*relaxing, output=path, **{name: limit}, **options)
    accuracy = 100 * options["rtol"] if stepper.get("stepper") != "rk4" else 1e-3
    assert found.status == "finished"
    assert found.s[-1] == pytest.approx(expected, abs=accuracy)
    columns = found.scalars | {"loss_below": found.loss}
    columns["gradient_norm_below"] = found.scalars["gradient_norm"]
    assert limit * (1.0 - 10 * options["rtol"]) < columns[name][-1] < limit
    with open_run(path) as run:
        assert run.s[-1] == found.s[-1]
        assert run.theta[-1].tobytes() == found.ensemble.theta.tobytes()
    with pytest.raises(ValueError, match="later time than that"):
        resume(path, s_end=found.s[-1])
    # What only the end called for is dropped: on it goes as if it had not ended.
    again, whole = resume(path, s_end=6.0), solve(*relaxing, **options)
    assert again.s.tobytes() == whole.s.tobytes()
    assert again.loss.tobytes() == whole.loss.tobytes()
    assert again.ensemble.theta.tobytes() == whole.ensemble.theta.tobytes()


def test_of_two_limits_the_first_one_ends_a_run(relaxing):
    limits = {"loss_below": 0.25, "gradient_norm_below": 0.1}
    found = solve(*relaxing, s_end=6.0, record=Steps(1), rtol=1e-8, **limits)
    assert found.message.startswith("The loss is below 0.25")
    assert found.s[-1] == pytest.approx(0.5 * np.log(4.0), abs=1e-6)
    # A step of this stepper costs six evaluations; the search makes several.
    assert np.diff(found.scalars["n_evaluations"])[-1] > 12


def test_the_limit_of_the_loss_leaves_the_regulariser_out():
    case = LEDGER_CASES["ridge"]
    free = solve(*case, s_end=4.0)
    limit = 0.5 * (free.loss[0] + free.loss[-1])
    found = solve(*case, s_end=4.0, loss_below=limit, rtol=1e-8, atol=1e-10)
    assert found.loss[-1] == pytest.approx(limit, rel=1e-6)
    assert found.objective[-1] > 1.001 * limit


def test_gradient_descent_ends_after_an_iteration(relaxing):
    """Between two iterations there is nothing."""
    options = {"stepper": "euler", "ds": 0.25, "record": Steps(1)}
    found = solve(*relaxing, s_end=20.0, loss_below=0.25, **options)
    assert found.s.tolist() == [0.25 * n for n in range(len(found.s))]
    assert found.loss[-1] < 0.25 <= found.loss[-2]


def test_stop_when_the_time_is_over(case, tmp_path):
    solution = solve(*case, s_end=1e6, wall_time_s=0.05, output=tmp_path / "a.h5")
    assert solution.status == "interrupted"
    assert not solution.converged
    assert solution.message.startswith("The wall time of 0.05 s is over at s = ")
    with open_run(tmp_path / "a.h5") as run:
        assert (run.status, run.message) == (solution.status, solution.message)
        assert run.s[-1] == solution.s[-1] > 0


@pytest.mark.parametrize("rule", [{}, {"loss_below": 0.3}])
def test_a_run_at_its_end_is_finished_however_long_it_took(relaxing, rule):
    options = {"stepper": "euler", "ds": 0.7, "wall_time_s": 1e-9}
    found = solve(*relaxing, s_end=0.7, **options, **rule)
    assert found.status == "finished"
    assert found.message.startswith("The loss" if rule else "Reached")


def test_a_rule_that_holds_at_the_start_makes_no_step(case):
    solution = solve(*case, s_end=1.0, loss_below=1e3)
    assert (solution.n_steps, solution.status) == (0, "finished")
    np.testing.assert_array_equal(solution.s, [0.0])


# ---- iterate


def test_iterate_yields_the_start_and_every_step(case):
    states = list(iterate(*case, s_end=1.0, tstops=[0.3, 5.0, -1.0]))
    assert [state.step for state in states] == list(range(len(states)))
    assert states[0].s == 0.0
    np.testing.assert_array_equal(states[0].evaluation.ensemble.theta, case[2].theta)
    times = [state.s for state in states]
    assert 0.3 in times
    assert times[-1] == 1.0
    assert times == sorted(times)
    solution = solve(*case, s_end=1.0, record=[0.3])
    last = states[-1]
    np.testing.assert_array_equal(
        last.evaluation.ensemble.theta, solution.ensemble.theta
    )
    assert last.n_evaluations == solution.n_evaluations
    assert last.energy_residual == solution.scalars["energy_residual"][-1]


def test_iterate_can_be_left_at_any_time(case):
    states = iterate(*case, s_end=1e9)
    first, second = next(states), next(states)
    states.close()
    assert first.s == 0.0 < second.s


def test_iterate_with_trained_maps():
    rng = np.random.default_rng(3)
    problem, grid = trained_problem(rng), DepthGrid.rk4(1)
    states = list(iterate(problem, grid, ensemble_on(grid, BLOCK, rng), s_end=0.5))
    moved = states[-1].evaluation.problem
    assert np.abs(moved.embedding.matrix - problem.embedding.matrix).max() > 1e-4
    np.testing.assert_allclose(moved.z0, problem.x @ moved.embedding.matrix.T)
    # The problem that was given stays what it was.
    assert states[0].evaluation.problem.z0.tobytes() == problem.z0.tobytes()


def test_iterate_checks_its_arguments_at_once(case):
    with pytest.raises(
        ValueError, match="`s_end` must be finite and at least the pres"
    ):
        iterate(*case, s_end=-1.0)


# ---- resume


OBSERVERS = {"norm": lambda e: np.abs(e.z_end).max(), "end": lambda e: e.z_end[:2]}
STEPPERS = {
    "euler": {"stepper": "euler", "ds": 0.15},
    "heun": {"stepper": "heun", "ds": 0.15},
    "rk4": {"stepper": "rk4", "ds": 0.15},
    "dopri5": {"rtol": 1e-7, "atol": 1e-9},
    "rkc2": {"stepper": "rkc2", "rtol": 1e-4, "atol": 1e-4},
    "langevin": {"stepper": mfpde.steppers.Langevin(0.1, 0.15, seed=3)},
}


def contents(path):
    """All that a run file says but for times of the clock: name to array."""
    found = {}
    with open_run(path) as run:
        for name in run.scalars:
            if name != "wall_time":
                found[f"scalars/{name}"] = np.asarray(run.scalars[name])
        for name in run.observations:
            found[f"observations/{name}"] = np.asarray(run.observations[name])
        for name in run.trainable:
            found[f"trainable/{name}"] = np.asarray(run.trainable[name][:])
        found |= {"s": run.s, "snapshot_s": run.snapshot_s, "theta": run.theta[:]}
        if run.states is not None:
            found |= {"states/z": run.states.z[:], "states/p": run.states.p[:]}
    return found


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def trained_run(path, **options):
    rng = np.random.default_rng(3)
    problem, grid = trained_problem(rng), DepthGrid.midpoint(2)
    return solve(
        problem,
        grid,
        ensemble_on(grid, BLOCK, rng),
        output=path,
        record=Every(0.15),
        snapshots=[0.3, 0.5],
        states=[0.3],
        **{"s_end": 0.6, "observers": OBSERVERS} | options,
    )


@pytest.mark.parametrize("name", STEPPERS)
def test_a_run_of_many_sessions_has_the_bits_of_one(name, tmp_path):
    """A wall time so short that every session makes one step."""
    whole = trained_run(tmp_path / "whole.h5", **STEPPERS[name])
    path = tmp_path / "parts.h5"
    part = trained_run(path, wall_time_s=1e-9, **STEPPERS[name])
    n_sessions = 1
    while part.status == "interrupted":
        assert part.n_steps == n_sessions
        part = resume(path, observers=OBSERVERS)
        n_sessions += 1
    assert (part.status, part.message) == ("finished", whole.message)
    assert n_sessions >= whole.n_steps > 4
    assert_same_bits(contents(path), contents(tmp_path / "whole.h5"))
    # The solutions in memory are those of the whole run, too.
    assert part.ensemble.theta.tobytes() == whole.ensemble.theta.tobytes()
    for each in ("embedding", "readout"):
        matrices = [getattr(s.problem, each).matrix for s in (part, whole)]
        assert matrices[0].tobytes() == matrices[1].tobytes()
    np.testing.assert_array_equal(part.s, whole.s)
    np.testing.assert_array_equal(part.loss, whole.loss)
    np.testing.assert_array_equal(part.observations["end"], whole.observations["end"])
    counts = [(s.n_steps, s.n_evaluations, s.n_rejected) for s in (part, whole)]
    assert counts[0] == counts[1]
    # The clock goes on where the session before had ended.
    assert (np.diff(part.scalars["wall_time"]) > 0.0).all()
    assert part.wall_time_s >= part.scalars["wall_time"][-1]
    np.testing.assert_array_equal(
        part.scalars["energy_residual"], whole.scalars["energy_residual"]
    )


class Crash(Exception):
    """Raised in the middle of a run."""


def crash_at(step):
    def progress(s, s_end, loss, n_steps, objective):
        if n_steps == step:
            raise Crash

    return progress


@pytest.mark.parametrize("checkpoint_every_s", [1e-9, 1e9])
@pytest.mark.parametrize("step", [1, 4])
def test_a_run_that_crashed_has_the_bits_of_one(step, checkpoint_every_s, tmp_path):
    """With a checkpoint after every step, and with that of the start alone."""
    options = STEPPERS["dopri5"] | {"checkpoint_every_s": checkpoint_every_s}
    trained_run(tmp_path / "whole.h5", **options)
    path = tmp_path / "crashed.h5"
    with pytest.raises(Crash):
        trained_run(path, progress=crash_at(step), **options)
    with open_run(path) as run:
        assert (run.status, run.message) == ("failed", "Crash: ")
    kept = mfpde.storage.read_checkpoint(path)[1]["step"]
    assert kept == (step if checkpoint_every_s < 1.0 else 0)
    with pytest.raises(Crash):
        resume(path, observers=OBSERVERS, progress=crash_at(step + 2))
    assert resume(path, observers=OBSERVERS).status == "finished"
    assert_same_bits(contents(path), contents(tmp_path / "whole.h5"))


def test_an_observer_that_fails_leaves_a_run_to_continue(tmp_path):
    trained_run(tmp_path / "whole.h5")
    path = tmp_path / "run.h5"

    def failing(evaluation):
        if evaluation.s > 0.3:
            raise Crash
        return np.abs(evaluation.z_end).max()

    with pytest.raises(Crash):
        trained_run(path, observers=OBSERVERS | {"norm": failing})
    assert resume(path, observers=OBSERVERS).status == "finished"
    assert_same_bits(contents(path), contents(tmp_path / "whole.h5"))


@pytest.mark.parametrize("name", ["euler", "heun", "rk4", "langevin"])
def test_a_finished_run_extended_by_fixed_steps_has_the_bits_of_one(name, tmp_path):
    trained_run(tmp_path / "whole.h5", s_end=1.2, **STEPPERS[name])
    path = tmp_path / "run.h5"
    trained_run(path, **STEPPERS[name])
    extended = resume(path, s_end=1.2, observers=OBSERVERS)
    assert extended.message == "Reached s_end = 1.2."
    assert_same_bits(contents(path), contents(tmp_path / "whole.h5"))


def test_a_finished_adaptive_run_extended(tmp_path):
    """The old end cuts a step; the rest agrees to the tolerance."""
    whole = trained_run(tmp_path / "whole.h5", s_end=1.3)
    first = trained_run(tmp_path / "run.h5")
    extended = resume(tmp_path / "run.h5", s_end=1.3, observers=OBSERVERS)
    np.testing.assert_array_equal(extended.s, whole.s)
    assert extended.n_steps > first.n_steps
    np.testing.assert_allclose(
        extended.ensemble.theta, whole.ensemble.theta, rtol=1e-5, atol=1e-6
    )
    assert (np.diff(extended.objective) < 0).all()
    with open_run(tmp_path / "run.h5") as run:
        assert (run.status, run.s[-1], run.snapshot_s[-1]) == ("finished", 1.3, 1.3)


@pytest.mark.parametrize("name", ["euler", "dopri5"])
def test_an_extension_whose_old_end_is_a_record_up_to_rounding(name, case, tmp_path):
    """s_end = 0.3 while a longer run records at 3 * 0.1, one bit later."""
    path = tmp_path / "a.h5"
    options = {"euler": {"stepper": "euler", "ds": 0.05}, "dopri5": {}}[name]
    solve(*case, s_end=0.3, record=Every(0.1), output=path, **options)
    extended = resume(path, s_end=0.6)
    assert extended.status == "finished", extended.message
    np.testing.assert_allclose(extended.s, 0.1 * np.arange(7), rtol=1e-12)


def test_the_rule_that_ended_a_run_does_not_end_its_extension(case, tmp_path):
    path = tmp_path / "a.h5"
    first = solve(*case, s_end=1.0, loss_below=0.23, output=path)
    assert "is below" in first.message
    assert first.s[-1] < 1.0
    extended = resume(path, s_end=1.5)
    assert extended.message == "Reached s_end = 1.5."
    assert extended.loss[-1] < first.loss[-1]


@pytest.mark.parametrize("rule", ["loss_below", "gradient_norm_below"])
def test_a_run_that_was_stopped_keeps_its_rules(rule, relaxing, tmp_path):
    path, options = tmp_path / "a.h5", {"s_end": 6.0, rule: 0.25}
    whole = solve(*relaxing, **options)
    part = solve(*relaxing, **options, output=path, wall_time_s=1e-9)
    assert part.status == "interrupted"
    while part.status == "interrupted":
        part = found = resume(path)
    assert "is below 0.25" in found.message
    assert (found.message, found.s[-1]) == (whole.message, whole.s[-1])


def test_a_resumed_run_with_parts_of_the_users_own(case, tmp_path):
    class Own:
        def values(self, output, y):
            return 0.5 * ((output - y) ** 2).sum(axis=1)

        def gradients(self, output, y):
            return output - y

    class OwnStepper:
        order = 1

        def step(self, evaluate, point, target, memory):
            count = {"count": memory.get("count", 0) + 1}
            step = Euler(0.1).step(evaluate, point, target, {})
            return Step(step.point, step.size, count, step.n_evaluations)

    problem, grid, ensemble = case
    own = MeanFieldProblem(problem.x, problem.y, problem.block, loss=Own())
    path = tmp_path / "a.h5"
    options = {"stepper": OwnStepper(), "output": path}
    solve(own, grid, ensemble, s_end=0.5, **options)
    with pytest.raises(
        ValueError, match="`stepper` is needed: the run used a stepper o"
    ):
        resume(path, s_end=1.0, problem=own)
    with pytest.raises(ValueError, match=r"`problem` is needed to resume .* loss Own"):
        resume(path, s_end=1.0, stepper=OwnStepper())
    resume(path, s_end=1.0, problem=own, stepper=OwnStepper())
    whole = solve(*case, s_end=1.0, stepper="euler", ds=0.1)
    with open_run(path) as run:
        assert run.theta[-1].tobytes() == whole.ensemble.theta.tobytes()


# ---- errors of resume


@pytest.fixture
def finished(case, tmp_path):
    solve(*case, s_end=1.0, output=tmp_path / "a.h5")
    return tmp_path / "a.h5"


def test_resume_of_a_finished_run(finished):
    before = contents(finished)
    with pytest.raises(
        ValueError, match=r"at s = 1 already .*Give `s_end` a later tim"
    ):
        resume(finished)
    for s_end in (1.0, 0.5):
        with pytest.raises(ValueError, match=f"later time than that, got {s_end:g}"):
            resume(finished, s_end=s_end)
    assert_same_bits(contents(finished), before)


def test_resume_of_a_run_finished_by_a_rule(case, tmp_path):
    path = tmp_path / "a.h5"
    solve(*case, s_end=1.0, loss_below=0.23, output=path)
    with pytest.raises(
        ValueError, match=r"is finished: The loss .* Give `s_end` to go"
    ):
        resume(path)


@pytest.mark.parametrize(
    ("s_end", "error", "message"),
    [
        (np.nan, ValueError, "`s_end` must be finite"),
        (np.inf, ValueError, "`s_end` must be finite"),
        ("2", TypeError, "`s_end` must be a number"),
    ],
)
def test_resume_to_a_wrong_end(finished, s_end, error, message):
    with pytest.raises(error, match=message):
        resume(finished, s_end=s_end)


def test_resume_without_file_or_checkpoint(finished, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*missing\.h5"):
        resume(tmp_path / "missing.h5")
    (tmp_path / "a.ckpt.h5").unlink()
    with pytest.raises(
        mfpde.errors.StorageFormatError, match=r"no checkpoint a\.ckpt\.h5 beside"
    ):
        resume(finished, s_end=2.0)


def test_resume_with_other_observers(finished, tmp_path):
    with pytest.raises(
        ValueError, match=r"`observers` must be those of the run, \[\].*"
    ):
        resume(finished, s_end=2.0, observers={"norm": OBSERVERS["norm"]})
    trained_run(tmp_path / "b.h5")
    with pytest.raises(ValueError, match=r"`observers` .* missing or new: end, norm"):
        resume(tmp_path / "b.h5", s_end=2.0)


def other_problems():
    x = np.ones((9, 2))
    return {
        "block": MeanFieldProblem(x, x, Perceptron(2, bias=False)),
        "data": MeanFieldProblem(x[:5], x[:5], BLOCK),
        "kind": "problem",
    }


@pytest.mark.parametrize("name", ["block", "data", "kind"])
def test_resume_with_another_problem(finished, name):
    with pytest.raises((TypeError, ValueError), match="`problem` must"):
        resume(finished, s_end=2.0, problem=other_problems()[name])


def test_resume_with_other_targets(case, finished):
    problem = MeanFieldProblem(case[0].x, case[0].y + 1.0, BLOCK)
    with pytest.raises(ValueError, match=r"`problem` must have the .* `y` differs"):
        resume(finished, s_end=2.0, problem=problem)


def test_resume_with_another_stepper(finished):
    with pytest.raises(ValueError, match="`stepper`"):
        resume(finished, s_end=2.0, stepper="euler")


def test_resume_of_a_run_that_is_being_written(case, tmp_path):
    path = tmp_path / "a.h5"
    errors = []

    def meddle(s, s_end, loss, n_steps, objective):
        if n_steps == 2:
            with pytest.raises(OSError, match="writ") as caught:
                resume(path)
            errors.append(caught)

    solution = solve(*case, s_end=1.0, output=path, progress=meddle)
    assert errors
    assert solution.status == "finished"


# ---- signals


@pytest.fixture
def heard():
    """Signals that a handler of the user's own has got; it returns."""
    numbers = []
    ours = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda n, _: numbers.append(n)) for number in ours]
    yield numbers
    for number, handler in zip(ours, before, strict=True):
        signal.signal(number, handler)


def sending(number, at_step=3):
    """Progress that sends a signal to this process after a step."""

    def progress(s, s_end, loss, n_steps, objective):
        if n_steps == at_step:
            signal.raise_signal(number)

    return progress


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_a_run_in_order(name, tmp_path, heard):
    """And it is delivered again, so that nobody goes on with what is unfinished."""
    path = tmp_path / "a.h5"
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(mfpde.errors.Interrupted) as ending:
        trained_run(path, progress=sending(number))
    solution = ending.value.solution
    assert isinstance(ending.value, KeyboardInterrupt)
    assert heard == ([] if name == "SIGINT" else [number])
    assert signal.getsignal(number) is before
    assert solution.status == "interrupted"
    assert solution.message == f"Stopped by {name} at s = {solution.s[-1]:g}."
    assert solution.n_steps == 3
    with open_run(path) as run:
        assert (run.status, run.message) == ("interrupted", solution.message)
        assert run.s[-1] == solution.s[-1]
        assert run.theta[-1].tobytes() == solution.ensemble.theta.tobytes()
    resume(path, observers=OBSERVERS)
    trained_run(tmp_path / "whole.h5")
    assert_same_bits(contents(path), contents(tmp_path / "whole.h5"))


def test_a_loop_of_solves_ends_at_the_signal(case):
    """Seen under `timeout`: a table of runs that were cut short, without a word."""
    done = []

    def table():
        for i in range(3):
            progress = sending(signal.SIGINT, 2) if i == 1 else False
            done.append(solve(*case, s_end=0.5, progress=progress))

    with pytest.raises(KeyboardInterrupt):
        table()
    assert [found.s[-1] for found in done] == [0.5]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(case, number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        found = solve(*case, s_end=0.5, progress=sending(number))
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
    assert found.status == "finished"


def test_a_handler_of_the_users_own_may_raise(case):
    class Timeout(Exception):
        pass

    def late(*_):
        raise Timeout("late")

    before = signal.signal(signal.SIGTERM, late)
    try:
        with pytest.raises(Timeout, match="late"):
            solve(*case, s_end=0.5, progress=sending(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_in_the_last_step_is_delivered_of_a_finished_run(case):
    def last(s, s_end, loss, n_steps, objective):
        if s == s_end:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(mfpde.errors.Interrupted) as ending:
        solve(*case, s_end=0.5, progress=last)
    assert ending.value.solution.status == "finished"


def test_an_error_does_not_swallow_a_signal(case):
    def both(*_):
        signal.raise_signal(signal.SIGINT)
        raise ValueError("own")

    with pytest.raises(KeyboardInterrupt):
        solve(*case, s_end=0.5, progress=both)


def test_a_second_signal_acts_at_once(case, tmp_path):
    def impatient(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        solve(*case, s_end=1e3, output=tmp_path / "a.h5", progress=impatient)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with open_run(tmp_path / "a.h5") as run:
        assert run.status == "interrupted"


def test_runs_outside_the_main_thread(case):
    found = []
    thread = threading.Thread(target=lambda: found.append(solve(*case, s_end=0.1)))
    thread.start()
    thread.join()
    assert found[0].status == "finished"


LONG_RUN = """
import sys
import numpy as np
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, solve
from mfpde.blocks import Perceptron
from mfpde.recording import Steps

rng = np.random.default_rng(0)
problem = MeanFieldProblem([[1.0, 0.0], [0.0, 1.0]], [[0, 1], [1, 1]], Perceptron(2))
ensemble = ParticleEnsemble(rng.normal(size=(3, 4, 5)))

def progress(s, s_end, loss, n_steps, objective):
    if n_steps == 5:
        print("running", flush=True)

solution = solve(
    problem, DepthGrid.euler(3), ensemble, s_end=1e9, stepper="heun", ds=0.01,
    record=Steps(100), output=sys.argv[1], progress=progress,
)
print(solution.status, solution.message, flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_to_another_process_leave_a_whole_file(name, tmp_path):
    path = tmp_path / "a.h5"
    with subprocess.Popen(
        [sys.executable, "-c", LONG_RUN, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "running\n", process.stderr.read()
        time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    if name == "SIGINT":
        assert process.returncode == 1
        assert err.splitlines()[-1].startswith(
            "mfpde.errors.Interrupted: Stopped by SIGINT at s = "
        )
    else:
        assert (process.returncode, err) == (-getattr(signal, name), "")
    assert out == ""
    with open_run(path) as run:
        assert run.status == "interrupted"
        assert run.message.startswith(f"Stopped by {name} at s = ")
        assert np.isfinite(run.theta[-1]).all()
        assert (np.diff(run.s) > 0).all()
    with h5py.File(path, "r") as file:
        assert len(file["scalars/s"]) == len(file["scalars/loss"])
    assert os.path.exists(tmp_path / "a.ckpt.h5")


# ---- failures


class Wall:
    """A loss that is no number beyond a distance."""

    def __init__(self, distance):
        self.distance = distance

    def values(self, output, y):
        values = 0.5 * ((output - y) ** 2).sum(axis=1)
        return np.where(np.abs(output).max() < self.distance, values, np.nan)

    def gradients(self, output, y):
        return output - y


def towards_a_wall():
    """The outputs move from 0.5 towards 3, and the wall stands at 2."""
    block = Perceptron(1, "squared_relu", bias=False)
    problem = MeanFieldProblem([0.5], [3.0], block, loss=Wall(2.0))
    return problem, EULER, ParticleEnsemble(np.ones((3, 2, 2)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"stepper": "euler", "ds": 0.1},
            "^The loss is not finite, at training time s",
        ),
        ({"stepper": "rk4", "ds": 0.1}, "^The loss is not finite, at training time s"),
        ({}, r"^The step at training time s = \S+ fell to .* The loss is not finite"),
    ],
    ids=["euler", "rk4", "dopri5"],
)
def test_a_failure_keeps_the_last_good_state(options, reason, tmp_path):
    problem, grid, ensemble = towards_a_wall()
    path = tmp_path / "a.h5"
    options = {"s_end": 50.0, "output": path, "record": Steps(1), **options}
    with pytest.warns(
        mfpde.errors.UnfinishedWarning, match="^The run ended early"
    ) as told:
        solution = solve(problem, grid, ensemble, **options)
    assert [each.filename for each in told] == [__file__]
    assert solution.status == "failed"
    assert not solution.converged
    assert solution.message.endswith(
        f"The last good state, at s = {solution.s[-1]:g}, is kept."
    )
    with pytest.raises(AssertionError, match=reason):
        # The message as a whole, matched by the tool that shows it when it differs.
        raise AssertionError(solution.message)
    assert 0.0 < solution.s[-1] < 50.0
    with pytest.raises(NotFiniteError, match="The loss is not finite"):
        finished_solution(solution)
    assert np.isfinite(solution.loss).all()
    with open_run(path) as run:
        assert (run.status, run.message) == ("failed", solution.message)
        assert run.theta[-1].tobytes() == solution.ensemble.theta.tobytes()
        assert run.s[-1] == solution.s[-1]
    last = evaluate(problem, grid, solution.ensemble)
    assert last.loss == solution.loss[-1]
    if "stepper" not in options:
        # Error control goes up to the wall.
        assert np.abs(last.output).max() == pytest.approx(2.0, abs=1e-3)


def test_a_run_that_failed_can_be_continued_without_the_wall(tmp_path):
    problem, grid, ensemble = towards_a_wall()
    path = tmp_path / "a.h5"
    quietly(solve)(problem, grid, ensemble, s_end=50.0, output=path)
    free = MeanFieldProblem(problem.x, problem.y, problem.block)
    assert resume(path, problem=free).status == "finished"


def test_a_blow_up_at_the_start_writes_no_file(tmp_path):
    problem, grid, ensemble = towards_a_wall()
    far = ensemble.with_theta(3.0 * ensemble.theta)
    with pytest.raises(NotFiniteError, match=r"The loss is not finite, at .* s = 0"):
        solve(problem, grid, far, s_end=1.0, output=tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_the_worst_particle_is_named():
    """A velocity that no step can follow: it jumps where a particle passes 1.5."""

    class Jump:
        def values(self, output, y):
            return np.where(output[:, 0] < 1.5, -output[:, 0], 10.0 - output[:, 0])

        def gradients(self, output, y):
            return np.full_like(output, -1.0)

    problem = MeanFieldProblem([0.5], [3.0], towards_a_wall()[0].block, loss=Jump())
    _, grid, ensemble = towards_a_wall()
    solution = quietly(solve)(problem, grid, ensemble, s_end=50.0)
    assert solution.status == "failed"
    assert "fell to" in solution.message
    assert "Worst: " in solution.message
    # A tolerance that is missed is no blow-up.
    with pytest.raises(ConvergenceError, match="fell to"):
        finished_solution(solution)


@pytest.mark.parametrize(
    ("name", "ds"), [("euler", 2.1), ("heun", 2.1), ("rk4", 3.0), ("euler", 300.0)]
)
def test_steps_that_blow_up_but_stay_finite_fail(name, ds, tmp_path):
    """theta' = -(theta - 1) for a bias: unstable for ds > 2 (2.78 with rk4)."""
    problem = MeanFieldProblem([0.0], [1.0], Bias(1))
    case = problem, DepthGrid.euler(1), ParticleEnsemble(np.zeros((1, 1, 1)))
    path = tmp_path / "a.h5"
    options = {"stepper": name, "ds": ds, "s_end": 1000.0 * ds, "output": path}
    with pytest.warns(mfpde.errors.UnfinishedWarning, match="the steps are too large"):
        found = solve(*case, **options)
    assert found.status == "failed"
    at = rf"at step {found.n_steps} \(s = {found.s[-1]:g}\): the steps are too large"
    with pytest.raises(ConvergenceError, match=at):
        finished_solution(found)
    assert np.isfinite(found.loss).all()
    assert 1e12 < found.loss[-1] / found.loss[0] < 1e20
    with open_run(path) as run:
        assert (run.status, run.message) == ("failed", found.message)


def test_rises_that_end_well_do_not_fail():
    """From near zero loss, unstable there, to a flatter place; and noise from zero."""
    problem = MeanFieldProblem([1e-3], [1.0], Bias(1))
    ends = {"s_end": 5.0}
    start = ParticleEnsemble(np.full((1, 1, 1), 1.0 - 1e-3 - 1e-9))
    case = problem, DepthGrid.euler(1), start
    noise = mfpde.steppers.Langevin(10.0, 0.1)
    assert solve(*case, stepper=noise, **ends).status == "finished"
    found = solve(*case, stepper="euler", ds=2.5, **ends)
    assert found.loss[-1] > 2.0 * found.loss[0]
    assert found.status == "finished"


class TestFailedWrites:
    """The file says that the run failed, where it can still be written."""

    def test_observer(self, case, tmp_path):
        def broken(evaluation):
            if evaluation.s > 0.2:
                raise KeyError("own")
            return 1.0

        options = {"observers": {"own": broken}, "record": Every(0.1)}
        with pytest.raises(KeyError, match="own"):
            solve(*case, s_end=1.0, output=tmp_path / "a.h5", **options)
        with open_run(tmp_path / "a.h5") as run:
            assert run.status == "failed"
            assert run.message == "KeyError: 'own'"
            assert run.s[-1] == pytest.approx(0.2)

    def test_checkpoint(self, case, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        def stop(s, s_end, loss, n_steps, objective):
            monkeypatch.setattr("mfpde.storage.writer.write_checkpoint", full)

        options = {"progress": stop, "checkpoint_every_s": 1e-9}
        with pytest.raises(OSError, match="No space left"):
            solve(*case, s_end=1.0, output=tmp_path / "a.h5", **options)
        with open_run(tmp_path / "a.h5") as run:
            assert run.status == "failed"
            assert "No space left" in run.message

    def test_progress(self, case, tmp_path):
        def broken(*_):
            raise OSError(5, "Input/output error")

        with pytest.raises(OSError, match="Input/output"):
            solve(*case, s_end=1.0, output=tmp_path / "a.h5", progress=broken)
        with open_run(tmp_path / "a.h5") as run:
            assert run.status == "failed"


# ---- bad arguments


BAD = [
    ({"s_end": -1.0}, ValueError, "`s_end` must be finite and at least .* 0, got -1.0"),
    ({"s_end": np.nan}, ValueError, "`s_end` must be finite"),
    ({"s_end": np.inf}, ValueError, "`s_end` must be finite"),
    ({"s_end": "1"}, TypeError, "`s_end` must be a number, got '1'"),
    ({"s_end": None}, TypeError, "`s_end` must be a number, got None"),
    ({"s_end": True}, TypeError, "`s_end` must be a number, got True"),
    ({"stepper": "dopri"}, ValueError, "Did you mean 'dopri5'"),
    ({"stepper": "euler"}, ValueError, "`ds` is needed by the fixed stepper 'euler'"),
    ({"stepper": "euler", "ds": -0.1}, ValueError, "`ds` must be positive and finite"),
    ({"ds": 0.1}, ValueError, "`ds` must be None for the adaptive stepper 'dopri5'"),
    ({"rtol": 0.0}, ValueError, "`rtol` must be positive and finite, got 0.0"),
    ({"atol": -1.0}, ValueError, "`atol` must be positive and finite, got -1.0"),
    ({"rtol": "1e-3"}, TypeError, "`rtol` must be a number"),
    ({"record": "all"}, ValueError, "`record` must be a sequence of training times"),
    ({"snapshots": [-1.0]}, ValueError, "`snapshots` must be a sequence of .*at leas"),
    ({"states": {"a": 1}}, TypeError, "`states` must be a sequence of training times"),
    ({"loss_below": 0.0}, ValueError, "`loss_below` must be positive and finite"),
    ({"gradient_norm_below": -1}, ValueError, "`gradient_norm_below` must be positive"),
    ({"wall_time_s": "1"}, TypeError, "`wall_time_s` must be a number, got '1'"),
    ({"checkpoint_every_s": 0}, ValueError, "`checkpoint_every_s` must be positive"),
    (
        {"theta_dtype": "f2"},
        ValueError,
        "`theta_dtype` must be one of f8, f4, got 'f2'",
    ),
    ({"observers": {"loss": len}}, ValueError, "must not reuse the name 'loss'"),
    ({"observers": {"a": 1}}, TypeError, r"`observers\['a'\]` must be a function"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_arguments_are_told_before_anything_is_written(
    case, tmp_path, options, error, message
):
    options = {"s_end": 1.0, "output": tmp_path / "a.h5"} | options
    with pytest.raises(error, match=message):
        solve(*case, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observers": [len]}, "`observers`"),
        ({"metadata": {"titel": "a"}}, "`metadata`"),
        ({"record": True}, "`record`"),
    ],
)
def test_arguments_of_a_wrong_kind(case, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        solve(*case, **{"s_end": 0.1} | options)


def test_parts_in_the_wrong_order(case):
    problem, grid, ensemble = case
    with pytest.raises(
        TypeError, match=r"`grid` must be a grid such as .*, got ParticleEnsemb"
    ):
        solve(problem, ensemble, grid, s_end=1.0)


def test_ensembles_of_a_wrong_shape(case, tmp_path):
    problem, _, ensemble = case
    with pytest.raises(
        ValueError, match=r"`theta` must have shape .*= \(5, 6, 5\) for"
    ):
        solve(problem, DepthGrid.rk4(2), ensemble, s_end=1.0, output=tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(case, finished):
    before = contents(finished)
    with pytest.raises(FileExistsError, match="overwrite"):
        solve(*case, s_end=2.0, output=finished)
    assert_same_bits(contents(finished), before)
    solve(*case, s_end=2.0, output=finished, overwrite=True)
    assert contents(finished)["s"][-1] == 2.0


def test_schedules_without_description_stay_in_memory(case, tmp_path):
    class Sometimes:
        def times(self, s_end):
            return np.array([0.25])

        def is_due(self, step):
            return False

    solution = solve(*case, s_end=0.5, record=Sometimes())
    np.testing.assert_array_equal(solution.s, [0.0, 0.25, 0.5])
    with pytest.raises(
        TypeError, match=r"`record` must be a schedule of `mfpde.recording`"
    ):
        solve(*case, s_end=0.5, record=Sometimes(), output=tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_observers_must_keep_their_shape(case, tmp_path):
    def growing(evaluation):
        return np.zeros(2 if evaluation.s == 0 else 3)

    with pytest.raises(
        ValueError, match=r"growing.* must have shape \(2,\), got \(3,\)"
    ):
        solve(
            *case, s_end=0.5, observers={"growing": growing}, output=tmp_path / "a.h5"
        )


def test_observers_must_keep_their_shape_in_memory(case):
    def growing(evaluation):
        return np.zeros(2 if evaluation.s == 0 else 3)

    with pytest.raises(
        ValueError, match=r"growing.* must have shape \(2,\), got \(3,\)"
    ):
        solve(*case, s_end=0.5, observers={"growing": growing})


def test_logarithmic_records_to_a_file(case, tmp_path):
    solve(*case, s_end=1.0, record=Logarithmic(0.01, 2), output=tmp_path / "a.h5")
    with open_run(tmp_path / "a.h5") as run:
        np.testing.assert_allclose(
            run.s, [0.0, 0.01, 0.1**1.5, 0.1, 0.1**0.5, 1.0], rtol=1e-12
        )


def test_a_prolonged_run_that_was_stopped_goes_on_to_its_new_end(tmp_path):
    path = tmp_path / "run.h5"
    trained_run(path, **STEPPERS["euler"])

    def stop(s, s_end, loss, n_steps, objective):
        if s > 1.0:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(mfpde.errors.Interrupted) as ending:
        resume(path, s_end=1.2, observers=OBSERVERS, progress=stop)
    assert ending.value.solution.status == "interrupted"
    assert resume(path, observers=OBSERVERS).message == "Reached s_end = 1.2."


def test_observers_cannot_change_the_run(case):
    """The velocity is the stepper's own rate."""

    def meddler(evaluation):
        evaluation.velocity[...] = 0.0
        return 0.0

    with pytest.raises(ValueError, match="read-only"):
        solve(*case, s_end=0.2, observers={"meddler": meddler})


def test_a_kink_outside_the_sum_counts_like_one_in_the_block(rng):
    """With the ledger's budget the steps over kinks of psi would be tiny."""
    x, y = rng.normal(size=(2, 40, 2))
    problem = MeanFieldProblem(x, 0.5 * y, Perceptron(2))
    grid = DepthGrid.layers(3, outer="relu")
    assert not grid.is_smooth
    assert DepthGrid.layers(3, outer="tanh").is_smooth
    assert DepthGrid.euler(3).is_smooth
    ens = ParticleEnsemble(0.5 * rng.normal(size=(3, 10, 5)))
    found = solve(problem, grid, ens, s_end=1.0, rtol=1e-6, atol=1e-8)
    assert found.status == "finished"
    # 273 with the budget, on other numbers of the same kind; 30 without.
    assert found.n_steps < 100


def test_limits_are_looked_at_once_in_every_step(case, monkeypatch):
    steps, reason = [], StopRules.reason

    def counted(rules, state, **options):
        steps.append(state.step)
        return reason(rules, state, **options)

    monkeypatch.setattr(StopRules, "reason", counted)
    solution = solve(*case, s_end=0.5, loss_below=1e-12)
    assert solution.n_steps > 2
    assert steps == list(range(solution.n_steps + 1))
