"""Whatever is built in and given as an object is described, rebuilt and resumed."""

import json

import numpy as np
import pytest

import mfpde
from mfpde import (
    DepthGrid,
    MeanFieldProblem,
    ParticleEnsemble,
    blocks,
    networks,
    open_run,
    recording,
    resume,
    solve,
    steppers,
    train,
)
from mfpde import losses as objectives
from mfpde.cli import main
from mfpde.clipping import Clipping
from mfpde.describe import described, is_described, make, names, rebuilt, thing_of
from mfpde.networks import rates
from mfpde.readouts import Linear
from mfpde.run.rebuilding import problem_of
from mfpde.steppers import Langevin

TOLERANCES = 1e-4, 1e-7
STEPPERS = {
    "euler": steppers.Euler(0.05),
    "heun": steppers.Heun(np.float64(0.05)),
    "rk4": steppers.ClassicalRungeKutta(0.05),
    "runge_kutta": steppers.RungeKutta(2, ((), (0.5,)), (0.0, 1.0), 0.05),
    "langevin": Langevin(0.01, 0.05, seed=4),
    "dopri5": steppers.DormandPrince(*TOLERANCES),
    "rkc2": steppers.RungeKuttaChebyshev(*TOLERANCES),
    "auto": steppers.Automatic(*TOLERANCES),
}
SCHEDULES = {
    "at": recording.At([0.0, 0.07, 0.2]),
    "every": recording.Every(0.1),
    "logarithmic": recording.Logarithmic(0.01, 5),
    "steps": recording.Steps(3),
}
RATES = {
    "constant": rates.Constant(),
    "drops": rates.Drops((3, 5), 0.5),
    "cosine": rates.Cosine(final=0.1),
    "warm_up": rates.WarmUp(4, then=rates.Drops((6,), 0.1)),
}


def case(**options):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(9, 2))
    grid = options.pop("grid", DepthGrid.euler(3))
    problem = MeanFieldProblem(x, x + 0.5, blocks.Perceptron(2), **options)
    theta = 0.6 * rng.normal(size=(grid.n_nodes, 2, problem.k))
    return problem, grid, ParticleEnsemble(theta)


def stop_after(n):
    """A progress function that interrupts a run at step n."""

    def progress(s, s_end, loss, step, objective):
        if step >= n:
            raise KeyboardInterrupt

    return progress


def as_stored(description):
    return json.loads(json.dumps(description))


def same_run(path, whole):
    with open_run(path) as run:
        assert run.status == "finished"
        np.testing.assert_array_equal(run.s, whole.s)
        np.testing.assert_array_equal(run.loss, whole.loss)
        assert run.theta[-1].tobytes() == whole.ensemble.theta.tobytes()


def test_all_that_is_built_in_is_tried():
    """A new stepper, schedule, ... needs an entry above."""
    assert set(STEPPERS) == set(names("stepper"))
    assert set(SCHEDULES) == set(names("output schedule"))
    assert set(RATES) == set(names("schedule"))


@pytest.mark.parametrize("name", STEPPERS)
def test_stepper(name, tmp_path):
    stepper, path = STEPPERS[name], tmp_path / "a.h5"
    options = {"s_end": 0.4, "record": recording.Steps(1)}
    whole = solve(*case(), stepper=stepper, **options)
    with pytest.raises(KeyboardInterrupt):
        solve(*case(), stepper=stepper, output=path, progress=stop_after(3), **options)
    assert resume(path).s[-1] == 0.4
    same_run(path, whole)


def test_fixed_steppers_are_those_of_their_names(tmp_path):
    by_name = solve(*case(), s_end=0.2, stepper="rk4", ds=0.05)
    by_object = solve(*case(), s_end=0.2, stepper=steppers.ClassicalRungeKutta(0.05))
    errors = [mfpde.estimate_error(each) for each in (by_name, by_object)]
    assert repr(errors[0]) == repr(errors[1])
    np.testing.assert_array_equal(by_name.loss, by_object.loss)


def test_subclasses_do_not_pass_for_what_they_extend(tmp_path):
    class Own(Langevin):
        """Rebuilt as Langevin it would go on in another way."""

    class OwnLoss(objectives.Squared):
        """Its name is that of its base."""

    class OwnBlock(blocks.Perceptron):
        """Its description is that of its base."""

        __slots__ = ()

    assert not is_described(described(Own(0.1, 0.1)))
    assert described(OwnLoss()) == {"kind": "own OwnLoss"}
    problem = MeanFieldProblem(np.eye(2), np.eye(2), OwnBlock(2))
    assert problem.describe()["block"]["kind"] == "own OwnBlock"
    path = tmp_path / "a.h5"
    solve(*case(loss=OwnLoss()), s_end=0.1, output=path)
    with pytest.raises(ValueError, match="`problem` is needed to resume"):
        resume(path, s_end=0.2)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name, tmp_path):
    path = tmp_path / "a.h5"
    options = {"s_end": 0.4, "stepper": "euler", "ds": 0.05}
    options |= dict.fromkeys(("record", "snapshots", "states"), SCHEDULES[name])
    whole = solve(*case(), **options)
    with pytest.raises(KeyboardInterrupt):
        solve(*case(), output=path, progress=stop_after(3), **options)
    resume(path)
    same_run(path, whole)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_optimiser(kind, rate, tmp_path):
    optimiser = thing_of("optimiser", kind)(0.02, schedule=RATES[rate])
    again = rebuilt("optimiser", as_stored(described(optimiser)))
    assert again == optimiser
    problem, _, ensemble = case()
    path, net = tmp_path / "a.h5", networks.ResNet(problem, ensemble)
    options = {"n_iterations": 8, "batch_size": 4, "record": recording.Steps(1)}
    whole = train(net, optimiser, **options)
    with pytest.raises(KeyboardInterrupt):
        train(net, optimiser, output=path, progress=stop_after(4), **options)
    resume(path)
    same_run(path, whole)


def parts():
    """Options of the problem, one built-in part each."""
    maps = {"trainable": True, "rate": 0.5}
    yield "metric", {"metric": [1.0, 1.0, 2.0, 2.0, 0.0]}
    yield "sample_weights", {"sample_weights": np.full(9, 1 / 9)}
    yield "embedding", {"embedding": Linear(np.eye(2), **maps)}
    yield "readout", {"readout": Linear(np.eye(2), **maps)}
    yield "regulariser", {"regulariser": mfpde.DecayingQuadratic(0.1, 0.5)}
    yield "dtype", {"dtype": "float32"}
    for form in ("hard", "smooth"):
        yield f"clipping {form}", {"clipping": Clipping(1.0, form)}
    yield "loss", {"loss": objectives.Squared()}


@pytest.mark.parametrize(("name", "options"), list(parts()))
def test_part_of_a_problem(name, options, tmp_path):
    path = tmp_path / "a.h5"
    solve(*case(**options), s_end=0.1, output=path)
    resume(path, s_end=0.2)
    with open_run(path) as run:
        again = problem_of(run, None).describe()
    assert again == case(**options)[0].describe()


@pytest.mark.parametrize("kind", names("block"))
def test_block(kind):
    block = make("block", kind, d=2)
    again = rebuilt("block", as_stored(described(block)))
    assert again == block


@pytest.mark.parametrize("scheme", names("depth scheme"))
def test_grid(scheme):
    grid = getattr(DepthGrid, scheme)(3)
    again = DepthGrid.from_description(as_stored(grid.describe()))
    np.testing.assert_array_equal(again.nodes, grid.nodes)
    np.testing.assert_array_equal(again.weights, grid.weights)


@pytest.mark.parametrize(
    "scale", ["ode", "sde", networks.PowerLaw(0.7), [0.2] * 3, 0.3]
)
def test_residual_scale(scale, tmp_path):
    problem, _, ensemble = case()
    net = networks.ResNet(problem, ensemble, scale, "tanh")
    path = tmp_path / "a.h5"
    train(net, networks.SGD(0.01), n_iterations=3, output=path)
    whole = train(net, networks.SGD(0.01), n_iterations=6)
    resume(path, n_iterations=6)
    with open_run(path) as run:
        assert run.theta[-1].tobytes() == whole.ensemble.theta.tobytes()


TINY = """
[data]
source = "moons"
n_samples = 16
test_fraction = 0.25
[grid]
scheme = "euler"
n = 2
[ensemble]
n_particles = 2
[flow]
s_end = 0.2
stepper = "euler"
ds = 0.05
"""


def test_built_in_observers_come_from_the_file(tmp_path, monkeypatch):
    """A run of the command line goes on in Python, with nothing given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    assert main(["run", "tiny.toml", "--quiet", "--no-plot"]) == 0
    resume("tiny.h5", s_end=0.4)
    arguments = ["run", "tiny.toml", "--quiet", "--no-plot", "--out", "whole.h5"]
    assert main([*arguments, "--set", "flow.s_end=0.4"]) == 0
    with open_run("tiny.h5") as run, open_run("whole.h5") as whole:
        assert {"train_accuracy", "test_accuracy", "test_loss"} <= set(run.scalars)
        for name in ("loss", "train_accuracy", "test_accuracy", "test_loss"):
            assert run.scalars[name][-1] == whole.scalars[name][-1]
        assert run.theta[-1].tobytes() == whole.theta[-1].tobytes()


def test_an_observer_of_the_users_own_does_not_pass_for_a_built_in_one(tmp_path):
    path = tmp_path / "a.h5"
    own = {"test_loss": lambda evaluation: 1.0}
    solve(*case(), s_end=0.1, output=path, observers=own)
    with pytest.raises(ValueError, match="`observers` must be those of the run"):
        resume(path, s_end=0.2)
    assert resume(path, s_end=0.2, observers=own).scalars["test_loss"][-1] == 1.0
