"""The listing, checks and pages of `foundation catalog`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from foundation.catalog.catalog_settings import CatalogSettings
from foundation.catalog.catalog_table import catalog_table
from foundation.common.errors import ConfigError
from foundation.store.catalog import Catalog
from foundation.store.commit.verify import verify_store
from foundation.store.storage import Store


@dataclass(frozen=True)
class Listing:
    """The catalog as text; ``ok`` is false if damage was found."""

    text: str
    ok: bool = True

    def __str__(self) -> str:
        return self.text


def _prune(store: Store, version: str, archives: list[dict[str, str]]) -> str:
    """Retire the recordings that a dandiset's version lacks. Uses `ingest` to ask the archive."""
    try:
        ingest = importlib.import_module("ingest.run.relist")
        known = importlib.import_module("ingest.sources.dandi.archives")
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
        StoreError: if there is no store, or it has another schema.
        ConfigError: if ``where`` is invalid, or the page cannot be written.
        SourceError: if the version to prune to cannot be listed.
        FoundationError: if the page needs a package that is not installed.
    """
    if settings.page is not None:
        from foundation.catalog.catalog_page import write_page  # only the page needs the drawing packages
    store, lines = Store(settings.store), []
    if settings.prune is not None:
        lines.append(_prune(store, settings.prune, settings.archives))
    catalog = Catalog.refresh(store, full=True) if settings.refresh else Catalog.open(store)
    if settings.where is not None:
        catalog = catalog.where(settings.where)
    lines.append(catalog_table(catalog.records))
    if settings.page is not None:
        lines.append(f"page: {write_page(catalog, settings.page, settings.limit, settings.where or '')}")
    if not settings.verify:
        return Listing("\n".join(lines))
    verification = verify_store(store)
    return Listing("\n".join([*lines, str(verification)]), verification.ok)
