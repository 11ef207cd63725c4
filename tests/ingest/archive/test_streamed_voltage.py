"""Streaming a file with voltage fetches its spikes and tables, and hardly any voltage."""

import h5py
import numpy as np
import pytest
from pynwb.ecephys import ElectricalSeries

from ingest.nwb.read_nwb import read_nwb
from ingest.sources import find_assets, open_asset

CHANNELS, ROWS, CHUNKS = 64, 2048, 250
CHUNK = (ROWS, 8)


@pytest.fixture
def voltage_file(tmp_path, nwb_maker):
    """An NWB file of 66 MB of voltage in 2,000 chunks, with their index between them, and 0.4 MB of spikes."""
    rng = np.random.default_rng(0)
    trains = [np.sort(rng.uniform(0, 15, 1000)) for _ in range(50)]
    nwb = nwb_maker.add_trains(nwb_maker.new(), trains)
    device = nwb.create_device("probe")
    group = nwb.create_electrode_group("shank", "a shank", "CA1", device)
    for _ in range(CHANNELS):
        nwb.add_electrode(group=group, location="CA1")
    electrodes = nwb.create_electrode_table_region(list(range(CHANNELS)), "all of them")
    data = np.zeros((0, CHANNELS), np.int16)
    nwb.add_acquisition(ElectricalSeries(name="voltage", data=data, electrodes=electrodes, rate=30000.0))
    path = nwb_maker.save(nwb, tmp_path / "voltage.nwb")
    with h5py.File(path, "a") as file:
        place = file["acquisition/voltage"]
        attributes = dict(place["data"].attrs)
        del place["data"]
        shape = (ROWS * CHUNKS, CHANNELS)
        voltage = place.create_dataset("data", shape, np.int16, chunks=CHUNK)
        voltage.attrs.update(attributes)
        noise = rng.integers(-100, 100, CHUNK).astype(np.int16).tobytes()
        for row in range(0, shape[0], ROWS):
            for channel in range(0, CHANNELS, CHUNK[1]):
                voltage.id.write_direct_chunk((row, channel), noise)
    return path


def test_voltage_file_fetches_its_spikes_and_three_percent(archive_server, lab, quick, voltage_file):
    archive_server.contents.add_dandiset("000001")
    with open(voltage_file, "rb") as file:
        content = file.read()
    measured = [{"value": "Units"}, {"value": "ElectricalSeries"}]
    archive_server.contents.add("000001", "sub-m1/v.nwb", content, variableMeasured=measured)
    access = quick(mode="auto", small=1 << 20)
    (asset,) = find_assets("dandi://lab/000001", archives=[lab], access=access)
    with open_asset(asset, access) as opened:
        read = read_nwb(asset.url, source=asset.source, namespace=asset.namespace, content=opened)
    with h5py.File(voltage_file) as file:
        spikes = file["units/spike_times"].id.get_storage_size()
    fetched = 0
    for request in archive_server.storage.requests:
        first, last = request.headers["range"].removeprefix("bytes=").split("-")
        fetched += int(last) - int(first) + 1
    assert read.n_spikes == 50_000
    assert fetched - spikes < 0.03 * len(content)
    assert len(archive_server.storage.requests) <= 10
