"""Time the start: the command line, the import, the first evaluation.

Every figure is a whole process. "cold" compiles the kernels into an empty cache, "warm"
is a second process that loads them from the disk.

    python benchmarks/bench_startup.py [--quick] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
from machine import header, write

EVALUATE = """
import numpy as np, mfpde
problem = mfpde.MeanFieldProblem(
    np.zeros((8, {d})), np.ones((8, {d})), mfpde.blocks.{block}
)
grid = mfpde.DepthGrid.{grid}
theta = np.full((grid.n_nodes, 4, problem.k), 0.1)
mfpde.evaluate(problem, grid, mfpde.ParticleEnsemble(theta))
"""


def seconds(code: str, environment: dict[str, str]) -> float:
    """Wall time of a Python process that runs the code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one case, once")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    blocks = [(2, "Perceptron(2)", "rk4(2)")]
    if not options.quick:
        blocks += [
            (16, "Perceptron(16)", "rk4(2)"),
            (64, "Perceptron(64)", "euler(4)"),
            (8, 'Perceptron(8, "gelu")', "gauss(3)"),
            (2, "Bilinear(2)", "gauss(3)"),
            (3, "Linear(3)", "midpoint(2)"),
        ]
    plain = {
        "python -c pass": "pass",
        "import mfpde": "import mfpde",
        "mfpde --help": (
            "import sys; sys.stdout = open('/dev/null', 'w')\n"
            "from mfpde.cli import main\n"
            "try:\n    main(['--help'])\nexcept SystemExit:\n    pass"
        ),
    }
    lines = [
        "| what | cold (s) | warm, median of processes (s) |",
        "| --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"MFPDE_CACHE_DIR": f"{folder}/kernels"}
        cases = plain | {
            f"first evaluate, {block}, {grid}": EVALUATE.format(
                d=d, block=block, grid=grid
            )
            for d, block, grid in blocks
        }
        for name, code in cases.items():
            cold = seconds(code, environment)
            warm = [seconds(code, environment) for _ in range(repeats)]
            lines.append(f"| {name} | {cold:.2f} | {np.median(warm):.2f} |")
    write(header(repeats=repeats) + "\n\n" + "\n".join(lines), options.output)


if __name__ == "__main__":
    main()
