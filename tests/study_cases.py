"""A small study for tests: quadrature over depth and seeds, with planted mischief."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

import mfpde
from mfpde.errors import NotFiniteError
from mfpde.studies import Panel, Report, Series, Task, Variable, Verdict


class Quadrature:
    """Riemann sums of exp at `depth` points, `width` random offsets, per seed.

    The error against the reference e - 1 is exp(offset) - dependent of order one in
    1 / depth. `mischief.kind` says what happens at one cell of the grid, and each
    measurement leaves a line in the file `mischief.log`.
    """

    name = "quadrature"
    title = "Riemann sums"
    defaults = {
        "depths": [2, 4, 8, 16],
        "widths": [1, 3],
        "n_seeds": 3,
        "rules": ["left", "right"],
        "scale": 1.0,
        "mischief": {
            "kind": "none",
            "depth": 4,
            "width": 3,
            "sleep_s": 0.0,
            "log": "",
            "reference": False,
        },
    }

    def problems(self, config):
        bad = [depth for depth in config["depths"] if depth < 1]
        return [f"`depths` must be at least 1, got {bad}."] if bad else []

    def axes(self, config):
        return {
            "depth": config["depths"],
            "width": config["widths"],
            "rule": config["rules"],
            "seed": list(range(config["n_seeds"])),
            "power": [1, 2, 3],
        }

    def variables(self, config):
        cell = ("depth", "width", "rule", "seed")
        return {
            "error": Variable(cell, "error of the sum"),
            "moments": Variable((*cell, "power"), "sums of powers", "m"),
            "nodes": Variable(("depth",), "number of nodes"),
        }

    def references(self, config):
        return {"integral": {"scale": config["scale"]}, "unused": {}}

    def refer(self, name, config):
        if config["mischief"]["reference"]:
            raise RuntimeError("no integral today")
        assert name == "integral"
        return {"value": np.array(config["scale"] * np.expm1(1.0))}

    def tasks(self, config):
        return [
            Task(
                {
                    "depth": depth,
                    "width": width,
                    "rule": rule,
                    "seed": list(range(config["n_seeds"])),
                },
                settings={"shift": 0.0 if rule == "left" else 1.0},
                needs=("integral",),
                cost=float(depth * width * config["n_seeds"]),
            )
            for depth in config["depths"]
            for width in config["widths"]
            for rule in config["rules"]
        ]

    def measure(self, task, config, references):
        _do_mischief(task, config["mischief"])
        depth, width = task.coordinates["depth"], task.coordinates["width"]
        t = (np.arange(depth) + task.settings["shift"]) / depth
        moments = np.array(
            [
                [np.mean(t**k) + _noise(seed, width, config) for k in (1, 2, 3)]
                for seed in task.coordinates["seed"]
            ]
        )
        value = config["scale"] * np.mean(np.exp(t))
        noise = [_noise(seed, width, config) for seed in task.coordinates["seed"]]
        error = value - references["integral"]["value"] + np.array(noise) / depth
        if config["mischief"]["kind"] == "one seed" and _is_there(task, config):
            error[1] = np.inf
        return {"error": error, "moments": moments, "nodes": np.array(depth)}

    def analyse(self, table, config):
        left = table.select(rule="left", width=config["widths"][0])["error"]
        left = left[np.isfinite(left).all(axis=1)]
        if len(left) < 2:
            raise ValueError("Two depths are required for an order.")
        orders = np.log2(np.abs(left[:-1] / left[1:])).mean(axis=1)
        found = float(orders[-1])
        verdict = Verdict(
            "order of the left sums in 1 / depth",
            1.0,
            found,
            (found - 0.1, found + 0.1),
            "confirmed" if abs(found - 1.0) < 0.1 else "contradicted",
            "expected value within 0.1",
        )
        series = Series(config["depths"], np.abs(table["error"][:, 0, 0, 0]), "left")
        panel = Panel("Error", "depth", "error", [series])
        return Report([verdict], ["A note."], {"errors": [panel]})


def _noise(seed, width, config):
    return 1e-3 * np.random.default_rng([seed, width]).standard_normal()


def _is_there(task, config):
    where = config["mischief"]
    return all(task.coordinates[name] == where[name] for name in ("depth", "width"))


def _do_mischief(task, mischief):
    time.sleep(mischief["sleep_s"])
    if mischief["log"]:
        with open(mischief["log"], "a") as file:
            threads = os.environ.get("OPENBLAS_NUM_THREADS", "")
            file.write(f"{task.key} {os.getpid()} {threads}\n")
    if any(task.coordinates[name] != mischief[name] for name in ("depth", "width")):
        return
    kind = mischief["kind"]
    if kind == "diverge":
        raise NotFiniteError("The state is not finite at layer 1 of 4.")
    if kind == "fail":
        raise ValueError("`depth` must be odd.")
    if kind == "memory":
        np.ones(int(4e9))
    if kind.startswith("kill"):
        before = Path(f"{mischief['log']}.{task.key}")
        if kind == "kill always" or not before.exists():
            before.touch()
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ != "__main__":
    mfpde.register(Quadrature)
STUDY = Quadrature()


def main():
    """The command `mfpde`, with the study among those that it knows."""
    from mfpde.cli import main as command

    sys.exit(command())


if __name__ == "__main__":
    # Workers import this module by its name; as a script it would have none.
    from study_cases import main as imported

    imported()
