"""The DeepSpeed trainer. Needs no package of ingest or finetuning."""

from foundation.training.job import pretrain
from foundation.training.settings import ModelSettings, OptimizerSettings, PretrainSettings
from foundation.training.trainer import Trainer

__all__ = ["ModelSettings", "OptimizerSettings", "PretrainSettings", "Trainer", "pretrain"]
