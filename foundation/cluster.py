"""Ray for ingestion and sweeps: joined if there is a cluster, started here if not, never louder than needed."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError

log = logging.getLogger(__name__)

# What workers send back is small: the least that Ray accepts is plenty.
OBJECT_STORE_BYTES = 100 * 1024 * 1024


@contextmanager
def ray_cluster(workers: int | None = None, address: str | None = None) -> Iterator[Any]:
    """The ``ray`` module, connected. Shut down at the end only if it was connected here.

    Args:
        workers: processes on this machine, if Ray is started here; by default one per CPU core.
        address: a cluster's address, ``auto`` for the one that runs on this machine, ``local`` for a new one. By
            default ``$RAY_ADDRESS``, or the cluster that ``ray start`` made this machine part of, or else a new one.

    Raises:
        ConfigError: if Ray is not installed, or there is no cluster at the address.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("this runs on Ray, which is not installed: pip install 'neural-foundation[ingest]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    starting = address == "local" or (address is None and not _part_of_cluster())
    if starting:
        _keep_token_in_memory()
    import ray

    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {}
    if starting:
        own = {"num_cpus": workers or os.cpu_count() or 1, "include_dashboard": False}
        own |= {"object_store_memory": OBJECT_STORE_BYTES}
    elif address not in (None, "auto") and not _answers(str(address)):
        raise ConfigError(f"no Ray cluster answers at address {address!r}: give HOST:PORT, 'auto' or 'local'")
    try:
        ray.init("local" if starting else address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot use Ray at address {address!r}: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _part_of_cluster() -> bool:
    """Whether there is a cluster that Ray joins when no address is given.

    ``ray start`` leaves the address in a file that a crash does not clear; Ray waits minutes for such a cluster.
    """
    if os.environ.get("RAY_ADDRESS"):
        return True
    note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
    try:
        address = note.read_text().strip()
    except OSError:
        return False
    return _answers(address)


def _answers(address: str) -> bool:
    """Whether something listens at ``HOST:PORT``."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except (OSError, ValueError):
        return False


def _keep_token_in_memory() -> None:
    """Have Ray's processes know each other by a random token of this process.

    Left alone, Ray writes one into the home folder, where later clusters pick it up.
    """
    if os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return
    if not any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
