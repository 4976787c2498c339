"""Compiled kernels on disk: which folder, under which key, and who is trusted."""

import ast
import errno
import hashlib
import importlib
import os
import pickle
import shutil
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba.core.caching import NullCache

import mfpde
from mfpde import DepthGrid, MeanFieldProblem, ParticleEnsemble, evaluate
from mfpde.blocks import Custom, Perceptron
from mfpde.kernels import build, compiled, families, fingerprint, folders, vectormath

PACKAGE = Path(mfpde.__file__).parent
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(autouse=True)
def _each_test_warns_anew():
    folders.warn_once.cache_clear()
    yield
    folders.warn_once.cache_clear()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A home and a temporary folder of their own; nothing named by the environment."""
    for name in ("MFPDE_CACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(folders.tempfile, "tempdir", str(temporary))
    return SimpleNamespace(
        home=home, temporary=temporary, last=temporary / f"mfpde-{os.geteuid()}"
    )


def generate():
    """The smallest kernels, made now, whatever this process has made before."""
    return build.generated_module.__wrapped__(
        "bias", families.bias, (1,), "float64", None
    )


# ---- folders


def test_a_folder_is_made_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MFPDE_CACHE_DIR", str(tmp_path / "not" / "yet"))
    generate()
    kept = list((tmp_path / "not" / "yet").iterdir())
    assert len(kept) == 3
    assert stat.S_IMODE(os.stat(tmp_path / "not" / "yet").st_mode) == 0o700
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in kept} == {0o600}


def test_folders_without_a_wish(places, monkeypatch):
    assert folders.cache_folder() == places.home / ".cache" / "mfpde"
    monkeypatch.setenv("XDG_CACHE_HOME", str(places.home / "x"))
    assert folders.cache_folder() == places.home / "x" / "mfpde"
    # As that specification says.
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert folders.cache_folder() == places.home / ".cache" / "mfpde"
    monkeypatch.setenv("MFPDE_CACHE_DIR", "~/named")
    assert folders.cache_folder() == places.home / "named"


@pytest.mark.parametrize("home", ["/nonexistent/home", "/dev/null", "", "relative"])
def test_a_home_that_cannot_be_used(places, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    # Root may make any folder.
    monkeypatch.setattr(Path, "mkdir", refuse_outside(places.temporary.parent))
    monkeypatch.setattr("pwd.getpwuid", no_such_user, raising=False)
    assert folders.cache_folder() == places.last
    assert stat.S_IMODE(os.stat(places.last).st_mode) == 0o700


def refuse_outside(allowed, mkdir=Path.mkdir):
    def refusing(self, *arguments, **options):
        if allowed not in self.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        mkdir(self, *arguments, **options)

    return refusing


def no_such_user(uid):
    raise KeyError(uid)


def test_a_home_that_is_full_of_files(places, monkeypatch):
    (places.home / ".cache").touch()
    assert folders.cache_folder() == places.last


def test_nowhere_to_keep_anything_is_said_once_and_no_obstacle(places, monkeypatch):
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr(folders.tempfile, "tempdir", "/dev/null")
    with pytest.warns(RuntimeWarning, match="Compiled kernels are not kept") as found:
        module = generate()
    assert folders.cache_folder() is None
    assert len(found) == 1
    assert module.field.address != 0


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o707])
def test_a_named_folder_that_others_can_write_to(places, monkeypatch, tmp_path, mode):
    named = tmp_path / "named"
    named.mkdir()
    named.chmod(mode)
    monkeypatch.setenv("MFPDE_CACHE_DIR", str(named))
    with pytest.warns(RuntimeWarning, match=r"named is not used: others can"):
        assert folders.cache_folder() == places.last


def test_a_folder_that_others_can_replace(places, monkeypatch, tmp_path):
    named = tmp_path / "open" / "named"
    named.mkdir(parents=True)
    named.parent.chmod(0o777)
    monkeypatch.setenv("MFPDE_CACHE_DIR", str(named))
    with pytest.warns(RuntimeWarning, match="others can replace it"):
        assert folders.cache_folder() == places.last
    # As /tmp: nobody can rename what is another's.
    named.parent.chmod(0o1777)
    assert folders.cache_folder() == named


def test_a_folder_of_another_user(places, monkeypatch):
    (places.home / ".cache" / "mfpde").mkdir(parents=True)
    places.last.mkdir(mode=0o700)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    places.last.rename(places.temporary / f"mfpde-{uid + 1}")
    with pytest.warns(RuntimeWarning, match="Compiled kernels are not kept"):
        assert folders.cache_folder() is None


def test_where_there_are_no_users_every_folder_is_ones_own(
    places, monkeypatch, tmp_path
):
    """As on Windows, where all folders have mode 777."""
    named = tmp_path / "open" / "named"
    named.mkdir(parents=True)
    named.parent.chmod(0o777)
    named.chmod(0o777)
    monkeypatch.delattr(os, "geteuid")
    monkeypatch.setenv("MFPDE_CACHE_DIR", str(named))
    assert folders.cache_folder() == named


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o777])
def test_a_temporary_folder_is_closed_to_all_others(places, monkeypatch, mode):
    monkeypatch.setenv("HOME", "/dev/null")
    places.last.mkdir()
    places.last.chmod(mode)
    with pytest.warns(RuntimeWarning, match="others can use it"):
        assert folders.cache_folder() is None


def test_a_temporary_folder_is_no_link(places, monkeypatch):
    monkeypatch.setenv("HOME", "/dev/null")
    (places.temporary / "elsewhere").mkdir(mode=0o700)
    places.last.symlink_to(places.temporary / "elsewhere")
    with pytest.warns(RuntimeWarning, match="Compiled kernels are not kept"):
        assert folders.cache_folder() is None


# ---- what is found there


class Planted:
    """Unpickling it makes a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "owner", "is_run"),
    [
        # Who can write here is this user: the check below can fail.
        (0o700, 0o600, None, True),
        (0o777, 0o600, None, False),
        (0o700, 0o666, None, False),
        pytest.param(
            *(0o700, 0o600, 65534, False),
            marks=pytest.mark.skipif(not IS_ROOT, reason="gives a file away"),
        ),
    ],
)
def test_planted_files_are_not_run(
    places, monkeypatch, folder_mode, file_mode, owner, is_run
):
    monkeypatch.setenv("HOME", "/dev/null")
    generate()
    mark = places.temporary / "mark"
    data = pickle.dumps(Planted(mark))
    for path in places.last.iterdir():
        path.write_bytes(hashlib.sha256(data).digest() + data)
        path.chmod(file_mode)
        if owner is not None:
            os.chown(path, owner, owner)
    places.last.chmod(folder_mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = generate()
    assert mark.exists() is is_run
    assert module.field.cache_hits == 0


def test_nothing_but_machine_code_is_read(places, monkeypatch):
    """A planted text of a module meets nobody who would import it."""
    monkeypatch.setenv("HOME", "/dev/null")
    module = generate()
    assert {path.suffix for path in places.last.iterdir()} == {".nbc"}
    assert not hasattr(module, "__file__")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: bytes(len(data)),
        lambda data: data[:-100] + b"x" * 100,
        lambda data: hashlib.sha256(b"garbage").digest() + b"garbage",
    ],
)
def test_damaged_files_are_compiled_anew(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("MFPDE_CACHE_DIR", str(tmp_path))
    generate()
    paths = sorted(tmp_path.iterdir())
    for path in paths:
        path.write_bytes(damage(path.read_bytes()))
    assert generate().field.cache_hits == 0
    assert generate().field.cache_hits == 1
    assert sorted(tmp_path.iterdir()) == paths


def test_a_full_disk_is_said_once_and_no_obstacle(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("MFPDE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled.os, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left on device") as found:
        assert generate().field.address != 0
    assert len(found) == 1
    # No remains that fill it further.
    assert not list(tmp_path.iterdir())


def test_all_compiled_code_is_kept_in_this_way():
    found = 0
    for path in sorted((PACKAGE / "kernels").glob("*.py")):
        module = importlib.import_module(f"mfpde.kernels.{path.stem}")
        for value in vars(module).values():
            if isinstance(value, numba.core.registry.CPUDispatcher):
                assert type(value._cache) in (compiled.Cache, NullCache)
                found += type(value._cache) is compiled.Cache
    assert found > 20
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert "cache" not in {
            node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)
        }, path


# ---- keys


def test_a_changed_text_has_another_key(tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(compiled._HERE, copy)
    monkeypatch.setattr(compiled, "_HERE", copy)

    def keys():
        compiled.module_key.cache_clear()
        text = build.HEADER + build._import_of("tanh", "float32")
        names = ("workers", "vectors", "queue")
        found = [compiled.module_key(f"mfpde.kernels.{name}") for name in names]
        return [*found, compiled.text_key(text), compiled.text_key(build.HEADER)]

    first = keys()
    assert len(set(first)) == 5
    # What is inlined counts: workers call sweep, which calls queue.
    for name, changed in (
        ("queue", {0, 2}),
        ("vectors", {1}),
        ("bits", {3}),
        ("sine", {3}),
        ("folders", set()),
    ):
        with open(copy / f"{name}.py", "a", encoding="utf-8") as file:
            file.write("# other\n")
        second = keys()
        assert {i for i in range(5) if first[i] != second[i]} == changed
        first = second
    compiled.module_key.cache_clear()


SECOND_PROCESS = """
import sys, time
import numpy as np
from mfpde.blocks import Custom, Perceptron
from mfpde.kernels import sweep

FACTOR = float(sys.argv[1])
def f(z, theta, out):
    out[0] = FACTOR * np.tanh(theta[0] * z[0])
def vjp_z(z, theta, p, out):
    out[0] = FACTOR * p[0] * theta[0] / np.cosh(theta[0] * z[0]) ** 2
def vjp_theta(z, theta, p, out):
    out[0] = FACTOR * p[0] * z[0] / np.cosh(theta[0] * z[0]) ** 2

for block in (Perceptron(1, "tanh", scale=0.125), Custom(1, 1, f, vjp_z, vjp_theta)):
    start = time.process_time()
    kernels = block.kernels()
    seconds = time.process_time() - start
    names = ("field", "pullback_state", "pullback")
    hits = sum(getattr(kernels.module, name).cache_hits for name in names)
    theta, z = np.ones((1, block.k)), np.full(sweep.STRIDE, 0.5)
    out = np.zeros(sweep.STRIDE)
    scratch = np.empty(kernels.addresses[3])
    sweep.field(kernels.addresses, theta, np.ones(1), 1, z, out, scratch)
    print(hits, seconds, out[0])
"""


def test_a_second_process_loads_instead_of_compiling(tmp_path):
    environment = os.environ | {"MFPDE_CACHE_DIR": str(tmp_path)}
    found = []
    for factor in ("2.0", "2.0", "3.0"):
        done = subprocess.run(
            [sys.executable, "-c", SECOND_PROCESS, factor],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append([line.split() for line in done.stdout.splitlines()])
    built_in, custom = (np.array(rows, float) for rows in zip(*found, strict=True))
    assert built_in[:, 0].tolist() == [0, 3, 3]
    # A number that the functions use is part of the key.
    assert custom[:, 0].tolist() == [0, 3, 0]
    expected = np.tanh(0.5) * np.array([2.0, 2.0, 3.0])
    np.testing.assert_allclose(custom[:, 2], expected, rtol=1e-15)
    # Loading takes some milliseconds, compiling a second: a third is loose.
    assert built_in[1, 1] < built_in[0, 1] / 3
    assert custom[1, 1] < custom[0, 1] / 3


# ---- functions of the user's own


def made(factor, table=(1.0, 2.0), options=None):
    """A function with numbers in a closure, and a compiled one that it calls."""

    @numba.njit(**(options or {}))
    def inner(x):
        return factor * x

    def f(z, theta, out):
        for c in range(len(out)):
            out[c] = inner(z[c]) + table[c]

    return f


def plain(x):
    return x


def with_default(z, theta, out, scale=2.0):
    out[0] = scale * z[0]


def calls_plain(z, theta, out):
    out[0] = plain(z[0])


def uses_object(z, theta, out):
    out[0] = SETTINGS["a"]


def uses_own_module(z, theta, out):
    out[0] = mfpde.__version__


def uses_libraries(z, theta, out):
    out[0] = np.tanh(abs(z[0])) + vectormath.tanh(z[0])


@numba.njit
def factorial(n):
    return n * factorial(n - 1) if n > 1 else 1


def recursive(z, theta, out):
    out[0] = factorial(3)


SETTINGS = {"a": 1.0}


def test_a_function_is_known_by_all_that_it_uses():
    first = fingerprint.fingerprint(made(2.0))
    assert first is not None
    assert fingerprint.fingerprint(made(2.0)) == first
    others = [
        made(2),
        made(-2.0),
        made(2.0, (1.0, 3.0)),
        made(2.0, np.array([1.0, 2.0])),
        made(2.0, np.array([1.0, 2.0], "float32")),
        made(2.0, options={"fastmath": True}),
        made(2.0, options={"fastmath": {"nsz", "contract"}}),
        uses_libraries,
        with_default,
        recursive,
    ]
    found = [fingerprint.fingerprint(each) for each in others]
    assert None not in found
    assert len({first, *found}) == len(found) + 1
    zeros = [fingerprint.fingerprint(made(zero)) for zero in (0.0, -0.0)]
    assert zeros[0] != zeros[1]


@pytest.mark.parametrize(
    "function",
    [calls_plain, uses_object, uses_own_module, made([1.0]), len, SimpleNamespace()],
)
def test_what_cannot_be_known_is_not_kept(function):
    assert fingerprint.fingerprint(function) is None


def test_a_block_that_cannot_be_kept_works(tmp_path, monkeypatch):
    monkeypatch.setenv("MFPDE_CACHE_DIR", str(tmp_path))

    def f(z, theta, out):
        out[0] = theta[0]

    def vjp(z, theta, p, out):
        out[0] = p[0]

    monkeypatch.setattr(build, "fingerprint", lambda function: None)
    kernels = build.custom_kernels.__wrapped__(1, 1, f, vjp, vjp, "float64")
    assert kernels.addresses[0] != 0
    assert not list(tmp_path.iterdir())


class Uncached:
    """A block of the user's own that compiles whenever it is called."""

    d = 1
    k = 3
    param_names = ("u", "v", "b")

    def __init__(self):
        self.calls = []

    def kernels(self, dtype):
        self.calls.append(dtype)
        return Perceptron(1).kernels(dtype)

    def describe(self):
        return {"kind": "own"}


def test_a_block_is_compiled_once_for_a_problem(rng):
    block = Uncached()
    x = rng.normal(size=(10, 1))
    problem = MeanFieldProblem(x, x, block)
    ensemble = ParticleEnsemble(rng.normal(size=(2, 4, 3)))
    grid = DepthGrid.euler(2)
    batch = problem.on_samples(slice(3), np.full(3, 1 / 3))
    for each in (problem, batch, problem.with_changes(y=2 * x), problem):
        for _ in range(3):
            evaluate(each, grid, ensemble)
    assert block.calls == ["float64"]
    evaluate(problem.with_changes(dtype="float32"), grid, ensemble)
    assert block.calls == ["float64", "float32"]


def test_a_problem_with_compiled_kernels_travels(rng):
    """To another process, that is: machine code stays here."""
    x = rng.normal(size=(10, 1))
    problem = MeanFieldProblem(x, x, Perceptron(1))
    ensemble = ParticleEnsemble(rng.normal(size=(2, 4, 3)))
    found = evaluate(problem, DepthGrid.euler(2), ensemble)
    copy = pickle.loads(pickle.dumps(problem))
    again = evaluate(copy, DepthGrid.euler(2), ensemble)
    assert again.velocity.tobytes() == found.velocity.tobytes()


def nothing(*_):
    pass


def test_parameters_of_a_custom_block_have_names():
    block = Custom(2, 5, nothing, nothing, nothing, params={"u": 2, "v": 2, "b": 1})
    assert block.param_names == Perceptron(2).param_names
    assert block.param_groups == Perceptron(2).param_groups
    assert block.describe()["params"] == {"u": 2, "v": 2, "b": 1}
    assert isinstance(hash(block), int)
    default = Custom(2, 3, nothing, nothing, nothing)
    assert default.param_groups == {"theta": slice(0, 3)}


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"u": 2, "b": 2}, ValueError, r"`params` must have sizes with sum k = 3"),
        ({"u": 3, "b": 0}, ValueError, r"`params\['b'\]` must be at least 1"),
        ({"u": 1.5, "b": 1.5}, TypeError, r"`params\['u'\]` must be an integer"),
        ({"u[0]": 3}, ValueError, "`params` must have names such as"),
        ({1: 3}, TypeError, "`params` must have texts as keys"),
        ([("u", 3)], TypeError, "`params` must be a dict"),
        ("uvb", TypeError, "`params` must be a dict"),
    ],
)
def test_wrong_names_of_parameters(params, error, match):
    with pytest.raises(error, match=match):
        Custom(2, 3, nothing, nothing, nothing, params=params)


# ---- matplotlib


MATPLOTLIB = """
import mfpde.plotting, matplotlib
print(matplotlib.get_configdir(), matplotlib.get_cachedir())
"""


def test_matplotlib_has_a_folder_where_home_has_none(tmp_path):
    names = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MFPDE_CACHE_DIR")
    environment = {n: v for n, v in os.environ.items() if n not in names}
    home = tmp_path / "home"
    home.touch()
    done = subprocess.run(
        [sys.executable, "-c", MATPLOTLIB],
        env=environment | {"HOME": str(home), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    own = tmp_path / f"mfpde-{os.geteuid()}" / "matplotlib"
    assert done.stdout.split() == [str(own)] * 2
    assert not done.stderr
