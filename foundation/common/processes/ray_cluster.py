"""Ray for ingestion and sweeps: joined if there is a cluster, started here if not, never louder than needed."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foundation.common.errors import ConfigError
from foundation.common.processes.ray_start import AUTH_MODE, has_token, ray_folder, read_auth_mode, start_ray

log = logging.getLogger(__name__)


@contextmanager
def ray_cluster(workers: int | None = None, address: str | None = None) -> Iterator[Any]:
    """The ``ray`` module, connected. Shut down at the end only if it was connected here.

    Args:
        workers: processes on this machine, if Ray is started here; by default one per CPU core.
        address: a cluster's address, ``auto`` for the one that runs on this machine, ``local`` for a new one. By
            default ``$RAY_ADDRESS``, or the cluster that ``ray start`` made this machine part of, or else a new one.

    Raises:
        ConfigError: if Ray is not installed, or there is no cluster at the address.
        FoundationError: if Ray does not start.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("this runs on Ray, which is not installed: pip install 'neural-foundation[ingest]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    named = (os.environ.get("RAY_ADDRESS") or "auto") != "auto" or address not in (None, "auto")
    found = address if address not in (None, "auto") else running_cluster()
    if address == "auto" and found is None:
        raise ConfigError(
            "address is 'auto', and no Ray cluster of yours runs on this machine: `ray start --head` starts one, "
            "HOST:PORT names another, 'local' makes one for this command"
        )
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if found in (None, "local"):
            start_ray(ray, workers, _job())
        else:
            _join(ray, str(found), automatic=not named)
        _restore(handler)
        yield ray
    finally:
        ray.shutdown()
        _restore(handler)


def _join(ray: Any, address: str, *, automatic: bool) -> None:
    """Connect to a cluster that runs.

    Args:
        ray: the module.
        address: of the cluster.
        automatic: True if the address was found on this machine, False if the user or $RAY_ADDRESS named it. A token of
            this user is shown to a cluster that was found, as Ray does; to one that was named only if $RAY_AUTH_MODE
            says so.

    Raises:
        ConfigError: if nothing answers there, or it refuses.
    """
    if not _answers(address):
        raise ConfigError(f"no Ray cluster answers at address {address!r}: give HOST:PORT, 'auto' or 'local'")
    if automatic and AUTH_MODE not in os.environ and has_token():
        os.environ[AUTH_MODE] = "token"
        read_auth_mode()
    # A cluster's client has a job of its own on the head, whose settings are made there.
    job = {} if "://" in address else {"job_config": _job()}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **job)
    except Exception as error:  # Ray raises a bare Exception when it gives up waiting
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot use Ray at address {address!r}: {reason}") from error


def _job() -> Any:
    """Settings of a Ray job whose workers import installed packages alone.

    Ray puts the driver's working folder first on the import path of every worker, unless the job has one of its own.
    """
    from ray.job_config import JobConfig

    class InstalledPackagesOnly(JobConfig):
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return InstalledPackagesOnly()


def _restore(handler: Any) -> None:
    """Put a handler of SIGTERM back that stood before: Ray replaces it by one that ends the process."""
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def running_cluster() -> str | None:
    """The address of the cluster to join when none is given: ``$RAY_ADDRESS``, or what ``ray start`` has noted.

    ``ray start`` leaves the address in a file that a crash does not clear; Ray waits minutes for such a cluster.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named and named != "auto":
        return named
    address = _noted_address(ray_folder() / "ray" / "ray_current_cluster")
    return address if address and _answers(address) else None


def _noted_address(note: Path) -> str | None:
    """The address in Ray's note, unless another user has written it: anyone can put a file into a shared ``/tmp``."""
    try:
        descriptor = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IWOTH or status.st_uid not in (os.getuid(), 0):
            log.warning(
                "%s names a Ray cluster, but user %d, or anybody, may have written it: it is not joined; --address "
                "HOST:PORT joins it",
                note,
                status.st_uid,
            )
            return None
        return file.read(300).strip()


def _answers(address: str) -> bool:
    """Whether something listens at ``HOST:PORT``."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except (OSError, ValueError):
        return False
