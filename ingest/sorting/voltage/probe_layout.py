"""Channel layout of a recording: from a probe file, or in groups of equal size."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundation.common.errors import ConfigError, SourceError
from foundation.common.lazy import optional_package
from ingest.sorting.sort_settings import RawSettings
from ingest.sorting.voltage.voltage import Channels


def read_channels(raw: RawSettings, n_channels: int, names: np.ndarray | None = None) -> Channels:
    """Return the channel layout from a probe file, or in groups of equal size.

    Raises:
        SourceError: if the probe file cannot be read or does not fit the number of channels.
        ConfigError: if the groups do not fit.
    """
    if raw.group_size and n_channels % raw.group_size:
        raise ConfigError(f"raw.group_size is {raw.group_size}: expected a divisor of {n_channels} channels")
    if raw.probe is None:
        plain = Channels.unknown(n_channels, raw.group_size)
        return plain if names is None else Channels(names, plain.positions_C2, plain.groups, known=False)
    probeinterface = optional_package("probeinterface", "a probe file", "sorting")
    try:
        group = probeinterface.read_probeinterface(raw.probe)
    except Exception as error:  # damage can raise any error
        raise SourceError(f"raw.probe {raw.probe!r} is not a probeinterface file: {error}") from error
    return channels_of_probes(group.probes, n_channels, raw.probe)


def channels_of_probes(probes: list[Any], n_channels: int, what: str) -> Channels:
    """Return the channels of probeinterface probes in the order of the file's channels.

    Raises:
        SourceError: if probes and channels do not fit.
    """
    wired: dict[int, tuple[np.ndarray, str, str]] = {}
    first = 0
    for number, probe in enumerate(probes):
        positions = np.asarray(probe.contact_positions, dtype=np.float64)[:, :2]
        scale = {"um": 1.0, "mm": 1e3, "m": 1e6}.get(str(probe.si_units), 1.0)
        device = probe.device_channel_indices
        places = first + np.arange(len(positions)) if device is None else np.asarray(device)
        shanks = np.full(len(positions), "") if probe.shank_ids is None else np.asarray(probe.shank_ids).astype(str)
        ids = places if probe.contact_ids is None else probe.contact_ids
        first += len(positions)
        for place, position, shank, name in zip(places, positions, shanks, ids, strict=True):
            if place >= 0:
                wired[int(place)] = (position * scale, f"{number}.{shank}".rstrip("."), str(name))
    if sorted(wired) != list(range(n_channels)):
        raise SourceError(
            f"{what} names {len(wired)} wired channels: expected 0 to {n_channels - 1}, those of the file"
        )
    ordered = [wired[channel] for channel in range(n_channels)]
    return Channels(
        np.array([name for _, _, name in ordered]),
        np.array([position for position, _, _ in ordered]),
        np.array([group for _, group, _ in ordered]),
    )
