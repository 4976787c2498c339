"""Steppers on small systems with known solutions: order, ends, control, failures."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mfpde import steppers
from mfpde.describe import described, rebuilt
from mfpde.errors import ConvergenceError, NotFiniteError
from mfpde.steppers import (
    DOPRI5_A,
    DOPRI5_C,
    DOPRI5_ERROR,
    DormandPrince,
    Point,
    StateVector,
    Step,
    StepFailure,
    make_stepper,
)
from mfpde.steppers.base import even_step

FIXED = {
    "euler": steppers.Euler,
    "heun": steppers.Heun,
    "rk4": steppers.ClassicalRungeKutta,
}


class System:
    """dy/ds = rate(s, y), counting its evaluations."""

    def __init__(self, rate):
        self.rate, self.n_evaluations, self.times = rate, 0, []

    def __call__(self, s, y):
        self.n_evaluations += 1
        self.times.append(s)
        return Point(s, y, self.rate(s, y))

    def run(self, stepper, y, targets, s=0.0):
        """All steps from y at s to each of the targets."""
        point, memory, steps = self(s, np.array(y, dtype=float)), {}, []
        for target in np.atleast_1d(targets):
            while point.s < target:
                step = stepper.step(self, point, target, memory)
                point, memory = step.point, step.memory
                steps.append(step)
        return steps


def pendulum(s, y):
    """Not autonomous and not linear: every condition of order has a part in it."""
    return np.array([y[1] + np.sin(3 * s), -np.sin(y[0]) * y[1] - y[0] * (1 + s)])


START = [0.8, -0.3]


def pendulum_at(s):
    found = solve_ivp(pendulum, (0, s), START, "DOP853", rtol=2.3e-14, atol=1e-15)
    return found.y[:, -1]


# ---- fixed steps


@pytest.mark.parametrize(
    ("name", "last"), [("euler", 1e-2), ("heun", 1e-4), ("rk4", 1e-8)]
)
def test_order_of_the_fixed_steppers(name, last):
    end = pendulum_at(1.0)
    n_steps = 2 ** np.arange(3, 8)
    if name != "rk4":
        n_steps = 4 * n_steps
    errors = []
    for n in n_steps:
        steps = System(pendulum).run(FIXED[name](1 / n), START, 1.0)
        errors.append(np.linalg.norm(steps[-1].point.y - end))
    order = -np.polyfit(np.log(n_steps), np.log(errors), 1)[0]
    assert order == pytest.approx(FIXED[name](1.0).order, abs=0.1)
    assert errors[-1] < last


def test_euler_is_gradient_descent():
    steps = System(lambda s, y: -2 * y).run(steppers.Euler(0.1), [1.0], 1.0)
    assert len(steps) == 10
    assert [step.size for step in steps] == [0.1] * 10
    expected = 1.0
    for step in steps:
        # The very operation of gradient descent: to the last bit but one.
        expected = expected + 0.1 * (-2 * expected)
        assert step.point.y[0] == pytest.approx(expected, rel=1e-15)
    assert steps[-1].point.s == 1.0


@pytest.mark.parametrize(
    ("ds", "target", "n_steps"),
    [(0.3, 1.0, 4), (0.25, 1.0, 4), (0.5001, 1.0, 2), (2.0, 1.0, 1), (1 / 3, 1.0, 3)],
)
def test_steps_are_shortened_evenly(ds, target, n_steps):
    steps = System(pendulum).run(steppers.Heun(ds), START, target)
    sizes = [step.size for step in steps]
    assert len(sizes) == n_steps
    np.testing.assert_allclose(sizes, target / n_steps, rtol=1e-12)
    assert steps[-1].point.s == target


def test_targets_are_hit_exactly():
    targets = [0.1, 0.25, 0.7, 1.0]
    steps = System(pendulum).run(steppers.ClassicalRungeKutta(0.1), START, targets)
    ends = [step.point.s for step in steps]
    assert set(targets) <= set(ends)
    np.testing.assert_allclose(np.diff([0.0, *ends]).max(), 0.1, rtol=1e-9)


def step_bits(ds, targets, memory=None, s=0.0):
    """Ends and sizes of fixed steps to each target, and their memory at the end."""
    memory, ends, sizes = memory or {}, [], []
    for target in targets:
        while s < target:
            h, s, memory = even_step(s, target, ds, memory)
            ends.append(s)
            sizes.append(h)
    return ends, sizes, memory


@pytest.mark.parametrize("ds", [1e-3, 0.1, 3e-5])
def test_long_runs_of_fixed_steps_have_steps_of_the_same_bits(ds):
    """Summed up one by one, s is off by more than its share from 2.6e5 steps on."""
    n = 300_000
    ends, sizes, _ = step_bits(ds, [n * ds])
    assert (len(sizes), set(sizes)) == (n, {ds})
    assert ends[:-1] == [i * ds for i in range(1, n)]
    assert ends[-1] == n * ds


def test_record_times_at_multiples_leave_no_trace():
    targets = [0.1 * i for i in range(1, 1001)]
    ends, sizes, _ = step_bits(0.02, targets)
    assert set(sizes) == {0.02}
    assert set(targets) <= set(ends)
    plain = step_bits(0.02, targets[-1:])[0]
    np.testing.assert_allclose(ends, plain, rtol=4e-16, atol=0)


def test_even_parts_have_the_same_bits_between_two_targets():
    ends, sizes, _ = step_bits(0.3, [1e4 + 0.1, 2e4])
    assert len(set(sizes)) == 2
    assert ends[33334 - 1] == 1e4 + 0.1
    # A target that is no multiple of ds is not reached by steps of ds and a wrong rest.
    n = 200_000
    _, sizes, _ = step_bits(1e-3, [(n + 0.25) * 1e-3])
    assert len(sizes) == n + 1
    assert sum(sizes) == pytest.approx((n + 0.25) * 1e-3, rel=1e-9)


def test_gradient_descent_has_the_same_step_in_every_bit():
    """Through a stepper: nothing but ds enters an update."""
    steps = System(lambda s, y: -2 * y).run(steppers.Euler(1e-3), [1.0], [0.5, 2.0])
    y = np.array([1.0])
    for step in steps:
        y = y + 1e-3 * (-2 * y)
        assert step.size == 1e-3
        assert step.point.y[0] == pytest.approx(y[0], rel=1e-13)


def test_fixed_steps_go_on_as_if_they_had_never_stopped():
    whole, sizes, _ = step_bits(0.1, [20.0])
    first, _, memory = step_bits(0.1, [0.7])
    rest, _, _ = step_bits(0.1, [20.0], memory, first[-1])
    assert first[:-1] + rest == whole[:6] + whole[7:]
    assert len(first + rest) == len(sizes)


@pytest.mark.parametrize(("name", "count"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_evaluations_are_counted(name, count):
    system = System(pendulum)
    steps = system.run(FIXED[name](0.25), START, 1.0)
    assert [step.n_evaluations for step in steps] == [count] * 4
    assert system.n_evaluations == 1 + 4 * count
    # The rate at the end comes with the step: it is the first stage of the next one.
    point = steps[-1].point
    np.testing.assert_array_equal(point.rate, pendulum(point.s, point.y))
    assert steps[-1].memory == {"start": 0.0, "taken": 4.0, "size": 0.25}


def test_stages_are_taken_at_their_times():
    system = System(pendulum)
    system.run(steppers.ClassicalRungeKutta(0.5), START, 0.5)
    assert system.times == [0.0, 0.25, 0.25, 0.5, 0.5]


# ---- Dormand-Prince


def test_tableau_of_dormand_and_prince():
    """All conditions of order 5 of the quadrature, row sums, and the embedded rule."""
    a = np.zeros((7, 7))
    for i, row in enumerate(DOPRI5_A):
        a[i + 1, : len(row)] = row
    b, c = a[6], np.array([0.0, *DOPRI5_C])
    rounding = 1e-15
    np.testing.assert_allclose(a.sum(axis=1), c, atol=2 * rounding)
    error = np.array(DOPRI5_ERROR)
    for power in range(5):
        assert b @ c**power == pytest.approx(1 / (power + 1), abs=rounding)
    # b and b - b_hat: the estimate is of order 4, so it sees the fifth power.
    for power in range(4):
        assert abs(error @ c**power) < rounding
    assert abs(error @ c**4) > 1e-4
    # Trees that are no bushes, for order 5.
    assert b @ a @ c == pytest.approx(1 / 6, abs=rounding)
    assert (b * c) @ a @ c == pytest.approx(1 / 8, abs=rounding)
    assert b @ a @ c**2 == pytest.approx(1 / 12, abs=rounding)
    assert b @ a @ a @ c == pytest.approx(1 / 24, abs=rounding)
    assert (b * c**2) @ a @ c == pytest.approx(1 / 10, abs=rounding)
    assert b @ (a @ c) ** 2 == pytest.approx(1 / 20, abs=rounding)
    assert (b * c) @ a @ c**2 == pytest.approx(1 / 15, abs=rounding)
    assert b @ a @ c**3 == pytest.approx(1 / 20, abs=rounding)
    assert (b * c) @ a @ a @ c == pytest.approx(1 / 30, abs=rounding)
    assert b @ a @ (c * (a @ c)) == pytest.approx(1 / 40, abs=rounding)
    assert b @ a @ a @ c**2 == pytest.approx(1 / 60, abs=rounding)
    assert b @ a @ a @ a @ c == pytest.approx(1 / 120, abs=rounding)


def loose(**options):
    """Error control that accepts every step."""
    return DormandPrince(1e6, 1e6).bound(StateVector(**options))


def test_order_of_dormand_and_prince():
    # Below 32 steps the orders still vary between 4 and 7.
    span, n_steps, errors = 3.0, 2 ** np.arange(5, 10), []
    for n in n_steps:
        system = System(pendulum)
        point = system(0.0, np.array(START))
        for i in range(n):
            memory = {"step": span / n, "error": 1e-4}
            stepper = loose()
            point = stepper.step(system, point, span * (i + 1) / n, memory).point
        errors.append(np.linalg.norm(point.y - pendulum_at(span)))
    order = -np.polyfit(np.log(n_steps), np.log(errors), 1)[0]
    assert order == pytest.approx(5, abs=0.1)
    assert errors[-1] < 1e-12


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7, 1e-9])
def test_error_follows_the_tolerance(rtol):
    stepper = DormandPrince(rtol=rtol, atol=rtol)
    steps = System(pendulum).run(stepper, START, 1.0)
    error = np.abs(steps[-1].point.y - pendulum_at(1.0)).max()
    # Local errors of at most the tolerance, over some steps of a tame system; and
    # not a hundred times better, which would be work for nothing.
    assert 1e-3 * rtol < error < 10 * rtol


def test_adaptive_steps_hit_their_targets():
    targets = [1e-3, 0.1, 0.10001, 0.5, 1.0]
    stepper = DormandPrince(1e-5, 1e-8)
    steps = System(pendulum).run(stepper, START, targets)
    ends = [step.point.s for step in steps]
    assert set(targets) <= set(ends)
    np.testing.assert_allclose(
        [step.size for step in steps], np.diff([0.0, *ends]), rtol=1e-9
    )


def test_a_target_that_cuts_a_step_does_not_slow_what_follows():
    stepper = DormandPrince(1e-6, 1e-9)
    free = System(pendulum).run(stepper, START, 2.0)
    # Eleven short cuts at the very beginning of the second half.
    cuts = [1.0, *(1.0 + 1e-6 * np.arange(1, 11)), 2.0]
    cut = System(pendulum).run(stepper, START, cuts)
    assert len(cut) <= len(free) + len(cuts) + 2


def test_memory_continues_a_run_bit_for_bit():
    stepper = DormandPrince(1e-6, 1e-9)
    system = System(pendulum)
    steps = system.run(stepper, START, 1.0)
    half = steps[len(steps) // 2]
    point = system(half.point.s, half.point.y.copy())
    memory = dict(half.memory)
    for expected in steps[len(steps) // 2 + 1 :]:
        step = stepper.step(system, point, 1.0, memory)
        point, memory = step.point, step.memory
        assert point.y.tobytes() == expected.point.y.tobytes()
        assert memory == expected.memory


def test_counts_of_an_adaptive_step():
    system = System(pendulum)
    steps = system.run(DormandPrince(1e-6, 1e-9), START, 1.0)
    assert sum(step.n_evaluations for step in steps) == system.n_evaluations - 1
    # The first step also probes for its size; without rejection there are six stages.
    assert steps[0].n_evaluations == 1 + 6 * (1 + steps[0].n_rejected)
    assert all(s.n_evaluations == 6 * (1 + s.n_rejected) for s in steps[1:])


def test_rejected_steps_shrink():
    """A step proposed much too large is rejected, and none grows after that."""
    point = System(pendulum)(0.0, np.array(START))
    stepper = DormandPrince(1e-8, 1e-10)
    step = stepper.step(System(pendulum), point, 10.0, {"step": 5.0, "error": 1e-4})
    assert step.n_rejected >= 1
    assert step.size < 5.0
    assert step.memory["step"] <= step.size


def test_the_first_step_is_reasonable():
    """For y' = -k y it is a fraction of 1 / k, whatever k."""
    for k in (1e-3, 1.0, 1e4):
        stepper = DormandPrince(1e-6, 1e-9)
        step = System(lambda s, y, k=k: -k * y).run(stepper, [1.0], 100.0 / k)[0]
        assert 1e-4 / k < step.size < 1.0 / k


def test_systems_at_rest():
    stepper = DormandPrince(1e-6, 1e-9)
    steps = System(lambda s, y: 0 * y).run(stepper, [0.0, 1.0], 1e6)
    np.testing.assert_array_equal(steps[-1].point.y, [0.0, 1.0])
    # Each step five times the one before, from 1e-6 or more.
    assert len(steps) < 25


# ---- error control


def measure(control, errors, y=1.0):
    """The measure of given errors, for entries of size y."""
    errors = np.asarray(errors, dtype=float)
    values = np.full(len(errors), y)
    return control.measure(values, values, errors[np.newaxis], np.ones(1), 1.0)


def test_error_is_scaled_by_both_tolerances():
    control = DormandPrince(rtol=1e-2, atol=1e-3)
    error, index = measure(control, [0.0, 0.021], y=-2.0)
    # One of two entries is at the tolerance 1e-3 + 1e-2 * 2; their mean square is 1/2.
    assert error == pytest.approx(math.sqrt(0.5), rel=1e-12)
    assert index == 1


def test_a_small_part_is_not_lost_beside_a_large_one():
    errors = np.zeros(1001)
    errors[-1] = 1.0
    both = {"rtol": 1e-9, "atol": 1.0}
    assert measure(DormandPrince(**both), errors)[0] < 0.04
    parts = StateVector(((0, 1000), (1000, 1001)))
    error, index = measure(DormandPrince(**both).bound(parts), errors)
    assert error == pytest.approx(1.0, rel=1e-6)
    assert index == 1000


@pytest.mark.parametrize(
    "parts",
    [
        ((0, 3),),
        ((0, 1), (1, 3)),
        ((0, 2), (2, 3)),
    ],
)
def test_an_error_that_is_not_a_number_is_not_accepted(parts):
    error, _ = measure(DormandPrince().bound(StateVector(parts)), [0.0, np.nan, 0.0])
    assert not error <= 1.0


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0.0, ValueError, "must be positive and finite, got 0.0"),
        (-1e-3, ValueError, "must be positive and finite, got -0.001"),
        (np.nan, ValueError, "must be positive and finite, got nan"),
        (np.inf, ValueError, "must be positive and finite, got inf"),
        ("1e-3", TypeError, "must be a number, got '1e-3'"),
        (None, TypeError, "must be a number, got None"),
        (True, TypeError, "must be a number, got True"),
    ],
)
def test_wrong_tolerances(name, value, error, message):
    with pytest.raises(error, match=f"`{name}` {message}"):
        DormandPrince(**{name: value})


def test_accept_rejects_a_point_with_a_small_error():
    """A condition that fails for all steps above 0.01: the step is halved below it."""
    stepper = loose(accept=lambda old, new: new.s - old.s <= 0.01)
    point = System(pendulum)(0.0, np.array(START))
    step = stepper.step(System(pendulum), point, 1.0, {"step": 0.1, "error": 1e-4})
    assert step.size == pytest.approx(0.1 / 16, rel=1e-12)
    assert step.n_rejected == 4


# ---- failures


def wall(s, y):
    """No evaluation beyond s = 0.5."""
    if s > 0.5:
        raise NotFiniteError("The state is not finite beyond the wall.")
    return np.ones_like(y)


def test_a_failed_evaluation_halves_the_step():
    system = System(wall)
    point = system(0.0, np.zeros(1))
    stepper = loose()
    step = stepper.step(system, point, 10.0, {"step": 4.0, "error": 1e-4})
    assert step.size == 0.5
    assert step.n_rejected == 3


@pytest.mark.parametrize("error", [NotFiniteError, ConvergenceError])
def test_a_failed_probe_for_the_first_step(error):
    def rate(s, y):
        if s > 1e-6:
            raise error("no")
        return np.ones_like(y)

    step = DormandPrince().step(System(rate), System(rate)(0.0, np.ones(1)), 1.0, {})
    assert step.point.s <= 1e-6


def test_running_into_a_wall_ends_with_its_sentence():
    with pytest.raises(StepFailure, match="beyond the wall") as caught:
        System(wall).run(DormandPrince(), np.zeros(1), 1.0)
    assert "The step at training time s = 0.5 fell to" in str(caught.value)
    assert isinstance(caught.value, ConvergenceError)
    assert isinstance(caught.value.__cause__, NotFiniteError)


def test_a_singularity_ends_with_the_worst_entry():
    """y' = y^2 blows up at s = 1; the other entry is harmless."""

    def rate(s, y):
        return np.array([0.0, y[1] ** 2, 0.0])

    with pytest.raises(StepFailure, match="without meeting the tolerance") as caught:
        System(rate).run(DormandPrince(1e-6, 1e-9), [1.0, 1.0, 1.0], 2.0)
    assert caught.value.index == 1
    text = str(caught.value)
    where = float(text.split("s = ")[1].split()[0])
    # The run gets to the singularity to within some multiples of the tolerance.
    assert where == pytest.approx(1.0, abs=1e-3)


def test_fixed_steppers_pass_failures_on():
    with pytest.raises(NotFiniteError, match="beyond the wall"):
        System(wall).run(steppers.Euler(0.2), np.zeros(1), 1.0)


# ---- names and messages


@pytest.mark.parametrize("name", FIXED)
def test_fixed_steppers_by_name(name):
    stepper = make_stepper(name, ds=0.25)
    assert stepper == FIXED[name](0.25)
    assert described(stepper) == {"kind": name, "ds": 0.25}
    assert rebuilt("stepper", described(stepper)) == stepper


def test_adaptive_stepper_by_name():
    stepper = make_stepper("dopri5", ds=None, rtol=1e-4, atol=1e-5)
    assert stepper == DormandPrince(1e-4, 1e-5)
    assert described(stepper) == {"kind": "dopri5", "rtol": 1e-4, "atol": 1e-5}
    assert stepper.order == 5
    assert make_stepper("dopri5", ds=None) == DormandPrince()


def test_a_stepper_of_the_users_own():
    class Jump:
        order = 0

        def step(self, evaluate, point, target, memory):
            return Step(evaluate(target, point.y), target - point.s, memory, 1)

    jump = Jump()
    assert make_stepper(jump, ds=None) is jump
    assert System(pendulum).run(jump, START, [1.0, 2.0])[-1].point.s == 2.0


@pytest.mark.parametrize(
    ("stepper", "ds", "error", "message"),
    [
        ("dopri", None, ValueError, "must be one of .*euler.*Did you mean 'dopri5'"),
        ("adam", None, ValueError, "`stepper` must be one of dopri5, rkc2, auto, eul"),
        (None, None, TypeError, "`stepper` must be a name or an object.*got None"),
        (5, None, TypeError, "`stepper` must be a name or an object .*`step`, got 5"),
        ("euler", None, ValueError, "`ds` is needed by the fixed stepper 'euler'"),
        ("rk4", None, ValueError, "`ds` is needed by the fixed stepper 'rk4'"),
        ("dopri5", 0.1, ValueError, "`ds` must be None for the adaptive stepper"),
        ("heun", 0.0, ValueError, "`ds` must be positive and finite, got 0.0"),
        ("heun", -0.1, ValueError, "`ds` must be positive and finite, got -0.1"),
        ("heun", np.nan, ValueError, "`ds` must be positive and finite, got nan"),
        ("heun", np.inf, ValueError, "`ds` must be positive and finite, got inf"),
        ("heun", "0.1", TypeError, "`ds` must be a number, got '0.1'"),
    ],
)
def test_wrong_steppers(stepper, ds, error, message):
    with pytest.raises(error, match=message):
        make_stepper(stepper, ds=ds)
