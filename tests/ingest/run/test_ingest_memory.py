"""Large files: read and written in pieces, with the same bytes as at once, in bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from pynwb.behavior import SpatialSeries

import ingest.nwb.nwb_arrays
from foundation.store import Store, write_recording
from foundation.store.format import spill
from ingest.nwb.read_nwb import read_nwb

MEASURE = """
import json, re, sys
from foundation.store import Store
from foundation.store.format import spill
from ingest.recipe.recipes import load_recipe
from ingest.sources import find_assets
from ingest.run.worker import Work
spill.MEMORY = 1 << 26
Store(sys.argv[2], create=True)
(asset,) = find_assets(sys.argv[1])
receipt = Work(sys.argv[2], load_recipe("default"))(asset)
assert receipt.status == "ingested", receipt
# Not ru_maxrss: a process begins with that of the one that started it.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read()).group(1))
print(json.dumps({"peak": peak, "spikes": receipt.n_spikes}))
"""


def write_units(nwb_maker, path, spikes: int, units: int = 50) -> str:
    """A file of long trains: written beside pynwb, which would hold each spike as an object."""
    nwb_maker.save(nwb_maker.add_trains(nwb_maker.new(), [[0.0]] * units), path)
    rng = np.random.default_rng(spikes)
    count = spikes // units
    with h5py.File(path, "a") as file:
        attributes = {name: dict(file[f"units/{name}"].attrs) for name in ("spike_times", "spike_times_index")}
        del file["units/spike_times"], file["units/spike_times_index"]
        times = file.create_dataset("units/spike_times", (spikes,), np.float64)
        ends = file.create_dataset("units/spike_times_index", data=np.arange(1, units + 1, dtype=np.uint64) * count)
        times.attrs.update(attributes["spike_times"])
        ends.attrs.update(attributes["spike_times_index"] | {"target": times.ref})
        for unit in range(units):
            times[unit * count : (unit + 1) * count] = np.cumsum(rng.integers(1, 20_000, count)) / 30_000
    return str(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_file(nwb_maker, tmp_path):
    peaks = []
    for spikes in (12_000_000, 48_000_000):  # 100 and 380 MB
        path = write_units(nwb_maker, tmp_path / f"{spikes}.nwb", spikes)
        command = [sys.executable, "-c", MEASURE, path, str(tmp_path / f"store{spikes}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        found = json.loads(done.stdout)
        assert found["spikes"] == spikes
        peaks.append(found["peak"] / 1e3)
    # 290 MB more of file; as arrays in memory they would be 290 MB of times and as much again several times over.
    assert peaks[1] - peaks[0] < 80, peaks
    assert peaks[1] < 600, peaks


@pytest.fixture
def tiny_pieces(monkeypatch):
    """Make every array count as large, and every piece a few rows."""

    def shrink():
        monkeypatch.setattr(spill, "LARGE", 0)
        monkeypatch.setattr(spill, "MEMORY", 0)
        monkeypatch.setattr(spill, "PIECE_BYTES", 1024)
        monkeypatch.setattr(ingest.nwb.nwb_arrays, "PIECE_BYTES", 1024)

    return shrink


def bytes_of(recording, folder) -> dict[str, bytes]:
    write_recording(Store(folder, create=True), recording)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_pieces_give_the_same_bytes(nwb_maker, tmp_path, tiny_pieces):
    rng = np.random.default_rng(0)
    # Sorted, unsorted and missing spikes; a behaviour in other units; names.
    trains = [np.sort(rng.uniform(0, 900, 3000)) for _ in range(5)] + [rng.uniform(0, 900, 500), np.empty(0)]
    trains[2][10] = np.nan
    nwb = nwb_maker.add_trains(nwb_maker.new(), trains, kind=list("abcdefg"))
    walk = rng.normal(size=(4000, 2))
    nwb.add_acquisition(SpatialSeries(name="position", data=walk, reference_frame="", rate=20.0, conversion=0.01))
    path = nwb_maker.save(nwb, tmp_path / "a.nwb")
    expected = bytes_of(read_nwb(path), tmp_path / "whole")
    tiny_pieces()
    recording = read_nwb(path)
    assert recording.spikes.times.base is not None
    assert recording.quality["units_sorted"] == 1
    assert recording.behavior["position"].data.shape == (4000, 2)
    assert bytes_of(recording, tmp_path / "pieces") == expected


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["sleep", "rat-track", "head-direction", "reach"])
def test_real_recordings_piece_by_piece(real_data, tmp_path, tiny_pieces, name):
    path = str(min((real_data / "nwb" / name).rglob("*.nwb"), key=lambda file: file.stat().st_size))
    expected = bytes_of(read_nwb(path), tmp_path / "whole")
    tiny_pieces()
    assert bytes_of(read_nwb(path), tmp_path / "pieces") == expected
