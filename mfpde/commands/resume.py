"""`mfpde resume`: continue a run from its checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mfpde.commands.ending import ended, estimated, finish, refuse_estimate
from mfpde.commands.files import check_files
from mfpde.describe import is_described
from mfpde.engine.mpi import all_or_none, world
from mfpde.errors import ConfigurationError
from mfpde.run.solution import quietly
from mfpde.run.solver import resume
from mfpde.storage import open_run

DPI = 150


def main(arguments: argparse.Namespace) -> int:
    """Continue a run and return the exit status."""
    with all_or_none(world()) as communicator:
        return _resume(arguments, communicator)


def _resume(arguments: argparse.Namespace, communicator: Any) -> int:
    refuse_estimate(arguments.estimate, communicator)
    with open_run(arguments.file) as run:
        observers, config = run.description["observers"], run.config
        own = [name for name in observers if not is_described(observers[name])]
    if own:
        raise ConfigurationError(
            [
                f"The run in {arguments.file} has observers of its own, "
                f"{', '.join(sorted(own))}. Continue it with mfpde.resume(path, "
                "observers=...) in Python."
            ]
        )
    named = config.get("plot", {}).get("file")
    picture = named or Path(arguments.file).with_suffix(".png")
    picture = check_files(
        [],
        run=Path(arguments.file),
        picture=None if arguments.no_plot else picture,
        is_default=not named,
    )
    try:
        solution = ended(
            lambda: quietly(resume)(
                arguments.file,
                s_end=arguments.until,
                n_iterations=arguments.iterations,
                progress=not arguments.quiet,
                communicator=communicator,
            )
        )
    except ValueError as error:
        # What does not fit is what the user asked for: a finished run, a past s.
        text = str(error).replace("`s_end`", "--until")
        text = text.replace("`n_iterations`", "--iterations")
        raise ConfigurationError([text]) from error
    if arguments.estimate:
        estimated(solution, is_quiet=arguments.quiet)
    return finish(
        solution,
        picture=picture,
        dpi=config.get("plot", {}).get("dpi", DPI),
        is_quiet=arguments.quiet,
    )
