"""The TOML configuration of a run, read by the descriptions of what it names.

`load` reads and checks a file. `build` (in `mfpde.config.assembly`, which needs numba)
makes problem, grid, ensemble and the keywords of `solve` from it; for a network, with
tables [network] and [training], `build_network` (in `mfpde.config.training`) makes
network, optimiser and the keywords of `train`.

The tables are those of `mfpde.config.sections`. Their keys are arguments of the
constructors of what is named in them (`mfpde.describe`) and options of runs
(`mfpde.run.options`): the checks are those of a call from Python, in plain code over
these descriptions. A model of them in a validation library would be a second
description, and its messages would have to be translated.
"""

from mfpde.config.parsing import is_network, load, parse, resolved_toml
from mfpde.config.template import template
from mfpde.config.toml import write_toml

__all__ = ["is_network", "load", "parse", "resolved_toml", "template", "write_toml"]
