"""Settings of a simulation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local

CENTRE_OUT, RANDOM_TARGETS = "centre-out", "random-targets"


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
        reaches: let the hand move while awake, and tune neurons to it; otherwise there is no hand.
        movement: ``centre-out``, reaches to eight targets and back, or ``random-targets``, from one random target in a
            square to the next: there the direction of a movement says little of its course.
        tuning: strength of all tuning to the hand, 0 to 3; 1 for the built-in one, input current of 2 on average per
            30 cm/s along a neuron's preferred direction.
        untuned: share of the neurons that do not hear the hand, 0 to 1.
        gain_spread: standard deviation of the logarithm of a neuron's gain, a factor of all of its tuning; 0 to 2.
        lag_spread: seconds by which a neuron's lead over the movement differs at most from its area's, 0 to 0.5.
        position_tuning: input current, on average, per 8 cm of the hand's position along an axis of the neuron's own,
            0 to 5; ``tuning`` is a factor of it as well.
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
    movement: str = CENTRE_OUT
    tuning: float = 1.0
    untuned: float = 0.0
    gain_spread: float = 0.0
    lag_spread: float = 0.0
    position_tuning: float = 0.0
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
        check("movement", self.movement in (CENTRE_OUT, RANDOM_TARGETS), f"{CENTRE_OUT!r} or {RANDOM_TARGETS!r}")
        highest = {"tuning": 3.0, "untuned": 1.0, "gain_spread": 2.0, "lag_spread": 0.5, "position_tuning": 5.0}
        for key, most in highest.items():
            check(key, 0.0 <= getattr(self, key) <= most, f"0 to {most:g}")
        for key in ("wake", "nrem", "rem"):
            check(key, math.isfinite(getattr(self, key)) and getattr(self, key) >= 2.0, "2 seconds or more")
        check("name", re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", self.name) is not None, "letters and digits")
        check("seed", self.seed >= 0, "0 or more")

    @property
    def varies_tuning(self) -> bool:
        """True unless the tuning of all neurons is the built-in one."""
        return self.tuning != 1 or max(self.untuned, self.gain_spread, self.lag_spread, self.position_tuning) > 0
