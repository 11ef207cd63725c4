"""Settings of a simulation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from foundation.common.errors import ConfigError
from foundation.common.setting_checks import check_local


@dataclass(frozen=True)
class SimulateSettings:
    """Networks of Izhikevich neurons, one NWB file and one "animal" each.

    Args:
        output: the folder that the files go to; made if it is not there.
        networks: number of networks; each has neurons, synapses and movements of its own.
        neurons: neurons of a network, a multiple of 10: five firing modes and two areas, evenly.
        seconds: length of each recording.
        jitter: share by which a, b, c and d of a neuron differ at most from those of its mode, 0 to 0.5.
        drive_shift: by how much current, in the units of the model, networks differ at most, up and down.
        synapses: outgoing synapses of a neuron.
        coupling: strength of all synapses, 1 for the built-in one, 0 for neurons that do not hear each other.
        states: alternate wake, NREM and REM sleep, which differ in drive; otherwise wake throughout.
        reaches: let the hand reach to eight targets while awake, and tune every neuron to its velocity.
        areas: give the two areas different noise, coupling and lag to movement; otherwise they differ in name only.
        wake, nrem, rem: mean seconds of a bout.
        name: what subjects' names begin with; simulations with other seeds need other names to be told apart.
        seed: of everything random. The same settings give the same files, byte for byte.

    Example:
        >>> SimulateSettings("simulated", neurons=7)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: neurons is 7: allowed is a multiple of 10, 10 or more
    """

    output: str
    networks: int = 5
    neurons: int = 50
    seconds: float = 400.0
    jitter: float = 0.1
    drive_shift: float = 0.5
    synapses: int = 10
    coupling: float = 1.0
    states: bool = True
    reaches: bool = True
    areas: bool = True
    wake: float = 48.0
    nrem: float = 32.0
    rem: float = 16.0
    name: str = "net"
    seed: int = 0

    def __post_init__(self) -> None:
        check_local(output=self.output)

        def check(key: str, good: bool, allowed: str) -> None:
            if not good:
                raise ConfigError(f"{key} is {getattr(self, key)!r}: allowed is {allowed}")

        check("output", bool(self.output.strip()), "a folder")
        check("networks", self.networks >= 1, "1 or more")
        check("neurons", self.neurons >= 10 and self.neurons % 10 == 0, "a multiple of 10, 10 or more")
        check("seconds", 1.0 <= self.seconds <= 100_000.0, "1 to 100000")
        check("jitter", 0.0 <= self.jitter <= 0.5, "0 to 0.5")
        check("drive_shift", 0.0 <= self.drive_shift <= 3.0, "0 to 3")
        check("synapses", 0 <= self.synapses < self.neurons, "0 to one fewer than neurons")
        check("coupling", 0.0 <= self.coupling <= 3.0, "0 to 3")
        for key in ("wake", "nrem", "rem"):
            check(key, math.isfinite(getattr(self, key)) and getattr(self, key) >= 2.0, "2 seconds or more")
        check("name", re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.name) is not None, "letters and digits")
        check("seed", self.seed >= 0, "0 or more")
