"""Writing a recording and making it visible."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from foundation.common.errors import StoreError
from foundation.store.commit.atomic_files import to_json
from foundation.store.commit.commit_record import listed, origin, place_key, recording_id
from foundation.store.commit.membership import recall
from foundation.store.format.encode import encode
from foundation.store.recording import Recording, Source
from foundation.store.storage import Store

log = logging.getLogger(__name__)


def write_recording(
    store: Store, recording: Recording, recipe_digest: str = "", current: bool = True, place: str = ""
) -> str:
    """Write a recording and make it visible. Writing the same recording again changes nothing.

    Args:
        store: the store.
        recording: the recording.
        recipe_digest: digest of the recipe that read it.
        current: make it the current recording of its asset.
        place: where its file is; see `make_current`.

    Returns:
        The recording's id.

    Raises:
        StoreError: if the store cannot be written; then the recording stays invisible.
    """
    identity = recording_id(recording.source, recipe_digest)
    encoded = encode(recording)
    encoded.attributes["recipe"] = recipe_digest
    digest = store.write_group(encoded)
    record = {"id": identity, "digest": digest, "recipe": recipe_digest, **summarise(recording)}
    try:
        _commit(store, record)
        if current:
            make_current(store, record, place)
    except OSError as error:
        raise StoreError(f"cannot write to {store.name!r}: {error.strerror or error}") from error
    return identity


def _commit(store: Store, record: dict[str, Any]) -> None:
    name = f"commits/{record['id']}.json"
    content = to_json(record)
    if store.swap(name, content, version=""):
        return
    found = store.read_json(name)
    if found is not None and found["digest"] != record["digest"]:
        # Commits are never overwritten, so that readers find the same content again.
        log.warning("%s: keeping the committed recording; reading the file now gives a different one", record["path"])


def make_current(store: Store, record: dict[str, Any], place: str = "") -> None:
    """Make a recording the current one of its asset.

    `Catalog` lists only current recordings; the others can still be read by their ids. An edited file outside an
    archive is another asset, since its content differs: its recording supersedes the earlier one of the same place and
    session. A retired recording becomes current again.

    Args:
        store: the store.
        record: its commit record.
        place: the file's absolute path or URL; empty for assets of an archive.
    """
    identity = record["id"]
    recall(store, identity)
    _point(store, f"current/{origin(Source(**record['source']))}.json", identity)
    if not place:
        return
    name = f"current/{place_key(place, record['subject'], record['session'])}.json"
    before = (store.read_json(name) or {}).get("id", identity)
    if before != identity:
        # In this order, so that the next run completes the work of a killed process.
        store.remove(f"superseded/{identity}.json")
        _point(store, f"superseded/{before}.json", identity)
    _point(store, name, identity)


def _point(store: Store, name: str, identity: str) -> None:
    if store.read_json(name) != {"id": identity}:
        store.write_json(name, {"id": identity})


def summarise(recording: Recording) -> dict[str, Any]:
    """Return the catalog's row of a recording, as flat text and numbers."""
    sampled = recording.activity is not None
    return {
        "subject": recording.subject.key,
        "species": recording.subject.species,
        "session": recording.session,
        "path": recording.source.path,
        "source": recording.source.to_dict(),
        "n_units": recording.n_units,
        "n_spikes": recording.n_spikes,
        "duration": round(recording.domain.duration, 6),
        "longest_interval": round(float(np.max(recording.domain.end - recording.domain.start, initial=0.0)), 6),
        "observed": listed(recording.domain),
        "kind": (recording.activity_kind if sampled else "spikes"),
        "resolution": recording.resolution,
        "labels": recording.labels,
        "lab": recording.lab,
        "quality": {k: recording.quality[k] for k in sorted(recording.quality)},
        "control": dict(recording.control.get("counts", {})),
    }
