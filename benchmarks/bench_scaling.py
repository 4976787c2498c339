"""Time one loss and gradient against J, M, N and threads; memory of a whole solve.

Time: one of J, M, N runs over three decades while the others stay, then J M N runs from
1e6 to 1e9; ns per (node, particle, sample) would be constant if nothing but the kernels
took time. Threads: 1, 2, ... up to those in use, interleaved. Memory: a solve in a
process of its own; the largest resident set, less that of a process that only imports
mfpde and compiles, against theta + z + p.

    python benchmarks/bench_scaling.py [--quick] [--d 8] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import numpy as np
from machine import header, interleaved, write

import mfpde
from mfpde.kernels.threads import n_threads

MEMORY = """
import numpy as np, mfpde
n_nodes, n_particles, n_samples, d, stepper = {case!r}
rng = np.random.default_rng(0)
problem = mfpde.MeanFieldProblem(
    rng.normal(size=(n_samples, d)),
    rng.normal(size=(n_samples, d)),
    mfpde.blocks.Perceptron(d),
)
grid = mfpde.DepthGrid.euler(n_nodes)
law = mfpde.laws.Gaussian(0.0, 1.0 / d, n_params=problem.k)
ds = None if stepper == "dopri5" else 0.01
mfpde.solve(
    problem, grid, law.sample(grid, n_particles), s_end=0.02, stepper=stepper, ds=ds
)
status = open("/proc/self/status", encoding="utf-8").read()
print(status.split("VmHWM:")[1].split()[0])
"""


def evaluation(d: int, n_nodes: int, n_particles: int, n_samples: int):
    """A function without arguments that evaluates loss and gradient once."""
    rng = np.random.default_rng(0)
    problem = mfpde.MeanFieldProblem(
        rng.normal(size=(n_samples, d)),
        rng.normal(size=(n_samples, d)),
        mfpde.blocks.Perceptron(d),
    )
    grid = mfpde.DepthGrid.euler(n_nodes)
    theta = rng.normal(size=(n_nodes, n_particles, problem.k)) / np.sqrt(d)
    ensemble = mfpde.ParticleEnsemble(theta)
    return lambda: mfpde.evaluate(problem, grid, ensemble)


def sizes_table(d: int, cases: list[tuple[int, int, int]], repeats: int) -> str:
    variants = {case: evaluation(d, *case) for case in cases}
    times = interleaved(variants, repeats)
    lines = [
        "| J | M | N | J M N | evaluation (ms) | ns per (node, particle, sample) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in cases:
        median, total = float(np.median(times[case])), float(np.prod(case))
        sizes = " | ".join(str(size) for size in case)
        cells = f"{total:.1e} | {median * 1e3:.2f} | {median / total * 1e9:.2f}"
        lines.append(f"| {sizes} | {cells} |")
    return "\n".join(lines)


def threads_table(d: int, case: tuple[int, int, int], repeats: int) -> str:
    call = evaluation(d, *case)

    def with_threads(n: int):
        def run():
            os.environ["MFPDE_NUM_THREADS"] = str(n)
            call()

        return run

    given = os.environ.get("MFPDE_NUM_THREADS")
    counts = range(1, n_threads() + 1)
    variants = {n: with_threads(n) for n in counts}
    times = interleaved(variants, repeats)
    if given is None:
        del os.environ["MFPDE_NUM_THREADS"]
    else:
        os.environ["MFPDE_NUM_THREADS"] = given
    medians = {n: float(np.median(times[n])) for n in counts}
    lines = ["| threads | evaluation (ms) | against one |", "| --- | --- | --- |"]
    for n, median in medians.items():
        lines.append(f"| {n} | {median * 1e3:.2f} | {medians[1] / median:.2f} x |")
    return "\n".join(lines)


def peak_bytes(case: tuple) -> int:
    """Largest resident set of a process that makes one solve."""
    code = MEMORY.format(case=case)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return 1024 * int(done.stdout)


def memory_table(d: int, cases: list[tuple[int, int, int]]) -> str:
    lines = [
        "| J | M | N | stepper | theta + z + p (MB) | peak (MB) | "
        "(peak - smallest) / (theta + z + p) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    smallest = peak_bytes((2, 2, 2, d, "euler"))
    for case in cases:
        n_nodes, n_particles, n_samples = case
        theta = n_nodes * n_particles * (2 * d + 1)
        states = 2 * (n_nodes + 1) * n_samples * d
        arrays = 8 * (theta + states)
        for stepper in ("euler", "dopri5"):
            peak = peak_bytes((*case, d, stepper))
            sizes = " | ".join(str(size) for size in case)
            lines.append(
                f"| {sizes} | {stepper} | {arrays / 1e6:.0f} | {peak / 1e6:.0f} | "
                f"{(peak - smallest) / arrays:.1f} |"
            )
    return f"Smallest process: {smallest / 1e6:.0f} MB.\n\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--d", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output")
    options = parser.parse_args()
    d, repeats = options.d, options.repeats
    along = [(10**i, 512, 256) for i in range(4)]
    along += [(16, 10**i, 256) for i in range(1, 5)]
    along += [(16, 512, 10**i) for i in range(4)]
    # 1e6 to 1e9, in the proportions of 16, 512, 256 and around.
    total = [(16, 256, 256), (16, 1024, 640), (16, 2048, 3052), (16, 8192, 7630)]
    memory = [(16, 512, 256), (16, 4096, 4096), (16, 512, 65536), (16, 32768, 1024)]
    middle = (16, 2048, 1024)
    if options.quick:
        d, repeats, middle = 2, 2, (2, 64, 64)
        along, total, memory = [(2, 64, 64), (4, 64, 64)], [(2, 8, 8)], [(2, 64, 64)]
    sections = {
        "One of J, M, N alone": sizes_table(d, along, repeats),
        "All together": sizes_table(d, total, max(repeats // 4, 2)),
        f"Threads, J, M, N = {middle}": threads_table(d, middle, repeats),
        "Memory of a solve": memory_table(d, memory),
    }
    text = header(d=d, repeats=repeats)
    for title, table in sections.items():
        text += f"\n\n{title}\n\n{table}"
    write(text, options.output)


if __name__ == "__main__":
    main()
