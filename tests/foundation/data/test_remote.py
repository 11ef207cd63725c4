"""A remote store answers slowly: reads of a batch are requested at the same time."""

import threading
import time

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from foundation.common.errors import StoreError
from foundation.data.reading.decoded_blocks import AT_ONCE
from foundation.data.reading.reader import WindowReader
from foundation.data.windows import WindowTable, to_nanoseconds
from foundation.store import Catalog, Spikes, Store, write_recording


class SlowFileSystem(MemoryFileSystem):
    """Answers each request after a delay, like an object store, and counts concurrent requests."""

    protocol = "slow"
    store: dict = {}  # noqa: RUF012 - as the base has it
    pseudo_dirs = [""]  # noqa: RUF012
    lock, waiting, most, requests = threading.Lock(), 0, 0, 0

    def cat_file(self, path, start=None, end=None, **kwargs):
        kind = type(self)
        with kind.lock:
            kind.waiting += 1
            kind.requests += 1
            kind.most = max(kind.most, kind.waiting)
        time.sleep(0.02)
        with kind.lock:
            kind.waiting -= 1
        return super().cat_file(path, start=start, end=end, **kwargs)


@pytest.fixture
def stores(tmp_path, make_recording):
    """The same recordings on this machine and in a remote store; each has several blocks."""
    fsspec.register_implementation("slow", SlowFileSystem, clobber=True)
    SlowFileSystem.store.clear()
    SlowFileSystem.pseudo_dirs[:] = [""]
    rng = np.random.default_rng(0)
    trains = [[np.sort(rng.uniform(0, 50, 50_000)) for _ in range(3)] for _ in range(5)]
    both = []
    for place in (str(tmp_path / "near"), "slow://far"):
        store = Store(place, create=True)
        for seed, parts in enumerate(trains):
            write_recording(store, make_recording(seed, n_units=3, seconds=50.0, spikes=Spikes.from_trains(parts)))
        Catalog.refresh(store)
        both.append(Store(place))
    return both


def table() -> WindowTable:
    rng = np.random.default_rng(1)
    full = np.ones(60, dtype=np.int64)
    starts = to_nanoseconds(rng.uniform(0, 49, 60).round(2))
    width = int(to_nanoseconds(0.01))
    return WindowTable(rng.integers(0, 5, 60), starts, full * 100, full * width, -full, None, None)


def test_concurrent_requests_give_the_same_batch(stores):
    near, far = (WindowReader(store, Catalog.open(store).records) for store in stores)
    expected = near.read(table())
    SlowFileSystem.most = 0
    assert (far.read(table()).x_BNT == expected.x_BNT).all()
    assert 4 < SlowFileSystem.most <= AT_ONCE
    requests = SlowFileSystem.requests
    assert (far.read(table()).x_BNT == expected.x_BNT).all()
    assert SlowFileSystem.requests == requests  # all of it is held


def test_cache_of_one_block_gives_the_same_batch(stores):
    near, far = (WindowReader(store, Catalog.open(store).records, max_bytes=1) for store in stores)
    for _ in range(2):
        assert (far.read(table()).x_BNT == near.read(table()).x_BNT).all()
    assert far.cache.decodes == near.cache.decodes
    assert not far.cache._coming


def test_damaged_chunk_is_named_and_the_reader_continues(stores):
    far = stores[1]
    reader = WindowReader(far, Catalog.open(far).records)
    (name, *_) = [name for name in SlowFileSystem.store if "/spikes/times/c/" in name]
    whole = SlowFileSystem.store[name]
    far.fs.pipe_file(name, b"damaged" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        reader.read(table())
    SlowFileSystem.store[name] = whole
    expected = WindowReader(stores[0], Catalog.open(stores[0]).records).read(table())
    assert (reader.read(table()).x_BNT == expected.x_BNT).all()
