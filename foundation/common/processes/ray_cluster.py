"""Ray for ingestion and sweeps: join a cluster if there is one, otherwise start Ray on this machine."""

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
    """Yield the connected ``ray`` module, and disconnect at the end if it was connected here.

    Args:
        workers: processes on this machine if Ray is started here; by default one per CPU core.
        address: a cluster's address, ``auto`` for the one that runs on this machine, ``local`` for a new one. By
    default ``$RAY_ADDRESS``, or the cluster that ``ray start`` joined this machine to, or else a new one.

    Raises:
        ConfigError: if Ray is not installed, or there is no cluster at the address.
        FoundationError: if Ray does not start.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("this command needs Ray, which is not installed: pip install 'neural-foundation[ingest]'")
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
            "address is 'auto', and you have no Ray cluster on this machine: start one with `ray start --head`, "
            "or give HOST:PORT, or 'local' for a cluster of this command alone"
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
    """Connect to a running cluster.

    Args:
        ray: the module.
        address: the cluster's address.
        automatic: True if the address was found on this machine, False if the user or $RAY_ADDRESS named it. A found
    cluster is sent this user's token, as Ray does; a named cluster only if $RAY_AUTH_MODE asks for tokens.

    Raises:
        ConfigError: if nothing answers at the address, or the cluster rejects the connection.
    """
    if not _answers(address):
        raise ConfigError(f"no Ray cluster answers at address {address!r}: expected HOST:PORT, 'auto' or 'local'")
    if automatic and AUTH_MODE not in os.environ and has_token():
        os.environ[AUTH_MODE] = "token"
        read_auth_mode()
    # A Ray client's job is set up on the head node.
    job = {} if "://" in address else {"job_config": _job()}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **job)
    except Exception as error:  # Ray raises a bare Exception when it gives up waiting
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot use Ray at address {address!r}: {reason}") from error


def _job() -> Any:
    """Return settings of a Ray job whose workers import only installed packages.

    Ray puts the driver's working folder first on every worker's import path, unless the job sets another.
    """
    from ray.job_config import JobConfig

    class InstalledPackagesOnly(JobConfig):
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return InstalledPackagesOnly()


def _restore(handler: Any) -> None:
    """Restore the previous handler of SIGTERM, which Ray replaces by one that ends the process."""
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def running_cluster() -> str | None:
    """Return the address of the cluster to join by default: ``$RAY_ADDRESS``, or the address in ``ray start``'s file.

    The file of ``ray start`` survives a crash, and Ray would wait minutes for a dead cluster.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named and named != "auto":
        return named
    address = _noted_address(ray_folder() / "ray" / "ray_current_cluster")
    return address if address and _answers(address) else None


def _noted_address(note: Path) -> str | None:
    """Return the address in Ray's file, unless another user may have written it into a shared ``/tmp``."""
    try:
        descriptor = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IWOTH or status.st_uid not in (os.getuid(), 0):
            log.warning(
                "%s names a Ray cluster, but user %d or anybody may have written the file: not joining it; join it "
                "with --address HOST:PORT",
                note,
                status.st_uid,
            )
            return None
        return file.read(300).strip()


def _answers(address: str) -> bool:
    """Return True if a server listens at ``HOST:PORT``."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except (OSError, ValueError):
        return False
