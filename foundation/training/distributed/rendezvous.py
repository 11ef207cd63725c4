"""Joining the processes of a group: by which network, and for how long a process waits for the others."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from ipaddress import ip_address

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]

log = logging.getLogger(__name__)
MEETING = "foundation/port"  # under it, torchrun's store says where the processes of an attempt meet


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


def leave_store_of_torchrun(pause: float = 0.2) -> None:
    """Under torchrun, let the processes of this attempt meet at a port of their own.

    torchrun keeps one store for all its attempts. Addresses of processes that it killed stay there, and those that it
    started in their place would call them (github.com/pytorch/pytorch/issues/135712). The first process of an attempt
    opens another store; the old one only says where.

    Args:
        pause: seconds between two looks.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        return
    address = os.environ["MASTER_ADDR"]
    told = TCPStore(address, int(os.environ["MASTER_PORT"]), is_master=False)
    if os.environ["RANK"] == "0":
        port = free_port()
        told.set(MEETING, str(port))
    else:
        port = int(told.get(MEETING))
        while not _listens(address, port):  # the one of an attempt that is over, or not there yet
            time.sleep(pause)
            port = int(told.get(MEETING))
    os.environ |= {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": str(False)}


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=5):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
