"""The HDF5 file of a run: written while it can be read, resumed, recovered.

The format is described in the README. A run NAME.h5 has its checkpoint
NAME.ckpt.h5 beside it.
"""

from __future__ import annotations

from mfpde.storage.checkpoint import read_checkpoint
from mfpde.storage.estimates import write_errors
from mfpde.storage.hdf5.files import check_writable, checkpoint_path
from mfpde.storage.hdf5.recovery import recover
from mfpde.storage.header import RunHeader, StudyHeader
from mfpde.storage.reader import Run, States, open_run
from mfpde.storage.series import Series
from mfpde.storage.writer import RunWriter

__all__ = [
    "Run",
    "RunHeader",
    "RunWriter",
    "Series",
    "States",
    "StudyHeader",
    "check_writable",
    "checkpoint_path",
    "open_run",
    "read_checkpoint",
    "recover",
    "write_errors",
]
