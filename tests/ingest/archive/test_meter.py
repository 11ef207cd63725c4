"""The bytes of an asset are counted as they arrive, however it is read."""

import numpy as np
import pytest

from ingest.nwb.file.watched_file import METER
from ingest.sources import find_assets, open_asset

DATA = np.random.default_rng(3).bytes(300_000)


@pytest.fixture
def stocked(archive_server):
    archive_server.contents.add_dandiset("000001")
    archive_server.contents.add("000001", "a.nwb", DATA)
    archive_server.contents.add("000001", "b.nwb.zarr", files={".zgroup": b"{}", "x/0": DATA})
    return archive_server


@pytest.fixture
def find(lab, quick):
    return lambda path: find_assets(f"dandi://lab/000001/{path}", archives=[lab], access=quick())[0]


def test_bytes_of_a_download_count_during_the_download(stocked, find, quick):
    seen = []
    asset = find("a.nwb")
    for _ in range(3):
        stocked.fail_storage(cut=100_000, call=lambda: seen.append(METER.bytes))
    METER.reset()
    with open_asset(asset, quick(mode="download")):
        assert METER.bytes == len(DATA)
    assert seen == [0, 100_000, 200_000]


def test_streamed_and_local_bytes_count(stocked, find, quick, tmp_path):
    METER.reset()
    with open_asset(find("a.nwb"), quick(mode="stream", block=1 << 14)) as file:
        file.read(10)
        assert METER.bytes == 1 << 14
    (tmp_path / "c.nwb").write_bytes(DATA)
    METER.reset()
    with open_asset(find_assets(str(tmp_path / "c.nwb"))[0]) as file:
        file.seek(1000)
        assert file.read(2000) == DATA[1000:3000]
        assert METER.bytes == 2000
    METER.reset()
    with open_asset(find("b.nwb.zarr"), quick(mode="download")):
        assert METER.bytes == len(DATA) + 2
