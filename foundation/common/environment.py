"""Switches of the libraries underneath: no usage statistics, no calls out, no noise. A value already set is kept."""

from __future__ import annotations

import os

DEFAULTS = {
    "DANDI_NO_ET": "1",
    "DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
}


def name_accelerator() -> None:
    """Tell DeepSpeed, which transformers imports where it is installed, that there is no GPU to look for."""
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def prepare() -> None:
    """Set the switches; called when `foundation` is imported, before any of those libraries is.

    Example:
        >>> prepare()
        >>> os.environ["RAY_USAGE_STATS_ENABLED"]
        '0'
    """
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
