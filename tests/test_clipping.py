"""The clipping pi of Eq. (10): its form, the flow with it, and the ledger."""

import numpy as np
import pytest

import mfpde
from mfpde import Clipping, DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate
from mfpde.blocks import Bias, Perceptron
from mfpde.config import parse
from mfpde.config.assembly import build
from mfpde.networks.parts import evaluate_in_parts
from mfpde.readouts import Linear

FORMS = ("hard", "smooth")


def small_problem(rng, clipping, **options):
    x, y = rng.normal(size=(2, 5, 2))
    maps = {
        "embedding": Linear(rng.normal(size=(2, 2)), trainable=True, rate=0.5),
        "readout": Linear(rng.normal(size=(2, 2)), trainable=True),
    }
    metric = rng.uniform(0.5, 2.0, size=5)
    return MeanFieldProblem(
        x, y, Perceptron(2), metric=metric, clipping=clipping, **maps, **options
    )


def cloud(rng, n_nodes, n_particles=3, k=5):
    weights = rng.uniform(0.5, 1.5, size=n_particles)
    theta = rng.normal(size=(n_nodes, n_particles, k))
    return ParticleEnsemble(theta, weights / weights.sum())


@pytest.mark.parametrize("form", FORMS)
def test_pi_is_odd_monotone_bounded_and_lipschitz(form):
    pi, v = Clipping(0.7, form), np.linspace(-40.0, 40.0, 4001)
    found = pi(v)
    np.testing.assert_array_equal(pi(-v), -found)
    slopes = np.diff(found) / np.diff(v)
    assert slopes.min() >= 0.0
    # One is reached up to the rounding of the difference quotient.
    assert slopes.max() <= 1.0 + 1e-12
    assert np.abs(found).max() <= 0.7
    np.testing.assert_allclose(pi(1e-6), 1e-6, rtol=1e-11)


def test_values_of_pi():
    np.testing.assert_array_equal(Clipping(2.0)([[-3.0, 1.5]]), [[-2.0, 1.5]])
    assert Clipping(2.0, "smooth")(1.5) == pytest.approx(1.5 / np.hypot(1.0, 0.75))
    # No square overflows, and none underflows to a change of g.
    for g in (1e160, 1e308, np.inf):
        assert Clipping(2.0, "smooth")(-g) == -2.0
    assert Clipping(1e160, "smooth")(1e-160) == 1e-160
    assert np.isnan(Clipping(2.0)(np.nan))
    assert np.isnan(Clipping(2.0, "smooth")(np.nan))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("grid", [DepthGrid.euler(4), DepthGrid.rk4(2)], ids=repr)
def test_velocity_is_the_clipped_gradient(rng, grid, form):
    pi = Clipping(0.05, form)
    ridge = mfpde.DecayingQuadratic(0.02)
    problem = small_problem(rng, pi, regulariser=ridge)
    plain = problem.with_plain_velocity()
    ensemble = cloud(rng, grid.n_nodes)
    found, free = (evaluate(each, grid, ensemble) for each in (problem, plain))
    gradient = -free.velocity + 2 * 0.02 * ensemble.theta
    assert np.abs(gradient).max() > 2 * pi.bound
    np.testing.assert_allclose(
        found.velocity, -problem.metric * pi(gradient), rtol=1e-9, atol=1e-15
    )
    np.testing.assert_array_equal(
        found.map_velocities["readout"], free.map_velocities["readout"]
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_ledger_rate_is_the_derivative_of_the_objective(rng, form):
    """dE_s/ds along the velocity, by central differences: the clipped D is exact."""
    grid = DepthGrid.rk4(2)
    problem = small_problem(rng, Clipping(0.05, form))
    ensemble = cloud(rng, grid.n_nodes)
    start = evaluate(problem, grid, ensemble)

    def objective(h):
        theta = ensemble.theta + h * start.velocity
        maps = {
            name: getattr(problem, name).matrix + h * velocity
            for name, velocity in start.map_velocities.items()
        }
        moved = ParticleEnsemble(theta, ensemble.weights)
        return evaluate(problem.with_parameters(**maps), grid, moved).objective

    slope = (objective(1e-5) - objective(-1e-5)) / 2e-5
    assert start.ledger_rate == pytest.approx(slope, rel=1e-8)
    assert start.dissipation > 0.0


def test_a_bound_that_is_never_reached_changes_no_bit(rng):
    grid = DepthGrid.euler(3)
    problem = small_problem(rng, Clipping(1e6))
    free = MeanFieldProblem.from_description(
        problem.describe() | {"clipping": None}, problem.arrays()
    )
    ensemble = cloud(rng, 3)
    found, same = (evaluate(each, grid, ensemble) for each in (problem, free))
    np.testing.assert_array_equal(found.velocity, same.velocity)
    assert found.dissipation == same.dissipation


def test_the_bias_block_moves_with_the_bound():
    """f = theta, one sample: theta' = -pi(x + theta - y), in closed form."""
    problem = MeanFieldProblem([0.0], [3.0], Bias(1), clipping=Clipping(0.5))
    start = ParticleEnsemble(np.zeros((1, 1, 1)))
    grid = DepthGrid.euler(1)
    s = [0.0, 2.0, 5.0, 7.0]
    found = mfpde.solve(
        problem, grid, start, s_end=7.0, rtol=1e-8, record=s, snapshots=s
    )
    expected = [0.0, 1.0, 2.5, 3.0 - 0.5 * np.exp(-2.0)]
    np.testing.assert_allclose(found.theta[:, 0, 0, 0], expected, rtol=1e-6)
    assert abs(found.scalars["energy_residual"][-1]) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_the_ledger_closes_along_the_flow(rng, form):
    problem = small_problem(rng, Clipping(0.05, form))
    found = mfpde.solve(
        problem, DepthGrid.euler(4), cloud(rng, 4), s_end=3.0, rtol=1e-7
    )
    change = found.objective[0] - found.objective[-1]
    assert abs(found.scalars["energy_residual"][-1]) < 1e-5 * change


@pytest.mark.parametrize("form", FORMS)
def test_a_file_keeps_the_clipping(rng, tmp_path, form):
    problem = small_problem(rng, Clipping(0.05, form))
    ensemble, grid, path = cloud(rng, 4), DepthGrid.euler(4), tmp_path / "run.h5"
    whole = mfpde.solve(problem, grid, ensemble, s_end=1.0, record=[0.5])
    mfpde.solve(problem, grid, ensemble, s_end=0.5, output=path)
    found = mfpde.resume(path, s_end=1.0)
    assert found.problem.clipping == Clipping(0.05, form)
    np.testing.assert_array_equal(found.ensemble.theta, whole.ensemble.theta)


def test_parts_of_many_samples_are_clipped_once(rng, monkeypatch):
    problem = small_problem(rng, Clipping(0.05, "smooth"))
    ensemble, grid = cloud(rng, 3), DepthGrid.euler(3)
    monkeypatch.setattr("mfpde.networks.parts.n_samples_at_once", lambda *_: 2)
    found = evaluate_in_parts(problem, grid, ensemble)
    whole = evaluate(problem, grid, ensemble)
    np.testing.assert_allclose(found.velocity, whole.velocity, rtol=1e-10)
    assert found.dissipation == pytest.approx(whole.dissipation, rel=1e-10)


def test_configuration(tmp_path):
    table = {
        "title": "clipped",
        "data": {"source": "curve", "n_samples": 4},
        "problem": {"clipping": {"bound": 0.25, "form": "smooth"}},
    }
    assert build(parse(table)).problem.clipping == Clipping(0.25, "smooth")
    table["problem"] = {}
    assert build(parse(table)).problem.clipping is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0,), ValueError, "`bound` must be positive"),
        (("1",), TypeError, "`bound` must be a number"),
        ((1.0, "sharp"), ValueError, "`form` must be one of hard, smooth, got 'sharp'"),
    ],
)
def test_wrong_clippings(arguments, error, message):
    with pytest.raises(error, match=message):
        Clipping(*arguments)


def test_a_problem_takes_only_a_clipping():
    with pytest.raises(TypeError, match=r"`clipping` must be mfpde.Clipping\(bound\)"):
        MeanFieldProblem([0.0], [1.0], Bias(1), clipping=0.5)


def test_noise_on_a_mesh_refuses_it():
    problem = MeanFieldProblem([0.0], [1.0], Bias(1), clipping=Clipping(0.5))
    law = mfpde.laws.Gaussian(0.0, 1.0, 1)
    with pytest.raises(ValueError, match="or `clipping`: Eq"):
        mfpde.references.density.solve_density(
            problem, law, low=-4, high=4, n_cells=16, s_end=0.1, temperature=0.1
        )
