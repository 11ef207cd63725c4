"""Pretrain once on the world's neural recordings, finetune anywhere."""

from foundation.common.processes.environment import prepare
from foundation.version import __version__

prepare()

__all__ = ["__version__"]
