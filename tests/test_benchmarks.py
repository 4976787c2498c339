"""Every benchmark script runs with --quick, prints its header and a table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mpi_cases import mpiexec

SCRIPTS = sorted((Path(__file__).parents[1] / "benchmarks").glob("bench_*.py"))
OPTIONS = {"bench_gradient": ["--peers"]}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_benchmark_runs_quickly(script: Path, tmp_path: Path) -> None:
    if script.stem == "bench_mpi":
        mpiexec()
    output = tmp_path / "table.md"
    call = [sys.executable, str(script), "--quick", "--output", str(output)]
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
