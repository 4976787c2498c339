"""Whether a launcher such as mpiexec started this process, told by its environment."""

from __future__ import annotations

import os

# Number of processes and the own one's number, as launchers and their process managers
# set them: MPICH, Intel and Cray MPI; Open MPI; MVAPICH; SLURM with PMIx.
LAUNCHERS = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "PMIX_RANK"),
)


def launched() -> tuple[int, int]:
    """(rank, number of processes) that a launcher has given us; (0, 1) without one."""
    for size, rank in LAUNCHERS:
        values = os.environ.get(size, ""), os.environ.get(rank, "")
        if all(value.isdecimal() for value in values):
            return int(values[1]), int(values[0])
    return 0, 1
