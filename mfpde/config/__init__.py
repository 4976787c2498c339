"""The TOML configuration of a run: its schema, its checks and what it describes.

`load` reads and checks a file, `build` (in `mfpde.config.assembly`, which needs
numba) makes problem, grid, ensemble and the keywords of `solve` from it.
"""

from mfpde.config.schema import Configuration
from mfpde.config.template import template
from mfpde.config.toml import write_toml
from mfpde.config.validation import load, parse, resolved_toml

__all__ = [
    "Configuration",
    "load",
    "parse",
    "resolved_toml",
    "template",
    "write_toml",
]
