"""Reproductions of papers' tables: a folder per paper, a results file per table, a page with all tables."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from finetune.reproduce.decoding.decoding_settings import DecodingTable
    from finetune.reproduce.eit.eit_settings import EITTable
    from finetune.reproduce.identity.identity_settings import IdentityTable
    from finetune.reproduce.myow.bins_settings import MYOWTable
    from finetune.reproduce.neurpir.neurpir_settings import NeurPIRTable
    from finetune.reproduce.paper_tables import EXPERIMENTS, Experiment, commands, reproduce
    from finetune.reproduce.reproduce_settings import ReproduceSettings

__all__ = [
    "DecodingTable",
    "EITTable",
    "EXPERIMENTS",
    "Experiment",
    "IdentityTable",
    "MYOWTable",
    "NeurPIRTable",
    "ReproduceSettings",
    "commands",
    "reproduce",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "finetune.reproduce.decoding.decoding_settings": ["DecodingTable"],
        "finetune.reproduce.eit.eit_settings": ["EITTable"],
        "finetune.reproduce.identity.identity_settings": ["IdentityTable"],
        "finetune.reproduce.myow.bins_settings": ["MYOWTable"],
        "finetune.reproduce.neurpir.neurpir_settings": ["NeurPIRTable"],
        "finetune.reproduce.paper_tables": ["EXPERIMENTS", "Experiment", "commands", "reproduce"],
        "finetune.reproduce.reproduce_settings": ["ReproduceSettings"],
    },
)
