"""`mfpde init`: print a commented configuration."""

from __future__ import annotations

import argparse
import sys

from mfpde.commands import SUCCESS
from mfpde.config.template import template


def main(arguments: argparse.Namespace) -> int:
    """Print the template; its required keys hold an example."""
    sys.stdout.write(template())
    return SUCCESS
