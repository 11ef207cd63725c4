"""Results cached in a store: equal bits when read again, removed when space is needed, safe between processes."""

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from foundation.common.errors import StoreError
from foundation.store import Derived, Store, verify_store
from foundation.store.result_cache import CachedResult, ResultCache, _size


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", create=True)


def get(cache, n, size=4000):
    """The array of key ``n``, and whether it was computed."""
    calls = []
    found = cache.get("test-1", {"n": n}, ["recording"], lambda: calls.append(n) or array_of(n, size))
    return found, bool(calls)


def array_of(n, size=4000):
    return np.random.default_rng(n).normal(size=size).astype(np.float32)


def entries(store):
    return sorted(name for name in store.names("derived") if name.startswith("cache-"))


def test_array_is_computed_once_and_read_back_bit_for_bit(store):
    cache = ResultCache(store, 1 << 20)
    first, computed = get(cache, 1)
    again, computed_again = get(ResultCache(Store(store.url), 1 << 20), 1)
    assert (computed, computed_again) == (True, False)
    assert again.dtype == first.dtype
    np.testing.assert_array_equal(again, first)
    _, other = get(cache, 2)
    assert other


def test_least_recently_used_entries_are_removed_first(store):
    cache = ResultCache(store, 1 << 20)
    for n in range(3):
        get(cache, n)
    paths = [CachedResult(store, "test-1", {"n": n}, ["recording"]) for n in range(3)]
    for age, entry in enumerate(reversed(paths)):  # entry 0 is the oldest
        os.utime(store.path(entry.folder), (1e9 - age, 1e9 - age))
    get(cache, 0)  # used now
    one = _size(Path(store.path(paths[0].folder)))
    get(ResultCache(store, int(2.5 * one)), 3)
    assert [entry.exists() for entry in paths] == [True, False, False]
    assert len(entries(store)) == 2
    get(ResultCache(store, one // 2), 4)  # an array that is larger than the cache is not kept
    assert len(entries(store)) == 2


def test_other_derived_results_are_never_removed(store):
    fit = Derived(store, "fit", {"dim": 2}, ["recording"])
    fit.write({"z": array_of(0)})
    os.utime(store.path(fit.folder), (1, 1))
    one_entry = 20_000
    for n in range(4):
        get(ResultCache(store, one_entry), n)
    assert fit.exists()
    assert len(entries(store)) == 1
    assert [found.folder for found in Derived.find(store)] == [fit.folder]
    assert verify_store(store).ok


def test_damaged_entry_is_computed_again(store):
    cache = ResultCache(store, 1 << 20)
    first, _ = get(cache, 1)
    (name,) = entries(store)
    chunk = next(path for path in store.sizes(f"derived/{name}") if "/c/" in path)
    store.write_bytes(f"derived/{name}/{chunk}", b"damaged")
    again, computed = get(cache, 1)
    assert computed
    np.testing.assert_array_equal(again, first)
    assert not get(cache, 1)[1]


def test_size_0_turns_the_cache_off(store):
    assert [get(ResultCache(store, 0), 1)[1] for _ in range(2)] == [True, True]
    assert not entries(store)


def test_store_at_a_url_keeps_nothing(tmp_path):
    cache = ResultCache(Store(f"memory://{tmp_path.name}/store", create=True), 1 << 20)
    assert [get(cache, 1)[1] for _ in range(2)] == [True, True]


@pytest.mark.parametrize("error", [PermissionError("read-only"), StoreError("cannot write")])
def test_store_without_write_access_keeps_nothing(store, monkeypatch, error):
    def write_objects(*_):
        raise error

    monkeypatch.setattr(Store, "write_objects", write_objects)
    assert [get(ResultCache(store, 1 << 20), 1)[1] for _ in range(2)] == [True, True]


def used_by_one_process(url, seed, max_bytes):
    cache, rng = ResultCache(Store(url), max_bytes), np.random.default_rng(seed)
    for n in rng.integers(0, 6, 60).tolist():
        found, _ = get(cache, n)
        np.testing.assert_array_equal(found, array_of(n))


def test_processes_that_share_a_small_cache_get_the_right_arrays(store):
    one = 17_000  # bytes of an entry, about; three of six fit
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=used_by_one_process, args=(store.url, seed, 3 * one)) for seed in range(3)]
    for process in others:
        process.start()
    for process in others:
        process.join(60)
    assert [process.exitcode for process in others] == [0, 0, 0]
    assert 1 <= len(entries(store)) <= 3
