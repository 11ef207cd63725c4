"""Garbage collection after killed processes; files that readers see or living writers need are kept."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foundation.common.files.locks import OLD, is_part, remove_if_left
from foundation.store.commit.snapshot import gather, known_records
from foundation.store.storage import Store

log = logging.getLogger(__name__)

FOLDERS = ("", "commits", "current", "superseded", "retired", "versions", "recordings", "derived")


@dataclass(frozen=True)
class Cleaned:
    """What `clean_store` removed: half-written files and folders, and groups without a commit."""

    parts: list[str]
    groups: list[str]


def clean_store(store: Store, older_than: float = OLD) -> Cleaned:
    """Remove the files that killed processes left behind. Safe while other processes write.

    On a local disk a half-written file is removed as soon as its writer is gone (see `foundation.common.files.locks`).
    A group without a commit, and on an object store also a half-written group, is removed once it is older than
    ``older_than``: until then its writer may still commit it, or a resumed ingest may reuse it.

    Args:
        store: the store.
        older_than: seconds.

    Raises:
        StoreError: if a commit record cannot be read; then no group is removed.
    """
    parts = [name for name in left_parts(store) if remove_if_left(Path(store.path(name)), older_than)]
    groups = []
    for digest in extra_groups(store):
        if _age(store, digest) >= older_than:
            store.remove(f"recordings/{digest}")
            groups.append(digest)
    if parts or groups:
        log.info("removed %d half-written files and %d groups without a commit", len(parts), len(groups))
    return Cleaned(parts, groups)


def left_parts(store: Store) -> Iterator[str]:
    """Yield the names of half-written files and folders on a local disk, including those being written now."""
    if not store.is_local:
        return
    for folder in FOLDERS:
        for name in store.names(folder) if folder else store.names("."):
            if is_part(name):
                yield f"{folder}/{name}" if folder else name


def extra_groups(store: Store) -> list[str]:
    """Return the sorted content digests of groups without a commit."""
    # List groups before commits, so that a group committed in between is in both.
    digests = [name for name in store.names("recordings") if not is_part(name)]
    committed = {record["digest"] for records in gather(store, known_records(store)) for record in records}
    return [digest for digest in digests if digest not in committed]


def _age(store: Store, digest: str) -> float:
    """Return the seconds since the group was last written or requested."""
    folder = store.path("recordings", digest)
    if store.is_local:
        return time.time() - Path(folder).stat().st_mtime
    times = [
        moment.timestamp() if isinstance(moment, datetime.datetime) else float(moment)
        for info in store.fs.find(folder, detail=True).values()
        if (moment := info.get("LastModified") or info.get("created")) is not None
    ]
    # Without modification times, nothing counts as old.
    return time.time() - max(times, default=time.time())
