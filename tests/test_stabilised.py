"""Stiff problems and long horizons: rkc2, auto, the ledger's budget, steady states."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from test_steppers import START, System, pendulum, pendulum_at

from mfpde import (
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    evaluate,
    iterate,
    open_run,
    resume,
    solve,
)
from mfpde.blocks import Bias, Linear
from mfpde.describe import described
from mfpde.errors import NotFiniteError
from mfpde.losses import DecayingQuadratic
from mfpde.recording import Steps
from mfpde.steppers import (
    Automatic,
    DormandPrince,
    RungeKuttaChebyshev,
    StepFailure,
    make_stepper,
)
from mfpde.steppers.rkc import DAMPING, chebyshev, n_stages

LOOSE = 1e6, 1e6


def one_step(rate, y, h, radius):
    """One step of rkc2 from s = 0 with a given spectral radius."""
    system = System(rate)
    memory = {"step": h, "radius": radius, "age": 0.0}
    point = system(0.0, np.array(y, dtype=float))
    return RungeKuttaChebyshev(*LOOSE).step(system, point, h, memory)


# ---- rkc2: the method


@pytest.mark.parametrize("m", [2, 3, 4, 7, 20, 100, 400])
def test_stability_polynomial(m):
    """|P| <= 1 up to beta and not beyond; damped inside; 1 + z + z^2 / 2 + O(z^3)."""
    beta = chebyshev(m).beta
    # The asymptotic formula of the papers.
    expected = 2 / 3 * (m**2 - 1) * (1 - 2 / 15 * DAMPING)
    assert beta == pytest.approx(expected, rel=0.02 if m < 5 else 1e-3)
    z = -np.concatenate([np.geomspace(1e-3, 1e-2, 10), np.linspace(0, beta, 40 * m)])
    # All modes at once: each entry of y has its own decay rate.
    radius = ((m - 0.5) ** 2 - 1) / 1.54
    assert n_stages(radius) == m
    step = one_step(lambda s, y: z * y, np.ones(len(z)), 1.0, radius)
    assert step.n_evaluations == m
    values = step.point.y
    assert np.abs(values).max() <= 1 + 1e-9
    assert np.abs(values[z < -2]).max(initial=0) < 1 - DAMPING / 4
    small = np.abs(z) < 1e-2
    taylor = 1 + z[small] + z[small] ** 2 / 2
    assert np.abs(values[small] - taylor).max() < 1e-2**3 / 6
    # For odd m, P is near -1/3 there and needs some way to -1.
    beyond = (1.02 if m % 2 == 0 else 1.25) * beta
    assert abs(one_step(lambda s, y: -beyond * y, [1.0], 1.0, radius).point.y[0]) > 1


def test_stages_suffice():
    for h_radius in [0.0, 0.1, 1.9, 2.0, 2.1, 5.0, 77.0, 1e3, 1.234e5]:
        m = n_stages(h_radius)
        assert chebyshev(m).beta >= h_radius
        assert m == 2 or ((m - 1) ** 2 - 1) / 1.54 < h_radius


@pytest.mark.parametrize("m", [2, 3, 6, 15])
def test_order_of_rkc2(m):
    """On a system that is neither autonomous nor linear, with m stages a step."""
    span, n_steps, errors = 3.0, 2 ** np.arange(6, 11), []
    for n in n_steps:
        h, system = span / n, System(pendulum)
        point = system(0.0, np.array(START))
        for i in range(n):
            memory = {"step": h, "radius": ((m - 0.5) ** 2 - 1) / 1.54 / h, "age": 0.0}
            stepper = RungeKuttaChebyshev(*LOOSE)
            point = stepper.step(system, point, span * (i + 1) / n, memory).point
        errors.append(np.linalg.norm(point.y - pendulum_at(span)))
    order = -np.polyfit(np.log(n_steps), np.log(errors), 1)[0]
    assert order == pytest.approx(2, abs=0.1)
    assert errors[-1] < 5e-5


@pytest.mark.parametrize(("m", "ratio"), [(2, 1.2), (5, 1.64), (30, 1.8)])
def test_error_estimate_is_of_the_size_of_the_error(m, ratio):
    """y = exp(s): an error (1/6 - c) h^3 of P = 1 + z + z^2 / 2 + c z^3 + ...

    c tends to 1/10 for many stages; the estimate is (1/5 - 4 c / 5) h^3.
    """
    h, tolerances = 1e-3, (1e-9, 1e-3)
    memory = {"step": h, "radius": ((m - 0.5) ** 2 - 1) / 1.54 / h, "age": 0.0}
    system = System(lambda s, y: y)
    point = system(0.0, np.ones(1))
    step = RungeKuttaChebyshev(*tolerances).step(system, point, h, memory)
    assert step.n_evaluations == m
    error = np.exp(h) - step.point.y[0]
    estimate = step.memory["error"] * 1e-3
    assert estimate == pytest.approx(ratio * error, rel=0.03)


# ---- rkc2: radius, control, failures


def test_spectral_radius():
    """Of diag(-1 ... -1e4) and a rate that hardly shows the largest entry."""
    rates = np.logspace(0, 4, 60)
    system = System(lambda s, y: -rates * y)
    y = np.exp(-rates)
    point = system(0.0, y)
    radius, n = RungeKuttaChebyshev().spectral_radius(system, point)
    assert system.n_evaluations == 1 + n
    assert n < 30
    assert 1e4 < radius < 1.21e4


def test_spectral_radius_of_nothing():
    system = System(lambda s, y: 0 * y)
    point = system(0.0, np.zeros(3))
    found = RungeKuttaChebyshev().spectral_radius(system, point)
    assert found == (0.0, 1)


@pytest.mark.parametrize("method", [RungeKuttaChebyshev, Automatic])
@pytest.mark.parametrize("rtol", [1e-3, 1e-5])
def test_error_follows_the_tolerance(method, rtol):
    steps = System(pendulum).run(method(rtol, rtol), START, [0.4, 1.0])
    assert {0.4, 1.0} <= {step.point.s for step in steps}
    error = np.abs(steps[-1].point.y - pendulum_at(1.0)).max()
    # Some tens of steps, each with an error up to the tolerance.
    assert 1e-3 * rtol < error < 50 * rtol


@pytest.mark.parametrize("method", [RungeKuttaChebyshev, Automatic])
def test_evaluations_are_counted(method):
    system = System(lambda s, y: -np.array([1.0, 500.0]) * (y - np.cos(s)))
    steps = system.run(method(1e-5, 1e-5), [2.0, 0.0], 20.0)
    assert sum(step.n_evaluations for step in steps) == system.n_evaluations - 1


def test_a_radius_that_grows_is_noticed():
    """100 times stiffer from s = 5 on: rejections ask for a new estimate."""

    def rate(s, y):
        return -(1e4 if s > 5 else 1e2) * (y - np.sin(s))

    steps = System(rate).run(RungeKuttaChebyshev(1e-4, 1e-4), [0.5], 10.0)
    assert steps[-1].memory["radius"] == pytest.approx(1.2e4, rel=0.02)
    assert abs(steps[-1].point.y[0] - np.sin(10.0)) < 1e-3
    assert len(steps) < 600


def test_failures_of_rkc2():
    def wall(s, y):
        if s > 0.5:
            raise NotFiniteError("The state is not finite beyond the wall.")
        return np.ones_like(y)

    with pytest.raises(StepFailure, match="beyond the wall"):
        System(wall).run(RungeKuttaChebyshev(), np.zeros(1), 1.0)
    with pytest.raises(StepFailure, match="without meeting the tolerance") as caught:
        System(lambda s, y: np.array([0.0, y[1] ** 2])).run(
            RungeKuttaChebyshev(1e-4, 1e-4), [1.0, 1.0], 2.0
        )
    assert float(str(caught.value).split("s = ")[1].split()[0]) < 1.01


@pytest.mark.parametrize("name", ["rkc2", "auto"])
def test_names(name):
    stepper = make_stepper(name, ds=None, rtol=1e-4, atol=1e-5)
    assert described(stepper) == {"kind": name, "rtol": 1e-4, "atol": 1e-5}
    with pytest.raises(ValueError, match=f"must be None for the adaptive .* '{name}'"):
        make_stepper(name, ds=0.1)


# ---- auto


def methods_of(steps):
    return [bool(step.memory["auto_rkc2"]) for step in steps]


def test_auto_is_dopri5_where_nothing_is_stiff():
    tolerances = 1e-6, 1e-9
    plain = System(pendulum).run(DormandPrince(*tolerances), START, 5.0)
    steps = System(pendulum).run(Automatic(*tolerances), START, 5.0)
    assert not any(methods_of(steps))
    assert steps[-1].point.y.tobytes() == plain[-1].point.y.tobytes()


def test_auto_switches_there_and_back():
    """Stiff for s < 20, then a fast oscillation, which wants a high order."""

    def rate(s, y):
        if s < 20:
            return np.array([-(y[0] - 1), -300 * y[1]])
        return np.array([3 * np.cos(3 * s), -y[1]])

    steps = System(rate).run(Automatic(1e-6, 1e-6), [0.0, 1.0], [20, 60])
    is_rkc2 = methods_of(steps)
    assert any(is_rkc2)
    first, back = is_rkc2.index(True), len(is_rkc2) - is_rkc2[::-1].index(True)
    assert steps[first].point.s < 5
    assert 15 < steps[back - 1].point.s < 45
    assert steps[-1].memory["auto_patience"] == 2.0
    # No to and fro: two changes.
    assert np.abs(np.diff(np.array(is_rkc2, dtype=int))).sum() == 2


def test_auto_continues_bit_for_bit():
    """From the memory after every 7th step, in both methods and while counting."""

    def rate(s, y):
        return -np.array([1.0, 300.0]) * (y - np.cos(s))

    stepper, system = Automatic(1e-4, 1e-4), System(rate)
    steps = system.run(stepper, [3.0, 0.0], 30.0)
    assert len(set(methods_of(steps))) == 2
    for i in range(0, len(steps) - 1, 7):
        point = system(steps[i].point.s, steps[i].point.y.copy())
        step = stepper.step(system, point, 30.0, dict(steps[i].memory))
        assert step.point.y.tobytes() == steps[i + 1].point.y.tobytes()
        assert step.memory == steps[i + 1].memory
        assert all(isinstance(value, float) for value in step.memory.values())


# ---- a stiff flow: tangent-kernel eigenvalues over four decades


@pytest.fixture(scope="module")
def stiff():
    """Linear blocks, inputs of scales 1, 0.1, 0.01 in three directions."""
    rng = np.random.default_rng(0)
    scales = np.array([1.0, 0.1, 0.01])
    x = np.sqrt(3) * np.eye(3) * scales
    problem = MeanFieldProblem(
        x, x @ (np.eye(3) + 0.3 * rng.normal(size=(3, 3))).T, Linear(3)
    )
    grid = DepthGrid.euler(2)
    theta = 0.2 * rng.normal(size=(2, 1, 9))
    return problem, grid, ParticleEnsemble(theta)


S_END = 1e4


@pytest.fixture(scope="module")
def stiff_end(stiff):
    """theta at S_END by an implicit method of SciPy."""
    problem, grid, ensemble = stiff

    def rate(s, y):
        present = ParticleEnsemble(y.reshape(ensemble.theta.shape))
        return evaluate(problem, grid, present, s).velocity.ravel()

    found = solve_ivp(
        rate, (0, S_END), ensemble.theta.ravel(), "Radau", rtol=1e-9, atol=1e-11
    )
    return found.y[:, -1].reshape(ensemble.theta.shape)


def test_the_kernel_is_spread(stiff):
    problem, grid, ensemble = stiff
    start = evaluate(problem, grid, ensemble).velocity.ravel()
    jacobian = np.empty((18, 18))
    for i in range(18):
        moved = ensemble.theta.copy()
        moved.flat[i] += 1e-6
        there = evaluate(problem, grid, ParticleEnsemble(moved)).velocity.ravel()
        jacobian[:, i] = (there - start) / 1e-6
    rates = np.sort(-np.linalg.eigvals(jacobian).real)
    assert rates[-1] > 1
    assert 0.5e-4 < np.median(rates[rates > 2e-5][:3]) < 2e-4


def run_stiff(stiff, stiff_end, stepper, tolerance):
    """Evaluations and the largest error of theta at S_END."""
    solution = solve(
        *stiff, s_end=S_END, stepper=stepper, rtol=tolerance, atol=tolerance
    )
    assert solution.status == "finished"
    error = np.abs(solution.ensemble.theta - stiff_end).max()
    return solution.n_evaluations, error


@pytest.mark.parametrize("name", ["rkc2", "auto"])
def test_stiff_flows_cost_five_times_less(name, stiff, stiff_end):
    """With five times the evaluations dopri5 is nowhere near the end, if it is loose.

    It is cut by stability: a looser or a tighter tolerance changes little.
    """
    n, error = run_stiff(stiff, stiff_end, name, 1e-6)
    assert error < 2e-5
    for state in iterate(*stiff, s_end=S_END, rtol=1e-4, atol=1e-4):
        if state.n_evaluations > 5 * n:
            break
    assert state.s < 0.6 * S_END


@pytest.mark.slow
def test_stiff_flows_at_the_same_error(stiff, stiff_end):
    n_dopri5, error_dopri5 = run_stiff(stiff, stiff_end, "dopri5", 1e-4)
    for name, tolerance in (("rkc2", 3e-7), ("auto", 3e-7)):
        n, error = run_stiff(stiff, stiff_end, name, tolerance)
        assert error <= error_dopri5, name
        assert 5 * n <= n_dopri5, name


@pytest.mark.parametrize("name", ["rkc2", "auto"])
def test_a_stiff_run_that_crashed_has_the_bits_of_one(name, stiff, tmp_path):
    class Crash(Exception):
        pass

    def crash_at(step):
        def progress(s, s_end, loss, n_steps, objective):
            if n_steps == step:
                raise Crash

        return progress

    options = {
        "s_end": 200.0,
        "stepper": name,
        "rtol": 1e-4,
        "atol": 1e-4,
        "record": Steps(1),
        "checkpoint_every_s": 1e-9,
    }
    whole = solve(*stiff, output=tmp_path / "whole.h5", **options)
    path = tmp_path / "parts.h5"
    stops = (5, 16, 23, 24, 35)
    assert whole.n_steps > stops[-1]
    with pytest.raises(Crash):
        solve(*stiff, output=path, progress=crash_at(stops[0]), **options)
    for step in stops[1:]:
        with pytest.raises(Crash):
            resume(path, progress=crash_at(step))
    assert resume(path).n_evaluations == whole.n_evaluations
    with open_run(path) as parts, open_run(tmp_path / "whole.h5") as run:
        assert parts.theta[-1].tobytes() == run.theta[-1].tobytes()
        for column in set(run.scalars) - {"wall_time"}:
            found = np.asarray(parts.scalars[column])
            assert found.tobytes() == np.asarray(run.scalars[column]).tobytes()


# ---- the ledger over long horizons


def ledger_bound(solution, tolerance):
    """What the shares of all steps can add up to, see `budget_used`."""
    start = solution.objective[0]
    first = solution.scalars["step_size"][1]
    logarithm = 1 + np.log(solution.s[-1] / first)
    fall = start - solution.objective[-1]
    return 30 * tolerance * fall + tolerance * (start + 1) * logarithm


@pytest.mark.parametrize(
    ("stepper", "s_end"), [("dopri5", 1e3), ("rkc2", 1e5), ("auto", 1e5)]
)
@pytest.mark.parametrize("tolerance", [1e-4, 1e-6])
def test_the_ledger_does_not_drift(stepper, s_end, tolerance, stiff):
    """Stiff: with a tolerance per step alone dopri5 misses this hundredfold."""
    solution = solve(
        *stiff,
        s_end=s_end,
        stepper=stepper,
        rtol=tolerance,
        atol=tolerance,
        record=Steps(1),
    )
    assert solution.status == "finished"
    residual = np.abs(solution.scalars["energy_residual"])
    assert residual.max() <= ledger_bound(solution, tolerance)
    # Nothing is added once the flow has come to rest.
    late = residual[solution.s > 0.1 * s_end]
    assert np.ptp(late) <= 5 * tolerance * solution.objective[0]


# ---- steady states


@pytest.fixture
def relaxing():
    """T5: thetabar tends to e* at rate 1, E - E* = |thetabar - e*|^2 / 2."""
    problem = MeanFieldProblem([0.0, 1.0], [1.5, 1.5], Bias(1))
    return problem, DepthGrid.euler(1), ParticleEnsemble(np.zeros((1, 1, 1)))


def test_a_steady_state_ends_a_run(relaxing):
    """D = exp(-2 s), E_0 = 0.625: D s_end = tol E_0 at s = 5.76 for tol = 1e-3."""
    solution = solve(*relaxing, s_end=1e2 * 0.625, steady_state=1e-3, record=Steps(1))
    expected = 0.5 * np.log(1e2 / 1e-3)
    assert solution.objective[0] == pytest.approx(0.625, rel=1e-12)
    assert solution.status == "finished"
    assert solution.message.startswith(f"Steady at s = {solution.s[-1]:g}: at the")
    assert "up to s_end = 62.5, at most 0.001 of that" in solution.message
    assert solution.s[-1] == pytest.approx(expected, rel=1e-5)
    assert solution.s[-1] >= expected * (1.0 - 1e-5)
    # What the criterion promises of the rest.
    assert solution.objective[-1] - 0.125 < 1e-3 * 0.625


def test_a_flow_that_moves_is_not_steady(relaxing):
    solution = solve(*relaxing, s_end=2.0, steady_state=1e-3)
    assert solution.message == "Reached s_end = 2."


def test_a_decaying_ridge_is_not_steady():
    """theta rests at 0 gradient of E only in the end: lambda' M2 counts, too."""
    problem = MeanFieldProblem(
        [1.0], [3.0], Bias(1), regulariser=DecayingQuadratic(1.0, 0.01)
    )
    # Where velocity and D vanish at s = 0: theta = 2 / (1 + 2 lambda).
    start = ParticleEnsemble(np.full((1, 1, 1), 2 / 3))
    solution = solve(problem, DepthGrid.euler(1), start, s_end=50.0, steady_state=1e-2)
    assert solution.dissipation[0] < 1e-25
    assert solution.s[-1] == 50.0


def test_a_steady_run_resumes_with_its_rule(relaxing, tmp_path):
    path = tmp_path / "a.h5"
    options = {"s_end": 62.5, "steady_state": 1e-3, "rtol": 1e-2, "atol": 1e-2}
    whole = solve(*relaxing, **options)
    part = solve(*relaxing, output=path, wall_time_s=1e-9, **options)
    while part.status == "interrupted":
        part = resume(path)
    assert (part.message, part.n_steps) == (whole.message, whole.n_steps)
    assert resume(path, s_end=70.0).message == "Reached s_end = 70."


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_wrong_steady_state(relaxing, value):
    with pytest.raises(ValueError, match="`steady_state` must be positive and finite"):
        solve(*relaxing, s_end=1.0, steady_state=value)
