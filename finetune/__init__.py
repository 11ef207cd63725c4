"""From a pretrained checkpoint and labels to scores, heads and a report."""

from typing import TYPE_CHECKING

from finetune.finetune_settings import (
    FinetuneSettings,
    FullSettings,
    GRUSettings,
    MLPSettings,
    ReportSettings,
    WindowSettings,
)
from finetune.predict_settings import PredictSettings
from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from finetune.heads.decode import Decoded, decode
    from finetune.heads.head import Head, HeadError
    from finetune.heads.head_files import load_head
    from finetune.heads.head_models import head_models
    from finetune.heads.stream import HeadStream
    from finetune.predict_job import predict

__all__ = [
    "Decoded",
    "FinetuneSettings",
    "FullSettings",
    "GRUSettings",
    "Head",
    "HeadError",
    "HeadStream",
    "MLPSettings",
    "PredictSettings",
    "ReportSettings",
    "WindowSettings",
    "decode",
    "head_models",
    "load_head",
    "predict",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "finetune.heads.decode": ["Decoded", "decode"],
        "finetune.heads.head": ["Head", "HeadError"],
        "finetune.heads.head_files": ["load_head"],
        "finetune.heads.head_models": ["head_models"],
        "finetune.heads.stream": ["HeadStream"],
        "finetune.predict_job": ["predict"],
    },
)
