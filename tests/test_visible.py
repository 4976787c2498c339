"""What static tools see of an installed mfpde: pyright, mypy and jedi.

The package is built and put into an environment of its own, as `pip install .` and
`pip install -e .` do it; the tools look at that environment.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap
import venv
import zipfile
from pathlib import Path

import pytest

import mfpde

ROOT = Path(mfpde.__file__).parents[1]
BUILD = "import hatchling.build as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"
KINDS = ("wheel", "editable")


def needed(*names):
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"without {', '.join(missing)}")


@pytest.fixture(scope="module", params=KINDS)
def environment(request, tmp_path_factory):
    """Folder of an environment with mfpde, and the other packages of this one."""
    pytest.importorskip("hatchling")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("mfpde is not a checkout here")
    folder = tmp_path_factory.mktemp(request.param)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{request.param}", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv").glob("[Ll]ib/**/site-packages"))
    with zipfile.ZipFile(folder / done.stdout.split()[-1]) as wheel:
        wheel.extractall(site)
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "zz_others.pth").write_text("\n".join(others), encoding="utf-8")
    return folder / "venv"


def python_of(environment):
    return next(environment.glob("[bS]*/python*"))


def pyright_errors(environment, script):
    """Lines of the script with errors, and all messages."""
    call = [sys.executable, "-m", "pyright", "--outputjson"]
    done = subprocess.run(
        [*call, "--pythonpath", str(python_of(environment)), str(script)],
        capture_output=True,
        text=True,
        cwd=script.parent,
    )
    found = [
        (each["range"]["start"]["line"] + 1, each["message"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
    ]
    return {line for line, _ in found}, "\n".join(f"{n}: {text}" for n, text in found)


def mypy_errors(environment, script, cache):
    call = [
        sys.executable,
        "-m",
        "mypy",
        "--cache-dir",
        str(cache),
        "--python-executable",
    ]
    done = subprocess.run(
        [*call, str(python_of(environment)), "--no-pretty", script.name],
        capture_output=True,
        text=True,
        cwd=script.parent,
    )
    lines = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert all(line.startswith(script.name) for line in lines), done.stdout
    return {int(line.split(":")[1]) for line in lines}, done.stdout + done.stderr


def test_data_and_configurations_are_installed(environment, tmp_path):
    code = "from mfpde.shipped import configuration_file as c; print(c('digits'))"
    done = subprocess.run(
        [str(python_of(environment)), "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    file = Path(done.stdout.strip())
    is_wheel = environment.parent.name.startswith("wheel")
    assert (environment if is_wheel else ROOT) in file.parents
    assert file.read_bytes() == (ROOT / "data" / "digits.toml").read_bytes()
    names = {each.name for each in file.parent.iterdir()}
    assert {"digits.csv.gz", "spirals.toml", "curve.toml", "studies"} <= names


# Wrong lines end in "# wrong". What follows a wrong call is not judged by its result.
SCRIPT = '''
"""Gradient flow of a small problem, by a user with many mistakes."""

import numpy as np

import mfpde
from mfpde import blocks, laws, networks

x = np.linspace(-1.0, 1.0, 16)[:, None]
problem = mfpde.MeanFieldProblem(x, np.sin(x), blocks.Perceptron(1, "tanh", bias=True))
grid = mfpde.DepthGrid.euler(8)
law = laws.Gaussian(0.0, 0.5, 3)
ensemble = law.sample(grid, 64, method="sobol", coupling="path", seed=0)
sol = mfpde.solve(problem, grid, ensemble, s_end=1.0, rtol=1e-5, atol=1e-8)
print(sol.s[-1], sol.loss[-1], sol.predict(x).shape, sol.ensemble.theta.shape)
mfpde.solve(problem, grid, ensemble, s_end=1.0, rtoll=1e-5)  # wrong
mfpde.solve(problem, grid, ensemble, s_end="long")  # wrong
mfpde.solve(problem, grid, s_end=1.0)  # wrong
print(sol.los[-1])  # wrong
print(sol.predicts(x))  # wrong
print(grid.node)  # wrong
mfpde.DepthGrid.gauss("four")  # wrong
mfpde.stepper.Langevin(0.1, 0.1)  # wrong
mfpde.sovle(problem, grid, ensemble, s_end=1.0)  # wrong
blocks.Perceptron(1, activatoin="tanh")  # wrong
blocks.Perceptrn(1)  # wrong
ev = mfpde.evaluate(problem, grid, ensemble)
print(ev.loss, ev.objective, ev.velocity.shape, ev.dissipation, ev.output, ev.z_end)
print(ev.veloctiy)  # wrong
mfpde.DecayingQuadratic(0.1, gama=0.2)  # wrong
law.sampel(grid, 8)  # wrong
law.sample(grid, 8, methd="sobol")  # wrong
net = mfpde.ResNet(problem, ensemble)
mfpde.train(net, networks.Adam(0.01), n_iterations=10, wall_time_s=1.0)
mfpde.train(net, networks.Adam(0.01), iterations=10)  # wrong
networks.Adam(learning_rat=0.1)  # wrong
with mfpde.open_run("a.h5") as run:
    print(run.s, run.loss, run.theta, run.problem(), run.predict(x, s=1.0))
    print(run.lost)  # wrong
    run.predicts(x)  # wrong
mfpde.resume("a.h5", s_end=2.0).lss  # wrong
mfpde.solve_limit(problem, law, s_end=1.0, tol=1e-3).loss
mfpde.solve_limit(problem, law, s_end=1.0, toll=1e-3)  # wrong
mfpde.references.exact.ScalarLinear(1.3, 2.0, -0.4).otput(1.0)  # wrong
'''


def planted(folder):
    text = SCRIPT.lstrip()
    script = folder / "user.py"
    script.write_text(text, encoding="utf-8")
    lines = text.splitlines()
    return script, {i + 1 for i, line in enumerate(lines) if line.endswith("# wrong")}


@needed("pyright")
def test_pyright_reports_every_planted_mistake(environment, tmp_path):
    script, wrong = planted(tmp_path)
    found, messages = pyright_errors(environment, script)
    assert found == wrong, messages


@needed("mypy")
def test_mypy_reports_every_planted_mistake(environment, tmp_path, tmp_path_factory):
    script, wrong = planted(tmp_path)
    # What is known of the other packages is the same for both ways to install.
    cache = tmp_path_factory.getbasetemp() / "mypy"
    found, messages = mypy_errors(environment, script, cache)
    assert found == wrong, messages


@needed("jedi")
def test_jedi_completes_and_shows_documentation(environment, tmp_path):
    import jedi

    jedi.settings.cache_directory = str(tmp_path)
    tool = jedi.create_environment(str(environment), safe=False)

    def script(line):
        return jedi.Script(f"import mfpde\n{line}", environment=tool)

    def completed(line):
        return [each.name for each in script(line).complete()]

    assert completed("mfpde.so")[:2] == ["solve", "solve_limit"]
    found = completed("mfpde.blocks.")
    assert {"Perceptron", "Bilinear", "Linear", "Bias", "Custom"} <= set(found)
    assert "linearised" in completed("import mfpde.theory.lazy as lazy\nlazy.lin")
    assert "ScalarLinear" in completed("mfpde.references.exact.")
    assert {"loss", "predict"} <= set(completed("mfpde.resume('a.h5')."))
    assert {"loss", "predict"} <= set(completed("mfpde.open_run('a.h5')."))
    assert completed("mfpde.solve(problem, grid, ensemble, s_e") == ["s_end="]
    for call in ("solve", "DepthGrid.euler", "blocks.Perceptron", "open_run"):
        (signature,) = script(f"mfpde.{call}(").get_signatures()
        assert len(signature.docstring()) > 80, call
        assert signature.params, call


PARTS = """
    from mfpde import blocks, executors, laws, losses, networks, protocols, recording
    import numpy as np

    from mfpde import DecayingQuadratic
    from mfpde.evaluation import Evaluation
    from mfpde.steppers import Langevin

    def observer(evaluation: Evaluation) -> float:
        return evaluation.loss

    block: protocols.Block = blocks.Perceptron(2)
    block = blocks.Bilinear(2)
    block = blocks.Bias(2)
    loss: protocols.Loss = losses.Squared()
    loss = losses.Logistic()
    loss = losses.CrossEntropy()
    regulariser: protocols.Regulariser = DecayingQuadratic(0.1)
    law: protocols.Law = laws.Gaussian(0.0, 1.0, 3)
    law = laws.Uniform(0.0, 1.0, 3)
    stepper: protocols.Stepper = Langevin(0.1, 0.1)
    optimiser: protocols.Optimiser = networks.SGD(ds=0.1)
    optimiser = networks.Adam(0.1)
    schedule: protocols.Schedule = networks.Cosine()
    schedule = networks.Constant()
    due: protocols.RecordSchedule = recording.Every(0.1)
    due = recording.At(np.zeros(1))
    watch: protocols.Observer = observer
    executor: protocols.Executor = executors.Serial()
    executor = executors.Processes(2)

    loss = blocks.Perceptron(2)  # wrong
    stepper = laws.Uniform(0.0, 1.0, 3)  # wrong
    law = losses.Squared()  # wrong
"""


@needed("pyright")
def test_the_built_in_parts_satisfy_the_protocols(environment, tmp_path):
    text = textwrap.dedent(PARTS).lstrip()
    script = tmp_path / "parts.py"
    script.write_text(text, encoding="utf-8")
    found, messages = pyright_errors(environment, script)
    lines = enumerate(text.splitlines(), 1)
    assert found == {i for i, line in lines if line.endswith("# wrong")}, messages
