"""Each kind of damage is found and named, and nothing that is whole is."""

import json
import shutil

import pytest

from foundation.store import Catalog, Derived, Store, make_current, verify_store, write_recording
from foundation.store.listing import CatalogSettings, list_catalog


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
    (digest,) = [r["digest"] for r in Catalog.build(store).records if r["path"] == path]
    return digest


def found(store):
    return [(finding.where, finding.what) for finding in verify_store(store).findings]


def edit_json(store, name, change):
    value = store.read_json(name)
    change(value)
    store.write_json(name, value)


@pytest.mark.parametrize("name", ["spikes/ticks/c/0", "spikes/offsets/c/0/0", "units/cell_type/c/0", "domain/end/c/0"])
def test_a_flipped_byte_in_any_array(store, name):
    digest = group_of(store)
    content = bytearray(store.read_bytes(f"recordings/{digest}/{name}"))
    content[len(content) // 2] ^= 0x10
    store.write_bytes(f"recordings/{digest}/{name}", bytes(content))
    assert found(store) == [("sub-1.nwb", name.split("/c/")[0])]


def test_a_chunk_that_is_gone(store):
    store.remove(f"recordings/{group_of(store)}/spikes/ticks/c/0")
    assert found(store) == [("sub-1.nwb", "spikes/ticks")]


def test_metadata_of_an_array(store):
    name = f"recordings/{group_of(store)}/spikes/ticks/zarr.json"
    edit_json(store, name, lambda value: value["attributes"].update(rate=12.0))
    assert found(store) == [("sub-1.nwb", "spikes/ticks/zarr.json")]
    store.remove(name)
    assert found(store) == [("sub-1.nwb", "spikes/ticks/zarr.json")]


def test_attributes_of_a_group(store):
    edit_json(store, f"recordings/{group_of(store)}/zarr.json", lambda value: value["attributes"].update(lab="other"))
    assert found(store) == [("sub-1.nwb", "its attributes, or its list of arrays")]


def test_an_array_that_the_group_forgot(store):
    name = f"recordings/{group_of(store)}/zarr.json"
    edit_json(store, name, lambda value: value["consolidated_metadata"]["metadata"].pop("units/cell_type"))
    assert found(store) == [("sub-1.nwb", "its attributes, or its list of arrays")]


def test_a_group_that_is_gone_or_unreadable(store):
    digest = group_of(store)
    store.write_bytes(f"recordings/{digest}/zarr.json", b"{")
    assert found(store)[0][0] == "sub-1.nwb"
    assert "zarr.json cannot be read" in found(store)[0][1]
    shutil.rmtree(store.path("recordings", digest))
    assert found(store) == [("sub-1.nwb", "its group is missing")]


def test_commit_records(store):
    first, second = store.commit_ids()
    edit_json(store, f"commits/{first}.json", lambda record: record.update(n_units=99))
    assert any("another n_units than its group" in what for _, what in found(store))
    store.write_bytes(f"commits/{first}.json", b"\xff\x00")
    assert found(store)[0][0] == f"commits/{first}.json"
    edit_json(store, f"commits/{second}.json", lambda record: record.update(recipe="other"))
    assert (f"commits/{second}.json", "its id is not that of its source and recipe") in found(store)


def test_the_catalog(store, make_recording):
    identity = write_recording(store, make_recording(5, n_units=2, seconds=5.0))
    assert found(store) == [("catalog.parquet", "lacks sub-5.nwb: run `foundation catalog --refresh`")]
    Catalog.refresh(store)
    record = json.loads(json.dumps(store.commit(identity)))
    store.remove(f"commits/{identity}.json")
    what = [what for where, what in found(store) if where == "catalog.parquet"]
    assert what == ["lists sub-5.nwb, which has no commit: run `foundation catalog --refresh`"]
    store.write_json(f"commits/{identity}.json", record | {"n_spikes": 1})
    assert any(w == "catalog.parquet" and "says of sub-5.nwb" in what for w, what in found(store))
    store.write_bytes("catalog.parquet", b"no parquet")
    assert any(w == "catalog.parquet" and "damaged" in what for w, what in found(store))


def test_a_pointer_to_nothing(store, make_recording):
    make_current(store, "0" * 20, make_recording(0).source)
    ((where, what),) = found(store)
    assert where.startswith("current/")
    assert "0" * 20 in what


def test_derived_data(store):
    (derived,) = Derived.find(store)
    edit_json(store, f"{derived.folder}/zarr.json", lambda value: value["attributes"]["made_by"].update(kind="other"))
    assert found(store) == [(derived.folder, "its attributes")]


def test_the_command_says_so_and_fails(store):
    listing = list_catalog(CatalogSettings(store.url, verify=True))
    assert listing.ok
    assert "every array has its digest: 2 recordings" in str(listing)
    store.remove(f"recordings/{group_of(store)}/spikes/ticks/c/0")
    listing = list_catalog(CatalogSettings(store.url, verify=True))
    assert not listing.ok
    assert "damaged: sub-1.nwb: spikes/ticks" in str(listing)
