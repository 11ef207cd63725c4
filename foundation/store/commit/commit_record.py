"""What a commit record says: who a recording is, its observed time, and whether the record agrees with the group.

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


LISTED = 64


def listed(domain: Interval) -> list[list[float]] | None:
    """Observed time as a commit record holds it: start and end of intervals that do not touch; None above 64 of them.

    Example:
        >>> listed(Interval([0.0, 5.0], [5.0, 9.5]))
        [[0.0, 9.5]]
    """
    observed = domain.union()
    return np.stack([observed.start, observed.end], axis=1).tolist() if len(observed) <= LISTED else None


# Small arrays that the record speaks of.
SUMMED = ("spikes/counts", "activity/data")
KEPT = ("domain/start", "domain/end", "units/cell_type", "units/location")


@dataclass
class Held:
    """What a group holds, as far as its commit record tells of it; filled while its arrays are read.

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
        """Take notice of an array."""
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
        """As `Recording.labels` gives them."""
        columns = {path: decode_column(array).astype(str) for path, array in self.arrays.items() if "units/" in path}
        known = [path.removeprefix("units/") for path, column in sorted(columns.items()) if (column != "").any()]
        tables = [path.split("/") for path in self.paths if path.startswith("intervals/") and "/columns/" in path]
        return known + sorted(attributes["behavior"]) + [f"{name}.{column}" for _, name, _, column in sorted(tables)]


def differences(record: dict[str, Any], attributes: dict[str, Any], held: Held) -> list[str]:
    """Names of what a commit record says otherwise than its recording's group.

    Args:
        record: the commit record.
        attributes: of the group.
        held: what its arrays hold.
    """
    subject, domain = Subject(**attributes["subject"]), held.domain()
    same = ("source", "session", "n_units", "resolution", "lab", "quality", "recipe")
    said = {name: attributes[name] for name in same} | {
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
    # What older software did not write.
    record = {"control": {}, "observed": said["observed"]} | record
    return [name for name, value in said.items() if record.get(name) != value]
