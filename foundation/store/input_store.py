"""Recordings that a person names by a file, a folder or an archive: read into a store of the cache first.

Only `foundation.cli` and this file know that `ingest` exists, and both by the text of its names: a machine that trains
or predicts from stores need not have it.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from foundation.common.errors import ConfigError, FoundationError, SourceError, StoreError
from foundation.common.files.locks import folder_lock
from foundation.store.catalog import Catalog
from foundation.store.storage import MARKER, Store

log = logging.getLogger(__name__)
PATIENCE = 3600.0  # seconds to wait for another process that reads the same input


def input_cache() -> Path:
    """Return the folder of stores that inputs are read into: in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "ingested"


def is_store(place: str) -> bool:
    """Whether a folder or URL is a store."""
    if place.startswith("dandi://") or place.endswith(".nwb"):
        return False
    if "://" not in place:
        return (Path(place) / MARKER).is_file()
    try:
        Store(place)
    except StoreError:
        return False
    return True


def ingested(given: str) -> str:
    """Return a store with the recordings of an input; one in the cache, unless the input is a store itself.

    What was read before and has not changed is not read again.

    Args:
        given: a store, an NWB file, a folder or a glob of them, an fsspec URL, or ``dandi://...``.

    Raises:
        SourceError: if nothing of it can be read, with the reason of the first file.
        ConfigError: if the package that reads NWB is not installed.
    """
    if is_store(given):
        return given
    try:
        job = importlib.import_module("ingest.job")
    except ImportError as error:
        raise ConfigError(
            f"input is {given!r}: reading it needs {error.name!r}, which cannot be imported: pip install "
            "'neural-foundation[ingest]', or give a store"
        ) from error
    named = given if "://" in given else str(Path(given).expanduser().resolve())
    place = input_cache() / hashlib.sha256(named.encode()).hexdigest()[:24]
    with folder_lock(place, PATIENCE):
        target = place / "store"
        report = _read(job, given, target)
        held = set(Catalog.open(Store(target)).ids)
        if held - {receipt.id for receipt in report.receipts}:  # a file that is gone, or has another content now
            shutil.rmtree(target)
            report = _read(job, given, target)
    wrong = [receipt for receipt in report.receipts if not receipt.id]
    if len(wrong) == len(report.receipts):
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise SourceError(f"input is {given!r}: nothing of it can be read; {first.path}: {first.note}{more}")
    for receipt in wrong:
        log.warning("%s is left out: %s", receipt.path, receipt.note)
    log.info("%s is read into %s", given, target)
    return str(target)


def _read(job: Any, given: str, target: Path) -> Any:
    try:
        return job.ingest(job.IngestSettings(input=given, store=str(target), workers=0))
    except FoundationError:
        if target.is_dir() and not Catalog.open(Store(target)).ids:
            shutil.rmtree(target)
        raise
