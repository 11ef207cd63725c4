"""What decides the weights of a run, its settings and recordings: a resumed run must have the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from foundation.common.errors import CheckpointError
from foundation.common.mlflow_run import flatten
from foundation.store.catalog import Catalog


def recordings_digest(catalog: Catalog) -> str:
    """sha256 over the recordings' content: what data a run was given."""
    digests = sorted(record["digest"] for record in catalog.records)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def check_identity(where: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to go on from the checkpoint of another run.

    Args:
        where: the checkpoint, for the message.
        found: identity in its manifest.
        wanted: that of this run.

    Raises:
        CheckpointError: if they differ; the message says in what.
    """
    a, b = flatten(found), flatten(json.loads(json.dumps(wanted)))
    other = [f"{k}: {a.get(k)!r} there, {b.get(k)!r} here" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
    if other:
        raise CheckpointError(
            f"{where} is of a run with other settings or recordings ({'; '.join(other[:4])}): name another output, "
            "or start anew with --resume never"
        )
