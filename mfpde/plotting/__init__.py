"""Pictures of a run: histories in s, the measure rho, states in depth t.

t in [0, 1] is depth, s >= 0 is training time; both are dimensionless. Each function
takes an axis (`ax=None` makes a figure) and returns it; `summary` composes a page
for a run, `save` writes it. A history is drawn from a `Run`, a `Solution` or a
mapping of columns (a dict of arrays, an `xarray.Dataset`). No global setting of
matplotlib is changed: a figure made here has this package's style, an axis that is
passed in keeps its own.

Only this package imports matplotlib.
"""

from mfpde.kernels.folders import give_matplotlib_a_folder

# Before it is imported: it warns, or fails, where the user's home cannot be written.
give_matplotlib_a_folder()

from mfpde.plotting.grid import density  # noqa: E402
from mfpde.plotting.history import accuracy, ledger, loss  # noqa: E402
from mfpde.plotting.measure import depth_profile, marginals, particle_paths  # noqa: E402
from mfpde.plotting.outputs import confusion, fit  # noqa: E402
from mfpde.plotting.page import summary  # noqa: E402
from mfpde.plotting.states import decision_regions, trajectories  # noqa: E402
from mfpde.plotting.style import save  # noqa: E402

__all__ = [
    "accuracy",
    "confusion",
    "decision_regions",
    "density",
    "depth_profile",
    "fit",
    "ledger",
    "loss",
    "marginals",
    "particle_paths",
    "save",
    "summary",
    "trajectories",
]
