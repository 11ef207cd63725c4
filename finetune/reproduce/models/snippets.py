"""Snippets of spike trains as histograms of their inter-event intervals, at several timescales: the input of LOLCAT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from foundation.common.errors import ConfigError


@dataclass(frozen=True)
class Timescale:
    """One length of snippet.

    Args:
        seconds: length of a snippet.
        bins: linear bins of interval length, from 0 to ``seconds``.
        step: seconds from one snippet's start to the next one's; None: the snippet's length.

    Raises:
        ConfigError: if a value is invalid.
    """

    seconds: float = 3.0
    bins: int = 90
    step: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("bins", self.bins), ("step", self.step)):
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}: expected above 0")

    def starts(self, first: float, last: float) -> np.ndarray:
        """Return ``(S,)`` start times of snippets that fit in ``first`` to ``last``."""
        step = self.step or self.seconds
        return first + step * np.arange(max(0, int(np.floor((last - first - self.seconds) / step + 1e-9)) + 1))


def interval_histograms(times: np.ndarray, starts: np.ndarray, scale: Timescale) -> np.ndarray:
    """Count the inter-event intervals of one unit in each snippet.

    Args:
        times: ``(E,)`` sorted seconds of events.
        starts: ``(S,)`` start times of snippets, seconds.
        scale: their length, and the bins.

    Returns:
        ``(S, F)`` float32 counts. An interval belongs to a snippet if both its events do.

    Example:
        >>> scale = Timescale(seconds=1.0, bins=4)
        >>> interval_histograms(np.array([0.1, 0.2, 0.9, 1.5]), np.array([0.0, 1.0]), scale).tolist()
        [[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    times = np.asarray(times, dtype=np.float64)
    histograms_SF = np.zeros((len(starts), scale.bins), dtype=np.float32)
    edges = np.searchsorted(times, np.stack([starts, starts + scale.seconds]))
    for s, (low, high) in enumerate(edges.T):
        place = (np.diff(times[low:high]) * (scale.bins / scale.seconds)).astype(np.int64)
        histograms_SF[s] = np.bincount(np.minimum(place, scale.bins - 1), minlength=scale.bins)
    return histograms_SF


def snippet_batch(
    trains: Sequence[np.ndarray], domain: tuple[float, float], scales: Sequence[Timescale], min_events: int = 1
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return histograms of several units, a tensor per timescale.

    Args:
        trains: sorted event times of each unit, seconds.
        domain: first and last second.
        scales: lengths of snippets.
        min_events: snippets with fewer events are masked, except a unit's busiest.

    Returns:
        ``(B, S, F)`` histograms and ``(B, S)`` bool masks, per timescale.

    Raises:
        ConfigError: if no snippet of some timescale fits.
        ValueError: without units or timescales.
    """
    if not len(trains) or not len(scales):
        raise ValueError(f"{len(trains)} trains and {len(scales)} scales: expected at least one of each")
    histograms, masks = [], []
    for scale in scales:
        starts = scale.starts(*domain)
        if not len(starts):
            raise ConfigError(f"seconds is {scale.seconds}: no snippet fits {domain[1] - domain[0]:g} s")
        histograms.append(torch.from_numpy(np.stack([interval_histograms(t, starts, scale) for t in trains])))
        edges = np.stack([starts, starts + scale.seconds])
        events_BS = np.stack([np.diff(np.searchsorted(t, edges), axis=0)[0] for t in trains])
        mask_BS = events_BS >= min_events
        mask_BS |= events_BS == events_BS.max(axis=1, keepdims=True)
        masks.append(torch.from_numpy(mask_BS))
    return histograms, masks
