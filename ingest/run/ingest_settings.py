"""Settings of an ingest, and the options that its command adds to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Limited, above, at_least
from ingest.quality.recording_filters import KeepRules
from ingest.sorting.sort_settings import SortSettings
from ingest.sources.dandi.archives import Archive
from ingest.sources.source_settings import AccessSettings, AssetFilters

AUTO = "auto"


@dataclass(frozen=True)
class IngestSettings(Limited):
    """What to ingest and where to.

    Args:
        input: a file, a folder, a glob, an fsspec URL of NWB files, or ``dandi://<archive>/<dandiset>[@version][/path]``.
        store: the store's folder or fsspec URL; made if it is not there.
        recipe: which column, table or series means what: a shipped recipe's name, a YAML file, or a class of one's own
            (``mylab.recipes:Class``, ``recipes.py:Class``, or an entry point). ``auto`` takes the shipped recipe that
            was written for the dandiset, or else ``default``.
        strict: refuse recordings with spike times that would otherwise be mended (sorted, or dropped).
        filters: which assets are taken, decided before their bytes are read.
        keep: which recordings are kept, decided when they have been read.
        access: how bytes that are not on this machine are read.
        archives: archives of one's own, besides those that the dandi client knows.
        workers: files that are read at the same time; by default one per CPU of the machine or cluster. With 0 they are
            read one after another in this process, without Ray, as a single file is.
        report: a local file for the report; it is also written into the store as ``ingest-report.json``.
        timeout: seconds that a worker may take over a file, and one more for each megabyte; then it is given up.
        sort: sort the voltage of files that hold no units, instead of listing them as needing sorting.
        sorting: how, as in `foundation sort`.
        address: the Ray cluster: its address, ``auto`` (the one on this machine) or ``local`` (a new one). By default
            the one that this machine is part of, or else a new one.

    Raises:
        ConfigError: if a value is beyond its limit, or the input or the store is not given.
    """

    input: str = ""
    store: str = ""
    recipe: str = AUTO
    strict: bool = False
    filters: AssetFilters = field(default_factory=AssetFilters)
    keep: KeepRules = field(default_factory=KeepRules)
    access: AccessSettings = field(default_factory=AccessSettings)
    archives: list[Archive] = field(default_factory=list)
    workers: Annotated[int | None, at_least(0, "or nothing for one per CPU")] = None
    report: str | None = None
    timeout: Annotated[float, above(0, "seconds", high=1e9)] = 600.0
    sort: bool = False
    sorting: SortSettings = field(default_factory=SortSettings)
    address: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(report=self.report)
        for key in self._needed():
            if not getattr(self, key).strip():
                raise ConfigError(f"{key} is {getattr(self, key)!r}: allowed is a path or a URL")

    def _needed(self) -> list[str]:
        return ["input", "store"]


@dataclass(frozen=True)
class IngestCommand(IngestSettings):
    """What to ingest and where to; or what to show of it without writing anything, or where to run it.

    Args:
        dry_run: print what would be taken, with sizes, and read nothing.
        explain: a file: print what the recipe takes from it and what it leaves, and write nothing.
        cluster: a Ray cluster's YAML file, such as infra/ingest.yaml: the job is sent there and run there, with the
            settings and the recipe of this call.
    """

    dry_run: bool = False
    explain: str | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cluster is not None and self.address is not None:
            raise ConfigError(f"cluster is {self.cluster!r} and address is {self.address!r}: give one of the two")

    def _needed(self) -> list[str]:
        return [] if self.explain is not None else ["input"] if self.dry_run else ["input", "store"]
