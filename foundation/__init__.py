"""Pretrain once on the world's neural recordings, finetune anywhere."""

from foundation.version import __version__

__all__ = ["__version__"]
