"""The study lazy on small networks: verdicts, planted errors, its file."""

from pathlib import Path

import numpy as np
import pytest

from mfpde.depth import DepthGrid
from mfpde.ensemble import ParticleEnsemble
from mfpde.errors import ConfigurationError
from mfpde.papers.ends import evaluation_at
from mfpde.papers.lazy import LIMIT, STUDY, Valley, draw
from mfpde.problem import MeanFieldProblem
from mfpde.studies import load_study, resolve
from mfpde.studies.collection import parts_of, run_parts
from mfpde.theory.lazy import linearised

SMALL = {
    "experiments": ["valley"],
    "valley": {
        "sizes": [128, 512, 2048],
        "widths": [8],
        "alphas": [0.7, 1.4, 2.0, 3.0, 4.5, 7.0, 12.0],
        "limit_alphas": [64.0, 128.0, 256.0],
        "seeds": 32,
        "rtol": 1e-2,
        "tolerance": 0.1,
    },
}
LIMITS = {}


@pytest.fixture(autouse=True)
def limits_once(monkeypatch):
    """Infinite networks and the limit are the same in several tests: run once."""

    def end_at(problem, grid, start, s_end, **options):
        if grid is not LIMIT:
            return evaluation_at(problem, grid, start, s_end, **options)
        numbers = problem.metric.tobytes(), problem.x.tobytes(), start.theta.tobytes()
        key = (repr(problem.block), *numbers, s_end, *options.items())
        if key not in LIMITS:
            LIMITS[key] = evaluation_at(problem, grid, start, s_end, **options)
        return LIMITS[key]

    monkeypatch.setattr("mfpde.papers.lazy.evaluation_at", end_at)


BEST = "best alpha: power of L M"
FALLING = "falling, L M = inf: order in 1/alpha"
RISING = "rising: power of alpha^2/(L M)"


def verdicts(folder, config=SMALL, **changes):
    if changes:
        config = config | {"valley": config["valley"] | changes}
    parts = parts_of(STUDY, resolve(STUDY, config), folder)
    ((_, outcome),) = run_parts(parts)
    assert outcome.status == "finished", outcome.message
    return {each.claim: each for each in outcome.report.verdicts}


def test_the_file_holds_the_defaults():
    path = Path(__file__).parents[1] / "data" / "studies" / "lazy.toml"
    _, config = load_study(str(path))
    assert config == resolve(STUDY, {})


def test_valley_of_small_networks(tmp_path):
    """With three sizes the powers are known to about 0.1."""
    found = verdicts(tmp_path)
    assert found[BEST].value == pytest.approx(0.25, abs=0.1)
    assert found[FALLING].value == pytest.approx(1.0, abs=0.1)
    assert found[RISING].value == pytest.approx(0.5, abs=0.1)
    assert "contradicted" not in {each.verdict for each in found.values()}
    assert {each.row for each in found.values()} == {19, None}


def test_tied_layers_flip_the_verdict(tmp_path, monkeypatch):
    """The same draws in every layer: M counts, not L M."""

    def tied(config, grid, width, seed):
        start = draw(config, grid, width, seed)
        if width == float("inf"):
            return start
        first = np.broadcast_to(start.theta[:1], start.theta.shape)
        return ParticleEnsemble(first, start.weights)

    monkeypatch.setattr("mfpde.papers.lazy.draw", tied)
    found = verdicts(tmp_path, seeds=16)
    assert found[RISING].verdict == "contradicted"
    assert found[BEST].verdict != "confirmed"


def test_a_wrong_multiplier_flips_the_verdict(tmp_path, monkeypatch):
    """A linearised flow at half the speed is not the limit."""

    def slow(problem, ensemble):
        halved = MeanFieldProblem(
            problem.x, problem.y, problem.block, metric=0.5 * problem.metric
        )
        return linearised(halved, ensemble)

    monkeypatch.setattr("mfpde.papers.lazy.linearised", slow)
    found = verdicts(tmp_path, seeds=4)
    assert found[FALLING].verdict == "contradicted"


def test_the_same_draws_serve_every_split():
    config = Valley.defaults
    some = [draw(config, DepthGrid.euler(n), 24 // n, 5).theta for n in (3, 12)]
    np.testing.assert_array_equal(some[0].ravel(), some[1].ravel())


@pytest.mark.parametrize("first_seed", [0, 7])
def test_infinite_networks_are_trained_once(first_seed):
    """A task for each of their scales, at the cost of one run whatever the seeds."""
    config = SMALL["valley"] | {"widths": [4, 8], "first_seed": first_seed}
    config = Valley.defaults | config
    costs = {}
    for task in Valley().tasks(config):
        costs.setdefault(task.coordinates["size"], []).append(task.cost)
    expected = {float(n): [32.0 * n] * 14 for n in config["sizes"]}
    n_scales = len({*config["alphas"], *config["limit_alphas"]})
    assert costs == expected | {float("inf"): [6.0 * 400] * n_scales}


def test_order_of_infinite_networks_far_out():
    """Where its coefficient is small, the order one is seen at large scales only."""
    config = Valley.defaults | {"share": 0.45, "widths": [8]}
    valley = Valley()
    references = {"lazy": valley.refer("lazy", config)}
    alphas = np.array([2.0, 4.5, 64.0, 256.0])
    at = {"size": float("inf"), "width": 8, "seed": 0}
    errors = [
        valley.cell(at | {"alpha": alpha}, config, references)["error"]
        for alpha in alphas
    ]
    orders = -np.diff(np.log(errors)) / np.diff(np.log(alphas))
    assert orders[0] > 1.4
    assert orders[2] == pytest.approx(1.0, abs=0.05)


def test_polyak_bounds(tmp_path):
    change = {"widths": [4, 8], "seeds": 5, "s": [0.0, 0.5, 1.0], "layers": 3}
    found = verdicts(tmp_path, {"experiments": ["polyak"], "polyak": change})
    assert {each.verdict for each in found.values()} == {"confirmed"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.0}, r"`valley.share` must lie in \(0, 1\), got 1"),
        ({"x": [1.0]}, "`valley.x` and `y` must be lists"),
        ({"alphas": [-1.0, 1.0]}, "`valley.alphas` must be positive"),
        ({"limit_alphas": [8.0, 16.0]}, "`valley.limit_alphas` must hold three"),
        ({"activation": "tanh"}, "`valley.share` and `activation` must give errors"),
    ],
)
def test_wrong_configurations(change, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve(STUDY, {"valley": change})
