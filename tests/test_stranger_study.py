"""A study of a user's own, by its module: see the folder `stranger`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mfpde.cli import main

FOLDER = Path(__file__).with_name("stranger")


@pytest.fixture(autouse=True)
def outside(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    monkeypatch.setenv("MFPDE_IMPORT", "")
    monkeypatch.chdir(tmp_path)


def process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_study_by_its_module_is_killed_and_goes_on(tmp_path, capsys):
    call = ["study", "stranger_study:FinalLoss", "--out", "out"]
    dying = (
        "import os, signal, sys, stranger_study\n"
        "measure = stranger_study.FinalLoss.measure\n"
        "def die(self, task, config, references):\n"
        "    if task.coordinates['depth'] == 4:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return measure(self, task, config, references)\n"
        "stranger_study.FinalLoss.measure = die\n"
        "from mfpde.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    done = process(dying, *call)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert main(call) == 0
    text = capsys.readouterr().out
    assert "the loss is finite" in text
    assert main([*call[:3], "other", "--set", "depths=[0]"]) == 2
    assert "`depths` must be at least 1, got [0]" in capsys.readouterr().err
