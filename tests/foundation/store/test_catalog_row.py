"""Commit records as columns: no loss, large catalogs mapped from one file, and transfer to other processes."""

import json
import multiprocessing
import os
import pickle
import time
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pytest

from foundation.common.errors import StoreError
from foundation.store import (
    Catalog,
    CatalogRow,
    CatalogRows,
    Source,
    Store,
    StoredRecording,
    catalog_row,
    write_recording,
)
from foundation.store.catalog_row import join_columns, map_columns, to_columns, write_columns
from foundation.store.commit import snapshot

ROW = CatalogRow(
    "f00d", "d" * 64, "r1", "dandi/1/m", "Mus musculus", "s", "sub-m/a.nwb", "counts", "lab", 3, 1200,
    1800.1, 0.1 + 0.2, 0.05, ["cell_type", "trials.é"], [[0.0, 0.1 + 0.2], [1.0, 1.0000000000000002]],
    Source("sub-m/a.nwb", "dandi-etag:1", "dandi", "1", "draft", "x", "CC-BY-4.0", "embargoed"),
    {"spikes_dropped_nan": 2.0}, {"units_dropped": 2, "gaps": 1},
)  # fmt: skip
OTHERS = [
    replace(ROW, id="b", observed=None, labels=[], quality={}, control={}, source=Source("elsewhere.nwb", "")),
    CatalogRow("c"),
    replace(ROW, id="d", observed=[], quality={"units_sorted": float("nan")}, control={"gaps": 1.5}),
]


def same(rows, expected):
    return [str(row) for row in rows] == [str(row) for row in expected]


def test_rows_round_trip():
    rows = CatalogRows.of([ROW, *OTHERS])
    assert same(rows, [replace(ROW, control={"units_dropped": 2, "gaps": 1.0}), *OTHERS])
    assert rows[0].observed_time().end.tolist() == [0.1 + 0.2, 1.0000000000000002]
    assert rows[-1].id == "d"
    assert rows[0] == rows[np.int64(0)]
    with pytest.raises(IndexError):
        rows[4]


def test_tables_are_joined_and_parts_selected():
    rows = CatalogRows(
        join_columns([to_columns([json.dumps({"id": "a", "path": "p"})]), CatalogRows.of(OTHERS)._table])
    )
    assert same(rows, [CatalogRow("a", path="p", source=Source("p", "")), *OTHERS])
    part = rows.select(np.array([3, 1])).select(np.array([True, True]))
    assert part.ids == ["d", "b"]
    assert same(part[1:], OTHERS[:1])
    assert rows.places(["d", "nobody", "a"]).tolist() == [3, -1, 0]
    assert (rows.find("c"), part.find("b"), part.find("c")) == (2, 1, None)
    assert rows.with_label("trials.é").tolist() == [False, False, False, True]
    assert part.with_label("trials.é").tolist() == [True, False]
    assert part.with_label("other").tolist() == [False, False]
    assert (CatalogRows.of([ROW, ROW]).units_dropped, rows.units_dropped) == (4, 0)


def test_snapshot_in_many_batches_has_the_same_rows(tmp_path, monkeypatch):
    records = [asdict(replace(row, id=f"{n}-{row.id}")) for n in range(5) for row in (ROW, *OTHERS)]
    store = Store(tmp_path / "store", create=True)
    store.swap(snapshot.SNAPSHOT, snapshot.to_parquet(records, []), "")
    expected = CatalogRows.of_records(sorted(records, key=snapshot.order))
    monkeypatch.setattr(snapshot, "BATCH", 3)
    monkeypatch.setattr(catalog_row, "BLOCK", 1)
    assert same(Catalog.open(store).records, expected)


def test_empty_rows():
    rows = CatalogRows.of([])
    assert (len(rows), list(rows), rows.ids, rows.numbers("n_units").tolist()) == (0, [], [], [])
    assert pickle.loads(pickle.dumps(rows)) == rows


def test_records_that_arrow_cannot_read_are_refused():
    with pytest.raises(StoreError, match="cannot be read as columns"):
        to_columns(['{"id": "a", "n_units": "many"}'])


@pytest.fixture
def columns_in_files(tmp_path, monkeypatch):
    """Map even small catalogs from files, and send them to other processes by file name."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(snapshot, "LARGE", 0)
    monkeypatch.setattr("foundation.store.catalog_row.SENT", 0)
    return tmp_path / "cache" / "foundation" / "catalogs"


def test_mapped_catalog_equals_the_catalog(small_store, columns_in_files):
    expected = list(Catalog.build(Store(small_store)).records)
    for _ in range(2):
        catalog = Catalog.open(Store(small_store))
        assert list(catalog.records) == expected
        assert len(list(columns_in_files.iterdir())) == 1
    part = catalog.where("subject in ['mouse1', 'mouse3']")
    sent = pickle.loads(pickle.dumps(part.records))
    assert list(sent) == list(part.records)
    assert len(pickle.dumps(catalog.records)) < 500
    next(columns_in_files.iterdir()).unlink()
    with pytest.raises(StoreError, match="removed meanwhile"):
        pickle.loads(pickle.dumps(catalog.records))
    assert list(catalog.records) == expected  # processes that have mapped the file keep it


def test_damaged_columns_are_rebuilt(small_store, columns_in_files):
    expected = list(Catalog.open(Store(small_store)).records)
    (file,) = columns_in_files.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert list(Catalog.open(Store(small_store)).records) == expected
    file.write_bytes(b"")
    assert list(Catalog.open(Store(small_store)).records) == expected


def test_other_snapshot_has_its_own_columns(tmp_path, make_recording, columns_in_files):
    store = Store(tmp_path / "store", create=True)
    for seed in range(2):
        write_recording(store, make_recording(seed))
        Catalog.refresh(store)
        assert len(Catalog.open(store)) == seed + 1
    files = list(columns_in_files.iterdir())
    assert len(files) == 2
    os.utime(files[0], (0, 0))
    write_recording(store, make_recording(2))
    Catalog.refresh(store)
    assert len(Catalog.open(store)) == 3
    assert files[0] not in columns_in_files.iterdir(), "nobody has opened it for a month"


def test_unwritable_cache_is_skipped(small_store, columns_in_files, monkeypatch):
    columns_in_files.parent.parent.write_text("a file")
    assert len(Catalog.open(Store(small_store))) == 4


def _open(url, start, found):
    snapshot.LARGE = 0
    start.wait()
    found.put(Catalog.open(Store(url)).ids)


def test_processes_can_open_a_catalog_together(small_store, columns_in_files):
    context = multiprocessing.get_context("spawn")
    start, found = context.Event(), context.Queue()
    processes = [context.Process(target=_open, args=(str(small_store), start, found)) for _ in range(3)]
    for process in processes:
        process.start()
    time.sleep(1.0)
    start.set()
    ids = [found.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert ids == [Catalog.open(Store(small_store)).ids] * 3
    assert [file.suffix for file in columns_in_files.iterdir()] == [".arrow"]


def test_superseded_recordings_come_after_current_ones(tmp_path, make_recording, columns_in_files):
    store = Store(tmp_path / "store", create=True)
    first, second = (write_recording(store, make_recording(0), recipe) for recipe in ("one", "two"))
    Catalog.refresh(store)
    catalog = Catalog.open(store)
    assert (catalog.ids, catalog.superseded.ids) == ([second], [first])
    assert StoredRecording(store, catalog.superseded[0]).load().n_units == catalog.records[0].n_units


def test_selected_recordings_keep_the_order_of_the_catalog(small_store):
    catalog = Catalog.open(Store(small_store))
    assert catalog.select(catalog.ids[::-1]).ids == catalog.ids
    assert len(catalog.select([])) == 0
    with pytest.raises(StoreError, match="no recording 'nobody'"):
        catalog.select([catalog.ids[0], "nobody"])


def test_file_of_columns_is_mapped_not_read(tmp_path):
    table = CatalogRows.of([replace(ROW, id=f"{k:020d}") for k in range(100_000)])._table
    write_columns(tmp_path / "rows.arrow", table)
    before = pa.total_allocated_bytes()
    rows = map_columns(tmp_path / "rows.arrow")
    assert rows[70_000].id == f"{70_000:020d}"
    assert rows.numbers("n_units").sum() == 300_000
    assert pa.total_allocated_bytes() - before < 2 << 20
