"""The study of homogeneous blocks: verdicts on small configurations, and false ones."""

import dataclasses

import numpy as np
import pytest

from mfpde import DepthGrid
from mfpde.errors import ConfigurationError
from mfpde.papers import flows, homogeneous, infima, obstructions, separating
from mfpde.papers.homogeneous import STUDY
from mfpde.run.flow import Layout
from mfpde.studies import resolve
from mfpde.studies.collection import parts_of, run_parts


def verdicts(folder, experiment, **keys):
    """Claim to verdict of one experiment with 8 draws, other than the default's."""
    settings = {"seeds": 8, "first_seed": 40} | keys
    config = {"experiments": [experiment], experiment: settings}
    ((_, outcome),) = run_parts(parts_of(STUDY, resolve(STUDY, config), folder))
    assert outcome.report is not None, outcome.failures
    return {each.claim: each for each in outcome.report.verdicts}


def of(found, words):
    (verdict,) = (each for claim, each in found.items() if words in claim)
    return verdict.verdict


SMALL = {"blocks": ["capped:tanh"], "radii": [3.0], "stds": [1.5]}


def test_zero_loss_and_a_kernel_without_its_factor(tmp_path, monkeypatch):
    found = verdicts(tmp_path / "right", "zero-loss", **SMALL)
    assert {each.verdict for each in found.values()} == {"confirmed"}
    assert {each.row for each in found.values()} == {4}
    kernel = flows.tangent_kernel
    monkeypatch.setattr(flows, "tangent_kernel", lambda *args: 2.0 * kernel(*args))
    found = verdicts(tmp_path / "wrong", "zero-loss", **SMALL)
    assert of(found, "late rate") == "contradicted"
    assert of(found, "E <=") == "confirmed"


def test_steps_that_nothing_refuses_and_a_wrong_sign(tmp_path, monkeypatch):
    """One group climbs: the steps rise, where an adaptive run would have stalled."""
    found = verdicts(tmp_path / "right", "steps", **SMALL, steps=200)
    assert {each.verdict for each in found.values()} == {"confirmed"}
    right = Layout.point

    def wrong(self, *args, **options):
        point = right(self, *args, **options)
        rate = point.rate.copy()
        first, *_ = self.problem.block.param_groups.values()
        self.unpack(rate)[0][:, :, first] *= -1.0
        return dataclasses.replace(point, rate=rate)

    monkeypatch.setattr(Layout, "point", wrong)
    found = verdicts(tmp_path / "wrong", "steps", **SMALL, steps=200)
    assert of(found, "falls in every") == "contradicted"


def test_a_moment_that_saturates_does_not_grow():
    """Increments per octave are equal for ln s, and fall by 2^-a for M - c s^-a."""
    s = 2.0 ** np.arange(1.0, 10.0)
    gap = np.tile(1.0 / s, (8, 1))
    cases = {"confirmed": np.log(s), "contradicted": 1.0 - 0.5 / np.sqrt(s)}
    cases |= {"not resolved": 1.0 - s**-infima.SLOWEST}
    for verdict, moment in cases.items():
        moment = moment * np.linspace(1.0, 1.01, 8)[:, np.newaxis]
        at = {"loss": 1.0 + gap, "reach": gap, "second_moment": moment}
        _, grows = infima.judge_for_ever("reversal", s, at, {"confidence": 0.95})
        assert grows.verdict == verdict
    np.testing.assert_allclose(infima.increment_ratios(np.log(s) ** 2)[0], 5 / 3)
    assert (infima.increment_ratios(np.ones(4)) == 0.0).all()


def test_separation_and_shuffled_particles(tmp_path, monkeypatch):
    kinds = {"supports": ["circle", "sheet"], "s_end": 128.0}
    found = verdicts(tmp_path / "right", "separation", **kinds)
    assert {each.verdict for each in found.values()} == {"confirmed"}
    tracked = separating.separating_support

    def shuffled(kind, n, t):
        block, theta, track = tracked(kind, n, t)
        order = np.random.default_rng(0).permutation(theta.shape[1])
        return block, theta, lambda moved: track(moved[:, order])

    monkeypatch.setattr(homogeneous, "separating_support", shuffled)
    found = verdicts(tmp_path / "wrong", "separation", **kinds)
    assert of(found, "circle: the support") == "contradicted"
    assert of(found, "circle: E <=") == "confirmed"


def test_layers_that_cross_have_no_obstruction(tmp_path, monkeypatch):
    """Four steps of Euler are no flow: they cross, and fall below the infimum."""
    case = {"cases": ["reversal perceptron:tanh"], "s_end": 128.0}
    found = verdicts(tmp_path / "right", "obstructions", **case)
    assert {each.verdict for each in found.values()} == {"confirmed"}
    coarse = DepthGrid.euler(4)
    monkeypatch.setattr(obstructions.DepthGrid, "rk4", lambda _: coarse)
    found = verdicts(tmp_path / "wrong", "obstructions", **case)
    assert of(found, "E >= its infimum") == "contradicted"


def test_what_stalls_and_what_does_not(tmp_path, monkeypatch):
    cases = ["one-sided signed_squared_relu", "dead signed_squared_relu"]
    short = {"s_end": 64.0, "tolerance": 0.05}
    more = ["dirac bilinear", "orientation linear"]
    found = verdicts(tmp_path / "right", "obstructions", cases=cases + more, **short)
    assert {each.verdict for each in found.values()} == {"confirmed"}
    # The half that the theory wants at zero has some mass: then the law separates.
    monkeypatch.setitem(obstructions.OBSTRUCTIONS, "one-sided", obstructions.positivity)
    found = verdicts(tmp_path / "wrong", "obstructions", cases=cases[:1], **short)
    assert of(found, "limit of E / infimum") == "contradicted"


def test_a_run_that_diverged_is_counted_and_has_no_value(tmp_path, monkeypatch):
    right, calls = flows.solve.quietly, []

    def first_fails(*args, **options):
        calls.append(None)
        limit = {"wall_time_s": 1e-9} if len(calls) == 1 else {}
        return right(*args, **options, **limit)

    monkeypatch.setattr(flows.solve, "quietly", first_fails)
    options = {"cases": ["orientation linear"], "s_end": 64.0, "tolerance": 0.05}
    found = verdicts(tmp_path, "obstructions", **options)
    assert of(found, "E >= its infimum") == "not resolved"
    assert of(found, "limit of E / infimum") == "not resolved"
    value, interval = flows.over_seeds([np.nan], {"confidence": 0.95})
    assert np.isnan([value, *interval]).all()


def test_identities(tmp_path):
    blocks = ["capped:tanh", "perceptron:relu"]
    steps = [0.08, 0.04, 0.02]
    found = verdicts(tmp_path, "identities", blocks=blocks, steps=steps, s_end=1.0)
    assert {each.verdict for each in found.values()} == {"confirmed"}
    assert {each.row for each in found.values()} == {None}


def test_infima():
    """At the start, and where nothing moves."""
    found = obstructions.obstruction("dirac bilinear", 3)
    x, y = found.problem.x, found.problem.y
    assert found.infimum == pytest.approx(0.5 * np.mean((x - y) ** 2))
    assert (y < x).all()
    plane = obstructions.obstruction("plane-orientation linear", 3)
    target = (plane.problem.y / np.sqrt(2.0)).T
    assert np.linalg.det(target) < 0.0
    smallest = np.linalg.svd(target, compute_uv=False)[-1]
    assert plane.infimum == pytest.approx(0.5 * smallest**2)
    assert plane.reach(np.sqrt(2.0) * np.eye(2)) == pytest.approx(smallest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zero-loss": {"blocks": ["caped"]}}, "`kind` must be one of perceptron"),
        ({"zero-loss": {"radii": [1.0]}}, "`zero-loss.radii` must have one number"),
        ({"separation": {"supports": ["ring"]}}, "a support must be one of circle"),
        (
            {"obstructions": {"cases": ["diracs bilinear"]}},
            "a case must be one of reversal.*Did you mean 'dirac'",
        ),
        (
            {"obstructions": {"cases": ["dirac capped:regularised_relu"]}},
            "must have theta = 0 as a stationary point, which 'capped:reg",
        ),
        (
            {"obstructions": {"cases": ["orientation perceptron:tanh"]}},
            "'orientation' must be linear, got 'perceptron:tanh'",
        ),
    ],
)
def test_wrong_configurations(change, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve(STUDY, change)
