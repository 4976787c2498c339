"""Networks in files, on the command line and from a configuration."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mfpde
from mfpde import MeanFieldProblem, ParticleEnsemble, ResNet, open_run, resume, train
from mfpde.blocks import Perceptron
from mfpde.cli import main
from mfpde.commands import FAILED, SUCCESS, WRONG_CALL
from mfpde.config import is_network, load, parse
from mfpde.config.training import build_network
from mfpde.errors import ConfigurationError
from mfpde.networks import SGD, Adam, Cosine, Drops, EarlyStopping, PowerLaw, WarmUp
from mfpde.readouts import Linear
from mfpde.recording import Steps
from mfpde.run.training_dynamics import refuse_ranks

DATA = Path(__file__).parents[1] / "data"
OPTIMISERS = {
    "momentum": SGD(ds=0.05, momentum=0.9, nesterov=True, schedule=Cosine()),
    "adam": Adam(0.01, schedule=WarmUp(5)),
    "plain": SGD(learning_rate=3.0),
}


def make_net(outer="tanh"):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(40, 2))
    problem = MeanFieldProblem(
        x,
        np.eye(2)[(x[:, 0] * x[:, 1] > 0).astype(int)],
        Perceptron(3),
        embedding=Linear(rng.normal(size=(3, 2)), True, 0.5),
        readout=Linear(rng.normal(size=(2, 3)), True),
        loss="cross_entropy",
    )
    theta = rng.normal(size=(3, 4, problem.k))
    return ResNet(problem, ParticleEnsemble(theta), "sde", outer)


def options(n_iterations=60, **more):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 2))
    validation = x, np.eye(2)[rng.integers(0, 2, 20)]
    return {
        "n_iterations": n_iterations,
        "batch_size": 7,
        "seed": 3,
        "record": Steps(10),
        "validation": validation,
    } | more


def assert_same(one, other):
    assert one.ensemble.theta.tobytes() == other.ensemble.theta.tobytes()
    assert one.message == other.message
    for name, values in one.scalars.items():
        if name != "wall_time":
            assert np.array_equal(values, other.scalars[name], equal_nan=True), name
    for name in one.problem.trained_maps:
        matrices = [getattr(each.problem, name).matrix for each in (one, other)]
        assert matrices[0].tobytes() == matrices[1].tobytes()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_file_holds_what_memory_holds(tmp_path, name):
    path = tmp_path / "net.h5"
    in_memory = train(make_net(), OPTIMISERS[name], **options())
    done = train(make_net(), OPTIMISERS[name], **options(), output=path)
    assert_same(done, in_memory)
    with open_run(path) as run:
        assert (run.kind, run.status) == ("network", "finished")
        assert run.message == "Made all 60 iterations."
        assert np.array_equal(run.batch_loss, done.scalars["batch_loss"])
        assert np.array_equal(run.theta[-1], done.ensemble.theta)
        assert run.data["x_validation"].shape == (20, 2)
        assert run.description["training"]["batch_size"] == 7
        assert run.description["training"]["rate_sentence"].endswith(".")
        assert run.description["grid"]["outer"] == "tanh"


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path, name):
    """Stopped inside a pass through the data, between two records."""
    whole = train(make_net(), OPTIMISERS[name], **options(), output=tmp_path / "a.h5")
    path = tmp_path / "b.h5"

    def stop(s, s_end, loss, n_steps, objective):
        if n_steps == 23:
            signal.raise_signal(signal.SIGINT)

    part = interrupted(
        train, make_net(), OPTIMISERS[name], **options(), output=path, progress=stop
    )
    assert (part.status, part.n_steps) == ("interrupted", 23)
    again = resume(path)
    assert isinstance(again, mfpde.run.training.Training)
    assert_same(again, whole)
    assert again.net.evaluate().loss == whole.loss[-1]
    with pytest.raises(ValueError, match=r"is finished.*Give `n_iterations`"):
        resume(path)
    with pytest.raises(ValueError, match="must be more than the 60 that the run"):
        resume(path, n_iterations=60)


def test_a_finished_training_can_be_prolonged(tmp_path):
    path = tmp_path / "short.h5"
    train(make_net(), Adam(0.01), **options(30), output=path)
    longer = resume(path, n_iterations=60)
    whole = train(make_net(), Adam(0.01), **options(60))
    assert_same(longer, whole)


def test_early_stopping_survives_a_restart(tmp_path):
    rule = {"early_stopping": EarlyStopping(3), "record": Steps(4)}
    more = options(400, **rule)
    whole = train(make_net(), SGD(ds=0.5), **more)
    assert whole.message.startswith("Stopped early")
    n_best = int(whole.scalars["step"][whole.best_record])
    path = tmp_path / "early.h5"

    def stop(s, s_end, loss, n_steps, objective):
        # After the best record, while its patience lasts.
        if n_steps == n_best + 6:
            signal.raise_signal(signal.SIGINT)

    interrupted(train, make_net(), SGD(ds=0.5), **more, output=path, progress=stop)
    again = resume(path)
    assert_same(again, whole)
    assert again.best_record == whole.best_record
    best = [each.best().ensemble.theta for each in (again, whole)]
    assert np.array_equal(*best)
    maps = [each.best().problem.readout.matrix for each in (again, whole)]
    assert np.array_equal(*maps)


def interrupted(call, *arguments, **keywords):
    """What a call had found that a signal ended."""
    with pytest.raises(mfpde.errors.Interrupted) as ending:
        call(*arguments, **keywords)
    return ending.value.solution


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from test_networks_files import OPTIMISERS, make_net, options
from mfpde import train
import time

def slowly(*_):
    time.sleep(0.005)

train(make_net(), OPTIMISERS["momentum"], **options(400), output={path!r},
      progress=slowly, checkpoint_every_s=0.05)
"""


def test_killed_training_goes_on_bit_for_bit(tmp_path):
    path = tmp_path / "killed.h5"
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    n_records = 0
    while n_records < 8:
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
        if path.exists():
            with open_run(path) as run:
                n_records = len(run.s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open_run(path) as run:
        assert run.status == "killed"
    whole = train(make_net(), OPTIMISERS["momentum"], **options(400))
    assert_same(resume(path), whole)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"s_end": 3.0}, "`s_end` must be None for .*holds a network: give `n_iter"),
        ({"stepper": 3}, "`stepper` must be None"),
        ({"optimiser": SGD(ds=1.0)}, "`optimiser` is needed for .* must be None for"),
        ({"observers": {"a": len}}, "`observers` must be those of the run"),
    ],
)
def test_resume_refuses_what_does_not_fit(tmp_path, keywords, message):
    path = tmp_path / "net.h5"
    train(make_net(), SGD(ds=0.1), **options(10, wall_time_s=1e-9), output=path)
    with pytest.raises(ValueError, match=message):
        resume(path, **keywords)


def test_a_flow_has_no_iterations(tmp_path):
    net, path = make_net(None), tmp_path / "flow.h5"
    mfpde.solve(net.problem, net.grid, net.ensemble, s_end=0.01, output=path)
    with pytest.raises(ValueError, match="holds a flow: give `s_end`"):
        resume(path, n_iterations=5, s_end=0.02)


class Halving:
    """An optimiser of the user's own: half the velocity, nothing remembered."""

    def bound(self, net, n_iterations):
        return self

    def step_size(self, iteration):
        return 0.5

    def plain_rate(self, net, iteration):
        return 0.5

    def start(self, size):
        return {}

    def update(self, y, rate, iteration, memory, out):
        out[:] = y + 0.5 * rate
        return {}


def test_an_optimiser_of_the_users_own(tmp_path):
    path = tmp_path / "own.h5"
    more = {"batch_size": None}
    done = train(make_net(), Halving(), **options(20, **more), output=path)
    ours = train(make_net(), SGD(ds=0.5), **options(20, **more))
    np.testing.assert_allclose(done.ensemble.theta, ours.ensemble.theta, rtol=1e-12)
    with pytest.raises(ValueError, match="`optimiser` is needed"):
        resume(path, n_iterations=25)
    longer = resume(path, n_iterations=25, optimiser=Halving())
    assert longer.n_steps == 25


# Configuration and command line


TABLE = {
    "data": {"source": "moons", "n_samples": 60, "test_fraction": 0.25, "pad_to": 3},
    "network": {"n_layers": 3, "n_particles": 8, "outer": "relu"},
    "law": {"kind": "path"},
    "training": {
        "n_iterations": 30,
        "learning_rate": 4.0,
        "momentum": 0.5,
        "batch_size": 10,
        "validation_fraction": 0.2,
        "patience": 50,
    },
    "record": {"scalars": {"steps": 10}},
}


def test_configuration_makes_the_network():
    config = parse(TABLE)
    assert is_network(config)
    made = build_network(config)
    assert made.net.grid.describe() == {
        "scheme": "layers",
        "n": 3,
        "residual_scale": "ode",
        "outer": "relu",
    }
    assert made.optimiser == SGD(learning_rate=4.0, momentum=0.5)
    assert len(made.net.problem.x) == 36
    assert len(made.keywords["validation"][0]) == 9
    assert made.keywords["early_stopping"] == EarlyStopping(50)
    assert set(made.keywords["observers"]) == {"test_accuracy", "test_loss"}
    toml = made.keywords["metadata"]["config_toml"]
    assert "[grid]" not in toml
    assert "n_layers = 3" in toml


def with_keys(section, **keys):
    return TABLE | {section: TABLE[section] | keys}


DROPS = {
    "kind": "warm_up",
    "n_iterations": 5,
    "then": {"kind": "drops", "at": [10]},
}


def test_configuration_of_scales_and_optimisers():
    law = with_keys("network", residual_scale={"tau0": 2.0, "exponent": -0.4})
    assert build_network(parse(law)).net.residual_scale == PowerLaw(2.0, -0.4)
    numbers = with_keys("network", residual_scale=[0.1, 0.1, 0.1])
    assert build_network(parse(numbers)).net.grid.weights.tolist() == [0.1] * 3
    drops = with_keys("training", schedule=DROPS)
    schedule = build_network(parse(drops)).optimiser.schedule
    assert schedule == WarmUp(5, Drops((10,), 0.1))
    table = TABLE | {"training": {"optimiser": "adam", "learning_rate": 0.01}}
    made = build_network(parse(table))
    assert made.optimiser == Adam(0.01)
    assert made.keywords["validation"] is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE | {"grid": {"n": 3}}, "`grid` .*: for a network, the layers stand in"),
        (TABLE | {"flow": {}}, r"\[training\] says how it moves"),
        (
            TABLE | {"training": {}},
            "`training.optimiser`: One of `learning_rate` and `ds`",
        ),
        (
            with_keys("training", ds=0.1),
            "and `ds` is needed, and not both",
        ),
        (
            TABLE | {"training": {"optimiser": "adam", "ds": 0.1}},
            'belongs to optimiser = "sgd"',
        ),
        (with_keys("training", momentum=0.0, nesterov=True), "`nesterov` needs a pos"),
        (with_keys("training", validation_fraction=0.0), "`training.patience` needs"),
        (with_keys("network", residual_scale=[0.1]), "each of the 3 layers, got 1"),
        (with_keys("network", residual_scale="tall"), "`network.residual_scale` must"),
        (with_keys("network", coupling="tied"), '`network.coupling` = "tied" needs a'),
        (with_keys("network", n_layer=3), "did you mean `?.*n_layers"),
    ],
)
def test_wrong_configurations(table, message):
    with pytest.raises(mfpde.errors.ConfigurationError, match=message):
        parse(table)


def test_what_does_not_fit_the_data_is_a_problem_of_the_configuration():
    with pytest.raises(mfpde.errors.ConfigurationError, match="at most the 36 samples"):
        build_network(parse(with_keys("training", batch_size=100)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = mfpde.config.write_toml(TABLE | {"title": "Tiny network"})
    (tmp_path / "net.toml").write_text(text, encoding="utf-8")
    return tmp_path


def printed(capsys):
    """What was printed, in one line: the account is wrapped."""
    return " ".join(capsys.readouterr().out.split())


def test_run_resume_info_plot_and_recover(folder, capsys):
    assert main(["run", "net.toml"]) == SUCCESS
    text = printed(capsys)
    assert text.startswith("Tiny network: finished. Made all 30 iterations.")
    assert "learning rate 4 on L = 3, M = 8 is ds = 0.166667" in text
    assert "3 layers, residual scale tau = 1/L, outer activation relu" in text
    assert "30 of 30 iterations, batches of at most 10 (7.5 passes)" in text
    for name in ("train accuracy", "validation loss", "test accuracy"):
        assert text.count(name) == 1
    assert "ledger" not in text
    assert (folder / "net.png").exists()
    assert main(["info", "net.h5"]) == SUCCESS
    assert "rate gradient descent with momentum 0.5" in printed(capsys)
    assert main(["plot", "net.h5", "--out", "again.png"]) == SUCCESS
    assert main(["recover", "net.h5"]) == SUCCESS
    capsys.readouterr()
    assert main(["resume", "net.h5", "--no-plot"]) == WRONG_CALL
    assert "Give --iterations to go on" in capsys.readouterr().err
    assert main(["resume", "net.h5", "--no-plot", "--iterations", "40"]) == SUCCESS
    assert "Made all 40 iterations." in printed(capsys)


def test_an_interrupted_run_ends_with_one_and_goes_on(folder, capsys):
    call = ["run", "net.toml", "--quiet", "--no-plot", "--set"]
    assert main([*call, "training.wall_time_s=1e-9"]) == FAILED
    assert "continue with: mfpde resume net.h5" in capsys.readouterr().err


def test_the_digits_network_reaches_97_percent():
    made = build_network(load(DATA / "digits_network.toml"), DATA)
    done = train(made.net, made.optimiser, **made.keywords)
    assert done.scalars["test_accuracy"][-1] >= 0.97
    assert done.scalars["train_accuracy"][-1] > 0.98


def stop_at(step):
    """Progress that sends SIGINT after a step."""

    def report(s, s_end, loss, n_steps, objective):
        if n_steps == step:
            signal.raise_signal(signal.SIGINT)

    return report


@pytest.mark.parametrize("lengths", [None, (None, 10)])
def test_a_prolonged_training_that_was_stopped_goes_on_to_its_new_end(
    tmp_path, lengths
):
    """A schedule that follows the length of a training keeps the first one."""
    path = tmp_path / "net.h5"
    short, long = (
        SGD(ds=0.05, **({"schedule": Cosine(n, 0.1)} if lengths else {}))
        for n in lengths or (None, None)
    )
    plain = {"n_iterations": 10, "batch_size": 7, "record": Steps(5)}
    train(make_net(), short, **plain, output=path)
    stopped = interrupted(resume, path, n_iterations=20, progress=stop_at(15))
    assert (stopped.status, stopped.n_steps) == ("interrupted", 15)
    done = resume(path)
    assert (done.status, done.n_steps) == ("finished", 20)
    whole = train(make_net(), long, **plain | {"n_iterations": 20})
    assert done.ensemble.theta.tobytes() == whole.ensemble.theta.tobytes()


class OwnSchedule:
    """A schedule of the user's own."""

    def factor(self, iteration):
        return 0.5**iteration

    def over(self, n_iterations):
        return self

    def describe(self):
        return {"kind": "halving"}


def test_a_schedule_of_ones_own_is_resumed_with_its_optimiser(tmp_path):
    path, optimiser = tmp_path / "net.h5", SGD(ds=0.05, schedule=OwnSchedule())
    train(make_net(), optimiser, n_iterations=4, output=path)
    with pytest.raises(ValueError, match="optimiser of your own"):
        resume(path, n_iterations=8)
    assert resume(path, n_iterations=8, optimiser=optimiser).n_steps == 8
    with pytest.raises(TypeError, match="`schedule` must be a schedule"):
        SGD(ds=0.05, schedule=object())


def test_networks_are_trained_by_one_process():
    class Two:
        def Get_size(self):
            return 2

    refuse_ranks(None)
    with pytest.raises(ConfigurationError) as caught:
        refuse_ranks(Two())
    assert "mpiexec started 2" in caught.value.problems[0]


def test_arguments_of_another_kind_are_refused():
    with pytest.raises(TypeError, match=r"`early_stopping` must be .*EarlyStopping"):
        train(make_net(), SGD(ds=0.1), **options(early_stopping=5))
    with pytest.raises(ValueError, match="`theta_dtype` must be one of f8, f4"):
        train(make_net(), SGD(ds=0.1), **options(theta_dtype="f2"))
