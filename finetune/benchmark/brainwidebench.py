"""Predictions of brain regions in the submission format of IBL BrainWideBench: task suite 3, units in Cosmos regions.

The format is that of the package ibl-bwb-eval 0.1.0, which scores it: a safetensors file for each seed under
``<label>/ts3-unit_cosmos``, with a probability of each region for each unit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from finetune.heads.decode import Decoded, decode
from finetune.heads.head import Head
from finetune.heads.head_files import load_head
from finetune.heads.head_models import head_models
from foundation.common.errors import ConfigError, SourceError
from foundation.common.files.locks import whole_file
from foundation.store import Catalog, Store, StoredRecording
from foundation.store.input_store import ingested

FORMAT = "0.1.0"  # version of ibl-bwb-eval whose files these are
TASK = "ts3-unit_cosmos"
REGIONS = ("CB", "CNU", "CTXsp", "HB", "HPF", "HY", "Isocortex", "MB", "OLF", "TH")  # columns, in this order
IDS = ("cluster_uuid", "uuid")  # columns of the units table that hold the id of a unit
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RECIPE = "dandi-000409"


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        files: one for each seed.
        units, recordings: how many are in each.
    """

    files: list[Path]
    units: int
    recordings: int

    def __str__(self) -> str:
        lines = [f"{self.units:,} units of {self.recordings} recordings, a file for each of {len(self.files)} seeds:"]
        return "\n".join([*lines, *map(str, self.files)])


def export_regions(heads: Sequence[str], seeds: Sequence[int], data: str, folder: str, label: str) -> Exported:
    """Apply heads of Cosmos regions to the recordings of a folder and write a submission.

    Args:
        heads: folders of heads that `foundation finetune` kept, one for each seed.
        seeds: that the heads were fitted with, in their order.
        data: the evaluation recordings of BrainWideBench: NWB files of DANDI:000409, or a store. No head may have been
            fitted to any of them.
        folder: the submission's; ``<folder>/<label>`` is what is zipped.
        label: name of the submission.

    Raises:
        ConfigError: if heads and seeds do not match, a head predicts something else, or it was fitted to a recording
            of the test.
        SourceError: if a recording has no UUID in its session id, or its units have none.
        HeadError: if a head cannot be loaded, or does not fit a recording.
    """
    if len(heads) != len(seeds):
        raise ConfigError(f"heads names {len(heads)} folders and seeds {len(seeds)} seeds: expected a head a seed")
    store = ingested(data, RECIPE)
    catalog = Catalog.open(Store(store))
    files, units = [], 0
    for place, seed in zip(heads, seeds, strict=True):
        head = load_head(place)
        _check(head, place, catalog)
        models = head_models(head, None)
        decoded = [decode(head, recording, models) for recording in catalog]
        ids = np.concatenate([entity_ids(part.recording) for part in decoded])
        tensors = {"pred_proba": np.concatenate([in_regions(part) for part in decoded]), "entity_ids": as_bytes(ids)}
        about = {"label": label, "task": TASK, "seed": str(seed), "ibl_bwb_eval_version": FORMAT}
        path = Path(folder) / label / TASK / f"seed_{seed}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part_file:
            save_file(tensors, part_file, metadata=about | {"label_names": ",".join(REGIONS)})
        files.append(path)
        units = len(ids)
    return Exported(files, units, len(catalog))


def _check(head: Head, place: str, catalog: Catalog) -> None:
    """Raise ConfigError unless a head predicts Cosmos regions and was fitted to none of the recordings."""
    others = sorted(set(head.classes) - set(REGIONS))
    if not head.classes or others:
        output = f"classes {', '.join(others)}" if others else f"values ({head.title})"
        raise ConfigError(f"heads has {place!r}, which predicts {output}: expected regions among {', '.join(REGIONS)}")
    known = set(head.kept.data.values())
    seen = [recording.record.path for recording in catalog if recording.record.digest in known]
    if seen:
        raise ConfigError(
            f"heads has {place!r}, which was fitted to {seen[0]} ({len(seen)} of {len(catalog)} recordings): "
            "BrainWideBench scores animals that were held out; expected a head fitted to other recordings"
        )


def in_regions(decoded: Decoded) -> np.ndarray:
    """Return ``(S, 10)`` float32 probabilities of the regions, 0 where the head does not know one."""
    out_SR = np.zeros((len(decoded), len(REGIONS)), dtype=np.float32)
    out_SR[:, [REGIONS.index(name) for name in decoded.head.classes]] = decoded.out_SK
    return out_SR


def entity_ids(recording: StoredRecording) -> np.ndarray:
    """Return ``(N,)`` the ids of a recording's units, ``<session>/<unit>``, each a UUID.

    Raises:
        SourceError: if there is no UUID in the session id, or the units have none.
    """
    path, session = recording.record.path, UUID.search(recording.record.session)
    if session is None:
        raise SourceError(
            f"{path} has the session id {recording.record.session!r}: expected a UUID, as in DANDI:000409"
        )
    column = next((name for name in IDS if name in recording.units), None)
    if column is None:
        raise SourceError(f"{path} has no column {' or '.join(IDS)} of units: expected the UUID of each unit")
    return np.array([f"{session.group()}/{unit}" for unit in recording.units.text(column)])


def as_bytes(ids: np.ndarray) -> np.ndarray:
    """Return texts as ``(n, width)`` uint8, a row for each, padded with zeros.

    Example:
        >>> as_bytes(np.array(["ab", "c"])).tolist()
        [[97, 98], [99, 0]]
    """
    encoded = np.array([text.encode("ascii") for text in ids.tolist()])
    return encoded.view(np.uint8).reshape(len(encoded), encoded.dtype.itemsize)
