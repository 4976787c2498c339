"""`mfpde info`: describe a file, or the installation."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys

from mfpde import __version__
from mfpde.commands import SUCCESS
from mfpde.kernels.folders import cache_folder
from mfpde.kernels.threads import n_cores, n_threads
from mfpde.progress import terminal_width
from mfpde.report.summary import account
from mfpde.storage import open_run
from mfpde.streams import one_line

PACKAGES = (
    *("numpy", "scipy", "numba", "h5py", "matplotlib"),
    *("xarray", "tqdm", "mpi4py"),
)


def main(arguments: argparse.Namespace) -> int:
    """Print the account of a file, or versions, cores and threads."""
    if arguments.file is None:
        sys.stdout.write(_installation())
        return SUCCESS
    with open_run(arguments.file) as run:
        attributes = run.attrs
        sys.stdout.write(account(run, width=terminal_width(sys.stdout)))
        for name in ("created", "source", "command", "run_id"):
            if attributes.get(name):
                print(f"{name:<13}{one_line(attributes[name])}")
    return SUCCESS


def _installation() -> str:
    lines = {"mfpde": __version__, "python": platform.python_version()}
    # The distributions' metadata tell the versions; importing numba takes longer
    # than all the rest.
    lines |= {name: _version(name) for name in PACKAGES}
    lines["cores"] = str(n_cores())
    lines["threads"] = str(n_threads())
    lines["kernels in"] = str(cache_folder() or "no folder: they are not kept")
    return "".join(f"{name:<13}{text}\n" for name, text in lines.items())


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
