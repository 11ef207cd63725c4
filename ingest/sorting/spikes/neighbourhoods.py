"""Channels that see the same spikes, and the neighbourhoods in which spikes are clustered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.sorting.sort_settings import WindowSettings
from ingest.sorting.voltage.voltage import Channels


@dataclass(frozen=True)
class Neighbourhood:
    """Channels whose spikes are clustered together.

    Args:
        core: channels on which its spikes peak; every channel is in the core of one neighbourhood.
        channels: channels that are cut around each spike, those of the core among them.
    """

    core: np.ndarray
    channels: np.ndarray


def neighbours_of(channels: Channels, used_C: np.ndarray, radius: float, most: int) -> dict[int, np.ndarray]:
    """Return for each usable channel those that see its spikes, itself first, then by distance.

    Channels of other groups (shanks, tetrodes) see none of them. Without positions, those of a group all see them.

    Args:
        channels: where they lie.
        used_C: which can be used.
        radius: µm.
        most: at most so many.

    Example:
        >>> line = Channels(np.array(["a", "b", "c"]), np.array([[0, 0], [0, 50], [0, 200.0]]), np.array(["0"] * 3))
        >>> {k: v.tolist() for k, v in neighbours_of(line, np.ones(3, bool), 100.0, 8).items()}
        {0: [0, 1], 1: [1, 0], 2: [2]}
    """
    found = {}
    for channel in np.flatnonzero(used_C):
        away_C = np.hypot(*(channels.positions_C2 - channels.positions_C2[channel]).T)
        away_C = np.where(np.isnan(away_C), 1e-3 * np.abs(np.arange(len(channels)) - channel), away_C)
        away_C[channel] = -1.0
        near_C = used_C & (away_C <= radius) & (channels.groups == channels.groups[channel])
        inside = np.flatnonzero(near_C)
        found[int(channel)] = inside[np.argsort(away_C[inside], kind="stable")][:most]
    return found


def neighbourhoods(channels: Channels, used_C: np.ndarray, settings: WindowSettings) -> list[Neighbourhood]:
    """Cut a probe into neighbourhoods; a group of few channels, such as a tetrode, is one.

    Large groups are cut along the probe: a core is about half as wide as the radius, and the channels within the radius
    of its middle are cut around its spikes.

    Example:
        >>> [n.core.tolist() for n in neighbourhoods(Channels.unknown(4, 2), np.ones(4, bool), WindowSettings())]
        [[0, 1], [2, 3]]
    """
    found = []
    for group in dict.fromkeys(channels.groups.tolist()):
        members = np.flatnonzero(used_C & (channels.groups == group))
        if not len(members):
            continue
        spread = np.nan_to_num(np.ptp(channels.positions_C2[members], axis=0))
        if len(members) <= settings.max_channels and np.hypot(*spread) <= 2 * settings.radius:
            found.append(Neighbourhood(members, members))
            continue
        if not channels.known or np.isnan(channels.positions_C2[members]).any():
            cores = [members[k : k + 1] for k in range(len(members))]
        else:
            cores = _cut(channels.positions_C2, members, 0.5 * settings.radius)
        found += [Neighbourhood(core, _around(channels, members, core, settings)) for core in cores]
    return found


def _cut(positions_C2: np.ndarray, members: np.ndarray, size: float) -> list[np.ndarray]:
    """Return channels in tiles of a size, in the order of their places."""
    tile_M2 = np.floor((positions_C2[members] - positions_C2[members].min(axis=0)) / size).astype(int)
    _, tile_M = np.unique(tile_M2, axis=0, return_inverse=True)
    tile_M = tile_M.reshape(-1)
    return [members[tile_M == tile] for tile in range(tile_M.max() + 1)]


def _around(channels: Channels, members: np.ndarray, core: np.ndarray, settings: WindowSettings) -> np.ndarray:
    middle_2 = channels.positions_C2[core].mean(axis=0)
    away_M = np.hypot(*(channels.positions_C2[members] - middle_2).T)
    away_M = np.where(np.isnan(away_M), np.abs(members - core.mean()), away_M)
    away_M = np.where(np.isin(members, core), -1.0, away_M)
    order = np.argsort(away_M, kind="stable")
    near = members[order][: max(settings.max_channels, len(core))]
    if not np.isnan(middle_2).any():
        near = near[away_M[order][: len(near)] <= settings.radius]
    return np.sort(near)
