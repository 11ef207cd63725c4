"""Inputs that are a file, a folder or an archive; they are first ingested into a cached store.

Only `foundation.cli` and this file refer to `ingest`, and both by strings: a machine that trains or predicts from
stores does not need it installed.
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
AUTO = "auto"  # the recipe for the dandiset, or the default recipe
PATIENCE = 3600.0  # seconds to wait for another process that ingests the same input


def input_cache() -> Path:
    """Return the folder of the cached stores of inputs, in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "ingested"


def is_store(place: str) -> bool:
    """Return True if a folder or URL is a store."""
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
    """Return a store with the recordings of an input: the input itself if it is a store, otherwise a cached store.

    Unchanged files are not read again.

    Args:
        given: a store, an NWB file, a folder or a glob of them, an fsspec URL, or ``dandi://...``.
        recipe: recipe of the ingest.

    Raises:
        SourceError: if none of its files can be read; the message gives the reason for the first file.
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
        if held - {receipt.id for receipt in report.receipts}:  # a file was removed or changed
            shutil.rmtree(target)
            report = _read(job, given, target, recipe)
    wrong = [receipt for receipt in report.receipts if not receipt.id]
    if len(wrong) == len(report.receipts):
        first = wrong[0]
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise SourceError(f"input is {given!r}: none of its files can be read; {first.path}: {first.note}{more}")
    for receipt in wrong:
        log.warning("%s is left out: %s", receipt.path, receipt.note)
    log.info("ingested %s into %s", given, target)
    return str(target)


def simulated(config: str) -> str:
    """Return a folder of NWB files with the networks of a shipped simulation; it is cached and simulated once.

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
