"""Studies from outside: by a module, by the registry, and the papers as a guest."""

import ast
import subprocess
import sys
from pathlib import Path

import mfpde
from mfpde import describe
from mfpde.cli import main
from mfpde.papers.plugins import STUDIES
from mfpde.studies import open_study
from mfpde.studies.find import find_study

PACKAGE = Path(mfpde.__file__).parent
STUDY = """
import numpy as np
from mfpde.studies import Report, Task, Variable, Verdict

class Squares:
    name = "squares"
    title = "Squares"
    defaults = {"sizes": [1, 2, 3], "scale": 1.0}
    def problems(self, config):
        bad = [n for n in config["sizes"] if n < 1]
        return [f"`sizes` must be at least 1, got {bad}."] if bad else []
    def axes(self, config):
        return {"size": config["sizes"]}
    def variables(self, config):
        return {"square": Variable(("size",), "square")}
    def references(self, config):
        return {}
    def tasks(self, config):
        return [Task({"size": n}) for n in config["sizes"]]
    def measure(self, task, config, references):
        return {"square": config["scale"] * task.coordinates["size"] ** 2}
    def analyse(self, table, config):
        value = float(np.sum(table["square"]))
        return Report([Verdict("sum", 14.0, value, None, "confirmed", "none")])
"""


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "mfpde", "study", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=None,
        timeout=120,
    )


def test_a_study_of_a_module_in_the_current_folder(tmp_path):
    (tmp_path / "own_squares.py").write_text(STUDY)
    done = run(tmp_path, "own_squares:Squares", "--jobs", "2", "--set", "scale=2")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 tasks done" in done.stdout
    table = open_study(tmp_path / "squares").table
    assert table["square"].tolist() == [2.0, 8.0, 18.0]
    for share in ("1/2", "2/2"):
        done = run(tmp_path, "own_squares:Squares", "--out", "parts", "--task", share)
        assert done.returncode == 0, done.stderr
    done = run(tmp_path, "own_squares.py:Squares", "--out", "parts", "--assemble")
    assert "3 of 3 tasks done" in done.stdout


def test_what_is_wrong_with_a_module_is_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFPDE_IMPORT", "")
    Path("lone_squares.py").write_text(STUDY + "\nclass Empty:\n    pass\n")
    Path("broken_squares.py").write_text("1 / 0\n")
    cases = {
        "lone_squares:Square": "has no 'Square'. Did you mean 'Squares'?",
        "lone_squares:Empty": "must be a study, got ",
        "absent_squares:Squares": "there is no such module",
        "broken_squares:Squares": "raised ZeroDivisionError",
        "squarez": "There is no study 'squarez'",
    }
    for source, sentence in cases.items():
        assert main(["study", source]) == 2, source
        assert sentence in capsys.readouterr().err
    assert main(["study", "lone_squares:Squares", "--set", "sizes=[0]"]) == 2
    assert "`sizes` must be at least 1, got [0]." in capsys.readouterr().err
    assert not Path("squares").exists()


def test_the_papers_are_found_as_a_guest_and_nothing_else_imports_them():
    assert set(STUDIES) <= set(describe.names("study"))
    for name in ("exact", "all"):
        assert find_study(name).name == name
    for path in (PACKAGE / "studies").glob("*.py"):
        names = [
            node.module or ""
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
        ]
        assert not [n for n in names if n.startswith("mfpde.papers")], path
    code = (
        "import sys, mfpde.describe as d; d.names('study');"
        "print('mfpde.papers.plugins' in sys.modules, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True False\n", done.stderr


def test_no_command_imports_the_papers_and_a_study_of_ones_own_has_a_page(tmp_path):
    for path in [
        *(PACKAGE / "commands").glob("*.py"),
        *(PACKAGE / "report").glob("*.py"),
    ]:
        assert "mfpde.papers" not in path.read_text(encoding="utf-8"), path
    (tmp_path / "paged_squares.py").write_text(STUDY)
    done = run(tmp_path, "paged_squares:Squares")
    assert done.returncode == 0, done.stderr
    assert "squares/report.html (" in done.stdout
    text = (tmp_path / "squares" / "report.html").read_text(encoding="utf-8")
    assert "Squares" in text
    assert "confirmed" in text
