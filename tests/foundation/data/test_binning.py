from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.data import ActivityReader, WindowReader, WindowTable
from foundation.data.reading.binning import rebin_samples
from foundation.data.reading.decoded_blocks import SpikeSource
from foundation.store import (
    Catalog,
    Interval,
    Recording,
    RegularTimeSeries,
    Source,
    Spikes,
    Store,
    StoredRecording,
    Subject,
    Units,
    write_recording,
)
from foundation.store.format.spike_blocks import to_blocks


def one_window(reader: ActivityReader, start, n_bins, width, units=None) -> np.ndarray:
    """``(M, T)`` float32, one window of one recording."""
    return reader.read(reader.table([start], n_bins, width, units), dtype=torch.float32).x_BNT[0].numpy()


def stored(tmp_path, **parts) -> StoredRecording:
    store = Store(tmp_path / "store", create=True)
    base = {"source": Source("x.nwb", "x"), "subject": Subject("m"), "session": "s"}
    return StoredRecording(store, write_recording(store, Recording(**(base | parts))))


def plain(trains, start, n_bins, width):
    """Spikes at integer times, counted bin by bin."""
    return np.array(
        [[((t >= start + k * width) & (t < start + (k + 1) * width)).sum() for k in range(n_bins)] for t in trains]
    )


def table(recording, start, n_bins, width, units=None) -> WindowTable:
    offsets = index = None
    if units is not None:
        offsets = np.concatenate([[0], np.cumsum([len(u) for u in units])])
        index = np.concatenate(units).astype(np.int64)
    columns = [np.asarray(v, dtype=np.int64) for v in (recording, start, n_bins, width)]
    return WindowTable(*columns, -np.ones(len(recording), dtype=np.int64), offsets, index)


def test_bins_equal_a_plain_loop(tmp_path):
    rng = np.random.default_rng(1)
    # On a 1 ms grid, so that spikes fall on borders of bins: each belongs to the later bin.
    ticks = [np.sort(rng.integers(0, 60_000, n)) for n in (0, 50, 4000, 90_000)]
    spikes = Spikes.from_trains([t / 1000 for t in ticks])
    assert len(to_blocks(spikes).edges) > 2  # windows span blocks
    reader = ActivityReader(stored(tmp_path, units=Units(4), domain=Interval.single(0, 60), spikes=spikes))
    for start, n_bins, width in [(0, 50, 10), (12_345, 7, 3), (29_990, 40, 25), (59_000, 100, 20), (-500, 60, 10)]:
        expected = plain(ticks, start, n_bins, width)
        found = one_window(reader, start / 1000, n_bins, width / 1000)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(
            one_window(reader, start / 1000, n_bins, width / 1000, np.array([2, 0])), expected[[2, 0]]
        )


@pytest.fixture(scope="module")
def catalog(mixed_store):
    folder, trains = mixed_store
    return Catalog.open(Store(folder)), trains


window = st.tuples(
    st.integers(0, 2),  # recording
    st.integers(-2000, 121_000),  # start in ms
    st.integers(1, 60),  # bins
    st.integers(1, 700),  # ms of a bin
)


@given(
    windows=st.lists(window, min_size=1, max_size=12),
    subset=st.booleans(),
    packed=st.booleans(),
    cache=st.sampled_from([1, 200_000, 1 << 24]),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_batch_equals_a_plain_loop(catalog, windows, subset, packed, cache, data):
    catalog, trains = catalog
    spikes = [r for r in catalog.records if r.kind == "spikes"]
    reader = WindowReader(catalog.store, spikes, cache)
    r, start, n_bins, width = zip(*windows, strict=True)
    units = None
    if subset:
        units = [
            np.array(data.draw(st.permutations(range(min(spikes[i].n_units, 12)))))[: data.draw(st.integers(1, 12))]
            for i in r
        ]
    ms = 1_000_000
    rows = table(r, np.array(start) * ms, n_bins, np.array(width) * ms, units)
    batch = reader.read_packed(rows, bins_per_token=4) if packed else reader.read(rows, bins_per_token=4)
    for b, (i, s, n, w) in enumerate(windows):
        expected = plain(trains[spikes[i].path], s * ms, n, w * ms)
        expected = expected if units is None else expected[units[b]]
        if packed:
            low, high = batch.offsets[b : b + 2].tolist()
            found = batch.x_MT[low:high]
            assert (batch.window_M[low:high] == b).all()
        else:
            found = batch.x_BNT[b]
            assert batch.mask_BN[b].sum() == len(expected)
            assert batch.mask_BN[b, : len(expected)].all()
            assert not found[len(expected) :].any()
            found = found[: len(expected)]
        assert batch.mask_BT[b].sum() == n
        np.testing.assert_array_equal(found[:, :n], expected)
        assert not found[:, n:].any()
    assert max(n_bins) <= batch.mask_BT.shape[1] < max(n_bins) + 4


def test_windows_that_start_or_end_at_a_block_border(tmp_path):
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.integers(0, 5_000, 45_000)) * 1_000_000 for _ in range(3)]
    spikes = Spikes.from_trains([t / 1e9 for t in trains])
    stored(tmp_path, units=Units(3), domain=Interval.single(0, 5), spikes=spikes)
    catalog = Catalog.build(Store(tmp_path / "store"))
    edges = np.rint(to_blocks(spikes).edges * 1e9).astype(np.int64)
    at_edge = [[(t == edge).sum() for t in trains] for edge in edges]
    assert len(edges) == 4
    assert np.min(np.sum(at_edge, axis=1)) > 3  # spikes of one time on both sides
    width, ms = 1000, 1_000_000
    starts = np.concatenate([edges, edges - 10 * ms, edges - 10 * ms + 1, edges + 1])
    batch = WindowReader(catalog.store, catalog.records).read(
        table(np.zeros_like(starts), starts, np.full_like(starts, 10 * ms // width), np.full_like(starts, width))
    )
    for b, start in enumerate(starts):
        whole = [((t >= start) & (t < start + 10 * ms)).sum() for t in trains]
        assert batch.x_BNT[b].int().sum(1).tolist() == whole


def test_more_than_255_spikes_in_a_bin_widen_the_batch(tmp_path):
    # 255 in one window's bins, 256 and 70,000 in the others'.
    times = np.concatenate([np.full(n, k + 0.5) for k, n in enumerate((255, 256, 70_000))])
    stored(tmp_path, units=Units(1), domain=Interval.single(0, 3), spikes=Spikes.from_trains([times]))
    catalog = Catalog.build(Store(tmp_path / "store"))
    reader = WindowReader(catalog.store, catalog.records)
    second = 1_000_000_000
    small = reader.read(table([0], [0], [1], [second]))
    assert (small.x_BNT.dtype, small.x_BNT.item(), reader.widened) == (torch.uint8, 255, 0)
    large = reader.read(table([0, 0, 0], [0, second, 2 * second], [1] * 3, [second] * 3))
    assert (large.x_BNT.dtype, large.x_BNT.ravel().tolist()) == (torch.int32, [255, 256, 70_000])
    assert reader.widened == 1
    inputs = large.model_inputs()["x_BNT"]
    assert (inputs.dtype, inputs.max().item()) == (torch.float32, 70_000)


def test_bins_of_a_tenth_of_a_second_do_not_drift(tmp_path):
    # 0.1 * k is not k / 10 in floating point; a spike in the middle of each bin must stay there.
    times = np.arange(36_000) / 10 + 0.05
    recording = stored(tmp_path, units=Units(1), domain=Interval.single(0, 3600), spikes=Spikes.from_trains([times]))
    assert (one_window(ActivityReader(recording), 0.0, 36_000, 0.1) == 1).all()


def test_samples_are_spread_and_merged_without_loss(tmp_path):
    counts = np.random.default_rng(0).poisson(3.0, (40, 2)).astype(float)
    reader = ActivityReader(
        stored(tmp_path, units=Units(2), domain=Interval.single(0, 160), activity=RegularTimeSeries(counts, 0.25))
    )
    np.testing.assert_array_equal(one_window(reader, 0.0, 40, 4.0), counts.T)
    np.testing.assert_allclose(one_window(reader, 8.0, 8, 1.0)[0], np.repeat(counts[2:4, 0], 4) / 4, rtol=1e-6)
    np.testing.assert_allclose(one_window(reader, 8.0, 2, 8.0)[1], counts[2:6, 1].reshape(2, 2).sum(1), rtol=1e-6)
    # Units in another order, before the start and after the end.
    np.testing.assert_array_equal(one_window(reader, -4.0, 2, 4.0, np.array([1, 0]))[:, 1], counts[0, ::-1])
    assert not one_window(reader, -4.0, 1, 4.0).any()
    assert not one_window(reader, 160.0, 3, 4.0).any()


def test_values_are_averaged_and_missing_samples_ignored(tmp_path):
    values = np.array([[1.0, 5.0], [3.0, np.nan], [5.0, 7.0], [7.0, 9.0]])
    reader = ActivityReader(
        stored(
            tmp_path,
            units=Units(2),
            domain=Interval.single(0, 0.4),
            activity=RegularTimeSeries(values, 10.0),
            activity_kind="values",
        )
    )
    np.testing.assert_allclose(one_window(reader, 0.0, 2, 0.2), [[2.0, 6.0], [2.5, 8.0]], rtol=1e-6)
    np.testing.assert_allclose(one_window(reader, 0.05, 1, 0.1), [[2.0], [2.5]], rtol=1e-6)


@given(st.floats(-3, 12), st.floats(0.05, 5.0), st.integers(1, 30), st.integers(1, 10))
@settings(deadline=None)
def test_rebinning_conserves_counts_in_any_blocks(position, samples_per_bin, n_bins, rows):
    data = np.arange(1.0, 11.0, dtype=np.float32)[:, None]
    blocks = [np.ascontiguousarray(data[k : k + rows]) for k in range(0, 10, rows)]
    n, one, zero = len(blocks), np.ones(1), np.zeros(1, dtype=np.int64)
    out = np.zeros(n_bins, dtype=np.float64)
    rebin_samples(
        zero, zero, zero + n, one * position, one * samples_per_bin, one, zero + n_bins, zero, zero - 1, zero,
        np.array([b.ctypes.data for b in blocks]), np.array([len(b) for b in blocks]), np.arange(0, 10, rows),
        np.ones(n, dtype=np.int64), out, n_bins,
    )  # fmt: skip
    edges = np.clip(position + np.arange(n_bins + 1) * samples_per_bin, 0, 10)
    exact = [
        sum((k + 1) * max(0.0, min(high, k + 1) - max(low, k)) for k in range(10)) for low, high in pairwise(edges)
    ]
    np.testing.assert_allclose(out, exact, atol=1e-6)


def test_blocks_hold_equal_numbers_of_spikes_in_order_of_time(tmp_path):
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.integers(0, 5_000, 45_000)) / 1000 for _ in range(3)]  # many spikes of one time
    source = SpikeSource(
        stored(tmp_path, units=Units(3), domain=Interval.single(0, 5), spikes=Spikes.from_trains(trains))
    )
    keys = [source.decode(k) for k in range(len(source.low_K))]
    assert [len(k) for k in keys] == [65536, 65536, 135_000 - 2 * 65536]
    found = [[] for _ in trains]
    for k, block in enumerate(keys):
        assert (np.diff(block) >= 0).all()
        time, unit = (block >> source.shift) + source.base_K[k], block & ((1 << source.shift) - 1)
        assert source.low_K[k] <= time.min() <= time.max() <= source.high_K[k]
        for n in range(3):
            found[n].append(time[unit == n])
    for train, parts in zip(trains, found, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), np.rint(train * 1e9))
