"""Real tables of other packages run at once, or with the keys that messages name."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mfpde import data, evaluate
from mfpde.config import parse
from mfpde.config.assembly import build
from mfpde.errors import ConfigurationError, DataWarning

BY_CLASS = {"task": "classification"}
BY_VALUE = {"task": "regression"}
BARE = {"header": False, "skip_rows": 1}

# Package, file, keys, then: samples, inputs, outputs.
TABLES = {
    "iris": (
        "sklearn.datasets.data",
        "iris.csv",
        BY_CLASS | BARE | {"target_columns": "4"},
        (150, 4, 3),
    ),
    "wine": (
        "sklearn.datasets.data",
        "wine_data.csv",
        BY_CLASS | BARE | {"target_columns": "13"},
        (178, 13, 3),
    ),
    "breast_cancer": (
        "sklearn.datasets.data",
        "breast_cancer.csv",
        BY_CLASS | BARE | {"target_columns": "30"},
        (569, 30, 2),
    ),
    "diabetes": (
        "sklearn.datasets.data",
        "diabetes_data_raw.csv.gz",
        BY_VALUE
        | {"header": False, "separator": " ", "target_path": "diabetes_target.csv.gz"},
        (442, 10, 1),
    ),
    "linnerud": (
        "sklearn.datasets.data",
        "linnerud_exercise.csv",
        BY_VALUE | {"separator": " ", "target_path": "linnerud_physiological.csv"},
        (20, 3, 3),
    ),
    "penguins": (
        "palmerpenguins.data",
        "penguins.csv",
        BY_CLASS
        | {
            "target_columns": "species",
            "drop_columns": ["island", "sex"],
            "missing": "drop",
        },
        (342, 5, 3),
    ),
    "penguins-raw": (
        "palmerpenguins.data",
        "penguins-raw.csv",
        BY_CLASS
        | {
            "target_columns": "Species",
            "drop_columns": [
                *("studyName", "Region", "Island", "Stage", "Individual ID"),
                *("Clutch Completion", "Date Egg", "Sex", "Comments"),
            ],
            "missing": "fill",
        },
        (344, 7, 3),
    ),
    "engel": (
        "statsmodels.datasets.engel",
        "engel.csv",
        BY_VALUE | {"target_columns": "foodexp"},
        (235, 1, 1),
    ),
    "heart": (
        "statsmodels.datasets.heart",
        "heart.csv",
        BY_VALUE | {"target_columns": "survival"},
        (69, 2, 1),
    ),
    "fair": (
        "statsmodels.datasets.fair",
        "fair.csv",
        BY_VALUE | {"target_columns": "affairs"},
        (6366, 8, 1),
    ),
    "spector": (
        "statsmodels.datasets.spector",
        "spector.csv",
        BY_CLASS
        | {
            "separator": " ",
            "quote": "'",
            "target_columns": "GRADE",
            "drop_columns": ["OBS"],
        },
        (32, 3, 2),
    ),
    "star98": (
        "statsmodels.datasets.star98",
        "star98.csv",
        BY_VALUE | {"target_columns": ["MATHTOT", "PR50M"]},
        (303, 20, 2),
    ),
    "seattle-weather": (
        "vega_datasets._data",
        "seattle-weather.csv",
        BY_CLASS | {"target_columns": "weather", "drop_columns": ["date"]},
        (1461, 4, 5),
    ),
}


def folder_of(package):
    root, *rest = package.split(".")
    # Found without importing it, which takes seconds for some.
    spec = importlib.util.find_spec(root)
    if spec is None:
        pytest.skip(f"{root}, which has the table, is not installed")
    return Path(spec.submodule_search_locations[0]).joinpath(*rest)


def configuration(name):
    package, file, keys, _ = TABLES[name]
    return folder_of(package), {"source": "csv", "path": file, **keys}


@pytest.mark.parametrize("name", list(TABLES))
def test_a_real_table_runs(name):
    folder, description = configuration(name)
    n_samples, n_inputs, n_outputs = TABLES[name][-1]
    description |= {"standardise": True, "test_fraction": 0.2}
    # Two inputs of every table: one compiled kernel serves all of them.
    description |= {"pad_to": 2, "pca": 2} if n_inputs > 1 else {"pad_to": 2}
    if description["task"] == "regression":
        description["standardise_target"] = True
    made = build(
        parse(
            {
                "data": description,
                "grid": {"scheme": "euler", "n": 2},
                "ensemble": {"n_particles": 8},
            }
        ),
        folder,
    )
    dataset = made.dataset
    assert len(dataset.x) + len(dataset.x_test) == n_samples
    assert len(dataset.raw_names) == n_inputs
    assert dataset.y.shape[1] == n_outputs
    assert np.isfinite(evaluate(made.problem, made.grid, made.ensemble).loss)
    if description["task"] == "regression":
        assert dataset.y.mean(axis=0) == pytest.approx(0.0, abs=1e-12)
        assert dataset.y.std(axis=0) == pytest.approx(1.0)
    else:
        assert len(dataset.class_names) == n_outputs


# What a newcomer writes first, and the key that the message names.
FIRST_TRIES = [
    ("iris", {}, "header", r"`header` = false,? .*`skip_rows` = 1"),
    ("wine", {}, "header", r"`skip_rows` \(and `header` = false"),
    ("breast_cancer", {}, "header", r"Line 2 .* must have 4 cells.*`skip_rows`"),
    ("diabetes", {"header": False}, "separator", r'`separator` = " "'),
    ("linnerud", {}, "separator", r'`separator` = " "'),
    ("penguins", {}, "drop_columns", r'`drop_columns` = \["island", "sex"\]'),
    ("penguins", {"drop_columns": None}, "missing", r"Row 4, .* `missing` = \"drop\""),
    (
        "penguins-raw",
        {},
        "drop_columns",
        r"'Date Egg' \(dates.*`drop_columns` = \[\"st",
    ),
    ("spector", {"separator": " "}, "quote", r"`quote` = \"'\""),
    ("seattle-weather", {}, "drop_columns", r"'date' \(dates, such as '2012/01/01'"),
]


@pytest.mark.parametrize(("name", "given", "key", "message"), FIRST_TRIES)
def test_the_message_names_the_key(name, given, key, message):
    folder, full = configuration(name)
    keys = ("source", "path", "task", "target_columns", "target_path")
    description = {k: full[k] for k in keys if k in full}
    description |= {k: full[k] if v is None else v for k, v in given.items()}
    assert key in full
    with pytest.raises(ValueError, match=message):
        data.load(description, folder)


def test_targets_of_a_regression_do_not_become_classes():
    for name, column in (("fair", "affairs"), ("star98", "MATHTOT")):
        folder, full = configuration(name)
        description = full | {"task": "classification", "target_columns": column}
        if name == "fair":
            with pytest.raises(ValueError, match=r"not whole.*`task` = \"regression\""):
                data.load(description, folder)
        else:
            with pytest.warns(DataWarning, match="more than half"):
                data.load(description, folder)
        del description["task"]
        with pytest.raises(ConfigurationError, match=r"`data\.task` is required"):
            data.load(description, folder)


def test_large_inputs_and_targets_are_warned_of():
    folder, description = configuration("engel")
    table = {"data": description, "ensemble": {"n_particles": 4}}
    with pytest.warns(
        DataWarning, match=r"`standardise` = .*`standardise_target` = tr"
    ):
        build(parse(table), folder)
