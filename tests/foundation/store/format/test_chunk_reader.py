"""Chunks read without zarr's event loop equal those that zarr reads."""

import json

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, ZstdCodec
from zarr.storage import LocalStore

from foundation.common.errors import StoreError
from foundation.store import Store, StoredRecording, write_recording
from foundation.store.format.chunk_reader import Chunks
from foundation.store.stored_spikes import StoredSpikes

BLOSC = {"compressors": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")}
LAYOUTS = {
    "shards": ({"chunks": (10,), "shards": (40,), **BLOSC}, (95,), True),
    "one chunk": ({"chunks": (95,), **BLOSC}, (95,), True),
    "chunks": ({"chunks": (10,), **BLOSC}, (95,), True),
    "rows": ({"chunks": (10, 3), "shards": (30, 3), **BLOSC}, (95, 3), True),
    "columns": ({"chunks": (10, 2), "shards": (30, 4), **BLOSC}, (95, 4), False),
    "zstd": ({"chunks": (10,), "shards": (40,), "compressors": ZstdCodec(level=1)}, (95,), False),
    "no codec": ({"chunks": (10,), "compressors": None}, (95,), False),
    "index first": ({"chunks": (10,), "shards": {"shape": (40,), "index_location": "start"}, **BLOSC}, (95,), False),
}


@pytest.mark.parametrize("dtype", ["<i4", ">i4", "f8", "u1"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_chunks_equal_those_of_zarr(tmp_path, layout, dtype):
    settings, shape, direct = LAYOUTS[layout]
    store = Store(tmp_path / "store", create=True)
    folder = tmp_path / "store" / "recordings" / "x"
    data = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    written = zarr.create_array(LocalStore(folder), name="a", shape=shape, dtype=dtype, fill_value=7, **settings)
    written[:70] = data[:70]  # the rest was never written
    array = zarr.open_array(folder / "a", mode="r")
    chunks = Chunks(store, "recordings/x/a", array)
    assert chunks._direct is (direct and dtype != ">i4") or dtype == ">i4"
    for k in range(chunks.count):
        expected = array[k * chunks.rows : (k + 1) * chunks.rows]
        np.testing.assert_array_equal(chunks[k], expected)
    assert (array[80:] == 7).all()


def test_spikes_of_a_store_anywhere(place, make_recording):
    store = Store(place, create=True)
    recording = make_recording(0, n_units=40, seconds=400.0)
    spikes = StoredSpikes(StoredRecording(store, write_recording(store, recording)))
    assert spikes._chunks._direct
    assert spikes.n_blocks >= 3
    trains = [[] for _ in range(40)]
    for k in range(spikes.n_blocks):
        times, counts = spikes.block(k)
        for n, part in enumerate(np.split(times, np.cumsum(counts)[:-1])):
            trains[n].append(part)
    for n in range(40):
        np.testing.assert_array_equal(np.concatenate(trains[n]), recording.spikes.train(n))


def test_spikes_are_read_without_waiting_for_zarr_s_thread(tmp_path, make_recording, monkeypatch):
    store = Store(tmp_path / "store", create=True)
    recording = make_recording(0, n_units=40, seconds=400.0)
    identity = write_recording(store, recording)
    monkeypatch.setattr("zarr.core.sync.sync", lambda *_, **__: pytest.fail("zarr's event loop was asked"))
    for name in ("zarr.api.synchronous", "zarr.core.group", "zarr.core.array"):
        monkeypatch.setattr(f"{name}.sync", lambda *_, **__: pytest.fail("zarr's event loop was asked"))
    stored = StoredRecording(store, identity)
    spikes = StoredSpikes(stored)
    assert (stored.n_units, stored.resolution) == (40, recording.resolution)
    assert sum(len(spikes.block(k)[0]) for k in range(spikes.n_blocks)) == recording.n_spikes
    assert len(spikes.edges) == spikes.n_blocks + 1 == len(spikes.offsets) + 1


def test_recording_with_a_missing_array_names_it(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    identity = write_recording(store, make_recording(0))
    path = tmp_path / "store" / "recordings" / store.commit(identity)["digest"] / "zarr.json"
    group = json.loads(path.read_text())
    del group["consolidated_metadata"]["metadata"]["spikes/edges"]
    path.write_text(json.dumps(group))
    with pytest.raises(StoreError, match=r"has no spikes/edges: `foundation catalog --verify`"):
        StoredSpikes(StoredRecording(store, identity))


def test_group_without_consolidated_metadata_is_read_array_by_array(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    recording = make_recording(0)
    identity = write_recording(store, recording)
    path = tmp_path / "store" / "recordings" / store.commit(identity)["digest"] / "zarr.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "consolidated_metadata"}))
    spikes = StoredSpikes(StoredRecording(store, identity))
    assert sum(len(spikes.block(k)[0]) for k in range(spikes.n_blocks)) == recording.n_spikes


def test_short_chunk_is_not_decoded_beyond_its_end(tmp_path):
    store = Store(tmp_path / "store", create=True)
    array = zarr.create_array(str(tmp_path / "store" / "a"), shape=(64,), chunks=(64,), dtype="<i8", **BLOSC)
    array[:] = np.random.default_rng(0).integers(0, 1 << 60, 64)
    chunks = Chunks(store, "a", array)
    np.testing.assert_array_equal(chunks[0], array[:])
    path = tmp_path / "store" / "a" / "c" / "0"
    content = path.read_bytes()
    for length in (0, 15, 16, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(StoreError, match=f"ends early, after {length} bytes"):
            chunks[0]


@pytest.mark.parametrize("damage", ["index", "chunk", "short"])
def test_damage_is_named(tmp_path, make_recording, damage):
    store = Store(tmp_path / "store", create=True)
    stored = StoredRecording(store, write_recording(store, make_recording(0, n_units=40, seconds=400.0)))
    folder = tmp_path / "store" / "recordings" / stored.record.digest / "spikes" / "ticks"
    spikes = StoredSpikes(stored)
    shard = folder / "c" / "0"
    content = bytearray(shard.read_bytes())
    if damage == "index":
        content[-20] ^= 1
    elif damage == "chunk":
        content[:400] = bytes(400)
    elif damage == "short":
        content = content[len(content) // 2 :]
    shard.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=r"chunk 0 of recordings/.*/spikes/ticks .*catalog --verify"):
        spikes.ticks(0)
