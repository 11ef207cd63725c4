"""A worker reads one asset, writes the recording into the store, and returns a receipt."""

from __future__ import annotations

import faulthandler
import logging
import os
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from foundation.common.credentials import without_secrets, without_secrets_in_url
from foundation.common.errors import FoundationError
from foundation.common.extensions.search_folders import inherit, inherited
from foundation.common.output.printable import printable
from foundation.store import (
    Interval,
    Recording,
    Source,
    Spikes,
    Store,
    Subject,
    Units,
    make_current,
    recording_id,
    write_recording,
)
from foundation.store.format.encode import encode
from foundation.store.format.spike_blocks import SPIKES_PER_BLOCK
from ingest.nwb.file.watched_file import METER
from ingest.nwb.read_nwb import NeedsSorting, NoActivity, digest_of, read_nwb
from ingest.quality.quality_control import assess, remarks, why_not
from ingest.quality.read_counts import LOSSES
from ingest.quality.recording_filters import KeepRules
from ingest.recipe.recipe_rules import ControlRules
from ingest.recipe.recipes import Recipe
from ingest.run.ingest_report import FAILED, INGESTED, LEFT_OUT, NEEDS_SORTING, SKIPPED, Receipt
from ingest.sorting.sort_settings import SortSettings, sorted_digest
from ingest.sources import AccessSettings, Asset, open_asset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """Turn assets into recordings; called with an asset on a worker.

    Args:
        store: the output store.
        recipe: what columns, tables and series mean.
        strict: refuse what would otherwise be corrected.
        keep: which recordings to keep.
        access: how to read remote files.
        timeout: seconds per asset, plus one per megabyte; then the process exits.
        sort: how to sort voltage in files without units; None reports them as needing sorting.
        class_paths: where to search for the user's classes, for processes that do not inherit them.
    """

    store: str
    recipe: Recipe
    strict: bool = False
    keep: KeepRules = field(default_factory=KeepRules)
    access: AccessSettings = field(default_factory=AccessSettings)
    timeout: float = 600.0
    sort: SortSettings | None = None
    class_paths: dict[str, str] = field(default_factory=inherited)

    def __call__(self, asset: Asset) -> Receipt:
        """Return the asset's receipt; only a dying process or a lack of memory gives none."""
        began = time.monotonic()
        METER.reset()
        inherit(self.class_paths)
        # Damaged files can send HDF5 into an endless loop: this ends the process.
        with suppress(OSError):  # needs a real stderr file, which may be missing without Ray
            faulthandler.dump_traceback_later(self.timeout + asset.size / 1e6, exit=True)
        try:
            receipt = self._ingest(asset)
        except FoundationError as error:
            note = str(error).removeprefix(f"{asset.url}: ").removeprefix(f"{asset.path}: ")
            receipt = {"status": FAILED, "note": note}
        except MemoryError:
            raise
        except Exception as error:  # no error of one asset may stop the others
            # A worker's log lacks our formatter, which removes secrets from URLs.
            log.error("%s failed: %s", printable(asset.path), without_secrets(traceback.format_exc()))
            receipt = {"status": FAILED, "note": f"{type(error).__name__}: {error}"}
        finally:
            faulthandler.cancel_dump_traceback_later()
        seconds = round(time.monotonic() - began, 3)
        return Receipt(path=asset.path, size=asset.size, seconds=seconds, **receipt)

    def _ingest(self, asset: Asset) -> dict[str, Any]:
        store, source = Store(self.store), asset.source
        if source.digest and (receipt := self._known(store, asset, source)):
            return receipt
        with open_asset(asset, self.access) as content:
            if not source.digest:
                source = replace(source, digest=digest_of(asset.url, content))
                if receipt := self._known(store, asset, source):
                    return receipt
            sorter = None if self.sort is None else _sorter(self.sort)
            recording = read_nwb(
                asset.url,
                self.recipe,
                strict=self.strict,
                source=source,
                namespace=asset.namespace,
                content=content,
                sorter=sorter,
            )
            if isinstance(recording, NeedsSorting):
                return {"status": NEEDS_SORTING, "note": str(recording)}
            if isinstance(recording, NoActivity):
                return {"status": LEFT_OUT, "note": str(recording)}
            counts = {"n_units": recording.n_units, "n_spikes": recording.n_spikes}
            if reason := why_not(recording, self.keep):
                return {"status": LEFT_OUT, "note": reason, **counts}
            digest = self._sorted_digest() if sorter is not None and sorter.used else self.recipe.digest
            identity = write_recording(store, recording, digest, place=place_of(asset))
        return {"status": INGESTED, "id": identity, "note": remarks(recording), **counts}

    def _sorted_digest(self) -> str:
        """Return the recipe part of a sorted recording's id."""
        assert self.sort is not None
        return sorted_digest(self.recipe.digest, self.sort)

    def _known(self, store: Store, asset: Asset, source: Source) -> dict[str, Any] | None:
        """Return the receipt of a recording that is already in the store."""
        identity = recording_id(source, self.recipe.digest)
        record = store.commit(identity)
        if record is None and self.sort is not None:
            identity = recording_id(source, self._sorted_digest())
            record = store.commit(identity)
        # A recording that strict refuses may have been committed without strict: read it again and refuse it.
        if record is None or (self.strict and LOSSES & set(record["quality"])):
            return None
        make_current(store, record, place_of(asset))
        return {"status": SKIPPED, "id": identity, "n_units": record["n_units"], "n_spikes": record["n_spikes"]}


def _sorter(settings: SortSettings) -> Any:
    from ingest.sorting.output.sorted_recording import NwbSorter  # needs the extra `sorting`

    return NwbSorter(settings)


def place_of(asset: Asset) -> str:
    """Return the resolved path or the URL of a file outside an archive; ``''`` in an archive.

    Example:
        >>> place_of(Asset("http://me:secret@host/a.nwb", "a.nwb", 5, Source("a.nwb", "")))
        'http://host/a.nwb'
        >>> place_of(Asset("https://host/x/a.nwb", "a.nwb", 5, Source("a.nwb", "etag", archive="dandi")))
        ''
    """
    if asset.source.archive:
        return ""
    return without_secrets_in_url(asset.url) if "://" in asset.url else os.path.realpath(asset.url)


def compile_loops() -> None:
    """Compile the loops of quality control and encoding on small recordings; the disk caches them."""
    n = SPIKES_PER_BLOCK  # of each unit: two units have more than one block
    rng = np.random.default_rng(0)
    on_a_grid = [np.arange(1, n) / 30_000.0] * 2
    anywhere = [np.sort(rng.uniform(0.0, 3.0, n)) for _ in range(2)]
    for trains in (on_a_grid, anywhere):
        spikes = Spikes.from_trains(trains)
        recording = Recording(Source("", ""), Subject(""), "", Units(2), Interval.single(0.0, 100.0), spikes=spikes)
        _ = encode(assess(recording, ControlRules())).digest
