"""Windows aligned to an event of each trial."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.samplers.epochs import Epochs
from foundation.data.samplers.sampler import EpochSampler, Shape, Spans, check_seed, no_window
from foundation.data.windows import WindowTable, to_nanoseconds
from foundation.store.interval import Interval


class TrialSampler(EpochSampler):
    """Sampler of one window per trial, aligned to a column of the trial table, once an epoch.

    Args:
        trials: recording id -> a table of trials or of any other intervals (`sampling_intervals(catalog, "trials",
            clip=False)`). A window's ``label_B`` is the row of its trial in its recording's table.
        column: ``start``, ``end``, or a column of times in seconds, such as ``go_cue_time``; NaN: no window.
        offset: seconds from that time to the window's start; may be negative.
        duration: seconds of a window.
        bin_width: seconds of a bin.
        domain: recording id -> observed time; windows that are not entirely inside are left out. None: all are used.
        shuffle: a new order every epoch; otherwise by recording and row.
        seed: of the order.

    `left_out` is the number of trials without a time or that were not fully observed.

    Raises:
        ConfigError: if a value is invalid, a column is missing or holds no times, or no trial is left.

    Example:
        >>> trials = Interval([1.0, 4.0], [3.0, 6.0], {"cue": np.array([1.5, np.nan])})
        >>> sampler = TrialSampler(trials={"a": trials}, column="cue", offset=-0.5, duration=1.0, bin_width=0.1)
        >>> len(sampler), sampler.left_out, (sampler.windows(0, 1).start_B / 1e9).tolist()
        (1, 1, [1.0])
    """

    def __init__(
        self,
        *,
        trials: Mapping[str, Interval],
        column: str = "start",
        offset: float = 0.0,
        duration: float,
        bin_width: float,
        domain: Mapping[str, Interval] | None = None,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self.shape, self.seed, self.shuffle = Shape.of(duration, bin_width), check_seed(seed), shuffle
        if not np.isfinite(offset):
            raise ConfigError(f"offset is {offset}: expected seconds from the event to the window's start")
        spans = Spans.of(trials)
        self.recordings = spans.recordings
        kept, starts, rows = [], [], []
        for name in spans.recordings:
            start = _times(name, trials[name], column) + offset
            good = np.isfinite(start)
            if domain is not None:
                observed = domain.get(name, Interval(np.empty(0), np.empty(0)))
                at = np.where(good, start, 0.0)
                good &= observed.covers(at, at + self.shape.length / 1e9)
            rows.append(np.flatnonzero(good))
            starts.append(to_nanoseconds(start[good]))
            kept.append(int(good.sum()))
        empty = np.empty(0, dtype=np.int64)
        self._recording_W = np.repeat(np.arange(len(kept)), kept)
        self._start_W, self._row_W = np.concatenate([*starts, empty]), np.concatenate([*rows, empty])
        self.left_out = len(spans.low_I) - len(self._start_W)
        if not len(self._start_W):
            raise no_window(f"trial with a time in {column}", self.shape.length)
        self._epochs = Epochs(len(self._start_W), self._order)

    def __len__(self) -> int:
        return len(self._start_W)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self))

    def windows(self, first: int, last: int) -> WindowTable:
        """Return windows number ``first`` to ``last - 1``."""
        parts = [items for _, items in self._epochs.items(first, last)]
        items = np.concatenate([*parts, np.empty(0, dtype=np.int64)])
        return self.shape.table(self._recording_W[items], self._start_W[items], self._row_W[items])


def _times(name: str, trials: Interval, column: str) -> np.ndarray:
    """Return ``(K,)`` seconds of the event in each trial."""
    if column in ("start", "end"):
        return trials.start if column == "start" else trials.end
    if not len(trials):
        return np.empty(0)
    values = trials.columns.get(column)
    if values is None or values.dtype.kind not in "fiu" or values.ndim != 1:
        times = ["start", "end", *sorted(c for c, v in trials.columns.items() if v.dtype.kind == "f" and v.ndim == 1)]
        raise ConfigError(f"recording {name} has no column {column!r} of times; columns of numbers: {', '.join(times)}")
    return values.astype(np.float64)
