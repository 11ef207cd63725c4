"""What a worker does with one asset: read it, write the recording into the store, and return a receipt."""

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
    """How assets become recordings; called with an asset, on a worker.

    Args:
        store: where to.
        recipe: what columns, tables and series mean.
        strict: refuse what would otherwise be mended.
        keep: which recordings are kept.
        access: how bytes are read.
        timeout: seconds for an asset, and one more for each megabyte; then the process ends itself.
        sort: how voltage is sorted, in files without units; None leaves them as needing sorting.
        told: where classes of one's own are searched, for processes that do not inherit it.
    """

    store: str
    recipe: Recipe
    strict: bool = False
    keep: KeepRules = field(default_factory=KeepRules)
    access: AccessSettings = field(default_factory=AccessSettings)
    timeout: float = 600.0
    sort: SortSettings | None = None
    told: dict[str, str] = field(default_factory=inherited)

    def __call__(self, asset: Asset) -> Receipt:
        """The asset's receipt, whatever happens; only a process that dies or runs out of memory gives none."""
        began = time.monotonic()
        METER.reset()
        inherit(self.told)
        # Damaged files can send HDF5 into an endless loop that no exception reaches: this ends the process.
        with suppress(OSError):  # without Ray, standard error may be no file, and then nothing ends the process
            faulthandler.dump_traceback_later(self.timeout + asset.size / 1e6, exit=True)
        try:
            receipt = self._ingest(asset)
        except FoundationError as error:
            note = str(error).removeprefix(f"{asset.url}: ").removeprefix(f"{asset.path}: ")
            receipt = {"status": FAILED, "note": note}
        except MemoryError:
            raise
        except Exception as error:  # one asset must not stop the others, whatever it is
            # A worker's log has not the formatter of this software, which leaves out what is in URLs.
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
        """Return what stands for the recipe in the id of a recording that was sorted."""
        assert self.sort is not None
        return sorted_digest(self.recipe.digest, self.sort)

    def _known(self, store: Store, asset: Asset, source: Source) -> dict[str, Any] | None:
        """The receipt of a recording that is in the store already."""
        identity = recording_id(source, self.recipe.digest)
        record = store.commit(identity)
        if record is None and self.sort is not None:
            identity = recording_id(source, self._sorted_digest())
            record = store.commit(identity)
        # What strict refuses may have been committed without it: then it is read again, and refused.
        if record is None or (self.strict and LOSSES & set(record["quality"])):
            return None
        make_current(store, record, place_of(asset))
        return {"status": SKIPPED, "id": identity, "n_units": record["n_units"], "n_spikes": record["n_spikes"]}


def _sorter(settings: SortSettings) -> Any:
    from ingest.sorting.output.sorted_recording import NwbSorter  # it needs packages of the extra `sorting`

    return NwbSorter(settings)


def place_of(asset: Asset) -> str:
    """Return where a file outside an archive lies: its absolute path, links followed, or its URL; empty in an archive.

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
    """Put small recordings through quality control and encoding, so that their loops lie compiled on this disk."""
    n = SPIKES_PER_BLOCK  # of each unit: two units have more than one block
    rng = np.random.default_rng(0)
    on_a_grid = [np.arange(1, n) / 30_000.0] * 2
    anywhere = [np.sort(rng.uniform(0.0, 3.0, n)) for _ in range(2)]
    for trains in (on_a_grid, anywhere):
        spikes = Spikes.from_trains(trains)
        recording = Recording(Source("", ""), Subject(""), "", Units(2), Interval.single(0.0, 100.0), spikes=spikes)
        _ = encode(assess(recording, ControlRules())).digest
