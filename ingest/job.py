"""The Ray job that turns NWB files into recordings of a store.

One task per file: workers read, write the recording into the store and send back a receipt, never data. This one file
is also what ``ray submit infra/ingest.yaml ingest/job.py`` copies to a cluster and runs there as a script, hence
absolute imports of installed packages only.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError, FoundationError, StoreError
from foundation.progress import Progress
from foundation.store import Catalog, Source, Store, make_current, recording_id, write_recording
from ingest.cluster import ray_cluster
from ingest.nwb import NeedsSorting, digest_of, read_nwb
from ingest.recipes import Recipe, load_recipe
from ingest.report import FAILED, INGESTED, NEEDS_SORTING, SKIPPED, IngestReport, Receipt
from ingest.sources.files import SourceFile, find_files

log = logging.getLogger(__name__)

REPORT = "ingest-report.json"
RETRIES = 2
_DIED = f"its worker died {RETRIES + 1} times: the file crashes its reader or takes it too long, or memory ran out"


@dataclass(frozen=True)
class IngestSettings:
    """What to ingest and where to.

    Args:
        input: a file, a folder, a glob, or an fsspec URL of NWB files.
        store: the store's folder or fsspec URL; made if it is not there.
        recipe: which column, table or series means what: a shipped recipe's name or a YAML file.
        strict: refuse recordings with spike times that would otherwise be mended (sorted, or dropped).
        workers: files that are read at the same time; by default one per CPU of the machine or cluster.
        report: a local file for the report; it is also written into the store as ``ingest-report.json``.
        timeout: seconds that a worker may take over a file, and one more for each megabyte; then it is given up.
        address: the Ray cluster: its address, ``auto`` (the one on this machine) or ``local`` (a new one). By default
            the one that this machine is part of, or else a new one.
    """

    input: str
    store: str
    recipe: str = "default"
    strict: bool = False
    workers: int | None = None
    report: str | None = None
    timeout: float = 600.0
    address: str | None = None

    def __post_init__(self) -> None:
        for key in ("input", "store"):
            if not getattr(self, key).strip():
                raise ConfigError(f"{key} is {getattr(self, key)!r}: allowed is a path or a URL")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}: allowed is 1 or more, or nothing for one per CPU")
        if not 0 < self.timeout < 1e9:
            raise ConfigError(f"timeout is {self.timeout}: allowed is a number of seconds above 0")


def ingest(settings: IngestSettings) -> IngestReport:
    """Read every file of the input into the store. Files that cannot be read are reported and stop nothing.

    A file whose bytes were ingested before with the same recipe is skipped. The catalog's snapshot is refreshed
    whatever happens.

    Raises:
        ConfigError: if the recipe or Ray cannot be used.
        SourceError: if the input names no file.
        StoreError: if the store cannot be written; nothing has been read then.
    """
    began = time.monotonic()
    recipe = load_recipe(settings.recipe)
    files = find_files(settings.input)
    store = Store(settings.store, create=True)
    try:
        store.write_json(REPORT, IngestReport(settings.input, settings.store, recipe.digest, [], len(files)).to_dict())
    except OSError as error:
        raise StoreError(f"cannot write to {settings.store!r}: {error.strerror or error}") from error
    receipts: list[Receipt] = []
    try:
        with Progress(len(files), "ingesting", unit="file") as progress:
            for receipt in _receipts(files, store, settings, recipe):
                receipts.append(receipt)
                progress.step(note=receipt.path)
    finally:
        Catalog.build(store).save()
        receipts.sort(key=lambda receipt: receipt.path)
        seconds = round(time.monotonic() - began, 3)
        report = IngestReport(settings.input, settings.store, recipe.digest, receipts, len(files), seconds)
        store.write_json(REPORT, report.to_dict())
    if settings.report is not None:
        _write_report(Path(settings.report), report)
    return report


def _receipts(files: list[SourceFile], store: Store, settings: IngestSettings, recipe: Recipe) -> Iterator[Receipt]:
    """Receipts as files are done; no more tasks are in flight than can run soon."""
    # Workers may have another working folder.
    place = store.root if store.is_local else store.url
    with ray_cluster(settings.workers, settings.address) as ray:
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(ingest_file)
        # Twice the processors: a worker that is done finds its next file waiting.
        limit = settings.workers or 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(files)
        running: dict[Any, SourceFile] = {}
        while True:
            while len(running) < limit and (file := next(waiting, None)) is not None:
                running[task.remote(file, place, recipe, settings.strict, settings.timeout)] = file
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                file = running.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    yield Receipt(file.path, FAILED, note=f"{_DIED} ({type(error).__name__})")


def ingest_file(file: SourceFile, store_url: str, recipe: Recipe, strict: bool, timeout: float) -> Receipt:
    """Read one file into the store, on a worker, and say what became of it."""
    began = time.monotonic()
    # Damaged files can send HDF5 into an endless loop that no exception reaches: this ends the process all the same.
    faulthandler.dump_traceback_later(timeout + file.size / 1e6, exit=True)
    try:
        receipt = _ingest_file(file, Store(store_url), recipe, strict)
    except FoundationError as error:
        receipt = {"status": FAILED, "note": str(error).removeprefix(f"{file.url}: ")}
    except Exception as error:  # one file must not stop the others, whatever it is
        log.exception("%s failed", file.path)
        receipt = {"status": FAILED, "note": f"{type(error).__name__}: {error}"}
    finally:
        faulthandler.cancel_dump_traceback_later()
    return Receipt(path=file.path, seconds=round(time.monotonic() - began, 3), **receipt)


def _ingest_file(file: SourceFile, store: Store, recipe: Recipe, strict: bool) -> dict[str, Any]:
    source = Source(path=file.path, digest=digest_of(file.url))
    identity = recording_id(source, recipe.digest)
    record = store.commit(identity)
    # What strict refuses may have been committed without it: then it is read again, and refused.
    if record is not None and not (strict and record["quality"]):
        make_current(store, identity, source)
        return {"status": SKIPPED, "id": identity, "n_units": record["n_units"], "n_spikes": record["n_spikes"]}
    recording = read_nwb(file.url, recipe, strict=strict, source=source, namespace=file.namespace)
    if isinstance(recording, NeedsSorting):
        return {"status": NEEDS_SORTING, "note": str(recording)}
    write_recording(store, recording, recipe.digest)
    mended = ", ".join(f"{name} {number:g}" for name, number in recording.quality.items())
    counts = {"n_units": recording.n_units, "n_spikes": recording.n_spikes}
    return {"status": INGESTED, "id": identity, "note": mended, **counts}


def _write_report(path: Path, report: IngestReport) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"report cannot be written to {str(path)!r}: {error.strerror or error}") from error


if __name__ == "__main__":
    from foundation.command import run_stage

    sys.exit(run_stage("ingest/job.py", ingest, IngestSettings, sys.argv[1:]))
