"""Recordings that a person names by a file, a folder or an archive: read into a store of the cache first.

Only `foundation.cli` and this file know that `ingest` exists, and both by the text of its names: a machine that trains
or predicts from stores need not have it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from foundation.common.errors import ConfigError, FoundationError, SourceError, StoreError
from foundation.common.files.locks import folder_lock
from foundation.common.settings.resources import find_config
from foundation.store.catalog import Catalog
from foundation.store.storage import MARKER, Store

log = logging.getLogger(__name__)
AUTO = "auto"  # the recipe that was written for the dandiset, or else the common one
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


def ingested(given: str, recipe: str = AUTO) -> str:
    """Return a store with the recordings of an input; one in the cache, unless the input is a store itself.

    What was read before and has not changed is not read again.

    Args:
        given: a store, an NWB file, a folder or a glob of them, an fsspec URL, or ``dandi://...``.
        recipe: of the ingest.

    Raises:
        SourceError: if nothing of it can be read, with the reason of the first file.
        ConfigError: if the package that reads NWB is not installed.
    """
    if is_store(given):
        return given
    job = _imported("ingest.job", given)
    named = given if "://" in given else str(Path(given).expanduser().resolve())
    named += "" if recipe == AUTO else f"\n{recipe}"
    place = input_cache() / hashlib.sha256(named.encode()).hexdigest()[:24]
    with folder_lock(place, PATIENCE):
        target = place / "store"
        report = _read(job, given, target, recipe)
        held = set(Catalog.open(Store(target)).ids)
        if held - {receipt.id for receipt in report.receipts}:  # a file that is gone, or has another content now
            shutil.rmtree(target)
            report = _read(job, given, target, recipe)
    wrong = [receipt for receipt in report.receipts if not receipt.id]
    if len(wrong) == len(report.receipts):
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise SourceError(f"input is {given!r}: nothing of it can be read; {first.path}: {first.note}{more}")
    for receipt in wrong:
        log.warning("%s is left out: %s", receipt.path, receipt.note)
    log.info("%s is read into %s", given, target)
    return str(target)


def simulated(config: str) -> str:
    """Return a folder of NWB files with the networks of a shipped simulation; in the cache, made once.

    Args:
        config: a YAML file or a shipped name, such as ``simulate/demo``.

    Raises:
        ConfigError: if there is no such config, or the package that simulates is not installed.
    """
    content = yaml.safe_load(find_config(config).read_text(encoding="utf-8"))
    content.pop("output", None)
    text = json.dumps(content, sort_keys=True)
    place = input_cache() / f"simulated-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    job = _imported("ingest.simulate.simulate_job", config)
    settings = _imported("ingest.simulate.simulate_settings", config)
    with folder_lock(place, PATIENCE):
        target, done = place / "nwb", place / "done"
        if not done.is_file():
            job.simulate_izhikevich(settings.SimulateSettings(output=str(target), **content))
            done.touch()
    return str(target)


def _imported(module: str, given: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"input is {given!r}: reading it needs {error.name!r}, which cannot be imported: pip install "
            "'neural-foundation[ingest]', or give a store"
        ) from error


def _read(job: Any, given: str, target: Path, recipe: str) -> Any:
    try:
        return job.ingest(job.IngestSettings(input=given, store=str(target), workers=0, recipe=recipe))
    except FoundationError:
        if target.is_dir() and not Catalog.open(Store(target)).ids:
            shutil.rmtree(target)
        raise
