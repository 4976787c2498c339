"""What `run` and `resume` do after the solver: picture, account, exit status."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from mfpde import plotting
from mfpde.account import account
from mfpde.commands import FAILED, SUCCESS
from mfpde.launch import launched
from mfpde.refinement import refinement_estimate
from mfpde.solution import Solution
from mfpde.storage import open_run


def finish(
    solution: Solution,
    *,
    picture: Path | None,
    dpi: float,
    is_quiet: bool,
    refinement: Mapping[str, bool] | None,
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
    refinement : dict of str to bool, or None
        For `refinement_estimate`: which estimates have a meaning. None for a network,
        which is no approximation of anything.
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
            plotting.save(plotting.summary(run, *limit), picture, dpi=dpi)
        if not is_quiet:
            estimate = None
            has_none = refinement is None or solution.error is not None
            if solution.status != "failed" and not has_none:
                estimate = refinement_estimate(*limit, **refinement)
            text = account(
                run,
                refinement=estimate,
                compile_s=compile_s,
                files=[picture] if picture is not None else [],
            )
            sys.stdout.write(text)
    if is_finished:
        return SUCCESS
    print(f"mfpde: {solution.message}", file=sys.stderr)
    if solution.status == "interrupted":
        print(f"mfpde: continue with: mfpde resume {solution.path}", file=sys.stderr)
    return FAILED
