"""Who a recording is, and which of the recordings of one asset counts."""

from __future__ import annotations

from foundation.common.digests import json_digest
from foundation.store.format.encode import SCHEMA_VERSION
from foundation.store.recording import Source


def recording_id(source: Source, recipe_digest: str, schema: int = SCHEMA_VERSION) -> str:
    """Who a recording is: its asset as its archive states it, or its file's content; the recipe; the schema.

    The version of a dandiset is no part of it: an asset that two versions share is one recording.

    Example:
        >>> a = recording_id(Source(path="x.nwb", digest="ab"), "r1")
        >>> a == recording_id(Source(path="moved/x.nwb", digest="ab"), "r1")
        True
        >>> a == recording_id(Source(path="x.nwb", digest="ab"), "r2")
        False
    """
    return json_digest([source.archive, source.dandiset, source.asset, source.digest, recipe_digest, schema])[:20]


def origin(source: Source) -> str:
    """What several recordings are made of, of which one counts: a path of a dandiset, or a file's content.

    A newer asset at the same path of a dandiset supersedes the older one, in whatever version it is found.

    Example:
        >>> first = Source("sub-a/a.nwb", "sha2", archive="dandi", dandiset="000001", version="0.1", asset="1")
        >>> second = Source("sub-a/a.nwb", "other", archive="dandi", dandiset="000001", version="draft", asset="2")
        >>> origin(first) == origin(second), recording_id(first, "r") == recording_id(second, "r")
        (True, False)
    """
    if source.archive:
        return json_digest([source.archive, source.dandiset, source.path])[:20]
    return json_digest([source.digest])[:20]


def place_key(place: str, subject: str, session: str) -> str:
    """Return the name of what was read from one place: of the recordings of one session there, the newest counts.

    Another animal or another session at the same place (a file that each session overwrites) is another name.

    Args:
        place: the file's absolute path, links followed, or its URL.
        subject, session: of the recording.
    """
    return json_digest(["place", place, subject, session])[:20]
