"""Time one solve on 1, 2, ... ranks; messages; and what a model makes of 1,000 ranks.

Each figure is the least of several runs, taken in turn, each in processes of its own,
one thread per rank. `relative difference` is the largest in theta, the loss and the
dissipation against one rank. The model adds up compute, messages and the calls of both:

    T(P) = J M N c / P + 2 n (o + t(8 N d, P)),   n stages of a sweep,
    t(B, P) = 2 latency log2(P) + 2 (1 - 1/P) B / bandwidth

    python benchmarks/bench_mpi.py [--quick] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from machine import header, write

import mfpde
from mfpde.engine.mpi import shard_of, world
from mfpde.kernels.sweep import STRIDE

D = 8
LATENCY_S, BANDWIDTH = 2e-6, 1e10
"""Of a network of a cluster, bytes per second; for the model."""

CALLS_S = 6e-6
"""Of Python and numba at one stage, one way: the evaluation of 2 particles, 8 samples,
d = 2, on a share against the whole, by the number of stages (0.20 ms / 32)."""


def case_of(case: tuple[int, int, int]) -> tuple:
    """Problem, grid and particles for J, M, N."""
    n_nodes, n_particles, n_samples = case
    rng = np.random.default_rng(0)
    problem = mfpde.MeanFieldProblem(
        rng.normal(size=(n_samples, D)),
        rng.normal(size=(n_samples, D)),
        mfpde.blocks.Perceptron(D),
    )
    theta = rng.normal(size=(n_nodes, n_particles, problem.k)) / np.sqrt(D)
    return problem, mfpde.DepthGrid.euler(n_nodes), mfpde.ParticleEnsemble(theta)


def worker(case: tuple[int, int, int], n_steps: int, repeats: int, n_bytes: list[int]):
    """What one rank does: evaluations, a solve, messages; rank 0 prints seconds."""
    communicator = world()
    problem, grid, ensemble = case_of(case)
    share = ensemble.share(shard_of(communicator, ensemble.n_particles))

    def evaluate() -> None:
        mfpde.evaluate(problem, grid, share)

    def solve() -> mfpde.Solution:
        return mfpde.solve(
            problem,
            grid,
            ensemble,
            s_end=0.1,
            stepper="rk4",
            ds=0.1 / n_steps,
            communicator=communicator,
        )

    found = solve()
    result = {
        "evaluation": least(evaluate, repeats),
        "solve": least(solve, 3),
        "messages": {},
        "loss": found.loss.tolist(),
        "dissipation": found.dissipation.tolist(),
        "theta": found.ensemble.theta.ravel()[
            :: ensemble.theta.size // 999 + 1
        ].tolist(),
    }
    if communicator is not None:
        shard = shard_of(communicator, ensemble.n_particles)
        for size in n_bytes:
            message = np.zeros(size // 8)
            seconds = least(lambda message=message: shard.sum_(message), 200)
            result["messages"][size] = seconds
    if communicator is None or communicator.rank == 0:
        print(json.dumps(result))


def least(call, repeats: int) -> float:
    """The shortest time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def launch(n_ranks: int, case: tuple[int, int, int], options) -> dict:
    """Run the worker on some ranks."""
    call = [sys.executable, __file__, "--worker", json.dumps(case)]
    call += ["--steps", str(options.steps), "--repeats", str(options.repeats)]
    if n_ranks > 1:
        call = [options.mpiexec, "-n", str(n_ranks), *call]
    one_thread = {"MFPDE_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        call, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | one_thread
    )
    return json.loads(done.stdout.splitlines()[-1])


def combined(runs: list[dict]) -> dict:
    """The least time of several runs, and what they found."""
    best = dict(runs[0])
    for name in ("evaluation", "solve"):
        best[name] = min(run[name] for run in runs)
        best[f"{name}_spread"] = max(run[name] for run in runs) / best[name]
    best["messages"] = {
        size: min(run["messages"][size] for run in runs) for size in best["messages"]
    }
    return best


def difference(one: dict, other: dict) -> float:
    """Largest relative difference of what two runs found."""
    worst = 0.0
    for name in ("theta", "loss", "dissipation"):
        a, b = np.array(one[name]), np.array(other[name])
        worst = max(worst, float(np.abs(a - b).max() / np.abs(a).max()))
    return worst


def reduction_s(n_bytes: float, n_ranks: int, latency: float, bandwidth: float):
    """Seconds of one Allreduce, by recursive halving and doubling."""
    travelled = 2 * (1 - 1 / n_ranks) * n_bytes / bandwidth
    return 2 * latency * math.log2(n_ranks) + travelled


def model_s(case, n_ranks: int, unit: float, latency: float, bandwidth: float) -> float:
    """Seconds of one evaluation; Euler, so that there are J stages; unit is c."""
    n_nodes, n_particles, n_samples = case
    n_bytes = 8 * n_samples * D * STRIDE / 128
    compute = n_nodes * math.ceil(n_particles / n_ranks) * n_samples * unit
    if n_ranks == 1:
        return compute
    message = reduction_s(n_bytes, n_ranks, latency, bandwidth)
    return compute + 2 * n_nodes * (CALLS_S + message)


def measured_table(results: dict, unit: float, latency: float, bandwidth: float) -> str:
    lines = [
        "| J | M | N | ranks | evaluation (ms) | speed-up | model (ms) | solve (s) | "
        "speed-up | slowest / fastest run | relative difference |",
        "| --- " * 11 + "|",
    ]
    for case, by_ranks in results.items():
        one = by_ranks[1]
        for n_ranks, run in by_ranks.items():
            predicted = model_s(case, n_ranks, unit, latency, bandwidth)
            cells = [
                *case,
                n_ranks,
                f"{run['evaluation'] * 1e3:.2f}",
                f"{one['evaluation'] / run['evaluation']:.2f}",
                f"{predicted * 1e3:.2f}",
                f"{run['solve']:.3f}",
                f"{one['solve'] / run['solve']:.2f}",
                f"{run['solve_spread']:.2f}",
                f"{difference(one, run):.0e}",
            ]
            lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def messages_table(messages: dict[str, float], latency: float, bandwidth: float) -> str:
    lines = [
        "| bytes | Allreduce, 2 ranks (us) | 2 latency + bytes / bandwidth (us) |",
        "| --- | --- | --- |",
    ]
    for size, seconds in messages.items():
        fit = reduction_s(int(size), 2, latency, bandwidth)
        lines.append(f"| {size} | {seconds * 1e6:.1f} | {fit * 1e6:.1f} |")
    return "\n".join(lines)


def prediction_table(cases: list[tuple[int, int, int]], unit: float) -> str:
    counts = [2, 10, 100, 1000]
    lines = [
        "| J | M | N | one rank (s) | "
        + " | ".join(f"{n} ranks" for n in counts)
        + " | ranks at 50 % efficiency |",
        "| --- " * (len(counts) + 5) + "|",
    ]
    for case in cases:
        one = model_s(case, 1, unit, LATENCY_S, BANDWIDTH)

        def efficiency(n: int, case=case, one=one) -> float:
            return one / (n * model_s(case, n, unit, LATENCY_S, BANDWIDTH))

        cells = [f"{n * efficiency(n):.3g} x ({efficiency(n):.0%})" for n in counts]
        largest = max(n for n in range(1, case[1] + 1) if efficiency(n) >= 0.5)
        row = [*case, f"{one:.3g}", *cells, largest]
        lines.append("| " + " | ".join(str(cell) for cell in row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--output")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="of the solve")
    parser.add_argument("--repeats", type=int, default=20, help="of an evaluation")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases = [(16, 2048, 512), (16, 512, 512), (16, 128, 128)]
    sizes = [8, 1024, 8192, 34816, 262144, 2097152]
    if options.quick:
        cases, options.rounds, options.steps, options.repeats = [(2, 64, 64)], 1, 1, 2
    if options.worker:
        worker(tuple(json.loads(options.worker)), options.steps, options.repeats, sizes)
        return
    beside = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    options.mpiexec = beside or shutil.which("mpiexec")
    if options.mpiexec is None:
        sys.exit("This needs mpiexec and mpi4py: pip install mpich 'mfpde[mpi]'.")
    counts = list(range(1, options.ranks + 1))
    results = {}
    for case in cases:
        runs = {n: [] for n in counts}
        for _ in range(options.rounds):
            for n in counts:
                runs[n].append(launch(n, case, options))
                seconds = runs[n][-1]["evaluation"]
                print(f"{case}, {n} ranks: {seconds:.4g} s", file=sys.stderr)
        results[case] = {n: combined(found) for n, found in runs.items()}
    messages = results[cases[0]][2]["messages"]
    latency = messages[str(sizes[0])] / 2
    largest = sizes[-1]
    bandwidth = largest / (messages[str(largest)] - messages[str(sizes[0])])
    unit = results[cases[0]][1]["evaluation"] / math.prod(cases[0])
    text = header(d=D, rounds=options.rounds)
    text += (
        f"\n\nCompute: {unit * 1e9:.2f} ns per (node, particle, sample). Messages "
        f"between 2 ranks here: latency {latency * 1e6:.1f} us, bandwidth "
        f"{bandwidth / 1e9:.1f} GB/s.\n\nMeasured\n\n"
        + measured_table(results, unit, latency, bandwidth)
        + "\n\nMessages\n\n"
        + messages_table(messages, latency, bandwidth)
        + f"\n\nModel, latency {LATENCY_S * 1e6:g} us, bandwidth "
        f"{BANDWIDTH / 1e9:g} GB/s: speed-up (efficiency)\n\n"
        + prediction_table(
            [(16, 2048, 512), (16, 32768, 512), (16, 262144, 512), (16, 8192, 60000)],
            unit,
        )
    )
    write(text, options.output)


if __name__ == "__main__":
    main()
