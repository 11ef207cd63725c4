"""The loader: order and content for any number of processes, workers and prefetched batches; memory; errors."""

import os
import subprocess
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from foundation.common.errors import ConfigError, FoundationError
from foundation.data import (
    BlockSampler,
    DataSettings,
    FixedSampler,
    Loader,
    RandomSampler,
    StepPlan,
    ViewSpec,
    WindowBatch,
    block_spans,
    sampling_intervals,
)
from foundation.data.reading.decoded_blocks import BlockCache, SpikeSource
from foundation.data.samplers.sampler import Shape
from foundation.store import Catalog, Store, write_recording
from foundation.store.stored import StoredRecording

WINDOW = {"duration": 0.5, "bin_width": 0.05, "seed": 1}
PLAN = DataSettings(bin_widths=[0.005, 1.0], tokens_per_step=4096, min_windows=6, max_units=16)


@pytest.fixture(scope="module")
def mixed(mixed_store):
    """The catalog of recordings of all kinds."""
    return Catalog.open(Store(mixed_store[0]))


def samplers(catalog):
    intervals = sampling_intervals(catalog)
    return {
        "random": RandomSampler(intervals=intervals, **WINDOW),
        "blocks": BlockSampler(intervals=intervals, blocks=block_spans(catalog), buffer=2, **WINDOW),
        "plan": StepPlan(catalog, PLAN, ViewSpec(views=2, min_tokens=2, max_tokens=8), bins_per_token=4, seed=1),
    }


def sized(sampler) -> dict:
    """The batch size for a sampler."""
    return {} if isinstance(sampler, StepPlan) else {"batch_size": 12}


def window_bytes(batch) -> list:
    """Each window of a batch as bytes that do not depend on the padding."""
    windows = []
    for b in range(len(batch.views[0])):
        parts = []
        for view in batch.views:
            x = view.x_BNT[b, : int(view.mask_BN[b].sum()), : int(view.mask_BT[b].sum())]
            parts += [x.float().numpy().tobytes(), tuple(x.shape), float(view.start_B[b]), float(view.dt_B[b])]
            parts += [int(view.recording_B[b]), int(view.label_B[b]), int(view.modality_B[b])]
        windows.append(tuple(parts))
    return windows


@pytest.mark.parametrize("name", ["random", "blocks", "plan"])
def test_processes_and_workers_change_neither_order_nor_content(mixed, name):
    sampler = samplers(mixed)[name]
    steps = 6
    whole = [window_bytes(b) for b in Loader(mixed, sampler, **sized(sampler), prefetch=0).steps(0, steps)]
    assert len({w for step in whole for w in step}) > 30
    for world in (1, 2, 3):
        for workers in (0, 1, 2):
            if world > 1 and workers == 1:
                continue
            parts = [
                [
                    window_bytes(b)
                    for b in Loader(
                        mixed, sampler, **sized(sampler), rank=rank, world=world, workers=workers, prefetch=1
                    ).steps(0, steps)
                ]
                for rank in (range(world) if workers < 2 else [world - 1])
            ]
            shares = zip(range(world) if workers < 2 else [world - 1], parts, strict=True)
            for rank, part in shares:
                mine = [range(rank, 12, world)] * steps
                if name == "plan":
                    mine = [sampler.share(k, rank, world)[1] for k in range(steps)]
                for k, step in enumerate(whole):
                    assert part[k] == [step[number] for number in mine[k]]


def test_run_continues_at_any_step_without_earlier_ones(mixed, monkeypatch):
    for sampler in samplers(mixed).values():
        whole = {b.step: window_bytes(b) for b in Loader(mixed, sampler, **sized(sampler)).steps(0, 9)}
        loader = Loader(mixed, sampler, **sized(sampler))
        late = {b.step: window_bytes(b) for b in loader.steps(7, 9)}
        assert late == {step: whole[step] for step in (7, 8)}
    # Earlier steps are neither drawn nor read: after a million steps, a batch costs the decoding of two windows.
    random = samplers(mixed)["random"]
    drawn = []
    real = Shape.table

    def table(shape, recording_B, start_B, label_B=None):
        drawn.append(len(start_B))
        return real(shape, recording_B, start_B, label_B)

    monkeypatch.setattr(Shape, "table", table)
    loader = Loader(mixed, random, batch_size=2, prefetch=0)
    assert next(loader.steps(1_000_000)).step == 1_000_000
    assert drawn == [32]  # sixteen steps are drawn together
    assert loader.reader.cache.decodes <= 4


def test_epoch_has_every_window_once_and_ends(mixed):
    sampler = FixedSampler(intervals=sampling_intervals(mixed), shuffle=True, **WINDOW)
    loader = Loader(mixed, sampler, batch_size=50)
    batches = list(loader)
    sizes = [len(b) for b in batches]
    assert sum(sizes) == len(sampler) == 6 * 240
    assert set(sizes[:-1]) == {50}
    seen = Counter((int(r), float(s)) for b in batches for r, s in zip(b.recording_B, b.start_B, strict=True))
    assert set(seen.values()) == {1}
    ranks = [list(Loader(mixed, sampler, batch_size=50, rank=r, world=3)) for r in range(3)]
    assert sum(len(b) for part in ranks for b in part) == len(sampler)


def test_batches_of_one_corpus_keep_kind_width_and_masks(mixed):
    kinds = Counter()
    for batch in Loader(mixed, samplers(mixed)["plan"]).steps(0, 12):
        view = batch.views[0]
        n_units = np.array([mixed.records[int(r)].n_units for r in view.recording_B])
        assert (view.mask_BN.sum(1).numpy() == np.minimum(n_units, 16)).all()
        assert not (view.x_BNT.float() * ~view.mask_BN[:, :, None]).any()
        assert not (view.x_BNT.float() * ~view.mask_BT[:, None, :]).any()
        for r, dt, modality in zip(view.recording_B, view.dt_B, view.modality_B, strict=True):
            record = mixed.records[int(r)]
            kinds[record.path, round(float(dt), 3)] += 1
            assert int(modality) == (record.kind == "values")
    assert {path for path, _ in kinds} == {f"{k}.nwb" for k in range(6)}
    # 4 s counts only at bins of 1 s (a token is four), 100 ms counts never finer than their samples.
    assert {width for path, width in kinds if path in ("3.nwb", "4.nwb")} == {1.0}


def test_packed_batches_equal_padded_ones_without_padding(mixed):
    sampler = samplers(mixed)["random"]
    padded = Loader(mixed, sampler, batch_size=16, bins_per_token=4).load(0).views[0]
    packed = Loader(mixed, sampler, batch_size=16, bins_per_token=4, packed=True).load(0).views[0]
    assert packed.x_MT.shape == (int(padded.mask_BN.sum()), 12)
    for b in range(16):
        low, high = packed.offsets[b : b + 2].tolist()
        assert torch.equal(packed.x_MT[low:high], padded.x_BNT[b, : high - low])
    assert torch.equal(packed.mask_BT, padded.mask_BT)


def big_store(folder, make_recording):
    store = Store(folder, create=True)
    for seed in range(3):
        write_recording(store, make_recording(seed, n_units=40, seconds=400.0))
    return Catalog.build(store)


@pytest.mark.parametrize("budget", [1, 600_000, 2_000_000])
def test_decoded_blocks_stay_within_the_limit_and_one_block(tmp_path, make_recording, budget):
    catalog = big_store(tmp_path / "store", make_recording)
    sampler = RandomSampler(intervals=sampling_intervals(catalog), duration=100.0, bin_width=1.0, seed=0)
    loader = Loader(catalog, sampler, batch_size=8, prefetch=0, cache_bytes=budget)
    expected = Loader(catalog, sampler, batch_size=8, prefetch=0)
    for batch, plenty in zip(loader.steps(0, 6), expected.steps(0, 6), strict=True):
        assert torch.equal(batch.x_BNT, plenty.x_BNT)
        cache = loader.reader.cache
        assert cache.held == sum(b.nbytes for b in cache._blocks.values())
        assert cache.held <= max(budget, 65536 * 8)
    assert cache.largest_held <= max(budget, 65536 * 8) + 65536 * 8
    whole = expected.reader.cache
    assert whole.held > 4_000_000  # the whole did not fit into the cache
    assert whole.decodes == len(whole._blocks) < cache.decodes


class CountedReads(np.ndarray):
    """An array that counts how often its items are read."""

    reads = 0

    def __getitem__(self, key):
        CountedReads.reads += 1
        return super().__getitem__(key)


@pytest.fixture
def many_small(tmp_path, make_recording):
    """A cache for 100 blocks, and 200 names of one recording with one block."""
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0, n_units=2, seconds=20.0))
    record = Catalog.build(store).records[0]
    size = BlockCache(store, [record], 1 << 30)
    size.open(np.array([0]))
    size.decode(0, set())
    return BlockCache(store, [record] * 200, 100 * size.held)


def test_opening_a_recording_does_not_scan_the_open_ones(many_small, monkeypatch):
    looks = []
    size = SpikeSource.nbytes.fget
    monkeypatch.setattr(SpikeSource, "nbytes", property(lambda source: looks.append(1) or size(source)))
    for r in range(200):
        many_small.open(np.array([r]))
    assert len(looks) <= 2 * 200
    assert sum(size(source) for source in many_small._sources.values()) <= many_small.max_bytes // 8


def test_dropping_the_oldest_block_does_not_scan_all(many_small):
    cache, rng = many_small, np.random.default_rng(0)
    cache.open(np.arange(200))
    cache.used_K = cache.used_K.view(CountedReads)
    CountedReads.reads = 0
    expected: dict[int, None] = {}  # in the order of use
    for k in rng.integers(0, 200, 1000).tolist():
        assert cache.decode(k, set())
        expected.pop(k, None)
        expected[k] = None
        while len(expected) > 100:
            expected.pop(next(iter(expected)))
        assert set(cache._blocks) == set(expected)
    assert cache.decodes > 400
    assert CountedReads.reads < 5 * 1000  # sorting 100 blocks each time would take 100 times as many comparisons


def test_block_aligned_windows_decode_each_block_once_an_epoch(tmp_path, make_recording):
    catalog = big_store(tmp_path / "store", make_recording)
    intervals = sampling_intervals(catalog)
    blocks = block_spans(catalog)
    n_blocks = sum(len(b) for b in blocks.values())
    assert n_blocks >= 9
    block = BlockSampler(intervals=intervals, blocks=blocks, buffer=2, **WINDOW)
    loader = Loader(catalog, block, batch_size=16, prefetch=0, cache_bytes=4 * 65536 * 8)
    assert sum(len(b) for b in loader) == len(block)
    assert loader.reader.cache.decodes == n_blocks
    random = RandomSampler(intervals=intervals, **WINDOW)
    uniform = Loader(catalog, random, batch_size=16, prefetch=0, cache_bytes=1 << 20)
    for _ in islice(uniform.steps(0), 10):
        pass
    assert uniform.reader.cache.decodes > n_blocks


WORKERS = """
import os, signal, sys
import multiprocessing
from foundation.data import FixedSampler, Loader, sampling_intervals
from foundation.common.errors import FoundationError
from foundation.store import Catalog, Store

class Reports(FixedSampler):
    def windows(self, first, last):
        import foundation.data.reading.decoded_blocks
        with open(sys.argv[2], "a") as file:
            file.write(f"{os.getpid()} {os.getppid()} {multiprocessing.get_start_method(allow_none=True)}\\n")
        if sys.argv[3] == "die" and first >= 800:
            os.kill(os.getpid(), signal.SIGKILL)
        if sys.argv[3] == "fail" and first >= 800:
            raise ValueError("a fault of its own")
        return super().windows(first, last)

if __name__ == "__main__":
    def forked():
        raise RuntimeError("forked")
    os.register_at_fork(before=forked)
    catalog = Catalog.open(Store(sys.argv[1]))
    sampler = Reports(intervals=sampling_intervals(catalog), duration=0.5, bin_width=0.05)
    try:
        n = sum(len(b) for b in Loader(catalog, sampler, batch_size=50, workers=2).steps(0, 40))
        print("windows", n, os.getpid())
    except Exception as error:
        print(type(error).__name__, error)
"""


def in_a_program(tmp_path, store, what) -> tuple[str, list[list[str]]]:
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, str(program), str(store), str(log), what],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        cwd=tmp_path,
    )
    return done.stdout + done.stderr[-2000:], [line.split() for line in log.read_text().splitlines()]


def test_workers_are_never_forked(tmp_path, mixed_store):
    output, log = in_a_program(tmp_path, mixed_store[0], "work")
    assert "windows 2000" in output, output
    asked = output.split()[2]
    workers = {pid for pid, _, _ in log}
    assert len(workers) == 2
    assert asked not in workers | {parent for _, parent, _ in log}  # children of the fork server


def test_dead_worker_raises_instead_of_hanging(tmp_path, mixed_store):
    output, _ = in_a_program(tmp_path, mixed_store[0], "die")
    assert "FoundationError a worker of the loader died" in output, output
    assert "lower cache_bytes" in output


def test_error_in_a_worker_is_raised(tmp_path, mixed_store):
    output, _ = in_a_program(tmp_path, mixed_store[0], "fail")
    assert "ValueError" in output
    assert "a fault of its own" in output


def test_batch_moves_to_a_device_completely(mixed):
    loader = Loader(mixed, samplers(mixed)["plan"], device="cpu")
    for here, there in zip(Loader(mixed, samplers(mixed)["plan"]).steps(0, 3), loader.steps(0, 3), strict=True):
        assert window_bytes(here) == window_bytes(there)
    view: WindowBatch = here.views[0]
    assert view.to("meta").label_B.device.type == "meta"
    assert view.cast(torch.float64).x_BNT.dtype == torch.float64


def test_damaged_blocks_are_named(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    identity = write_recording(store, make_recording(0))
    group = StoredRecording(store, identity).group
    folder = tmp_path / "store" / "recordings" / StoredRecording(store, identity).record.digest / "spikes" / "ticks"
    assert group["spikes/ticks"].size
    chunk = next(p for p in sorted((folder / "c").rglob("*")) if p.is_file())
    chunk.write_bytes(b"\xff" * chunk.stat().st_size)
    catalog = Catalog.build(store)
    loader = Loader(catalog, RandomSampler(intervals=sampling_intervals(catalog), **WINDOW), batch_size=2)
    with pytest.raises(FoundationError, match="catalog --verify"):
        list(islice(loader.steps(0), 2))


def test_invalid_settings_are_refused(mixed, tmp_path, make_recording):
    sampler = samplers(mixed)["random"]
    for changes, message in (
        ({"batch_size": 0}, "batch_size is 0: expected at least 1"),
        ({"rank": 2, "world": 2}, "rank is 2 and world 2"),
        ({"batch_size": 2, "world": 3}, "raise batch_size"),
        ({"cache_bytes": 0}, "cache_bytes is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"workers": 1, "prefetch": 0}, "prefetch is 0: expected at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            Loader(mixed, sampler, **changes)
    with pytest.raises(ConfigError, match="batch_size is 12: expected None"):
        Loader(mixed, samplers(mixed)["plan"], batch_size=12)
    memory = Store(f"memory://{tmp_path.name}/store", create=True)
    write_recording(memory, make_recording(0))
    other = Catalog.build(memory)
    with pytest.raises(ConfigError, match="the catalog has no recording"):
        Loader(other, sampler)
    own = RandomSampler(intervals=sampling_intervals(other), **WINDOW)
    assert len(next(Loader(other, own, batch_size=4).steps(0))) == 4
    with pytest.raises(ConfigError, match="other processes cannot see the store"):
        next(Loader(other, own, batch_size=4, workers=1).steps(0))


def test_bins_finer_than_the_resolution_cause_a_warning(mixed, caplog):
    intervals = sampling_intervals(mixed)
    Loader(mixed, FixedSampler(intervals=intervals, duration=0.4, bin_width=0.05), batch_size=4)
    (record,) = caplog.records
    assert "bin_width is 0.05 s, finer than the resolution of 2 of 6 recordings (4 s in " in record.getMessage()
    caplog.clear()
    Loader(mixed, FixedSampler(intervals=intervals, duration=8.0, bin_width=4.0), batch_size=4)
    assert not caplog.records
