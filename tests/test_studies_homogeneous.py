"""The study of homogeneous blocks: verdicts on small configurations, and false ones."""

import numpy as np
import pytest

from mfpde import DepthGrid
from mfpde.errors import ConfigurationError
from mfpde.studies import flows, homogeneous, obstructions, resolve, separating
from mfpde.studies.collection import parts_of, run_parts
from mfpde.studies.homogeneous import STUDY


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
    assert of(found, "never rises") == "confirmed"


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
    right, calls = flows.solve, []

    def first_fails(*args, **options):
        calls.append(None)
        limit = {"wall_time_s": 1e-9} if len(calls) == 1 else {}
        return right(*args, **options, **limit)

    monkeypatch.setattr(flows, "solve", first_fails)
    options = {"cases": ["orientation linear"], "s_end": 64.0, "tolerance": 0.05}
    found = verdicts(tmp_path, "obstructions", **options)
    assert of(found, "E >= its infimum") == "contradicted"
    assert of(found, "limit of E / infimum") == "confirmed"
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
        ({"zero-loss": {"blocks": ["caped"]}}, "`kind` of a block must be one of"),
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
