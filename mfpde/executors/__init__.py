"""Where the calls of a study are done: here, in processes, on a Dask cluster.

An executor does not know what a call computes. Any object with the methods of
`Executor` can be passed to `mfpde.studies.run_study`.
"""

from mfpde.executors.base import Call, Executor, Failure
from mfpde.executors.cluster import Dask
from mfpde.executors.processes import Processes
from mfpde.executors.serial import Serial

__all__ = ["Call", "Dask", "Executor", "Failure", "Processes", "Serial"]
