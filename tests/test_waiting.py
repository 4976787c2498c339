"""What is said while something takes long, and on what line of the terminal."""

import io
import re
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import numba
import pytest

from mfpde import progress, waiting
from mfpde.commands import run as run_command
from mfpde.progress import Line, LineReporter, terminal_width
from mfpde.run import loop as draining
from mfpde.studies.progress import TaskReporter

TEXT = """
def loop(x):
    for i in range(10):
        x = x * x + i
    return x
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def screen(text, width=80):
    """The lines that a terminal shows after `text` (no line of it may be wider)."""
    lines = []
    for written in text.split("\n"):
        cells = []
        for part in written.split("\r"):
            assert len(part) <= width
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def compile_something(name="mfpde_perceptron_tanh_d2_0123456789abcdef0123"):
    """Compile a function of a module named as those of generated kernels."""
    module = sys.modules[name] = ModuleType(name)
    try:
        exec(TEXT, module.__dict__)
        numba.njit(module.loop).compile("f8(f8)")
    finally:
        del sys.modules[name]


def test_what_is_compiled_is_named_with_the_time_that_has_passed(monkeypatch):
    compile_something()  # loads the compiler
    monkeypatch.setattr(waiting, "ON_TERMINAL_S", 0.002)
    stream = Terminal()
    with waiting.waiting("preparing kernels", stream):
        time.sleep(0.05)
        compile_something()
    lines = stream.getvalue().split("\r")
    assert lines[0] == "mfpde: preparing kernels, 0 s"
    assert any("s, compiling perceptron_tanh_d2, loop" in line for line in lines)


def test_no_kernel_is_named_when_all_are_compiled():
    with waiting.compiled_kernel() as kernel:
        compile_something()
        assert kernel.name == ""


def test_without_a_terminal_the_pauses_grow_and_what_is_short_says_nothing():
    stream = io.StringIO()
    with waiting.waiting("preparing", stream, every_s=0.01):
        time.sleep(0.5)
    # 0.01 s, then half as long as what has passed: some 10 lines, not 50.
    assert 3 < len(stream.getvalue().splitlines()) < 20
    stream = io.StringIO()
    with waiting.waiting("preparing", stream):
        pass
    assert stream.getvalue() == ""
    assert "mfpde_ticking" not in {each.name for each in threading.enumerate()}


def test_on_a_terminal_the_line_is_taken_away_also_after_an_error(monkeypatch):
    monkeypatch.setattr(waiting, "ON_TERMINAL_S", 0.01)
    stream = Terminal()

    @waiting.waiting("preparing kernels", stream)
    def fail():
        time.sleep(0.1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "mfpde: preparing kernels, 0 s" in stream.getvalue()
    assert screen(stream.getvalue()) == [""]


@pytest.mark.parametrize("columns", [1, 20, 80])
def test_lines_keep_to_the_width_of_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    line = Line(stream)
    for text in ("a" * 100, "s = 0 of 100", "s = 2.4e-06 of 100, loss 0.1234"):
        line.write(text)
    width = max(columns - 1, 1)
    (shown,) = screen(stream.getvalue(), max(columns, 1))
    assert shown == "s = 2.4e-06 of 100, loss 0.1234"[:width]
    line.note("done")
    assert screen(stream.getvalue(), max(columns, 4))[-2:] == ["done", ""]


def test_the_width_of_a_terminal_that_does_not_say(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(
        "os.get_terminal_size", lambda *_: SimpleNamespace(columns=0, lines=0)
    )
    with open("/dev/null", "w") as stream:
        assert terminal_width(stream) >= 20
    assert terminal_width(None) >= 20
    assert terminal_width(io.StringIO()) >= 20


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _):
        raise BrokenPipeError


def test_a_stream_without_a_reader_ends_no_run():
    report = LineReporter(Broken(), every_s=0.0)
    for step in range(3):
        report(step, 2.0, 0.5, step, 0.5)
    report.close()
    with waiting.waiting("preparing", Broken(), every_s=0.01):
        time.sleep(0.05)


def test_without_standard_error_nothing_is_written(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    report = progress.make_progress(every_s=0.0)
    report(1.0, 2.0, 0.5, 1, 0.5)
    report.close()


def test_the_first_evaluation_of_a_run_in_python_is_not_silent(monkeypatch):
    monkeypatch.setattr(waiting, "ON_TERMINAL_S", 0.01)
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with draining._waiting(True):
        time.sleep(0.1)
    assert "preparing kernels, 0 s" in stream.getvalue()
    before = stream.getvalue()
    for quiet in (False, lambda *_: None):
        with draining._waiting(quiet):
            time.sleep(0.05)
    assert stream.getvalue() == before


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_the_first_evaluation_of_a_command_is_not_silent(
    tmp_path, monkeypatch, capsys, quiet
):
    evaluate = run_command.evaluate

    def slow(*arguments):
        time.sleep(0.1)
        return evaluate(*arguments)

    monkeypatch.setattr(run_command, "evaluate", slow)
    monkeypatch.setattr(waiting, "ON_TERMINAL_S", 0.01)
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text(
        '[data]\nsource = "moons"\nn_samples = 8\n[grid]\nscheme = "euler"\nn = 2\n'
        "[ensemble]\nn_particles = 4\n[flow]\ns_end = 0.1\n"
    )
    from mfpde.cli import main

    assert main(["run", "a.toml", "--no-plot", *quiet]) == 0
    assert ("preparing kernels, 0 s" in stream.getvalue()) == (not quiet)


def test_a_study_says_how_long_its_first_tasks_have_taken():
    now = [0.0]
    stream = io.StringIO()
    reporter = TaskReporter(stream, every_s=0.01, clock=lambda: now[0])
    reporter.begin("q: 4 tasks", 4, 100.0, 2)
    now[0] = 65.0
    compile_something()
    time.sleep(0.1)
    reporter.close()
    heading, *lines = stream.getvalue().splitlines()
    assert heading == "mfpde: q: 4 tasks"
    assert re.fullmatch(r"0 of 4 tasks, 1 min 05 s(, compiling .*, loop)?", lines[0])
    written = stream.getvalue()
    time.sleep(0.05)
    assert stream.getvalue() == written
