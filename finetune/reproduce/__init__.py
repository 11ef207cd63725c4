"""Tables of papers, run by run: one file per experiment, results as small files, pages rendered from what is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from finetune.reproduce.eit import EITTable, run_eit
from finetune.reproduce.page import eit_page
from foundation.errors import ConfigError, StoreError
from foundation.store.catalog import Catalog
from foundation.store.storage import Store

EXPERIMENTS = ("eit",)


@dataclass(frozen=True)
class ReproduceSettings:
    """Which table is filled up, and where.

    Args:
        store: the recordings, made by `foundation ingest`.
        output: folder of all tables of the experiment: a folder of small JSON files for each.
        name: of this table, a folder in ``output``.
        page: the page that is written from all tables in ``output``; null: none.
        experiment: ``eit``.
        eit: the EIT table.

    Raises:
        ConfigError: if there is no such experiment.
    """

    store: str
    output: str
    name: str
    page: str | None = None
    experiment: str = "eit"
    eit: EITTable = field(default_factory=EITTable)

    def __post_init__(self) -> None:
        if self.experiment not in EXPERIMENTS:
            raise ConfigError(f"experiment is {self.experiment!r}: one of {', '.join(EXPERIMENTS)}")
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise ConfigError(f"name is {self.name!r}: a plain name")


def reproduce(settings: ReproduceSettings) -> Path:
    """Make the runs of a table that are not there yet, and write the page of all that are.

    Returns:
        The folder of the table.

    Raises:
        StoreError: if the store is empty.
        ConfigError: if it has no recording of the table's animal.
    """
    catalog = Catalog.open(Store(settings.store))
    if not len(catalog):
        raise StoreError(f"the store at {settings.store!r} has no recordings: fill it with `foundation ingest`")
    folder = Path(settings.output) / settings.name
    command = f"foundation reproduce --config reproduce/{settings.name} --store store"
    try:
        run_eit(settings.eit, catalog, folder)
    finally:
        if settings.page is not None and Path(settings.output).is_dir():
            page = Path(settings.page)
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(eit_page(Path(settings.output), command))
    return folder
