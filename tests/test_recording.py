"""Schedules, clocks, observers, and the scalars of every record."""

import numpy as np
import pytest

from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate
from mfpde.blocks import Bilinear, Linear, Perceptron
from mfpde.describe import described, rebuilt
from mfpde.recording import (
    SCALARS,
    At,
    Clock,
    Every,
    Logarithmic,
    Steps,
    apply_observers,
    check_observers,
    depth_roughness,
    hamiltonian_spread,
    invariant_spread,
    make_clocks,
    make_schedule,
    observe,
    scalar_names,
)

# ---- schedules


def test_at_sorts_and_cuts():
    schedule = At([0.5, 0.1, 0.5, 2.0])
    np.testing.assert_array_equal(schedule.times(10.0), [0.1, 0.5, 2.0])
    np.testing.assert_array_equal(schedule.times(0.5), [0.1, 0.5])
    assert At([]).times(1.0).size == 0
    assert not schedule.is_due(3)


def test_every_takes_multiples():
    np.testing.assert_array_equal(Every(0.25).times(1.0), [0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(Every(0.4).times(1.0), [0.0, 0.4, 0.8])
    np.testing.assert_array_equal(Every(3.0).times(1.0), [0.0])
    # 0.1 * 3 is above 0.3 by rounding: the last multiple belongs to the horizon.
    for n in range(1, 200):
        assert len(Every(0.1).times(n / 10)) == n + 1


def test_the_times_of_every_do_not_depend_on_the_horizon():
    """A run that is continued to a later end must go on with the same bits."""
    short, long = Every(0.1).times(3.0), Every(0.1).times(30.0)
    np.testing.assert_array_equal(long[: len(short)], short)


def test_logarithmic():
    times = Logarithmic(0.01, 2).times(1.0)
    np.testing.assert_allclose(times, [0, 0.01, 0.1**1.5, 0.1, 0.1**0.5, 1], rtol=1e-12)
    np.testing.assert_array_equal(Logarithmic(0.5).times(0.4), [0.0])
    np.testing.assert_array_equal(Logarithmic(0.5).times(0.5), [0.0, 0.5])
    assert len(Logarithmic(1e-3, 10).times(1e3)) == 62


def test_steps():
    schedule = Steps(3)
    assert [n for n in range(10) if schedule.is_due(n)] == [0, 3, 6, 9]
    assert schedule.times(5.0).size == 0


@pytest.mark.parametrize(
    "schedule", [At([0.0, 1 / 3]), Every(0.1), Logarithmic(0.1, 7), Steps(4)]
)
def test_description_rebuilds_the_schedule(schedule):
    other = rebuilt("output schedule", described(schedule))
    assert type(other) is type(schedule)
    np.testing.assert_array_equal(other.times(9.0), schedule.times(9.0))
    assert [other.is_due(n) for n in range(9)] == [schedule.is_due(n) for n in range(9)]
    assert rebuilt("output schedule", None) is None


def test_unknown_schedule():
    with pytest.raises(ValueError, match="`kind` must be one of at, every"):
        rebuilt("output schedule", {"kind": "sometimes"})


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "message"),
    [
        (Every, (0.0,), ValueError, "`ds` must be positive and finite, got 0.0"),
        (Every, (-1,), ValueError, "`ds` must be positive and finite, got -1"),
        (Every, (np.nan,), ValueError, "`ds` must be positive and finite, got nan"),
        (Every, ("1",), TypeError, "`ds` must be a number, got '1'"),
        (Logarithmic, (0.0,), ValueError, "`start` must be positive and finite"),
        (Logarithmic, (1.0, 0), ValueError, "`per_decade` must be positive and fin"),
        (Steps, (0,), ValueError, "`n` must be at least 1, got 0"),
        (Steps, (-2,), ValueError, "`n` must be at least 1, got -2"),
        (At, ([-0.5, 1.0],), ValueError, "training times of at least 0, got -0.5"),
        (At, ([np.nan],), ValueError, "must be finite, got nan"),
        (At, (["a"],), TypeError, "must hold real numbers"),
    ],
)
def test_wrong_schedules(kind, arguments, error, message):
    with pytest.raises(error, match=message):
        kind(*arguments)


def test_steps_must_be_whole():
    with pytest.raises((TypeError, ValueError), match="`n` must be"):
        Steps(2.5)


def test_make_schedule():
    np.testing.assert_array_equal(make_schedule("record", None).times(5.0), [0.0])
    np.testing.assert_array_equal(make_schedule("record", [1, 2]).times(5.0), [1, 2])
    np.testing.assert_array_equal(make_schedule("record", 1.5).times(5.0), [1.5])
    every = Every(1.0)
    assert make_schedule("record", every) is every


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("often", ValueError),
        ([-1.0], ValueError),
        ([np.inf], ValueError),
        ({"a": 1}, TypeError),
        ([[1.0], [1.0, 2.0]], ValueError),
    ],
)
def test_what_is_no_schedule(value, error):
    message = "`snapshots` must be a sequence of training times, at least 0, or a sched"
    with pytest.raises(error, match=message):
        make_schedule("snapshots", value)


# ---- clocks


def test_a_clock_is_due_at_the_start_at_its_times_and_steps():
    clock = Clock(Steps(2), frozenset([0.5]))
    assert clock.is_due(0.0, 0)
    assert clock.is_due(0.5, 3)
    assert clock.is_due(0.1, 4)
    assert not clock.is_due(0.1, 3)


def test_times_that_differ_by_rounding_become_one():
    schedules = {"record": Every(0.1), "snapshots": Every(0.3), "states": None}
    assert 3 * 0.1 != 0.3
    clocks = make_clocks(schedules, 0.6)
    assert clocks["states"] is None
    assert clocks["snapshots"].exact <= clocks["record"].exact
    assert len(clocks["record"].exact) == 7
    # The end keeps its own bits, and nothing lies beyond it.
    assert max(clocks["record"].exact) == 0.6
    assert max(make_clocks({"record": Every(0.1)}, 0.3)["record"].exact) == 0.3


def test_times_that_differ_by_more_stay_apart():
    clocks = make_clocks({"a": At([0.5]), "b": At([0.5 + 1e-9])}, 1.0)
    assert clocks["a"].exact == {0.5}
    assert clocks["b"].exact == {0.5 + 1e-9}
    assert make_clocks({"a": At([0.0, 1e-15])}, 1.0)["a"].exact == {0.0, 1e-15}


# ---- scalars


def make_evaluation(rng, grid, block, *, is_tied=False):
    x, y = rng.normal(size=(2, 5, block.d))
    waves = 1.0 + (0.0 if is_tied else 1.0) * np.cos(np.pi * grid.nodes)
    theta = 0.5 * rng.normal(size=(1, 4, block.k)) * waves[:, np.newaxis, np.newaxis]
    weights = rng.dirichlet(np.ones(5))
    problem = MeanFieldProblem(x, y, block, sample_weights=weights)
    ensemble = ParticleEnsemble(theta, rng.dirichlet(np.ones(4)))
    return evaluate(problem, grid, ensemble)


@pytest.mark.parametrize("block", [Perceptron(2), Linear(3)], ids=repr)
def test_scalars_of_a_record(block, rng):
    evaluation = make_evaluation(rng, DepthGrid.euler(3), block)
    row = observe(evaluation)
    assert set(row) <= set(scalar_names(evaluation.problem))
    assert ("invariant_spread" in row) == (block == Linear(3))
    for name in ("loss", "objective", "dissipation", "second_moment", "gradient_norm"):
        assert row[name] == getattr(evaluation, name)
    assert row["max_abs_z"] == np.abs(evaluation.z).max()
    assert row["max_abs_p"] == np.abs(evaluation.p).max()
    assert all(isinstance(value, float) for value in row.values())


def test_names_of_the_scalars(rng):
    tanh = make_evaluation(rng, DepthGrid.euler(1), Perceptron(2)).problem
    linear = make_evaluation(rng, DepthGrid.euler(1), Bilinear(2)).problem
    assert scalar_names(tanh) == SCALARS
    assert scalar_names(linear) == (*SCALARS, "invariant_spread")
    required = {"step", "loss", "objective", "dissipation", "energy_residual"}
    required |= {"second_moment", "gradient_norm", "max_abs_z", "max_abs_p"}
    required |= {"depth_roughness", "step_size", "n_evaluations", "wall_time"}
    assert required <= set(SCALARS)


def test_depth_roughness(rng):
    grid = DepthGrid.gauss(4)
    evaluation = make_evaluation(rng, grid, Perceptron(2))
    theta = evaluation.ensemble.theta
    by_hand = max(
        np.linalg.norm(theta[j + 1, m] - theta[j, m])
        / (grid.nodes[j + 1] - grid.nodes[j])
        for j in range(3)
        for m in range(4)
    )
    assert depth_roughness(evaluation) == pytest.approx(by_hand, rel=1e-14)
    one = make_evaluation(rng, DepthGrid.euler(1), Perceptron(2))
    assert depth_roughness(one) == 0.0
    tied = make_evaluation(rng, grid, Perceptron(2), is_tied=True)
    assert depth_roughness(tied) == 0.0


@pytest.mark.parametrize(
    "grid", [DepthGrid.euler(5), DepthGrid.midpoint(4), DepthGrid.rk4(2)], ids=repr
)
@pytest.mark.parametrize("block", [Linear(3), Bilinear(2)], ids=repr)
def test_invariants_of_linear_blocks(block, grid, rng):
    """T7: rounding of sums of some terms of size one."""
    evaluation = make_evaluation(rng, grid, block)
    assert invariant_spread(evaluation) < 1e-14
    # The statistic is not blind: another adjoint breaks the invariants.
    object.__setattr__(evaluation, "_p", evaluation._p[:, ::-1].copy())
    assert invariant_spread(evaluation) > 1e-3


@pytest.mark.parametrize("n_nodes", [2, 5])
def test_invariants_of_linear_blocks_on_gauss_grids(n_nodes, rng):
    """Between the ends of depth: rounding, and the tolerance 1e-14 of the stages."""
    evaluation = make_evaluation(rng, DepthGrid.gauss(n_nodes), Bilinear(2))
    assert invariant_spread(evaluation) < 1e-13
    object.__setattr__(evaluation, "_p", np.roll(evaluation._p, 1, axis=1))
    assert invariant_spread(evaluation) > 1e-4


def test_invariant_of_a_state_at_rest():
    problem = MeanFieldProblem(np.zeros((2, 2)), np.zeros((2, 2)), Bilinear(2))
    evaluation = evaluate(
        problem, DepthGrid.euler(2), ParticleEnsemble(np.ones((2, 1, 4)))
    )
    assert invariant_spread(evaluation) == 0.0
    assert hamiltonian_spread(evaluation) == 0.0


@pytest.mark.parametrize(
    ("build", "order"),
    [(DepthGrid.euler, 1), (DepthGrid.midpoint, 2), (DepthGrid.rk4, 4)],
)
def test_hamiltonian_of_tied_paths_shows_the_depth_order(build, order):
    """T17: p . F(z) is constant for a measure that is the same at all depths."""
    n = 2 ** np.arange(3, 8)
    spreads = [
        hamiltonian_spread(
            make_evaluation(
                np.random.default_rng(4), build(int(each)), Perceptron(2), is_tied=True
            )
        )
        for each in n
    ]
    observed = -np.polyfit(np.log(n), np.log(spreads), 1)[0]
    assert observed == pytest.approx(order, abs=0.1)
    assert spreads[-1] < {1: 1e-2, 2: 1e-4, 4: 1e-8}[order]


def test_hamiltonian_of_a_moving_measure_is_left_out(rng):
    evaluation = make_evaluation(rng, DepthGrid.euler(3), Perceptron(2))
    assert np.isnan(hamiltonian_spread(evaluation))


# ---- observers


def test_observers_give_numbers_and_arrays(rng):
    evaluation = make_evaluation(rng, DepthGrid.euler(2), Perceptron(2))
    observers = check_observers(
        {
            "half_loss": lambda e: 0.5 * e.loss,
            "mean_end": lambda e: e.z_end.mean(axis=0),
            "count": lambda e: 3,
        }
    )
    numbers, arrays = apply_observers(observers, evaluation)
    assert numbers == {"half_loss": 0.5 * evaluation.loss, "count": 3.0}
    np.testing.assert_array_equal(arrays["mean_end"], evaluation.z_end.mean(axis=0))
    assert check_observers(None) == {}


@pytest.mark.parametrize(
    ("observers", "error", "message"),
    [
        ({"loss": len}, ValueError, "must not reuse the name 'loss' of a recorded sc"),
        ({"s": len}, ValueError, "must not reuse the name 's'"),
        ({"invariant_spread": len}, ValueError, "must not reuse the name 'invariant"),
        ({"a b": len}, ValueError, "must have identifiers as names, got 'a b'"),
        ({"": len}, ValueError, "must have identifiers as names, got ''"),
        ({3: len}, ValueError, "must have identifiers as names, got 3"),
        ({"a": 3}, TypeError, r"`observers\['a'\]` must be a function .*got 3"),
    ],
)
def test_wrong_observers(observers, error, message):
    with pytest.raises(error, match=message):
        check_observers(observers)


@pytest.mark.parametrize("value", ["text", [[1.0], [1.0, 2.0]], object()])
def test_values_that_are_no_numbers_name_their_observer(value, rng):
    evaluation = make_evaluation(rng, DepthGrid.euler(1), Perceptron(2))
    with pytest.raises((TypeError, ValueError), match="accuracy"):
        apply_observers({"accuracy": lambda _: value}, evaluation)
