"""The recordings of a store that tables are made of."""

from __future__ import annotations

from foundation.common.errors import ConfigError
from foundation.store.catalog import Catalog
from foundation.store.stored import StoredRecording


def find_recording(catalog: Catalog, subject: str) -> StoredRecording:
    """The one recording of an animal.

    Raises:
        ConfigError: if there is none, or more than one.
    """
    found = [recording for recording in catalog if recording.subject.id == subject]
    if len(found) != 1:
        raise ConfigError(f"the store has {len(found)} recordings of subject {subject!r}: one is needed")
    return found[0]


def source_digest(recording: StoredRecording) -> str:
    """Digest of the file that a recording was read from, which stays when the store's schema or a recipe does not."""
    return recording.record.source.digest or recording.record.digest
