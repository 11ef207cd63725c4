"""From a pretrained checkpoint and labels to scores, heads and a report."""

from typing import TYPE_CHECKING

from finetune.finetune_settings import FinetuneSettings, FullSettings, GRUSettings, ReportSettings, WindowSettings
from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from finetune.heads.decode import Decoded, decode
    from finetune.heads.head import Head, HeadError
    from finetune.heads.head_files import load_head
    from finetune.heads.head_models import head_models

__all__ = [
    "Decoded",
    "FinetuneSettings",
    "FullSettings",
    "GRUSettings",
    "Head",
    "HeadError",
    "ReportSettings",
    "WindowSettings",
    "decode",
    "head_models",
    "load_head",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "finetune.heads.decode": ["Decoded", "decode"],
        "finetune.heads.head": ["Head", "HeadError"],
        "finetune.heads.head_files": ["load_head"],
        "finetune.heads.head_models": ["head_models"],
    },
)
