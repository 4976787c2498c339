"""Things of a user's own, used from Python: see the folder `stranger`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mfpde

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
