"""The rendezvous of a process group: its network interface, port and time limit."""

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
MEETING = "foundation/port"  # key of torchrun's store for the port at which an attempt's processes meet


class Joining:
    """End this process with status 1 if joining its group takes too long.

    The network library cannot be interrupted while it waits for a process that never comes.

    Args:
        seconds: time limit.

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
                log.debug("network interface towards the other processes: %s", name)
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
    """Return the network interface towards another machine, or towards this machine's public address.

    By default Gloo uses the interface of the machine's own name, which on many machines is the unreachable loopback.

    Returns:
        Its name; empty for loopback addresses, or if it cannot be found.

    Example:
        >>> interface_towards("127.0.0.1")
        ''
    """
    try:
        family, _, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)  # sends nothing, only looks up the route
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
    """Under torchrun, use a separate port for the rendezvous of each attempt.

    torchrun keeps one store for all attempts. Addresses of killed processes stay in it, and the restarted processes
    would connect to them (github.com/pytorch/pytorch/issues/135712). The first process of an attempt therefore opens
    another store, and the old one only holds its port.

    Args:
        pause: seconds between two checks.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True):
        return
    address = os.environ["MASTER_ADDR"]
    torchrun_store = TCPStore(address, int(os.environ["MASTER_PORT"]), is_master=False)
    if os.environ["RANK"] == "0":
        port = free_port()
        torchrun_store.set(MEETING, str(port))
    else:
        port = int(torchrun_store.get(MEETING))
        while not _listens(address, port):  # the port of an earlier attempt, or not open yet
            time.sleep(pause)
            port = int(torchrun_store.get(MEETING))
    os.environ |= {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": str(False)}


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=5):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a free TCP port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
