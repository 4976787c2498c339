"""The studies that come with the package, by the name that `mfpde study` takes."""

from __future__ import annotations

from mfpde.studies.depth_width import STUDY as DEPTH_WIDTH
from mfpde.studies.homogeneous import STUDY as HOMOGENEOUS
from mfpde.studies.study import Study

STUDIES: dict[str, Study] = {each.name: each for each in (DEPTH_WIDTH, HOMOGENEOUS)}
