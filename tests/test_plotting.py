"""Pictures: what they draw is checked through the artists on the returned axis."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

import mfpde
from mfpde import blocks, evaluation, plotting
from mfpde.plotting import measure, sources, style
from mfpde.readouts import Linear

matplotlib.use("Agg")  # no display is needed

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def no_trace():
    """Every test starts and ends without open figures and with the same settings."""
    before = dict(matplotlib.rcParams)
    yield
    pyplot.close("all")
    assert dict(matplotlib.rcParams) == before


@pytest.fixture
def ax():
    return Figure(layout="constrained").add_subplot()


@pytest.fixture
def flow(monkeypatch):
    """A limit known in closed form: z(t; x) = (1 + t) x, output z_1(1) - 0.6."""

    def trajectories(problem, grid, ensemble, x):
        t = grid.state_depths()
        return t, (1 + t)[:, np.newaxis, np.newaxis] * problem.embed(x)

    def predict(problem, grid, ensemble, x):
        first = trajectories(problem, grid, ensemble, x)[1][-1, :, :1] - 0.6
        return first if problem.q == 1 else np.hstack([-first, first])[:, : problem.q]

    def field(problem, grid, ensemble, z):
        return np.stack([z / (1 + t) for t in grid.nodes])

    for function in (trajectories, predict, field):
        monkeypatch.setattr(evaluation, function.__name__, function)


def limit(d, *, y=None, n=30, grid=None, n_particles=4, k=None, seed=0):
    """Problem, grid and ensemble of state size d; nothing is compiled for them."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, d))
    y = np.where(x[:, :1] > 0.3, 1.0, -1.0) if y is None else y
    readout = Linear(np.eye(y.shape[1], d))
    problem = mfpde.MeanFieldProblem(x, y, blocks.Bias(d), readout=readout)
    grid = mfpde.DepthGrid.midpoint(5) if grid is None else grid
    theta = rng.normal(size=(grid.n_nodes, n_particles, k or d))
    return problem, grid, mfpde.ParticleEnsemble(theta)


def make_run(
    n_records=30, n_particles=5, names=("u[0]", "u[1]", "v"), n_nodes=4, **more
):
    """The attributes of a `Run` that pictures read."""
    s = np.concatenate([[0.0], np.geomspace(0.01, 100, max(n_records - 1, 0))])
    s = s[:n_records]
    loss = np.exp(-s)
    scalars = {
        "loss": loss,
        "objective": loss,
        "dissipation": loss,
        "energy_residual": 1e-8 * s,
        **more,
    }
    rng = np.random.default_rng(1)
    weights = np.arange(1.0, n_particles + 1)
    theta = rng.normal(size=(3, n_nodes, n_particles, len(names)))
    return SimpleNamespace(
        path="folder/name.h5",
        status="finished",
        attrs={"title": "A title"},
        s=s,
        scalars=scalars,
        **scalars,
        snapshot_s=np.array([0.0, 1.0, 100.0]),
        theta=theta,
        t=(np.arange(n_nodes) + 0.5) / n_nodes,
        t_weights=np.full(n_nodes, 1 / n_nodes),
        weights=weights / weights.sum(),
        param_names=list(names),
        data={},
    )


def lines_by_label(ax):
    return {line.get_label(): line for line in ax.lines}


def curve(ax, start):
    """Data of the line whose label starts with `start`."""
    (found,) = [
        line for name, line in lines_by_label(ax).items() if name.startswith(start)
    ]
    return found.get_xdata(), found.get_ydata()


def check(ax, given=None):
    """The axis is the one given, has labels, and can be drawn without a warning."""
    if given is not None:
        assert ax is given
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    ax.figure.canvas.draw()


# Histories


@pytest.mark.parametrize("draw", [plotting.loss, plotting.ledger, plotting.accuracy])
@pytest.mark.parametrize("n_records", [0, 1, 2, 30])
def test_histories_of_any_length(draw, n_records, ax):
    accuracy = np.linspace(0.1, 1, n_records)
    run = make_run(n_records, train_accuracy=accuracy, test_accuracy=accuracy**2)
    check(draw(run, ax=ax), ax)


@pytest.mark.parametrize("draw", [plotting.loss, plotting.ledger])
@pytest.mark.parametrize(
    "change",
    [np.ones_like, np.zeros_like, lambda e: np.where(e < 1e-5, 0, e), np.negative],
)
def test_histories_of_unusual_values(draw, change, ax):
    run = make_run()
    value = change(run.loss)
    check(
        draw(
            {"s": run.s, "loss": value, "objective": value, "dissipation": value}, ax=ax
        )
    )


@pytest.mark.parametrize("draw", [plotting.loss, plotting.ledger, plotting.accuracy])
def test_nan_leaves_a_gap(draw, ax):
    run = make_run(train_accuracy=np.linspace(0, 1, 30))
    for name in ("loss", "energy_residual", "train_accuracy"):
        run.scalars[name][7] = np.nan
    check(draw(run, ax=ax), ax)
    assert any(np.isnan(line.get_ydata()[7]) for line in ax.lines)


def test_all_values_nan(ax):
    s = np.array([0.0, 1.0])
    check(plotting.loss({"s": s, "loss": np.full(2, np.nan)}, ax=ax), ax)


def test_loss_axes_are_logarithmic_and_show_s_zero(ax):
    run = make_run()
    plotting.loss(run, ax=ax)
    assert ax.get_yscale() == "log"
    assert ax.get_xscale() == "symlog"
    assert ax.get_xlim()[0] < 0
    s, value = curve(ax, "loss")
    np.testing.assert_array_equal(s, run.s)
    np.testing.assert_array_equal(value, run.loss)
    assert "objective" not in ax.get_ylabel()  # it equals the loss here


def test_loss_shows_the_objective_where_it_differs_and_the_test_loss(ax):
    run = make_run(test_loss=np.full(30, 0.5))
    run.scalars["objective"] = run.loss + 1
    plotting.loss(run, ax=ax)
    np.testing.assert_array_equal(curve(ax, "objective")[1], run.loss + 1)
    np.testing.assert_array_equal(curve(ax, "test loss")[1], run.test_loss)
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(looks) == len({style for _, style in looks}) == 3  # without colour too


def test_loss_that_reaches_zero_is_marked(ax):
    s = np.array([0.0, 1.0, 20.0, 30.0])
    plotting.loss({"s": s, "loss": np.array([1.0, 0.1, 0.0, 0.0])}, ax=ax)
    np.testing.assert_array_equal(curve(ax, "loss is 0")[0], [20.0])


def test_ledger_draws_both_sides_and_their_difference(ax):
    run = make_run()
    plotting.ledger(run, ax=ax)
    decrease = curve(ax, "decrease")[1]
    np.testing.assert_array_equal(decrease, 1 - run.loss)
    np.testing.assert_array_equal(curve(ax, "dissipated")[1], decrease + 1e-8 * run.s)
    np.testing.assert_array_equal(curve(ax, "|difference|")[1], 1e-8 * run.s)
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert 1e-12 < low < 1e-8 * run.s[-1] < decrease[-1] < high  # no decades of noise


def test_ledger_without_residual_integrates_the_dissipation(ax):
    s = np.linspace(0, 2, 201)
    plotting.ledger({"s": s, "objective": np.exp(-s), "dissipation": np.exp(-s)}, ax=ax)
    # The trapezoidal rule is good to h^2 / 12 with h = 0.01.
    dissipated = curve(ax, "dissipated")[1]
    np.testing.assert_allclose(dissipated, 1 - np.exp(-s), atol=1e-5)


def test_ledger_of_a_rising_objective_does_not_hide_it(ax):
    s = np.array([0.0, 1.0, 2.0])
    plotting.ledger({"s": s, "objective": s, "dissipation": s}, ax=ax)
    assert ax.get_yscale() == "linear"


def test_accuracy_lists_every_accuracy_train_first(ax):
    run = make_run(test_accuracy=np.full(30, 0.5), train_accuracy=np.full(30, 0.75))
    plotting.accuracy(run, ax=ax)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["train, at the end 75.0 %", "test, at the end 50.0 %"]


def test_missing_columns_are_named(ax):
    with pytest.raises(ValueError, match="column 'loss'"):
        plotting.loss({"s": np.zeros(1)}, ax=ax)
    with pytest.raises(ValueError, match="column 'dissipation'"):
        plotting.ledger({"s": np.zeros(1), "objective": np.zeros(1)}, ax=ax)
    with pytest.raises(ValueError, match="ends with 'accuracy'"):
        plotting.accuracy(make_run(), ax=ax)
    with pytest.raises(ValueError, match=r"one shape \(R,\)"):
        plotting.loss({"s": np.zeros(2), "loss": np.zeros(1)}, ax=ax)


@pytest.mark.parametrize("draw", [plotting.loss, plotting.ledger])
@pytest.mark.parametrize("last", [[1e308, 1.2e308], [1e308, np.inf], [np.inf, np.inf]])
def test_runs_that_blow_up_are_drawn(draw, last, ax):
    values = [1.0, *last]
    for objective in (values, values[::-1]):
        run = {"s": [0, 1, 2], "loss": values, "dissipation": values}
        check(draw({**run, "objective": objective}, ax=ax))


def test_columns_of_another_length_are_refused(ax):
    columns = {"s": [0, 1], "loss": [1, 2], "dissipation": [1, 2]}
    for name in ("objective", "test_loss"):
        with pytest.raises(ValueError, match=rf"`run\['{name}'\]` must have the shape"):
            plotting.loss({**columns, name: [1, 2, 3]}, ax=ax)
    columns["objective"] = [2, 1]
    with pytest.raises(ValueError, match=r"`run\['energy_residual'\]`"):
        plotting.ledger({**columns, "energy_residual": [0]}, ax=ax)


# The measure


@pytest.mark.parametrize("n_particles", [1, 2, 40])
@pytest.mark.parametrize("names", [["v"], ["u", "v"], [f"u[{i}]" for i in range(12)]])
def test_pictures_of_the_measure_for_any_size(n_particles, names):
    for n_nodes in (1, 4):
        run = make_run(n_particles=n_particles, names=names, n_nodes=n_nodes)
        for draw, options in (
            (plotting.marginals, {}),
            (plotting.marginals, {"s": 0.9, "t": 0.5}),
            (plotting.marginals, {"parameter": -1, "s": [0, 1, 100]}),
            (plotting.marginals, {"parameter": (0, names[-1]), "t": 1.0}),
            (plotting.particle_paths, {}),
            (plotting.particle_paths, {"against": "s", "particles": [0]}),
            (plotting.depth_profile, {}),
        ):
            given = Figure(layout="constrained").add_subplot()
            check(draw(run, ax=given, **options), given)


def test_marginals_of_particles_that_all_agree(ax):
    run = make_run()
    run.theta[:] = 2.0
    check(plotting.marginals(run, ax=ax), ax)
    check(plotting.marginals(run, 0, ax=Figure().add_subplot()))


def test_histogram_has_the_weights_of_particles_and_nodes(ax):
    run = make_run(n_nodes=2)
    run.t_weights = np.array([0.25, 0.75])
    run.theta[-1, ..., 0] = 0.0
    run.theta[-1, 1, -1, 0] = 1.0  # mass 0.75 * weights[-1] in the last bin
    plotting.marginals(run, "u[0]", s=100.0, ax=ax)
    (stairs,) = ax.patches
    density, edges, _ = stairs.get_data()
    mass = density * np.diff(edges)
    assert mass.sum() == pytest.approx(1.0)
    assert mass[-1] == pytest.approx(0.75 * run.weights[-1])


def test_density_estimate_has_the_moments_of_the_particles():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, 2000)
    weights = rng.uniform(0, 1, 2000)
    weights /= weights.sum()
    centre, density = measure.smooth_histogram(values, weights)
    width = centre[1] - centre[0]
    mean = np.sum(weights * values)
    variance = np.sum(weights * (values - mean) ** 2)
    assert density.sum() * width == pytest.approx(1.0, abs=1e-3)  # cut at 3 bandwidths
    assert np.sum(centre * density) * width == pytest.approx(mean, abs=0.01)
    # Smoothing adds the bandwidth squared: (1.06 n^(-1/5))^2 = 6 % of the variance.
    smooth = np.sum((centre - mean) ** 2 * density) * width
    assert 1.02 < smooth / variance < 1.08


def test_plane_of_two_parameters_shows_first_and_last_particles(ax):
    run = make_run()
    plotting.marginals(run, ("v", "u[0]"), t=0.9, ax=ax)
    for index, dots in zip((0, -1), ax.collections, strict=True):
        np.testing.assert_array_equal(
            dots.get_offsets(), run.theta[index, 3][:, [2, 0]]
        )
        area = dots.get_sizes()
        np.testing.assert_allclose(area / area.sum(), run.weights)


def test_paths_in_depth_and_in_training(ax):
    run = make_run()
    plotting.particle_paths(run, "v", particles=[3], ax=ax)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), run.theta[0, :, 3, 2])
    drawn = [line.get_ydata() for line in ax.lines]
    assert any(np.array_equal(run.theta[-1, :, 3, 2], each) for each in drawn)
    ax = plotting.particle_paths(run, 0, against="s", t=0.2, particles=[1])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), run.theta[:, 0, 1, 0])
    assert "0.125" in ax.get_ylabel()  # the node that was nearest


def test_depth_profile_of_theta_is_the_weighted_mean(ax):
    run = make_run()
    plotting.depth_profile(run, ax=ax)
    squares = np.sum(run.theta[-1] ** 2, axis=2)
    expected = np.sqrt(np.average(squares, axis=1, weights=run.weights))
    np.testing.assert_allclose(curve(ax, r"$\theta$ at $s$ = 100")[1], expected)
    change = np.sum((run.theta[-1] - run.theta[0]) ** 2, axis=2)
    expected = np.sqrt(np.average(change, axis=1, weights=run.weights))
    np.testing.assert_allclose(curve(ax, "change")[1], expected)


@pytest.mark.parametrize(
    "grid",
    [
        mfpde.DepthGrid.euler(3),
        mfpde.DepthGrid.midpoint(2),
        mfpde.DepthGrid.rk4(1),
        mfpde.DepthGrid.gauss(2, 2),
    ],
)
def test_depth_profile_of_the_field_on_every_grid(flow, ax, grid):
    problem, grid, ensemble = limit(2, grid=grid)
    t, z = evaluation.trajectories(problem, grid, ensemble, problem.x)
    ev = SimpleNamespace(
        problem=problem, grid=grid, ensemble=ensemble, s=0.0, t_states=t, z=z
    )
    check(plotting.depth_profile(ev, ax=ax), ax)
    # z = (1 + t) x is linear in t and F = dz/dt = x at every depth.
    expected = np.sqrt(np.mean(np.sum(problem.x**2, axis=1)))
    np.testing.assert_allclose(curve(ax, "field")[1], expected)


def test_unknown_parameters_and_axes_are_refused(ax):
    run = make_run()
    with pytest.raises(ValueError, match=r"`parameter` must be one of u\[0\]"):
        plotting.marginals(run, "w", ax=ax)
    with pytest.raises(ValueError, match="index below 3"):
        plotting.particle_paths(run, 3, ax=ax)
    with pytest.raises(ValueError, match="3 parameters"):
        plotting.marginals(run, (0, 1, 2), ax=ax)
    with pytest.raises(ValueError, match="`against` must be one of t, s"):
        plotting.particle_paths(run, against="x", ax=ax)
    run.snapshot_s = run.snapshot_s[:0]
    with pytest.raises(ValueError, match="must hold particles"):
        plotting.marginals(run, ax=ax)


def test_parameter_names_become_symbols():
    names = ["u[0]", "v12", "b", "Theta[0,1]", "theta3", "slope", "a b"]
    assert [sources.symbol(name) for name in names] == [
        "$u_{0}$",
        "$v_{12}$",
        "$b$",
        r"$\Theta_{0,1}$",
        r"$\theta_{3}$",
        r"$\mathrm{slope}$",
        "a b",
    ]
    assert sources.letters(["u[0]", "u[1]", "b"]) == {"u": [0, 1], "b": [2]}


# States and outputs


@pytest.mark.parametrize("d", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", ["signs", "one_hot", "real"])
def test_trajectories_for_any_dimension_and_target(flow, ax, d, kind):
    rng = np.random.default_rng(2)
    targets = {
        "signs": None,
        "one_hot": np.eye(10)[np.arange(30) % 10],
        "real": rng.normal(size=(30, 1)),
    }
    check(plotting.trajectories(*limit(d, y=targets[kind]), ax=ax), ax)


@pytest.mark.parametrize("n", [1, 2])
def test_trajectories_of_one_or_two_samples(flow, ax, n):
    check(plotting.trajectories(*limit(3, n=n), ax=ax), ax)


@pytest.mark.parametrize("grid", [mfpde.DepthGrid.euler(4), mfpde.DepthGrid.rk4(4)])
def test_trajectories_draw_the_states(flow, ax, grid):
    problem, grid, ensemble = limit(2, grid=grid)
    plotting.trajectories(problem, grid, ensemble, n_shown=30, ax=ax)
    (lines,) = [each for each in ax.collections if isinstance(each, LineCollection)]
    for segment, x in zip(lines.get_segments(), problem.x, strict=True):
        np.testing.assert_allclose(segment[0], x, atol=1e-14)
        np.testing.assert_allclose(segment[-1], 2 * x, atol=1e-14)
    assert len(segment) == (5 if grid.order == 1 else 101)  # higher orders are smooth
    ends = np.vstack([np.transpose(line.get_data()) for line in ax.lines])
    is_first = problem.y[:, 0] < 0
    expected = 2 * np.vstack([problem.x[is_first], problem.x[~is_first]])
    np.testing.assert_allclose(ends, expected, atol=1e-14)


def test_principal_plane_keeps_the_variance_of_the_end(flow, ax):
    problem, grid, ensemble = limit(3)
    stretched = problem.x * [1.0, 5.0, 0.1]
    plotting.trajectories(problem, grid, ensemble, stretched, ax=ax)
    ends = np.vstack([np.transpose(line.get_data()) for line in ax.lines])
    variances = np.linalg.eigvalsh(np.cov(2 * stretched.T, ddof=0))[::-1]
    np.testing.assert_allclose(np.var(ends, axis=0), variances[:2])
    share = 100 * variances[0] / variances.sum()
    assert f"{share:.0f} % of variance" in ax.get_xlabel()


def test_trajectories_show_every_class(flow, ax):
    # The rare classes stand where an even choice over the order would miss them.
    missed = np.setdiff1d(np.arange(100), np.linspace(0, 99, 40).astype(int))
    classes = np.zeros(100, dtype=int)
    classes[missed[:10]] = [1, 2, 3, 3, 2, 1, 1, 2, 3, 1]
    y = np.eye(4)[classes]
    plotting.trajectories(*limit(2, y=y, n=100), n_shown=40, names=list("abcd"), ax=ax)
    texts = [text.get_text() for text in ax.texts]
    assert len(texts) == 40
    assert set(texts) == set("abcd")


def test_decision_boundary_lies_where_the_output_changes_sign(flow, ax):
    check(plotting.decision_regions(*limit(2), ax=ax), ax)
    boundary = ax.collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose(boundary[:, 0], 0.3, atol=1e-12)  # 2 x_1 - 0.6 = 0
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["-1", "1"]
    markers = {line.get_marker() for line in ax.lines}
    assert len(markers) == 2  # classes differ without colour


@pytest.mark.parametrize("q", [2, 3])
def test_decision_regions_of_several_classes(flow, ax, q, monkeypatch):
    monkeypatch.setattr(
        evaluation,
        "predict",
        lambda problem, grid, ensemble, x: (
            x @ np.array([[1, -1, 0], [0, 0, 1.0]])[:, :q]
        ),
    )
    y = np.eye(q)[np.arange(30) % q]
    check(plotting.decision_regions(*limit(2, y=y), names=list("abc")[:q], ax=ax), ax)
    assert len(ax.get_legend().get_texts()) == q


def test_decision_regions_apply_the_transform(flow, ax):
    problem, grid, ensemble = limit(3)  # padded: the third input is always 0

    def transform(points):
        return np.column_stack([points[:, 1] / 10, points[:, 0], np.zeros(len(points))])

    raw = np.array([[-1.0, 0.0], [1.0, 6.0]])
    plotting.decision_regions(
        *(problem, grid, ensemble, raw, np.array([0, 1])), transform=transform, ax=ax
    )
    boundary = ax.collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose(boundary[:, 1], 3.0, atol=1e-12)  # 0.3 before / 10
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), raw[:1])


def test_decision_regions_need_a_plane(flow, ax):
    with pytest.raises(ValueError, match=r"shape \(n, 2\) .* got shape \(30, 3\)"):
        plotting.decision_regions(*limit(3), ax=ax)


@pytest.mark.parametrize("d", [1, 2])
def test_fit(flow, ax, d):
    y = np.linspace(-1, 1, 30)[:, np.newaxis]
    check(plotting.fit(*limit(d, y=y), ax=ax), ax)
    x, output = ax.lines[1].get_data()
    if d == 1:
        np.testing.assert_allclose(output, 2 * x - 0.6)
    else:
        np.testing.assert_array_equal(x, y[:, 0])


def test_fit_applies_the_transform(flow, ax):
    y = np.linspace(-1, 1, 30)[:, np.newaxis]
    raw = np.linspace(3, 7, 30)[:, np.newaxis]

    def transform(points):
        return np.hstack([points - 5, np.zeros_like(points)])

    plotting.fit(*limit(2, y=y), raw, transform=transform, ax=ax)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), raw[:, 0])
    x, output = ax.lines[1].get_data()
    np.testing.assert_allclose(output, 2 * (x - 5) - 0.6)


def test_confusion_counts(ax):
    labels, predicted = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0]
    check(plotting.confusion(labels, predicted, names=["a", "b", "c"], ax=ax), ax)
    cells = {text.get_position()[::-1]: text.get_text() for text in ax.texts}
    assert cells == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "2", (2, 0): "1"}
    assert "4 of 6 right (66.7 %)" in ax.get_title("left") + ax.get_title()
    with pytest.raises(ValueError, match="one shape"):
        plotting.confusion([0], [0, 1], ax=ax)


def test_confusion_refuses_what_are_no_classes(ax):
    for labels in ([-1, 0], [0, 10**9]):
        with pytest.raises(ValueError, match="`labels` must hold classes from 0"):
            plotting.confusion(labels, [0, 1], ax=ax)
    with pytest.raises(TypeError, match="`predicted` must hold integers"):
        plotting.confusion([0, 1], [0.5, 1], ax=ax)
    with pytest.raises(ValueError, match="`names` must have a name for each of 2"):
        plotting.confusion([0, 1], [0, 1], names=["a"], ax=ax)
    plotting.confusion(np.array([0.0, 1.0]), [False, True], ax=ax)
    assert "2 of 2 right" in ax.get_title("left") + ax.get_title()


def test_what_the_functions_of_a_picture_return_is_checked(flow, ax):
    y = np.linspace(-1, 1, 30)[:, np.newaxis]
    parts = limit(1, y=y)
    with pytest.raises(ValueError, match=r"`transform` must return shape \(400, 1\)"):
        plotting.fit(*parts, transform=lambda x: x[:2], ax=ax)
    with pytest.raises(TypeError, match=r"`restore\(...\)` must hold real numbers"):
        plotting.fit(*parts, restore=lambda x: None, ax=ax)
    with pytest.raises(ValueError, match="equally many rows, got 2 and 30"):
        plotting.fit(*parts, [[0.0], [1.0]], ax=ax)


def test_every_class_needs_a_name(flow, ax):
    with pytest.raises(ValueError, match="`names` must have a name for each of 2"):
        plotting.decision_regions(*limit(2), names=["a"], ax=ax)
    with pytest.raises(ValueError, match="Give real targets as floats"):
        plotting.trajectories(*limit(2), labels=np.arange(30) * 100, ax=ax)
    with pytest.raises(ValueError, match="`plane` must name components below 3, got 3"):
        plotting.trajectories(*limit(3), plane=(0, 3), ax=ax)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([[-1.0], [1.0]], [0, 1]),
        ([-1, 1, 1], [0, 1, 1]),
        ([[0, 1, 0], [1, 0, 0]], [1, 0]),
        ([3, 0, 1], [3, 0, 1]),
        ([0.0, 0.5], None),
        ([[0.0], [2.0]], None),
        ([[1.0, 1.0], [0.0, 1.0]], None),
    ],
)
def test_classes_of_targets(y, classes):
    found = sources.classes_of(np.array(y))
    assert (found is None) if classes is None else list(found) == classes


# Axes, pages, files


def test_without_an_axis_a_styled_figure_is_made():
    ax = plotting.loss(make_run())
    assert pyplot.get_fignums() == [ax.figure.number]
    assert ax.xaxis.label.get_fontsize() == style.STYLE["axes.labelsize"]


def test_a_failed_picture_leaves_no_figure():
    with pytest.raises(ValueError, match="column 'loss'"):
        plotting.loss({"s": np.zeros(1)})
    assert pyplot.get_fignums() == []


def test_wrong_arguments_are_refused_before_a_figure_is_made(monkeypatch):
    def fail(**_):
        raise AssertionError

    monkeypatch.setattr(pyplot, "subplots", fail)
    parts = limit(2)
    with pytest.raises(TypeError, match="`problem`"):
        plotting.fit(None, *parts[1:])
    with pytest.raises(ValueError, match="`n_shown`"):
        plotting.trajectories(*parts, n_shown=0)
    with pytest.raises(TypeError, match="`ax` must be an axis"):
        plotting.loss(make_run(), ax=3)


def test_a_picture_has_no_more_pixels_than_can_be_drawn(tmp_path):
    figure = Figure(figsize=(20.0, 1.0))
    with pytest.raises(ValueError, match="`dpi` must be such that the longer side"):
        plotting.save(figure, tmp_path / "a.png", dpi=4000.0)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_picture_leaves_no_figure(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(style, "training_time_axis", interrupt)
    with pytest.raises(KeyboardInterrupt):
        plotting.loss(make_run())
    assert pyplot.get_fignums() == []


def test_settings_made_while_a_picture_is_drawn_stay(monkeypatch):
    """As a notebook's backend makes them with the first figure."""
    make = pyplot.subplots
    before = matplotlib.rcParams["interactive"]

    def subplots(**options):
        matplotlib.rcParams["interactive"] = not before
        return make(**options)

    monkeypatch.setattr(pyplot, "subplots", subplots)
    try:
        plotting.loss(make_run())
        assert matplotlib.rcParams["interactive"] is not before
    finally:
        matplotlib.rcParams["interactive"] = before


def test_a_backend_without_its_display_is_not_needed(monkeypatch, tmp_path):
    def subplots(**_):
        raise ImportError("Cannot load backend 'TkAgg'")

    monkeypatch.setattr(pyplot, "subplots", subplots)
    ax = plotting.loss(make_run())
    plotting.save(ax.figure, tmp_path / "picture.png")
    assert ax.xaxis.label.get_fontsize() == style.STYLE["axes.labelsize"]


def test_pictures_drawn_in_threads_have_the_style_and_leave_the_settings():
    def draw(_):
        axes = plotting.summary(make_run()).axes
        return {ax.xaxis.label.get_fontsize() for ax in axes}

    with ThreadPoolExecutor(4) as pool:
        sizes = set.union(*pool.map(draw, range(8)))
    assert sizes == {style.STYLE["axes.labelsize"]}  # and see `no_trace`


def font_sizes(figure):
    return [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text)]


def page_titles(figure):
    return [ax.get_title("left") for ax in figure.axes if ax.get_title("left")]


def test_summary_of_a_file_alone(tmp_path):
    run = make_run(test_accuracy=np.linspace(0, 1, 30))
    figure = plotting.summary(run)
    plotting.save(figure, tmp_path / "page.png")
    assert page_titles(figure) == [
        "Loss",
        "Accuracy",
        "Energy ledger",
        "Marginals of ρ",
        "Depth profile",
        "Particle paths",
    ]
    height, width, _ = pyplot.imread(tmp_path / "page.png").shape
    assert 1000 < height < 2000 < width + 200 < 3000
    assert min(font_sizes(figure)) >= 8
    heading = figure.get_suptitle()
    assert heading.startswith("A title, name.h5\nfinished")
    assert "test accuracy 100.0 %" in heading
    assert pyplot.get_fignums() == []  # the page is unknown to pyplot


@pytest.mark.parametrize("n_records", [0, 1])
def test_summary_of_a_run_that_has_just_begun(n_records):
    run = make_run(n_records)
    run.snapshot_s = run.snapshot_s[:n_records]
    run.status = "running"
    plotting.summary(run).canvas.draw()


def with_evaluation(monkeypatch):
    def evaluate(problem, grid, ensemble):
        t, z = evaluation.trajectories(problem, grid, ensemble, problem.x)
        return SimpleNamespace(
            problem=problem, grid=grid, ensemble=ensemble, t_states=t, z=z
        )

    monkeypatch.setattr(evaluation, "evaluate", evaluate)


def test_summary_of_a_plane_problem_uses_the_recorded_preparation(flow, monkeypatch):
    with_evaluation(monkeypatch)
    raw, labels = np.random.default_rng(0).normal(5, 2, (40, 2)), np.arange(40) % 2
    prepared = mfpde.data.prepare(
        raw, labels, target="signs", standardise=True, pad_to=3, class_names=("a", "b")
    )
    problem, grid, ensemble = limit(3, y=prepared.y, n=40)
    problem = mfpde.MeanFieldProblem(
        prepared.x, prepared.y, problem.block, readout=problem.readout
    )
    run = make_run()
    run.data = {name: array for name, (array, _) in prepared.extra_data().items()}
    figure = plotting.summary(run, problem, grid, ensemble, title="Title")
    figure.canvas.draw()
    assert page_titles(figure)[2:4] == ["Decision regions", "States from z(0) to z(1)"]
    regions = figure.axes[2]
    points = np.vstack([line.get_xydata() for line in regions.lines])
    expected = np.vstack([raw[labels == 0], raw[labels == 1]])
    np.testing.assert_allclose(points, expected)
    texts = [text.get_text() for text in regions.get_legend().get_texts()]
    assert texts == ["a", "b"]


def test_summary_of_classes_and_of_a_regression(flow, monkeypatch):
    with_evaluation(monkeypatch)
    parts = limit(5, y=np.eye(2)[np.arange(30) % 2])
    run = make_run(test_accuracy=np.ones(30))
    run.data = {"x_test": parts[0].x[:10], "y_test": parts[0].y[:10]}
    figure = plotting.summary(run, *parts)
    figure.canvas.draw()
    assert page_titles(figure)[-1].startswith("Test samples: ")
    assert "of 10 right" in page_titles(figure)[-1]
    parts = limit(1, y=np.linspace(0, 1, 30)[:, np.newaxis])
    figure = plotting.summary(make_run(), *parts)
    figure.canvas.draw()
    assert "Fit" in page_titles(figure)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_save_by_ending(tmp_path, ending):
    figure = Figure()
    path = tmp_path / f"picture.{ending}"
    plotting.save(figure, path)
    plotting.save(figure, path)  # a picture is replaced
    assert path.stat().st_size > 0


def test_summary_of_a_real_run_from_its_file_and_from_memory(tmp_path, rng):
    x = rng.normal(size=(20, 2))
    y = np.where(x[:, :1] > 0, 1.0, -1.0)
    readout = Linear([[1.0, 0.5]], trainable=True)
    problem = mfpde.MeanFieldProblem(
        x, y, blocks.Perceptron(2), readout=readout, loss="logistic"
    )
    grid = mfpde.DepthGrid.rk4(1)
    ensemble = mfpde.ParticleEnsemble(rng.normal(size=(3, 4, 5)))
    options = {"s_end": 1.0, "stepper": "heun", "ds": 0.25, "record": [0.5]}
    path = tmp_path / "run.h5"
    solution = mfpde.solve(problem, grid, ensemble, **options, output=path)
    with mfpde.open_run(path) as run:
        figure = plotting.summary(run)
        plotting.save(figure, tmp_path / "run.png")
        profile = curve(plotting.depth_profile(run), r"$\theta$ at $s$ = 1")
    titles = page_titles(figure)
    assert titles[2:4] == ["Decision regions", "States from z(0) to z(1)"]
    # The rebuilt limit has the trained readout, and so the boundary of the solution.
    by_file = figure.axes[2].collections[-1].get_paths()[0].vertices
    in_memory = plotting.summary(mfpde.solve(problem, grid, ensemble, **options))
    assert page_titles(in_memory) == titles
    by_memory = in_memory.axes[2].collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose(by_file, by_memory)
    theta = solution.ensemble.theta
    expected = np.sqrt(np.mean(np.sum(theta**2, axis=2), axis=1))
    np.testing.assert_allclose(profile[1], expected)


def test_states_that_blow_up_leave_a_sentence_in_their_panel(flow, monkeypatch):
    def blow_up(*_):
        raise mfpde.errors.NotFiniteError("The state is not finite after layer 2 of 5.")

    monkeypatch.setattr(evaluation, "trajectories", blow_up)
    monkeypatch.setattr(evaluation, "evaluate", blow_up)
    figure = plotting.summary(make_run(), *limit(2))
    figure.canvas.draw()
    assert "after layer 2 of 5" in figure.axes[3].texts[0].get_text()
    assert page_titles(figure)[3] == "States from z(0) to z(1)"
