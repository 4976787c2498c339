"""Particles in (theta, t): Eqs. (18) to (20), swaps, schemes (theory, 1.4 and T19)."""

import dataclasses

import numpy as np
import pytest

import mfpde
from mfpde import (
    DecayingQuadratic,
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    evaluate,
    laws,
)
from mfpde.analysis import fit_power
from mfpde.blocks import Linear, Perceptron
from mfpde.describe import thing_of
from mfpde.run.solution import quietly
from mfpde.steppers import Heun, Langevin, make_stepper
from mfpde.theory.joint import (
    JointEnsemble,
    JointScheme,
    block_check,
    brackets,
    count_swaps,
    divided,
    evaluate_joint,
    exchanged,
    lesion_losses,
    lesion_slopes,
    pair_slopes,
    reordered,
    sample_joint,
    shuffle_slopes,
    solve_joint,
    swap_slopes,
)
from mfpde.theory.shallow import scaled

AUTODIFF = JointScheme(weights="gap", velocity="autodiff")


def perceptrons(**options):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 11, 2))
    weights = rng.uniform(0.5, 1.5, size=11)
    options = {"sample_weights": weights / weights.sum()} | options
    return MeanFieldProblem(x, options.pop("y", y), Perceptron(2), **options)


@pytest.fixture(scope="module")
def problem():
    return perceptrons()


@pytest.fixture(scope="module")
def ridged():
    """With a regulariser that decays, and a parameter that rests."""
    ridge = DecayingQuadratic(0.5, 0.7)
    return perceptrons(regulariser=ridge, metric=[0.0, 1.0, 1.0, 1.0, 2.0])


def particles(n, k=5, seed=0, shift=0.3):
    law = laws.Gaussian(np.full(k, shift), np.full(k, 0.7))
    return sample_joint(law, n, seed=seed)


def evenly(n, depths=None, seed=0):
    """Particles at even depths, but some of them, {place: t}, elsewhere."""
    t = (np.arange(n) + 0.5) / n
    for place, depth in (depths or {}).items():
        t[place] = depth
    return dataclasses.replace(particles(n, seed=seed), t=t)


def jacobian_bracket(f, g, z, step=1e-6):
    """[F, f] = (d_z f) F - (d_z F) f at z, by central differences."""

    def along(of, v):
        return (of(z + step * v) - of(z - step * v)) / (2 * step)

    return along(f, g(z)) - along(g, f(z))


def tanh_block(theta):
    u, v, b = theta[:2], theta[2:4], theta[4]
    return lambda z: v * np.tanh(u @ z + b)


def test_brackets_are_those_of_differentiated_fields(problem):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(4, 5))
    z, p = rng.normal(size=(2, 4, 11, 2))
    ranges = np.array([[0, 2, 0, 1], [4, 3, 0, 3]])
    found = brackets(problem, theta, z, p, ranges)
    for j in range(4):
        others = [tanh_block(theta[m]) for m in range(ranges[0, j], ranges[1, j])]
        values = [
            p[j, i]
            @ jacobian_bracket(
                tanh_block(theta[j]),
                lambda at, others=others: sum((f(at) for f in others), np.zeros(2)),
                z[j, i],
            )
            for i in range(11)
        ]
        expected = problem.sample_weights @ values
        # Central differences with steps of 1e-6.
        assert found[j] == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_an_exchange_changes_the_loss_by_the_commutator(problem):
    """Eq. (20): n^2 (E_swapped - E) -> mean p.[f_b, f_a], error O(1 / n)."""
    start = particles(8)
    errors, n = [], [16, 32, 64, 128]
    for n_parts in (2, 4, 8, 16):
        errors.append(block_check(problem, start, n_parts)["exchange_error"])
    fit = fit_power(n, errors)
    assert fit.exponent == pytest.approx(1.0, abs=0.1)
    assert errors[-1] < 0.02


def test_a_deleted_block_takes_its_first_variation_away(problem):
    n = [32, 64, 128, 256]
    errors = [block_check(problem, particles(8), m // 8)["lesion_error"] for m in n]
    assert fit_power(n, errors).exponent == pytest.approx(1.0, abs=0.1)
    assert errors[-1] < 0.02


@pytest.mark.parametrize("local", [{"window": 0.05}, {"n_nodes": 10}])
def test_velocity_of_t_is_minus_the_derivative_of_the_first_variation(problem, local):
    """T19: Eq. (19) against a difference of Eq. (5) along the stored trajectory."""
    n = 2000
    # Blocks in random order: F is smooth in t, but no block like its neighbours.
    start = dataclasses.replace(particles(n), t=(np.arange(n) + 0.5) / n)
    found = evaluate_joint(problem, start, JointScheme(**local))
    z, p = found.network.z, found.network.p
    reach = 100
    # Middles of cells: windows and cells are then those of the difference.
    for place in (500, 900, 1500):
        ends = []
        for at in (place - reach, place + reach):
            values = [
                p[at, i] @ tanh_block(start.theta[place])(z[at, i]) for i in range(11)
            ]
            ends.append(problem.sample_weights @ values)
        slope = (ends[1] - ends[0]) / (2 * reach / n)
        size = np.sqrt(np.mean(found.t_velocity**2))
        # An error O(h) of p and z within the window is left.
        assert -found.t_velocity[place] == pytest.approx(slope, abs=0.05 * size)


def test_moving_along_the_velocity_lowers_the_loss_at_its_dissipation(problem):
    """The sum of the jumps at swaps is the dissipation of t, Eq. (18)."""
    n, gains, rates = 800, [], []
    for seed in range(4):
        start = particles(n, seed=seed)
        scheme = JointScheme(window=0.1)
        found = evaluate_joint(problem, start, scheme)
        step = 0.1 / np.abs(found.t_velocity).max()
        t, _ = scheme.inside(start.t + step * found.t_velocity)
        moved = evaluate_joint(problem, dataclasses.replace(start, t=t), scheme)
        gains.append((moved.loss - found.loss) / step)
        rates.append(-found.t_dissipation)
    assert np.sum(gains) / np.sum(rates) == pytest.approx(1.0, abs=0.3)


def diagonal_problem():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 9, 2))
    return MeanFieldProblem(x, y, Linear(2), metric=[1.0, 0.0, 0.0, 1.0])


def diagonal_particles(n):
    found = particles(n, k=4)
    return dataclasses.replace(found, theta=found.theta * [1.0, 0.0, 0.0, 1.0])


def scalar_problem():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 9, 1))
    return MeanFieldProblem(x, y, Perceptron(1), metric=[0.0, 1.0, 0.0])


def scalar_particles(n):
    found = particles(n, k=3)
    theta = found.theta.copy()
    theta[:, 0], theta[:, 2] = 1.1, 0.2
    return dataclasses.replace(found, theta=theta)


@pytest.mark.parametrize(
    ("commuting", "start"),
    [
        (diagonal_problem(), diagonal_particles(30)),
        (scalar_problem(), scalar_particles(30)),
    ],
)
def test_blocks_that_commute_do_not_move(commuting, start):
    found = evaluate_joint(commuting, start)
    # Rounding of sums of 6 blocks.
    assert np.abs(found.t_velocity).max() < 1e-13
    assert np.abs(swap_slopes(found)).max() < 1e-13
    assert np.abs(pair_slopes(found)).max() < 1e-13
    curves = [
        solve_joint(
            commuting, start, s_end=0.5, ds=0.1, scheme=JointScheme(velocity=velocity)
        ).loss
        for velocity in ("pde", "fixed")
    ]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-12)


def test_shuffles_of_diagonal_blocks_change_nothing():
    start, options = diagonal_particles(30), {"s_end": 0.5, "ds": 0.1}
    for velocity in ("shuffle", "pde"):
        scheme = JointScheme(velocity=velocity)
        found = solve_joint(diagonal_problem(), start, scheme=scheme, **options)
        fixed = JointScheme(velocity="fixed")
        other = solve_joint(diagonal_problem(), start, scheme=fixed, **options)
        np.testing.assert_allclose(found.loss, other.loss, rtol=1e-12)
        assert (found.swaps.sum() > 0) == (velocity == "shuffle")


def test_shuffles_of_small_blocks(problem):
    """The sum of Eq. (20) over the pairs that are turned round: up to eps^3."""
    n, rng = 12, np.random.default_rng(4)
    start = dataclasses.replace(particles(n), t=rng.permutation(n) / n)
    orders = np.array([rng.permutation(n) for _ in range(5)])
    errors, sizes = [], []
    factors = np.array([0.02, 0.01, 0.005])
    for factor in factors:
        small = scaled(problem, factor)
        found = evaluate_joint(small, start)
        mixed = [reordered(start, start.order[order]) for order in orders]
        changes = [evaluate_joint(small, each).loss - found.loss for each in mixed]
        slopes = shuffle_slopes(found, orders)
        sizes.append(np.abs(slopes))
        errors.append(np.abs(n**2 * np.array(changes) - slopes))
    order = fit_power(1.0 / factors, np.array(errors)).exponent
    assert order == pytest.approx(3.0, abs=0.1)
    assert (np.median(sizes, axis=1) > 20 * np.median(errors, axis=1)).all()
    none = shuffle_slopes(found, [np.arange(n)])
    np.testing.assert_array_equal(none, [0.0])


def test_pairs_of_neighbours_are_exchanges(problem):
    """The same bracket, with the adjoint one block earlier."""
    for n, most in ((20, 0.1), (80, 0.03)):
        found = evaluate_joint(problem, particles(n))
        pairs, exchanges = np.diag(pair_slopes(found), 1), swap_slopes(found)
        assert np.abs(pairs - exchanges).max() < most * np.abs(exchanges).max()


@pytest.mark.parametrize("name", ["problem", "ridged"])
def test_the_derivative_in_t_with_gap_weights(name, request):
    """It is that of the objective: M2 is the sum of gaps times |theta|^2, too."""
    given, start, s = request.getfixturevalue(name), particles(20), 0.3
    found = evaluate_joint(given, start, AUTODIFF, s)
    step = 1e-6
    for j in range(20):
        values = []
        for sign in (1, -1):
            t = start.t.copy()
            t[j] += sign * step
            moved = dataclasses.replace(start, t=t)
            values.append(evaluate_joint(given, moved, AUTODIFF, s).objective)
        slope = (values[0] - values[1]) / (2 * step)
        assert found.t_gradient[j] == pytest.approx(slope, rel=1e-6, abs=1e-8)
    np.testing.assert_array_equal(found.t_velocity, -20 * found.t_gradient)
    uniform = evaluate_joint(given, start, JointScheme(velocity="autodiff"), s)
    assert not uniform.t_velocity.any()
    assert not uniform.t_gradient.any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("gap", [1e-3, 1e-9, 0.0])
def test_the_derivative_in_t_where_depths_come_together(dtype, gap):
    start = dataclasses.replace(particles(5), t=[0.1, 0.3, 0.3 + gap, 0.6, 0.8])
    given = perceptrons(dtype=dtype)
    found = evaluate_joint(given, start, AUTODIFF)
    z, p = found.network.z, found.network.p
    values = [
        [p[j + 1, i] @ tanh_block(start.theta[j])(z[j, i]) for i in range(11)]
        for j in range(5)
    ]
    slopes = np.array(values) @ given.sample_weights
    expected = -np.diff(slopes, prepend=0.0)
    # Units of rounding, whatever the gap.
    error = np.abs(found.t_gradient - expected).max() / np.abs(expected).max()
    assert error < 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(lesion_slopes(found), slopes, rtol=1e-5)


def test_uniform_weights_are_an_ordinary_network(problem):
    start = particles(12)
    found = evaluate_joint(problem, start)
    layers = ParticleEnsemble(start.theta[start.order][:, None])
    other = evaluate(problem, DepthGrid.euler(12), layers)
    assert found.loss == other.loss
    np.testing.assert_array_equal(found.velocity[start.order], other.velocity[:, 0])


def test_labels_do_not_matter(problem):
    start = particles(12)
    order = np.random.default_rng(0).permutation(12)
    mixed = JointEnsemble(start.theta[order], start.t[order])
    one, other = evaluate_joint(problem, start), evaluate_joint(problem, mixed)
    assert one.loss == other.loss
    np.testing.assert_array_equal(one.t_velocity[order], other.t_velocity)
    np.testing.assert_array_equal(one.velocity[order], other.velocity)


def test_the_loss_falls_between_swaps(problem):
    """dE/ds = -D between swaps: the ledger differs from E where blocks exchange."""
    found = solve_joint(
        problem, particles(12), s_end=2.0, ds=0.01, stepper="rk4",
        record=np.linspace(0.0, 2.0, 201),
    )  # fmt: skip
    assert found.status == "finished"
    assert found.n_steps == 200
    calm = found.swaps == 0
    assert 100 < np.count_nonzero(calm) < 200
    jumps = np.diff(found.swap_gain)
    assert (np.diff(found.loss)[calm] < 0).all()
    # RK4 with ds = 0.01; a swap to and fro within a step is not counted.
    assert np.abs(jumps[calm]).max() < 1e-7
    assert np.abs(jumps[~calm]).max() > 1e-5


@pytest.mark.parametrize("name", ["problem", "ridged"])
@pytest.mark.parametrize("weights", ["uniform", "gap"])
@pytest.mark.parametrize("velocity", ["pde", "autodiff"])
def test_the_ledger_holds_between_swaps(name, weights, velocity, request):
    """Gaps depend on t, whatever moves it: dE_s/ds has a part of t with any scheme."""
    # No window: F of Eq. (19) jumps where particles enter one.
    options = {"weights": weights, "velocity": velocity, "n_nodes": 1}
    found = solve_joint(
        request.getfixturevalue(name), evenly(6), s_end=0.02, ds=0.001, stepper="rk4",
        scheme=JointScheme(rate=0.2, **options),
    )  # fmt: skip
    assert found.swaps.sum() == 0
    is_moving = (weights, velocity) != ("uniform", "autodiff")
    assert (found.t_dissipation[0] > 1e-3) == is_moving
    assert abs(found.swap_gain[-1]) < 1e-10
    if velocity == "autodiff":
        assert found.objective[-1] < found.objective[0]


@pytest.mark.parametrize("ends", ["clamp", "reflect"])
@pytest.mark.parametrize(("place", "depth", "seed"), [(0, 0.0, 0), (-1, 1.0, 3)])
def test_no_depth_moves_out_of_an_end(problem, place, depth, seed, ends):
    """What the end holds back is no part of the rates, nor of the dissipation."""
    scheme = dataclasses.replace(AUTODIFF, rate=0.1, ends=ends)
    start = evenly(6, {place: depth}, seed)
    found = evaluate_joint(problem, start, scheme)
    # Outward: t = 0 would fall, t = 1 would rise.
    assert (found.t_gradient[place] < 0.0) == (depth == 1.0)
    assert found.t_velocity[place] == 0.0
    rest = np.delete(found.t_velocity, place)
    expected = -0.6 * np.delete(found.t_gradient, place)
    np.testing.assert_allclose(rest, expected, rtol=1e-15)
    assert found.t_dissipation == pytest.approx(np.sum(rest**2) / 6 / 0.1, rel=1e-13)
    expected = found.network.ledger_rate - found.t_dissipation
    assert found.ledger_rate == pytest.approx(expected, rel=1e-13)
    options = {"s_end": 0.05, "ds": 0.005, "scheme": scheme, "stepper": "rk4"}
    solution = solve_joint(problem, start, **options)
    assert solution.swaps.sum() == 0
    assert solution.t[-1, place] == depth
    # RK4 with ds = 0.005.
    assert abs(solution.swap_gain[-1]) < 1e-8


@pytest.mark.parametrize("ends", ["clamp", "reflect"])
@pytest.mark.parametrize("stepper", ["euler", "rk4"])
def test_the_ledger_of_a_depth_that_is_driven_to_an_end(problem, stepper, ends):
    """It counts the way that was made, not the one beyond the end: that is 2e-3."""
    scheme = dataclasses.replace(AUTODIFF, rate=0.1, ends=ends)
    errors = []
    for n_steps in (10, 40):
        # Beside a depth that is at the end from the start: Euler's own error.
        gains = []
        for depth in (0.001, 0.0):
            found = solve_joint(
                problem, evenly(6, {0: depth}), s_end=0.1, ds=0.1 / n_steps,
                scheme=scheme, stepper=stepper,
            )  # fmt: skip
            assert found.swaps.sum() == 0
            assert found.t[-1, 0] < 0.1 / n_steps
            gains.append(found.swap_gain[-1])
        errors.append(abs(gains[0] - gains[1]))
    assert errors[1] < errors[0] / 2
    assert errors[1] < 1e-4


def test_explicit_euler_is_first_order_between_swaps(problem):
    start = dataclasses.replace(particles(6), t=(np.arange(6) + 0.5) / 6)
    scheme = dataclasses.replace(AUTODIFF, rate=0.01)
    steps, n = {"euler": 1, "heun": 2}, [8, 16, 32, 64]
    for stepper, order in steps.items():
        ends = [
            solve_joint(
                problem, start, s_end=0.4, ds=0.4 / m, scheme=scheme, stepper=stepper
            ).t[-1]
            for m in [*n, 512]
        ]
        errors = [np.abs(end - ends[-1]).max() for end in ends[:-1]]
        fit = fit_power(n[:3], errors[:3])
        assert fit.exponent == pytest.approx(order, abs=0.15)


def test_counting_swaps():
    assert count_swaps([0, 1, 2], [0, 1, 2]) == 0
    assert count_swaps([0, 1, 2], [2, 1, 0]) == 3
    assert count_swaps([3, 0, 1, 2], [0, 1, 2, 3]) == 3
    rng = np.random.default_rng(0)
    before, after = rng.permutation(7), rng.permutation(7)
    pairs = [
        (list(before).index(a) < list(before).index(b))
        != (list(after).index(a) < list(after).index(b))
        for a in range(7)
        for b in range(a)
    ]
    assert count_swaps(before, after) == sum(pairs)


def test_depths_stay_inside():
    t, sign = JointScheme().inside(np.array([-0.2, 0.3, 1.1, 2.3, -1.2]))
    np.testing.assert_allclose(t, [0.2, 0.3, 0.9, 0.3, 0.8])
    np.testing.assert_array_equal(sign, [-1, 1, -1, 1, 1])
    t, sign = JointScheme(ends="clamp").inside(np.array([-0.2, 0.3, 1.1]))
    np.testing.assert_allclose(t, [0.0, 0.3, 1.0])
    assert (sign == 1).all()


@pytest.mark.parametrize("ends", ["reflect", "clamp"])
def test_particles_that_run_into_an_end(problem, ends):
    start = particles(10)
    scheme = JointScheme(rate=50.0, ends=ends, weights="gap")
    found = solve_joint(problem, start, s_end=0.5, ds=0.05, scheme=scheme)
    assert found.t.min() >= 0.0
    assert found.t.max() <= 1.0
    is_at_an_end = np.isin(found.t[-1], (0.0, 1.0))
    assert is_at_an_end.any() == (ends == "clamp")


def test_the_same_run_twice(problem):
    options = {"s_end": 0.3, "ds": 0.1, "scheme": JointScheme(velocity="shuffle")}
    one, other = (solve_joint(problem, particles(9), **options) for _ in range(2))
    np.testing.assert_array_equal(one.theta, other.theta)
    np.testing.assert_array_equal(one.t, other.t)


def test_a_blow_up_keeps_the_last_good_state(problem):
    start = particles(4)
    found = quietly(solve_joint)(problem, start, s_end=1e9, ds=1e8, stepper="euler")
    assert found.status in ("finished", "failed")
    huge = dataclasses.replace(start, theta=start.theta * 1e200)
    linear = MeanFieldProblem(problem.x, problem.y, Linear(2))
    big = JointEnsemble(np.full((4, 4), 30.0), huge.t)
    with pytest.warns(mfpde.errors.UnfinishedWarning, match="not finite"):
        failed = solve_joint(linear, big, s_end=10.0, ds=10.0, stepper="rk4")
    assert failed.status == "failed"
    assert "not finite" in failed.message
    assert failed.s[-1] < 10.0


def test_steps_that_blow_up_but_stay_finite_fail(problem):
    linear = MeanFieldProblem(problem.x, problem.y, Linear(2))
    start = JointEnsemble(np.full((4, 4), 0.1), particles(4).t)
    options = {"scheme": JointScheme(velocity="fixed"), "stepper": "euler"}
    with pytest.warns(mfpde.errors.UnfinishedWarning, match="the steps are too large"):
        found = solve_joint(linear, start, s_end=6e3, ds=6.0, **options)
    assert found.status == "failed"
    assert np.isfinite(found.loss).all()


def test_particles_that_overflow_end_the_run(problem):
    """theta or t itself, before any state: rates times a step."""
    start, step = particles(4), 1.7e308
    for options in ({"rate": 1e5}, {"velocity": "fixed"}):
        steep = (
            perceptrons(metric=np.full(5, 1e5)) if "rate" not in options else problem
        )
        failed = quietly(solve_joint)(
            steep, start, s_end=step, ds=step, stepper="euler",
            scheme=JointScheme(**options),
        )  # fmt: skip
        assert failed.status == "failed"
        assert "particles are not finite" in failed.message
        np.testing.assert_array_equal(failed.theta[-1], start.theta)


def test_lesions_by_hand(problem):
    start = particles(5)
    found = evaluate_joint(problem, start)
    theta = np.delete(start.theta[start.order], 2, axis=0)
    grid = DepthGrid.layers(4, 0.2)
    expected = evaluate(problem, grid, ParticleEnsemble(theta[:, None])).loss
    assert lesion_losses(found, [2])[0] == pytest.approx(expected, rel=1e-14)
    z, p = found.network.z, found.network.p
    block = tanh_block(start.theta[start.order][2])
    values = [p[3, i] @ block(z[2, i]) for i in range(11)]
    expected = problem.sample_weights @ values
    assert lesion_slopes(found)[2] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("t", [None, np.zeros(6), [0.5, 0.5, 0.2, 0.2, 0.2, 1.0]])
def test_exchanging_and_reordering(t):
    """Also at equal depths, of which the first particle comes first."""
    start = particles(6)
    start = start if t is None else dataclasses.replace(start, t=t)
    layers = start.theta[start.order]
    found = exchanged(start, [0, 3])
    np.testing.assert_array_equal(found.theta[found.order], layers[[1, 0, 2, 4, 3, 5]])
    np.testing.assert_array_equal(np.sort(found.t), np.sort(start.t))
    other = reordered(start, start.order[::-1])
    np.testing.assert_array_equal(other.theta[other.order], layers[::-1])
    same = exchanged(start, [])
    np.testing.assert_array_equal(same.theta, start.theta)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: exchanged(e, [2, 3]), ValueError, "at least two apart"),
        (lambda e: exchanged(e, [-1]), ValueError, "`layers` must lie from 0 to 4"),
        (lambda e: exchanged(e, [5]), ValueError, "`layers` must lie from 0 to 4"),
        (lambda e: exchanged(e, [0.5]), TypeError, "`layers` must hold integers"),
        (lambda e: exchanged(e, 1), TypeError, "`layers` must be a sequence of"),
        (lambda e: exchanged(particles(1), [0]), ValueError, "two particles or more"),
        (lambda e: reordered(e, [0, 0, 0, 1, 2, 3]), ValueError, "each of the part"),
        (lambda e: reordered(e, [0, 1]), ValueError, "`order` must hold each"),
        (lambda e: reordered(e, 3), ValueError, "`order` must hold each"),
        (
            lambda e: reordered(e, np.arange(6.0)),
            TypeError,
            "`order` must hold integers",
        ),
        (lambda e: divided(e, 0), ValueError, "`n_parts` must be at least 1"),
    ],
)
def test_what_cannot_be_exchanged(call, error, message):
    with pytest.raises(error, match=message):
        call(particles(6))


def test_lesions_that_are_refused(problem):
    found = evaluate_joint(problem, particles(3))
    with pytest.raises(ValueError, match="`layers` must lie from 0 to 2, got 3"):
        lesion_losses(found, [1, 3])
    alone = evaluate_joint(problem, particles(1))
    with pytest.raises(ValueError, match="two particles or more, got 1"):
        lesion_losses(alone, [0])
    with pytest.raises(ValueError, match="two particles or more, got 1"):
        block_check(problem, particles(1), 2)


def test_the_check_of_blocks_that_do_nothing(problem):
    """Loss, first variations and commutators are 0: nothing to be relative to."""
    solved = perceptrons(y=problem.x)
    found = block_check(solved, JointEnsemble(np.zeros((4, 5)), np.arange(4) / 4), 2)
    assert not any(found.values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"theta": np.ones((3, 4))}, r"`theta` must have shape \(n_blocks, 5\)"),
        ({"theta": np.full((3, 5), np.nan)}, "`theta` must be finite"),
        ({"z": np.ones((2, 11, 2))}, r"`z` must have shape .* \(3, 11, 2\)"),
        ({"p": np.ones((3, 11))}, r"`p` must have shape .* \(3, 11, 2\)"),
        ({"ranges": np.zeros((2, 2), int)}, r"shape \(2, n_blocks\) = \(2, 3\)"),
        ({"ranges": np.zeros((2, 3))}, "`ranges` must hold integers"),
        ({"ranges": [[0, 0, 0], [3, 3, 4]]}, "got 0 and 4 for block 2"),
        ({"ranges": [[0, -1, 0], [3, 3, 3]]}, "got -1 and 3 for block 1"),
        ({"ranges": [[2, 0, 0], [1, 3, 3]]}, "got 2 and 1 for block 0"),
    ],
)
def test_brackets_refuse_what_does_not_fit(problem, changed, message):
    given = {"theta": np.ones((3, 5)), "z": np.ones((3, 11, 2))}
    given |= {"p": np.ones((3, 11, 2)), "ranges": [[0, 0, 0], [3, 3, 3]]}
    assert brackets(problem, **given).shape == (3,)
    with pytest.raises((ValueError, TypeError), match=message):
        brackets(problem, **given | changed)


@pytest.mark.parametrize("name", ["dopri5", "rkc2", "auto"])
def test_steppers_that_adapt_are_refused(problem, name):
    for stepper in (name, thing_of("stepper", name)(), make_stepper(name, ds=None)):
        with pytest.raises(ValueError, match="`stepper` must have fixed steps"):
            solve_joint(problem, particles(3), s_end=1, ds=None, stepper=stepper)


def test_steppers_with_noise_are_refused(problem):
    for stepper in ("langevin", Langevin(0.1, 0.01), Langevin(0.0, 0.01)):
        with pytest.raises(ValueError, match="`stepper` must be without noise"):
            solve_joint(problem, particles(3), s_end=1, ds=None, stepper=stepper)


def test_a_stepper_may_be_an_object_with_fixed_steps(problem):
    options = {"s_end": 0.02, "scheme": JointScheme(window=0.4)}
    one = solve_joint(problem, particles(3), ds=None, stepper=Heun(0.01), **options)
    other = solve_joint(problem, particles(3), ds=0.01, stepper="heun", **options)
    np.testing.assert_array_equal(one.theta, other.theta)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"problem": 3}, "`problem` must be a MeanFieldProblem, got int"),
        ({"ensemble": 3}, "`ensemble` must be a JointEnsemble, got int"),
        ({"scheme": "uniform"}, "`scheme` must be a JointScheme, got str"),
        ({"observers": {"a": 3}}, r"`observers\['a'\]` must be a function"),
        ({"observers": [len]}, "`observers` must be a dict"),
        ({"stepper": 3}, "`stepper` must be a name or an object"),
    ],
)
def test_what_has_the_wrong_type(problem, changed, message):
    given = {"problem": problem, "ensemble": particles(3), "s_end": 0.1, "ds": 0.1}
    given |= changed
    with pytest.raises(TypeError, match=message):
        solve_joint(given.pop("problem"), given.pop("ensemble"), **given)


@pytest.mark.parametrize(
    "options", [{"n_nodes": 2.5}, {"n_nodes": "a"}, {"n_nodes": True}, {"seed": "a"}]
)
def test_options_that_must_be_integers(options):
    with pytest.raises(TypeError, match=f"`{next(iter(options))}` must be an integer"):
        JointScheme(**options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: JointEnsemble(np.ones((3, 5)), [0.1, 0.2]), "must have shapes"),
        (lambda p: JointEnsemble(np.ones((1, 5)), [1.2]), r"must lie in \[0, 1\]"),
        (lambda p: JointScheme(weights="gaps"), "Did you mean"),
        (lambda p: JointScheme(velocity="ode"), "`velocity` must be one of"),
        (lambda p: JointScheme(n_nodes=0), "`n_nodes` must be at least 1"),
        (lambda p: JointScheme(window=0.0), "`window` must be"),
        (lambda p: sample_joint(laws.Gaussian(0, 1), 3, depths="eve"), "`depths` must"),
        (lambda p: sample_joint(laws.Gaussian(0, 1), 0), "`n_particles` must be at"),
        (lambda p: sample_joint(laws.Gaussian(0, 1), 3, seed=-1), "`seed` must be at"),
        (lambda p: evaluate_joint(p, particles(3, k=4)), r"theta of shape .*, 5\)"),
    ],
)
def test_what_is_refused(problem, call, message):
    with pytest.raises(ValueError, match=message):
        call(problem)
