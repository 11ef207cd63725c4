"""What `foundation catalog` prints, checks and writes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

from foundation.errors import ConfigError
from foundation.setting_checks import check_local
from foundation.store.catalog import Catalog
from foundation.store.migrate import migrate_store
from foundation.store.storage import Store
from foundation.store.verify import verify_store


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
        migrate: bring a store of an older schema up to date first, while no one else writes to it.
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
    migrate: bool = False
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


@dataclass(frozen=True)
class Listing:
    """The catalog as text; ``ok`` is false when damage was found."""

    text: str
    ok: bool = True

    def __str__(self) -> str:
        return self.text


def _prune(store: Store, version: str, archives: list[dict[str, str]]) -> str:
    """Retire what a version does not hold. Only this asks an archive, which is the business of the stage before."""
    try:
        ingest = importlib.import_module("ingest.relist")
        known = importlib.import_module("ingest.sources.archives")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"prune needs the package {error.name!r}, which is not installed: pip install 'neural-foundation[ingest]'"
        ) from error
    try:
        own = [known.Archive(**archive) for archive in archives]
    except TypeError as error:
        raise ConfigError(f"archives is {archives}: expected name and api_url of each; {error}") from error
    return str(ingest.prune(store, version, own))


def list_catalog(settings: CatalogSettings) -> Listing:
    """List the recordings of a store: subject, session, units, spikes, hours, labels.

    Raises:
        StoreError: if there is no store, or it cannot be brought up to date.
        ConfigError: if ``where`` cannot be understood, or the page cannot be written.
        SourceError: if the version to prune to cannot be listed.
        FoundationError: if the page needs a package that is not installed.
    """
    if settings.page is not None:
        from foundation.catalog_page import write_page  # only the page needs what draws it
    lines = [str(migrate_store(settings.store))] if settings.migrate else []
    store = Store(settings.store)
    if settings.prune is not None:
        lines.append(_prune(store, settings.prune, settings.archives))
    catalog = Catalog.refresh(store, full=True) if settings.refresh else Catalog.open(store)
    if settings.where is not None:
        catalog = catalog.where(settings.where)
    lines.append(catalog.table())
    if settings.page is not None:
        lines.append(f"page: {write_page(catalog, settings.page, settings.limit, settings.where or '')}")
    if not settings.verify:
        return Listing("\n".join(lines))
    verification = verify_store(store)
    return Listing("\n".join([*lines, str(verification)]), verification.ok)
