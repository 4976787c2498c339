"""The study reorder on small problems: verdicts, and errors that flip them."""

import copy
import dataclasses

import numpy as np
import pytest

from mfpde.blocks import Linear
from mfpde.errors import ConfigurationError, NotFiniteError
from mfpde.evaluation import first_variation
from mfpde.papers.block_cases import CASES
from mfpde.studies import resolve
from mfpde.studies.collection import parts_of, run_parts
from mfpde.studies.find import find_study
from mfpde.theory.joint import brackets, evaluation, lesions, shuffles
from mfpde.theory.landscape import escape
from mfpde.theory.shallow import compare_flows

STUDY = find_study("reorder")
SMALL_CASES = copy.deepcopy(CASES)
for each in SMALL_CASES:
    each["data"]["n_samples"] = 12
SMALL = {
    "commutators": {"blocks": [16, 32, 64, 128], "seeds": 6, "cases": SMALL_CASES},
    "shuffles": {
        "seeds": 4,
        "eps": [0.0125, 0.025, 0.05],
        "n_blocks": 16,
        "cases": SMALL_CASES,
    },
    "shallow": {
        "eps": [0.0125, 0.025, 0.05],
        "seeds": 2,
        "times": [0.0, 0.5],
        "used": ["spirals"],
        "n_particles": 4,
        "cases": SMALL_CASES,
    },
    "reordering": {
        "n_blocks": 16,
        "seeds": 6,
        "s_end": 4.0,
        "n_records": 4,
        "cases": SMALL_CASES,
    },
    "commuting": {
        "n_blocks": 16,
        "seeds": 6,
        "s_end": 4.0,
        "n_records": 4,
        "cases": SMALL_CASES,
    },
    "landscape": {"sizes": [2], "n_samples": [24], "seeds": 2, "cloud": 16},
}


def run(name, folder, **changes):
    """Verdicts by their claims, and the outcome, of one experiment."""
    config = {"experiments": [name], name: SMALL[name] | changes}
    parts = parts_of(STUDY, resolve(STUDY, config), folder)
    ((_, outcome),) = run_parts(parts)
    assert outcome.status == "finished", outcome.message
    return {each.claim: each.verdict for each in outcome.report.verdicts}, outcome


def test_exchanges_and_lesions(tmp_path):
    found, outcome = run("commutators", tmp_path)
    assert "contradicted" not in found.values()
    for name in ("spirals", "digits"):
        claim = f"{name}: change of E by many exchanges at once / Eq. (20)"
        assert found[claim] == "confirmed"
    claim = "diagonal: shuffling blocks that commute changes nothing"
    assert found[claim] == "confirmed"
    assert {each.row for each in outcome.report.verdicts} == {9}
    table = outcome.table.select(case="spirals")
    assert (np.diff(np.median(table["exchange_error"], axis=1)) < 0).all()


def test_the_wrong_sign_of_the_bracket_flips_verdicts(tmp_path, monkeypatch):
    """The commutator [f_a, f_b] in place of [f_b, f_a]."""

    def turned(*arguments):
        return -brackets(*arguments)

    monkeypatch.setattr(evaluation, "brackets", turned)
    found, _ = run("commutators", tmp_path, used=["spirals", "digits"])
    for name in ("spirals", "digits"):
        claim = f"{name}: change of E by many exchanges at once / Eq. (20)"
        assert found[claim] == "contradicted"
        claim = f"{name}, exchanged blocks: order of the error in 1/n"
        assert found[claim] == "contradicted"


def test_a_forgotten_factor_of_the_lesion_flips_its_verdict(tmp_path, monkeypatch):
    slopes = lesions.lesion_slopes
    monkeypatch.setattr(lesions, "lesion_slopes", lambda e: 2.0 * slopes(e))
    found, _ = run("commutators", tmp_path, used=["spirals"])
    assert found["spirals, deleted blocks: order of the error in 1/n"] == "contradicted"


def test_shuffles_of_small_blocks_are_a_sum_of_commutators(tmp_path):
    found, outcome = run("shuffles", tmp_path)
    assert list(found.values()) == ["confirmed"] * 2
    assert {each.row for each in outcome.report.verdicts} == {9}


def test_a_wrong_bracket_flips_the_verdict_of_shuffles(tmp_path, monkeypatch):
    """The wrong sign, and pairs that stay in order counted in place of the others."""
    wrong = {
        "brackets": lambda *arguments: -brackets(*arguments),
        "pair_slopes": lambda found: shuffles_pairs(found).T,
    }
    shuffles_pairs = shuffles.pair_slopes
    for name, planted in wrong.items():
        with monkeypatch.context() as patch:
            patch.setattr(shuffles, name, planted)
            found, _ = run("shuffles", tmp_path / name)
        assert set(found.values()) == {"contradicted"}


def test_small_blocks_are_an_ensemble(tmp_path):
    found, _ = run("shallow", tmp_path)
    claims = [claim for claim in found if "not above" not in claim]
    assert {found[claim] for claim in claims} == {"confirmed"}
    # Six cells are just enough for "all".
    assert found["spirals: the gap is not above (21)"] == "confirmed"


def test_another_two_layer_network_flips_the_verdict(tmp_path, monkeypatch):
    """The particles of the two-layer network without their common factor eps."""

    def unscaled(problem, grid, start, times):
        found = compare_flows(problem, grid, start, times)
        return dataclasses.replace(found, flow_gap=found.flow_gap / problem.block.scale)

    monkeypatch.setattr("mfpde.papers.reorder.compare_flows", unscaled)
    found, _ = run("shallow", tmp_path)
    claim = "spirals: order of the gap in eps at s = 0.5/eps"
    assert found[claim] == "contradicted"


def test_commuting_blocks_have_one_curve(tmp_path):
    found, outcome = run("commuting", tmp_path)
    assert found == {
        "diagonal: the same curve at rest and by pde": "confirmed",
        "diagonal: the same curve at rest and by shuffle": "confirmed",
        "scalar: the same curve at rest and by pde": "confirmed",
    }
    assert {each.row for each in outcome.report.verdicts} == {10}


def test_blocks_that_do_not_commute_have_two(tmp_path):
    """A case that is wrongly said to commute."""
    found, _ = run("commuting", tmp_path, used=["spirals"], exact=["spirals"])
    assert set(found.values()) == {"contradicted"}


def test_exchanges_are_counted(tmp_path):
    _, outcome = run("reordering", tmp_path, used=["spirals"], seeds=2)
    table = outcome.table.select(case="spirals")
    for arm in ("pde", "gap", "shuffle"):
        part = table.select(arm=arm)
        assert (part["swaps"][:, 1:].sum(axis=1) > 0).all()
        # An exchange and its return count twice, or not at all.
        assert (part["net"] <= part["swaps"]).all()
    assert not table.select(arm="fixed")["swaps"].any()
    both = [table.select(arm=arm)["loss"][:, -1] for arm in ("pde", "fixed")]
    assert (both[0] != both[1]).all()
    rows = [each.row for each in outcome.report.verdicts]
    assert rows.count(10) == 2


def test_ways_down(tmp_path):
    found, outcome = run("landscape", tmp_path)
    assert len(found) == 6
    for start in ("dirac", "narrow"):
        claim = f"{start}: change of E / (5) as the mass -> 0, farthest from 1"
        assert found[claim] == "confirmed"
    # Too few cases to be sure of all.
    assert set(found.values()) <= {"confirmed", "not resolved"}
    assert (outcome.table["slope"] < 0).all()
    assert (outcome.table["moved"] < outcome.table["control"]).all()
    assert {each.row for each in outcome.report.verdicts} == {8}


def test_a_wrong_sign_of_the_first_variation_flips_verdicts(tmp_path, monkeypatch):
    """Slopes found are below zero as before: it is E that goes up."""

    def negated(*arguments):
        return -first_variation(*arguments)

    monkeypatch.setattr("mfpde.theory.landscape.first_variation", negated)
    found, outcome = run("landscape", tmp_path, s_end=1.0)
    assert (outcome.table["slope"] < 0).all()
    for start in ("dirac", "narrow"):
        claim = f"{start}: change of E / (5) as the mass -> 0, farthest from 1"
        assert found[claim] == "contradicted"
        claim = f"{start}: a little mass moved lowers E at every depth t0"
        assert found[claim] == "contradicted"


def test_a_run_that_diverges_decides_nothing(tmp_path, monkeypatch):
    drawn = []

    def diverging(*arguments, **options):
        drawn.append(1)
        if len(drawn) == 1:
            raise NotFiniteError("E is not finite.")
        return escape(*arguments, **options)

    monkeypatch.setattr("mfpde.papers.landscape.escape", diverging)
    config = {"starts": ["dirac"], "s_end": 1.0, "seeds": 8}
    found, outcome = run("landscape", tmp_path, **config)
    assert set(found.values()) == {"not resolved"}
    notes = {each.note for each in outcome.report.verdicts}
    assert notes == {"1 of 8 runs diverged or had no rest."}


def test_a_linear_block_has_no_way_down(tmp_path, monkeypatch):
    """A block that is not universal, at rest at its best: E > 0, and nothing falls."""
    monkeypatch.setattr("mfpde.papers.landscape.Perceptron", lambda d, _: Linear(d))
    config = {"starts": ["narrow"], "s_end": 10.0}
    found, _ = run("landscape", tmp_path, **config)
    assert found["narrow: perturbed, E falls by 1% more"] == "contradicted"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"commutators": {"blocks": [16, 24, 32]}}, "be multiples of the first"),
        ({"reordering": {"used": ["moons"]}}, "`reordering.used` must be of"),
        ({"commuting": {"arms": ["fixed"]}}, "`commuting.arms` must hold pde, shuffle"),
        ({"landscape": {"starts": ["saddle"]}}, "`landscape.starts` must be of dirac"),
        ({"landscape": {"masses": [0.1]}}, "`landscape.masses` must be two, below 1"),
        ({"shallow": {"used": ["diagonal"]}}, "a perceptron with tanh"),
        ({"shuffles": {"used": ["diagonal"]}}, "whose block is a perceptron"),
        ({"shallow": {"eps": [0.1, -0.1]}}, "`shallow.eps` must be positive"),
    ],
)
def test_wrong_configurations(change, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve(STUDY, change)
