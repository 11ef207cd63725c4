"""How the processes of a run are started on several machines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foundation.common.errors import ConfigError

HOST = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(@[A-Za-z0-9_][A-Za-z0-9_.-]*)?$")


@dataclass(frozen=True)
class LaunchSettings:
    """How the machines of a run are reached; what it computes does not depend on it.

    Args:
        ssh_port: port of the machines' ssh servers; null: what ssh's own configuration says.
        address: address of the first machine, at which the others meet it; empty: its first one (``hostname -I``).
        port: TCP port at which they meet; each restart takes the next one.
        patience: seconds to wait for a machine's answer before anything is started.

    Raises:
        ConfigError: if a value is impossible.
    """

    ssh_port: int | None = None
    address: str = ""
    port: int = 29500
    patience: float = 60.0

    def __post_init__(self) -> None:
        for name, value in (("ssh_port", self.ssh_port), ("port", self.port)):
            if value is not None and not 1 <= value <= 65535:
                raise ConfigError(f"launching.{name} is {value}: from 1 to 65535")
        if self.address and not re.fullmatch(r"[A-Za-z0-9_.:-]+", self.address):
            raise ConfigError(f"launching.address is {self.address!r}: a host name or an IP address")
        if not self.patience > 0:
            raise ConfigError(f"launching.patience is {self.patience}: above 0 seconds")


def host_list(hosts: str) -> list[str]:
    """The machines of ``a,b``.

    Raises:
        ConfigError: if one is no host name, or comes twice.

    Example:
        >>> host_list("a, someone@b")
        ['a', 'someone@b']
    """
    names = [name.strip() for name in hosts.split(",")] if hosts.strip() else []
    for name in names:
        if not HOST.match(name):
            raise ConfigError(f"hosts is {hosts!r}: names or addresses with commas between, such as a,b or me@10.0.0.2")
    if len(set(names)) < len(names):
        raise ConfigError(f"hosts is {hosts!r}: each machine once; `processes` says how many run on each")
    return names
