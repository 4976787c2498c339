"""Where units of work are done: in this process, in processes, on a Dask cluster.

An executor does not know what a unit computes. Any object with the methods of
`Executor` can be passed to `mfpde.studies.run_study`.
"""

from mfpde.executors.base import Executor, Lost, Unit
from mfpde.executors.cluster import Dask
from mfpde.executors.processes import Processes
from mfpde.executors.serial import Serial

__all__ = ["Dask", "Executor", "Lost", "Processes", "Serial", "Unit"]
