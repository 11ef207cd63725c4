"""A store that the first version wrote becomes what today's version would write."""

import json
import shutil

import numpy as np
import pytest

from foundation.common.errors import StoreError
from foundation.store import Catalog, Store, StoredRecording, migrate_store, verify_store, write_recording
from foundation.store.commit import migrate
from foundation.store.storage import Store as AnyStore


def loaded(folder):
    """Path and recipe -> the recordings of a store of schema 1 and its commit records, read without migrating."""
    store = migrate._AnySchema(folder)
    records = [store.commit(identity) for identity in store.commit_ids()]
    return {(r["path"], r["recipe"]): (r, StoredRecording(store, r).load()) for r in records}


def test_it_is_byte_for_byte_what_would_be_written_today(store_of_schema_1, tmp_path, store_digest):
    before = loaded(store_of_schema_1)
    fresh = Store(tmp_path / "fresh", create=True)
    # Of one file that two recipes read, recipe-two counts.
    for (_, recipe), (_, recording) in sorted(before.items(), key=lambda item: item[0]):
        write_recording(fresh, recording, recipe)
    Catalog.refresh(fresh)
    assert migrate_store(store_of_schema_1).migrated == 7
    assert store_digest(store_of_schema_1) == store_digest(tmp_path / "fresh")


def test_nothing_is_lost(store_of_schema_1):
    before = loaded(store_of_schema_1)
    migrate_store(store_of_schema_1)
    catalog = Catalog.open(Store(store_of_schema_1))
    after = {(r["path"], r["recipe"]): r for r in [*catalog.records, *catalog.superseded]}
    assert after.keys() == before.keys()
    assert [r["recipe"] for r in catalog.superseded] == ["recipe-one"]
    for key, (record, recording) in before.items():
        same = record.keys() - {"id", "digest"}
        assert {name: after[key][name] for name in same} == {name: record[name] for name in same}
        back = StoredRecording(catalog.store, after[key]).load()
        if recording.spikes is not None:
            assert back.spikes.times.tobytes() == recording.spikes.times.tobytes()
            assert back.spikes.offsets.tolist() == recording.spikes.offsets.tolist()
        else:
            assert back.activity.data.tobytes() == recording.activity.data.tobytes()
        assert back.behavior["position"].data.tobytes() == recording.behavior["position"].data.tobytes()
        assert back.units["cell_type"].tolist() == recording.units["cell_type"].tolist()
        np.testing.assert_array_equal(back.domain.start, recording.domain.start)


class Killed(BaseException):
    pass


def test_interrupted_anywhere_it_goes_on(few_of_schema_1, tmp_path, monkeypatch, store_digest):
    """Stopped before its writes and removals in turn, then run again: always the same store."""
    shutil.copytree(few_of_schema_1, tmp_path / "whole")
    migrate_store(tmp_path / "whole")
    expected = store_digest(tmp_path / "whole")

    def stop_at(step):
        calls = iter(range(step + 1))

        def interrupt(real):
            def call(*arguments, **named):
                if next(calls) == step:
                    raise Killed
                return real(*arguments, **named)

            return call

        with monkeypatch.context() as patch:
            for name in ("write_objects", "swap", "write_bytes", "remove"):
                patch.setattr(AnyStore, name, interrupt(getattr(AnyStore, name)))
            migrate_store(copy)

    for step in range(0, 100, 3):
        copy = tmp_path / f"copy{step}"
        shutil.copytree(few_of_schema_1, copy)
        try:
            stop_at(step)
        except Killed:
            migrate_store(copy)
            assert store_digest(copy) == expected, step
            shutil.rmtree(copy)
        else:
            assert step > 12
            return
    pytest.fail("it never came to an end")


def test_a_damaged_recording_stays_as_it_was_and_is_named(store_of_schema_1):
    chunk = next(p for p in sorted((store_of_schema_1 / "recordings").rglob("spikes/ticks/c/0")))
    digest = chunk.relative_to(store_of_schema_1 / "recordings").parts[0]
    chunk.write_bytes(chunk.read_bytes()[:-3])
    (name,) = [p for p in (store_of_schema_1 / "commits").iterdir() if json.loads(p.read_text())["digest"] == digest]
    path = json.loads(name.read_text())["path"]
    with pytest.raises(StoreError, match=f"1 recordings of .*{path}: spikes/ticks"):
        migrate_store(store_of_schema_1)
    with pytest.raises(StoreError, match="--migrate"):
        Store(store_of_schema_1)
    assert name.exists()
    name.unlink()
    assert migrate_store(store_of_schema_1).migrated == 0
    assert verify_store(Store(store_of_schema_1)).ok


def test_a_store_of_a_newer_version_is_refused(tmp_path):
    store = Store(tmp_path / "store", create=True)
    store.write_json("store.json", {"format": "foundation-store", "schema": 99})
    for call in (Store, migrate_store):
        with pytest.raises(StoreError, match=r"schema 99, this version reads \d+: it was made by a newer version"):
            call(tmp_path / "store")
    assert store.read_json("store.json")["schema"] == 99


def test_a_store_that_is_up_to_date_is_left_alone(small_store, store_digest):
    before = store_digest(small_store)
    assert str(migrate_store(small_store)).endswith("already")
    assert store_digest(small_store) == before
    with pytest.raises(StoreError, match="no store"):
        migrate_store(small_store / "nothing")
