"""A million spikes: memory does not follow the recording, and work grows with the spikes, not with their square."""

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known_voltage import make_voltage
from pynwb import NWBHDF5IO

from foundation.store import Store, StoredRecording
from ingest.sorting import sorting_run
from ingest.sorting.output.phy_folder import write_phy
from ingest.sorting.output.sorting_pictures import LAGS, correlogram
from ingest.sorting.output.units_nwb import write_units
from ingest.sorting.sort_settings import RawSettings, SortSettings
from ingest.sorting.sorted_units import Sorting
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.templates import template_matching
from ingest.sorting.templates.unit_merging import echoes, without_duplicates
from ingest.sorting.voltage.voltage import Channels
from ingest.sorting.voltage.voltage_files import open_voltage

MILLION = 1_000_000
RATE, ELECTRODES, SECONDS, GAIN = 20_000.0, 2, 5.0, 0.25  # of one repeat of the voltage
RAW = RawSettings(sampling_rate=RATE, dtype="int16", channels=ELECTRODES, gain=GAIN, group_size=1)


def write_voltage(path: Path, repeats: int) -> int:
    """Write two electrodes of two units at 100 Hz, the same 5 s again and again; return the number of spikes."""
    made = [make_voltage(10 + e, SECONDS, RATE, sizes=[[150.0], [80.0]], firing=100.0) for e in range(ELECTRODES)]
    block_TC = np.round(np.concatenate([one.x_TC for one in made], axis=1) / GAIN).astype("<i2")
    with path.open("wb") as file:
        for _ in range(repeats):
            file.write(block_TC.tobytes())
    return repeats * sum(len(train) for one in made for train in one.trains)


@pytest.fixture(scope="module")
def million() -> Sorting:
    """Eight units at 100 Hz, one of them an echo and one with spikes found twice."""
    rng = np.random.default_rng(0)
    each = MILLION // 8
    trains = [np.cumsum(0.002 + rng.exponential(0.008, each)) for _ in range(6)]
    trains += [trains[0] + 0.0012, np.sort(np.concatenate([trains[1][: each // 2] + 1e-4, trains[1][: each // 2]]))]
    time_N = np.concatenate(trains)
    order = np.argsort(time_N, kind="stable")
    unit_N = np.repeat(np.arange(8), each)[order]
    templates_UCT = np.tile(-np.hanning(48), (8, 4, 1)) * 100.0
    return Sorting(
        time_N[order], unit_N, np.full(MILLION, 100, np.float32), np.arange(8) % 4, templates_UCT, 24, 24_000.0,
        Channels.unknown(4), np.full(4, 10.0), 0.0, float(time_N.max()) + 1.0, np.full(8, 20.0),
    )  # fmt: skip


def test_duplicates_and_echoes_among_a_million_spikes(million):
    trains = [million.train(unit) for unit in range(8)]
    echo_U = echoes(trains, np.array([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 2.0, 3.0]))
    assert echo_U.tolist() == [False] * 6 + [True, True]
    gain_N = np.where(np.arange(MILLION) % 2, 1.0, 2.0)
    kept_N = without_duplicates(million.time_N, million.unit_N, gain_N, 0.0005)
    lost_U = np.bincount(million.unit_N[~kept_N], minlength=8)
    assert lost_U[:7].tolist() == [0] * 7
    assert lost_U[7] == MILLION // 16


def test_a_million_spikes_are_written_and_read_back(million, tmp_path):
    write_units(million, tmp_path / "units.nwb", "million")
    tracemalloc.start()
    write_phy(million, tmp_path / "phy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * MILLION  # bytes; the spikes themselves take 20 each
    with NWBHDF5IO(str(tmp_path / "units.nwb"), "r") as io:
        assert np.array_equal(io.read().units["spike_times"][3], million.train(3))
    assert len(np.load(tmp_path / "phy" / "spike_times.npy")) == MILLION


def test_the_correlogram_of_a_million_spikes_takes_bounded_memory():
    train = np.sort(np.random.default_rng(0).uniform(0, 5000.0, MILLION))  # 20 pairs of each spike
    tracemalloc.start()
    counts = correlogram(train, train, same=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * MILLION
    assert counts.sum() == pytest.approx(20 * MILLION, rel=0.01)
    few = train[:2000]
    assert np.array_equal(correlogram(few[:500], few), np.histogram(few - few[:500, None], LAGS)[0])


def test_work_is_in_proportion_to_spikes_and_memory_is_not(tmp_path, monkeypatch):
    """Peaks that are matched, spikes that are fitted again, and spikes that are clustered, at one and four lengths."""
    work: dict[str, int] = {}

    def count(module, name, size):
        real = getattr(module, name)

        def counted(*given, **options):
            work[name] = work.get(name, 0) + size(*given)
            return real(*given, **options)

        monkeypatch.setattr(module, name, counted)

    count(template_matching, "explain_peaks", lambda *given: len(given[2]))
    count(template_matching, "_refit", lambda *given: len(given[2]))
    count(sorting_run, "cluster_waveforms", len)
    settings = replace(SortSettings(), max_spikes=1000, chunk=5)
    found = []
    for repeats in (4, 16):  # both are longer than what is learned from
        file = tmp_path / f"{repeats}.raw"
        true = write_voltage(file, repeats)
        work.clear()
        tracemalloc.start()
        with open_voltage(str(file), RAW) as voltage:
            sorting = sort_voltage(voltage, settings)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(sorting) > 0.85 * true
        found.append((true, dict(work), peak))
    (few, few_work, few_peak), (many, many_work, many_peak) = found
    assert many == 4 * few
    for name in ("explain_peaks", "_refit"):
        assert many_work[name] / few_work[name] == pytest.approx(4.0, rel=0.15), (few_work, many_work)
    seconds = int(16 * SECONDS)
    of_a_second = -(-settings.max_spikes // seconds)  # rounded up
    assert many_work["cluster_waveforms"] <= ELECTRODES * seconds * of_a_second
    assert many_peak < 1.3 * few_peak


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_million_spikes_are_sorted_in_bounded_memory_and_minutes(tmp_path):
    """`foundation sort` on an hour of voltage, in a process of its own: the units, their pages and the store."""
    true = write_voltage(tmp_path / "voltage.raw", 720)
    assert true > MILLION
    command = f"""
import resource, time
from ingest.sorting.sort_job import sort
from ingest.sorting.sort_settings import RawSettings, SortCommand

began = time.process_time()
result = sort(SortCommand(input="voltage.raw", output="sorted", store="store", raw={RAW!r}))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(result.sorting), result.sorting.n_units, time.process_time() - began, peak)
"""
    done = subprocess.run([sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    spikes, units, seconds, megabytes = map(float, done.stdout.split()[-4:])
    assert spikes > 0.85 * true
    assert units >= 4
    assert seconds < 400  # processor time: about 100 on a core of its own
    assert megabytes < 1000  # 360 of them before any work
    store = Store(tmp_path / "store")
    (name,) = store.commit_ids()
    assert len(StoredRecording(store, name).load().spikes.times) == spikes
