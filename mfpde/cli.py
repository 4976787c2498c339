"""The command `mfpde`: arguments, exit statuses and error sentences.

Exit status: 0 success, 2 wrong call or configuration, 1 failed computation, and that
of the signal that interrupted one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from mfpde import __version__
from mfpde.commands import FAILED, SUCCESS, WRONG_CALL
from mfpde.environment import launched
from mfpde.errors import (
    ConfigurationError,
    ConvergenceError,
    NotFiniteError,
    StorageFormatError,
    sentence,
)
from mfpde.plugins import import_modules
from mfpde.signals import as_interrupt
from mfpde.streams import drop_output, one_line, prepare_streams, say

# What the user asked for cannot be done as asked. ConvergenceError and
# NotFiniteError are computations that failed; every other OSError (a full disk)
# is a failure of the machine.
_WRONG_CALLS = (
    ConfigurationError,
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    StorageFormatError,
    # An optional package that the configuration asks for.
    ImportError,
)
_FAILURES = (ConvergenceError, NotFiniteError, MemoryError, OSError)
# Commands of which the processes that mpiexec started do each a part.
_SHARED = ("run", "resume")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name. Default: those of the process.

    Returns
    -------
    status : int
        0 success, 1 failed computation, 2 wrong call or configuration. A wrong
        call that argparse notices raises SystemExit(2). After SIGINT, SIGTERM or
        SIGHUP the process itself ends by that signal, once all is closed.
    """
    has_output = prepare_streams()
    rank, size = launched()
    if rank == 0:
        caught: list[int] = []
        status = _run(argv, size, caught, has_output=has_output)
        if caught and argv is None and size == 1:
            _end_by(caught[0])
        return status
    # All ranks do the same, and rank 0 tells of it.
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        return _run(argv, size, [], is_first=False)


def _run(
    argv: Sequence[str] | None,
    n_ranks: int,
    caught: list[int],
    *,
    is_first: bool = True,
    has_output: bool = True,
) -> int:
    """Run one command on this rank; `caught` takes the signals that came."""
    arguments = make_parser().parse_args(argv)
    if not has_output and not getattr(arguments, "quiet", False):
        text = "Standard output is closed. Lead it to a file or to /dev/null."
        return _report(arguments, text, WRONG_CALL)
    if not is_first and arguments.command not in _SHARED:
        return SUCCESS
    if n_ranks > 1:
        # Before NumPy is imported: its threads would fight for the cores of the ranks.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if arguments.threads is not None:
        os.environ["MFPDE_NUM_THREADS"] = str(arguments.threads)
    if "matplotlib" not in sys.modules:
        # Pictures are files here: no backend is needed, be it there or not.
        os.environ["MPLBACKEND"] = "agg"
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _status(arguments, caught)


def _status(arguments: argparse.Namespace, caught: list[int]) -> int:
    """Run the command and turn its errors into sentences and an exit status."""
    try:
        # Commands are imported when they are called: numba and matplotlib take
        # longer to import than `mfpde --help` and `mfpde info` take in all.
        import_modules(arguments.imports)
        command = importlib.import_module(f"mfpde.commands.{arguments.command}")
        # A signal to end ends every command as Ctrl-C does: in order.
        with as_interrupt(caught):
            status = command.main(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        drop_output()
        text = "Standard output was closed before all was written to it."
        return _report(arguments, text, WRONG_CALL)
    except KeyboardInterrupt:
        return _report(arguments, "Interrupted.", FAILED)
    except _WRONG_CALLS as error:
        return _report(arguments, sentence(error), WRONG_CALL)
    except _FAILURES as error:
        _end_output()
        return _report(arguments, sentence(error), FAILED)
    except Exception as error:
        text = f"Internal error, {type(error).__name__}: {error}."
        hint = "" if arguments.debug else " Run again with --debug for the traceback."
        return _report(arguments, text + hint, FAILED)


def _end_by(number: int) -> None:
    """End this process by a signal, so that a loop of the shell ends with it."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="mfpde",
        description="The mean-field limit of deep residual networks: from a TOML "
        "file to an HDF5 trajectory, a printed account and a picture.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mfpde {__version__}")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    common.add_argument(
        "--import",
        metavar="MODULE",
        action="append",
        default=[],
        dest="imports",
        help="a module, or Python file, that registers things of your own; it is "
        "looked for in the current folder, too; repeatable",
    )
    common.set_defaults(threads=None)
    solving = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    solving.add_argument("--quiet", action="store_true", help="no progress, no account")
    solving.add_argument("--no-plot", action="store_true", help="draw no picture")
    solving.add_argument(
        "--threads", type=_positive_int, metavar="N", help="threads of the kernels"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_solving_commands(commands, [common, solving])
    _add_study_command(commands, [common, solving])
    _add_file_commands(commands, [common])
    return parser


def _add_solving_commands(commands: Any, parents: list[Any]) -> None:
    """Add `run` and `resume`."""
    run = commands.add_parser(
        "run", parents=parents, help="solve what a TOML file describes"
    )
    run.add_argument("config", type=_path, metavar="CONFIG.toml|NAME")
    run.add_argument("--out", type=_path, metavar="FILE", help="the HDF5 file to write")
    _add_overrides(run)
    _add_estimate(run)
    run.add_argument(
        "--overwrite", action="store_true", help="replace an existing output file"
    )
    resume = commands.add_parser(
        "resume", parents=parents, help="continue an interrupted run"
    )
    resume.add_argument("file", type=_path, metavar="FILE")
    _add_estimate(resume)
    resume.add_argument(
        "--until", type=_positive_float, metavar="S", help="new end of training time s"
    )
    resume.add_argument(
        "--iterations",
        type=_positive_int,
        metavar="N",
        help="new number of iterations of a network, those made included",
    )


def _add_estimate(command: Any) -> None:
    """Add `--estimate`."""
    command.add_argument(
        "--estimate",
        action="store_true",
        help="estimate errors at the end by solving again, coarser and finer",
    )


def _add_overrides(command: Any) -> None:
    """Add `--set`."""
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="set a key of the configuration, e.g. flow.s_end=5, or remove it with "
        "KEY= alone; repeatable",
    )


def _add_study_command(commands: Any, parents: list[Any]) -> None:
    """Add `study`."""
    study = commands.add_parser(
        "study", parents=parents, help="run a study: many tasks, one table, verdicts"
    )
    study.add_argument("study", type=_path, metavar="NAME|CONFIG.toml|module:Study")
    study.add_argument(
        "--out",
        type=_path,
        metavar="DIR",
        help="the folder; what is there is not done again",
    )
    _add_overrides(study)
    study.add_argument(
        "--show", action="store_true", help="print the configuration and stop"
    )
    size = study.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help="fewer and smaller tasks of a named study"
    )
    size.add_argument(
        "--full", action="store_true", help="all of them, which is the default"
    )
    where = study.add_mutually_exclusive_group()
    where.add_argument(
        "--task", metavar="I/N", help="do only share I of N of the tasks, from 1"
    )
    where.add_argument(
        "--assemble", action="store_true", help="put together what is there"
    )
    study.add_argument(
        "--jobs", type=_positive_int, metavar="N", help="processes of this machine"
    )
    study.add_argument(
        "--dask", metavar="ADDRESS", help="a Dask scheduler, its file, or local"
    )
    study.add_argument(
        "--memory",
        type=_positive_float,
        metavar="GB",
        help="memory of each worker; default: a share of the machine's",
    )


def _add_file_commands(commands: Any, parents: list[Any]) -> None:
    """Add `info`, `plot`, `recover` and `init`."""
    info = commands.add_parser(
        "info", parents=parents, help="describe a file, or the installation"
    )
    info.add_argument("file", type=_path, metavar="FILE", nargs="?")
    plot = commands.add_parser("plot", parents=parents, help="draw a file's picture")
    plot.add_argument("file", type=_path, metavar="FILE")
    plot.add_argument(
        "--out",
        type=_path,
        metavar="FILE",
        help="the picture to write, or a page (.html)",
    )
    recover = commands.add_parser(
        "recover", parents=parents, help="repair the file of a killed run"
    )
    recover.add_argument("file", type=_path, metavar="FILE")
    init = commands.add_parser(
        "init", parents=parents, help="print a commented configuration"
    )
    init.add_argument(
        "--schema", action="store_true", help="print its JSON schema, for editors"
    )


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path, got {text!r}")
    return os.path.expanduser(text)


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text}")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def _report(arguments: argparse.Namespace, text: str, status: int) -> int:
    """Print each line of `text` as an error and return `status`."""
    if arguments.debug:
        say(traceback.format_exc())
    for line in text.splitlines():
        say(f"mfpde: {one_line(line)}")
    return status


def _show_warning(message: Any, category: type[Warning], *place: Any) -> None:
    """Print a warning that is meant for the user as a sentence, any other in full."""
    text = one_line(str(message))
    if not issubclass(category, UserWarning):
        text = warnings.formatwarning(message, category, *place[:2]).rstrip()
    say(f"mfpde: warning: {text}")


def _end_output() -> None:
    """Give up what a full disk did not take: flushing it at exit would fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_output()
