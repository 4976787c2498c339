"""Numbers of NumPy in place of Python's, in everything that a file describes."""

import numpy as np
import pytest

import mfpde
from mfpde import networks, recording, steppers

# What is exact in float32, too, so that both calls mean the same numbers.
X, Y = [[0.25], [-0.5], [1.0]], [[0.5], [-0.25], [0.75]]
BLOCK = mfpde.blocks.Perceptron(1)
GRID = mfpde.DepthGrid.euler(2)
ENSEMBLE = mfpde.laws.Gaussian(0.0, 1.0, 3).sample(GRID, 4)


def problem(**options):
    return mfpde.MeanFieldProblem(X, Y, BLOCK, **options)


def flow(of=problem, ensemble=ENSEMBLE, grid=GRID, **options):
    """What makes a solve, to a file or in memory."""
    return lambda **more: mfpde.solve(
        of(), grid, ensemble, **({"s_end": 0.5} | options | more)
    )


def training(optimiser, **options):
    net = mfpde.ResNet(problem(), ENSEMBLE)
    options = {"n_iterations": 3} | options
    return lambda **more: mfpde.train(net, optimiser, **options | more)


def cases(f, i, b):
    """Name to a run, whose numbers are of the types f, i and b."""
    sgd = networks.SGD(ds=0.25)
    return {
        "s_end": flow(s_end=f(0.5)),
        "tolerances": flow(rtol=f(2.0**-20), atol=f(2.0**-30)),
        "ds": flow(stepper="rk4", ds=f(0.125)),
        "stepper": flow(stepper=steppers.Heun(f(0.125))),
        "langevin": flow(stepper=mfpde.steppers.Langevin(f(0.125), f(0.25), seed=i(3))),
        "at": flow(record=[f(0.25), f(0.5)]),
        "every": flow(record=recording.Every(f(0.25))),
        "logarithmic": flow(record=recording.Logarithmic(f(0.125), i(4))),
        "steps": flow(record=recording.Steps(i(2)), snapshots=recording.Steps(i(3))),
        "states": flow(states=recording.Every(f(0.25))),
        "loss_below": flow(loss_below=f(2.0**-10)),
        "gradient_norm_below": flow(gradient_norm_below=f(2.0**-10)),
        "steady_state": flow(steady_state=f(2.0**-10)),
        "wall_time_s": flow(wall_time_s=f(1024.0)),
        "checkpoint_every_s": flow(checkpoint_every_s=f(16.0), swmr=b(True)),
        "flags": flow(overwrite=b(False), progress=b(False)),
        "regulariser": flow(
            lambda: problem(regulariser=mfpde.DecayingQuadratic(f(0.125), f(0.5)))
        ),
        "clipping": flow(lambda: problem(clipping=mfpde.Clipping(f(0.5)))),
        "readout": flow(
            lambda: problem(
                readout=mfpde.readouts.Linear([[1.0]], b(True), rate=f(0.5))
            )
        ),
        "block": flow(
            lambda: mfpde.MeanFieldProblem(
                X, Y, mfpde.blocks.Perceptron(i(1), bias=b(True), scale=f(1.0))
            )
        ),
        "grid": flow(grid=mfpde.DepthGrid.euler(i(2))),
        "layers": flow(
            grid=mfpde.DepthGrid.layers(i(2), networks.PowerLaw(f(0.5), f(-0.5)))
        ),
        "law": flow(
            ensemble=mfpde.laws.Gaussian(f(0.0), f(0.5), i(3)).sample(
                GRID, i(4), seed=i(7)
            )
        ),
        "metadata": flow(metadata={"title": "a", "seed": i(5)}),
        "n_iterations": training(sgd, n_iterations=i(3)),
        "batches": training(sgd, batch_size=i(2), seed=i(5)),
        "sgd": training(networks.SGD(ds=f(0.25), momentum=f(0.5), nesterov=b(True))),
        "adam": training(networks.Adam(f(0.25), f(0.5), f(0.75), f(2.0**-20))),
        "cosine": training(
            networks.SGD(ds=0.25, schedule=networks.Cosine(i(4), f(0.25)))
        ),
        "drops": training(
            networks.SGD(ds=0.25, schedule=networks.Drops((i(1), i(2)), f(0.5)))
        ),
        "warm up": training(
            networks.SGD(ds=0.25, schedule=networks.WarmUp(i(2), networks.Cosine()))
        ),
        "early stopping": training(
            sgd,
            validation=(X, Y),
            early_stopping=networks.EarlyStopping(i(2), f(0.25)),
        ),
        "loss_below of training": training(sgd, loss_below=f(2.0**-10)),
    }


PYTHON = cases(float, int, bool)


KINDS = {
    "64 bit": (np.float64, np.int64, np.bool_),
    "32 bit": (np.float32, np.int32, np.bool_),
    "arrays": (np.array, np.array, np.array),
}


@pytest.mark.parametrize("name", PYTHON)
def test_numbers_of_numpy_are_those_of_python(name, tmp_path):
    expected = PYTHON[name](output=tmp_path / "python.h5")
    with mfpde.open_run(tmp_path / "python.h5") as run:
        description = run.description
    for kind, types in KINDS.items():
        path = tmp_path / f"{kind}.h5"
        found = cases(*types)[name](output=path)
        assert found.status == "finished", found.message
        np.testing.assert_array_equal(found.loss, expected.loss, kind)
        np.testing.assert_array_equal(found.ensemble.theta, expected.ensemble.theta)
        with mfpde.open_run(path) as run:
            assert run.description == description, kind


@pytest.mark.parametrize(
    "name", ["every", "steps", "loss_below", "langevin", "batches", "cosine", "drops"]
)
def test_a_run_with_numbers_of_numpy_goes_on_to_the_bit(name, tmp_path):
    make = cases(np.float64, np.int64, np.bool_)[name]
    later = (
        {"n_iterations": np.int64(6)}
        if name in TRAININGS
        else {"s_end": np.float64(0.75)}
    )
    path, other = tmp_path / "run.h5", tmp_path / "python.h5"
    make(output=path)
    PYTHON[name](output=other)
    found = mfpde.resume(path, **later)
    whole = mfpde.resume(other, **{k: v.item() for k, v in later.items()})
    np.testing.assert_array_equal(found.ensemble.theta, whole.ensemble.theta)
    np.testing.assert_array_equal(found.loss, whole.loss)


TRAININGS = ("batches", "cosine", "drops")
