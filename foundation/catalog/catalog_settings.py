"""Settings of `foundation catalog`."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import FilledOrNone, Limited, Natural


@dataclass(frozen=True)
class CatalogSettings(Limited):
    """Settings of `foundation catalog`.

    Args:
        store: folder or URL of the store.
        where: query for recordings to list, such as "species == 'Mus musculus' and n_units > 50"; see docs/quality.md.
        page: an HTML file to write, with a raster and a histogram of rates for each recording.
        limit: largest number of recordings with pictures on the page.
        refresh: read all commit records again and rewrite the snapshot.
        verify: read every array and compare it with its digest; list the damage and then exit with status 1.
        prune: a version of a dandiset, ``dandi://<archive>/<dandiset>@<version>``: retire the dandiset's recordings
            that this version does not hold. Nothing is deleted.
        archives: for ``prune``: archives besides the built-in ones, as in the settings of an ingest (name,
            api_url, token_variable, web_url).
    """

    store: str
    where: FilledOrNone = None
    page: FilledOrNone = None
    limit: Natural = 100
    refresh: bool = False
    verify: bool = False
    prune: FilledOrNone = None
    archives: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(page=self.page)
