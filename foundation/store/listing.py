"""What `foundation catalog` prints."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.progress import progress
from foundation.store.catalog import Catalog
from foundation.store.storage import Store


@dataclass(frozen=True)
class CatalogSettings:
    """Settings of `foundation catalog`.

    Args:
        store: folder or URL of the store.
        refresh: read all commit records again and write the snapshot anew.
        verify: read every array and compare it with its digest.
    """

    store: str
    refresh: bool = False
    verify: bool = False


@dataclass(frozen=True)
class Listing:
    """The catalog as text; ``ok`` is false when damage was found."""

    text: str
    ok: bool = True

    def __str__(self) -> str:
        return self.text


def list_catalog(settings: CatalogSettings) -> Listing:
    """List the recordings of a store: subject, session, units, spikes, hours, labels.

    Raises:
        StoreError: if there is no store.
    """
    store = Store(settings.store)
    if settings.refresh:
        catalog = Catalog.build(store)
        catalog.save()
    else:
        catalog = Catalog.open(store)
    text = catalog.table()
    if not settings.verify:
        return Listing(text)
    damaged = {r.record["path"]: r.verify() for r in progress(list(catalog), "verifying", unit="recording")}
    lines = [f"damaged: {path}: {', '.join(arrays)}" for path, arrays in damaged.items() if arrays]
    return Listing("\n".join([text, *(lines or ["every array has its digest"])]), ok=not lines)
