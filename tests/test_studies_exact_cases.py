"""The study exact in small: verdicts, planted errors, its file."""

from pathlib import Path

import numpy as np
import pytest

from mfpde.blocks import Custom
from mfpde.depth import DepthGrid
from mfpde.errors import ConfigurationError
from mfpde.papers.exact_cases import STUDY
from mfpde.papers.invariants import cross_polytope, four_points, second_moments
from mfpde.papers.ledger import BLOCKS, ledger_residuals
from mfpde.problem import MeanFieldProblem
from mfpde.studies import load_study, resolve
from mfpde.studies.collection import parts_of, run_parts

SMALL = {
    "coefficient": {"depths": [8, 16, 32], "seeds": 8},
    "horizon": {
        "data_seeds": [0],
        "depths": [4],
        "widths": [16],
        "seeds": 8,
        "rtol": 1e-4,
    },
    "ledger": {
        "blocks": ["tanh", "linear", "tanh, ridge"],
        "n_steps": [16, 32, 64],
        "seeds": 2,
    },
    "certified": {"dimensions": [2], "seeds": 6, "s": [0.0, 0.3, 1.0]},
    "invariants": {"rtols": [1e-4, 1e-6], "layers": [3], "seeds": 3},
    "late": {"seeds": 4},
}


def verdicts(folder, name, change=None):
    config = {"experiments": [name], name: SMALL[name] | (change or {})}
    ((_, outcome),) = run_parts(parts_of(STUDY, resolve(STUDY, config), folder))
    assert outcome.status == "finished", outcome.message
    return {each.claim: each for each in outcome.report.verdicts}


def test_the_file_holds_the_defaults():
    path = Path(__file__).parents[1] / "data" / "studies" / "exact.toml"
    _, config = load_study(str(path))
    assert config == resolve(STUDY, {})


@pytest.mark.parametrize("name", SMALL)
def test_all_is_confirmed(name, tmp_path):
    found = verdicts(tmp_path, name)
    assert {v.verdict for v in found.values() if v.row} == {"confirmed"}, found


def slow(factor):
    """Problems that forget a factor of the velocity, for every parameter or each."""

    def make(x, y, block, **options):
        metric = np.broadcast_to(factor, block.k)
        return MeanFieldProblem(x, y, block, metric=metric, **options)

    return make


@pytest.mark.parametrize(
    ("name", "module", "factor", "claim"),
    [
        ("coefficient", "horizons", 0.5, "it follows the exact coefficient along s"),
        ("certified", "exact_cases", 0.5, "D >= 2 sigma^2 int |Q|^2 dt at every s"),
        ("invariants", "invariants", (1.0, 0.5), "T3: invariants to 30 rtol"),
        ("invariants", "invariants", (1.0, 0.5), "T3: exact finite law to 30 rtol"),
    ],
)
def test_a_missing_factor_flips_the_verdict(
    name, module, factor, claim, tmp_path, monkeypatch
):
    monkeypatch.setattr(f"mfpde.papers.{module}.MeanFieldProblem", slow(factor))
    change = {"cases": ["T3"]} if name == "invariants" else {}
    assert verdicts(tmp_path, name, change)[claim].verdict == "contradicted"


def test_a_wrong_adjoint_flips_the_ledger(tmp_path, monkeypatch):
    """f = theta z whose pullback in z has the wrong sign: no gradient of the loss."""

    def f(z, theta, out):
        for c in range(2):
            out[c] = theta[0] * z[c] + theta[1]

    def vjp_z(z, theta, p, out):
        for c in range(2):
            out[c] = -theta[0] * p[c]

    def vjp_theta(z, theta, p, out):
        out[0] = p[0] * z[0] + p[1] * z[1]
        out[1] = p[0] + p[1]

    monkeypatch.setitem(BLOCKS, "wrong", Custom(2, 2, f, vjp_z, vjp_theta))
    change = {"blocks": ["wrong"], "seeds": 24, "schemes": ["euler"]}
    found = verdicts(tmp_path, "ledger", change)
    for stepper in ("euler", "heun", "rk4"):
        claim = f"{stepper}: order in ds of the residual of the ledger"
        assert found[claim].verdict == "contradicted"


@pytest.mark.parametrize("order", [1, 2, 4])
def test_residuals_of_an_exact_decay(order):
    """E = exp(-s), D = exp(-s): the residual is the error of the rule."""
    sizes = []
    for n in (16, 32, 64):
        s = np.linspace(0.0, 1.0, n + 1)
        found = ledger_residuals(np.exp(-s), np.exp(-s), 1.0 / n, order)
        sizes.append(np.abs(found).max())
    orders = np.log2(np.divide(sizes[:-1], sizes[1:]))
    np.testing.assert_allclose(orders, order, atol=0.1)


def test_particles_have_the_moments_of_the_laws(rng):
    factor = rng.normal(size=(4, 4))
    covariance = factor @ factor.T
    grid = DepthGrid.euler(2)
    for start, expected in (
        (cross_polytope(grid, covariance), covariance),
        (four_points(grid, 0.7), 0.49 * np.eye(2)),
    ):
        found = second_moments(start.theta, start.weights)
        np.testing.assert_allclose(found[1], expected, rtol=1e-12, atol=1e-14)


def test_wrong_configurations():
    with pytest.raises(
        ConfigurationError, match=r"`ledger\.steppers` must be of euler"
    ):
        resolve(STUDY, {"ledger": {"steppers": ["eulr"]}})
