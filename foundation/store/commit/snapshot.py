"""``catalog.parquet``: a snapshot of all commit records, kept up to date by runs that know nothing of each other."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from foundation.common.errors import StoreError
from foundation.store.commit.membership import retired
from foundation.store.format.identity import origin
from foundation.store.recording import Source
from foundation.store.storage import Store

log = logging.getLogger(__name__)

SNAPSHOT = "catalog.parquet"
FLAT = ("id", "subject", "species", "session", "path", "n_units", "n_spikes", "duration", "kind", "lab")
ATTEMPTS = 50

Record = dict[str, Any]


def read_snapshot(store: Store) -> tuple[list[Record], list[Record]] | None:
    """Records that count and records that were superseded, as the snapshot has them; None without a snapshot.

    Raises:
        StoreError: if it is damaged.
    """
    content = store.read_bytes(SNAPSHOT)
    if content is None:
        return None
    try:
        # Not from a Python file object, and in this thread: otherwise one of Arrow's threads may still hold the
        # object when the process ends, and abort it (apache/arrow 33975, 34314).
        columns = ["record", "current"]
        # `read_table` goes through Arrow's datasets, whose threads abort a process that ends soon after.
        with pq.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
            table = file.read(columns=columns, use_threads=False)
        rows, counts = (table.column(name).to_pylist() for name in columns)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        where = f"{store.name}/{SNAPSHOT}"
        raise StoreError(f"{where} is damaged ({error}): rebuild it with `foundation catalog --refresh`") from error
    records = [json.loads(row) for row in rows]
    pairs = list(zip(records, counts, strict=True))
    return [record for record, yes in pairs if yes], [record for record, yes in pairs if not yes]


def gather(store: Store, known: dict[str, Record] | None = None) -> tuple[list[Record], list[Record]]:
    """Records that count and those that do not (superseded or retired); those already known are not read again."""
    known = known or {}
    identities = store.commit_ids()
    new = [identity for identity in identities if identity not in known]
    read = dict(zip(new, store.read_many([f"commits/{identity}.json" for identity in new]), strict=True))
    records = [record for i in identities if (record := known.get(i) or read.get(i)) is not None]
    return _split(store, sorted(records, key=order))


def order(record: Record) -> tuple[str, str, str]:
    """The catalog's order: subject, session, id."""
    return record["subject"], record["session"], record["id"]


def _split(store: Store, records: list[Record]) -> tuple[list[Record], list[Record]]:
    """Those that count and those that do not. Only an asset of several recordings needs its pointer read.

    A recording that was read from a place where there is a newer one (``superseded/``) does not count as long as the
    newer one is there.
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
    """Bring the snapshot up to date with the commits: only commits that it does not have are read.

    A snapshot that another run has swapped meanwhile is not overwritten: it is read, and brought up to date again.

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
    raise StoreError(f"other runs swap {store.name}/{SNAPSHOT} all the time: run `foundation catalog --refresh` later")


def known_records(store: Store) -> dict[str, Record]:
    """The snapshot's records by id; none where it is missing or damaged."""
    try:
        parts = read_snapshot(store) or ([], [])
    except StoreError as error:
        log.warning("%s", error)
        return {}
    return {record["id"]: record for part in parts for record in part}


def to_parquet(current: list[Record], superseded: list[Record]) -> bytes:
    """The snapshot's bytes: flat columns for other tools, and each record whole. Equal records give equal bytes."""
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
