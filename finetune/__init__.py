"""From a pretrained checkpoint and labels to scores, heads and a report."""

from finetune.finetune_settings import FinetuneSettings, FullSettings, ReportSettings, WindowSettings

__all__ = ["FinetuneSettings", "FullSettings", "ReportSettings", "WindowSettings"]
