"""Real recordings, served by the archive and read as its assets."""

import numpy as np
import pytest

from ingest.nwb.read_nwb import read_nwb
from ingest.sources import find_assets, open_asset


@pytest.mark.real_data
@pytest.mark.parametrize("mode", ["stream", "download"])
def test_real_recording_from_the_archive_is_identical(real_data, archive_server, lab, quick, mode):
    path = min((real_data / "nwb" / "head-direction").rglob("*.nwb"))
    archive_server.contents.add_dandiset("000056")
    archive_server.contents.add("000056", path.name, path.read_bytes())
    archive_server.fail_storage(cut=100_000, times=3)
    (asset,) = find_assets("dandi://lab/000056", archives=[lab], access=quick())
    with open_asset(asset, quick(mode=mode, block=1 << 16)) as content:
        read = read_nwb(asset.url, source=asset.source, namespace=asset.namespace, content=content)
    local = read_nwb(str(path))
    assert np.array_equal(read.spikes.times, local.spikes.times)
    assert np.array_equal(read.spikes.offsets, local.spikes.offsets)
    assert set(read.intervals) == set(local.intervals)
    assert read.source.dandiset == "000056"
