"""The studies of the papers by name, for the entry-point group `mfpde.plugins`.

Each is given as "module:attribute" and imported when it is used.
"""

from __future__ import annotations

from mfpde.describe import register

STUDIES = {
    "depth-width": "mfpde.papers.depth_width:STUDY",
    "zero-loss": "mfpde.papers.zero_loss:STUDY",
    "homogeneous": "mfpde.papers.homogeneous:STUDY",
    "reorder": "mfpde.papers.reorder:STUDY",
    "neural-ode": "mfpde.papers.neural_ode:STUDY",
    "tau": "mfpde.papers.tau:STUDY",
    "lazy": "mfpde.papers.lazy:STUDY",
    "exact": "mfpde.papers.exact_cases:STUDY",
    "all": "mfpde.papers.names:ALL",
}

for _name, _reference in STUDIES.items():
    register(_reference, kind="study", name=_name)
