"""Handwritten digits: networks that grow in depth and width, and their limit beside.

Data, block, readout and initial law are those of data/digits.toml; the networks are
trained as in data/digits_network.toml, by SGD on mini-batches at one step ds of
training time whatever L and M, Eq. (30), with several seeds of particles and shuffles.
The limit is solved to the training time at which the networks end. Every split of the
data is one and the same.

    python benchmarks/bench_digits.py [--quick] [--layers 2 4 8] [--particles 16 64]
        [--seeds 3] [--output FILE]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import header, write

import mfpde
from mfpde.config import load
from mfpde.config.assembly import build
from mfpde.config.training import build_network
from mfpde.networks import SGD

DATA = Path(__file__).parents[1] / "data"
COLUMNS = ("loss", "test_loss", "train_accuracy", "test_accuracy")


def network_row(layers: int, particles: int, seeds: int, changes: list[str]) -> dict:
    """Medians over seeds, and the smallest and largest test accuracy."""
    values, seconds = [], []
    for seed in range(seeds):
        sizes = [f"network.n_layers={layers}", f"network.n_particles={particles}"]
        draws = [f"network.seed={seed}", f"training.seed={seed}"]
        config = load(DATA / "digits_network.toml", [*sizes, *draws, *changes])
        # The step of the file, at its own L and M, is kept at all sizes.
        as_written = build_network(load(DATA / "digits_network.toml"), DATA)
        ds = as_written.net.ds(as_written.optimiser.learning_rate)
        schedule = as_written.optimiser.schedule
        made = build_network(config, DATA)
        momentum = made.optimiser.momentum
        optimiser = SGD(ds=ds, momentum=momentum, schedule=schedule)
        mfpde.evaluate(made.net.problem, made.net.grid, made.net.ensemble)
        start = time.perf_counter()
        done = mfpde.train(made.net, optimiser, **made.keywords)
        seconds.append(time.perf_counter() - start)
        values.append([done.scalars[name][-1] for name in COLUMNS])
    accuracy = [row[3] for row in values]
    return {
        "name": f"network, {seeds} seeds",
        "size": (layers, particles),
        "s": done.s[-1],
        "values": np.median(values, axis=0),
        "range": (min(accuracy), max(accuracy)),
        "seconds": float(np.median(seconds)),
    }


def limit_row(s_end: float, changes: list[str]) -> dict:
    """The limit at the same training time."""
    made = build(load(DATA / "digits.toml", changes), DATA)
    keywords = made.keywords | {"s_end": s_end, "record": None}
    mfpde.evaluate(made.problem, made.grid, made.ensemble)
    start = time.perf_counter()
    done = mfpde.solve(made.problem, made.grid, made.ensemble, **keywords)
    if not done.converged:
        raise RuntimeError(done.message)
    values = np.array([done.scalars[name][-1] for name in COLUMNS])
    return {
        "name": "limit",
        "size": None,
        "s": done.s[-1],
        "values": values,
        "range": (values[3], values[3]),
        "seconds": time.perf_counter() - start,
    }


def table(rows: list[dict]) -> str:
    head = ["", "L", "M", "s", "train loss", "test loss", "train accuracy"]
    head += ["test accuracy", "smallest, largest", "seconds"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for row in rows:
        layers, particles = row["size"] or ("inf", "inf")
        loss, test_loss, train_accuracy, test_accuracy = row["values"]
        low, high = row["range"]
        cells = [row["name"], layers, particles, f"{row['s']:.4g}"]
        cells += [f"{loss:.4f}", f"{test_loss:.4f}"]
        cells += [f"{100 * train_accuracy:.2f} %", f"{100 * test_accuracy:.2f} %"]
        spread = "" if row["size"] is None else f"{100 * low:.2f}, {100 * high:.2f} %"
        cells += [spread, f"{row['seconds']:.1f}"]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few steps")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--particles", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output")
    options = parser.parse_args()
    layers, particles, seeds = options.layers, options.particles, options.seeds
    changes, changes_of_limit = [], []
    if options.quick:
        layers, particles, seeds = [2], [8], 2
        small = ["data.n_samples=200", "data.pca=2"]
        changes = ["training.n_iterations=20", *small]
        changes_of_limit = ["ensemble.n_particles=16", *small]
    sizes = [(n, m) for n in layers for m in particles]
    rows = [network_row(n, m, seeds, changes) for n, m in sizes]
    rows.append(limit_row(float(rows[0]["s"]), changes_of_limit))
    title = "Handwritten digits; networks: medians over seeds"
    write(f"{header(seeds=seeds)}\n\n{title}\n\n{table(rows)}", options.output)


if __name__ == "__main__":
    main()
