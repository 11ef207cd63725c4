"""The Ray job that turns NWB files and archives into recordings of a store.

One task per asset: workers read it, write the recording into the store and return a receipt without data. This file
is also what ``ray submit infra/ingest.yaml ingest/job.py`` copies to a cluster and runs there as a script, hence
absolute imports of installed packages only.
"""

from __future__ import annotations

import os
import sys

# Python searches the script's folder first (with `-m`, the working folder). The home folder that this file is copied to
# may hold user files named like installed packages.
if __name__ == "__main__" and not sys.flags.safe_path:
    _first = os.path.realpath(sys.path[0])
    if _first != os.path.dirname(os.path.dirname(os.path.realpath(__file__))):
        del sys.path[0]

import json
import logging
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from foundation.common.errors import ConfigError, StoreError
from foundation.common.files.locks import write_whole
from foundation.common.processes.interrupts import Stopped
from foundation.common.processes.ray_cluster import ray_cluster, running_cluster
from foundation.common.processes.ray_start import RayStartError
from foundation.store import Catalog, Source, Store
from foundation.store.commit.garbage_collection import clean_store
from foundation.store.commit.membership import VersionAssets
from foundation.store.commit.snapshot import open_snapshot
from ingest.recipe.recipes import Recipe, load_recipe, recipe_for
from ingest.run.explain import Explanation, explain
from ingest.run.ingest_progress import Watch
from ingest.run.ingest_report import INGESTED, IngestReport, Receipt
from ingest.run.ingest_settings import AUTO, IngestCommand, IngestSettings
from ingest.run.relist import hold_to, list_again, outdated
from ingest.run.remote_submit import Shipped, run_on_cluster
from ingest.run.task_schedule import run_here, run_tasks
from ingest.run.worker import Work, compile_loops
from ingest.sources import Asset, find_assets
from ingest.sources.asset_search import listing

__all__ = ["IngestCommand", "IngestSettings", "ingest", "run_command"]
log = logging.getLogger(__name__)

REPORT = "ingest-report.json"
SAVE_EVERY = 30.0  # seconds between two saved reports during a run


def ingest(settings: IngestSettings) -> IngestReport:
    """Read every asset of the input into the store. Unreadable ones are reported and skipped.

    An asset ingested before with the same recipe is skipped. The catalog's snapshot is always refreshed at the end.

    Raises:
        ConfigError: if the recipe, the archive or Ray cannot be used.
        SourceError: if the input names no asset.
        StoreError: if the store cannot be written; then nothing is read.
        Stopped: after Ctrl-C or a signal, with the report of what was committed.
    """
    chosen = _chosen(settings)
    assets = find_assets(settings.input, settings.filters, settings.archives, settings.access)
    return _ingest(settings, assets, chosen or recipe_of(assets))


def run_command(command: IngestCommand) -> IngestReport | Explanation | Shipped | str:
    """Read every asset of the input into the store. Unreadable ones are reported and skipped.

    Returns:
        The report; with ``dry_run`` the list of assets, with ``explain`` what a recipe takes from a file, and with
        ``cluster`` how the job there ended.
    """
    if command.cluster is not None:
        return run_on_cluster(command, command.cluster)
    if command.explain is not None:
        return explain(
            command.explain, _chosen(command), strict=command.strict, archives=command.archives, access=command.access
        )
    if command.dry_run:
        _chosen(command)  # fail here on a recipe that cannot be loaded
        return listing(find_assets(command.input, command.filters, command.archives, command.access))
    return ingest(command)


def _chosen(settings: IngestSettings) -> Recipe | None:
    return None if settings.recipe == AUTO else load_recipe(settings.recipe)


def recipe_of(assets: list[Asset]) -> Recipe:
    """Load the recipe for the assets' dandiset, or else the default."""
    dandiset = assets[0].source.dandiset
    name = recipe_for(dandiset, assets[0].numbered_by)
    if dandiset:
        log.info("reading dandiset %s with the recipe %s", assets[0].namespace, name)
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
    # Workers may have a different working folder.
    place = store.root if store.is_local else store.url
    sort = settings.sorting if settings.sort else None
    work = Work(place, recipe, settings.strict, settings.keep, settings.access, settings.timeout, sort)
    receipts: list[Receipt] = []
    saved, pause = time.monotonic(), SAVE_EVERY

    def end(stopped: bool, listed: VersionAssets | None = None) -> IngestReport:
        clean_store(store)
        before = {identity for part in open_snapshot(store) or () for identity in part.ids} if stopped else set()
        catalog = Catalog.refresh(store)
        if stopped:
            receipts.extend(_committed_since(catalog, before, assets, receipts))
        report = report_of(receipts, [] if listed is None else outdated(listed, catalog))
        store.write_json(REPORT, report.to_dict())
        if settings.report is not None:
            _write_report(Path(settings.report), report)
        return report

    try:
        compile_loops()
        with closing(_receipts(settings, assets, work)) as arriving:
            for receipt in arriving:
                receipts.append(receipt)
                if time.monotonic() - saved > pause:  # remains if the driver is killed
                    began_saving = time.monotonic()
                    store.write_json(REPORT, report_of(receipts, []).to_dict())
                    saved = time.monotonic()
                    pause = max(SAVE_EVERY, 20 * (saved - began_saving))
        listed = list_again(settings.input, assets, settings.archives, settings.access)
        if listed is not None:
            receipts[:] = hold_to(listed, store, assets, receipts)
    except KeyboardInterrupt as stop:
        raise Stopped(end(stopped=True)) from stop
    except BaseException:
        end(stopped=True)
        raise
    return end(stopped=False, listed=listed)


def _receipts(settings: IngestSettings, assets: list[Asset], work: Work) -> Generator[Receipt, None, None]:
    """Run the work and yield a receipt per asset: on Ray, or in this process where starting Ray would not pay off."""
    alone = settings.workers == 0 or (len(assets) == 1 and settings.address is None and running_cluster() is None)
    with Watch(assets) as watch:
        if alone:
            for receipt in run_here(assets, work, watch.waiting):
                watch.done(receipt)
                yield receipt
            return
        with (
            _cluster(settings) as ray,
            closing(run_tasks(ray, assets, work, limit=settings.workers, waiting=watch.waiting)) as arriving,
        ):
            for receipt in arriving:
                watch.done(receipt)
                yield receipt


@contextmanager
def _cluster(settings: IngestSettings) -> Iterator[Any]:
    """Connect to Ray; if it does not start, the error names the option without Ray."""
    with ExitStack() as stack:
        try:
            ray = stack.enter_context(ray_cluster(settings.workers, settings.address))
        except RayStartError as error:
            raise RayStartError(
                f"{error}; or use --workers 0, which reads one file after another without Ray"
            ) from error
        yield ray


def _committed_since(
    catalog: Catalog, before: set[str], assets: list[Asset], receipts: list[Receipt]
) -> Iterator[Receipt]:
    """Return receipts of assets that were committed but whose own receipt did not arrive before the job stopped."""
    reported = {receipt.path for receipt in receipts}
    unreported = {asset.path: asset for asset in assets if asset.path not in reported}
    for record in catalog.records:
        asset = unreported.get(record.path)
        if asset is not None and record.id not in before and _is_of(record.source, asset):
            yield Receipt(
                asset.path, INGESTED, record.id, record.n_units, record.n_spikes, asset.size,
                note="committed while the job was stopping",
            )  # fmt: skip


def _is_of(source: Source, asset: Asset) -> bool:
    return all(getattr(source, name) == getattr(asset.source, name) for name in ("archive", "dandiset", "asset"))


def _write_report(path: Path, report: IngestReport) -> None:
    try:
        write_whole(path, json.dumps(report.to_dict(), indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"report cannot be written to {str(path)!r}: {error.strerror or error}") from error


if __name__ == "__main__":
    from foundation.common.settings.command import run_stage

    sys.exit(run_stage("ingest/job.py", run_command, IngestCommand, sys.argv[1:]))
