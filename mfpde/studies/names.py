"""The studies that come with the package, by the name that `mfpde study` takes."""

from __future__ import annotations

from mfpde.studies.collection import Collection
from mfpde.studies.depth_width import STUDY as DEPTH_WIDTH
from mfpde.studies.homogeneous import STUDY as HOMOGENEOUS
from mfpde.studies.study import Study

ALL = Collection("all", "Every claim", (DEPTH_WIDTH, HOMOGENEOUS))
"""Every study, each in a folder of its name."""
STUDIES: dict[str, Study | Collection] = {each.name: each for each in ALL.parts}
STUDIES[ALL.name] = ALL
