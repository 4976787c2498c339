"""The study neural-ode: settings of the paper, and verdicts that can fail."""

import dataclasses
import math

import numpy as np
import pytest

import mfpde
from mfpde import DepthGrid
from mfpde.errors import ConfigurationError
from mfpde.papers import local_pl, marion, neural_ode
from mfpde.papers.marion import PRESETS, Setting, layer_steps
from mfpde.papers.references import path_distance
from mfpde.studies import resolve
from mfpde.studies.collection import parts_of, run_parts

STUDY = neural_ode.STUDY
TINY = Setting(2, 3, 4, 0.05, 20, (8, 16, 32))
SIZES = {"presets": ["tiny"], "activations": ["gelu"]}


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    sizes = {"d": 9, "n_particles": 16, "n_outputs": 1, "activation": "tanh"}
    slots = dataclasses.replace(TINY, **sizes)
    monkeypatch.setitem(PRESETS, "tiny-slots", slots)


def run(name, folder, **changes):
    config = resolve(STUDY, {"experiments": [name], name: changes})
    ((_, outcome),) = run_parts(parts_of(STUDY, config, folder))
    return outcome


def verdicts(name, folder, **changes):
    found = run(name, folder, **changes).report.verdicts
    return {each.claim: each for each in found}


# Settings


def descent_of_the_paper(setting, problem, v, w, n_layers, n_steps):
    """Gradient descent on V and W of the paper's network, in its own letters (GELU)."""
    m, d = setting.n_particles, setting.d
    root_m, root_d = (m**0.5, d**0.5) if setting.has_roots else (1.0, 1.0)
    x, y = problem.embed(problem.x), problem.y
    c = 2.0 / (len(x) if setting.has_roots else y.size)
    erf = np.vectorize(math.erf)
    for _ in range(n_steps):
        states, pre = [x], []
        for k in range(n_layers):
            a = states[-1] @ w[k].T / root_d
            sigma = 0.5 * a * (1.0 + erf(a / 2**0.5))
            slope = 0.5 * (1.0 + erf(a / 2**0.5))
            slope = slope + a * np.exp(-(a**2) / 2) / (2 * np.pi) ** 0.5
            pre.append((sigma, slope))
            states.append(states[-1] + sigma @ v[k].T / (n_layers * root_m))
        p = c * (problem.read(states[-1]) - y) @ problem.readout.matrix
        for k in reversed(range(n_layers)):
            sigma, slope = pre[k]
            scale = 1.0 / (n_layers * root_m)
            back = (p @ v[k]) * slope * scale
            dv, dw = scale * p.T @ sigma, back.T @ states[k] / root_d
            p = p + back @ w[k] / root_d
            rate = setting.learning_rate * n_layers
            v[k], w[k] = v[k] - rate * dv, w[k] - rate * dw
    return v, w


@pytest.mark.parametrize("has_roots", [True, False])
@pytest.mark.parametrize("n_outputs", [None, 1])
def test_the_time_map_reproduces_the_descent_of_the_paper(has_roots, n_outputs):
    sizes = {"d": 2 if n_outputs is None else 3, "n_outputs": n_outputs}
    setting = dataclasses.replace(TINY, has_roots=has_roots, iterations=5, **sizes)
    grid, (m, d) = DepthGrid.euler(4), (setting.n_particles, setting.d)
    a_v, a_u = (m**-0.5, d**0.5) if has_roots else (1.0, 1.0)
    start, problem = setting.start(grid, "lipschitz", 1), setting.problem(1)
    w, v = np.split(start.theta, [d], axis=2)
    v = np.swapaxes(v, 1, 2) * a_v
    v, w = descent_of_the_paper(setting, problem, v, a_u * w, 4, 5)
    found = setting.train(grid, "lipschitz", 1, math.inf).ensemble.theta
    moved = np.abs(found - start.theta).max()
    expected = np.concatenate([w / a_u, np.swapaxes(v, 1, 2) / a_v], axis=2)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * moved + 1e-14)
    assert moved > 1e-3


def test_time_maps_of_the_paper():
    # Theory, section 3: ds = 2 r with roots, 2 r / (d M) without.
    assert PRESETS["large-depth"].ds == pytest.approx(0.02)
    assert PRESETS["large-depth-script"].ds == pytest.approx(0.02 / (16 * 32))
    assert PRESETS["long-time"].s_end == pytest.approx(800.0)
    assert "is ds = lr c tau w / (a^2 eta) = 0.02" in PRESETS["large-depth"].time_map
    assert PRESETS["large-depth"].depths[-1] == 1024
    slots = dataclasses.replace(PRESETS["small-script"], n_outputs=1)
    assert "q = 1, m = 8" in slots.time_map
    assert "(c = 2/q = 2)" in slots.time_map


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs(name):
    """Two iterations, with small states: every size of a block is compiled anew."""
    setting = dataclasses.replace(PRESETS[name], iterations=2, d=2, n_particles=3)
    found = setting.train(DepthGrid.euler(4), "tied", 0, math.inf)
    assert found.n_steps == 2
    assert found.loss[-1] < found.loss[0]


def test_starts():
    grid = DepthGrid.euler(8)
    with pytest.raises(ValueError, match=r"`kind` must be one of tied, .*'tied'\?"):
        TINY.start(grid, "teid", 0)
    tied, layer = (TINY.start(grid, kind, 0).theta for kind in ("tied", "layer"))
    assert np.ptp(tied, axis=0).max() == 0.0
    assert np.abs(np.diff(layer, axis=0)).max() > 0.5
    assert np.abs(tied[..., 2:]).max() == 0.0
    problem = PRESETS["tiny-slots"].problem(0, labels=0.1)
    np.testing.assert_allclose(np.linalg.norm(problem.x, axis=1), 9**0.5)
    first = mfpde.evaluate(problem, grid, PRESETS["tiny-slots"].start(grid, "tied", 0))
    assert np.abs(first.output).max() == 0.0
    assert TINY.problem(0, clip=0.3).clipping.bound == 0.3
    assert set(TINY.problem(0, has_trained_maps=True).trained_maps) == {
        "embedding",
        "readout",
    }


def test_distances_of_neighbouring_layers():
    """theta = t alpha: every distance is |alpha| / L; the root of the sum is not."""
    grid, alpha = DepthGrid.euler(10), np.array([[3.0, 0.0, 4.0, 0.0]])
    theta = grid.nodes[:, None, None] * alpha
    evaluation = mfpde.evaluate(TINY.problem(0), grid, mfpde.ParticleEnsemble(theta))
    expected = [0.5, 0.5, 0.5 * 9**0.5]
    np.testing.assert_allclose(layer_steps(evaluation), expected)


def test_path_distance():
    nodes = DepthGrid.gauss(6).nodes
    reference = (nodes**2)[:, None, None] * np.ones((1, 2, 3))
    t = np.arange(8) / 8
    theta = (t**2 + 0.5)[:, None, None] * np.ones((1, 2, 3))
    assert path_distance(theta, t, reference, nodes) == pytest.approx(0.5 * 3**0.5)


# Verdicts


def test_smoothness(tmp_path):
    found = verdicts("smoothness", tmp_path, **SIZES, depths=[16, 32, 64], records=4)
    assert {each.row for each in found.values()} == {11, None}
    # So few draws of so few layers do not settle these exponents.
    for text in ("rms, end", "max over s"):
        by_chance = found.pop(f"Decay in L, tiny, gelu, layer: {text}")
        assert by_chance.verdict != "contradicted"
    assert {each.verdict for each in found.values()} == {"confirmed"}
    assert found["Decay in L, tiny, gelu, tied: root of sum"].expected == 0.5


def test_shuffled_layers_are_not_smooth(tmp_path, monkeypatch):
    """Planted: layers in a random order, which leaves all averages as they are."""

    def shuffled(evaluation):
        theta = evaluation.ensemble.theta
        order = np.random.default_rng(0).permutation(len(theta))
        ensemble = mfpde.ParticleEnsemble(theta[order])
        return layer_steps(dataclasses.replace(evaluation, ensemble=ensemble))

    monkeypatch.setattr(neural_ode, "layer_steps", shuffled)
    options = {"depths": [16, 32, 64], "records": 4, "starts": ["lipschitz"]}
    found = verdicts("smoothness", tmp_path, **SIZES, **options)
    assert {each.verdict for each in found.values()} == {"contradicted"}


def test_relu_parts_neighbours_exactly(tmp_path):
    """Even layers end at 2L (C^(1/L) - 1), odd ones at -1/(2L)."""
    sizes = {"depths": [4, 8, 16, 32], "activations": ["relu", "tanh"]}
    outcome = run("kink", tmp_path, **sizes)
    n = np.array([4, 8, 16, 32])
    expected = 2 * n * (2.0 ** (1 / n) - 1) + 1 / (2 * n)
    np.testing.assert_allclose(outcome.table["distance"][0], expected, rtol=1e-5)
    assert {each.verdict for each in outcome.report.verdicts} <= {
        "confirmed",
        "not resolved",
    }
    (limit,) = (v for v in outcome.report.verdicts if "limit of" in v.claim)
    assert limit.verdict == "confirmed"
    assert limit.expected == pytest.approx(2 * math.log(2))


def test_a_smooth_block_in_place_of_relu_contradicts(tmp_path, monkeypatch):
    """Planted: the kink is lost, as by a wrong derivative of ReLU."""
    block = neural_ode.Perceptron
    monkeypatch.setattr(
        neural_ode, "Perceptron", lambda d, _, **options: block(d, "tanh", **options)
    )
    found = verdicts("kink", tmp_path, depths=[8, 16, 32], activations=["relu"])
    assert {each.verdict for each in found.values()} == {"contradicted"}


LIMIT = {**SIZES, "depths": [16, 32, 64], "nodes": 10, "starts": ["trained", "clipped"]}


def test_limit(tmp_path):
    outcome = run("limit", tmp_path, **LIMIT)
    assert len(outcome.report.verdicts) == 3 * (2 + 3)
    assert {each.verdict for each in outcome.report.verdicts} == {"confirmed"}
    assert "ds = lr c tau w" in outcome.report.texts[0]


def test_a_wrong_step_contradicts_the_limit(tmp_path, monkeypatch):
    """Planted: the residual scale is sqrt(2) / L, a lost factor of the network."""
    euler, problem, root2 = DepthGrid.euler, TINY.problem(0), 2.0**0.5
    monkeypatch.setattr(
        DepthGrid,
        "euler",
        lambda n: (
            mfpde.ResNet(problem, TINY.start(euler(n), "tied", 0), root2 / n).grid
        ),
    )
    found = verdicts("limit", tmp_path, **LIMIT | {"starts": ["tied"]})
    assert {each.verdict for each in found.values()} == {"contradicted"}


LONG = {"presets": ["tiny-slots"], "activations": ["tanh"]}
LONG |= {"depths": [2, 4, 8], "seeds": 2}


def test_long_time(tmp_path):
    outcome = run("long-time", tmp_path, **LONG)
    found = {each.claim: each.verdict for each in outcome.report.verdicts}
    assert set(found.values()) == {"confirmed"}, found
    table = outcome.table
    # The paper's rate is a bound: E(s) <= E(0) exp(-mu s), mu least along s.
    share = table["loss"][..., -1] / table["loss"][..., 0]
    least = table["constant"].min(axis=-1) / table["constant"][..., 0]
    assert (share <= np.exp(-20.0 * 0.99 * least)).all()


def test_a_sum_over_samples_contradicts_the_pl_constant(tmp_path, monkeypatch):
    """Planted: a factor N in the kernel, as of a sum for the mean over samples."""
    kernel = local_pl.tangent_kernel

    def wrong(problem, grid, ensemble):
        return kernel(problem, grid, ensemble) * problem.n_samples

    monkeypatch.setattr(local_pl, "tangent_kernel", wrong)
    found = verdicts("long-time", tmp_path, **LONG)
    wrong_claims = {c for c, each in found.items() if each.verdict == "contradicted"}
    assert wrong_claims == {
        "tiny-slots, tanh: D/E >= PL constant along s",
        "tiny-slots, tanh: E falls below 1e-06 of the first",
    }


def test_long_time_ends_without_a_pl_constant(tmp_path, monkeypatch):
    """M < N: lambda_min(K) is zero up to rounding, and nothing is claimed of E."""
    few = dataclasses.replace(PRESETS["tiny-slots"], n_particles=2)
    monkeypatch.setitem(PRESETS, "tiny-slots", few)
    outcome = run("long-time", tmp_path, **LONG, longest=50.0)
    assert (outcome.table["end"] == 50.0).all()
    assert "6 of 6 ended there" in outcome.report.texts[0]
    found = {each.claim: each for each in outcome.report.verdicts}
    falls = found["tiny-slots, tanh: E falls below 1e-06 of the first"]
    assert falls.verdict == "not resolved"
    assert not any("PL constant" in claim for claim in found)


def test_long_time_without_kernels(tmp_path):
    """Kernels too large to compute: the time of the preset, and fewer claims."""
    outcome = run("long-time", tmp_path, **LONG, most_outputs=1)
    assert (outcome.table["end"] == PRESETS["tiny-slots"].s_end).all()
    claims = [each.claim for each in outcome.report.verdicts]
    assert len(claims) == 4
    assert not any("PL constant" in claim for claim in claims)


WIDTH = {"presets": ["tiny-slots"], "activations": ["tanh"], "samples": [4, 16]}
WIDTH |= {"widths_per_sample": [0.5, 1.0, 2.0, 4.0, 16.0], "seeds": 24}


def test_width(tmp_path):
    found = verdicts("width", tmp_path, **WIDTH)
    rows = {claim: each.verdict for claim, each in found.items() if each.row == 13}
    assert set(rows.values()) == {"confirmed"}, rows


def test_unnormalised_kernels_contradict_the_width(tmp_path, monkeypatch):
    """Planted: a factor M^2 in the kernel, as of sums for means over particles."""
    kernel = local_pl.tangent_kernel

    def wrong(problem, grid, ensemble):
        return kernel(problem, grid, ensemble) * ensemble.n_particles**2

    monkeypatch.setattr(local_pl, "tangent_kernel", wrong)
    found = verdicts("width", tmp_path, **WIDTH)
    (share,) = (each for claim, each in found.items() if "least share" in claim)
    assert share.verdict == "contradicted"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": {"presets": ["deep"]}}, "`limit.presets` must be of large-depth"),
        ({"limit": {"starts": ["free"]}}, "`limit.starts` must be of tied, lipschitz"),
        ({"width": {"width_judged": 3.0}}, "`width.widths_per_sample` must increase"),
        ({"kink": {"depths": [-1]}}, "`kink.depths` must be positive"),
    ],
)
def test_wrong_configurations(change, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve(STUDY, change)


def test_presets_are_settings_of_the_package():
    assert marion.PRESETS["small"] == PRESETS["small"]
