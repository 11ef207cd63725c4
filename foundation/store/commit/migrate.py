"""Bringing a store of an older schema up to date, a recording at a time.

Schema 1 -> 2: another codec and chunks, groups that carry their arrays' metadata, identities that know an archive's
paths. Every recording is read, checked against its digests and written anew; the old one goes when the new one is
committed. The result is what ingesting the same files today would give, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.common.errors import StoreError
from foundation.common.locks import is_part
from foundation.common.progress import progress
from foundation.store.commit.atomic_files import Files
from foundation.store.commit.recording_writer import write_recording
from foundation.store.commit.snapshot import refresh
from foundation.store.format.encode import SCHEMA_VERSION
from foundation.store.format.identity import origin, recording_id
from foundation.store.format.zarr_arrays import GROUP_FILE
from foundation.store.recording import Source
from foundation.store.storage import MARKER, Store, check_schema
from foundation.store.stored import StoredRecording

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Migration:
    """What `migrate_store` did: the schema it found, and how many recordings it wrote anew."""

    schema: int
    migrated: int

    def __str__(self) -> str:
        if self.schema == SCHEMA_VERSION:
            return f"the store has schema {SCHEMA_VERSION} already"
        return f"{self.migrated} recordings brought from schema {self.schema} to {SCHEMA_VERSION}"


class _AnySchema(Store):
    """A store whose schema is still to be brought up to date."""

    def __init__(self, url: str | Path) -> None:
        Files.__init__(self, url)


def migrate_store(url: str | Path) -> Migration:
    """Bring a store up to date, while no one else writes to it. Interrupted, it goes on where it was.

    Args:
        url: the store's folder or URL.

    Raises:
        StoreError: if there is no store; if it is newer than this software; or if a recording is damaged: then all
            others have been brought up to date, the damaged one is as it was, and the store keeps its old schema.
    """
    store = _AnySchema(url)
    marker = store.read_json(MARKER)
    if marker is None:
        raise StoreError(f"there is no store at {store.name!r}")
    schema = marker.get("schema")
    if schema == SCHEMA_VERSION:
        return Migration(SCHEMA_VERSION, 0)
    if schema != 1:
        check_schema(store.name, marker)
    records = [record for i in store.commit_ids() if (record := store.commit(i)) is not None]
    old = [record for record in records if record["id"] == _id_1(record)]
    pointers = {_origin_1(record): store.read_json(f"current/{_origin_1(record)}.json") for record in old}
    damaged = []
    # Those that count come last, and the newest version of them, so that they count afterwards.
    for record in progress(sorted(old, key=lambda r: _turn(r, pointers)), "migrating", unit="recording"):
        damaged += _migrate_1(store, record, counts=_counts(record, pointers))
    if damaged:
        raise StoreError(
            f"{len(damaged)} recordings of {store.name!r} are damaged and stay as they were ({'; '.join(damaged)}): "
            "remove their commit records, migrate again, and ingest their files again"
        )
    current, superseded = refresh(store, full=True)
    _remove_old(store, [*current, *superseded])
    store.write_json(MARKER, {**marker, "schema": SCHEMA_VERSION})
    log.info("%s has schema %d now", store.name, SCHEMA_VERSION)
    return Migration(1, len(old))


def _migrate_1(store: Store, record: dict[str, Any], counts: bool) -> list[str]:
    """Write a recording of schema 1 anew and remove its old commit; names what is damaged instead."""
    source = Source(**record["source"])
    if not (store.commit(recording_id(source, record["recipe"])) and not counts):
        stored = StoredRecording(store, record)
        try:
            damaged = stored.verify()
        except StoreError as error:
            return [f"{record['path']}: {error}"]
        if damaged:
            return [f"{record['path']}: {', '.join(damaged)}"]
        write_recording(store, stored.load(), record["recipe"], current=counts)
    store.remove(f"commits/{record['id']}.json")
    return []


def _remove_old(store: Store, records: list[dict[str, Any]]) -> None:
    """Remove groups and pointers of the old schema that nothing names any more."""
    origins = {f"{origin(Source(**record['source']))}.json" for record in records}
    for name in store.names("current"):
        if name not in origins and not is_part(name):
            store.remove(f"current/{name}")
    digests = {record["digest"] for record in records}
    for digest in store.names("recordings"):
        if digest in digests or is_part(digest):
            continue
        about = store.read_json(f"recordings/{digest}/{GROUP_FILE}") or {}
        if about.get("attributes", {}).get("schema", 1) < SCHEMA_VERSION:
            store.remove(f"recordings/{digest}")


def _turn(record: dict[str, Any], pointers: dict[str, dict[str, Any] | None]) -> tuple[bool, str, str]:
    return _counts(record, pointers), record["source"]["version"], record["id"]


def _counts(record: dict[str, Any], pointers: dict[str, dict[str, Any] | None]) -> bool:
    pointer = pointers[_origin_1(record)]
    return pointer is None or pointer["id"] == record["id"]


def _identity_1(record: dict[str, Any]) -> list[str]:
    return [record["source"][name] for name in ("archive", "dandiset", "asset", "digest")]


def _id_1(record: dict[str, Any]) -> str:
    return _digest_1([_identity_1(record), record["recipe"], 1])


def _origin_1(record: dict[str, Any]) -> str:
    return _digest_1(_identity_1(record))


def _digest_1(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
