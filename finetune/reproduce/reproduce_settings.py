"""Settings of `foundation reproduce`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from finetune.reproduce.decoding.decoding_settings import DecodingTable
from finetune.reproduce.eit.eit_settings import EITTable
from finetune.reproduce.identity.identity_settings import IdentityTable
from finetune.reproduce.myow.bins_settings import MYOWTable
from finetune.reproduce.neurpir.neurpir_settings import NeurPIRTable
from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Limited, one_of

NAMES = ("eit", "neurpir", "myow", "identity", "decoding")


@dataclass(frozen=True)
class ReproduceSettings(Limited):
    """The table to fill, and its place.

    Args:
        store: the recordings, made by `foundation ingest`.
        output: folder of all tables of the experiment: one JSON Lines file each, with one line per run.
        name: of this table, the file's name without ``.jsonl``.
        page: the page to write from all tables in ``output``; null: none. Pictures go into a folder of the
            page's name beside the page.
        experiment: ``eit``, ``neurpir``, ``myow``, ``identity`` or ``decoding``.
        eit: the EIT table.
        neurpir: the table of firing modes.
        myow: the tables of MYOW and its rivals.
        identity: the table of firing modes from tokens of intervals.
        decoding: the table of decoded behaviour.

    Raises:
        ConfigError: if the experiment is unknown.
    """

    store: str
    output: str
    name: str
    page: str | None = None
    experiment: Annotated[str, one_of(*NAMES)] = "eit"
    eit: EITTable = field(default_factory=EITTable)
    neurpir: NeurPIRTable = field(default_factory=NeurPIRTable)
    myow: MYOWTable = field(default_factory=MYOWTable)
    identity: IdentityTable = field(default_factory=IdentityTable)
    decoding: DecodingTable = field(default_factory=DecodingTable)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name or Path(self.name).name != self.name or self.name.startswith("."):
            raise ConfigError(f"name is {self.name!r}: expected a plain name")
