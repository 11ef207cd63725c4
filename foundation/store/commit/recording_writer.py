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
    """Write a recording and make it visible. The same recording again writes nothing new.

    Args:
        store: where to.
        recording: what.
        recipe_digest: digest of the recipe that read it.
        current: make it the recording of its asset that counts.
        place: where its file lies; see `make_current`.

    Returns:
        The recording's id.

    Raises:
        StoreError: if the store cannot be written; the recording is then not visible.
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
        # Nothing committed is overwritten: whoever has read it must find it again.
        log.warning("%s is kept as it was committed, though it would be read otherwise today", record["path"])


def make_current(store: Store, record: dict[str, Any], place: str = "") -> None:
    """Say that this recording is the one that counts of those that were made from one asset.

    `Catalog` lists only recordings that count; the others stay as they are, for whoever named them by id. A file
    outside an archive that was edited is another asset, as its content is: it supersedes what the same place held
    before of the same session. One that was retired counts again.

    Args:
        store: the store.
        record: its commit record.
        place: the file's absolute path or URL; empty for assets of an archive, which their archive names.
    """
    identity = record["id"]
    recall(store, identity)
    _point(store, f"current/{origin(Source(**record['source']))}.json", identity)
    if not place:
        return
    name = f"current/{place_key(place, record['subject'], record['session'])}.json"
    before = (store.read_json(name) or {}).get("id", identity)
    if before != identity:
        # In this order: a process that is killed in between does so again next time.
        store.remove(f"superseded/{identity}.json")
        _point(store, f"superseded/{before}.json", identity)
    _point(store, name, identity)


def _point(store: Store, name: str, identity: str) -> None:
    if store.read_json(name) != {"id": identity}:
        store.write_json(name, {"id": identity})


def summarise(recording: Recording) -> dict[str, Any]:
    """What the catalog says of a recording: a flat row of text and numbers."""
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
