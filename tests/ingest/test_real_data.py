"""All of the real recordings through the job, compared with pynwb's reading of each file."""

import warnings

import numpy as np
import pytest
from pynwb import NWBHDF5IO
from pynwb.behavior import Position

from foundation.store import Catalog, Store
from ingest.job import IngestSettings, ingest

pytestmark = pytest.mark.real_data

STATES = {"wake": "wake", "NREM": "nrem", "REM": "rem", "sleep": "sleep"}


@pytest.fixture(scope="module")
def report(real_data, ray_session, tmp_path_factory):
    store = tmp_path_factory.mktemp("real") / "store"
    return ingest(IngestSettings(str(real_data / "nwb"), str(store)))


@pytest.fixture(scope="module")
def stored(report):
    return {one.record.path: one.load() for one in Catalog.open(Store(report.store))}


@pytest.fixture(scope="module")
def originals(real_data, stored):
    """path -> open NWBFile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = {path: NWBHDF5IO(real_data / "nwb" / path, "r", load_namespaces=True) for path in stored}
        yield {path: io.read() for path, io in opened.items()}
        for io in opened.values():
            io.close()


def test_all_files_are_ingested(report, stored, real_data):
    files = sorted(p.relative_to(real_data / "nwb").as_posix() for p in (real_data / "nwb").rglob("*.nwb"))
    assert report.ok
    assert len(files) >= 41
    assert sorted(stored) == files == [r.path for r in report.ingested]


def test_every_animal_and_session_equals_the_file_s(stored, originals):
    for path, nwb in originals.items():
        got = stored[path]
        assert (got.subject.id, got.subject.species) == (nwb.subject.subject_id, nwb.subject.species)
        assert got.subject.sex == (nwb.subject.sex or "")
        assert got.start_time == nwb.session_start_time.isoformat()
        assert got.description == (nwb.session_description or nwb.experiment_description).strip()
        assert got.session == nwb.session_id or not nwb.session_id


def test_every_spike_time_equals_the_file_s(stored, originals):
    compared = 0
    for path, nwb in originals.items():
        if nwb.units is None:
            assert stored[path].spikes is None
            continue
        assert len(stored[path].units) == len(nwb.units)
        for n in range(len(nwb.units)):
            train = np.asarray(nwb.units.get_unit_spike_times(n), dtype=np.float64)
            if "units_sorted" in stored[path].quality:
                train = np.sort(train)
            assert stored[path].spikes.train(n).tobytes() == train.tobytes(), (path, n)
            compared += len(train)
    assert compared > 8_000_000


def frames_of_electrodes(units, n):
    """The rows of the electrodes table that pynwb gives for a unit."""
    return units["electrodes"][n]


def test_every_label_and_column_equals_the_file_s(stored, originals):
    labelled = 0
    for path, nwb in originals.items():
        if nwb.units is None:
            continue
        got, table = stored[path].units, nwb.units
        assert got["id"].tolist() == list(table.id[:])
        rows = [frames_of_electrodes(table, n) for n in range(len(table))]
        expected = {
            "group": [row["group_name"].mode()[0] for row in rows],
            "probe": [row["group"].iloc[0].device.name for row in rows],
        }
        for name in ("cell_type", "quality", "location"):
            if name in table.colnames:
                texts = [str(text) for text in table[name][:]]
                expected[name] = ["" if text == "unknown" else text for text in texts]
        if "location" not in table.colnames:
            stated = [str(row["location"].mode()[0]) for row in rows]
            if path.startswith("alm/"):  # "brain_region: ALM; ..."
                assert all(
                    f"brain_region: {region}" in text for region, text in zip(got["location"], stated, strict=True)
                )
            else:
                expected["location"] = stated
        for name, values in expected.items():
            assert got[name].tolist() == values, (path, name)
            labelled += len(values)
        numbers = {name: table[name][:] for name in table.colnames if name == "depth"}
        for name in ("x", "y", "z"):
            means = np.array([row[name].astype(float).mean() for row in rows])
            if np.isfinite(means).any():
                numbers[name] = means
        for name, values in numbers.items():
            np.testing.assert_array_equal(got[name], values, err_msg=f"{path} {name}")
        own = {name for name in got if not name.startswith("qc_")}
        silent = {"source_location"} if not any(got.text("location")) else set()
        assert own == set(expected) | set(numbers) | {"id", "location"} | silent | (
            {"region", "region_id"} if "region" in got else set()
        ), path
    assert labelled == 1_600


def test_every_mouse_region_is_known_and_other_animals_have_none(stored):
    """All locations of these mice are in the atlas, and none of other animals is mapped to it."""
    for path, recording in stored.items():
        assert ("region" in recording.units) == (recording.subject.species == "Mus musculus"), path
        if "region" in recording.units:
            known = recording.units["region"] != ""
            assert np.array_equal(known, recording.units.text("location") != ""), path
            assert np.array_equal(known, recording.units["region_id"] > 0), path


def test_observed_time_equals_the_file_s(stored, originals):
    for path, nwb in originals.items():
        if nwb.units is None:
            continue
        got = stored[path]
        if "obs_intervals" not in nwb.units.colnames:
            times = nwb.units["spike_times"].target[:]
            assert got.domain.start.tolist() == [times.min()]
            assert got.domain.end.tolist() == [np.nextafter(times.max(), np.inf)]
            continue
        # Every unit of these files was observed alike.
        spans = {tuple(map(tuple, nwb.units.get_unit_obs_intervals(n))) for n in range(len(nwb.units))}
        assert len(spans) == 1
        spans = np.asarray(spans.pop())
        assert got.domain.start.tolist() == spans[np.r_[True, spans[1:, 0] > spans[:-1, 1]], 0].tolist(), path
        np.testing.assert_allclose(got.domain.duration, (spans[:, 1] - spans[:, 0]).sum(), rtol=1e-12)


def test_counts_equal_the_file_s(stored, originals):
    (path,) = [path for path, nwb in originals.items() if nwb.units is None]
    series = originals[path].processing["ecephys"]["binned_spike_counts"]
    got = stored[path]
    assert got.activity.data.dtype == series.data.dtype
    assert np.array_equal(got.activity.data, series.data[:])
    assert (got.activity.rate, got.activity_kind, got.resolution) == (series.rate, "counts", 4.0)
    assert set(got.units["location"]) == {"CA1"}


def test_states_equal_the_file_s(stored, originals):
    found = 0
    for path, nwb in originals.items():
        if "sleep_states" not in nwb.intervals:
            continue
        table, got = nwb.intervals["sleep_states"], stored[path].intervals["states"]
        assert got.start.tolist() == table["start_time"].data[:].tolist()
        assert got.end.tolist() == table["stop_time"].data[:].tolist()
        assert got.columns["state"].tolist() == [STATES[str(label)] for label in table["label"].data[:]]
        assert got.columns["label"].tolist() == [str(label) for label in table["label"].data[:]]
        assert set(got.columns) == {"state", "label"}
        found += 1
    assert found == 2


def test_trials_equal_the_file_s(stored, originals):
    found = 0
    for path, nwb in originals.items():
        if nwb.trials is None:
            continue
        got, table = stored[path].intervals["trials"], nwb.trials
        start, stop = table["start_time"].data[:], table["stop_time"].data[:]
        assert got.start.tolist() == start.tolist()
        if np.isnan(stop).all():  # the ALM files give no ends: a trial runs to the next one
            assert got.end[:-1].tolist() == start[1:].tolist()
            assert stored[path].quality["interval_stops_inferred"] == len(start)
        else:
            assert got.end.tolist() == stop.tolist()
        for name in table.colnames:
            if name in ("start_time", "stop_time"):
                continue
            values = table[name].data[:]
            if values.dtype == object:
                assert got.columns[name].tolist() == [str(value) for value in values], (path, name)
            else:
                np.testing.assert_array_equal(got.columns[name], values)
        if "target_dir" in table.colnames:
            assert got.columns["direction"].tolist() == table["target_dir"].data[:].tolist()
        found += 1
        names = set(table.colnames) - {"start_time", "stop_time"}
        assert set(got.columns) == names | ({"direction"} if "target_dir" in names else set()), path
    assert found == 4


def test_no_table_is_invented_or_lost(stored, originals):
    standard = {"trials": "trials", "sleep_states": "states"}
    for path, nwb in originals.items():
        assert sorted(stored[path].intervals) == sorted(standard[name] for name in nwb.intervals), path


def test_behaviour_samples_equal_the_file_s(stored, originals):
    standard = {"position": "position", "hand_position": "position", "hand_velocity": "velocity"}
    found = 0
    for path, nwb in originals.items():
        series = []
        if "behavior" in nwb.processing:
            for item in nwb.processing["behavior"].data_interfaces.values():
                series += list(item.spatial_series.values()) if isinstance(item, Position) else [item]
        if "lick_times" in nwb.acquisition:
            series += list(nwb.acquisition["lick_times"].time_series.values())
        assert len(series) == len(stored[path].behavior), path
        for one in series:
            got = stored[path].behavior[standard.get(one.name, one.name)]
            times, data = one.timestamps[:], one.get_data_in_units()
            order = np.argsort(times, kind="stable")
            assert got.timestamps.tobytes() == times[order].tobytes(), (path, one.name)
            assert np.array_equal(got.data.reshape(data.shape), data[order], equal_nan=True), (path, one.name)
            assert got.unit == one.unit
            assert got.data.dtype == one.data.dtype or one.conversion != 1.0 or one.offset
            found += 1
    assert found == 9


def test_resolution_of_binned_sources(stored):
    assert {p: r.resolution for p, r in stored.items() if r.resolution and r.spikes} == {
        p: 0.1 for p in stored if p.startswith("reach/")
    }


def test_corrections_are_counted(stored):
    mended = {path: recording.quality for path, recording in stored.items() if recording.quality}
    assert set(mended) == {p for p in stored if p.startswith("alm/")} | {
        "rat-track/sub-rat/sub-rat_ses-linear-track_ecephys.nwb"
    }
