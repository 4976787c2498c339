"""`mfpde plot`: draw the picture of a run's file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mfpde import plotting
from mfpde.commands import SUCCESS
from mfpde.config.assembly import reported_as_configuration
from mfpde.limits import limit_of
from mfpde.paths import picture_path
from mfpde.storage import open_run

DPI = 150


def main(arguments: argparse.Namespace) -> int:
    """Draw the picture and say where it is."""
    with reported_as_configuration():
        picture = picture_path(
            arguments.out or Path(arguments.file).with_suffix(".png"), "--out"
        )
    with open_run(arguments.file) as run:
        try:
            limit = limit_of(run)
        except ValueError as error:
            # The histories can still be drawn.
            print(f"mfpde: without the states: {error}", file=sys.stderr)
            limit = ()
        dpi = run.config.get("plot", {}).get("dpi", DPI)
        plotting.save(plotting.summary(run, *limit), picture, dpi=dpi)
    print(f"Wrote {picture}.")
    return SUCCESS
