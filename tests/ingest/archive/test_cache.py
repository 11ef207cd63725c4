"""The cache of downloads, shared by threads and processes, and bounded."""

import hashlib
import multiprocessing
import threading
from dataclasses import replace

import pytest
from archive_fixture import DATA, PATH, content, ranges

from foundation.common.errors import SourceError
from ingest.sources import find_assets, open_asset
from ingest.sources.download_cache import place_of


def test_download_on_too_small_a_disk_raises(stocked, asset, quick, monkeypatch):
    monkeypatch.setattr("ingest.sources.http.download.free_bytes", lambda access: 1000)
    with pytest.raises(SourceError, match=rf"{PATH}: {len(DATA)} bytes needed, 1000 free"):
        content(asset, quick(mode="download"))
    monkeypatch.setattr("ingest.sources.asset_content.free_bytes", lambda access: 1000)
    assert content(asset, quick(mode="auto")) == DATA  # streamed


def test_content_has_one_path_with_and_without_its_sha256(stocked, asset, quick):
    access = quick(mode="download")
    fresh = replace(asset, digests={"dandi-etag": asset.digests["dandi-etag"]})
    assert content(fresh, access) == content(asset, access) == DATA
    assert len(stocked.storage.requests) == 1
    place = place_of(access, asset.digests, "")
    place.rename(place_of(access, {"sha2-256": asset.digests["sha2-256"]}, ""))  # where earlier releases kept it
    assert content(asset, access) == DATA
    assert len(stocked.storage.requests) == 1


def test_many_at_once_download_once(stocked, asset, quick):
    access, found = quick(mode="download"), []
    threads = [threading.Thread(target=lambda: found.append(content(asset, access))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 5
    assert len(stocked.storage.requests) == 1


def _in_process(asset, access, queue):
    with open_asset(asset, access) as file:
        queue.put(hashlib.sha256(file.read()).hexdigest())


def test_concurrent_processes_share_the_cache(stocked, asset, quick):
    for _ in range(3):
        stocked.fail_storage(cut=50_000)
    spawn = multiprocessing.get_context("fork")
    queue = spawn.Queue()
    processes = [spawn.Process(target=_in_process, args=(asset, quick(mode="download"), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [hashlib.sha256(DATA).hexdigest()] * 2
    for process in processes:
        process.join()
    assert ranges(stocked) == [None, "bytes=50000-", "bytes=100000-", "bytes=150000-"]


def test_the_cache_stays_within_its_size(stocked, lab, quick):
    for n in range(4):
        stocked.contents.add("000001", f"b{n}.nwb", DATA[n:])
    access = quick(mode="download", cache_size=2 * len(DATA))
    found = find_assets("dandi://lab/000001/b*.nwb", archives=[lab], access=access)
    for asset in found:
        content(asset, access)
    kept = [asset.path for asset in found if place_of(access, asset.digests, "").exists()]
    assert kept == ["b2.nwb", "b3.nwb"]
