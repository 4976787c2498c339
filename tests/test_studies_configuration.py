"""Configurations of studies: defaults, files, `--set`, and what is wrong with them."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from study_cases import STUDY

import mfpde
from mfpde.config.toml import write_toml
from mfpde.errors import ConfigurationError
from mfpde.papers.names import ALL
from mfpde.studies import load_study, resolve, resolved_text
from mfpde.studies.configuration import config_digest, differences
from mfpde.studies.find import find_study

PACKAGED = Path(mfpde.__file__).parents[1] / "data" / "studies"


def problems_of(call, *arguments):
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments)
    return caught.value.problems


def test_what_is_not_given_has_its_default():
    config = resolve(STUDY, {"n_seeds": 5, "mischief": {"kind": "fail"}})
    assert config["n_seeds"] == 5
    assert config["mischief"] == {**STUDY.defaults["mischief"], "kind": "fail"}
    assert list(config) == list(STUDY.defaults)
    assert STUDY.defaults["n_seeds"] == 3
    # Whole numbers where numbers are wanted become those: one text, one digest.
    assert type(resolve(STUDY, {"scale": 2})["scale"]) is float
    texts = [resolved_text(STUDY, resolve(STUDY, {"scale": s})) for s in (2, 2.0, 2.5)]
    digests = [config_digest(text) for text in texts]
    assert digests[0] == digests[1] != digests[2]
    assert tomllib.loads(texts[0]) == {
        "study": "quadrature",
        **resolve(STUDY, {"scale": 2}),
    }


def test_all_problems_are_told_at_once():
    given = {
        "study": "other",
        "n_seed": 3,
        "depths": [],
        "widths": [1, "b"],
        "scale": "big",
        "mischief": {"kindd": 1, "sleep_s": True},
        "rules": "left",
    }
    assert problems_of(resolve, STUDY, given) == [
        "`study` must be \"quadrature\", got 'other'.",
        '`n_seed` is not a key of the top level; did you mean "n_seeds"?',
        "`depths` must have one entry or more, got none.",
        "`widths` must be an integer, got 'b'.",
        "`rules` must be a list, got 'left'.",
        "`scale` must be a number, got 'big'.",
        '`mischief.kindd` is not a key of [mischief]; did you mean "kind"?',
        "`mischief.sleep_s` must be a number, got True.",
    ]
    assert problems_of(resolve, STUDY, {"mischief": 3}) == [
        "`mischief` must be a table, got 3."
    ]
    # What the study itself says.
    assert problems_of(resolve, STUDY, {"depths": [0, 2]}) == [
        "`depths` must be at least 1, got [0]."
    ]


def test_a_study_by_name_and_by_file(tmp_path):
    study, config = load_study("quadrature", ["n_seeds=7", "mischief.kind=fail"])
    assert type(study) is type(STUDY)
    assert config["n_seeds"] == 7
    path = tmp_path / "mine.toml"
    path.write_text('study = "quadrature"\nn_seeds = 4\n')
    assert load_study(str(path), ["scale=3"])[1] == {
        **STUDY.defaults,
        "n_seeds": 4,
        "scale": 3.0,
    }
    # A key that is taken away has its default again.
    assert load_study(str(path), ["n_seeds="])[1]["n_seeds"] == 3


def test_paths_start_in_the_folder_of_the_file(tmp_path, monkeypatch):
    """Those in a table and in a list of cases; those of `--set` do not."""
    (tmp_path / "mine").mkdir()
    rows = "".join(f"{i / 16},{i % 2}\n" for i in range(16))
    (tmp_path / "mine" / "points.csv").write_text(f"x,y\n{rows}", encoding="utf-8")
    np.savez(tmp_path / "mine" / "cloud.npz", theta=np.ones((4, 3)))
    path = tmp_path / "mine" / "tau.toml"
    csv = {"source": "csv", "path": "points.csv", "target_columns": "y"}
    csv["task"] = "classification"
    path.write_text(
        write_toml({"study": "tau", "training": {"data": csv}}), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    data = load_study("mine/tau.toml")[1]["training"]["data"]
    assert data["path"] == str(Path("mine", "points.csv"))
    monkeypatch.chdir("mine")
    data = load_study("tau.toml")[1]["training"]["data"]
    assert data["path"] == "points.csv"
    absolute = str(tmp_path / "mine" / "points.csv")
    given = [f'training.data.path="{absolute}"']
    assert load_study("tau.toml", given)[1]["training"]["data"]["path"] == absolute
    law = {"kind": "file", "path": "cloud.npz"}
    case = {"name": "own", "data": csv, "law": law}
    Path("width.toml").write_text(
        write_toml({"study": "depth-width", "cases": [case]}), encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    case = load_study("mine/width.toml")[1]["cases"][0]
    assert case["data"]["path"] == str(Path("mine", "points.csv"))
    assert case["law"]["path"] == str(Path("mine", "cloud.npz"))


def test_an_unknown_study(tmp_path):
    (problem,) = problems_of(load_study, "quadratur")
    assert problem.startswith(
        "There is no study 'quadratur'. Did you mean 'quadrature'? There is: "
    )
    assert "depth-width, zero-loss" in problem
    path = tmp_path / "mine.toml"
    path.write_text('study = "depth"\n')
    assert "no study 'depth'" in problems_of(load_study, str(path))[0]
    path.write_text("study = [3]\n")
    assert "no study '[3]'" in problems_of(load_study, str(path))[0]
    path.write_text("n_seeds = 4\n")
    (problem,) = problems_of(load_study, str(path))
    assert 'it needs study = "' in problem
    assert 'study = "quadrature"' in problem
    path.write_text("n_seeds = ")
    assert "is not valid TOML" in problems_of(load_study, str(path))[0]
    with pytest.raises(FileNotFoundError):
        load_study(str(tmp_path / "absent.toml"))
    assert "takes KEY=VALUE" in problems_of(load_study, "quadrature", ["x"])[0]


def test_differences_are_named_by_their_keys():
    one = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1]}
    other = {"a": 1, "b": {"c": 2, "d": 4}, "f": 0}
    assert differences(one, other) == ["b.d", "e", "f"]
    assert differences(one, one) == []


@pytest.mark.parametrize("name", [each.name for each in ALL.parts])
def test_the_packaged_file_is_what_the_study_takes_by_default(name):
    study = find_study(name)
    text = (PACKAGED / f"{name}.toml").read_text(encoding="utf-8")
    assert study.name == name
    packaged = tomllib.loads(text)
    assert next(iter(packaged)) == "study"
    assert packaged == tomllib.loads(write_toml({"study": name, **study.defaults}))
    assert resolve(study, packaged) == resolve(study, {})


def test_every_packaged_file_can_be_loaded():
    for path in PACKAGED.glob("*.toml"):
        load_study(str(path))
