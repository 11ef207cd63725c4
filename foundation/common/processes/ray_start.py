"""Start Ray on this machine only: private, patient on a busy machine, and with clear errors."""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from foundation.common.errors import FoundationError
from foundation.common.files.private_folder import is_short, short_folder
from foundation.common.processes.cores import usable_cores
from foundation.common.processes.environment import safe_path

log = logging.getLogger(__name__)

# Workers send back little, so the smallest store that Ray accepts is enough.
OBJECT_STORE_BYTES = 100 * 1024 * 1024
# Seconds that Ray may take to start, at the first and the second try. Ray itself gives up after 30.
PATIENCE = (120, 300)
# Bytes that Ray adds to the paths of its sockets: /ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.
SESSION_BYTES = 75
AUTH_MODE = "RAY_AUTH_MODE"


class RayStartError(FoundationError):
    """Ray did not start on this machine."""


def start_ray(ray: Any, workers: int | None, job: Any, patience: tuple[int, ...] = PATIENCE) -> None:
    """Start Ray for this process and connect to it; it listens on the loopback interface only and requires a token.

    Args:
        ray: the module.
        workers: processes; by default one per core that this process may use.
        job: Ray's `JobConfig`.
        patience: seconds for each try.

    Raises:
        RayStartError: if Ray does not start.
    """
    options: dict[str, Any] = {
        "num_cpus": workers or usable_cores(),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "job_config": job,
        **_socket_folder(),
    }
    require_token()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    for attempt, seconds in enumerate(patience, 1):
        try:
            with _loopback(), _waiting(ray, seconds), safe_path():
                ray.init("local", **options)
            return
        except Exception as error:  # Ray raises a bare Exception when it gives up waiting
            reason = " ".join(str(error).split())[:300]
            log.debug("Ray did not start", exc_info=True)
            ray.shutdown()
            _end_children(before)
            if attempt < len(patience):
                log.info("Ray has not started (%s): trying again for at most %d s", reason, patience[attempt])
                continue
            raise RayStartError(
                f"Ray did not start on this machine in {len(patience)} tries, the last of {seconds} s ({reason}): wait "
                "until the machine is less busy and run the same command again, or name a running cluster with "
                "--address"
            ) from error


def require_token() -> None:
    """Make Ray's processes authenticate with a token: the user's own, or else a random one of this process.

    By default Ray writes a token into the home folder, where later clusters pick it up. A mode set in the environment
    is kept.
    """
    mode = os.environ[AUTH_MODE] = os.environ.get(AUTH_MODE) or "token"
    if mode.lower() != "token":
        log.warning("%s is %r: any program on this machine can run code through this Ray", AUTH_MODE, mode)
    elif not any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    read_auth_mode()


def read_auth_mode() -> None:
    """Make Ray read mode and token from the environment again; it keeps the values of its import."""
    raylet: Any = importlib.import_module("ray._raylet")
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def has_token() -> bool:
    """Return True if Ray finds a token of this user in the environment or in the home folder."""
    raylet: Any = importlib.import_module("ray._raylet")
    return bool(raylet.AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


@contextmanager
def _loopback() -> Iterator[None]:
    """Make Ray start on 127.0.0.1, as on macOS and Windows; elsewhere it listens on every interface."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _waiting(ray: Any, seconds: int) -> Iterator[None]:
    """Make Ray wait this long for its own processes; its 30 seconds for the raylet are not a setting."""
    services = ray._private.services
    get_node, deadline = services.get_node, time.monotonic() + seconds

    def wait_for_node(*arguments: Any) -> Any:
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline or not _raylet_lives():
                    raise
                time.sleep(0.2)

    limits = {
        "RAY_gcs_server_port_wait_time_s": seconds,
        "RAY_agent_register_timeout_ms": 1000 * seconds,
        "RAY_worker_register_timeout_seconds": seconds,
    }
    added = [name for name in limits if name not in os.environ]
    os.environ.update({name: str(limits[name]) for name in added})
    services.get_node = wait_for_node
    try:
        yield
    finally:
        services.get_node = get_node
        for name in added:
            os.environ.pop(name, None)


def _raylet_lives() -> bool:
    """Return True while a raylet of this process runs."""
    for child in psutil.Process().children():
        try:
            if "raylet" in child.name() and child.status() != psutil.STATUS_ZOMBIE:
                return True
        except psutil.Error:
            continue
    return False


def _end_children(before: set[int]) -> None:
    """End the processes of a failed start: Ray's processes below this one that did not exist ``before``."""
    started = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    ours = []
    for child in started:
        try:
            if any(mark in " ".join(child.cmdline()) for mark in ("/ray/", "ray::")):
                child.kill()
                ours.append(child)
        except psutil.Error:
            continue
    psutil.wait_procs(ours, timeout=10)


def _socket_folder() -> dict[str, str]:
    """Return the option that puts Ray's sockets into a short folder if its own choice is too long for a socket.

    Raises:
        FoundationError: if no folder with a short path is writable.
    """
    if is_short(ray_folder(), SESSION_BYTES):
        return {}
    # Ray opens its folder to every user, so give it a subfolder of the private folder.
    folder = short_folder() / "ray"
    folder.mkdir(exist_ok=True)
    return {"_temp_dir": str(folder)}


def ray_folder() -> Path:
    """Return the folder in which Ray keeps its folder ``ray`` with sessions and the running cluster's address."""
    own = os.environ.get("RAY_TMPDIR")
    return Path(own or (tempfile.gettempdir() if sys.platform.startswith("linux") else "/tmp"))
