"""Number of processor cores that this process may use; a job or container may have fewer than the machine."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return the number of cores that this process may use, at least 1.

    This is the smallest of: the machine's cores, the cores that the scheduler allows this process, a container's limit
    in cores, and Slurm's ``--cpus-per-task``.

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
    """Return the number of cores on which the scheduler may run this process; all cores if the system cannot tell.

    Example:
        >>> allowed_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_limit(cgroup: Path = CGROUP) -> float | None:
    """Return the limit of a container's processor time, in cores; None without a limit.

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
