"""How much memory there is to share out among workers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

SHARE = 0.9
"""Part of the memory that workers may use together."""
UNKNOWN = 1 << 50
"""Bytes of a machine that does not say: no bound in effect."""


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the control group we run in if less."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        total = UNKNOWN
    return min([total, *_group_limits()])


def bound_memory(most: int) -> None:
    """Bound the data of this process, in bytes, where the system can."""
    if resource is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    # macOS knows the bound but may refuse it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def memory_bound() -> int | None:
    """The bound on the data of this process, in bytes; None without one."""
    if resource is None:
        return None
    bound = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return None if bound == resource.RLIM_INFINITY else bound


def share_of_memory(n_workers: int) -> int:
    """Bytes that each of `n_workers` on this machine may use."""
    return int(SHARE * machine_memory() / n_workers)


def format_memory(n_bytes: int) -> str:
    """Return a size as "11.2 GB" or "512 MB"."""
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:.3g} MB"
    return f"{n_bytes / 1e9:.3g} GB"


def _group_limits() -> list[int]:
    """Limits of our control group and of those around it, in bytes."""
    root = Path("/sys/fs/cgroup")
    folders = [root, root / "memory"]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        own = line.rpartition(":")[2].strip("/")
        for base in (root, root / "memory"):
            folder = base / own
            folders += [folder, *folder.parents]
    found = []
    for folder in dict.fromkeys(folders):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                text = (folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal():
                found.append(int(text))
    return found
