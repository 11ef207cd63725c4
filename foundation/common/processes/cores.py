"""How many processor cores this process may use, which in a job or container is fewer than the machine has."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return the number of cores that this process may use, at least 1.

    The lowest of: the machine's cores, the cores that the scheduler gave to this process, the time that a container
    was given in cores, and Slurm's ``--cpus-per-task``.

    Args:
        cgroup: folder of the container's control group.

    Example:
        >>> usable_cores() >= 1
        True
    """
    limit = core_limit(cgroup)
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "")
    counts = [
        allowed_cores(),
        max(1, round(limit)) if limit is not None else None,
        int(asked) if asked.isdecimal() and int(asked) else None,
    ]
    return min(count for count in counts if count is not None)


def allowed_cores() -> int:
    """Return the number of cores on which the scheduler may run this process; all cores where it cannot be asked.

    Example:
        >>> allowed_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_limit(cgroup: Path = CGROUP) -> float | None:
    """Return the processor time that a container may take, in cores; None without a limit.

    Args:
        cgroup: folder of the container's control group, of version 2.

    Example:
        >>> core_limit(Path("/no/such/folder")) is None
        True
    """
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return int(quota) / int(period) if quota.isdigit() else None
