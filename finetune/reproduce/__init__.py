"""Tables of papers, run by run: one file per experiment, results as small files, pages rendered from what is there."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.reproduce.common.run_results import read_all
from finetune.reproduce.eit.eit_page import eit_page
from finetune.reproduce.eit.eit_runs import run_eit
from finetune.reproduce.eit.eit_table import EITTable
from finetune.reproduce.myow.myow_page import myow_page
from finetune.reproduce.myow.myow_runs import MYOWTable, run_myow
from finetune.reproduce.neurpir.neurpir_page import neurpir_page
from finetune.reproduce.neurpir.neurpir_runs import NeurPIRTable, run_neurpir
from foundation.errors import ConfigError, StoreError
from foundation.resources import config_names
from foundation.store.catalog import Catalog
from foundation.store.storage import Store

log = logging.getLogger(__name__)
# name, which is also the setting's -> what fills its table (settings, catalog, folder), its page (folder, command), and
# what only the configurations of its runs have
EXPERIMENTS: dict[str, tuple[Callable[[Any, Catalog, Path], None], Callable[[Path, str], str], str]] = {
    "eit": (run_eit, eit_page, "bins"),
    "neurpir": (run_neurpir, neurpir_page, "level"),
    "myow": (run_myow, myow_page, "task"),
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
        ConfigError: if it does not have the recordings of the table, or the output has tables of another experiment.
        FoundationError: if a result of another configuration is in the way, or a model does not train.
    """
    catalog = Catalog.open(Store(settings.store))
    if not len(catalog):
        raise StoreError(f"the store at {catalog.store.name!r} has no recordings: fill it with `foundation ingest`")
    folder = Path(settings.output) / settings.name
    run, _, mark = EXPERIMENTS[settings.experiment]
    _check_tables(Path(settings.output), settings.experiment, mark)
    try:
        run(getattr(settings, settings.experiment), catalog, folder)
    except BaseException:
        try:
            _write_page(settings)
        except Exception:
            log.exception("the page was not written")  # what ended the runs is what is to be told
        raise
    _write_page(settings)
    return folder


def _check_tables(output: Path, experiment: str, mark: str) -> None:
    for table in sorted(output.iterdir()) if output.is_dir() else []:
        found = [result for results in read_all(table).values() for result in results] if table.is_dir() else []
        if any(mark not in result.config for result in found):
            raise ConfigError(
                f"output is {output}: {table.name} there is of another experiment than {experiment!r}; give each "
                "experiment a folder of its own"
            )


def _write_page(settings: ReproduceSettings) -> None:
    output = Path(settings.output)
    if settings.page is None or not output.is_dir():
        return
    page = Path(settings.page)
    page.parent.mkdir(parents=True, exist_ok=True)
    part = page.with_name(f".{page.name}.part")
    part.write_text(EXPERIMENTS[settings.experiment][1](output, commands(output)))
    os.replace(part, page)
