"""Settings of an ingest, and the options that its command adds."""

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
    """Input and output of an ingest.

    Args:
        input: a file, a folder, a glob, an fsspec URL of NWB files, or
            ``dandi://<archive>/<dandiset>[@version][/path]``.
        store: the store's folder or fsspec URL; created if missing.
        recipe: what columns, tables and series mean: a shipped recipe's name, a YAML file, or your own class
            (``mylab.recipes:Class``, ``recipes.py:Class``, or an entry point). ``auto`` takes the shipped recipe for
            the dandiset, or else ``default``.
        strict: refuse recordings whose spike times would otherwise be corrected (sorted or dropped).
        filters: which assets to take, decided before their bytes are read.
        keep: which recordings to keep, decided after reading.
        access: how to read remote files.
        archives: your own archives, in addition to those of the dandi client.
        workers: files read in parallel; by default one per core that this process may use, or per CPU of the cluster.
            With 0, files are read one after another in this process, without Ray, as a single file always is.
        report: a local file for the report, which is also written into the store as ``ingest-report.json``.
        timeout: seconds of a worker per file, plus one per megabyte; then the file fails.
        sort: sort the voltage of files that hold no units, instead of listing them as needing sorting.
        sorting: its settings, as in `foundation sort`.
        address: the Ray cluster: its address, ``auto`` (the one on this machine) or ``local`` (a new one). By default
            the cluster of this machine, or else a new one.

    Raises:
        ConfigError: if a value is out of range, or the input or the store is missing.
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
                raise ConfigError(f"{key} is {getattr(self, key)!r}: expected a path or a URL")

    def _needed(self) -> list[str]:
        return ["input", "store"]


@dataclass(frozen=True)
class IngestCommand(IngestSettings):
    """What to ingest, or a preview of it, and where to run it.

    Args:
        dry_run: list the assets with sizes and read nothing.
        explain: a file: print what the recipe takes from it and leaves, and write nothing.
        cluster: a Ray cluster's YAML file, such as infra/ingest.yaml: submit the job there, with the
            settings and recipe of this call.
    """

    dry_run: bool = False
    explain: str | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cluster is not None and self.address is not None:
            raise ConfigError(f"cluster is {self.cluster!r} and address is {self.address!r}: expected only one of them")

    def _needed(self) -> list[str]:
        return [] if self.explain is not None else ["input"] if self.dry_run else ["input", "store"]
