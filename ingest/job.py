"""The Ray job that turns NWB files and archives into recordings of a store.

One task per asset: workers read, write the recording into the store and send back a receipt, never data. This one file
is also what ``ray submit infra/ingest.yaml ingest/job.py`` copies to a cluster and runs there as a script, hence
absolute imports of installed packages only.
"""

from __future__ import annotations

import os
import sys

# Python searches the folder of a script first, or with `-m` the working folder. There, for example in the home folder
# that this file was copied into, lie the user's own files, which may have names of installed packages.
if __name__ == "__main__" and not sys.flags.safe_path:
    _first = os.path.realpath(sys.path[0])
    if _first != os.path.dirname(os.path.dirname(os.path.realpath(__file__))):
        del sys.path[0]

import json
import logging
import time
from pathlib import Path
from typing import Any

from foundation.cluster import ray_cluster
from foundation.errors import ConfigError, StoreError
from foundation.store import Catalog, Store
from foundation.store.cleaning import clean_store
from foundation.store.membership import VersionAssets
from ingest.explain import explain
from ingest.recipes import Recipe, load_recipe, recipe_for
from ingest.relist import hold_to, list_again, outdated
from ingest.report import IngestReport, Receipt
from ingest.schedule import run_tasks
from ingest.settings import AUTO, IngestSettings
from ingest.ship import run_on_cluster
from ingest.sources import Asset, find_assets, listing
from ingest.warm_up import compile_loops
from ingest.watch import Watch
from ingest.work import Work

__all__ = ["IngestSettings", "ingest"]
log = logging.getLogger(__name__)

REPORT = "ingest-report.json"


def ingest(settings: IngestSettings) -> Any:
    """Read every asset of the input into the store. Those that cannot be read are reported and stop nothing.

    An asset that was ingested before with the same recipe is skipped. The catalog's snapshot is refreshed whatever
    happens.

    Returns:
        `IngestReport`; with ``dry_run`` the text of what would be taken, with ``explain`` an `Explanation`, with
        ``cluster`` what the cluster said.

    Raises:
        ConfigError: if the recipe, the archive or Ray cannot be used.
        SourceError: if the input names no asset.
        StoreError: if the store cannot be written; nothing has been read then.
    """
    if settings.cluster is not None:
        return run_on_cluster(settings)
    chosen = None if settings.recipe == AUTO else load_recipe(settings.recipe)
    if settings.explain is not None:
        return explain(
            settings.explain, chosen, strict=settings.strict, archives=settings.archives, access=settings.access
        )
    assets = find_assets(settings.input, settings.filters, settings.archives, settings.access)
    if settings.dry_run:
        return listing(assets)
    return _ingest(settings, assets, chosen or recipe_of(assets))


def recipe_of(assets: list[Asset]) -> Recipe:
    """Load the recipe that was written for the assets' dandiset, or else the default."""
    dandiset = assets[0].source.dandiset
    name = recipe_for(dandiset, assets[0].numbered_by)
    if dandiset:
        log.info("dandiset %s is read with the recipe %s", assets[0].namespace, name)
    return load_recipe(name)


def _ingest(settings: IngestSettings, assets: list[Asset], recipe: Recipe) -> IngestReport:
    began = time.monotonic()
    store = Store(settings.store, create=True)

    def report_of(receipts: list[Receipt], outdated: list[str]) -> IngestReport:
        seconds = round(time.monotonic() - began, 3)
        ordered = sorted(receipts, key=lambda receipt: receipt.path)
        return IngestReport(settings.input, settings.store, recipe.digest, ordered, len(assets), seconds, outdated)

    try:
        store.write_json(REPORT, report_of([], []).to_dict())
    except OSError as error:
        raise StoreError(f"cannot write to {store.name!r}: {error.strerror or error}") from error
    # Workers may have another working folder.
    place = store.root if store.is_local else store.url
    work = Work(place, recipe, settings.strict, settings.keep, settings.access, settings.timeout)
    receipts: list[Receipt] = []
    listed: VersionAssets | None = None
    try:
        compile_loops()
        with ray_cluster(settings.workers, settings.address) as ray, Watch(assets) as watch:
            for receipt in run_tasks(ray, assets, work, limit=settings.workers, waiting=watch.waiting):
                receipts.append(receipt)
                watch.done(receipt)
        listed = list_again(settings.input, assets, settings.archives, settings.access)
        if listed is not None:
            receipts = hold_to(listed, store, assets, receipts)
    finally:
        clean_store(store)
        catalog = Catalog.refresh(store)
        report = report_of(receipts, [] if listed is None else outdated(listed, catalog))
        store.write_json(REPORT, report.to_dict())
    if settings.report is not None:
        _write_report(Path(settings.report), report)
    return report


def _write_report(path: Path, report: IngestReport) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"report cannot be written to {str(path)!r}: {error.strerror or error}") from error


if __name__ == "__main__":
    from foundation.command import run_stage

    sys.exit(run_stage("ingest/job.py", ingest, IngestSettings, sys.argv[1:]))
