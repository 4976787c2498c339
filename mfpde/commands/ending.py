"""What `run` and `resume` do after the solver: picture, account, exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mfpde.commands import FAILED, SUCCESS
from mfpde.commands.pictures import write_picture
from mfpde.environment import launched
from mfpde.errors import ConfigurationError, Interrupted
from mfpde.limit import estimate_error
from mfpde.progress import terminal_width
from mfpde.report.summary import account
from mfpde.run.solution import Solution
from mfpde.storage import open_run
from mfpde.waiting import waiting


def ended(start: Callable[[], Solution]) -> Solution:
    """What a run came to: a signal ends it in order, and the account follows."""
    try:
        return start()
    except Interrupted as ending:
        if ending.solution is None:
            raise
        return ending.solution


def estimated(solution: Solution, *, is_quiet: bool) -> None:
    """Estimate the errors of a finished run and write them to its file."""
    if solution.status != "finished":
        return
    with nullcontext() if is_quiet else waiting("estimating errors"):
        try:
            estimate_error(solution)
        except KeyboardInterrupt:
            text = "Interrupted while errors were estimated; the run is finished."
            print(f"mfpde: {text}", file=sys.stderr)


def refuse_estimate(is_wanted: bool, communicator: Any) -> None:
    """Raise ConfigurationError if errors are to be estimated by several ranks."""
    if is_wanted and communicator is not None and communicator.Get_size() > 1:
        raise ConfigurationError(
            [
                "`--estimate` cannot be given with several ranks: the solves that it "
                "compares with are those of one process."
            ]
        )


def finish(
    solution: Solution,
    *,
    picture: Path | None,
    dpi: float,
    is_quiet: bool,
    compile_s: float | None = None,
) -> int:
    """Draw the picture, print the account, and return the exit status.

    Parameters
    ----------
    solution : Solution
        With a file.
    picture : Path or None
        Where the picture goes.
    dpi : float
        Dots per inch of the picture.
    is_quiet : bool
        Print no account.
    compile_s : float, optional
        Seconds of the first evaluation.
    """
    is_finished = solution.status == "finished"
    if launched()[0] > 0:
        # All ranks have the solution; rank 0 tells.
        return SUCCESS if is_finished else FAILED
    limit = solution.problem, solution.grid, solution.ensemble
    with open_run(solution.path) as run:
        if picture is not None:
            with nullcontext() if is_quiet else waiting("drawing the picture"):
                write_picture(run, limit, picture, dpi)
        if not is_quiet:
            text = account(
                run,
                compile_s=compile_s,
                files=[picture] if picture is not None else [],
                width=terminal_width(sys.stdout),
            )
            sys.stdout.write(text)
    if is_finished:
        return SUCCESS
    print(f"mfpde: {solution.message}", file=sys.stderr)
    if solution.status == "interrupted":
        print(f"mfpde: continue with: mfpde resume {solution.path}", file=sys.stderr)
    return FAILED
