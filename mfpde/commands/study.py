"""`mfpde study`: from a study to a folder of pieces, a table, verdicts and figures."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mfpde.commands import FAILED, SUCCESS
from mfpde.commands.decisions import Decisions, Found, overview, page_of
from mfpde.commands.files import check_files, named_files
from mfpde.errors import ConfigurationError, Interrupted
from mfpde.executors import Dask, Executor, Processes, Serial
from mfpde.executors.cluster import LOCAL
from mfpde.kernels.threads import n_threads
from mfpde.paths import Use
from mfpde.plotting import panels, save
from mfpde.progress import format_duration
from mfpde.report.page import write_page
from mfpde.report.summary import format_size
from mfpde.studies import load_study, resolved_text, verdict_table
from mfpde.studies.checks import read_share
from mfpde.studies.collection import (
    Collection,
    Part,
    deciders,
    parts_of,
    run_parts,
)
from mfpde.studies.engine import Outcome
from mfpde.studies.find import find_study, is_named
from mfpde.studies.store import ASSEMBLED, DESCRIPTION
from mfpde.studies.study import Study

DPI = 150
PAGE = "report.html"
SHOWN_FAILURES = 10


def main(arguments: argparse.Namespace) -> int:
    """Run a study and return the exit status."""
    study, config = load_study(
        arguments.study, arguments.overrides, is_quick=arguments.quick
    )
    if arguments.show:
        sys.stdout.write(resolved_text(study, config))
        return SUCCESS
    share = None if arguments.task is None else read_share(arguments.task)
    folder = Path(arguments.out or _name(arguments.study, study))
    parts = parts_of(study, config, folder)
    reads = list(named_files(config, Path()))
    if not is_named(arguments.study):
        reads.append(Use("the configuration", arguments.study))
    check_files([*reads, *_written(parts, folder)])
    command = shlex.join(["mfpde", *sys.argv[1:]])
    start = time.monotonic()
    outcomes = run_parts(
        parts,
        executor=_executor(arguments, study),
        share=share,
        compute=not arguments.assemble,
        progress=not arguments.quiet,
        command=command,
    )
    found, statuses = [], []
    try:
        for part, outcome in outcomes:
            files = _pictures(part, outcome, arguments)
            statuses.append(_tell(part, outcome, files, arguments))
            found.append(Found(part, outcome, files, not arguments.no_plot))
    except Interrupted:
        # An order to end, which what was found says: the last outcome is told.
        pass
    # Neither a missing scheduler nor a missing package is a failed computation.
    except (ConnectionError, ImportError) as error:
        raise ConfigurationError([str(error)]) from error
    if share is None:
        _conclude(study, found, folder, command, time.monotonic() - start, arguments)
    return max(statuses, default=SUCCESS)


def _name(source: str, study: Study | Collection) -> str:
    """The folder of a study: its name, or that of the file of its configuration."""
    return study.name if is_named(source) else Path(source).stem


def _written(parts: Sequence[Part], folder: Path) -> Iterator[Use]:
    """The files of a study whose names are always the same."""
    for part in parts:
        for name in (DESCRIPTION, ASSEMBLED):
            yield Use(f"{name} of the study", part.folder / name, is_written=True)
    yield Use("the page of the study", folder / PAGE, is_written=True)


def _pictures(
    part: Part, outcome: Outcome, arguments: argparse.Namespace
) -> list[Path]:
    if outcome.report is None or arguments.no_plot:
        return []
    return _draw(part.study.title, outcome, part.folder)


def _tell(
    part: Part, outcome: Outcome, files: list[Path], arguments: argparse.Namespace
) -> int:
    """Print what was found, and return the exit status."""
    if not arguments.quiet:
        written = [] if outcome.path is None else [outcome.path]
        text = _account(part.study.title, outcome, [*written, *files])
        sys.stdout.write(f"{text}\n" if part.of else text)
        sys.stdout.flush()
    for line in _failures(outcome, has_details=arguments.debug):
        print(f"mfpde: {line}", file=sys.stderr)
    if outcome.status in ("finished", "share"):
        return SUCCESS
    print(f"mfpde: {outcome.message}", file=sys.stderr)
    return FAILED


def _conclude(
    study: Study | Collection,
    found: Sequence[Found],
    folder: Path,
    command: str,
    wall_time_s: float,
    arguments: argparse.Namespace,
) -> None:
    """Write the page on all that was found, and print the claims."""
    decisions, title = Decisions(found), study.title
    if isinstance(study, Collection):
        whole = find_study(study.whole) if study.whole else study
        claims = {"known": whole.claims, "are_all": study is whole}
        decisions = Decisions(found, deciders(whole), **claims)
        title = f"{title}: {study.paper}" if study.paper else title
    path = folder / PAGE
    options = {"title": title, "command": command, "wall_time_s": wall_time_s}
    write_page(path, page_of(decisions, folder, **options))
    if not arguments.quiet:
        told = f"{title}\n{overview(decisions)}\n" if decisions.known else ""
        end = f"{path} ({format_size(path)}), {format_duration(wall_time_s)}"
        sys.stdout.write(f"{told}{end}\n")


def _executor(arguments: argparse.Namespace, study: Study | Collection) -> Executor:
    """Return who does the tasks; refuse options that would have no effect.

    The many short tasks of a collection go to a process for each thread by default.
    """
    given = [f"--{n}" for n in ("jobs", "memory") if getattr(arguments, n) is not None]
    if given and arguments.dask not in (None, LOCAL):
        raise ConfigurationError(
            [
                f"{' and '.join(given)} cannot be set for --dask {arguments.dask}: its "
                "workers are started elsewhere."
            ]
        )
    if given == ["--memory"] and arguments.dask is None:
        raise ConfigurationError(["--memory is for workers: add --jobs N."])
    memory = None if arguments.memory is None else int(1e9 * arguments.memory)
    options = {"threads": arguments.threads or 1, "memory": memory}
    if arguments.dask is not None:
        return Dask(arguments.dask, n_workers=arguments.jobs, **options)
    if arguments.jobs is not None:
        return Processes(arguments.jobs, **options)
    if isinstance(study, Collection) and n_threads() > 1:
        return Processes(n_threads() // (arguments.threads or 1) or 1, **options)
    return Serial()


def _draw(title: str, outcome: Outcome, folder: Path) -> list[Path]:
    """Draw every figure of the report; return the files."""
    files = []
    for name, page in outcome.report.figures.items():
        path = folder / f"{name}.png"
        save(panels.page(page, title=f"{title}: {name}"), path, dpi=DPI)
        files.append(path)
    return files


def _account(title: str, outcome: Outcome, files: Sequence[Path]) -> str:
    """Return the report as text: verdicts, notes, counts and files."""
    parts = []
    if outcome.report is not None:
        parts += [verdict_table(outcome.report.verdicts), *outcome.report.texts]
    counts = ", ".join(f"{n} {status}" for status, n in outcome.counts.items() if n)
    lines = [f"{title}: {outcome.message}", f"tasks        {counts}"]
    for index, path in enumerate(files):
        label = "files" if index == 0 else ""
        lines.append(f"{label:<13}{os.fspath(path)} ({format_size(path)})")
    parts.append("\n".join(lines))
    return "\n".join(f"{part.strip()}\n" for part in parts if part.strip())


def _failures(outcome: Outcome, *, has_details: bool) -> list[str]:
    """Return a line for each of the first failures, with --debug the tracebacks."""
    lines = []
    for name, piece in list(outcome.failures.items())[:SHOWN_FAILURES]:
        lines.append(f"failed: {name}: {piece.message}")
        if has_details:
            lines += piece.details.splitlines()
    n_more = len(outcome.failures) - SHOWN_FAILURES
    if n_more > 0:
        lines.append(f"failed: {n_more} more.")
    return lines
