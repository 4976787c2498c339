"""Every benchmark script runs with --quick, prints its header and a table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi_cases import mpiexec

import mfpde

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("bench_*.py"))
GRID = mfpde.DepthGrid.euler(2)
OPTIONS = {"bench_gradient": ["--peers"]}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_benchmark_runs_quickly(script: Path, tmp_path: Path) -> None:
    if script.stem == "bench_mpi":
        mpiexec()
    output = tmp_path / "table.md"
    # A crash in machine code shall say where in Python it was.
    call = [sys.executable, "-X", "faulthandler", str(script), "--quick"]
    call += ["--output", str(output)]
    done = subprocess.run(
        call + OPTIONS.get(script.stem, []),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    text = output.read_text(encoding="utf-8")
    assert text.startswith("# cpu")
    assert text.count("\n|") >= 3


def test_files_become_a_rate_plot(tmp_path: Path) -> None:
    """The worked example: without files, and with files of one's own."""
    script, picture = str(FOLDER / "rate_from_two_files.py"), tmp_path / "rate.png"
    text = _output_of(script, "--quick", "--output", picture)
    order = float(re.search(r"pairwise orders: \[(\S+)\]", text).group(1))
    # Euler in depth is of order one; 4 and 8 layers are not yet asymptotic.
    assert abs(order - 1.0) < 0.2
    assert picture.read_bytes().startswith(b"\x89PNG")

    law, files = mfpde.laws.Gaussian(np.zeros(1), 1.0), []
    problem = mfpde.MeanFieldProblem([1.0, 2.0], [2.0, 1.0], mfpde.blocks.Bias(1))
    for n_particles in (64, 4, 16):
        files.append(tmp_path / f"{n_particles}.h5")
        ensemble = law.sample(GRID, n_particles, coupling="tied", seed=0)
        mfpde.solve(problem, GRID, ensemble, s_end=0.1, output=files[-1])
    text = _output_of(script, *files, "--axis", "particles", "--output", picture)
    assert "particles: [ 4 16]" in text
    with pytest.raises(subprocess.CalledProcessError):
        _output_of(script, files[0])


def _output_of(script: str, *options: object) -> str:
    call = [sys.executable, script, *map(str, options)]
    done = subprocess.run(call, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout
