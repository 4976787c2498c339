"""The TOML configuration of a run: its schema, its checks and what it describes.

`load` reads and checks a file, `build` (in `mfpde.config.assembly`, which needs
numba) makes problem, grid, ensemble and the keywords of `solve` from it. For a network,
with tables [network] and [training], `build_network` (in `mfpde.config.training`) makes
network, optimiser and the keywords of `train`.
"""

from mfpde.config.networks import NetworkConfiguration
from mfpde.config.schema import Configuration
from mfpde.config.template import template
from mfpde.config.toml import write_toml
from mfpde.config.validation import load, parse, resolved_toml

__all__ = [
    "Configuration",
    "NetworkConfiguration",
    "load",
    "parse",
    "resolved_toml",
    "template",
    "write_toml",
]
