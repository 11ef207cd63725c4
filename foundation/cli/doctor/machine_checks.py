"""Memory, cores, disk, shared memory, open files and the clock of this machine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from foundation.cli.doctor.finding import BROKEN, NOTE, OK, WARNING, Finding
from foundation.common.processes.cores import CGROUP, allowed_cores, core_limit

GIB = 2**30
SHARED_MEMORY = Path("/dev/shm")
# Docker gives a container 64 MiB, too little for NCCL and Ray.
LEAST_SHARED = 1 * GIB
LEAST_MEMORY, LEAST_DISK = 4 * GIB, 5 * GIB
LEAST_FILES, FEW_FILES = 1024, 4096
# A correct clock shows no earlier time.
RELEASED = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
SKEW_SECONDS = 30.0


@dataclass(frozen=True)
class Limits:
    """Limits of this process by the system, in bytes.

    Args:
        memory, free_memory: of the machine.
        memory_limit: of the container or job; None for no limit.
        cores: number of cores on which this process may run.
        core_limit: processor time of the container or job, in cores; None without a limit.
        shared: size of /dev/shm; None on systems without it.
        files, most_files: soft and hard limit of open files.
    """

    memory: int
    free_memory: int
    memory_limit: int | None
    cores: int
    core_limit: float | None
    shared: int | None
    files: int
    most_files: int

    @property
    def usable_memory(self) -> int:
        """Memory that this process may take in total."""
        return min(self.memory, self.memory_limit or self.memory)


def read_limits() -> Limits:
    """Return the limits of this process."""
    memory = psutil.virtual_memory()
    files = (LEAST_FILES * 64, LEAST_FILES * 64)
    if sys.platform != "win32":
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Limits(
        memory=memory.total,
        free_memory=memory.available,
        memory_limit=_memory_limit(),
        cores=allowed_cores(),
        core_limit=core_limit(),
        shared=shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.is_dir() else None,
        files=files[0] if files[0] >= 0 else sys.maxsize,
        most_files=files[1] if files[1] >= 0 else sys.maxsize,
    )


def _memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Return the limit of this container's or job's control group, of either version."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 2**60:  # version 1 states no limit as a number near 2^63
            return int(text)
    return None


def limit_findings(limits: Limits) -> list[Finding]:
    """Check memory, cores, /dev/shm and open files."""
    return [_memory(limits), _cores(limits), *_shared(limits), _files(limits)]


def _memory(limits: Limits) -> Finding:
    usable = limits.usable_memory
    if usable < LEAST_MEMORY:
        limited = " by the limit of this container or job" if usable < limits.memory else ""
        text = (
            f"{usable / GIB:.1f} GiB may be used{limited}; training and ingest take {LEAST_MEMORY // GIB} GiB or more"
        )
        return Finding("memory", WARNING, text, "ask for more, or run ingest with --workers 1")
    if limits.free_memory < LEAST_MEMORY:
        text = f"{limits.free_memory / GIB:.1f} GiB of {usable / GIB:.0f} are free"
        return Finding("memory", WARNING, text, "end other programs, or run ingest with --workers 1")
    return Finding("memory", OK, f"{usable / GIB:.0f} GiB, {limits.free_memory / GIB:.0f} free")


def _cores(limits: Limits) -> Finding:
    if limits.core_limit is not None and limits.core_limit < 0.9 * limits.cores:
        text = f"{limits.cores} cores are visible, but this container or job has the time of {limits.core_limit:g}"
        return Finding("cores", WARNING, text, f"export OMP_NUM_THREADS={max(1, round(limits.core_limit))}")
    return Finding("cores", OK, f"{limits.cores}")


def _shared(limits: Limits) -> list[Finding]:
    if limits.shared is None:
        return []
    if limits.shared < LEAST_SHARED:
        text = f"/dev/shm has {limits.shared / 2**20:.0f} MiB, too few for NCCL on several GPUs and slow for Ray"
        return [Finding("shared memory", WARNING, text, "start the container with --shm-size 2g")]
    return [Finding("shared memory", OK, f"{limits.shared / GIB:.0f} GiB")]


def _files(limits: Limits) -> Finding:
    if limits.files >= FEW_FILES:
        return Finding("open files", OK, f"{limits.files:,}")
    state = WARNING if limits.files < LEAST_FILES else NOTE
    text = f"a process may open {limits.files:,} files; Ray and large stores need more"
    reach = min(limits.most_files, 65536)
    more = f"ulimit -n {reach}" if reach >= FEW_FILES else "raise nofile in /etc/security/limits.conf"
    return Finding("open files", state, text, more)


def check_space(folder: Path, subject: str = "disk") -> Finding:
    """Check the free space where a folder is, or will be."""
    there = existing(folder)
    free = shutil.disk_usage(there).free
    if free >= LEAST_DISK:
        return Finding(subject, OK, f"{free / GIB:.0f} GiB free in {folder}")
    state = BROKEN if free < GIB / 4 else WARNING
    return Finding(subject, state, f"{free / GIB:.1f} GiB free in {folder}", "free some space, or use another disk")


def existing(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent.

    Example:
        >>> existing(Path("/tmp/no/such/folder"))
        PosixPath('/tmp')
    """
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def check_clock(now: float, file_time: float | None) -> Finding:
    """Check the clock by comparison with the release date of this version and with the file system's clock.

    Args:
        now: seconds since 1970.
        file_time: time of a file written now; None if none can be written.
    """
    if now < RELEASED:
        text = f"it shows {datetime.fromtimestamp(now, UTC):%Y-%m-%d}, which is past; HTTPS and S3 will reject it"
        return Finding("clock", BROKEN, text, "set the clock, such as with `timedatectl set-ntp true`")
    if file_time is not None and abs(file_time - now) > SKEW_SECONDS:
        text = f"the file system's clock differs by {file_time - now:+.0f} s, so that files in use may look abandoned"
        return Finding("clock", WARNING, text, "set both clocks by NTP: on this machine and on the file server")
    return Finding("clock", OK, f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC")


def file_time(folder: Path) -> float | None:
    """Return the time of a file written in a folder now; None if none can be written."""
    try:
        with tempfile.NamedTemporaryFile(dir=existing(folder), prefix=".foundation-doctor-") as file:
            file.write(b"1")
            file.flush()
            return os.stat(file.name).st_mtime
    except OSError:
        return None


def machine_findings(folder: Path) -> list[Finding]:
    """Check this machine.

    Args:
        folder: place for stores and runs.
    """
    findings = limit_findings(read_limits())
    places = {"disk": folder, "temporary disk": Path(tempfile.gettempdir())}
    for subject, place in places.items():
        findings.append(check_space(place, subject))
    return [*findings, check_clock(time.time(), file_time(folder))]
