"""Settings of a simulation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Count, Limit, Limited, Natural, Share, between, finite, one_of

CENTRE_OUT, RANDOM_TARGETS = "centre-out", "random-targets"
Folder = Annotated[str, Limit(lambda folder: bool(str.strip(folder)), "a folder")]
Tens = Annotated[int, Limit(lambda number: number >= 10 and number % 10 == 0, "a multiple of 10, 10 or more")]
Name = Annotated[str, Limit(lambda name: re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name) is not None, "letters and digits")]
Bout = Annotated[float, finite(2)]


@dataclass(frozen=True)
class SimulateSettings(Limited):
    """Networks of Izhikevich neurons, one NWB file and one "animal" each.

    Args:
        output: output folder, created if missing.
        networks: number of networks; each has its own neurons, synapses and movements.
        neurons: neurons of a network, a multiple of 10: five firing modes and two areas, evenly.
        seconds: length of each recording.
        jitter: share by which a, b, c and d of a neuron differ at most from those of its mode, 0 to 0.5.
        drive_shift: by how much current, in the units of the model, networks differ at most, up and down.
        synapses: outgoing synapses of a neuron.
        coupling: strength of all synapses, 1 for the built-in one, 0 for unconnected neurons.
        states: alternate wake, NREM and REM sleep, which differ in drive; otherwise wake throughout.
        reaches: let the hand move while awake, and tune neurons to it; otherwise there is no hand.
        movement: ``centre-out``, reaches to eight targets and back, or ``random-targets``, from one random target in a
            square to the next: there the direction of a movement hardly predicts its course.
        tuning: strength of all tuning to the hand, 0 to 3; 1 for the built-in one, input current of 2 on average per
            30 cm/s along a neuron's preferred direction.
        untuned: share of neurons without tuning to the hand, 0 to 1.
        gain_spread: standard deviation of the logarithm of a neuron's gain, a factor of all of its tuning; 0 to 2.
        lag_spread: seconds by which a neuron's lead over the movement differs at most from its area's, 0 to 0.5.
        position_tuning: input current, on average, per 8 cm of the hand's position along an axis of the neuron's own,
            0 to 5; ``tuning`` is a factor of it as well.
        areas: give the two areas different noise, coupling and lag to movement; otherwise they differ in name only.
        wake, nrem, rem: mean seconds of a bout.
        name: prefix of subjects' names; simulations with different seeds need different names.
        seed: random seed. The same settings give the same files, byte for byte.

    Example:
        >>> SimulateSettings("simulated", neurons=7)
        Traceback (most recent call last):
        ...
        foundation.common.errors.ConfigError: neurons is 7: expected a multiple of 10, 10 or more
    """

    output: Folder
    networks: Count = 5
    neurons: Tens = 50
    seconds: Annotated[float, between(1, 100_000)] = 400.0
    jitter: Annotated[float, between(0, 0.5)] = 0.1
    drive_shift: Annotated[float, between(0, 3)] = 0.5
    synapses: Natural = 10
    coupling: Annotated[float, between(0, 3)] = 1.0
    states: bool = True
    reaches: bool = True
    movement: Annotated[str, one_of(CENTRE_OUT, RANDOM_TARGETS)] = CENTRE_OUT
    tuning: Annotated[float, between(0, 3)] = 1.0
    untuned: Share = 0.0
    gain_spread: Annotated[float, between(0, 2)] = 0.0
    lag_spread: Annotated[float, between(0, 0.5)] = 0.0
    position_tuning: Annotated[float, between(0, 5)] = 0.0
    areas: bool = True
    wake: Bout = 48.0
    nrem: Bout = 32.0
    rem: Bout = 16.0
    name: Name = "net"
    seed: Natural = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output)
        if self.synapses >= self.neurons:
            raise ConfigError(f"synapses is {self.synapses}: expected fewer than neurons ({self.neurons})")

    @property
    def varies_tuning(self) -> bool:
        """True unless the tuning of all neurons is the built-in one."""
        return self.tuning != 1 or max(self.untuned, self.gain_spread, self.lag_spread, self.position_tuning) > 0
