"""The DeepSpeed trainer. It imports neither `ingest` nor `finetune`."""

from typing import TYPE_CHECKING

from foundation.common.lazy import lazy_attributes

if TYPE_CHECKING:
    from foundation.training.model_settings import ModelSettings
    from foundation.training.pretrain_job import pretrain
    from foundation.training.pretrain_settings import OptimizerSettings, PretrainSettings
    from foundation.training.trainer import Trainer

__all__ = [
    "ModelSettings",
    "OptimizerSettings",
    "PretrainSettings",
    "Trainer",
    "pretrain",
]
__getattr__ = lazy_attributes(
    __name__,
    {
        "foundation.training.model_settings": ["ModelSettings"],
        "foundation.training.pretrain_job": ["pretrain"],
        "foundation.training.pretrain_settings": ["OptimizerSettings", "PretrainSettings"],
        "foundation.training.trainer": ["Trainer"],
    },
)
