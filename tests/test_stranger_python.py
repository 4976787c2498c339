"""Things of a user's own, used from Python: see the folder `stranger`."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfpde
from mfpde.cli import main

FOLDER = Path(__file__).with_name("stranger")


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def thing_of(name: str, attribute: str) -> Any:
    return getattr(importlib.import_module(f"stranger_{name}"), attribute)


def problem(**options: Any) -> mfpde.MeanFieldProblem:
    x = np.array([[1.0, 0.2], [-0.4, 0.8], [0.3, -0.9]])
    options = {"block": mfpde.blocks.Perceptron(2)} | options
    return mfpde.MeanFieldProblem(x, x[::-1] + 0.5, **options)


GRID = mfpde.DepthGrid.euler(2)


@pytest.mark.parametrize("name", ["loss", "block"])
def test_derivatives_are_right_and_a_flow_falls(name):
    if name == "loss":
        own = problem(loss=thing_of(name, "PseudoHuber")(0.5))
    else:
        own = problem(block=thing_of(name, "Waves")(2))
    law = mfpde.laws.Gaussian(np.zeros(own.block.k), 0.7)
    start = law.sample(GRID, 5, seed=0)
    mfpde.check_gradient(own, GRID, start)
    found = mfpde.solve(own, GRID, start, s_end=0.3)
    assert found.loss[-1] < found.loss[0]


def test_a_law_draws_in_every_way():
    law = thing_of("law", "Sphere")(5, radius=2.0)
    for options in ({}, {"method": "sobol"}, {"coupling": "layer"}):
        theta = law.sample(GRID, 8, seed=1, **options).theta
        np.testing.assert_allclose(np.linalg.norm(theta, axis=2), 2.0)


def test_a_stepper_and_an_observer_are_passed_as_objects():
    stepper = thing_of("stepper", "GrowingEuler")(0.02, 1.5)
    start = mfpde.laws.Gaussian(np.zeros(5), 0.7).sample(GRID, 5, seed=0)
    observer = thing_of("observer", "largest_output")
    found = mfpde.solve(
        problem(),
        GRID,
        start,
        s_end=0.1,
        stepper=stepper,
        observers={"largest_output": observer},
        record=mfpde.recording.Steps(1),
    )
    sizes = found.scalars["step_size"][1:-1]
    np.testing.assert_allclose(sizes, 0.02 * 1.5 ** np.arange(len(sizes)))
    assert found.scalars["largest_output"].min() > 0.0


def test_networks_train_with_parts_of_a_stranger():
    start = mfpde.laws.Gaussian(np.zeros(5), 0.7).sample(GRID, 5, seed=0)
    scale = thing_of("residual_scale", "logarithmic")
    net = mfpde.ResNet(problem(), start, scale(2, base=2.0))
    schedule = thing_of("schedule", "InverseRoot")(5.0)
    sgd = mfpde.networks.SGD(learning_rate=0.5, schedule=schedule)
    for optimiser in (thing_of("optimiser", "SignedMean")(0.02), sgd):
        found = mfpde.train(net, optimiser, n_iterations=10)
        assert found.loss[-1] < found.loss[0]


def test_misuse_of_the_registry_gets_a_sentence():
    loss = thing_of("loss", "PseudoHuber")
    assert mfpde.register(loss) is loss

    class pseudo_huber:
        name = "pseudo_huber"
        values = gradients = loss.values

    with pytest.raises(ValueError, match="'pseudo_huber' of a loss is taken"):
        mfpde.register(pseudo_huber)
    with pytest.raises(TypeError, match="`thing` must be"):
        mfpde.register(3)
    with pytest.raises(TypeError, match="class of a loss, got an object"):
        mfpde.register(loss())


# Killed and resumed -----------------------------------------------------------


def begin(name: str, path: Path, progress: Any = False) -> Any:
    """A run to a file with one thing of a stranger."""
    start = mfpde.laws.Gaussian(np.zeros(5), 0.7).sample(GRID, 5, seed=0)
    options: dict[str, Any] = {"output": path, "progress": progress}
    options |= {"record": mfpde.recording.Steps(1), "checkpoint_every_s": 1e-9}
    if name in ("optimiser", "schedule", "residual_scale"):
        tau, optimiser = 0.4, mfpde.networks.SGD(ds=0.1)
        if name == "residual_scale":
            tau = thing_of(name, "logarithmic")
        elif name == "schedule":
            schedule = thing_of(name, "InverseRoot")(5.0)
            optimiser = mfpde.networks.SGD(ds=0.1, schedule=schedule)
        else:
            optimiser = thing_of(name, "SignedMean")(0.02)
        net = mfpde.ResNet(problem(), start, tau)
        return mfpde.train(net, optimiser, n_iterations=9, batch_size=2, **options)
    own = problem()
    if name == "loss":
        own = problem(loss=thing_of(name, "PseudoHuber")(0.5))
    elif name == "block":
        own = problem(block=thing_of(name, "Waves")(2))
        start = mfpde.laws.Gaussian(np.zeros(4), 0.7).sample(GRID, 5, seed=0)
    elif name == "stepper":
        options["stepper"] = thing_of(name, "GrowingEuler")(0.02, 1.1)
    else:
        options["observers"] = {"largest": thing_of(name, "largest_output")}
    return mfpde.solve(own, GRID, start, s_end=3.0, **options)


def die_at_step(s: float, s_end: float, loss: float, step: int, value: float) -> None:
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)


RESUMED = ("loss", "block", "stepper", "optimiser", "schedule", "observer")


@pytest.mark.parametrize("name", [*RESUMED, "residual_scale"])
def test_a_killed_run_goes_on_to_the_bit(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MFPDE_IMPORT", "")
    folders = os.pathsep.join([str(FOLDER), str(FOLDER.parent)])
    monkeypatch.setenv("PYTHONPATH", folders)
    module, path = f"stranger_{name}", tmp_path / "killed.h5"
    code = (
        "import sys, pathlib, test_stranger_python as t\n"
        "t.begin(sys.argv[1], pathlib.Path(sys.argv[2]), t.die_at_step)"
    )
    command = [sys.executable, "-c", code, name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    if name in RESUMED:
        code = "import sys\nfrom mfpde.cli import main\nsys.exit(main())"
        command = [sys.executable, "-c", code, "resume", str(path), "--no-plot"]
        alone = subprocess.run(command, capture_output=True, text=True, check=False)
        assert alone.returncode == 2, alone.stderr
        assert f"--import {module}" in alone.stderr
        assert "Traceback" not in alone.stderr
    options = ["--no-plot", "--import", module]
    assert main(["resume", str(path), *options]) == 0, capsys.readouterr().err
    begin(name, tmp_path / "whole.h5")
    with mfpde.open_run(path) as found, mfpde.open_run(tmp_path / "whole.h5") as whole:
        assert found.s.tobytes() == whole.s.tobytes()
        assert found.theta[:].tobytes() == whole.theta[:].tobytes()
        for column in set(whole.scalars) - {"wall_time"}:
            twin = np.asarray(whole.scalars[column])
            np.testing.assert_array_equal(found.scalars[column], twin, column)
    capsys.readouterr()
    assert main(["info", str(path), "--import", module]) == 0
    assert "finished" in capsys.readouterr().out
