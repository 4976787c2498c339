"""Small cases for studies of single blocks: spirals, digits, blocks that commute."""

from __future__ import annotations

from typing import Any

import numpy as np

from mfpde.studies.cases import case_problems
from mfpde.studies.experiment import Experiment
from mfpde.studies.study import Config

SPIRALS = {"source": "spirals", "n_samples": 32, "turns": 0.5}
DIGITS = {"source": "digits", "n_samples": 32, "classes": [0, 1, 2, 3]}
DIGITS |= {"pca": 4, "scale": 0.0625}
CURVE = {"source": "curve", "function": "step", "n_samples": 32}
NORMAL = {"kind": "gaussian", "std": 1.0}
# One function phi of z alone, f = v phi(z): u and b rest where they start.
V_ALONE = {"u": 0.0, "v": 1.0, "b": 0.0}
FIXED_U = {"kind": "gaussian", "mean": {"u": 1.0, "v": 0.0, "b": 0.0}, "std": V_ALONE}
# Matrices that are diagonal, and stay so.
ON_DIAGONAL = np.eye(4).ravel().tolist()
COMMUTING = ["diagonal", "scalar"]
"""Cases whose blocks commute: exactly, and as vector fields (d = 1)."""


def _case(
    name: str, data: dict[str, Any], block: str, law: dict[str, Any], metric: Any = None
) -> dict[str, Any]:
    problem = {"loss": "squared", "readout": {"kind": "identity"}}
    problem |= {"block": {"kind": block}} | ({"metric": metric} if metric else {})
    return {"name": name, "data": data, "problem": problem, "law": law}


CASES = [
    _case("spirals", SPIRALS, "perceptron", NORMAL),
    _case("digits", DIGITS, "perceptron", NORMAL),
    _case(
        "diagonal",
        DIGITS,
        "linear",
        {"kind": "gaussian", "std": ON_DIAGONAL},
        ON_DIAGONAL,
    ),
    _case("scalar", CURVE, "perceptron", FIXED_U, V_ALONE),
]

COMMON = {"first_seed": 0, "confidence": 0.99, "cases": CASES}
ROUNDING = 1e-9
"""Losses that differ by less, relative to that at the start, are the same."""


class CaseExperiment(Experiment):
    """An experiment on `cases`, of which `used` are in the grid."""

    def problems(self, config: Config) -> list[str]:
        """Also of the cases."""
        found = super().problems(config) + case_problems(config["cases"])
        names = [case.get("name") for case in config["cases"]] if not found else []
        if not found and set(config["used"]) - set(names):
            found.append(f"`used` must be of {names}, got {config['used']}.")
        return found
