"""The DeepSpeed trainer. Needs no package of ingest or finetuning."""

from foundation.training.settings import ModelSettings, OptimizerSettings, PretrainSettings
from foundation.training.trainer import Trainer, pretrain

__all__ = ["ModelSettings", "OptimizerSettings", "PretrainSettings", "Trainer", "pretrain"]
