"""Commit records: a recording's identity, its observed time, and a check of the record against the group.

The catalog is made of these records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foundation.common.digests import json_digest
from foundation.store.format.encode import SCHEMA_VERSION, EncodedArray, decode_column, decode_interval
from foundation.store.format.finite import total
from foundation.store.interval import Interval
from foundation.store.recording import COUNTS, Source, Subject


def recording_id(source: Source, recipe_digest: str, schema: int = SCHEMA_VERSION) -> str:
    """Return a recording's id: a digest of its source (asset or file content), its recipe and the schema.

    The dandiset's version does not enter the id: an asset that two versions share is one recording.

    Example:
        >>> a = recording_id(Source(path="x.nwb", digest="ab"), "r1")
        >>> a == recording_id(Source(path="moved/x.nwb", digest="ab"), "r1")
        True
        >>> a == recording_id(Source(path="x.nwb", digest="ab"), "r2")
        False
    """
    return json_digest([source.archive, source.dandiset, source.asset, source.digest, recipe_digest, schema])[:20]


def origin(source: Source) -> str:
    """Return a recording's origin: a path of a dandiset, or a file's content. Each origin has one current recording.

    A newer asset at the same path of a dandiset supersedes the older one in every version.

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
    """Return the key of a place, subject and session; the newest recording with a key is current.

    A file that each session overwrites gives each session its own key.

    Args:
        place: the file's absolute path, links followed, or its URL.
        subject, session: of the recording.
    """
    return json_digest(["place", place, subject, session])[:20]


LISTED = 64


def listed(domain: Interval) -> list[list[float]] | None:
    """Return observed time as a commit record holds it: start and end of disjoint intervals; None above 64 intervals.

    Example:
        >>> listed(Interval([0.0, 5.0], [5.0, 9.5]))
        [[0.0, 9.5]]
    """
    observed = domain.union()
    return np.stack([observed.start, observed.end], axis=1).tolist() if len(observed) <= LISTED else None


# Small arrays that the record describes.
SUMMED = ("spikes/counts", "activity/data")
KEPT = ("domain/start", "domain/end", "units/cell_type", "units/location")


@dataclass
class Held:
    """The contents of a group that its commit record describes; collected while the arrays are read.

    Example:
        >>> held = Held()
        >>> held.see("domain/start", EncodedArray(np.array([0.0])))
        >>> held.see("domain/end", EncodedArray(np.array([7.5])))
        >>> held.see("spikes/counts", EncodedArray(np.array([3, 4])))
        >>> held.n_spikes, held.domain().duration
        (7, 7.5)
    """

    def __post_init__(self) -> None:
        self.paths: list[str] = []
        self.arrays: dict[str, EncodedArray] = {}
        self.kind, self.n_spikes = "spikes", 0

    def see(self, path: str, array: EncodedArray) -> None:
        """Add an array."""
        self.paths.append(path)
        if path in KEPT:
            self.arrays[path] = array
        if path == "activity/data":
            self.kind = array.attributes["kind"]
        if path in SUMMED and self.kind in ("spikes", COUNTS):
            self.n_spikes = int(total(array.data))

    def domain(self) -> Interval:
        """The observed time."""
        return decode_interval("domain", self.arrays)

    def labels(self, attributes: dict[str, Any]) -> list[str]:
        """Return the labels as `Recording.labels` does."""
        columns = {path: decode_column(array).astype(str) for path, array in self.arrays.items() if "units/" in path}
        known = [path.removeprefix("units/") for path, column in sorted(columns.items()) if (column != "").any()]
        tables = [path.split("/") for path in self.paths if path.startswith("intervals/") and "/columns/" in path]
        return known + sorted(attributes["behavior"]) + [f"{name}.{column}" for _, name, _, column in sorted(tables)]


def differences(record: dict[str, Any], attributes: dict[str, Any], held: Held) -> list[str]:
    """Return the names of fields in which a commit record differs from its recording's group.

    Args:
        record: the commit record.
        attributes: of the group.
        held: contents of its arrays.
    """
    subject, domain = Subject(**attributes["subject"]), held.domain()
    same = ("source", "session", "n_units", "resolution", "lab", "quality", "recipe")
    in_group = {name: attributes[name] for name in same} | {
        "subject": subject.key,
        "species": subject.species,
        "path": attributes["source"]["path"],
        "control": attributes.get("control", {}).get("counts", {}),
        "kind": held.kind,
        "n_spikes": held.n_spikes,
        "duration": round(domain.duration, 6),
        "longest_interval": round(float(np.max(domain.end - domain.start, initial=0.0)), 6),
        "observed": listed(domain),
        "labels": held.labels(attributes),
    }
    # Fields that older software did not write.
    record = {"control": {}, "observed": in_group["observed"]} | record
    return [name for name, value in in_group.items() if record.get(name) != value]
