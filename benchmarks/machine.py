"""What the benchmarks share: the header, interleaved timing, the measured bound."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit

from mfpde import __version__
from mfpde.kernels import build
from mfpde.kernels.memory import empty_aligned
from mfpde.kernels.threads import n_threads


def header(**sizes: object) -> str:
    """CPU, threads, versions, revision and sizes, as lines of text."""
    import numba

    lines = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": n_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "mfpde": f"{__version__}, revision {_revision()}",
        **sizes,
    }
    return "\n".join(f"# {name:<10} {value}" for name, value in lines.items())


def interleaved(
    variants: dict[str, Callable[[], object]], repeats: int
) -> dict[str, np.ndarray]:
    """Seconds of every call, (repeats,) for each variant, in turn.

    Each variant is called twice in a row and the second call is timed, as in a training
    loop: threads and caches are then its own, not those of the variant before.
    """
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, call in variants.items():
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in times.items()}


def activation_seconds(dtype: str = "float64", n: int = 1024) -> Callable[[], float]:
    """A function that measures seconds per tanh on a cache-resident array."""
    tanh = importlib.import_module(f"mfpde.kernels.{build.MATHEMATICS[dtype]}").tanh

    @njit(fastmath={"contract"}, error_model="numpy")
    def activate(values, out, repeats):
        for _ in range(repeats):
            for i in range(values.shape[0]):
                out[i] = tanh(values[i])

    values, out = empty_aligned((n,), dtype), empty_aligned((n,), dtype)
    values[:] = np.random.default_rng(0).normal(size=n)
    repeats = 200
    activate(values, out, 1)

    def measure() -> float:
        start = time.perf_counter()
        activate(values, out, repeats)
        return (time.perf_counter() - start) / (n * repeats)

    return measure


def flop_seconds(dtype: str = "float64", n: int = 512) -> Callable[[], float]:
    """A function that measures seconds per flop of a matrix product, one thread.

    The script that calls it must set OPENBLAS_NUM_THREADS=1 before NumPy is imported.
    """
    a = np.random.default_rng(0).normal(size=(n, n)).astype(dtype)
    out = np.empty_like(a)
    np.matmul(a, a, out=out)

    def measure() -> float:
        start = time.perf_counter()
        np.matmul(a, a, out=out)
        return (time.perf_counter() - start) / (2 * n**3)

    return measure


def write(text: str, output: str | None) -> None:
    """Print, and write to a file if one is named."""
    print(text)
    if output:
        Path(output).write_text(text + "\n", encoding="utf-8")


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _revision() -> str:
    call = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(
        call, capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return done.stdout.strip() or "unknown"
