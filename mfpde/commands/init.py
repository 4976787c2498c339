"""`mfpde init`: print a commented configuration."""

from __future__ import annotations

import argparse
import json
import sys

from mfpde.commands import SUCCESS
from mfpde.config.json_schema import json_schema
from mfpde.config.template import template


def main(arguments: argparse.Namespace) -> int:
    """Print the template, or the JSON schema of a configuration."""
    text = template()
    if arguments.schema:
        text = json.dumps(json_schema(), indent=2) + "\n"
    sys.stdout.write(text)
    return SUCCESS
