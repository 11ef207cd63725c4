"""Windows with uniformly random starts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.samplers.sampler import (
    Places,
    Shape,
    Spans,
    WindowSampler,
    check_seed,
    grid_of,
    no_window,
    uniforms,
)
from foundation.data.windows import WindowTable
from foundation.store.interval import Interval


class RandomSampler(WindowSampler):
    r"""Sampler of windows drawn independently and uniformly, with replacement.

    Without weights every start on the grid of every interval is equally likely; recording r is drawn with probability

    .. math:: p_r = P_r / \sum_s P_s, \quad P_r = \sum_i \left(\lfloor (L_{ri} - d) / g \rfloor + 1\right)

    for intervals of lengths L, duration d and grid g. With weights, p_r is the recording's weight over the sum of all.

    Args:
        intervals: recording id -> where windows may lie (`sampling_intervals`).
        duration: seconds of a window.
        bin_width: seconds of a bin.
        grid: seconds between two possible starts, counted from each interval's own start; None: any nanosecond.
        weights: recording id -> weight; None: by observed time, as above.
        seed: of the order.

    Raises:
        ConfigError: if a value is invalid, or no interval holds a window.

    Example:
        >>> sampler = RandomSampler(intervals={"a": Interval([0.0], [10.0])}, duration=1.0, bin_width=0.1, seed=0)
        >>> table = sampler.windows(0, 3)
        >>> len(table), bool((table.start_B <= 9_000_000_000).all())
        (3, True)
    """

    def __init__(
        self,
        *,
        intervals: Mapping[str, Interval],
        duration: float,
        bin_width: float,
        grid: float | None = None,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.shape, self.seed = Shape.of(duration, bin_width), check_seed(seed)
        spans = Spans.of(intervals)
        self.recordings = spans.recordings
        share = None
        if weights is not None:
            unknown = sorted(set(spans.recordings) - set(weights))
            if unknown:
                raise ConfigError(
                    f"weights has no entry for {', '.join(unknown[:3])}: expected one weight per recording"
                )
            share = np.array([weights[name] for name in spans.recordings], dtype=np.float64)
            if not (np.isfinite(share).all() and (share >= 0).all() and share.sum() > 0):
                raise ConfigError("weights: expected finite numbers of 0 or more, at least one of them above 0")
        self.places = Places(spans, self.shape.length, grid_of(grid), spans.recording_I, share)
        if not self.places.cumulative_G.any():
            raise no_window("interval", self.shape.length)

    def windows(self, first: int, last: int) -> WindowTable:
        """Return windows number ``first`` to ``last - 1``."""
        recording_B, start_B, _ = self.places.draw(uniforms(self.seed, first, last))
        return self.shape.table(recording_B, start_B)
