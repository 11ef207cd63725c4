"""``catalog.parquet``: a snapshot of all commit records, updated by concurrent runs without a lock between them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.common.errors import StoreError
from foundation.common.files.locks import whole_file
from foundation.common.processes.cores import usable_cores
from foundation.store.catalog_row import CatalogRows, join_columns, map_columns, to_columns, write_columns
from foundation.store.commit.commit_record import origin
from foundation.store.commit.membership import retired
from foundation.store.recording import Source
from foundation.store.storage import Store

log = logging.getLogger(__name__)

SNAPSHOT = "catalog.parquet"
FLAT = ("id", "subject", "species", "session", "path", "n_units", "n_spikes", "duration", "kind", "lab")
ATTEMPTS = 50
COLUMNS = 1  # version of the cached columns; increase it when their form changes
LARGE = 4 << 20  # bytes of a snapshot whose columns are kept in a file
BATCH = 1 << 14
THREADS = min(8, usable_cores())
UNUSED = 30 * 24 * 3600.0

Record = dict[str, Any]


def open_snapshot(store: Store) -> tuple[CatalogRows, CatalogRows] | None:
    """Return the snapshot's current and superseded rows; None if there is no snapshot.

    The columns of a large snapshot are cached in a file named by the snapshot's digest and mapped into memory: the file
    is made once per machine, and processes share its pages.

    Raises:
        StoreError: if the snapshot is damaged.
    """
    content = _content(store)
    if content is None:
        return None
    if content.size < LARGE:
        return _parted(CatalogRows(_columns(store, content)))
    file = cache_folder() / f"{hashlib.sha256(content).hexdigest()}-{COLUMNS}.arrow"
    try:
        rows = map_columns(file)
        os.utime(file)
    except (OSError, pa.ArrowInvalid):
        table = _columns(store, content)
        try:
            with whole_file(file) as part:
                write_columns(part, table)
            rows = map_columns(file)
            _drop_old(file.parent)
        except OSError as error:
            log.warning("%s is kept in memory, not in %s: %s", SNAPSHOT, file.parent, error)
            rows = CatalogRows(table)
    return _parted(rows)


def cache_folder() -> Path:
    """Return the folder of catalogs' columns, in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "catalogs"


def _drop_old(folder: Path) -> None:
    """Remove columns that no process has opened for a month; processes that map them keep them."""
    for file in folder.glob("*.arrow"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > UNUSED:
                file.unlink()


def _content(store: Store) -> pa.Buffer | None:
    """Return the snapshot's bytes, memory-mapped if the store is a folder; None if there is no snapshot."""
    if store.is_local:
        try:
            return pa.memory_map(store.path(SNAPSHOT)).read_buffer()
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowInvalid):  # an empty file cannot be mapped
            pass
    content = store.read_bytes(SNAPSHOT)
    return None if content is None else pa.py_buffer(content)


def _batches(store: Store, content: pa.Buffer) -> Iterator[tuple[pa.StringArray, np.ndarray]]:
    """Yield batches of records as JSON texts, with a mask of the current ones.

    Raises:
        StoreError: if the snapshot is damaged.
    """
    try:
        # `read_table` goes through Arrow's datasets, whose threads abort a process that ends soon after. A Python file
        # object would do the same: one of Arrow's threads may still hold it then (apache/arrow 33975, 34314).
        with pq.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH, columns=["record", "current"], use_threads=False):
                counts = batch.column("current").to_numpy(zero_copy_only=False)
                yield batch.column("record"), counts
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        where = f"{store.name}/{SNAPSHOT}"
        raise StoreError(f"{where} is damaged ({error}): rebuild it with `foundation catalog --refresh`") from error


def _columns(store: Store, content: pa.Buffer) -> pa.Table:
    """Return the snapshot's columns: first the current rows, then the others, each in the catalog's order."""

    def part(texts: pa.StringArray, counts: np.ndarray) -> pa.Table:
        return to_columns(texts).append_column("current", pa.array(counts))

    parts: list[pa.Table] = []
    with ThreadPoolExecutor(THREADS) as pool:  # Arrow parses JSON without holding Python's lock
        waiting: deque[Future[pa.Table]] = deque()
        for batch in _batches(store, content):
            waiting.append(pool.submit(part, *batch))
            if len(waiting) > THREADS:
                parts.append(waiting.popleft().result())
        parts += [future.result() for future in waiting]
    table = join_columns(parts or [to_columns([]).append_column("current", pa.array([], pa.bool_()))])
    counts = table["current"].to_numpy()
    if (counts[1:] > counts[:-1]).any():
        table = table.take(np.argsort(~counts, kind="stable"))
    return table


def _parted(rows: CatalogRows) -> tuple[CatalogRows, CatalogRows]:
    count = int(pc.sum(rows.column("current")).as_py() or 0)
    return rows.part(0, count), rows.part(count, len(rows))


def read_records(store: Store) -> tuple[list[Record], list[Record]] | None:
    """Return the snapshot's current and superseded records, unchanged; None if there is no snapshot.

    Raises:
        StoreError: if the snapshot is damaged.
    """
    content = _content(store)
    if content is None:
        return None
    pairs = [
        (json.loads(text), bool(counts))
        for texts, counts_R in _batches(store, content)
        for text, counts in zip(texts.to_pylist(), counts_R, strict=True)
    ]
    return [record for record, yes in pairs if yes], [record for record, yes in pairs if not yes]


def gather(store: Store, known: dict[str, Record] | None = None) -> tuple[list[Record], list[Record]]:
    """Return current records and others (superseded or retired); known records are not read again."""
    known = known or {}
    identities = store.commit_ids()
    new = [identity for identity in identities if identity not in known]
    read = dict(zip(new, store.read_many([f"commits/{identity}.json" for identity in new]), strict=True))
    records = [record for i in identities if (record := known.get(i) or read.get(i)) is not None]
    return _split(store, sorted(records, key=order))


def order(record: Record) -> tuple[str, str, str]:
    """Return the sort key of the catalog: subject, session, id."""
    return record["subject"], record["session"], record["id"]


def _split(store: Store, records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Split records into current ones and others; pointers are read only for assets with several recordings.

    A recording with a newer one at the same place (``superseded/``) is not current while the newer one exists.
    """
    withdrawn = retired(store)
    origins = [origin(Source(**record["source"])) for record in records]
    several: dict[str, list[str]] = {}
    for record, key in zip(records, origins, strict=True):
        several.setdefault(key, []).append(record["id"])
    keys = [key for key, identities in several.items() if len(identities) > 1]
    pointers = dict(zip(keys, store.read_many([f"current/{key}.json" for key in keys]), strict=True))
    known = {record["id"] for record in records}
    replaced = [name.removesuffix(".json") for name in store.names("superseded") if name.endswith(".json")]
    newer = dict(zip(replaced, store.read_many([f"superseded/{i}.json" for i in replaced]), strict=True))
    current: list[Record] = []
    superseded: list[Record] = []
    for record, key in zip(records, origins, strict=True):
        pointer, by = pointers.get(key), newer.get(record["id"])
        counts = pointer is None or pointer["id"] == record["id"] or pointer["id"] not in several[key]
        counts &= (by is None or by["id"] not in known) and record["id"] not in withdrawn
        (current if counts else superseded).append(record)
    return current, superseded


def refresh(store: Store, full: bool = False) -> tuple[list[Record], list[Record]]:
    """Bring the snapshot up to date with the commits; only commits that it lacks are read.

    If another run swapped the snapshot meanwhile, read the new one and update that.

    Args:
        store: the store.
        full: read every commit again.

    Raises:
        StoreError: if the store cannot be written.
    """
    for attempt in range(ATTEMPTS):
        version = store.version(SNAPSHOT)
        current, superseded = gather(store, None if full else known_records(store))
        content = to_parquet(current, superseded)
        if version == hashlib.sha256(content).hexdigest() or store.swap(SNAPSHOT, content, version):
            return current, superseded
        time.sleep(min(1.0, 0.02 * 2**attempt))
    raise StoreError(f"other runs keep changing {store.name}/{SNAPSHOT}: run `foundation catalog --refresh` later")


def known_records(store: Store) -> dict[str, Record]:
    """Return the snapshot's records by id; empty if the snapshot is missing or damaged."""
    try:
        parts = read_records(store) or ([], [])
    except StoreError as error:
        log.warning("%s", error)
        return {}
    return {record["id"]: record for part in parts for record in part}


def to_parquet(current: list[Record], superseded: list[Record]) -> bytes:
    """Return the snapshot's bytes: flat columns for other tools, and full records. Equal records give equal bytes."""
    counts = {record["id"] for record in current}
    records = sorted([*current, *superseded], key=order)
    columns: dict[str, Any] = {name: [record[name] for record in records] for name in FLAT}
    columns["labels"] = [",".join(record["labels"]) for record in records]
    columns["current"] = pa.array([record["id"] in counts for record in records], pa.bool_())
    columns["record"] = pa.array([json.dumps(record, sort_keys=True) for record in records], pa.string())
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    content: bytes = buffer.getvalue().to_pybytes()
    return content
