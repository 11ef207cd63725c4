"""Streaming: fetches on demand, bounds its memory and retries failures."""

import h5py
import numpy as np
import pytest

from foundation.common.errors import SourceError
from foundation.store import Store
from ingest.nwb.read_nwb import read_nwb
from ingest.recipe.recipes import load_recipe
from ingest.run.worker import Work
from ingest.sources import Asset, find_assets, open_asset
from ingest.sources.asset_content import how
from ingest.sources.download_cache import place_of

DATA = np.random.default_rng(4).bytes(1_000_003)
BLOCK = 1 << 14


@pytest.fixture
def stocked(archive_server):
    archive_server.contents.add_dandiset("000001")
    archive_server.contents.add("000001", "a.nwb", DATA)
    return archive_server


@pytest.fixture
def asset(stocked, lab, quick):
    return find_assets("dandi://lab/000001", archives=[lab], access=quick())[0]


@pytest.fixture
def stream(quick):
    return quick(mode="stream", block=BLOCK, stream_cache=8 * BLOCK)


def fetched(server):
    """Return the requested bytes."""
    spans = [request.headers["range"].removeprefix("bytes=").split("-") for request in server.storage.requests]
    return sum(int(stop) - int(start) + 1 for start, stop in spans)


def test_any_read_equals_the_file_s_bytes(asset, stream):
    rng = np.random.default_rng(1)
    with open_asset(asset, stream) as file:
        assert (file.seekable(), file.readable(), file.writable()) == (True, True, False)
        for start, count in rng.integers(0, [[len(DATA) + 1000, 60_000]], size=(60, 2)).tolist():
            file.seek(start)
            assert file.read(count) == DATA[start : start + count]
        assert file.seek(-10, 2) == len(DATA) - 10
        assert file.read() == DATA[-10:]
        file.seek(0)
        assert file.read() == DATA


def test_only_requested_bytes_are_fetched(stocked, asset, stream):
    with open_asset(asset, stream) as file:
        file.seek(500_000)
        file.read(10)
        assert fetched(stocked) == BLOCK
        file.seek(-10, 1)
        file.read(10)
        assert fetched(stocked) == BLOCK
        file.seek(len(DATA) - 5)
        file.read(100)
    assert fetched(stocked) <= 2 * BLOCK
    assert not place_of(stream, asset.digests, "").exists()


def test_cache_is_bounded_and_the_redirect_is_followed_once(stocked, asset, stream):
    with open_asset(asset, stream) as file:
        assert file.read() == DATA
        assert sum(map(len, file._blocks.values())) <= stream.stream_cache
        assert len(stocked.storage.requests) < len(DATA) / BLOCK  # blocks in a row come together
        assert sum("/download/" in request.path for request in stocked.api.requests) == 1


def test_expired_presigned_url_is_renewed(stocked, asset, stream):
    with open_asset(asset, stream) as file:
        file.read(10)
        stocked.expire()
        file.seek(900_000)
        assert file.read(10) == DATA[900_000:900_010]
        assert sum("/download/" in request.path for request in stocked.api.requests) == 2


@pytest.mark.parametrize("fault", [*({"status": n} for n in (408, 429, 500, 502, 503, 504)), {"cut": 100}, {"cut": 0}])
def test_failures_are_retried(stocked, asset, stream, fault):
    with open_asset(asset, stream) as file:
        stocked.fail_storage(times=3, **fault)
        assert file.read(50_000) == DATA[:50_000]


def test_permanent_failures_name_the_asset(stocked, asset, stream):
    with open_asset(asset, stream) as file:
        stocked.fail_storage(times=999, cut=100)
        with pytest.raises(
            SourceError, match=r"a\.nwb: gave up after 5 attempts in 0 s; last error: .*Connection broken"
        ):
            file.read(50_000)


def test_server_without_ranges(stocked, asset, stream):
    stocked.fail_storage(times=9, whole=True)
    with (
        open_asset(asset, stream) as file,
        pytest.raises(SourceError, match=r"does not support ranges; set access\.mode to download"),
    ):
        file.read(10)


def test_content_that_changes_during_the_read(stocked, asset, stream):
    with open_asset(asset, stream) as file:
        file.read(10)
        next(iter(stocked.contents.assets.values())).data = bytes(len(DATA))
        file.seek(900_000)
        with pytest.raises(SourceError, match="it changed while being read"):
            file.read(10)


def test_recording_is_identical_streamed_downloaded_and_from_disk(stocked, lab, quick, write, nwb_maker):
    trains = [np.sort(np.random.default_rng(n).uniform(0, 50, 400)) for n in range(3)]
    path = write(nwb_maker.add_trains(nwb_maker.new(), trains))
    with open(path, "rb") as file:
        stocked.contents.add("000001", "sub-m1/s.nwb", file.read())
    (asset,) = find_assets("dandi://lab/000001/sub-m1", archives=[lab], access=quick())
    local = read_nwb(path)
    for mode in ("stream", "download", "auto"):
        with open_asset(asset, quick(mode=mode, block=4096)) as content:
            read = read_nwb(asset.url, source=asset.source, namespace=asset.namespace, content=content)
        assert np.array_equal(read.spikes.times, local.spikes.times)
        assert (read.subject.key, read.source.digest) == ("lab/000001/m1", asset.source.digest)


def test_h5py_reads_a_streamed_file(stocked, lab, stream, tmp_path):
    values = np.random.default_rng(0).normal(size=(1000, 50))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=values, chunks=(100, 50))
        file.create_dataset("bulk", data=np.zeros(3_000_000, np.uint8))
    stocked.contents.add("000001", "h.nwb", (tmp_path / "x.h5").read_bytes())
    (asset,) = find_assets("dandi://lab/000001/h.nwb", archives=[lab], access=stream)
    with open_asset(asset, stream) as content, h5py.File(content, "r") as file:
        assert np.array_equal(file["a"][...], values)
    assert fetched(stocked) < 1_000_000  # most of the file was not fetched


def test_url_of_one_file(stocked, quick):
    stored = next(iter(stocked.contents.assets.values()))
    url = f"{stocked.storage.url}/blobs/{stored.content}"
    (asset,) = find_assets(url, access=quick())
    assert (asset.path, asset.size, asset.archive) == (stored.content, len(DATA), None)
    assert fetched(stocked) == 1
    for mode in ("stream", "download", "auto"):
        with open_asset(asset, quick(mode=mode)) as file:
            assert file.read() == DATA
    stored.data = DATA[::-1]  # another entity tag: the earlier download does not match
    with open_asset(asset, quick(mode="download")) as file:
        assert file.read() == DATA[::-1]
    with pytest.raises(SourceError, match="not found"):
        find_assets(f"{url}0", access=quick())


def test_objects_of_other_file_systems(quick):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/stream-test/a.nwb", DATA)
    try:
        (asset,) = find_assets("memory://stream-test")
        for mode in ("stream", "download"):
            with open_asset(asset, quick(mode=mode)) as file:
                file.seek(600_000)
                assert file.read(100) == DATA[600_000:600_100]
        memory.pipe("/stream-test/b.nwb", b"")
        memory.rm("/stream-test/a.nwb")
        with pytest.raises(SourceError, match=r"a\.nwb: FileNotFoundError"), open_asset(asset, quick(mode="stream")):
            pass
    finally:
        memory.rm("/stream-test", recursive=True)


@pytest.mark.parametrize(
    ("size", "measured", "expected"),
    [
        (1000, (), "download"),
        (10**8, (), "stream"),
        (10**8, ("Units", "SpatialSeries"), "download"),
        (10**8, ("Units", "ElectricalSeries"), "stream"),
        (10**12, ("Units",), "stream"),
    ],
)
def test_auto_decides_by_size_and_share_read(quick, asset, size, measured, expected):
    big = Asset("https://x/a.nwb", "a.nwb", size, asset.source, measured=measured)
    assert how(big, size, quick(mode="auto", max_download=10**11)) == expected
    assert how(big, size, quick(mode="stream")) == "stream"


@pytest.mark.parametrize("mode", ["stream", "download"])
def test_content_with_another_digest_raises_at_the_first_answer(stocked, asset, quick, mode, tmp_path):
    stored = next(iter(stocked.contents.assets.values()))
    stored.data = DATA[:500_000] + bytes([DATA[500_000] ^ 1]) + DATA[500_001:]
    stated = asset.digests["dandi-etag"]
    access = quick(mode=mode, block=BLOCK)
    message = rf"a\.nwb: dandi-etag is \w+-1: expected {stated}"
    with pytest.raises(SourceError, match=message), open_asset(asset, access) as file:
        file.read(10)
    assert len(stocked.storage.requests) == 1
    store = Store(tmp_path / "store", create=True)
    receipt = Work(str(tmp_path / "store"), load_recipe("default"), access=access)(asset)
    assert receipt.status == "failed"
    assert f"expected {stated}" in receipt.note
    assert store.commit_ids() == []


def test_entity_tag_of_another_kind_is_not_compared(stocked, asset, stream):
    stocked.uploads_in_parts = False  # S3's entity tag is then the md5 of the bytes
    with open_asset(asset, stream) as file:
        assert file.read(10) == DATA[:10]
