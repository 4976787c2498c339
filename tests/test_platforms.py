"""Other systems: names that macOS or Windows lack are hidden, and everything else runs.

Each script runs in a process of its own, in which sitecustomize hides the names; so
do the workers that it starts.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from command_cases import TINY

import mfpde
from mfpde.cli import main
from mfpde.executors import memory
from mfpde.kernels import threads

# As on macOS: no affinity, no /proc, a bound on memory that the system refuses.
MACOS = """
import builtins, io, os, sys
del os.sched_getaffinity, os.sched_setaffinity, os.preadv
for module in (builtins, io):
    def refuse(file, *rest, _open=module.open, **more):
        if str(file).startswith(("/proc/", "/sys/")):
            raise FileNotFoundError(2, "No such file or directory", file)
        return _open(file, *rest, **more)
    module.open = refuse
import resource
def setrlimit(*_):
    raise ValueError("current limit exceeds maximum limit")
resource.setrlimit = setrlimit
"""
# As on Windows, as far as reading is concerned. What the other packages import is
# loaded before; they know Windows themselves.
WINDOWS = """
import os, signal, sys
import h5py, matplotlib.figure, multiprocessing.connection, multiprocessing.util
import numba, numpy, scipy.optimize, scipy.special, shutil, subprocess, tempfile
import multiprocessing.resource_tracker, socket, uuid, xarray, platform
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("sched_getaffinity", "getuid", "geteuid", "getgid", "getegid", "pread",
             "preadv", "pwrite", "fork", "sysconf", "uname", "statvfs", "fchmod"):
    delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "pthread_sigmask",
             "setitimer", "SIG_BLOCK", "SIG_SETMASK"):
    delattr(signal, name)
def kill(*_):
    raise AssertionError("os.kill would press Ctrl-C")
os.kill = kill
os.O_BINARY = 0
sys.platform = "win32"
"""

STUDY = """
study = "exact-cases"
"""

READING = """
import importlib, pkgutil
import numpy as np
import mfpde
from mfpde.cli import main
for each in pkgutil.walk_packages(mfpde.__path__, "mfpde."):
    if not each.name.startswith("mfpde._"):
        importlib.import_module(each.name)
with mfpde.open_run("tiny.h5") as run:
    print(run.status, run.loss.shape, run.theta[-1].shape, run.data["x"].shape)
    print(float(np.sum(run.theta[-1])))
assert main(["info", "tiny.h5"]) == 0
assert main(["info"]) == 0
assert main(["plot", "tiny.h5"]) == 0
"""


def system(text, folder):
    """Environment in which Python is on another system."""
    place = folder / "system"
    place.mkdir()
    (place / "sitecustomize.py").write_text(text)
    return os.environ | {"PYTHONPATH": str(place), "MPLBACKEND": "agg"}


def call(environment, folder, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


def test_runs_resumes_and_plots_on_macos(folder):
    environment = system(MACOS, folder)
    code = (
        "from mfpde.cli import main\n"
        "assert main(['run', 'tiny.toml']) == 0\n"
        "assert main(['resume', 'tiny.h5', '--until', '0.3']) == 0\n"
        "assert main(['info']) == 0\n"
        "assert main(['recover', 'tiny.h5']) == 0\n"
    )
    out = call(environment, folder, "-c", code)
    assert f"cores        {os.cpu_count()}" in out
    assert mfpde.open_run(folder / "tiny.h5").s[-1] == 0.3


def test_workers_serve_on_macos(folder):
    code = (
        "import math\n"
        "from mfpde.executors import Processes\n"
        "from mfpde.executors.base import Call\n"
        "def root(x, shared):\n"
        "    return math.sqrt(x)\n"
        "if __name__ == '__main__':\n"
        "    with Processes(2) as workers:\n"
        "        calls = [Call('a', 4.0), Call('b', 9.0)]\n"
        "        print(sorted(r for _, r in workers.run(root, calls, {})))\n"
    )
    (folder / "work.py").write_text(code)
    assert call(system(MACOS, folder), folder, "work.py") == "[2.0, 3.0]\n"


def test_reads_on_windows(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["run", "tiny.toml", "--no-plot", "--quiet"]) == 0
    with mfpde.open_run("tiny.h5") as run:
        shapes = run.status, run.loss.shape, run.theta[-1].shape, run.data["x"].shape
        total = float(np.sum(run.theta[-1]))
    out = call(system(WINDOWS, folder), folder, "-c", READING)
    assert out.splitlines()[:2] == [" ".join(map(str, shapes)), str(total)]
    assert "Wrote tiny.png." in out
    assert (folder / "tiny.png").stat().st_size > 10_000


def test_python_m_mfpde(folder):
    out = call(dict(os.environ), folder, "-m", "mfpde", "--version")
    assert out == f"mfpde {mfpde.__version__}\n"


def test_cores_and_memory_of_a_system_that_does_not_say(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert threads.n_cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.n_cores() == 1
    monkeypatch.delattr(os, "sysconf")
    assert memory.machine_memory() >= 1 << 20
    monkeypatch.setattr(memory, "resource", None)
    memory.bound_memory(1000)
    assert memory.memory_bound() is None
