"""Cases of a study: data, block and law, each described as in a run configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfpde import data
from mfpde.config import parse
from mfpde.config.assembly import (
    build_law,
    build_problem,
    reported_as_configuration,
)
from mfpde.errors import ConfigurationError
from mfpde.problem import MeanFieldProblem

NAME = re.compile(r"[A-Za-z0-9_-]+")
SECTIONS = ("title", "data", "problem", "law")


@dataclass(frozen=True, eq=False)
class Case:
    """What is trained: a problem, and the law its particles are drawn from."""

    name: str
    problem: MeanFieldProblem
    law: Any


def case_names(config: Mapping[str, Any]) -> list[str]:
    """Names of the cases, in their order."""
    return [case["name"] for case in config["cases"]]


def build_case(config: Mapping[str, Any], name: str) -> Case:
    """Make the problem and the law of one case."""
    (table,) = (case for case in config["cases"] if case["name"] == name)
    return _build(name, table)


def _build(name: str, table: Mapping[str, Any]) -> Case:
    sections = {key: value for key, value in table.items() if key != "name"}
    config = parse(sections)
    with reported_as_configuration():
        problem = build_problem(config, data.load(config.data, "."))
        return Case(name, problem, build_law(config, problem.block, Path(".")))


def case_problems(cases: Any) -> list[str]:
    """Sentences on all that is wrong with the cases of a configuration."""
    if (
        not isinstance(cases, list)
        or not cases
        or not all(isinstance(case, Mapping) for case in cases)
    ):
        return ["`cases` must hold one table or more, [[cases]] with name and data."]
    found, names = [], [case.get("name") for case in cases]
    for number, (case, name) in enumerate(zip(cases, names, strict=True), 1):
        place = f"`cases`, number {number}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            found.append(
                f"{place}: `name` must be made of letters, digits, _ and -, "
                f"got {name!r}."
            )
        elif names.index(name) < number - 1:
            found.append(f"{place}: the name {name!r} is used twice.")
        unknown = sorted(set(case) - {"name", *SECTIONS})
        if unknown:
            found.append(
                f"{place}: `{unknown[0]}` is not a part of a case, which has name, "
                f"{', '.join(SECTIONS)}."
            )
            continue
        try:
            _build(name, case)
        except ConfigurationError as error:
            found += [f"{place}: {problem}" for problem in error.problems]
        except FileNotFoundError as error:
            found.append(f"{place}: {error}")
    return found
