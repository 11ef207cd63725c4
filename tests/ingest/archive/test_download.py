"""Downloads: resumed, checked, complete or absent."""

import hashlib

import pytest
from archive_fixture import DATA, PATH, content, ranges

from foundation.common.errors import SourceError
from ingest.sources import find_assets
from ingest.sources.download_cache import part_of, place_of


def left(asset, access):
    """Return whether the final file and the partial file exist"""
    place = place_of(access, asset.digests, "")
    return place.exists(), part_of(place).exists()


def test_a_download_is_kept_and_not_repeated(stocked, asset, quick):
    access = quick(mode="download")
    assert content(asset, access) == DATA
    assert ranges(stocked) == [None]
    assert content(asset, access) == DATA
    assert len(stocked.storage.requests) == 1
    assert left(asset, access) == (True, False)


def test_cut_connections_resume_at_every_tenth(stocked, asset, quick):
    tenth = len(DATA) // 10
    for _ in range(9):
        stocked.fail_storage(cut=tenth)
    assert content(asset, quick(mode="download")) == DATA
    assert ranges(stocked) == [None, *(f"bytes={n * tenth}-" for n in range(1, 10))]


@pytest.mark.parametrize("tenth", range(1, 10))
def test_next_run_resumes_a_partial_download(stocked, asset, quick, tenth):
    have = len(DATA) * tenth // 10
    stocked.fail_storage(cut=have)
    stocked.fail_storage(times=99, cut=0)
    stocked.fail_api("/download/", times=0)
    with pytest.raises(SourceError, match=rf"{PATH}: gave up after 2 attempts .* after {have} of {len(DATA)} bytes"):
        content(asset, quick(mode="download", attempts=2))
    assert left(asset, quick()) == (False, True)
    stocked.storage.faults.clear()
    stocked.storage.requests.clear()
    assert content(asset, quick(mode="download")) == DATA
    assert ranges(stocked) == [f"bytes={have}-"]
    assert left(asset, quick()) == (True, False)


@pytest.mark.parametrize("where", ["api", "storage"])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_bursts_of_failures_are_retried(stocked, asset, quick, status, where):
    fail = stocked.fail_api if where == "api" else stocked.fail_storage
    fail("", times=4, status=status, headers={"Retry-After": "0"})
    assert content(asset, quick(mode="download")) == DATA


def test_retry_after_is_honoured_and_bounded(stocked, asset, quick, monkeypatch):
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    stocked.fail_storage(status=503, headers={"Retry-After": "7"})
    stocked.fail_storage(status=429, headers={"Retry-After": "100000"})
    assert content(asset, quick(mode="download", max_wait=9.0, budget=60.0)) == DATA
    assert waits == [7.0, 9.0]


def test_budget_ends_permanent_failures(stocked, asset, quick):
    stocked.fail_storage(times=999, status=503, headers={"Retry-After": "1"})
    with pytest.raises(SourceError, match=rf"{PATH}: gave up after \d+ attempts in \d s; last error: HTTP 503"):
        content(asset, quick(mode="download", attempts=1000, max_wait=0.05, budget=0.3))
    assert len(stocked.storage.requests) <= 7


def test_wrong_bytes_raise_with_both_digests(stocked, asset, quick):
    stocked.fail_storage(times=9, flip=True)
    wrong = bytes([DATA[0] ^ 1]) + DATA[1:]
    found, stated = (hashlib.sha256(data).hexdigest() for data in (wrong, DATA))
    with pytest.raises(SourceError, match=rf"{PATH}: sha2-256 is {found}: expected {stated}"):
        content(asset, quick(mode="download"))
    assert left(asset, quick()) == (False, False)


def test_a_fresh_download_of_wrong_bytes_gets_a_second_try(stocked, asset, quick):
    stocked.fail_storage(flip=True)
    assert content(asset, quick(mode="download")) == DATA
    assert ranges(stocked) == [None, None]
    assert left(asset, quick()) == (True, False)


def test_the_dandi_etag_alone_is_checked_too(stocked, asset, lab, quick):
    stated = {"dandi:dandi-etag": "0" * 32 + "-1"}
    stocked.uploads_in_parts = False  # the storage's entity tag is no digest of the content
    stocked.contents.add("000001", "other.nwb", DATA, digest=stated)
    (other,) = find_assets("dandi://lab/000001/other.nwb", archives=[lab], access=quick())
    with pytest.raises(SourceError, match=rf"dandi-etag is {asset.digests['dandi-etag']}: expected {'0' * 32}-1"):
        content(other, quick(mode="download"))


def test_partial_file_with_other_bytes_is_downloaded_again(stocked, asset, quick):
    access = quick(mode="download")
    part = part_of(place_of(access, asset.digests, ""))
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert content(asset, access) == DATA
    assert ranges(stocked) == ["bytes=1000-", None]


@pytest.mark.parametrize("had", [len(DATA), len(DATA) + 5])
def test_part_that_is_complete_or_too_long(stocked, asset, quick, had):
    access = quick(mode="download")
    part = part_of(place_of(access, asset.digests, ""))
    part.parent.mkdir(parents=True)
    part.write_bytes((DATA + b"extra")[:had])
    assert content(asset, access) == DATA
    assert ranges(stocked) == ([] if had == len(DATA) else [None])


def test_server_that_ignores_ranges_is_not_appended_to(stocked, asset, quick):
    stocked.fail_storage(cut=100_000)
    stocked.fail_storage(whole=True, cut=150_000)
    stocked.fail_storage(whole=True)
    assert content(asset, quick(mode="download")) == DATA
    assert ranges(stocked) == [None, "bytes=100000-", "bytes=150000-"]


def test_server_that_answers_with_another_range_is_refused(stocked, asset, quick):
    stocked.fail_storage(cut=100_000)
    stocked.fail_storage(status=206, headers={"Content-Range": f"bytes 5-{len(DATA) - 1}/{len(DATA)}"})
    with pytest.raises(SourceError, match="requested bytes from 100000, the server answered 'bytes 5-"):
        content(asset, quick(mode="download"))
    assert left(asset, quick())[0] is False


def test_content_of_another_size_is_refused(stocked, asset, quick):
    next(iter(stocked.contents.assets.values())).data = DATA + b"more"
    with pytest.raises(SourceError, match=f"size is {len(DATA) + 4} bytes: expected {len(DATA)}"):
        content(asset, quick(mode="download"))


def test_content_changed_between_two_ranges_raises(stocked, asset, quick):
    stored = next(iter(stocked.contents.assets.values()))
    other = bytes(len(DATA))
    stocked.fail_storage(cut=100_000)
    stocked.fail_storage(call=lambda: setattr(stored, "data", other))
    with pytest.raises(SourceError, match=r"it changed while being read|dandi-etag is"):
        content(asset, quick(mode="download"))
    assert left(asset, quick())[0] is False


def test_asset_deleted_between_listing_and_reading_raises(stocked, asset, quick):
    stocked.contents.purge("000001", PATH)
    for mode in ("download", "stream"):
        with pytest.raises(SourceError, match=rf"{PATH}: not found \(404\): removed or replaced"):
            content(asset, quick(mode=mode))


def test_asset_deleted_during_download_raises(stocked, asset, quick):
    stocked.fail_storage(cut=100_000)
    stocked.fail_storage(call=lambda: stocked.contents.purge("000001", PATH))
    with pytest.raises(SourceError, match="not found"):
        content(asset, quick(mode="download"))
    assert left(asset, quick())[0] is False


def test_replaced_asset_is_still_served_by_id(stocked, asset, lab, quick):
    """The draft changed: its path now has another asset, but the old one is still served."""
    new = stocked.contents.replace("000001", PATH, b"new")
    assert content(asset, quick(mode="download")) == DATA
    (again,) = find_assets("dandi://lab/000001", archives=[lab], access=quick())
    assert (again.source.asset, content(again, quick(mode="download"))) == (new.identity, b"new")
    assert again.source.digest != asset.source.digest


def test_expired_presigned_urls_are_renewed(stocked, asset, quick):
    stocked.fail_storage(cut=100_000)
    stocked.fail_storage(call=stocked.expire)
    assert content(asset, quick(mode="download")) == DATA
    assert sum("/download/" in request.path for request in stocked.api.requests) == 2


def test_empty_asset(stocked, lab, quick):
    stocked.contents.add("000001", "empty.nwb", b"")
    (asset,) = find_assets("dandi://lab/000001/empty.nwb", archives=[lab], access=quick())
    for mode in ("download", "stream"):
        assert content(asset, quick(mode=mode)) == b""
