"""All operations of a store, on a local folder, in memory and in an object store."""

import numpy as np
import pytest

from foundation.common.errors import StoreError
from foundation.store import (
    Catalog,
    Derived,
    Interval,
    IrregularTimeSeries,
    RegularTimeSeries,
    Source,
    Store,
    StoredRecording,
    clean_store,
    verify_store,
    write_recording,
)


def full(make_recording, seed=0, **changes):
    rng = np.random.default_rng(seed)
    parts = {
        "behavior": {
            "position": IrregularTimeSeries(np.sort(rng.uniform(0, 60, 500)), rng.normal(size=(500, 2)), "cm"),
            "speed": RegularTimeSeries(rng.normal(size=(600, 1)).astype(np.float32), rate=10.0, unit="cm/s"),
        },
        "intervals": {"trials": Interval([1.0, 2.0], [2.0, 3.0], {"side": np.array(["left", ""])})},
        "quality": {"spikes_dropped_nan": 3},
    }
    return make_recording(seed, **(parts | changes))


def test_written_recordings_are_read_and_verify(place, make_recording):
    store = Store(place, create=True)
    recording = full(make_recording)
    identity = write_recording(store, recording, "recipe")
    sampled = make_recording(
        1,
        spikes=None,
        activity=RegularTimeSeries(np.random.default_rng(0).poisson(1, (900, 12)).astype(np.uint8), 10.0),
    )
    write_recording(store, sampled)
    Catalog.refresh(store)

    again = Catalog.open(Store(place))
    assert [r.record.path for r in again] == ["sub-0.nwb", "sub-1.nwb"]
    back = StoredRecording(Store(place), identity).load()
    assert back.spikes.times.tobytes() == recording.spikes.times.tobytes()
    assert back.behavior["position"].data.tobytes() == recording.behavior["position"].data.tobytes()
    assert back.intervals["trials"].columns["side"].tolist() == ["left", ""]
    np.testing.assert_array_equal(next(iter(again)).load().units["cell_type"], recording.units["cell_type"])
    np.testing.assert_array_equal(list(again)[1].load().activity.data, sampled.activity.data)

    verification = verify_store(Store(place))
    assert verification.ok, str(verification)
    assert (verification.recordings, verification.left) == (2, [])
    assert verification.arrays == 17


def test_recording_without_a_commit_is_invisible(place, make_recording, monkeypatch):
    store = Store(place, create=True)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "swap", lambda *_, **__: (_ for _ in ()).throw(OSError("cut")))
        with pytest.raises(StoreError, match="cut"):
            write_recording(store, make_recording(0))
    assert len(Catalog.refresh(store)) == 0
    left = verify_store(store).left
    assert len(left) == 1
    # It may still be committed; only its age shows that it will not be.
    assert clean_store(store).groups == []
    assert [f"recordings/{digest}" for digest in clean_store(store, older_than=0.0).groups] == left
    assert verify_store(store).left == []


def test_half_written_group_is_completed(place, make_recording):
    """A writer that died between two arrays leaves no group, and the next writer completes it."""
    store = Store(place, create=True)
    whole = Store(f"{place}-whole", create=True)
    write_recording(whole, make_recording(0))
    (digest,) = whole.names("recordings")
    source, target = whole.path("recordings", digest), store.path("recordings", digest)
    if not store.is_local:  # on a local disk folders always appear complete
        for path in store.fs.find(source):
            if not path.endswith(f"{digest}/zarr.json") and "/spikes/" not in path:
                store.fs.pipe_file(path.replace(source, target), store.fs.cat_file(path))
        with pytest.raises(StoreError, match="missing"):
            store.open_group(digest)
    write_recording(store, make_recording(0))
    Catalog.refresh(store)
    assert verify_store(store).ok
    assert len(store.fs.find(target)) == len(store.fs.find(source))


def test_damage_is_named(place, make_recording):
    store = Store(place, create=True)
    write_recording(store, make_recording(0))
    write_recording(store, make_recording(1))
    Catalog.refresh(store)
    (digest,) = [r.digest for r in Catalog.open(store).records if r.path == "sub-1.nwb"]
    chunk = f"recordings/{digest}/spikes/ticks/c/0"
    content = bytearray(store.read_bytes(chunk))
    content[-1] ^= 0xFF
    store.write_bytes(chunk, bytes(content))
    verification = verify_store(Store(place))
    ((where, what),) = [(f.where, f.what) for f in verification.findings]
    assert (where, what.split(":")[0]) == ("sub-1.nwb", "spikes/ticks")
    assert "damaged: sub-1.nwb: spikes/ticks" in str(verification)


def test_derived_data_do_not_change_recordings(place, make_recording):
    store = Store(place, create=True)
    identity = write_recording(store, make_recording(0))
    before = StoredRecording(store, identity).record
    settings = {"dim": 3, "temperature": 0.1}
    fit = Derived(store, "cebra", settings, [before.digest])
    assert not fit.exists()
    with pytest.raises(StoreError, match="missing"):
        fit.read("embedding")
    z = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    fit.write({"a/embedding": z, "names": np.array(["x", ""])}, {"loss": 0.25})

    again = Derived(Store(place), "cebra", dict(reversed(settings.items())), [before.digest])
    assert again.exists()
    assert again.names() == ["a/embedding", "names"]
    np.testing.assert_array_equal(again.read("a/embedding"), z)
    assert again.read("names").tolist() == ["x", ""]
    assert again.attributes["loss"] == 0.25
    assert not Derived(store, "cebra", settings | {"dim": 4}, [before.digest]).exists()
    assert not Derived(store, "cebra", settings, ["another recording"]).exists()
    assert [d.digest for d in Derived.find(store)] == [fit.digest]
    assert Derived.find(store, "qc") == []
    assert StoredRecording(store, identity).record == before
    Catalog.refresh(store)
    assert verify_store(store).ok
    chunk = f"{fit.folder}/a/embedding/c/0/0"
    store.write_bytes(chunk, store.read_bytes(chunk)[:-1])
    assert [f.where for f in verify_store(store).findings] == [fit.folder]
    with pytest.raises(StoreError, match="damaged"):
        again.read("a/embedding")


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        (1, "ingest its files again into a new store"),
        (99, "it was created by a newer version"),
        (None, "newer version"),
    ],
)
def test_store_with_another_schema_is_refused(place, schema, advice):
    store = Store(place, create=True)
    marker = {"format": "foundation-store", "schema": schema}
    store.write_json("store.json", marker)
    for create in (False, True):
        with pytest.raises(StoreError, match=rf"has schema {schema}, this version reads \d+: .*{advice}"):
            Store(place, create=create)
    assert store.read_json("store.json") == marker


def test_newer_asset_at_a_path_supersedes_the_older(place, make_recording):
    def asset(number, version, path="sub-a/a.nwb", archive="dandi"):
        source = Source(path, f"dandi-etag:{number}", archive, "000001", version, f"asset{number}")
        return make_recording(number, source=source)

    store = Store(place, create=True)
    first = write_recording(store, asset(1, "0.1"), "r")
    Catalog.refresh(store)
    # The same asset in another version is the same recording.
    assert write_recording(store, asset(1, "0.2"), "r") == first
    second = write_recording(store, asset(2, "draft"), "r")
    elsewhere = write_recording(store, asset(3, "draft", path="sub-a/b.nwb"), "r")
    other = write_recording(store, asset(4, "draft", archive="dandi-sandbox"), "r")
    catalog = Catalog.refresh(store)
    assert {r.id for r in catalog.records} == {second, elsewhere, other}
    assert [r.id for r in catalog.superseded] == [first]
    assert {r.id for r in Catalog.open(store).records} == {second, elsewhere, other}
    assert StoredRecording(store, first).load().n_units == 12
