"""The Python blocks of README.md run, in order, as a newcomer would paste them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import mfpde

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def test_the_example_solves_its_problem(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(BLOCKS[0], names)
    solution = names["sol"]
    assert capsys.readouterr().out.startswith("Reached s_end = 400.")
    assert solution.loss[-1] < 1e-3 * solution.loss[0]
    # Twice the default tolerances, relative to an objective of order one.
    assert abs(solution.scalars["energy_residual"][-1]) < 2e-6


def test_the_reader_example_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.eye(2)
    problem = mfpde.MeanFieldProblem(x, x + 1.0, mfpde.blocks.Perceptron(2))
    grid = mfpde.DepthGrid.euler(2)
    ensemble = mfpde.ParticleEnsemble(np.ones((2, 3, 5)))
    mfpde.solve(problem, grid, ensemble, s_end=1.0, output="digits.h5")
    names: dict[str, object] = {"mfpde": mfpde}
    exec(BLOCKS[1], names)
    assert float(names["table"]["s"][-1]) == 1.0
    assert names["first"].shape == (2, 2, 3)
    assert len(BLOCKS) == 2


def test_the_page_on_error_estimates_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = README.parent / "docs" / "error-estimates.md"
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(block, names)
    assert "below the tolerance 0.0001" in capsys.readouterr().out


def test_the_page_on_networks_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = README.parent / "docs" / "networks.md"
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S):
        exec(block, names)
    text = capsys.readouterr().out
    assert text.startswith("Made all 200 iterations. learning rate 25.6 on L = 8, M = ")
    assert names["done"].scalars["train_accuracy"][-1] > 0.9
