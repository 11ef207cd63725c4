"""Fill the tables of a paper, run by run, and write the page with all finished runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from finetune.reproduce.common.run_results import read_all, tables_of
from finetune.reproduce.decoding.decoding_page import decoding_page
from finetune.reproduce.decoding.decoding_runs import run_decoding
from finetune.reproduce.eit.eit_page import eit_page
from finetune.reproduce.eit.eit_runs import run_eit
from finetune.reproduce.identity.identity_page import identity_page
from finetune.reproduce.identity.identity_runs import run_identity
from finetune.reproduce.myow.myow_page import myow_page
from finetune.reproduce.myow.myow_runs import run_myow
from finetune.reproduce.neurpir.neurpir_page import neurpir_page
from finetune.reproduce.neurpir.neurpir_runs import run_neurpir
from finetune.reproduce.reproduce_settings import ReproduceSettings
from foundation.common.errors import ConfigError, StoreError
from foundation.common.files.jsonl_results import SUFFIX
from foundation.common.files.locks import write_whole
from foundation.common.settings.resources import config_names
from foundation.store.catalog import Catalog
from foundation.store.storage import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """The functions of an experiment that make and render its tables.

    Args:
        run: fills a table: (settings, catalog, table's file), and ``pictures`` if the experiment draws any.
        page: renders all tables of a folder: (folder, commands), and ``pictures``.
        mark: a key that only the configurations of this experiment's runs have.
        draws: whether the experiment draws pictures.
    """

    run: Callable[..., None]
    page: Callable[..., str]
    mark: str
    draws: bool = False


# By name, equal to the name of the experiment's settings.
EXPERIMENTS = {
    "eit": Experiment(run_eit, eit_page, "bins"),
    "neurpir": Experiment(run_neurpir, neurpir_page, "level"),
    "myow": Experiment(run_myow, myow_page, "task", draws=True),
    "identity": Experiment(run_identity, identity_page, "network_level", draws=True),
    "decoding": Experiment(run_decoding, decoding_page, "target"),
}


def commands(output: Path) -> str:
    """Return the commands that make a folder's tables, one per line: tables with a shipped config of that name."""
    shipped = config_names("reproduce")
    names = [f"reproduce/{table.stem}" for table in tables_of(output)]
    found = [name for name in names if name in shipped] or ["your-table.yaml"]
    return "\n".join(f"foundation reproduce --config {name} --store store" for name in found)


def reproduce(settings: ReproduceSettings) -> Path:
    """Make the missing runs of a table, and write the page with all finished runs.

    Returns:
        The file of the table's results.

    Raises:
        StoreError: if the store is empty.
        ConfigError: if the store lacks the recordings of the table, or the output has tables of another experiment.
        FoundationError: if a result of another configuration exists, or training fails.
    """
    catalog = Catalog.open(Store(settings.store))
    if not len(catalog):
        raise StoreError(f"the store at {catalog.store.name!r} has no recordings: fill it with `foundation ingest`")
    experiment = EXPERIMENTS[settings.experiment]
    table = Path(settings.output) / f"{settings.name}{SUFFIX}"
    _check_tables(Path(settings.output), settings.experiment)
    pictures = _pictures(settings)
    drawn = {"pictures": pictures / settings.name} if pictures is not None else {}
    try:
        experiment.run(getattr(settings, settings.experiment), catalog, table, **drawn)
    except BaseException:
        try:
            _write_page(settings)
        except Exception:
            log.exception("the page was not written")  # raise the error that ended the runs
        raise
    _write_page(settings)
    return table


def _check_tables(output: Path, experiment: str) -> None:
    for table in tables_of(output):
        found = [result for results in read_all(table).values() for result in results]
        if any(EXPERIMENTS[experiment].mark not in result.config for result in found):
            raise ConfigError(
                f"output is {output}: table {table.stem} there belongs to another experiment than {experiment!r}; give "
                "each experiment a folder of its own"
            )


def _pictures(settings: ReproduceSettings) -> Path | None:
    """Return the folder of pictures beside the page; None without pictures or a page."""
    if settings.page is None or not EXPERIMENTS[settings.experiment].draws:
        return None
    return Path(settings.page).with_suffix("")


def _write_page(settings: ReproduceSettings) -> None:
    output, pictures = Path(settings.output), _pictures(settings)
    if settings.page is None or not output.is_dir():
        return
    drawn = {"pictures": pictures} if pictures is not None else {}
    page = EXPERIMENTS[settings.experiment].page(output, commands(output), **drawn)
    write_whole(Path(settings.page), page)
