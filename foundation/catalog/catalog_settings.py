"""What `foundation catalog` is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundation.common.errors import ConfigError
from foundation.common.settings.setting_checks import check_local


@dataclass(frozen=True)
class CatalogSettings:
    """Settings of `foundation catalog`.

    Args:
        store: folder or URL of the store.
        where: which recordings to list, for example "species == 'Mus musculus' and n_units > 50"; see docs/quality.md.
        page: an HTML file to write, with a raster and a histogram of rates of each recording.
        limit: at most so many recordings get pictures on the page.
        refresh: read all commit records again and write the snapshot anew.
        verify: read every array and compare it with its digest; damage is named, and ends the command with status 1.
        prune: a version of a dandiset, ``dandi://<archive>/<dandiset>@<version>``: retire the dandiset's recordings
            that this version does not hold. Nothing is deleted.
        archives: for ``prune``: archives besides the built-in ones, as the settings of an ingest have them (name,
            api_url, token_variable, web_url).
    """

    store: str
    where: str | None = None
    page: str | None = None
    limit: int = 100
    refresh: bool = False
    verify: bool = False
    prune: str | None = None
    archives: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_local(page=self.page)
        for key in ("where", "page", "prune"):
            value = getattr(self, key)
            if value is not None and not value.strip():
                raise ConfigError(f"{key} is {value!r}: allowed is a text with something in it, or nothing at all")
        if self.limit < 0:
            raise ConfigError(f"limit is {self.limit}: allowed is 0 or more")
