import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foundation.catalog.catalog_table import catalog_table
from foundation.common.errors import StoreError
from foundation.store import (
    Catalog,
    Interval,
    IrregularTimeSeries,
    Recording,
    RegularTimeSeries,
    Source,
    Spikes,
    Store,
    StoredRecording,
    Subject,
    Units,
    write_recording,
)
from foundation.store.format.spike_blocks import to_blocks
from foundation.store.format.spike_ticks import from_ticks, to_ticks


def full_recording(trains) -> Recording:
    rng = np.random.default_rng(0)
    return Recording(
        source=Source(path="a/b.nwb", digest="d" * 64, archive="dandi", dandiset="000001", licence="CC-BY-4.0"),
        subject=Subject("mouse", namespace="dandi/000001", species="Mus musculus", sex="F", age="P90D"),
        session="s1",
        units=Units(len(trains), {"cell_type": np.array(["PV", "", "SST"]), "depth": np.array([1.5, np.nan, 2.0])}),
        domain=Interval([0.0, 50.0], [40.0, 90.0]),
        spikes=Spikes.from_trains(trains),
        behavior={
            "position": IrregularTimeSeries(np.array([0.0, 0.7, 1.1]), rng.normal(size=(3, 2)), "cm"),
            "velocity": RegularTimeSeries(np.array([[1.0], [np.nan]]), rate=10.0, start=0.5, unit="cm/s"),
        },
        intervals={"trials": Interval([1.0, 2.0], [2.0, 3.0], {"direction": np.array([0.5, 1.5])})},
        resolution=0.001,
        quality={"spikes_dropped_nan": 3},
        description="a description",
        lab="lab",
    )


def assert_same(a: Recording, b: Recording) -> None:
    assert (a.source, a.subject, a.session, a.quality) == (b.source, b.subject, b.session, b.quality)
    assert (a.resolution, a.description, a.lab, a.activity_kind) == (
        b.resolution,
        b.description,
        b.lab,
        b.activity_kind,
    )
    assert set(a.units) == set(b.units)
    for name in a.units:
        np.testing.assert_array_equal(a.units[name], b.units[name])
    assert (a.spikes is None) == (b.spikes is None)
    if a.spikes is not None:
        assert a.spikes.times.tobytes() == b.spikes.times.tobytes()
        assert a.spikes.offsets.tolist() == b.spikes.offsets.tolist()
    if a.activity is not None:
        np.testing.assert_array_equal(a.activity.data, b.activity.data)
        assert (a.activity.rate, a.activity.start) == (b.activity.rate, b.activity.start)
    for name, series in a.behavior.items():
        np.testing.assert_array_equal(series.data, b.behavior[name].data)
        np.testing.assert_array_equal(series.timestamps, b.behavior[name].timestamps)
        assert series.unit == b.behavior[name].unit
    for name, interval in a.intervals.items():
        np.testing.assert_array_equal(interval.start, b.intervals[name].start)
        for column, values in interval.columns.items():
            np.testing.assert_array_equal(values, b.intervals[name].columns[column])


TRAINS = [[0.1, 0.2, 0.2, 55.0], [], [0.05, 89.99]]


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_read_equals_written(tmp_path, kind):
    url = tmp_path / "store" if kind == "folder" else f"memory://{tmp_path.name}"
    store = Store(url, create=True)
    recording = full_recording([np.array(t) for t in TRAINS])
    identity = write_recording(store, recording, "recipe")
    assert_same(recording, StoredRecording(store, identity).load())
    assert StoredRecording(Store(url), identity).verify() == []


def test_sampled_activity_round_trips(tmp_path):
    counts = np.random.default_rng(0).poisson(1.0, (50, 3)).astype(np.uint8)
    recording = Recording(
        Source("x.nwb", "x"),
        Subject("m"),
        "s",
        Units(3),
        Interval.single(0, 200),
        activity=RegularTimeSeries(counts, 0.25),
    )
    store = Store(tmp_path / "store", create=True)
    back = StoredRecording(store, write_recording(store, recording)).load()
    assert_same(recording, back)
    assert back.resolution == 4.0
    assert back.n_spikes == counts.sum()


def test_same_recording_again_writes_nothing(tmp_path):
    store = Store(tmp_path / "store", create=True)
    recording = full_recording([np.array(t) for t in TRAINS])
    write_recording(store, recording, "recipe")
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (tmp_path / "store").rglob("*")}
    write_recording(store, recording, "recipe")
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (tmp_path / "store").rglob("*")} == before


def test_group_without_a_commit_is_invisible(tmp_path, monkeypatch):
    store = Store(tmp_path / "store", create=True)
    monkeypatch.setattr(Store, "swap", lambda *_, **__: (_ for _ in ()).throw(OSError("power cut")))
    with pytest.raises(StoreError, match="power cut"):
        write_recording(store, full_recording([np.array(t) for t in TRAINS]))
    assert len(Catalog.build(store)) == 0
    assert not list((tmp_path / "store").rglob("*.part"))


def test_two_writers_of_one_catalog_entry_leave_one(tmp_path):
    store = Store(tmp_path / "store", create=True)
    recording = full_recording([np.array(t) for t in TRAINS])
    assert write_recording(store, recording) == write_recording(Store(tmp_path / "store"), recording)
    assert len(Catalog.build(store)) == 1


def test_changed_recipe_is_a_new_recording(tmp_path):
    store = Store(tmp_path / "store", create=True)
    recording = full_recording([np.array(t) for t in TRAINS])
    one = write_recording(store, recording, "one")
    two = write_recording(store, recording, "two")
    assert one != two
    # The catalog lists the newer one; the older one can still be opened by id, and made current again.
    assert [r.id for r in Catalog.build(store).records] == [two]
    assert StoredRecording(store, one).n_units == 3
    write_recording(store, recording, "one")
    assert [r.id for r in Catalog.build(store).records] == [one]


def test_flipped_byte_is_named(tmp_path):
    store = Store(tmp_path / "store", create=True)
    identity = write_recording(store, full_recording([np.array(t) for t in TRAINS]))
    chunk = next(p for p in (tmp_path / "store" / "recordings").rglob("spikes/ticks/c/0"))
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 0xFF
    chunk.write_bytes(bytes(content))
    assert StoredRecording(store, identity).verify() == ["spikes/ticks"]


def test_invalid_stores_are_refused(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        Store(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write"):
        Store(tmp_path / "file" / "store", create=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("x")
    with pytest.raises(StoreError, match="not empty"):
        Store(tmp_path / "full", create=True)
    store = Store(tmp_path / "store", create=True)
    store.write_json("store.json", {"schema": 99})
    with pytest.raises(StoreError, match="schema 99"):
        Store(tmp_path / "store")


def test_snapshot_equals_the_commits(small_store):
    store = Store(small_store)
    assert Catalog.open(store).records == Catalog.build(store).records
    assert "4 recordings of 4 subjects, 48 units" in catalog_table(Catalog.open(store).records)


def test_damaged_catalog_is_named(tmp_path):
    store = Store(tmp_path / "store", create=True)
    store.write_bytes("catalog.parquet", b"not parquet")
    with pytest.raises(StoreError, match="damaged"):
        Catalog.open(store)


@example([[-2.3e-311, -2.3e-311, -0.0, 0.0], [], []], 1)
@given(st.lists(st.lists(st.floats(-5, 400), max_size=30).map(sorted), min_size=1, max_size=5), st.integers(1, 40))
def test_blocks_hold_each_spike_once_in_its_block(trains, per_block):
    spikes = Spikes.from_trains([np.array(t) for t in trains])
    blocks = to_blocks(spikes, per_block)
    back = blocks.to_spikes()
    assert back.times.tolist() == spikes.times.tolist()
    assert back.offsets.tolist() == spikes.offsets.tolist()
    for k in range(len(blocks.edges) - 1):
        inside = blocks.times[blocks.offsets[k, 0] : blocks.offsets[k, -1]]
        assert ((inside >= blocks.edges[k]) & (inside < blocks.edges[k + 1] + 1e-6)).all()


@given(st.lists(st.integers(-(10**9), 10**9), max_size=50), st.sampled_from([30000.0, 24414.0625, 1e4, 1e6]))
def test_ticks_reproduce_floats(numbers, rate):
    times = np.array(numbers, dtype=np.float64) / rate
    found = to_ticks(times)
    assert found is not None
    assert np.array_equal(from_ticks(*found), times)


def test_times_off_any_grid_stay_floats():
    assert to_ticks(np.random.default_rng(0).random(100)) is None


@pytest.mark.parametrize(
    ("times", "offsets", "what"),
    [([0.2, 0.1], [0, 2], "unit 0 are not sorted"), ([np.nan], [0, 1], "finite"), ([0.1], [0, 2], "offsets")],
)
def test_invalid_spikes_are_refused(times, offsets, what):
    with pytest.raises(ValueError, match=what):
        Spikes(np.array(times), np.array(offsets))


def test_decrease_between_units_is_valid():
    Spikes(np.array([5.0, 1.0, 3.0]), np.array([0, 1, 1, 3]))
