"""Tables of papers, run by run: one file per experiment, results as small files, pages rendered from what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.reproduce.eit import EITTable, run_eit
from finetune.reproduce.myow import MYOWTable, run_myow
from finetune.reproduce.myow_page import myow_page
from finetune.reproduce.neurpir import NeurPIRTable, run_neurpir
from finetune.reproduce.neurpir_page import neurpir_page
from finetune.reproduce.page import eit_page
from foundation.errors import ConfigError, StoreError
from foundation.resources import config_names
from foundation.store.catalog import Catalog
from foundation.store.storage import Store

# name, which is also the setting's -> what fills its table (settings, catalog, folder), and its page (folder, command)
EXPERIMENTS: dict[str, tuple[Callable[[Any, Catalog, Path], None], Callable[[Path, str], str]]] = {
    "eit": (run_eit, eit_page),
    "neurpir": (run_neurpir, neurpir_page),
    "myow": (run_myow, myow_page),
}


@dataclass(frozen=True)
class ReproduceSettings:
    """Which table is filled up, and where.

    Args:
        store: the recordings, made by `foundation ingest`.
        output: folder of all tables of the experiment: a folder of small JSON files for each.
        name: of this table, a folder in ``output``.
        page: the page that is written from all tables in ``output``; null: none.
        experiment: ``eit``, ``neurpir`` or ``myow``.
        eit: the EIT table.
        neurpir: the table of firing modes.
        myow: the tables of MYOW and its rivals.

    Raises:
        ConfigError: if there is no such experiment.
    """

    store: str
    output: str
    name: str
    page: str | None = None
    experiment: str = "eit"
    eit: EITTable = field(default_factory=EITTable)
    neurpir: NeurPIRTable = field(default_factory=NeurPIRTable)
    myow: MYOWTable = field(default_factory=MYOWTable)

    def __post_init__(self) -> None:
        if self.experiment not in EXPERIMENTS:
            raise ConfigError(f"experiment is {self.experiment!r}: one of {', '.join(EXPERIMENTS)}")
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise ConfigError(f"name is {self.name!r}: a plain name")


def commands(output: Path) -> str:
    """What makes the tables of a folder, a line each: those that a shipped config is named for."""
    shipped = config_names("reproduce")
    names = [f"reproduce/{table.name}" for table in sorted(output.iterdir()) if table.is_dir()]
    found = [name for name in names if name in shipped] or ["your-table.yaml"]
    return "\n".join(f"foundation reproduce --config {name} --store store" for name in found)


def reproduce(settings: ReproduceSettings) -> Path:
    """Make the runs of a table that are not there yet, and write the page of all that are.

    Returns:
        The folder of the table.

    Raises:
        StoreError: if the store is empty.
        ConfigError: if it does not have the recordings of the table.
    """
    catalog = Catalog.open(Store(settings.store))
    if not len(catalog):
        raise StoreError(f"the store at {catalog.store.name!r} has no recordings: fill it with `foundation ingest`")
    folder = Path(settings.output) / settings.name
    run, page_of = EXPERIMENTS[settings.experiment]
    try:
        run(getattr(settings, settings.experiment), catalog, folder)
    finally:
        if settings.page is not None and Path(settings.output).is_dir():
            page = Path(settings.page)
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(page_of(Path(settings.output), commands(Path(settings.output))))
    return folder
