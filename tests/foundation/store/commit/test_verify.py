"""Each kind of damage is found and named, and intact data are not reported."""

import json
import shutil

import numpy as np
import pytest

from foundation.catalog.catalog_listing import CatalogSettings, list_catalog
from foundation.store import (
    Catalog,
    Derived,
    Interval,
    RegularTimeSeries,
    Store,
    Units,
    make_current,
    verify_store,
    write_recording,
)
from foundation.store.commit.recording_writer import summarise


@pytest.fixture
def store(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    for seed in range(2):
        write_recording(store, make_recording(seed, n_units=3, seconds=20.0), "recipe")
    Derived(store, "fit", {"dim": 2}, ["x"]).write({"z": make_recording(0).spikes.times})
    Catalog.refresh(store)
    assert verify_store(store).ok
    return store


def group_of(store, path="sub-1.nwb"):
    (digest,) = [r.digest for r in Catalog.build(store).records if r.path == path]
    return digest


def found(store):
    return [(finding.where, finding.what) for finding in verify_store(store).findings]


def edit_json(store, name, change):
    value = store.read_json(name)
    change(value)
    store.write_json(name, value)


@pytest.mark.parametrize("name", ["spikes/ticks/c/0", "spikes/offsets/c/0/0", "units/cell_type/c/0", "domain/end/c/0"])
def test_flipped_byte_in_any_array(store, name):
    digest = group_of(store)
    content = bytearray(store.read_bytes(f"recordings/{digest}/{name}"))
    content[len(content) // 2] ^= 0x10
    store.write_bytes(f"recordings/{digest}/{name}", bytes(content))
    ((where, what),) = found(store)
    array, chunk = name.split("/c/")
    assert where == "sub-1.nwb"
    assert what in (f"{array}: c/{chunk} cannot be decoded", f"{array}: values differ from those that were written")


@pytest.mark.parametrize("name", ["spikes/ticks/c/0", "spikes/offsets/c/0/0", "units/cell_type/c/0", "domain/end/c/0"])
def test_missing_chunk(store, name):
    """zarr silently reads it as zeros."""
    store.remove(f"recordings/{group_of(store)}/{name}")
    array, chunk = name.split("/c/")
    assert found(store) == [("sub-1.nwb", f"{array}: c/{chunk} not there")]


def test_missing_or_short_shard_among_several(tmp_path, make_recording):
    store = Store(tmp_path / "large", create=True)
    rate = np.random.default_rng(0).random((9_000_000, 1), np.float32)
    series = RegularTimeSeries(rate, rate=1e5, start=0.0, unit="V")
    write_recording(store, make_recording(1, n_units=2, seconds=90.0, behavior={"fast": series}))
    folder = f"recordings/{group_of(store)}/behavior/fast/data/c"
    names = store.names(folder)
    assert len(names) > 2
    last = f"{folder}/{names[1]}/0"
    content = store.read_bytes(last)
    store.write_bytes(last, content[: len(content) // 2])
    assert found(store) == [("sub-1.nwb", f"behavior/fast/data: c/{names[1]}/0 cannot be decoded")]
    store.remove(last)
    assert found(store) == [("sub-1.nwb", f"behavior/fast/data: c/{names[1]}/0 not there")]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_chunk_that_ends_early(store, share):
    name = f"recordings/{group_of(store)}/spikes/ticks/c/0"
    content = store.read_bytes(name)
    store.write_bytes(name, content[: int(len(content) * share)])
    assert found(store) == [("sub-1.nwb", "spikes/ticks: c/0 cannot be decoded")]


def test_column_of_zeros_without_a_file_is_intact(tmp_path, make_recording):
    store = Store(tmp_path / "zeros", create=True)
    write_recording(store, make_recording(1, n_units=3, units=Units(3, {"depth": np.zeros(3)})))
    assert store.names(f"recordings/{group_of(store)}/units/depth") == ["zarr.json"]
    assert verify_store(store).ok


def test_stray_files_are_named_and_harmless(store):
    digest = group_of(store)
    (derived,) = Derived.find(store)
    strays = [
        "notes.txt",
        "commits/readme",
        "current/x.tmp",
        f"recordings/{digest}/spikes/ticks/c/7",
        f"recordings/{digest}/spikes/offsets/c/0/1",
        f"recordings/{digest}/spikes/ticks/c/00",
        f"recordings/{digest}/extra/zarr.json",
        f"{derived.folder}/a.npy",
    ]
    for name in strays:
        store.write_bytes(name, b"{}")
    verification = verify_store(store)
    assert verification.ok
    assert sorted(verification.left) == sorted(strays)
    assert "left behind, harmless, no reader sees it: notes.txt" in str(verification)


def test_metadata_of_an_array(store):
    name = f"recordings/{group_of(store)}/spikes/ticks/zarr.json"
    edit_json(store, name, lambda value: value["attributes"].update(rate=12.0))
    assert found(store) == [("sub-1.nwb", "spikes/ticks/zarr.json")]
    store.remove(name)
    assert found(store) == [("sub-1.nwb", "spikes/ticks/zarr.json")]


def test_length_beyond_any_memory(store):
    """An array whose two descriptions differ is not read, because its size is unknown."""
    name = f"recordings/{group_of(store)}/zarr.json"
    huge = {"shape": [10**15]}
    edit_json(store, name, lambda v: v["consolidated_metadata"]["metadata"]["spikes/ticks"].update(huge))
    assert ("sub-1.nwb", "spikes/ticks/zarr.json") in found(store)


def test_attributes_of_a_group(store):
    edit_json(store, f"recordings/{group_of(store)}/zarr.json", lambda value: value["attributes"].update(lab="other"))
    assert found(store) == [("sub-1.nwb", "its attributes, or its list of arrays")]


def test_array_missing_from_the_group_s_list(store):
    name = f"recordings/{group_of(store)}/zarr.json"
    edit_json(store, name, lambda value: value["consolidated_metadata"]["metadata"].pop("units/cell_type"))
    assert found(store) == [("sub-1.nwb", "its attributes, or its list of arrays")]


def test_missing_or_unreadable_group(store):
    digest = group_of(store)
    store.write_bytes(f"recordings/{digest}/zarr.json", b"{")
    assert found(store)[0][0] == "sub-1.nwb"
    assert "zarr.json cannot be read" in found(store)[0][1]
    shutil.rmtree(store.path("recordings", digest))
    assert found(store) == [("sub-1.nwb", "its group is missing")]


def test_commit_records(store):
    first, second = store.commit_ids()
    edit_json(store, f"commits/{first}.json", lambda record: record.update(n_units=99))
    assert any("different n_units from its group" in what for _, what in found(store))
    store.write_bytes(f"commits/{first}.json", b"\xff\x00")
    assert found(store)[0][0] == f"commits/{first}.json"
    edit_json(store, f"commits/{second}.json", lambda record: record.update(recipe="other"))
    assert (f"commits/{second}.json", "its id does not match its source and recipe") in found(store)


@pytest.mark.parametrize("field", ["subject", "species", "kind", "path", "session", "lab"])
def test_text_of_a_commit_record(store, field):
    """A flipped bit can leave valid JSON that assigns the recording to another animal."""
    first = store.commit_ids()[0]
    edit_json(store, f"commits/{first}.json", lambda record: record.update({field: record[field] + "x"}))
    assert any(what == f"its commit record has a different {field} from its group" for _, what in found(store))


@pytest.mark.parametrize("field", ["n_units", "n_spikes", "duration", "longest_interval", "resolution"])
def test_number_of_a_commit_record(store, field):
    first = store.commit_ids()[0]
    edit_json(store, f"commits/{first}.json", lambda record: record.update({field: record[field] + 1}))
    Catalog.refresh(store, full=True)
    assert [what for _, what in found(store)] == [f"its commit record has a different {field} from its group"]


def test_observed_time_of_a_commit_record(store):
    """Windows are drawn from the record, so it must equal the group; older records have no observed time."""
    first = store.commit_ids()[0]
    edit_json(store, f"commits/{first}.json", lambda record: record.pop("observed"))
    Catalog.refresh(store, full=True)
    assert found(store) == []
    edit_json(store, f"commits/{first}.json", lambda record: record.update(observed=[[0.0, 1e6]]))
    Catalog.refresh(store, full=True)
    assert [what for _, what in found(store)] == ["its commit record has a different observed from its group"]


def test_labels_and_counts_of_a_commit_record(tmp_path, make_recording):
    """Values are read from the group in a different way from when they were written: both agree."""
    store = Store(tmp_path / "labels", create=True)
    tables = {name: Interval([0.0], [9.0], {"b": np.array(["x"]), "a": np.ones(1)}) for name in ("trials", "epochs")}
    series = {name: RegularTimeSeries(np.ones((9, 2)), rate=1.0, start=0.0, unit="m") for name in ("position", "lick")}
    identity = write_recording(store, make_recording(1, n_units=2, intervals=tables, behavior=series))
    values = RegularTimeSeries(np.full((9, 2), 3.0), rate=1.0, start=0.0, unit="1")
    for seed, kind in ((2, "counts"), (3, "values")):
        changes = {"spikes": None, "activity": values, "activity_kind": kind, "control": {"counts": {"gaps": 2}}}
        write_recording(store, make_recording(seed, n_units=2, **changes))
    assert verify_store(store).ok
    edit_json(store, f"commits/{identity}.json", lambda record: record["labels"].pop())
    assert [what for _, what in found(store)] == ["its commit record has a different labels from its group"]


def test_missing_commit_record(store):
    """Its group remains, and entries that name it are found, even after the catalog is rebuilt."""
    first = store.commit_ids()[0]
    digest = store.commit(first)["digest"]
    store.remove(f"commits/{first}.json")
    lost = [what for where, what in found(store) if where == "catalog.parquet"]
    assert len(lost) == 1
    assert "which has no commit" in lost[0]
    Catalog.refresh(store, full=True)
    ((where, what),) = found(store)
    assert where.startswith("current/")
    assert what == f"names {first!r}, which has no commit"
    assert f"recordings/{digest}" in verify_store(store).left


def test_catalog(store, make_recording):
    identity = write_recording(store, make_recording(5, n_units=2, seconds=5.0))
    assert found(store) == [("catalog.parquet", "lacks sub-5.nwb: run `foundation catalog --refresh`")]
    Catalog.refresh(store)
    record = json.loads(json.dumps(store.commit(identity)))
    store.remove(f"commits/{identity}.json")
    what = [what for where, what in found(store) if where == "catalog.parquet"]
    assert what == ["lists sub-5.nwb, which has no commit: run `foundation catalog --refresh`"]
    store.write_json(f"commits/{identity}.json", record | {"n_spikes": 1})
    assert any(w == "catalog.parquet" and "describes sub-5.nwb" in what for w, what in found(store))
    store.write_bytes("catalog.parquet", b"no parquet")
    assert any(w == "catalog.parquet" and "damaged" in what for w, what in found(store))


def test_pointer_to_nothing(store, make_recording):
    recording = make_recording(0)
    make_current(store, {"id": "0" * 20, **summarise(recording)})
    ((where, what),) = found(store)
    assert where.startswith("current/")
    assert "0" * 20 in what


def test_derived_data(store):
    (derived,) = Derived.find(store)
    edit_json(store, f"{derived.folder}/zarr.json", lambda value: value["attributes"]["made_by"].update(kind="other"))
    assert found(store) == [(derived.folder, "its attributes")]


def test_command_reports_damage_and_fails(store):
    listing = list_catalog(CatalogSettings(store.url, verify=True))
    assert listing.ok
    assert "every array has its digest: 2 recordings" in str(listing)
    store.remove(f"recordings/{group_of(store)}/spikes/ticks/c/0")
    listing = list_catalog(CatalogSettings(store.url, verify=True))
    assert not listing.ok
    assert "damaged: sub-1.nwb: spikes/ticks: c/0 not there" in str(listing)
