"""Zarr assets of an archive: entries listed, fetched and checked one by one."""

import tarfile
from pathlib import Path

import pytest
from zarr.core.sync import sync

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb
from ingest.nwb.zarr_v2.zarr_v2_layout import digest_of_zarr, fetch
from ingest.sources import find_assets, open_asset
from ingest.sources.download_cache import part_of, place_of

PACKED = Path(__file__).parent.parent / "data" / "session.nwb.zarr.tar.xz"
SMALL = {".zgroup": b'{"zarr_format": 2}', "units/.zgroup": b"{}", "units/x/0.0": b"12345", "units/x/.zarray": b"[]"}


@pytest.fixture
def stocked(archive_server):
    archive_server.contents.add_dandiset("000001")
    archive_server.contents.add("000001", "sub-a/a.nwb.zarr", files=dict(SMALL))
    archive_server.contents.add("000001", "sub-a/picture.ome.zarr", files={".zgroup": b"{}"})
    archive_server.zarr_page = 3
    return archive_server


@pytest.fixture
def asset(stocked, lab, quick):
    (found,) = find_assets("dandi://lab/000001", archives=[lab], access=quick())
    return found


def stored_of(server):
    return next(a for a in server.contents.assets.values() if a.path == "sub-a/a.nwb.zarr")


@pytest.mark.parametrize("mode", ["stream", "download", "auto"])
def test_store_has_exactly_the_listed_entries(stocked, asset, quick, mode):
    assert (asset.format, asset.size) == ("zarr", sum(map(len, SMALL.values())))
    assert asset.source.digest == f"dandi-zarr-checksum:{asset.digests['dandi-zarr-checksum']}"
    with open_asset(asset, quick(mode=mode)) as store:
        assert store.read_only
        assert {key: fetch(store, key) for key in SMALL} == SMALL
        assert fetch(store, "units/none") is None

        async def names(keys):
            return sorted([key async for key in keys])

        assert sync(names(store.list())) == sorted(SMALL)
        assert sync(names(store.list_dir("units"))) == [".zgroup", "x"]
        assert sync(names(store.list_prefix("units/x/"))) == ["units/x/.zarray", "units/x/0.0"]
        assert digest_of_zarr(store) == digest_of_zarr(store)
        with pytest.raises(ValueError, match="read-only"):
            sync(store.delete("units/x/0.0"))


def test_session_written_by_hdmf_zarr_reads_the_same_from_the_archive(stocked, lab, quick, tmp_path):
    with tarfile.open(PACKED) as packed:
        packed.extractall(tmp_path, filter="data")
    folder = min((path.parent for path in tmp_path.rglob(".zgroup")), key=lambda path: len(path.parts))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    stocked.zarr_page = 100
    stocked.contents.add("000001", "sub-b/s.nwb.zarr", files=files)
    (asset,) = find_assets("dandi://lab/000001/sub-b", archives=[lab], access=quick())
    local = read_nwb(str(folder))
    for mode in ("stream", "download"):
        with open_asset(asset, quick(mode=mode)) as store:
            read = read_nwb(asset.url, source=asset.source, namespace=asset.namespace, content=store)
        assert read.n_units == local.n_units
        assert read.spikes.times.tolist() == local.spikes.times.tolist()
        assert read.subject.key.startswith("lab/000001/")


def test_open_assets_are_read_from_storage_without_api_requests(stocked, asset, quick):
    with open_asset(asset, quick(mode="stream")) as store:
        before = len(stocked.api.requests)
        fetch(store, "units/x/0.0")
        fetch(store, "units/x/0.0")
    assert len(stocked.api.requests) == before
    assert len(stocked.storage.requests) == 1  # the second came from memory


def test_refusal_by_the_storage_falls_back_to_the_api(stocked, asset, quick):
    stocked.fail_storage("/zarr/", status=403)
    with open_asset(asset, quick(mode="stream")) as store:
        assert fetch(store, "units/x/0.0") == b"12345"


@pytest.mark.parametrize("mode", ["stream", "download"])
@pytest.mark.parametrize("fault", [{"status": 503, "times": 3}, {"cut": 2, "times": 3}])
def test_failures_are_retried(stocked, asset, quick, mode, fault):
    stocked.fail_storage("0.0", **fault)
    with open_asset(asset, quick(mode=mode)) as store:
        assert fetch(store, "units/x/0.0") == b"12345"


@pytest.mark.parametrize("mode", ["stream", "download"])
def test_storage_that_refuses_open_entries_is_asked_once_per_asset(stocked, asset, quick, mode):
    stocked.storage_is_private = True
    with open_asset(asset, quick(mode=mode)) as store:
        assert {key: fetch(store, key) for key in SMALL} == SMALL
    refused = [request for request in stocked.storage.requests if "X-Amz-Signature" not in request.query]
    assert len(refused) == 1
    assert len(stocked.storage.requests) == 1 + len(SMALL)


def test_entry_with_wrong_bytes_is_fetched_again(stocked, asset, quick):
    with open_asset(asset, quick(mode="stream")) as store:
        stocked.fail_storage("0.0", flip=True)
        assert fetch(store, "units/x/0.0") == b"12345"


def test_entry_with_wrong_bytes_twice_is_refused(stocked, asset, quick):
    stocked.fail_storage("0.0", times=9, flip=True)
    with (
        open_asset(asset, quick(mode="stream")) as store,
        pytest.raises(SourceError, match=r"0\.0: md5 is \w+: expected"),
    ):
        fetch(store, "units/x/0.0")
    access = quick(mode="download")
    with (
        pytest.raises(SourceError, match=r"a\.nwb\.zarr/units/x/0\.0: md5 is \w+: expected"),
        open_asset(asset, access),
    ):
        pass
    assert not place_of(access, asset.digests, "").exists()


def test_resumed_download_fetches_the_missing_entries(stocked, asset, quick):
    access = quick(mode="download", attempts=2)
    stocked.fail_storage("0.0", times=99, status=503)
    with pytest.raises(SourceError, match=r"0\.0: gave up after 2 attempts"), open_asset(asset, access):
        pass
    place = place_of(access, asset.digests, "")
    assert not place.exists()
    part = part_of(place)
    (part / "units").mkdir(parents=True, exist_ok=True)
    (part / "units/stray").write_bytes(b"stray")
    (part / ".zgroup").write_bytes(b"other bytes")
    stocked.storage.faults.clear()
    with open_asset(asset, access) as store:
        assert {key: fetch(store, key) for key in SMALL} == SMALL
    assert not (place / "units/stray").exists()
    before = len(stocked.storage.requests)
    with open_asset(asset, access) as store:
        assert fetch(store, "units/x/0.0") == b"12345"
    assert len(stocked.storage.requests) == before


def test_entries_that_differ_from_the_checksum_raise(stocked, asset, quick):
    stored_of(stocked).files["units/x/0.1"] = b"uploaded since"
    message = r"dandi-zarr-checksum is .*-5--\d+: expected .*-4--\d+"
    for mode in ("stream", "download"):
        with pytest.raises(SourceError, match=message), open_asset(asset, quick(mode=mode)):
            pass


@pytest.mark.parametrize("key", ["../../x", "/etc/x", "units/../../x", "a\\..\\x"])
@pytest.mark.parametrize("mode", ["stream", "download"])
def test_keys_that_leave_their_folder_are_refused(stocked, lab, quick, key, mode):
    stocked.contents.add("000001", "sub-b/b.nwb.zarr", files={".zgroup": b"{}", key: b"1"})
    (asset,) = find_assets("dandi://lab/000001/sub-b", archives=[lab], access=quick())
    with pytest.raises(SourceError, match="leads out of its folder"), open_asset(asset, quick(mode=mode)):
        pass


def test_unfinished_upload_is_refused(stocked, lab, quick):
    stocked.contents.add("000001", "sub-b/b.nwb.zarr", files={}, digest={})
    (asset,) = find_assets("dandi://lab/000001/sub-b", archives=[lab], access=quick())
    assert asset.source.digest == f"asset:{asset.source.asset}"
    with pytest.raises(SourceError, match="no checksum in the archive yet"), open_asset(asset, quick()):
        pass


def test_deleted_asset_raises(stocked, asset, quick):
    stocked.contents.purge("000001", "sub-a/a.nwb.zarr")
    for mode in ("stream", "download"):
        with (
            pytest.raises(SourceError, match=r"not found \(404\)"),
            open_asset(asset, quick(mode=mode)),
        ):
            pass
