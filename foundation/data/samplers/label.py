"""Windows inside intervals of a label: sleep states, conditions, stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


class LabelSampler(WindowSampler):
    """Sampler of windows drawn independently within the intervals of each label.

    Args:
        intervals: recording id -> intervals with the column (`sampling_intervals(catalog, "states")`).
        column: the column that holds the label.
        labels: labels to draw; None: all except ``''``. A window's ``label_B`` is its index in `labels`.
        duration: seconds of a window.
        bin_width: seconds of a bin.
        balance: every label is equally likely; otherwise labels are weighted by their time.
        grid: seconds between two possible starts, counted from each interval's own start; None: any nanosecond.
        seed: of the order.

    Raises:
        ConfigError: if a value is invalid, a column is missing, or a label has no interval that holds a window.

    Example:
        >>> states = Interval([0.0, 50.0], [50.0, 60.0], {"state": np.array(["wake", "rem"])})
        >>> sampler = LabelSampler(intervals={"a": states}, column="state", duration=2.0, bin_width=0.5, seed=0)
        >>> sampler.labels, bool(np.bincount(sampler.windows(0, 1000).label_B).min() > 400)
        (('rem', 'wake'), True)
    """

    def __init__(
        self,
        *,
        intervals: Mapping[str, Interval],
        column: str,
        labels: Sequence[str] | None = None,
        duration: float,
        bin_width: float,
        balance: bool = True,
        grid: float | None = None,
        seed: int = 0,
    ) -> None:
        self.shape, self.seed = Shape.of(duration, bin_width), check_seed(seed)
        for name, interval in intervals.items():
            if len(interval) and column not in interval.columns:
                there = ", ".join(sorted(interval.columns)) or "none"
                raise ConfigError(f"the intervals of recording {name} have no column {column!r}; columns: {there}")
        spans = Spans.of(intervals)
        self.recordings = spans.recordings
        values = [intervals[name].columns[column] for name in spans.recordings if len(intervals[name])]
        text_I = np.concatenate([np.asarray(v).astype(str) for v in values] or [np.empty(0, dtype=str)])
        self.labels = tuple(sorted(set(text_I.tolist()) - {"", "nan"}) if labels is None else labels)
        code_I = np.full(len(text_I), -1, dtype=np.int64)
        for code, label in enumerate(self.labels):
            code_I[text_I == str(label)] = code
        kept = code_I >= 0
        chosen = Spans(spans.recordings, spans.recording_I[kept], spans.low_I[kept], spans.high_I[kept])
        share = np.ones(len(self.labels)) if balance else None
        self.places = Places(chosen, self.shape.length, grid_of(grid), code_I[kept], share)
        places_G = np.pad(self.places.places_G, (0, len(self.labels) - len(self.places.places_G)))
        short = [str(label) for label, n in zip(self.labels, places_G, strict=True) if n == 0]
        if short or not self.labels:
            raise no_window(f"interval with {column} {' or '.join(short) or 'that is not empty'}", self.shape.length)

    def windows(self, first: int, last: int) -> WindowTable:
        """Return windows number ``first`` to ``last - 1``."""
        recording_B, start_B, label_B = self.places.draw(uniforms(self.seed, first, last))
        return self.shape.table(recording_B, start_B, label_B)
