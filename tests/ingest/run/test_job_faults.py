"""The job when workers die, and when files crash or hang any reader."""

import os
import threading
import time

import numpy as np
import psutil
import pytest

import ingest.job
from foundation.store import Catalog, Store
from ingest.simulate import SimulateSettings, simulate_izhikevich


def test_killed_worker_loses_nothing(run, tmp_path, nwb_maker):
    rng = np.random.default_rng(0)
    for k in range(8):
        trains = [np.sort(rng.uniform(0, 600, 40_000)) for _ in range(8)]
        nwb = nwb_maker.add_trains(nwb_maker.new(session_id=f"s{k}"), trains)
        nwb.units.spike_times_index.target.transform(lambda data: np.asarray(data, dtype=np.float64))
        nwb_maker.save(nwb, tmp_path / "nwb" / f"{k:02d}.nwb")
    done = threading.Event()
    killed = []

    def kill_some():
        while not done.is_set() and len(killed) < 2:
            for child in psutil.Process().children(recursive=True):
                try:
                    if "ray::ingest" in " ".join(child.cmdline()):  # Ray names a worker after its task
                        child.kill()
                        killed.append(child.pid)
                        break
                except psutil.Error:
                    continue
            time.sleep(0.3)

    killer = threading.Thread(target=kill_some)
    killer.start()
    try:
        report = run(tmp_path / "nwb", tmp_path / "store", workers=2)
    finally:
        done.set()
        killer.join()
    assert killed
    assert report.ok, report
    assert len(Catalog.open(Store(tmp_path / "store"))) == 8
    assert all(stored.verify() == [] for stored in Catalog.open(Store(tmp_path / "store")))


@pytest.mark.parametrize("count", [10, pytest.param(40, marks=pytest.mark.long)])
def test_damaged_files_are_refused_and_do_no_harm(run, tmp_path, nwb_maker, count):
    """Bytes flipped anywhere: some of these files crash HDF5 itself, and with it the worker."""
    settings = SimulateSettings(
        str(tmp_path / "nwb"), networks=1, neurons=10, synapses=5, seconds=5.0, wake=2, nrem=2, rem=2
    )
    (path,) = simulate_izhikevich(settings)
    whole = path.read_bytes()
    for k in range(50, 50 + count):
        rng = np.random.default_rng(k)
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 40):
            damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / "nwb" / f"damaged{k}.nwb").write_bytes(damaged)
    report = run(tmp_path / "nwb", tmp_path / "store", timeout=20.0)
    assert len(report.receipts) == count + 1
    assert len(report.failed) > count / 8
    assert all(r.note for r in report.failed)
    assert path.relative_to(tmp_path / "nwb").as_posix() in [r.path for r in report.ingested]
    catalog = Catalog.open(Store(tmp_path / "store"))
    assert len(catalog) == len(report.ingested)
    assert all(stored.verify() == [] for stored in catalog)


def test_file_that_never_ends_is_given_up(run, good_folder, tmp_path, monkeypatch):
    endless = good_folder / "endless.nwb"
    endless.write_bytes(b"a regular file, or it would be left out")
    find = ingest.job.find_assets

    def find_and_replace(*arguments):
        found = find(*arguments)
        endless.unlink()
        os.mkfifo(endless)  # reading waits for a writer that never comes
        return found

    monkeypatch.setattr(ingest.job, "find_assets", find_and_replace)
    report = run(good_folder, tmp_path / "store", timeout=8.0, workers=2)
    assert [r.path for r in report.failed] == ["endless.nwb"]
    assert "its worker died 3 times" in report.failed[0].note
    assert len(report.ingested) == 3
