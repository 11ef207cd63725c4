"""Joining the processes of a group: by which network, and for how long a process waits for the others."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from ipaddress import ip_address

import psutil

log = logging.getLogger(__name__)


class Joining:
    """While it is entered, this process joins its group; if that takes too long, the process ends with status 1.

    A process that waits for one which never comes is deep in the network library and cannot be told otherwise.

    Args:
        seconds: how long is too long.

    Example:
        >>> with Joining(60):
        ...     pass
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._give_up, [seconds])
        self._timer.daemon = True

    def __enter__(self) -> Joining:
        address = os.environ.get("MASTER_ADDR", "")
        if address and "GLOO_SOCKET_IFNAME" not in os.environ:
            name = interface_towards(address)
            if name:
                log.debug("the other processes are reached by %s", name)
                os.environ["GLOO_SOCKET_IFNAME"] = name
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @staticmethod
    def _give_up(seconds: float) -> None:
        rank, world = (os.environ.get(name, "?") for name in ("RANK", "WORLD_SIZE"))
        place = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        log.error(
            "process %s of %s: the others did not all join at %s within %g s (safety.joining): one of them failed, or "
            "cannot reach this machine",
            rank, world, place, seconds,
        )  # fmt: skip
        logging.shutdown()
        sys.stderr.flush()
        os._exit(1)


def interface_towards(address: str) -> str:
    """The network interface by which this machine reaches another, or itself under an address that others know.

    Gloo takes the interface of the machine's own name, which on many machines is the loopback: nobody else gets there.

    Returns:
        Its name; empty for loopback addresses and where it cannot be told.

    Example:
        >>> interface_towards("127.0.0.1")
        ''
    """
    try:
        family, _, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)  # sends nothing: the system only looks for the way
            own = str(probe.getsockname()[0]).split("%")[0]
    except OSError:
        return ""
    if ip_address(own).is_loopback:
        return ""
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.family == family and a.address.split("%")[0] == own for a in addresses):
            return str(name)
    return ""
