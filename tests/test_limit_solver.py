"""`solve_limit`: exact cases, what it refuses, and what it says out of reach."""

from __future__ import annotations

import functools
import math
import signal

import numpy as np
import pytest
from exact import integrate

import mfpde
from mfpde.laws.provenance import Provenance
from mfpde.limit.search import coarsest_grid, grids, search_depth
from mfpde.limit.solves import Accuracy, Solves
from mfpde.report.summary import account
from mfpde.waiting import waiting

X, Y = 1.3, 2.0
WIDE = mfpde.laws.Uniform(-math.sqrt(3.0), math.sqrt(3.0), 3)
# The last number, the bias, hardly matters.
UNEVEN = mfpde.laws.Uniform([-1.7, -1.7, -0.01], [1.7, 1.7, 0.01])
NORMAL = mfpde.laws.Gaussian(0.0, 1.0, 3)


def bilinear():
    return mfpde.MeanFieldProblem([X], [Y], mfpde.blocks.Bilinear(1))


def exact_bilinear(s, sigma):
    """z(1) of T3 at the times s, with E u^2 = E v^2 = sigma^2 and r(0) = 0."""

    def rhs(_, r):
        z = X * np.exp(r)
        return -2.0 * np.sqrt(r**2 + sigma**4) * z * (z - Y)

    return X * np.exp(integrate(rhs, 0.0, s)[:, 0])


def golden():
    x = np.linspace(-1.0, 1.0, 8)
    block = mfpde.blocks.Perceptron(1)
    return mfpde.MeanFieldProblem(x, np.sin(2.5 * x), block)


def outputs_of(problem, ensemble, grid, s_end, rtol):
    *_, state = mfpde.iterate(
        problem, grid, ensemble, s_end=s_end, rtol=rtol, atol=0.1 * rtol
    )
    return state.evaluation.output


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
def test_the_bilinear_flow_to_any_tolerance(tol):
    s = [0.3, 1.0]
    law = mfpde.laws.Gaussian(0.0, 0.7, 2)
    solution = mfpde.solve_limit(bilinear(), law, s_end=1.0, tol=tol, record=s)
    np.testing.assert_array_equal(solution.s, [0.0, *s])
    outputs = solution.observations["output"][1:, 0, 0]
    true = np.abs(outputs - exact_bilinear(s, 0.7)).max()
    assert true < 3.0 * solution.estimated_error
    assert solution.estimated_error <= tol
    assert solution.estimated_error == solution.error.output
    assert solution.converged
    assert "below the tolerance" in solution.message
    own = solution.ensemble.theta[..., 0].size * solution.n_evaluations
    assert solution.n_kernel_evaluations > own
    assert solution.n_kernel_evaluations == own + solution.error.n_kernel_evaluations


@pytest.mark.parametrize("law", [mfpde.laws.Dirac(-0.4, 1), mfpde.laws.Gaussian(-1, 1)])
def test_the_linear_flow_needs_no_more_than_the_mean(law):
    problem = mfpde.MeanFieldProblem([X], [Y], mfpde.blocks.Linear(1))
    solution = mfpde.solve_limit(problem, law, s_end=1.5, tol=1e-8)
    mean = -0.4 if law.n_random == 0 else -1.0

    def rhs(_, u):
        return -(u**2) * (u - Y)

    exact = integrate(rhs, X * math.exp(mean), 1.5)[-1, 0]
    true = abs(solution.observations["output"][-1, 0, 0] - exact)
    assert true < 3.0 * solution.estimated_error <= 3e-8
    assert solution.ensemble.n_particles <= 4


def test_a_cloud_is_its_own_law():
    cloud = mfpde.laws.PointCloud(0.7 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]))
    solution = mfpde.solve_limit(bilinear(), cloud, s_end=1.0, tol=1e-7)
    true = abs(solution.observations["output"][-1, 0, 0] - exact_bilinear(1.0, 0.7)[0])
    assert solution.error.parts["output"]["particles"] == 0.0
    assert true < 3.0 * solution.estimated_error <= 3e-7
    assert "that are the law itself" in solution.message


GOLDEN = {
    "uniform, loose": (WIDE, 1e-5, 10_000),
    "normal, loose": (NORMAL, 3e-4, 30_000),
    "uneven, loose": (UNEVEN, 1e-5, 10_000),
    "uniform": (WIDE, 1e-8, 10_000),
    "normal": (NORMAL, 1e-6, 30_000),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if "loose" in n else pytest.mark.slow) for n in GOLDEN],
)
def test_the_tanh_flow_against_a_much_finer_rule(name):
    law, tol, most = GOLDEN[name]
    solution = mfpde.solve_limit(
        golden(), law, s_end=8.0, tol=tol, max_particles=most, max_nodes=16
    )
    assert solution.estimated_error <= tol
    assert solution.ensemble.n_particles <= most
    assert solution.grid.n_nodes <= 16
    origin = solution.initial.ensemble.provenance
    finer = [n + 2 * (n // 8 + 1) for n in origin.rule.counts]
    grid = mfpde.DepthGrid.gauss(solution.grid.n_nodes + 1)
    ensemble = origin.with_counts(finer).ensemble(grid)
    rtol = 0.2 * solution.initial.method.rtol
    exact = outputs_of(golden(), ensemble, grid, 8.0, rtol)
    true = np.abs(solution.observations["output"][-1] - exact).max()
    assert true < min(tol, 3.0 * solution.estimated_error)
    assert solution.estimated_error < 30.0 * true


def test_many_numbers_take_sobol_points_with_an_honest_spread():
    law = mfpde.laws.standard_path(2, 0.5, 0.5)
    law = mfpde.laws.Path([*law.coefficients, law.coefficients[0]], ["1", "t", "t"])
    solution = mfpde.solve_limit(bilinear(), law, s_end=0.5, tol=0.05, seed=5)
    assert "scrambled Sobol" in solution.message
    assert solution.estimated_error <= 0.05
    grid = mfpde.DepthGrid.gauss(3)
    finer = law.sample(grid, 8192, method="sobol", seed=99)
    exact = outputs_of(bilinear(), finer, grid, 0.5, 1e-6)
    true = np.abs(solution.observations["output"][-1] - exact).max()
    assert true < 3.0 * solution.estimated_error


def test_a_kink_warns_and_is_sampled():
    block = mfpde.blocks.Perceptron(1, "relu")
    problem = mfpde.MeanFieldProblem([0.5, -0.5], [1.0, 0.0], block)
    options = {"s_end": 0.5, "max_particles": 512}
    with pytest.warns(mfpde.errors.ToleranceWarning) as caught:
        solution = mfpde.solve_limit(problem, NORMAL, tol=5e-4, **options)
    first, last = (str(each.message) for each in caught)
    assert "has a kink, which limits the order" in first
    assert "the tolerance 0.0005 is out of reach" in last
    assert "`max_particles` = 512" in last
    assert last == solution.message
    assert solution.estimated_error > 5e-4
    grid = mfpde.DepthGrid.gauss(4)
    finer = NORMAL.sample(grid, 8192, method="sobol", seed=77)
    # A kink: tighter tolerances cost dopri5 as many more steps.
    exact = outputs_of(problem, finer, grid, 0.5, 1e-4)
    true = np.abs(solution.observations["output"][-1] - exact).max()
    assert true / 3.0 < solution.estimated_error < 30.0 * true


def test_caps_leave_the_best_answer_so_far():
    options = {"s_end": 2.0, "tol": 1e-9}
    with pytest.warns(
        mfpde.errors.ToleranceWarning, match="pass `max_particles` = 200"
    ):
        few = mfpde.solve_limit(golden(), WIDE, max_particles=200, **options)
    assert few.ensemble.n_particles <= 200
    with pytest.warns(mfpde.errors.ToleranceWarning, match="would pass `max_cost`"):
        cheap = mfpde.solve_limit(golden(), WIDE, max_cost=1.5e7, **options)
    assert cheap.n_kernel_evaluations < 1.5e7
    assert cheap.converged
    with pytest.raises(ValueError, match="do not suffice for the coarsest levels"):
        mfpde.solve_limit(golden(), WIDE, max_cost=1e4, **options)
    problem = mfpde.MeanFieldProblem([X], [Y], mfpde.blocks.Linear(1))
    steep = mfpde.laws.Dirac(lambda t: np.tanh(40.0 * (t - 0.3)), 1)
    with pytest.warns(mfpde.errors.ToleranceWarning, match="depth has `max_nodes` = 8"):
        rough = mfpde.solve_limit(problem, steep, s_end=0.1, tol=1e-8, max_nodes=8)
    assert rough.grid.n_nodes == 8
    assert rough.error.parts["output"]["depth"] > 1e-8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tol": -1e-3}, "`tol`"),
        ({"tol": 1e-14}, "`tol` must be at least 2e-12"),
        ({"s_end": -1.0}, "`s_end`"),
        ({"max_particles": 0}, "`max_particles`"),
        ({"max_cost": -1.0}, "`max_cost`"),
        ({"max_nodes": 2}, "`max_nodes` must be at least 3"),
        ({"method": "sobel"}, "`method` must be one of .*sobol"),
        ({"record": mfpde.recording.Steps(2)}, "`record` must name training times"),
        ({"observables": {"output": len}}, "`observables` must not use"),
        ({"law": NORMAL}, "`law` must have the k = 2 parameters"),
    ],
)
def test_bad_input_is_refused(changes, message):
    law = mfpde.laws.Gaussian(0.0, 1.0, 2)
    options = {"law": law, "s_end": 1.0, "tol": 1e-3} | changes
    with pytest.raises(ValueError, match=message):
        mfpde.solve_limit(bilinear(), **options)


def test_laws_that_quadrature_cannot_take():
    class Mixed(mfpde.laws.Law):
        n_params = n_random = 2
        is_constant_in_t = True

        def paths(self, u, t):
            return np.broadcast_to(u, (len(t), *u.shape))

    options = {"s_end": 0.2, "tol": 0.05}
    with pytest.raises(ValueError, match=r"independent numbers \(a product\)"):
        mfpde.solve_limit(bilinear(), Mixed(), method="quadrature", **options)
    assert "Sobol" in mfpde.solve_limit(bilinear(), Mixed(), **options).message
    block = mfpde.blocks.Perceptron(6)
    problem = mfpde.MeanFieldProblem(np.ones((2, 6)), np.ones((2, 6)), block)
    law = mfpde.laws.Gaussian(0.0, 1.0, 13)
    with pytest.raises(ValueError, match="each of the 13 random numbers"):
        mfpde.solve_limit(problem, law, method="quadrature", **options)
    with pytest.raises(TypeError, match="`law` must be a law"):
        mfpde.solve_limit(problem, "gaussian", **options)


def test_a_final_solve_that_is_stopped_has_no_error(monkeypatch):
    law = mfpde.laws.Gaussian(0.0, 0.7, 2)

    def stop(*args, **options):
        return mfpde.solve(*args, **options, wall_time_s=1e-9)

    monkeypatch.setattr("mfpde.limit.levels.quietly", lambda solve: stop)
    solution = mfpde.solve_limit(bilinear(), law, s_end=1.0, tol=1e-4)
    assert solution.status == "interrupted"
    assert solution.error is None
    assert solution.estimated_error is None


def interrupted(at, **options):
    """The end of a search that SIGINT stops at a number of steps, and their s."""
    steps = []

    def progress(s, s_end, loss, n_steps, objective):
        steps.append(s)
        if len(steps) == at:
            signal.raise_signal(signal.SIGINT)

    law = mfpde.laws.Gaussian(0.0, 0.7, 2)
    options = {"s_end": 1.0, "tol": 1e-4, "progress": progress} | options
    with pytest.raises(mfpde.errors.Interrupted) as ending:
        mfpde.solve_limit(bilinear(), law, **options)
    return ending.value, steps


def test_an_interrupted_search_keeps_the_best_answer():
    handler = signal.getsignal(signal.SIGINT)
    ending, _ = interrupted(2)
    assert ending.solution is None
    assert str(ending) == "Stopped by SIGINT: before any answer was found."
    whole = mfpde.solve_limit(
        bilinear(), mfpde.laws.Gaussian(0.0, 0.7, 2), s_end=1.0, tol=1e-4
    )
    ending, steps = interrupted(40)
    found = ending.solution
    assert steps.count(0.0) > 1
    assert found.status == "interrupted"
    assert "The best answer so far has DepthGrid.gauss(" in str(ending)
    assert found.s.tolist() == [0.0, 1.0]
    assert found.observations["output"].shape == (2, 1, 1)
    # Coarser, but whole.
    assert found.loss[-1] == pytest.approx(whole.loss[-1], rel=0.1)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_final_solve_that_is_interrupted_says_where_it_is(tmp_path):
    path, ends = tmp_path / "a.h5", []

    def progress(s, s_end, loss, n_steps, objective):
        if path.exists() and s > 0.3 and not ends:
            ends.append(s)
            signal.raise_signal(signal.SIGINT)

    ending, _ = interrupted(0, output=path, progress=progress)
    assert f"{path} is at s = {ends[0]:g}: resume it." in str(ending)
    assert ending.solution.s[-1] == 1.0
    with mfpde.open_run(path) as run:
        assert run.status == "interrupted"


def test_a_search_says_what_it_does(capsys, monkeypatch):
    often = functools.partial(waiting, every_s=0.02)
    monkeypatch.setattr("mfpde.limit.solver.waiting", often)
    law = mfpde.laws.Gaussian(0.0, 0.7, 2)
    options = {"s_end": 1.0, "tol": 1e-6, "progress": True}
    mfpde.solve_limit(bilinear(), law, **options)
    text = capsys.readouterr().err
    assert "mfpde: looking for the levels of the limit, " in text


def test_the_file_holds_outputs_errors_and_choices(tmp_path):
    path = tmp_path / "limit.h5"
    law = mfpde.laws.Gaussian(0.0, 0.7, 2)
    solution = mfpde.solve_limit(
        bilinear(),
        law,
        s_end=1.0,
        tol=1e-5,
        output=path,
        observables={"largest": lambda evaluation: np.abs(evaluation.z).max()},
    )
    with mfpde.open_run(path) as run:
        assert run.errors["largest"] == solution.error.table()["largest"]
        assert run.observations["output"].shape == (2, 1, 1)
        assert "Chosen: DepthGrid.gauss" in " ".join(account(run).split())
    with pytest.raises(FileExistsError):
        mfpde.solve_limit(bilinear(), law, s_end=1.0, tol=1e-2, output=path)


def test_a_strong_field_gets_more_elements():
    problem = mfpde.MeanFieldProblem([0.1], [0.1], mfpde.blocks.Linear(1))
    rule = Provenance(mfpde.laws.Dirac(5.0, 1), 1)
    solves = Solves(problem, np.zeros(1))
    assert coarsest_grid(solves, rule, Accuracy()).n_steps > 1
    nodes = [grid.n_nodes for grid in grids(2, 64)]
    assert nodes == sorted(set(nodes))
    assert nodes[0] == 4
    assert nodes[-1] == 64


def test_the_search_in_depth_finds_the_first_grid_that_is_good_enough():
    problem = mfpde.MeanFieldProblem([1.0], [1.0], mfpde.blocks.Linear(1))
    rule = Provenance(mfpde.laws.Dirac(1.0, 1), 1)
    solves = Solves(problem, np.zeros(1))
    first = mfpde.DepthGrid.gauss(2)
    found = search_depth(solves, first, rule, Accuracy(), 1e-4, 64)
    # Gauss with n stages gives the diagonal Pade approximant of e: 19/7, 193/71, ...
    assert found.level.n_nodes == 3
    assert found.error["output"] == pytest.approx(193 / 71 - math.e, rel=0.05)
    n_solves = len(solves._found)
    again = search_depth(solves, first, rule, Accuracy(), 1e-2, 64)
    assert again.level.n_nodes == 2
    assert len(solves._found) == n_solves, "all levels are known"


def test_an_error_in_depth_that_grows_with_the_particles_refines_again(monkeypatch):
    """Few particles that hide an error in depth are found out by the check."""
    law = mfpde.laws.Gaussian(0.0, 0.7, 2)
    calm = mfpde.solve_limit(bilinear(), law, s_end=1.0, tol=1e-6)
    name = "mfpde.limit.levels.Search._depth_factor"
    monkeypatch.setattr(name, lambda self, rule: 1e4)
    wary = mfpde.solve_limit(bilinear(), law, s_end=1.0, tol=1e-6)
    assert wary.grid.n_nodes > calm.grid.n_nodes
    assert wary.estimated_error <= 1e-6
    monkeypatch.setattr(name, lambda self, rule: 1e8)
    with pytest.warns(mfpde.errors.ToleranceWarning, match="has `max_nodes` = 4"):
        mfpde.solve_limit(bilinear(), law, s_end=1.0, tol=1e-6, max_nodes=4)
