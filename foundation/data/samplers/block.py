"""Windows in an order that decodes each block of the store once an epoch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from foundation.common.errors import ConfigError
from foundation.data.samplers.sampler import EpochSampler, Shape, Spans, check_seed, grid_of, no_window, uniforms
from foundation.data.windows import WindowTable
from foundation.store.interval import Interval

LEAST_WINDOWS = 10  # minimum number of adjacent windows in a segment


class BlockSampler(EpochSampler):
    """Sampler of every window once an epoch, shuffled within buffers of several segments.

    A segment is a stored block, or as many neighbouring blocks as hold ten windows. Each epoch shuffles the segments,
    takes ``buffer`` of them at a time, and shuffles the windows of those together: a segment is decoded once an epoch
    as long as ``buffer`` segments fit the loader's cache. Windows tile the observed time inside a segment and do not
    cross into the next, so a remainder at the end of a segment is left out (`left_out`, a share of the observed time);
    with jitter each epoch shifts the tiling, as in `FixedSampler`. To measure how far this order is from a uniform one,
    use `foundation.data.shuffle_quality.distance_from_uniform`.

    Args:
        intervals: recording id -> where windows may lie (`sampling_intervals`).
        blocks: recording id -> the time of each stored block (`block_spans`).
        duration: seconds of a window.
        bin_width: seconds of a bin.
        buffer: segments whose windows are shuffled together. A block of spikes is decoded to half a megabyte.
        grid: seconds between two possible starts, counted from each interval's own start; None: any nanosecond.
        jitter: shift the windows of each segment in every epoch.
        seed: of order and jitter.

    Raises:
        ConfigError: if a value is invalid, or no segment holds a window.

    Example:
        >>> blocks = {"a": Interval([0.0, 20.0, 40.0], [20.0, 40.0, 60.0])}
        >>> sampler = BlockSampler(intervals={"a": Interval([0.0], [60.0])}, blocks=blocks, duration=1.0, bin_width=0.1,
        ...                        buffer=1, seed=0)
        >>> segments = sampler.windows(0, 19).start_B // 20_000_000_000
        >>> len(sampler), len(set(segments.tolist()))
        (58, 1)
    """

    def __init__(
        self,
        *,
        intervals: Mapping[str, Interval],
        blocks: Mapping[str, Interval],
        duration: float,
        bin_width: float,
        buffer: int = 16,
        grid: float | None = None,
        jitter: bool = False,
        seed: int = 0,
    ) -> None:
        self.shape, self.seed, self.jitter = Shape.of(duration, bin_width), check_seed(seed), jitter
        self.grid = grid_of(grid)
        if buffer < 1:
            raise ConfigError(f"buffer is {buffer}: expected at least 1 segment")
        self.buffer = buffer
        missing = sorted(set(intervals) - set(blocks))
        if missing:
            raise ConfigError(f"blocks has no entry for {', '.join(missing[:3])}: expected the result of block_spans")
        length = self.shape.length
        self.recordings = tuple(sorted(intervals))
        pieces, observed, segment = [], 0, 0
        for r, name in enumerate(self.recordings):
            spans = Spans.of({name: intervals[name].union()})
            observed += int((spans.high_I - spans.low_I).sum())
            for low, high in _segments(Spans.of({name: blocks[name]}), spans, length * LEAST_WINDOWS):
                # A nanosecond later, so that no window touches the end of the previous block.
                late = np.maximum(low + 1 - spans.low_I, 0)
                first, last = spans.low_I + -(-late // self.grid) * self.grid, np.minimum(spans.high_I, high)
                fits = last - first >= length
                pieces += [(r, segment, a, b) for a, b in zip(first[fits], last[fits], strict=True)]
                segment += 1
        if not pieces:
            raise no_window("block", length)
        recording_I, segment_I, self._low_I, high_I = np.array(pieces, dtype=np.int64).T
        self._recording_I, room_I = recording_I, high_I - self._low_I - length
        count_I = room_I // length + 1
        if jitter:
            count_I = np.maximum(count_I - 1, 1)
        self._free_I = room_I - (count_I - 1) * length
        self._count_I = count_I
        self._pieces_S = np.split(np.arange(len(count_I)), np.flatnonzero(np.diff(segment_I)) + 1)
        self._windows_S = np.array([int(count_I[i].sum()) for i in self._pieces_S])
        self._size = int(count_I.sum())
        self.left_out = 1 - self._size * length / observed
        self._orders: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._buffers: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return self._size

    def steps_together(self, batch_size: int) -> int:
        """Return about how many steps read the same segments: one worker reads them all and decodes once."""
        windows = self.buffer * self._size / len(self._windows_S)
        return min(max(round(windows / batch_size), 1), 32)

    def windows(self, first: int, last: int) -> WindowTable:
        """Return windows number ``first`` to ``last - 1``."""
        recording, start = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        while first < last:
            epoch, place = divmod(first, self._size)
            _, ends_G = self._order(epoch)
            g = int(np.searchsorted(ends_G, place, side="right"))
            begin = int(ends_G[g - 1]) if g else 0
            end = min(int(ends_G[g]), place + last - first)
            recording_W, start_W = self._buffer(epoch, g)
            recording.append(recording_W[place - begin : end - begin])
            start.append(start_W[place - begin : end - begin])
            first += end - place
        return self.shape.table(np.concatenate(recording), np.concatenate(start))

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the segments in an epoch's order, and the end of each buffer in the epoch."""
        if epoch not in self._orders:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self._windows_S))
            ends = np.cumsum(self._windows_S[order])
            last = np.minimum(np.arange(self.buffer, len(order) + self.buffer, self.buffer), len(order)) - 1
            _keep(self._orders, epoch, (order, ends[last]))
        return self._orders[epoch]

    def _buffer(self, epoch: int, g: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the recordings and starts of a buffer's windows, in order."""
        if (epoch, g) not in self._buffers:
            order, _ = self._order(epoch)
            i = np.concatenate([self._pieces_S[s] for s in order[g * self.buffer : (g + 1) * self.buffer]])
            count = self._count_I[i]
            shift = np.zeros(len(i), dtype=np.int64)
            if self.jitter:
                key = self.seed ^ (epoch + 1) << 64
                u = np.array([uniforms(key, int(k), int(k) + 1)[0, 0] for k in i])
                shift = (u * (self._free_I[i] // self.grid + 1)).astype(np.int64) * self.grid
            tile = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            start = np.repeat(self._low_I[i] + shift, count) + tile * self.shape.length
            mixed = np.random.default_rng([self.seed, epoch, g]).permutation(len(start))
            _keep(self._buffers, (epoch, g), (np.repeat(self._recording_I[i], count)[mixed], start[mixed]))
        return self._buffers[epoch, g]


def _keep(kept: OrderedDict, key: object, value: tuple[np.ndarray, np.ndarray]) -> None:
    """Keep the newest two."""
    kept[key] = value
    while len(kept) > 2:
        kept.popitem(last=False)


def _segments(blocks: Spans, observed: Spans, least: int) -> list[tuple[int, int]]:
    """Return runs of neighbouring blocks that cover all observed time, each at least ``least`` long if possible."""
    if not len(observed.low_I):
        return []
    # Time before the first spike and after the last was also observed.
    start = min(int(observed.low_I.min()), int(blocks.low_I[0])) - 1
    end = max(int(observed.high_I.max()), int(blocks.high_I[-1]))
    segments, low = [], start
    for before, after in zip(blocks.high_I[:-1].tolist(), blocks.low_I[1:].tolist(), strict=True):
        if after - low >= least and end - before >= least:
            segments.append((low, after))
            low = before
    return [*segments, (low, end)]
