"""Configurations and data of any content: status 2 and a sentence, never more.

Nothing is solved: what comes through every check up to the solver counts as right.
"""

import contextlib
import io
import random
import re
import signal
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import mfpde
from mfpde.cli import main
from mfpde.commands import WRONG_CALL
from mfpde.commands import run as run_command
from mfpde.config.toml import write_toml
from mfpde.describe import names
from mfpde.errors import ConvergenceError
from mfpde.studies import collection, engine

DATA = mfpde.__path__[0] + "/../data"
RIGHT = 1
"""Status of a configuration that the solver would have been given."""
LONGEST_S = 20
VALUES = [
    *("nan", "inf", "-inf", "-1", "0", "1", "2", "3", "-0.0", "1e-300", "1e300"),
    *("1e23", "1e400", "-1e23", "100000000000000000000000", "1" * 400, "0x" + "f" * 40),
    *('""', '"x"', "'~/x'", '"\\u0000"', '"a\\nb"', "true", "false", "[]", "{}"),
    *("[[]]", "[[1.0, 2.0], [3.0]]", "[1, 2]", '["a", 1]', "{ a = 1 }", "[1e300]"),
    *("1979-05-27T07:32:00Z", "07:32:00", "[[[[[[]]]]]]", "{ every = 1e-300 }"),
    *("{ steps = 0 }", "{ logarithmic = { start = 0.1, per_decade = 1 } }", "[nan]"),
]


@pytest.fixture(autouse=True)
def nothing_is_solved(monkeypatch, tmp_path):
    def stop(*_, **__):
        raise ConvergenceError("Not solved.")

    for name in ("solve", "train", "evaluate"):
        monkeypatch.setattr(run_command, name, stop)
    monkeypatch.setattr("mfpde.networks.resnet.ResNet.evaluate", stop)
    monkeypatch.chdir(tmp_path)


@contextlib.contextmanager
def deadline(seconds, what):
    def hang(*_):
        raise AssertionError(f"It takes more than {seconds} s: {what}")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check(capsys, what, *arguments):
    """Run a command; return its status."""
    with (
        deadline(LONGEST_S, what),
        np.errstate(all="warn"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("always")
        status = main([*arguments])
    error = capsys.readouterr().err
    # Warnings are for the user, none of somebody else's code.
    assert ".py:" not in error, (what, error)
    lines = [line for line in error.splitlines() if ": warning: " not in line]
    assert "Internal error" not in error, (what, error)
    assert "Traceback" not in error, (what, error)
    assert status in (WRONG_CALL, RIGHT), what
    assert lines, what
    assert all(line.startswith("mfpde: ") and len(line) > 15 for line in lines), error
    if status == RIGHT:
        assert lines == ["mfpde: Not solved."], (what, error)
    return status


def shipped(name):
    with open(f"{DATA}/{name}.toml", encoding="utf-8") as file:
        return file.read()


def with_value(text, rng):
    """Another value for some keys."""
    lines = text.splitlines()
    keys = [i for i, line in enumerate(lines) if " = " in line and line[0] != "#"]
    for index in rng.sample(keys, rng.choice([1, 1, 2])):
        name = lines[index].partition(" = ")[0]
        lines[index] = f"{name} = {rng.choice(VALUES)}"
    return "\n".join(lines)


def with_characters(text, rng):
    """Some characters removed, doubled, exchanged or put in."""
    content = bytearray(text.encode())
    for _ in range(rng.choice([1, 1, 3, 20])):
        place = rng.randrange(len(content) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            del content[place : place + rng.choice([1, 5, 50])]
        elif kind == 1:
            content[place:place] = content[place : place + rng.choice([1, 20])]
        elif kind == 2:
            content[place : place + 1] = bytes([rng.randrange(256)])
        else:
            content[place:place] = rng.choice(
                [b"[", b"]", b'"', b"=", b"\n", b"\0", b"\xff", b"9" * 30, b"[a]\n"]
            )
    return bytes(content)


@pytest.mark.parametrize("name", ["curve", "digits", "digits_network", "spirals"])
def test_values_of_any_kind(tmp_path, capsys, name):
    rng = random.Random(name)
    found = set()
    text = shipped(name).replace("digits.csv.gz", f"{DATA}/digits.csv.gz")
    for _ in range(15 if "digits" in name else 60):
        changed = with_value(text, rng)
        (tmp_path / "a.toml").write_text(changed, encoding="utf-8")
        arguments = ["run", "a.toml", "--quiet", "--no-plot", "--out", "a.h5"]
        found.add(check(capsys, changed, *arguments))
    assert found == {WRONG_CALL, RIGHT}


@pytest.mark.parametrize("name", ["curve", "spirals"])
def test_characters_of_any_kind(tmp_path, capsys, name):
    rng = random.Random(name)
    for _ in range(60):
        changed = with_characters(shipped(name), rng)
        (tmp_path / "a.toml").write_bytes(changed)
        check(capsys, changed, "run", "a.toml", "--quiet", "--no-plot", "--out", "a.h5")


@pytest.fixture(scope="module")
def studies():
    """The configurations of all studies, resolved."""
    texts = []
    for name in names("study"):
        if name not in ("all", "quadrature", "both", "pair"):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                assert main(["study", name, "--show"]) == 0
            texts.append(out.getvalue())
    return texts


@pytest.fixture
def no_task_is_done(monkeypatch):
    def stop(*_):
        raise ConvergenceError("Not solved.")

    monkeypatch.setattr(engine, "Store", stop)
    monkeypatch.setattr(collection, "Store", lambda *_: SimpleNamespace(is_begun=True))


def test_studies_of_any_values(tmp_path, capsys, studies, no_task_is_done):
    rng = random.Random(1)
    texts = [with_value(rng.choice(studies), rng) for _ in range(50)]
    share = next(text for text in studies if "\nshare = " in text)
    texts += [re.sub(r"\nshare = .*", r"\nshare = 1.0", share), *studies]
    found = set()
    for text in texts:
        (tmp_path / "a.toml").write_text(text, encoding="utf-8")
        options = ["--quiet", "--no-plot", "--jobs", "1", "--out", "o"]
        found.add(check(capsys, text, "study", "a.toml", *options))
    assert found == {WRONG_CALL, RIGHT}


WHOLE = {
    "nested lists": "a = " + "[" * 100_000,
    "nested lists, closed": "a = " + "[" * 100_000 + "]" * 100_000,
    "nested tables": "a = " + "{ a = " * 5_000,
    "deep": f"title = {'[' * 40}{']' * 40}",
    "dotted": ".".join(["a"] * 100_000) + " = 1",
    "long": "title = " + "9" * 100_000,
    "hexadecimal": "title = 0x" + "f" * 100_000,
    "twice": "title = 'a'\ntitle = 'b'",
    "tables twice": "[data]\n[data]",
    "not text": b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 10,
    "utf-16": "title = 'a'".encode("utf-16"),
    "latin-1": "title = 'ä'".encode("latin-1"),
    "nul": b"title = 'a\0b'",
    "half a pair": 'title = "\\ud800"',
    "empty": "",
    "mark alone": b"\xef\xbb\xbf",
    "line": "x",
    "large": "#" * 10_000_001,
    "particles": '[data]\nsource = "moons"\n[ensemble]\nn_particles = 1e23',
    "many": '[data]\nsource = "moons"\n[ensemble]\nn_particles = 1e15',
    "samples": '[data]\nsource = "moons"\nn_samples = 1e15',
    "nodes": '[data]\nsource = "moons"\n[grid]\nscheme = "euler"\nn = 1e15',
    "gauss": '[data]\nsource = "moons"\n[grid]\nscheme = "gauss"\nn_nodes = 1e6',
    "dimension": '[data]\nsource = "moons"\npad_to = 1e12',
    "seed": '[data]\nsource = "moons"\nseed = 1e300',
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("command", ["run", "study"])
def test_files_that_are_no_configuration(tmp_path, capsys, name, command):
    text = WHOLE[name]
    path = tmp_path / "a.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    options = ["--quiet", "--no-plot", "--out", "out"]
    assert check(capsys, name, command, "a.toml", *options) == WRONG_CALL
    for kind in ("info", "plot", "recover", "resume"):
        assert check(capsys, name, kind, "a.toml") == WRONG_CALL


@pytest.mark.parametrize("command", ["run", "study", "info", "plot", "resume"])
def test_a_folder_is_no_file(tmp_path, capsys, command):
    (tmp_path / "a.toml").mkdir()
    assert check(capsys, command, command, "a.toml") == WRONG_CALL


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path, capsys):
    text = "[data]\nsource = 'moons'\nn_samples = 8\n"
    path = tmp_path / "a.toml"
    options = ["--quiet", "--no-plot", "--out", "a.h5"]
    for content in (text.encode("utf-8-sig"), text.replace("\n", "\r\n").encode()):
        path.write_bytes(content)
        assert check(capsys, content, "run", "a.toml", *options) == RIGHT
    path.write_bytes(b"\xef\xbb\xbfstudy = 'exact'\n")
    assert main(["study", "a.toml", "--show"]) == 0


@pytest.mark.parametrize(
    "override",
    [
        *("x", "=", "a..b=1", ".=1", "title=\udcff", "flow.s_end=" + "[" * 10_000),
        *(".".join(["a"] * 5_000) + "=1", "data=1", "flow.s_end.a=1"),
        *("grid.n=" + "9" * 5000, "flow.s_end=0x" + "f" * 5000, "data.pad_to=1e400"),
        *("flow.s_end=" + "[" * 30 + "]" * 30,),
    ],
)
def test_overrides_of_any_kind(tmp_path, capsys, override):
    (tmp_path / "a.toml").write_text('[data]\nsource = "moons"\n')
    options = ["--quiet", "--no-plot", "--out", "a.h5", "--set", override]
    assert check(capsys, override, "run", "a.toml", *options) == WRONG_CALL


OPTIONS = [
    *("", "", "separator=';'", "separator=whitespace", "separator=''", "decimal=','"),
    *("thousands=','", "encoding=utf-16", "encoding=nonsense", "compression=zip"),
    *("skip_rows=99999", "comment=a", "quote=''", "header=false", "missing=drop"),
    *("task=regression", "missing_marks=['0']", "drop_columns=['a', 'b', 'c']"),
]


def table(rng):
    rows = [(rng.random(), rng.random(), rng.randrange(3)) for _ in range(9)]
    return "a,b,c\n" + "".join(f"{a:.3f},{b:.3f},{c}\n" for a, b, c in rows)


def test_data_of_any_content(tmp_path, capsys):
    rng = random.Random(7)
    config = {"source": "csv", "path": "a.csv", "target_columns": ["c"]}
    config["task"] = "classification"
    (tmp_path / "a.toml").write_text(write_toml({"data": config}))
    (tmp_path / "a.csv").write_text(table(rng))
    options = ["run", "a.toml", "--quiet", "--no-plot", "--out", "a.h5"]
    assert check(capsys, "right", *options) == RIGHT
    whole = [b"", b"\0", b"\xff\xfe", b"a", b"a,b,c", b'"', b"\n" * 50, b"," * 9999]
    whole += [bytes(rng.randrange(256) for _ in range(500)) for _ in range(10)]
    whole += [b"\x1f\x8b\x08broken", b"PK\x03\x04broken", b"\x93NUMPY"]
    for content in [*whole, *(with_characters(table(rng), rng) for _ in range(60))]:
        (tmp_path / "a.csv").write_bytes(content)
        more = rng.choice(OPTIONS)
        check(
            capsys, (content, more), *options, *(["--set", f"data.{more}"] * bool(more))
        )
    law = {"kind": "file", "path": "a.csv"}
    moons = {"source": "moons", "n_samples": 8}
    (tmp_path / "a.toml").write_text(write_toml({"data": moons, "law": law}))
    for content in whole:
        (tmp_path / "a.csv").write_bytes(content)
        assert check(capsys, content, *options) == WRONG_CALL
    for ending in ("npz", "csv.gz"):
        config["path"] = f"b.{ending}"
        if ending == "npz":
            config = {"source": "npz", "path": "b.npz", "task": "classification"}
        (tmp_path / "a.toml").write_text(write_toml({"data": config}))
        for content in whole:
            (tmp_path / f"b.{ending}").write_bytes(content)
            assert check(capsys, content, *options) == WRONG_CALL
