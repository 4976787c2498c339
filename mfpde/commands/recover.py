"""`mfpde recover`: repair the file of a killed run."""

from __future__ import annotations

import argparse

from mfpde.commands import SUCCESS
from mfpde.storage import recover


def main(arguments: argparse.Namespace) -> int:
    """Recover a file and say what was done."""
    print(recover(arguments.file))
    return SUCCESS
