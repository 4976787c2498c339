"""Terminals, streams and paths: any text, any encoding, any width, no output at all."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_cases import TINY

import mfpde
from mfpde import plotting
from mfpde.cli import main
from mfpde.commands import SUCCESS, WRONG_CALL
from mfpde.data.files import existing
from mfpde.figures import Panel, Series
from mfpde.paths import PICTURES, picture_path, user_path
from mfpde.plotting import panels
from mfpde.report.summary import account
from mfpde.streams import one_line

TITLE = "Kosten: 5 € = $6, \\\\frac $x 中文 😀 \\u001b[2J \\u0007 <b>&\\n'end'"


class Stream(io.TextIOWrapper):
    """A stream of an encoding, as standard output is one."""

    def __init__(self, encoding):
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, errors="strict")

    def text(self):
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _):
        raise BrokenPipeError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


@pytest.fixture(scope="module")
def run_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "tiny.h5"
    (path.parent / "tiny.toml").write_text(TINY)
    arguments = [str(path.with_suffix(".toml")), "--out", str(path)]
    assert main(["run", *arguments, "--no-plot", "--quiet"]) == SUCCESS
    return path


# Encodings


def test_a_title_may_have_any_character(folder, monkeypatch):
    text = TINY.replace('"Tiny"', f'"{TITLE}"')
    (folder / "tiny.toml").write_text(text, encoding="utf-8")
    out = check_first_line(monkeypatch, ["run", "tiny.toml"], "ascii")
    assert "?" in out
    assert (folder / "tiny.png").stat().st_size > 10_000
    with mfpde.open_run("tiny.h5") as run:
        assert "中文 😀" in run.attrs["title"]
    assert "?" in check_first_line(monkeypatch, ["info", "tiny.h5"], "latin-1")
    assert "中文 😀" in check_first_line(monkeypatch, ["info", "tiny.h5"], "utf-8")


def check_first_line(monkeypatch, arguments, encoding):
    out, error = Stream(encoding), Stream(encoding)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", error)
    assert main(arguments) == SUCCESS
    assert "Internal error" not in error.text()
    assert "Glyph" not in error.text()
    first = out.text().splitlines()[0]
    assert first.startswith("Kosten: 5 ")
    assert first.count("$") == 2
    assert not any(ord(character) < 32 for character in first)
    return first


def test_ascii_is_enough_in_a_process_of_its_own(run_file):
    environment = os.environ | {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    folder = run_file.parent / "Größe 中"
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "mfpde", "info", str(folder)],
        env=environment,
        capture_output=True,
    )
    assert done.returncode == WRONG_CALL
    assert b"is a folder" in done.stderr


def test_names_with_dollars_are_no_mathematics(run_file):
    labels = np.array([0, 1, 1])
    names = ["costs $5", r"and $\frac x$ \undefined"]
    ax = plotting.confusion(labels, labels, names=names)
    plotting.save(ax.figure, run_file.parent / "a.png")
    assert ax.get_xticklabels()[0].get_text() == r"costs \$5"
    bad = {"title": r"$\frac$", "xlabel": "$x$", "ylabel": "5 $", "note": r"$\no$"}
    panel = Panel(**bad, series=[Series([1, 2], [1, 2], label=r"$\sum_$ and $5")])
    (ax,) = panels.page([panel], title=r"$\oops$: $1 and $2").axes
    plotting.save(ax.figure, run_file.parent / "c.png")
    assert ax.get_title("left") == r"\$\frac\$"
    assert ax.get_xlabel() == "$x$"
    with mfpde.open_run(run_file) as run:
        figure = plotting.summary(run, title=r"$\nothing$ and $5")
    plotting.save(figure, run_file.parent / "b.png")


def test_a_text_on_one_line():
    assert one_line("a\n b\tc") == "a b c"
    assert one_line("\x1b[2J\udcff") == "\ufffd[2J\ufffd"
    assert one_line("é中😀$") == "é中😀$"


# Streams that are closed


@pytest.mark.parametrize(
    "arguments", [["init"], ["info"], ["run", "tiny.toml"], ["recover", "x.h5"]]
)
def test_without_output_a_command_that_writes_says_so(
    folder, monkeypatch, capsys, arguments
):
    monkeypatch.setattr("sys.stdout", None)
    assert main(arguments) == WRONG_CALL
    assert capsys.readouterr().err.startswith("mfpde: Standard output is closed.")
    assert not (folder / "tiny.h5").exists()


def test_without_output_a_quiet_run_is_made(folder, monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", None)
    assert main(["run", "tiny.toml", "--quiet", "--no-plot"]) == SUCCESS


@pytest.mark.parametrize("arguments", [["init"], ["info"]])
def test_a_reader_that_has_gone(monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.stdout", Gone())
    assert main(arguments) == WRONG_CALL
    assert "closed before all was written" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdout", Gone())
    monkeypatch.setattr("sys.stderr", Gone())
    assert main(arguments) == WRONG_CALL


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ('"$0" -m mfpde init >&-', "Standard output is closed."),
        ('"$0" -m mfpde init > /dev/full', "No space left on device."),
        ('(sleep 0.5; "$0" -m mfpde init) | :', "closed before all was written"),
    ],
)
def test_streams_of_the_shell(command, sentence):
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, sys.executable],
        capture_output=True,
        text=True,
    )
    assert done.returncode == (1 if "full" in command else WRONG_CALL)
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Widths


@pytest.mark.parametrize("width", [1, 20, 40, 60, 88, 300])
def test_the_account_keeps_to_the_width(run_file, width):
    with mfpde.open_run(run_file) as run:
        lines = account(run, width=width).splitlines()
        words = account(run).split()
        assert " ".join(lines).split() == words
    longest = max(map(len, words))
    indent = 13 if width > 39 else 2
    table = [i for i, line in enumerate(lines) if line.lstrip().startswith("s = 0 ")]
    rows = {lines[i + k] for i in table for k in range(2)} | {lines[0]}
    for line in lines:
        # A word that is longer than the line is not cut; tables are not either.
        most = min(max(width, 2 * indent, indent + longest), 88)
        if "How far" not in line and line not in rows and "of" not in words[:1]:
            assert len(line) <= max(most, indent + longest)


def test_numbers_of_the_account_never_touch(folder):
    short = TINY.replace("s_end = 0.2", "s_end = 2.40123e-06")
    (folder / "tiny.toml").write_text(short)
    assert main(["run", "tiny.toml", "--no-plot", "--quiet"]) == SUCCESS
    with mfpde.open_run("tiny.h5") as run:
        text = account(run)
    assert "s = 0  s = 2.40123e-06" in text
    heads, loss = next(
        pair
        for pair in zip(text.splitlines(), text.splitlines()[1:], strict=False)
        if "s = 2.40123e-06" in pair[0] and "loss" in pair[1]
    )
    assert len(heads) == len(loss)


# Pictures and files that cannot be written


@pytest.mark.parametrize("name", ["a.docx", "a", "a.png.txt", "a.pgf", "no/a.png", "."])
def test_a_picture_that_cannot_be_written_is_refused_before_the_solve(
    folder, capsys, run_file, name
):
    assert main(["run", "tiny.toml", "--set", f"plot.file='{name}'"]) == WRONG_CALL
    error = capsys.readouterr().err
    assert "plot.file" in error or "--out" in error
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.toml"]
    assert main(["plot", str(run_file), "--out", name]) == WRONG_CALL
    assert "`--out`" in capsys.readouterr().err
    with pytest.raises((ValueError, OSError), match="`path`"):
        plotting.save(plotting.loss(two_records()).figure, name)


def two_records():
    return {"s": np.arange(2.0), "loss": np.ones(2)}


def test_a_picture_that_cannot_be_written_stops_no_run_without_pictures(folder):
    arguments = ["run", "tiny.toml", "--set", "plot.file=a.docx", "--no-plot"]
    assert main([*arguments, "--quiet"]) == SUCCESS
    resume = ["resume", "tiny.h5", "--until", "0.3", "--quiet"]
    assert main(resume) == WRONG_CALL
    assert main([*resume, "--no-plot"]) == SUCCESS


@pytest.mark.parametrize("ending", PICTURES)
def test_every_picture_that_is_offered_can_be_written(tmp_path, ending):
    figure = plotting.loss(two_records()).figure
    plotting.save(figure, tmp_path / f"a.{ending.upper()}")
    assert (tmp_path / f"a.{ending.upper()}").stat().st_size > 1000


def test_the_name_of_a_checkpoint_is_refused(folder, capsys):
    assert main(["run", "tiny.toml", "--out", "x.ckpt.h5"]) == WRONG_CALL
    assert ".ckpt.h5, the name of checkpoints" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.toml"]


@pytest.mark.parametrize(
    "until", ["nan", "inf", "-inf", "-1", "0", "text", "", "1e999"]
)
def test_resume_until_what_is_no_time(run_file, capsys, until):
    with pytest.raises(SystemExit) as end:
        main(["resume", str(run_file), "--until", until])
    assert end.value.code == WRONG_CALL
    assert "--until" in capsys.readouterr().err


# Paths


def test_the_home_of_the_user_in_every_path(folder, monkeypatch):
    home = folder / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (home / "tiny.toml").write_text(
        TINY + '[output]\nfile = "~/a.h5"\n[plot]\nfile = "~/b.png"\n'
    )
    assert main(["run", "~/tiny.toml", "--quiet"]) == SUCCESS
    assert (home / "b.png").exists()
    assert main(["info", "~/a.h5"]) == SUCCESS
    assert main(["plot", "~/a.h5", "--out", "~/c.pdf"]) == SUCCESS
    bare = ["--quiet", "--no-plot"]
    assert main(["resume", "~/a.h5", "--until", "0.3", *bare]) == SUCCESS
    assert main(["run", "tiny.toml", "--out", "~/d.h5", *bare]) == SUCCESS
    assert main(["recover", "~/d.h5"]) == SUCCESS
    with mfpde.open_run("~/a.h5") as run:
        problem = run.status, run.s[-1]
    assert problem == ("finished", 0.3)
    mfpde.analysis.export_npz("~/a.h5", "~/a.npz")
    assert {path.name for path in home.iterdir()} >= {"c.pdf", "d.h5", "a.npz"}
    assert not (folder / "~").exists()


def test_data_and_studies_in_the_home_of_the_user(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    with pytest.raises(FileNotFoundError, match=str(folder)):
        existing("~/none.csv")
    with pytest.raises(FileNotFoundError, match=str(folder)):
        mfpde.studies.open_study("~/none")


@pytest.mark.parametrize("wrong", [None, 5, b"a.h5", ["a.h5"]])
def test_what_is_no_path(wrong):
    with pytest.raises(TypeError, match="`path` must be a path"):
        user_path(wrong)
    with pytest.raises(TypeError, match="`path` must be a path"):
        mfpde.open_run(wrong)


def test_paths_with_nul_and_of_unknown_users():
    with pytest.raises(ValueError, match="NUL"):
        picture_path("a\0.png")
    assert user_path("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")
