"""All studies on the papers as one."""

from __future__ import annotations

from mfpde.papers.claims import CLAIMS
from mfpde.papers.depth_width import STUDY as DEPTH_WIDTH
from mfpde.papers.exact_cases import STUDY as EXACT
from mfpde.papers.homogeneous import STUDY as HOMOGENEOUS
from mfpde.papers.lazy import STUDY as LAZY
from mfpde.papers.neural_ode import STUDY as NEURAL_ODE
from mfpde.papers.reorder import STUDY as REORDER
from mfpde.papers.tau import STUDY as TAU
from mfpde.papers.zero_loss import STUDY as ZERO_LOSS
from mfpde.studies.collection import Collection

ALL = Collection(
    "all",
    "Every claim",
    (
        DEPTH_WIDTH,
        ZERO_LOSS,
        HOMOGENEOUS,
        REORDER,
        NEURAL_ODE,
        TAU,
        LAZY,
        EXACT,
    ),
    claims=CLAIMS,
)
"""Every study, each in a folder of its name."""
