"""`mfpde plot`: draw the picture of a run's file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mfpde.commands import SUCCESS
from mfpde.commands.files import check_files
from mfpde.commands.pictures import write_picture
from mfpde.paths import Use
from mfpde.run.rebuilding import limit_of
from mfpde.storage import checkpoint_path, open_run
from mfpde.waiting import waiting

DPI = 150


def main(arguments: argparse.Namespace) -> int:
    """Draw the picture and say where it is."""
    checkpoint = Use("the checkpoint of the run", checkpoint_path(arguments.file))
    picture = check_files(
        [Use("the run", arguments.file), checkpoint],
        picture=arguments.out or Path(arguments.file).with_suffix(".png"),
        name="--out",
        is_default=arguments.out is None,
    )
    with open_run(arguments.file) as run:
        try:
            limit = limit_of(run)
        except ValueError as error:
            # The histories can still be drawn.
            print(f"mfpde: without the states: {error}", file=sys.stderr)
            limit = ()
        dpi = run.config.get("plot", {}).get("dpi", DPI)
        with waiting("drawing the picture"):
            write_picture(run, limit, picture, dpi)
    print(f"Wrote {picture}.")
    return SUCCESS
